"""Replies of the gateway, by name, and the exception that carries one.

A reply is data: the basic code (RFC 5321 §4.2), the enhanced status code (RFC 3463, registered in RFC 5248) and a text
for the person who reads the client's log. `SMTPError` may be raised anywhere below the session. The session sends its
reply and goes on, or closes the connection when the code requires that.
"""

import re
import unicodedata
from dataclasses import dataclass, field, replace
from functools import cache

# RFC 5321 §4.5.3.1.5, with CRLF.
LINE_BYTES = 512
FIELD = re.compile(r"\{([a-z]+)\}")


# Codes of the client's mistakes; too many since its last message end the session. What Cakemail rejects, or cannot take
# now, is none: a campaign of thousands of messages goes over one connection.
MISTAKES = frozenset({500, 501, 502, 503, 504, 530, 553, 555})


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply.

    Attributes:
        status: enhanced status code; "" where RFC 2034 §3 wants none: 220, 3xx, and the replies to HELO and EHLO.
        text: lines are separated by newlines; `filled` replaces the `{fields}`.
        name: name of the constant in lower case, for logs and metrics. `filled` keeps it.
    """

    code: int
    status: str
    text: str
    name: str = field(default="", compare=False)

    def filled(self, **fields: object) -> "Reply":
        """Return the reply with its `{fields}` replaced, each made to fit on one line."""
        # str.format is of no use here: a value may contain braces, and the session fills in the host name later.
        text = FIELD.sub(lambda found: one_line(fields.get(found[1], found[0])), self.text)
        return replace(self, text=text)

    @property
    def is_error(self) -> bool:
        return self.code >= 400

    @property
    def is_temporary(self) -> bool:
        return 400 <= self.code < 500

    @property
    def is_mistake(self) -> bool:
        """Whether it counts among the client's mistakes."""
        return self.code in MISTAKES

    @property
    def closes(self) -> bool:
        """Return whether the reply ends the connection: RFC 5321 §3.8 for 421, §4.1.1.10 for QUIT."""
        return self.code in (221, 421)

    def encode(self, session_id: str = "") -> bytes:
        """Return the octets to send. An error contains the session id, so that a user's screenshot leads to the log."""
        text = f"{self.text} [{session_id}]" if session_id and self.is_error else self.text
        status = f"{self.status} " if self.status else ""
        room = LINE_BYTES - len(f"{self.code}-{status}\r\n")
        if len(text) <= room and "\n" not in text:
            return f"{self.code} {status}{text}\r\n".encode("ascii", "replace")
        lines = [line[i : i + room] for line in text.split("\n") for i in range(0, len(line) or 1, room)]
        # RFC 2034 §4: the enhanced code stands on each line of a long reply.
        first = [f"{self.code}-{status}{line}\r\n" for line in lines[:-1]]
        return "".join([*first, f"{self.code} {status}{lines[-1]}\r\n"]).encode("ascii", "replace")


