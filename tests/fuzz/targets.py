"""What is fuzzed: each target takes octets and does with them what the gateway does; only a refusal may come of it."""

from collections.abc import Callable

from smtpgw.cakemail.http11 import AnswerReader, InvalidAnswer
from smtpgw.config.provider_map import ProviderMap
from smtpgw.core.addresses import mailbox
from smtpgw.core.replies import SMTPError
from smtpgw.dialects import interpreter
from smtpgw.message import parser
from smtpgw.net import proxy_protocol
from smtpgw.smtp import commands, sasl
from smtpgw.submission import translation
from tests.support.recorder import STATES, InProcess

RECIPIENTS = ["ann@customer.example", "bob@customer.example"]
MAPPINGS = ProviderMap.EMPTY.account(1)
NAMES = [
    *sorted(interpreter.ROWS),
    "Subject",
    "From",
    "Reply-To",
    "List-Unsubscribe",
    "Content-Type",
    "Content-Disposition",
]


def command_line(octets: bytes) -> None:
    """A command, and its argument as each command would read it."""
    try:
        _, argument = commands.split_line(octets)
    except SMTPError as refusal:
        check(refusal)
        return
    for read in (commands.parse_mail, commands.parse_rcpt, mailbox):
        try:
            read(argument)  # type: ignore[operator]
        except SMTPError as refusal:
            check(refusal)


def credentials(octets: bytes) -> None:
    """A client's responses to AUTH, one a line."""
    for mechanism in sasl.MECHANISMS.values():
        lines = iter(octets.decode("latin-1").split("\n"))
        try:
            mechanism(next(lines), lambda _, lines=lines: next(lines, "*"))  # type: ignore[misc]
        except SMTPError as refusal:
            check(refusal)


def a_message(octets: bytes) -> None:
    """A message on its whole way to a request."""
    for inline_images, null_sender in (("embed", False), ("refuse", False), ("embed", True)):
        try:
            mail = parser.parse(octets, inline_images, null_sender=null_sender)
            options = interpreter.read(mail, RECIPIENTS, MAPPINGS)
            request = translation.translate(mail, options, "sender", 1, "transactional")
        except SMTPError as refusal:
            check(refusal)
            continue
        assert request.body_for(RECIPIENTS[0]).startswith(b'{"email":"ann@customer.example"')


def headers(octets: bytes) -> None:
    """A message of which only the header section is fuzzed; its fields are those that mean something to a dialect."""
    name, _, value = octets.partition(b":")
    known = NAMES[sum(name) % len(NAMES)].encode()
    a_message(b"From: s@x.example\r\n" + known + b": " + value + b"\r\n\r\nhello\r\n")


def proxy_header(octets: bytes) -> None:
    """What a load balancer says first."""
    head = b""
    try:
        while more := proxy_protocol.missing_bytes(head):
            if len(head) == len(octets):
                return
            head = octets[: len(head) + more]
        proxy_protocol.parse_client(head)
    except proxy_protocol.ProxyError:
        return


def dialogue(octets: bytes) -> None:
    """A whole session, from the state that the first octet says, in packets as long as it says."""
    if not octets:
        return
    session = InProcess(STATES[octets[0] % len(STATES)])
    size = 1 + octets[0] // len(STATES)
    heard = session.converse([octets[i : i + size] for i in range(1, len(octets), size)])
    assert heard.startswith(b"220 "), heard


def api_answer(octets: bytes) -> None:
    """An answer of the API reads as the same, or as invalid, in whatever pieces it comes."""
    pieces = [octets[at : at + 1] for at in range(len(octets))]
    assert read_answer([octets]) == read_answer(pieces)


def read_answer(pieces: list[bytes]) -> tuple[int, dict[str, str], bytes] | None:
    """Return status, header and body of an answer, None where it is invalid or not whole."""
    reader = AnswerReader()
    try:
        for piece in pieces:
            reader.feed(piece)
        if not reader.is_whole:
            reader.end()
    except InvalidAnswer:
        return None
    return reader.status, reader.headers, reader.content


def check(refusal: SMTPError) -> None:
    """A refusal is for the client to hear: a line of ASCII, or several, with a code that means one."""
    assert 400 <= refusal.reply.code < 600, refusal
    encoded = refusal.reply.encode("0" * 12)
    assert encoded.endswith(b"\r\n")
    assert all(32 <= octet < 127 for octet in encoded.replace(b"\r\n", b"")), encoded


TARGETS: dict[str, Callable[[bytes], None]] = {
    "command_line": command_line,
    "credentials": credentials,
    "message": a_message,
    "headers": headers,
    "proxy_header": proxy_header,
    "dialogue": dialogue,
    "api_answer": api_answer,
}
