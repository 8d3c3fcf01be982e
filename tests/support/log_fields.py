"""The vocabulary of the log: each event and each field that a line may have, and what it means.

docs/reference/log-fields.md is generated from this, and a test compares it with what the code logs.
"""

EVENTS = {
    "session": "A session ended. `detail` names the reason for a failed TLS handshake.",
    "auth": "A login was accepted or refused.",
    "message": "A message was answered. One line holds everything that is known about it.",
    "limit": "A client reached a limit. The same limit and client are logged at most once in ten seconds.",
    "tls": "The certificate was replaced, or the new files could not be used.",
    "lifecycle": "The gateway or a worker started, reloaded, drained or stopped, and lines of libraries below warning.",
    "error": "Something an operator should look at: internal errors, and warnings and errors of libraries.",
}
# On every line: they are in no event's list.
COMMON = {
    "time": "when it happened, UTC, ISO 8601",
    "level": "`debug`, `info`, `warning` or `error`",
    "event": "the event, one of the table above",
}
# Field → the events whose lines may have it, and its meaning.
FIELDS: dict[str, tuple[str, str]] = {
    "session": ("session auth message limit error", "id of the session; error replies end with it, in brackets"),
    "id": ("message error", "id of the message: the session's id, a dot and a number"),
    "client": ("session auth message limit", "IP address of the client, as the PROXY protocol names it where it is on"),
    "account": ("session auth message limit", "id of the Cakemail account; absent or null before the login"),
    "sub_account": ("message", "id of the account that `x-account-id` or the provider map acts for"),
    "tls": ("session", "TLS version; empty when the session ended before TLS"),
    "messages": ("session", "number of messages answered in the session"),
    "seconds": ("session lifecycle", "duration of the session, of a drain, or of the time the breaker was open"),
    "reason": (
        "session message limit tls error",
        "why: of a session, how it ended (`quit`, `idle`, `lost`, `drain`, …); of a message, the name of its reply",
    ),
    "detail": ("session", "more about the reason, such as the error of a failed TLS handshake"),
    "result": (
        "auth message",
        "of a login `done`, `refused`, `throttled`, `unavailable` or `malformed`; of a message `accepted`, `partial`,"
        " `refused`, `deferred` or `discarded` (test mode)",
    ),
    "username": ("auth limit", "user name of the login where it is a mail address; what is none may be a secret"),
    "mechanism": ("auth", "`PLAIN` or `LOGIN`"),
    "reply": ("message limit", "the reply that the client got"),
    "mail_from": ("message", "address of MAIL FROM"),
    "sender_id": ("message", "Cakemail's id of the sender"),
    "recipients": ("message", "number of recipients"),
    "bytes": ("message", "size of the message in octets"),
    "ms": ("message", "milliseconds from the end of the data to the reply"),
    "stages": ("message", "milliseconds of each stage: `parse`, `sender`, `translate`, `api`"),
    "results": (
        "message",
        "one entry for each recipient: `to` with Cakemail's `uuid` when accepted, else with the `reply` that says why",
    ),
    "message_id": ("message", "Message-ID of the client's message"),
    "attachments": ("message", "number of attachments"),
    "verdicts": ("message", "control headers found: provider and verdict, with their number"),
    "lost": ("message", "control headers removed with a warning, because Cakemail has no counterpart"),
    "refused": ("message", "the control header that the message was refused for"),
    "metadata": ("message", "metadata that the control headers carry, such as SendGrid's `unique_args`"),
    "notes": ("message", "what else was changed: headers not delivered, attachment names, why it became marketing"),
    "notice": ("message", "the non-delivery notice: Cakemail's id of it, or the reply that says why there is none"),
    "trace": ("message error", "traceback of an unexpected exception"),
    "trace_id": ("message", "OpenTelemetry trace, where the message was sampled"),
    "span_id": ("message", "OpenTelemetry span of the message"),
    "limit": ("limit", "name of the limit, as in `smtpgw_refusals_total{reply}`"),
    "what": ("limit tls lifecycle error", "what happened, in words"),
    "expires": ("tls", "expiry of the certificate now served"),
    "version": ("lifecycle", "version of the gateway"),
    "settings": ("lifecycle", "all settings at the start; secret ones only as `(secret)`"),
    "descriptors": ("lifecycle", "file descriptors that the process may open, at the start"),
    "warning": (
        "lifecycle",
        "an environment variable that looks like a setting and is none, or too few file descriptors",
    ),
    "worker": ("lifecycle", "process id of the worker"),
    "sessions": ("lifecycle", "sessions that were open when a drain began"),
    "cut": ("lifecycle", "sessions that the drain had to cut at its time limit"),
    "logger": ("lifecycle error", "the library that the line is from"),
    "verb": ("error", "SMTP command during which an unexpected exception was raised"),
    "lines": ("error", "number of log lines that were dropped because standard output was too slow"),
    "failures": ("error", "API calls that had failed in a row when the breaker opened"),
}


def vocabulary() -> dict[str, set[str]]:
    """Each event with the fields that its lines may have beside the common ones."""
    return {event: {name for name, (events, _) in FIELDS.items() if event in events.split()} for event in EVENTS}


def event_table() -> str:
    rows = [f"| `{event}` | {meaning} |" for event, meaning in EVENTS.items()]
    return "\n".join(["| event | meaning |", "|---|---|", *rows])


def field_table() -> str:
    rows = [f"| `{name}` | all | {meaning} |" for name, meaning in COMMON.items()]
    rows += [f"| `{name}` | {shown(events)} | {meaning} |" for name, (events, meaning) in FIELDS.items()]
    return "\n".join(["| field | events | meaning |", "|---|---|---|", *rows])


def shown(events: str) -> str:
    return ", ".join(f"`{event}`" for event in events.split())
