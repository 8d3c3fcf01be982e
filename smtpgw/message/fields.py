"""Parser for header sections: their end, and the fields in them (RFC 5322 §2.2, §3.6.8)."""

import re
from dataclasses import dataclass

from smtpgw.core.replies import BAD_STRUCTURE, HEADERS_TOO_BIG, SMTPError
from smtpgw.message import charsets, parameters
from smtpgw.message.words import escape_octets, replace_controls

# The header section of a message or part. X-SMTPAPI with the data of many recipients must fit.
MAX_SECTION_BYTES = 256 * 1024
MAX_SECTION_FIELDS = 1000

FIELD = re.compile(r"([!-9;-~]+)[ \t]*:([^\n]*(?:\n[ \t][^\n]*)*+)(?:\n|\Z)")
# White space or a line end must follow the colon, so that "https://" does not match.
LOOKS_LIKE_A_FIELD = re.compile(r"^[!-9;-~]+[ \t]*:(?:[ \t]|$)", re.MULTILINE)
# RFC 5322 §2.2.3: the white space after the line end is kept. The lookbehind keeps the search linear in a run of CRs.
FOLD = re.compile(r"(?<!\r)\r*+\n")
BLANK_LINE = re.compile(rb"\r*\n")
END_OF_SECTION = re.compile(rb"\n\r*\n")
# Some editors write a byte order mark at the beginning of a template.
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
MBOX_LINE = re.compile(rb">?From (?![ \t]*:)[^\n]*\n")
# Empty lines before these fields are ignored: a message from a text block in a program begins with one.
MESSAGE_FIELD = re.compile(rb"(?:\r*+\n)++(?=(?:From|To|Subject|Date|Mime-Version|Content-Type):)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Header:
    """A header field, unfolded to one line.

    Octets above 127 are decoded as UTF-8, the charset that the message declares, or windows-1252, in this order.
    """

    name: str
    # Encoded words (RFC 2047) are not decoded.
    value: str


def find_message_start(raw: bytes) -> int:
    """Return the start of the header section, after a byte order mark, an mbox line or empty lines."""
    start = len(BYTE_ORDER_MARK) if raw.startswith(BYTE_ORDER_MARK) else 0
    mbox = MBOX_LINE.match(raw, start)
    start = mbox.end() if mbox else start
    blank = MESSAGE_FIELD.match(raw, start)
    return blank.end() if blank else start


def parse_section(raw: bytes, start: int, end: int, charset: str = "") -> tuple[tuple[Header, ...], int]:
    """Return the header fields of a message or part, and the position of its body.

    If the empty line before the body is missing, the body begins at the first line that is not a field, provided that
    no field follows. A line between fields that is neither a field nor a continuation is rejected: part of the message,
    possibly Bcc or Content-Type, would be lost whichever way the line is read.

    Args:
        raw: The octets of the whole message.
        start: The position of the message or part in `raw`.
        end: The end of the message or part in `raw`.
        charset: The charset of octets above 127 that are not UTF-8. By default the one that Content-Type declares.

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
    """Return the charset that Content-Type declares, "" if there is none or the section is ASCII."""
    if block.isascii():
        return ""
    content_type = next((value for name, value in found if name.lower() == "content-type"), "")
    return parameters.parse(decode_value(content_type, ""))[1].get("charset", "")


def make_headers(found: list[tuple[str, str]], charset: str) -> tuple[Header, ...]:
    """Return the fields for pairs of names and values. The values are octets decoded as Latin-1."""
    return tuple([Header(name, decode_value(value, charset)) for name, value in found])


def decode_value(value: str, charset: str) -> str:
    """Return the text of a field. Its octets are passed as Latin-1."""
    if "\n" in value:
        value = FOLD.sub("", value)
    if not value.isascii():
        if "=?" in value:
            value = escape_octets(value)
        # Only ASCII white space is stripped: the octet A0 may be part of a character.
        value = charsets.decode_header(value.strip(" \t\r\n").encode("latin_1"), charset)
    return replace_controls(value.strip())
