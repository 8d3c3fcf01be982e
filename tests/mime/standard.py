"""The parts of a message as the standard library's parser reads them, and as the gateway does, in the same plain data.

The gateway's own reading (`smtpgw.message`) is held to the standard one (`email`, policy compat32) by a test.
"""

import email
from contextlib import suppress
from dataclasses import dataclass, field
from email.header import decode_header, make_header
from email.message import Message

from smtpgw.message import charsets, parts, transfer
from smtpgw.message.fields import find_message_start
from smtpgw.message.words import replace_controls

NAMING_FIELDS = ("content-disposition", "content-type")


@dataclass
class Piece:
    """One part. Only a leaf has a disposition, a file name and octets; a message in a message has no octets here."""

    headers: list[tuple[str, str]]
    type: str
    disposition: str = ""
    file_name: str = ""
    octets: bytes | None = None
    pieces: list["Piece"] = field(default_factory=list)

    def without_content_fields(self) -> "Piece":
        """The same but for the fields that say how it is written."""
        headers = [(name, value) for name, value in self.headers if not name.startswith("content-")]
        pieces = [piece.without_content_fields() for piece in self.pieces]
        return Piece(headers, self.type, self.disposition, self.file_name, self.octets, pieces)


# --- The gateway's way ------------------------------------------------------------------------------------------------


def ours(raw: bytes) -> Piece:
    """Raises SMTPError."""
    return of_part(parts.parse(raw))


def of_part(part: parts.Part) -> Piece:
    piece = Piece([(header.name.lower(), header.value) for header in part.headers], part.type)
    if part.type.startswith("multipart/"):
        piece.pieces = [of_part(child) for child in part.children]
        return piece
    piece.disposition, piece.file_name = part.disposition, part.file_name
    if not part.type.startswith("message/"):
        piece.octets = transfer.decode(part.body, part.encoding)
    return piece


# --- The standard way -------------------------------------------------------------------------------------------------


def standards(raw: bytes) -> Piece:
    """What careless programs put before the header section is skipped first: the standard parser reads it as a body."""
    return of_message(email.message_from_bytes(raw[find_message_start(raw) :]))


def of_message(message: Message) -> Piece:
    piece = Piece([(name.lower(), text(value)) for name, value in message.raw_items()], message.get_content_type())
    if piece.type.startswith("multipart/"):
        children = message.get_payload()
        piece.pieces = [of_message(child) for child in children] if isinstance(children, list) else []
        return piece
    piece.disposition = message.get_content_disposition() or ""
    piece.file_name = name_of(piece.headers)
    if not piece.type.startswith("message/"):
        piece.octets = message.get_payload(decode=True)
    return piece


def text(value: str) -> str:
    """A field's value on one line; its octets above 127, which are surrogates here, are UTF-8, else windows-1252."""
    octets = value.encode("ascii", "surrogateescape").replace(b"\r", b"").replace(b"\n", b"")
    return replace_controls(charsets.decode_utf_8_or_windows_1252(octets).strip())


def name_of(headers: list[tuple[str, str]]) -> str:
    """The name of a file, with the encoded words that no standard allows there and most programs write."""
    readable = Message()  # the parser's own has its octets above 127 replaced by question marks
    for name, value in headers:
        if name in NAMING_FIELDS and name not in readable:
            readable[name] = value
    name = readable.get_filename("")
    with suppress(LookupError, UnicodeError, ValueError):
        name = str(make_header(decode_header(name)))
    return replace_controls(name).strip()
