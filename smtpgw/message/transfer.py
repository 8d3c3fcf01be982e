"""Content-Transfer-Encoding undone (RFC 2045 §6), and base64 made for the API without undoing it."""

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
    """The octets of a body. An encoding that RFC 2045 does not know is taken for none, so that a text can be read.

    Raises:
        SMTPError: BAD_STRUCTURE
    """
    if encoding == "quoted-printable":
        return decode_quoted_printable(body)
    if encoding == "base64":
        return decode_base64(body)
    return body


def encode_base64(body: bytes, encoding: str) -> str:
    """The octets of a file as padded base64 on one line; what is base64 already is checked and passed through.

    Raises:
        SMTPError: BAD_STRUCTURE
    """
    if encoding == "base64":
        packed = body.translate(None, WHITE_SPACE)
        if is_clean(packed):
            return packed.decode("ascii")
    if encoding not in ENCODINGS:
        raise SMTPError(BAD_STRUCTURE.filled(why=f"the Content-Transfer-Encoding of an attachment is {encoding[:40]}"))
    return base64.b64encode(decode(body, encoding)).decode("ascii")


def is_clean(packed: bytes) -> bool:
    padding = packed.translate(None, ALPHABET)
    return len(packed) % 4 == 0 and padding in (b"", b"=", b"==") and packed.endswith(padding)


def decode_base64(body: bytes) -> bytes:
    """Octets of base64, clean or in pieces that were encoded each for itself.

    Characters outside the alphabet are ignored (RFC 2045 §6.8). Where there are any, what follows the padding is not
    encoded at all: it is a footer, say.
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
    """What letters without padding stand for. One too many is no octet and goes."""
    return binascii.a2b_base64(letters[: len(letters) - (len(letters) % 4 == 1)] + b"==")


def decode_quoted_printable(body: bytes) -> bytes:
    """Octets of quoted-printable. What is no encoding stays as it is: "=" before anything but two hex digits."""
    if b"= " in body or b"=\t" in body:
        body = repair(PADDED_SOFT_BREAK, b"=", body)  # RFC 2045 §6.7, rule 3: white space added on the way
    if body.count(b"=\r") != body.count(b"=\r\n"):
        body = repair(SOFT_BREAK_BY_CR, b"=\r\n", body)  # the decoder would drop the next line with it
    if b"==" in body:
        body = repair(EQUALS_SIGN, b"=3D", body)  # the decoder would make one of two
    return binascii.a2b_qp(body)


def repair(mistake: re.Pattern[bytes], meant: bytes, body: bytes) -> bytes:
    body, found = mistake.subn(meant, body, MAX_MISTAKES)
    if found == MAX_MISTAKES:
        raise SMTPError(BAD_STRUCTURE.filled(why="its quoted-printable has too many mistakes"))
    return body
