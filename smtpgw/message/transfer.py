"""Decoding of Content-Transfer-Encoding (RFC 2045 §6), and base64 for the API, which reuses valid base64."""

import base64
import binascii
import re
from itertools import islice

from smtpgw.core.replies import BAD_STRUCTURE, SMTPError

ENCODINGS = ("", "7bit", "8bit", "binary", "quoted-printable", "base64")  # RFC 2045 §6.1
ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
WHITE_SPACE = b" \t\r\n"
OUTSIDE = bytes(set(range(256)) - set(ALPHABET + b"="))
PIECE = re.compile(rb"[A-Za-z0-9+/]+")
MAX_PIECES = 1000

PADDED_SOFT_BREAK = re.compile(rb"=[ \t]+(?=\r?\n)")
SOFT_BREAK_BY_CR = re.compile(rb"=\r(?!\n)")
EQUALS_SIGN = re.compile(rb"=(?==)")
MAX_MISTAKES = 10_000


def decode(body: bytes, encoding: str) -> bytes:
    """Return the octets of a body. An unknown encoding counts as none, so that a text stays readable.

    Raises:
        SMTPError: BAD_STRUCTURE.
    """
    if encoding == "quoted-printable":
        return decode_quoted_printable(body)
    if encoding == "base64":
        return decode_base64(body)
    return body


def encode_base64(body: bytes, encoding: str) -> str:
    """Return the octets of a file as padded base64 on one line. Valid base64 is passed through.

    Raises:
        SMTPError: BAD_STRUCTURE.
    """
    if encoding == "base64":
        packed = body.translate(None, WHITE_SPACE)
        if is_clean(packed):
            return packed.decode("ascii")
    if encoding not in ENCODINGS:
        raise SMTPError(BAD_STRUCTURE.filled(why=f"the Content-Transfer-Encoding of an attachment is {encoding[:40]}"))
    return base64.b64encode(decode(body, encoding)).decode("ascii")


def is_clean(packed: bytes) -> bool:
    """Return whether base64 without white space is valid and complete."""
    padding = packed.translate(None, ALPHABET)
    return len(packed) % 4 == 0 and padding in (b"", b"=", b"==") and packed.endswith(padding)


def decode_base64(body: bytes) -> bytes:
    """Decode base64, also if it consists of pieces that were encoded separately.

    Characters outside the alphabet are ignored (RFC 2045 §6.8). If there are any, the text after the padding is not
    base64, but a footer for example, and is ignored too.

    Raises:
        SMTPError: BAD_STRUCTURE.
    """
    packed = body.translate(None, WHITE_SPACE)
    if is_clean(packed):
        return binascii.a2b_base64(packed)
    if packed.translate(None, ALPHABET + b"="):
        packed = packed.translate(None, OUTSIDE).partition(b"=")[0]
    pieces = [found[0] for found in islice(PIECE.finditer(packed), MAX_PIECES + 1)]
    if len(pieces) > MAX_PIECES:
        raise SMTPError(BAD_STRUCTURE.filled(why="its base64 is padded in too many places"))
    return b"".join(map(decode_piece, pieces))


def decode_piece(letters: bytes) -> bytes:
    """Decode base64 letters without padding. A surplus letter does not encode an octet and is dropped."""
    return binascii.a2b_base64(letters[: len(letters) - (len(letters) % 4 == 1)] + b"==")


def decode_quoted_printable(body: bytes) -> bytes:
    """Decode quoted-printable. An "=" that does not precede two hex digits stays unchanged.

    Raises:
        SMTPError: BAD_STRUCTURE.
    """
    if b"= " in body or b"=\t" in body:
        # RFC 2045 §6.7, rule 3: relays may add white space at the end of a line.
        body = repair(PADDED_SOFT_BREAK, b"=", body)
    if body.count(b"=\r") != body.count(b"=\r\n"):
        # The decoder would drop the line after a soft line break that is a bare CR.
        body = repair(SOFT_BREAK_BY_CR, b"=\r\n", body)
    if b"==" in body:
        # The decoder would replace "==" by "=".
        body = repair(EQUALS_SIGN, b"=3D", body)
    return binascii.a2b_qp(body)


def repair(mistake: re.Pattern[bytes], meant: bytes, body: bytes) -> bytes:
    """Replace each match of `mistake` by `meant`. Raises SMTPError (BAD_STRUCTURE) if there are too many."""
    body, found = mistake.subn(meant, body, MAX_MISTAKES)
    if found == MAX_MISTAKES:
        raise SMTPError(BAD_STRUCTURE.filled(why="its quoted-printable has too many mistakes"))
    return body
