"""Content-Transfer-Encoding undone (RFC 2045 §6), and base64 made for the API without undoing it."""

import base64
import binascii
import re

from smtpgw.replies import BAD_STRUCTURE, Refused

ENCODINGS = ("", "7bit", "8bit", "binary", "quoted-printable", "base64")  # RFC 2045 §6.1
ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
WHITE_SPACE = b" \t\r\n"
OUTSIDE = bytes(set(range(256)) - set(ALPHABET + b"="))
STREAM = re.compile(rb"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")
MANY_STREAMS = 1000

PADDED_SOFT_BREAK = re.compile(rb"=[ \t]+(?=\r?\n)")
SOFT_BREAK_BY_CR = re.compile(rb"=\r(?!\n)")
EQUALS_SIGN = re.compile(rb"=(?==)")
MANY_MISTAKES = 10_000


def content(body: bytes, encoding: str) -> bytes:
    """The octets of a body. An encoding that RFC 2045 does not know is taken for none, so that a text can be read.

    Raises:
        Refused: BAD_STRUCTURE
    """
    if encoding == "quoted-printable":
        return quoted_printable(body)
    if encoding == "base64":
        return base64_octets(body)
    return body


def base64_content(body: bytes, encoding: str) -> str:
    """The octets of a file as padded base64 on one line; what is base64 already is checked and passed through.

    Raises:
        Refused: BAD_STRUCTURE
    """
    if encoding == "base64":
        packed = body.translate(None, WHITE_SPACE)
        if is_clean(packed):
            return packed.decode("ascii")
    if encoding not in ENCODINGS:
        raise Refused(BAD_STRUCTURE.filled(why=f"the Content-Transfer-Encoding of an attachment is {encoding[:40]}"))
    return base64.b64encode(content(body, encoding)).decode("ascii")


def is_clean(packed: bytes) -> bool:
    padding = packed.translate(None, ALPHABET)
    return len(packed) % 4 == 0 and padding in (b"", b"=", b"==") and packed.endswith(padding)


def base64_octets(body: bytes) -> bytes:
    """Octets of base64, clean or not: characters outside the alphabet are ignored (RFC 2045 §6.8)."""
    packed = body.translate(None, WHITE_SPACE)
    if is_clean(packed):
        return binascii.a2b_base64(packed)
    streams = clean_streams(packed)
    if streams:
        return b"".join(binascii.a2b_base64(stream) for stream in streams)
    packed = packed.translate(None, OUTSIDE).partition(b"=")[0]
    return binascii.a2b_base64(packed[: len(packed) - (len(packed) % 4 == 1)] + b"==")


def clean_streams(packed: bytes) -> list[bytes]:
    """What was encoded in pieces, each with its own padding; nothing where it is not that."""
    streams: list[bytes] = []
    at = 0
    while at < len(packed):
        found = STREAM.match(packed, at)
        if not found or found.end() == at:
            return []
        if len(streams) == MANY_STREAMS:
            raise Refused(BAD_STRUCTURE.filled(why="its base64 is padded in too many places"))
        streams.append(found[0])
        at = found.end()
    return streams


def quoted_printable(body: bytes) -> bytes:
    """Octets of quoted-printable. What is no encoding stays as it is: "=" before anything but two hex digits."""
    if b"= " in body or b"=\t" in body:
        body = mended(PADDED_SOFT_BREAK, b"=", body)  # RFC 2045 §6.7, rule 3: white space added on the way
    if body.count(b"=\r") != body.count(b"=\r\n"):
        body = mended(SOFT_BREAK_BY_CR, b"=\r\n", body)  # the decoder would drop the next line with it
    if b"==" in body:
        body = mended(EQUALS_SIGN, b"=3D", body)  # the decoder would make one of two
    return binascii.a2b_qp(body)


def mended(mistake: re.Pattern[bytes], meant: bytes, body: bytes) -> bytes:
    body, found = mistake.subn(meant, body, MANY_MISTAKES)
    if found == MANY_MISTAKES:
        raise Refused(BAD_STRUCTURE.filled(why="its quoted-printable has too many mistakes"))
    return body
