"""Header fields: where a section of them ends, and one from the next (RFC 5322 §2.2, §3.6.8)."""

import re
from dataclasses import dataclass

from smtpgw.core.replies import BAD_STRUCTURE, HEADERS_TOO_BIG, SMTPError
from smtpgw.message import charsets, parameters
from smtpgw.message.words import escape_octets, one_line

MAX_SECTION_BYTES = 256 * 1024  # of a message or of a part; SendGrid's JSON for some thousand recipients fits
MAX_SECTION_FIELDS = 1000

FIELD = re.compile(r"([!-9;-~]+)[ \t]*:([^\n]*(?:\n[ \t][^\n]*)*+)(?:\n|\Z)")
LOOKS_LIKE_A_FIELD = re.compile(r"^[!-9;-~]+[ \t]*:(?:[ \t]|$)", re.MULTILINE)  # and not like "https://"
FOLD = re.compile(r"(?<!\r)\r*+\n")  # RFC 5322 §2.2.3: the white space after it stays. Each flood of CR is read once
BLANK_LINE = re.compile(rb"\r*\n")
END_OF_SECTION = re.compile(rb"\n\r*\n")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # of editors that wrote a template
MBOX_LINE = re.compile(rb">?From (?![ \t]*:)[^\n]*\n")
# A message that begins with an empty line, as a text block in a program does, and has these after it, means them.
MESSAGE_FIELD = re.compile(rb"(?:\r*+\n)++(?=(?:From|To|Subject|Date|Mime-Version|Content-Type):)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Header:
    """One header field, unfolded, on one line.

    Octets above 127 were UTF-8, else the charset that the message declares, else windows-1252.
    """

    name: str
    value: str  # encoded words (RFC 2047) are left as they are


def find_message_start(raw: bytes) -> int:
    """Where the header section begins: after what mbox files and careless programs put before it."""
    start = len(BYTE_ORDER_MARK) if raw.startswith(BYTE_ORDER_MARK) else 0
    mbox = MBOX_LINE.match(raw, start)
    start = mbox.end() if mbox else start
    blank = MESSAGE_FIELD.match(raw, start)
    return blank.end() if blank else start


def parse_section(raw: bytes, start: int, end: int, charset: str = "") -> tuple[tuple[Header, ...], int]:
    """Return the header fields of a message or of a part that is `raw[start:end]`, and where its body begins.

    `charset` is that of octets above 127 which are no UTF-8; the one that Content-Type declares where it is "".

    Where the empty line before the body is missing, the body begins with the first line that is no field, provided
    that no field comes after it. A line that is neither field nor continuation among others is refused: whether its
    author meant a header or the body, part of the message would be lost, Bcc and Content-Type perhaps.

    Raises:
        SMTPError: BAD_STRUCTURE, HEADERS_TOO_BIG.
    """
    if blank := BLANK_LINE.match(raw, start, end):
        return (), blank.end()
    window_end = min(end, start + MAX_SECTION_BYTES)
    ending = END_OF_SECTION.search(raw, start, window_end)
    is_whole = bool(ending) or window_end == end
    block = raw[start : ending.start() + 1 if ending else window_end].decode("latin_1")
    if not is_whole:
        block = block[: block.rfind("\n") + 1] or block
    found: list[tuple[str, str]] = []
    at = 0
    while at < len(block):
        field = FIELD.match(block, at)
        if not field:
            if LOOKS_LIKE_A_FIELD.search(block, at):
                line = block.count("\n", 0, at) + 1
                raise SMTPError(BAD_STRUCTURE.filled(why=f"line {line} of a header section is no header field"))
            return make_headers(found, charset or find_declared_charset(block, found)), start + at
        if len(found) == MAX_SECTION_FIELDS:
            raise SMTPError(HEADERS_TOO_BIG)
        found.append((field[1], field[2]))
        at = field.end()
    if not is_whole:
        raise SMTPError(HEADERS_TOO_BIG)
    return make_headers(found, charset or find_declared_charset(block, found)), ending.end() if ending else window_end


def find_declared_charset(block: str, found: list[tuple[str, str]]) -> str:
    """Return the charset that Content-Type declares for octets of the section above 127, "" where there are none."""
    if block.isascii():
        return ""
    content_type = next((value for name, value in found if name.lower() == "content-type"), "")
    return parameters.parse(decode_value(content_type, ""))[1].get("charset", "")


def make_headers(found: list[tuple[str, str]], charset: str) -> tuple[Header, ...]:
    """Return the fields whose names and values were found; the octets of the values are given as Latin-1."""
    return tuple([Header(name, decode_value(value, charset)) for name, value in found])


def decode_value(value: str, charset: str) -> str:
    """Return the text of a field's octets, given as Latin-1."""
    if "\n" in value:
        value = FOLD.sub("", value)
    if not value.isascii():
        if "=?" in value:
            value = escape_octets(value)
        # Stripped of ASCII alone: the octet A0 of a character is no space yet.
        value = charsets.decode_header(value.strip(" \t\r\n").encode("latin_1"), charset)
    return one_line(value.strip())