class SMTPError(Exception):
    """A command or message is rejected with `reply`. The session's loop is the only place that catches it."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(f"{reply.code} {reply.status} {reply.text}")
        self.reply = reply


def one_line(value: object) -> str:
    """Return a value as plain ASCII on one line, since text from a client or from Cakemail must not end a reply."""
    text = str(value)
    # Nearly all values take this path, which is much faster than the other one.
    if text.isascii() and text.isprintable():
        return " ".join(text.split())[:800]
    text = unicodedata.normalize("NFKD", text)
    plain = "".join(c if c.isprintable() else " " for c in text if not unicodedata.combining(c))
    return " ".join(plain.split())[:800]


@cache
def offers(hostname: str, max_message_bytes: int, *, encrypted: bool) -> Reply:
    """Return the reply to EHLO, in clear or over TLS."""
    keywords = ["PIPELINING", f"SIZE {max_message_bytes}", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES"]
    # Clients older than RFC 2554 look for "AUTH=", and SendGrid still offers it.
    keywords += ["AUTH PLAIN LOGIN", "AUTH=PLAIN LOGIN"] if encrypted else ["STARTTLS"]
    return Reply(250, "", "\n".join([hostname, *keywords]))


# --- Connection --------------------------------------------------------------------------------------------------

GREETING = Reply(220, "", "{hostname} ESMTP Cakemail SMTP gateway")
HELLO = Reply(250, "", "{hostname}")  # RFC 5321 §4.1.1.1; the extensions are added by the session
GOODBYE = Reply(221, "2.0.0", "Bye")
OK = Reply(250, "2.0.0", "Ok")
CANNOT_VERIFY = Reply(252, "2.0.0", "Cannot verify a user, but will accept a message and try")  # RFC 5321 §3.5.3
HELP = Reply(214, "2.0.0", "EHLO STARTTLS AUTH MAIL RCPT DATA RSET NOOP VRFY HELP QUIT: RFC 5321, 3207, 4954")
READY_FOR_TLS = Reply(220, "2.0.0", "Ready to start TLS")  # RFC 3207 §4

SHUTTING_DOWN = Reply(421, "4.3.2", "{hostname} is restarting; connect again")
IDLE_TIMEOUT = Reply(421, "4.4.2", "{hostname} waited too long for a command; closing")
SESSION_TIMEOUT = Reply(421, "4.4.2", "{hostname} closes connections of this age; connect again")
LOGIN_TIMEOUT = Reply(421, "4.4.2", "{hostname} waited too long for a login; connect again and log in at once")
DATA_TIMEOUT = Reply(421, "4.4.2", "{hostname} waited too long for message data; closing")
TOO_MANY_SESSIONS = Reply(421, "4.3.2", "{hostname} has too many connections; try again later")
TOO_MANY_SESSIONS_FROM_ADDRESS = Reply(421, "4.7.0", "{hostname} has too many connections from your address")
TOO_MANY_ERRORS = Reply(421, "4.7.0", "{hostname} saw too many errors; closing")
TOO_MANY_COMMANDS = Reply(421, "4.7.0", "{hostname} saw too many commands before a login; closing")
TOO_MANY_AUTH_FAILURES = Reply(421, "4.7.0", "{hostname} saw too many failed logins; closing")
PROXY_ONLY = Reply(421, "4.7.0", "{hostname} takes connections from its load balancer only")
PROXY_HEADER_MISSING = Reply(421, "4.3.5", "{hostname} was not told by its load balancer who you are")
NOT_SMTP = Reply(421, "4.7.0", "{hostname} speaks SMTP, not HTTP")

# --- Commands ----------------------------------------------------------------------------------------------------

LINE_TOO_LONG = Reply(500, "5.5.2", "Line too long")  # RFC 5321 §4.5.3.1.4
UNKNOWN_COMMAND = Reply(500, "5.5.1", "Command not recognized")
SYNTAX_ERROR = Reply(501, "5.5.4", "Syntax: {usage}")
NOT_IMPLEMENTED = Reply(502, "5.5.1", "Command not implemented")
HELLO_FIRST = Reply(503, "5.5.1", "Say EHLO first")
MAIL_FIRST = Reply(503, "5.5.1", "Say MAIL FROM first")
RECIPIENT_FIRST = Reply(503, "5.5.1", "Say RCPT TO first")
NESTED_MAIL = Reply(503, "5.5.1", "A message is already under way; RSET to start again")
TLS_ALREADY = Reply(503, "5.5.1", "TLS is already active")
PIPELINED_TLS = Reply(503, "5.5.1", "Commands must not be sent along with STARTTLS")  # CVE-2011-0411
PARAMETER_UNKNOWN = Reply(555, "5.5.4", "Parameter not recognized: {parameter}")  # RFC 5321 §4.1.1.11
TLS_FIRST = Reply(530, "5.7.0", "Must issue a STARTTLS command first")  # RFC 3207 §4
AUTH_FIRST = Reply(530, "5.7.0", "Authentication required")  # RFC 4954 §6

# --- Authentication, RFC 4954 §4 and §6 --------------------------------------------------------------------------

CHALLENGE = Reply(334, "", "{challenge}")
AUTHENTICATED = Reply(235, "2.7.0", "Authentication successful")
AUTH_ALREADY = Reply(503, "5.5.1", "Already authenticated")
MECHANISM_UNKNOWN = Reply(504, "5.5.4", "Authentication mechanism not supported; use PLAIN or LOGIN")
AUTH_CANCELLED = Reply(501, "5.7.0", "Authentication cancelled")
AUTH_MALFORMED = Reply(501, "5.5.2", "Authentication response is not valid base64, or not as the mechanism has it")
BAD_CREDENTIALS = Reply(
    535,
    "5.7.8",
    "Authentication failed; use your Cakemail email address and password, or 'apikey' and an access token",
)
CONTROL_IN_CREDENTIALS = Reply(
    535,
    "5.7.8",
    "Authentication failed: user name or password has a control character; encode them without a line end after them",
)
CHALLENGE_REQUIRED = Reply(
    535,
    "5.7.8",
    "This account uses multi-factor authentication; use 'apikey' as user name and a Cakemail access token as password",
)
LOGIN_THROTTLED = Reply(454, "4.7.0", "Too many failed logins from your address; try again in {seconds} seconds")
LOGIN_UNAVAILABLE = Reply(454, "4.7.0", "Cannot check your credentials now; try again later")

# --- Envelope ----------------------------------------------------------------------------------------------------

SENDER_OK = Reply(250, "2.1.0", "Ok")
RECIPIENT_OK = Reply(250, "2.1.5", "Ok")
BAD_SENDER = Reply(553, "5.1.7", "{address}: not a valid sender address")
BAD_RECIPIENT = Reply(553, "5.1.3", "{address}: not a valid recipient address")
NON_ASCII_RECIPIENT = Reply(553, "5.6.7", "{address}: Cakemail takes no mailbox name outside ASCII")  # RFC 6531 §3.5
# RFC 5321 §4.5.3.1.10
TOO_MANY_RECIPIENTS = Reply(452, "4.5.3", "Too many recipients; send the rest as another message")
NO_ROOM_NOW = Reply(452, "4.3.1", "Too many messages are under way; try again later")
SHARE_OF_ROOM_TAKEN = Reply(452, "4.3.1", "Too many of your messages are under way; send this one after them")
TOO_MANY_LARGE_MESSAGES = Reply(452, "4.3.1", "Too many large messages are under way; try again later")

# --- Message -----------------------------------------------------------------------------------------------------

SEND_DATA = Reply(354, "", "End data with <CR><LF>.<CR><LF>")
QUEUED = Reply(250, "2.0.0", "Ok: queued as {id}")
DISCARDED = Reply(250, "2.0.0", "Ok: test mode ({header}), message discarded, not delivered")
MESSAGE_TOO_BIG = Reply(552, "5.3.4", "Message is larger than {limit} octets")  # RFC 1870 §6.1
REQUEST_TOO_BIG = Reply(
    552,
    "5.3.4",
    "Message becomes larger than {limit} octets on its way to Cakemail; send less text, fewer or smaller attachments,"
    " or each inline image once; message not sent",
)
HEADERS_TOO_BIG = Reply(552, "5.3.4", "Message has too many header fields, or too long ones")
BAD_AUTHOR = Reply(550, "5.6.0", "From must name exactly one address; message not sent")  # RFC 5322 §3.6.2
AUTHOR_WITHOUT_BRACKETS = Reply(
    550,
    "5.6.0",
    "From has a name beside an address: put the address in angle brackets, as in Name <name@example.com>;"
    " message not sent",
)
BAD_STRUCTURE = Reply(554, "5.6.0", "Message cannot be read: {why}; message not sent")
UNSUPPORTED_ATTACHMENT = Reply(
    554,
    "5.6.1",
    "Attachment {name}: type not accepted; Cakemail takes csv, doc, docx, ics, jpeg, pdf, png, xls, xlsx;"
    " message not sent",
)
UNSUPPORTED_PART = Reply(554, "5.6.1", "{what} cannot be carried by Cakemail; message not sent")
UNSUPPORTED_HEADER = Reply(550, "5.3.3", "{header}: {what} is not supported by Cakemail; message not sent")
BAD_HEADER_VALUE = Reply(550, "5.6.0", "{header}: {why}; message not sent")
KEY_REUSED = Reply(550, "5.6.0", "This idempotency key was used for another message within the hour; message not sent")

# --- Sender and account ------------------------------------------------------------------------------------------

SENDER_NOT_CONFIRMED = Reply(
    550,
    "5.7.1",
    "{address}: sender is not confirmed in this Cakemail account; add and confirm it in Cakemail under Senders,"
    " or send from a confirmed one",
)
SENDER_ID_UNKNOWN = Reply(550, "5.7.1", "x-sender-id {id}: no confirmed sender of this Cakemail account has this id")
ACCOUNT_REFUSED = Reply(550, "5.7.1", "x-account-id {id}: these credentials may not act for this account")
CREDENTIALS_REVOKED = Reply(550, "5.7.1", "Your credentials are no longer valid; message not sent")

# --- Answers of Cakemail's API ----------------------------------------------------------------------------------

REFUSED_BY_API = Reply(550, "5.0.0", "{words}")
RECIPIENT_REFUSED_BY_API = Reply(550, "5.1.3", "{words}")
NOT_QUEUED_BY_API = Reply(550, "5.7.1", "Cakemail did not accept the message: {status}")
API_UNAVAILABLE = Reply(451, "4.4.1", "Cakemail cannot be reached now; try again later")
API_FAILED = Reply(451, "4.3.0", "Cakemail could not take the message now; try again later")
API_RATE_LIMITED = Reply(451, "4.7.0", "Cakemail asks to wait {seconds} seconds; try again then")
API_BUSY = Reply(451, "4.4.5", "Too many messages are waiting for Cakemail; try again later")
OUTCOME_UNKNOWN = Reply(451, "4.4.2", "Cakemail did not answer in time; try again later")
STILL_UNKNOWN = Reply(
    451,
    "4.4.2",
    "Cakemail has not said whether it took this message, and may have; it is not submitted again within an hour",
)
INTERNAL_ERROR = Reply(451, "4.3.0", "Something went wrong here; try again later")

for _name, _reply in list(globals().items()):
    if isinstance(_reply, Reply):
        object.__setattr__(_reply, "name", _name.lower())
del _name, _reply
