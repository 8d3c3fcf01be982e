"""The command `explain`: show the API requests and the reply for a message, without a network connection."""

import argparse
import json
import os
import sys
from collections.abc import Iterator
from typing import Any

from smtpgw.cakemail.client import acting_for
from smtpgw.commands.console import BOLD, DIM, GREEN, RED, complain, say, shortened
from smtpgw.commands.explanation import Explanation, NoRecipient, explained
from smtpgw.config.parsers import SettingsError
from smtpgw.config.provider_map import ProviderMap, ProviderMapError
from smtpgw.config.settings import Settings

ACCEPTED, REJECTED, UNKNOWN = 0, 1, 2  # exit statuses
STYLES = {"refused": RED, "warned": BOLD, "test mode": BOLD, "stripped": DIM}  # of verdicts


def main(arguments: list[str]) -> int:
    """Explain a message.

    Returns:
        The exit status: 0 when it would be accepted, 1 when it would be rejected, 2 when the result is unknown.
    """
    options = parser().parse_args(arguments)
    try:
        settings = Settings.from_environ({**os.environ, "SMTPGW_TLS_CERT": os.devnull, "SMTPGW_TLS_KEY": os.devnull})
        mappings = ProviderMap.load(options.account_map or settings.mappings_file)
        mapping = mappings.account(options.account) if options.account else mappings.default
        sender = "" if options.sender == "<>" else options.sender
        explanation = explained(read(options.file), sender, options.recipients, mapping, settings)
    except (SettingsError, ProviderMapError) as problem:
        complain("\n".join(problem.mistakes))
        return UNKNOWN
    except OSError as problem:
        complain(f"{options.file}: {problem.strerror}")
        return UNKNOWN
    except NoRecipient:
        complain("There is no recipient: neither To, Cc nor Bcc names one. Give --to.")
        return UNKNOWN
    if options.json:
        for piece in as_json(explanation):
            sys.stdout.buffer.write(piece)
    else:
        show(explanation)
    return REJECTED if explanation.reply.is_error else ACCEPTED


def parser() -> argparse.ArgumentParser:
    """Return the parser of the arguments."""
    made = argparse.ArgumentParser(
        prog="python -m smtpgw explain",
        description="Show what the gateway would do with a message: the requests to Cakemail's API, the result for"
        " each header and its reason, and the reply to the client. Sends nothing and needs no account. Use `check` to"
        " see whether a sender is confirmed.",
        epilog="The exit status is 0 when the message would be accepted, 1 when it would be rejected.",
    )
    made.add_argument("file", metavar="FILE", help="the message; - is standard input")
    made.add_argument(
        "--from",
        dest="sender",
        metavar="ADDRESS",
        help="address of MAIL FROM; by default that of the header From, or <> for a bounce",
    )
    made.add_argument(
        "--to",
        dest="recipients",
        metavar="ADDRESS",
        action="append",
        default=[],
        help="address of RCPT TO, may be repeated; by default the addresses of To, Cc and Bcc",
    )
    made.add_argument("--account-map", metavar="FILE", help="provider map; by default SMTPGW_MAPPINGS_FILE")
    made.add_argument("--account", metavar="ID", type=int, help="account whose map is used; by default the default map")
    made.add_argument("--json", action="store_true", help="print the exact result as JSON, for programs")
    return made


def read(file: str) -> bytes:
    """Return the content of a file, or of standard input for `-`. Raises OSError."""
    if file == "-":
        return sys.stdin.buffer.read()
    with open(file, "rb") as message:
        return message.read()


# --- For people -------------------------------------------------------------------------------------------------------


def show(explanation: Explanation) -> None:
    """Print an explanation for people."""
    say("Envelope", BOLD)
    say(f"  from       {explanation.envelope.reverse_path or '<>'}")
    say(f"  to         {', '.join(explanation.envelope.recipients) or 'nobody yet'}")
    if headers := explanation.headers:
        say("\nHeaders", BOLD)
        width = min(max(len(found.header) for found in headers), 36)
        for found in headers:
            say(f"  {found.verdict:9}  {found.header:{width}}  {found.detail}".rstrip(), STYLES.get(found.verdict, ""))
    if notes := explanation.notes:
        say("\nChanged to fit the API", BOLD)
        for note in notes:
            say(f"  {note}")
    if decisions := explanation.decisions:
        say("\nDecided", BOLD)
        for what, decision in decisions.items():
            say(f"  {what:9}  {decision.value}  ({decision.why})")
    if explanation.is_sent:
        show_requests(explanation)
    reply = explanation.reply
    say("\nReply", BOLD)
    say(f"  {reply.code} {reply.status} {reply.text}", RED if reply.is_error else GREEN)


def show_requests(explanation: Explanation) -> None:
    """Print the first request. The others differ only in the recipient."""
    _, *others = explanation.envelope.recipients
    say(f"\nThe API's request{'s' if others else ''}", BOLD)
    say(" ".join((*endpoint(explanation), json.dumps(shortened(explanation.body), indent=2, ensure_ascii=False))))
    for recipient in others:
        say(f'and the same with "email": {json.dumps(recipient)}')


def endpoint(explanation: Explanation) -> tuple[str, str]:
    """Return the method and the path of the requests."""
    account = explanation.options.account_id if explanation.options else None
    query = "&".join(f"{name}={value}" for name, value in acting_for(account).items())
    return "POST", "/v2/emails" + (f"?{query}" if query else "")


# --- For programs -----------------------------------------------------------------------------------------------------


def as_json(explanation: Explanation) -> Iterator[bytes]:
    """Yield one JSON object in pieces. The bodies are exactly those that would be sent; only one is in memory."""
    reply = explanation.reply
    found: dict[str, Any] = {
        "envelope": {"from": explanation.envelope.reverse_path, "to": explanation.envelope.recipients},
        "reply": {"code": reply.code, "status": reply.status, "text": reply.text},
        "headers": [header._asdict() for header in explanation.headers],
        "notes": explanation.notes,
        "decisions": {what: decision._asdict() for what, decision in explanation.decisions.items()},
    }
    yield json.dumps(found, ensure_ascii=False).encode().removesuffix(b"}") + b', "requests": ['
    if explanation.is_sent and explanation.request:
        method, path = endpoint(explanation)
        for number, recipient in enumerate(explanation.envelope.recipients):
            yield b", " * bool(number) + json.dumps({"method": method, "path": path}).encode().removesuffix(b"}")
            yield b', "body": ' + explanation.request.body_for(recipient) + b"}"
    yield b"]}\n"
