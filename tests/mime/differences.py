"""Where the gateway reads a message otherwise than the standard library does: the whole list, each with its reason.

A difference is no excuse but a claim: the gateway reads the odd message as the standard parser reads the mended one.
"""

import base64
import binascii
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

HEADER = b"From: a@example.com\r\nSubject: Hi\r\n"
MIXED = HEADER + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
BASE64 = re.compile(
    rb"(?im)^(content-transfer-encoding: base64\r?\n(?:[!-9;-~]+:.*\n)*\r?\n)((?:[A-Za-z0-9+/=]+\r?\n?)+)"
)
ENCODED_WORD = re.compile(rb"=\?([^?\s]+)\?([bBqQ])\?([^?\r\n]*)\?=")
DECLARED = re.compile(rb"(?i)\bcharset=\"?([A-Za-z0-9_.:-]+)")
WHOLE_VALUE = re.compile(
    rb"(?im)^(content-(?:type|disposition): )((?:=\?[^?\s]+\?[bq]\?[^?\r\n]*\?=(?:\r\n[ \t])?)+)(?=\r?$)"
)
STREAM = re.compile(rb"([A-Za-z0-9+/]+)=*")


@dataclass(frozen=True)
class Difference:
    """`mend` writes the oddity in a message so that both readings understand it."""

    name: str
    why: str
    odd: bytes  # an example
    mend: Callable[[bytes], bytes]

    def __str__(self) -> str:
        return self.name


def replacing(pattern: bytes, by: bytes) -> Callable[[bytes], bytes]:
    compiled = re.compile(pattern)
    return lambda raw: compiled.sub(by, raw)


def clean_base64(raw: bytes) -> bytes:
    return BASE64.sub(lambda body: body[1] + clean_streams(body[2]), raw)


def clean_streams(body: bytes) -> bytes:
    """Each stream of base64 without the letter that is too much, and with its padding; all of them as one."""
    packed = b"".join(body.split())
    octets = b""
    for stream in STREAM.finditer(packed):
        letters = stream[1][: len(stream[1]) - (len(stream[1]) % 4 == 1)]
        octets += base64.b64decode(letters + b"=" * (-len(letters) % 4))
    return base64.b64encode(octets) + b"\r\n"


def clean_quoted_printable(raw: bytes) -> bytes:
    head, blank, body = raw.partition(b"\r\n\r\n")
    body = re.sub(rb"=[ \t]+(?=\r?\n)", b"=", body)
    body = re.sub(rb"=\r(?!\n)", b"=\r\n", body)
    return head + blank + re.sub(rb"=(?![0-9A-Fa-f]{2}|\r?\n)", b"=3D", body)


def decode_whole_values(raw: bytes) -> bytes:
    """Content-Type and Content-Disposition without the encoded words that hold all of their value."""
    return WHOLE_VALUE.sub(lambda field: field[1] + decoded_words(field[2]), raw)


def decoded_words(words: bytes) -> bytes:
    octets = b""
    for _, encoding, encoded in ENCODED_WORD.findall(words):
        octets += base64.b64decode(encoded) if encoding in b"bB" else binascii.a2b_qp(encoded, header=True)
    return octets  # which are UTF-8 in what is compared


def escape_raw_octets(raw: bytes) -> bytes:
    """Encoded words as RFC 2047 wants them: octets above 127 as =XX, in UTF-8 where they are that; none in base64."""
    return ENCODED_WORD.sub(lambda word: word[0] if word[0].isascii() else escaped(word), raw)


def escaped(word: re.Match[bytes]) -> bytes:
    charset, encoding, text = word.groups()
    if encoding in b"bB":
        return b"=?%s?%s?%s?=" % (charset, encoding, bytes(octet for octet in text if octet < 128))
    with suppress(UnicodeDecodeError):
        binascii.a2b_qp(text, header=True).decode("utf-8")
        charset = b"utf-8"
    text = b"".join(b"=%02X" % octet if octet > 127 else bytes([octet]) for octet in text)
    return b"=?%s?%s?%s?=" % (charset, encoding, text)


def header_fields_in_utf_8(raw: bytes) -> bytes:
    """The header section of a message with the octets that are no UTF-8 recoded from the charset that is declared."""
    head, blank, body = raw.partition(b"\r\n\r\n")
    if not (declared := DECLARED.search(raw)):
        return raw
    lines = []
    for line in head.split(b"\r\n"):
        try:
            line.decode("utf-8")
        except UnicodeDecodeError:
            line = line.decode(declared[1].decode()).encode()
        lines.append(line)
    return b"\r\n".join(lines) + blank + body


DIFFERENCES = (
    Difference(
        "space before the colon",
        "RFC 5322 §4.5 wants it read; the standard parser takes the line, and all after it, for the body:"
        " `Bcc : eve@example.org` would be read by every recipient.",
        HEADER + b"Bcc : eve@example.org\r\n\r\nHello\r\n",
        replacing(rb"(?m)^([!-9;-~]+)[ \t]+:", rb"\1:"),
    ),
    Difference(
        "bare CR in a header field",
        "RFC 5322 §2.2: a line ends with CRLF. The standard parser ends it with CR alone, so that a subject that an"
        " application took from a form becomes two fields, the second of a stranger's choice.",
        HEADER + b"X-A: one\rBcc: eve@example.org\r\n\r\nHello\r\n",
        replacing(rb"\r(?!\n)", b" "),
    ),
    Difference(
        "lines that end with CR CR LF",
        "Programs that write CRLF where their library does so again make them. The standard parser sees an empty line"
        " after the first field, and takes the others for the body.",
        b"From: a@example.com\r\r\nSubject: Hi\r\r\n\r\r\nHello",
        replacing(rb"\r+\n", b"\r\n"),
    ),
    Difference(
        "comment in Content-Type",
        "RFC 2045 §5.1 allows it: `text/plain (really)`.",
        HEADER + b"Content-Type: text/html (really)\r\n\r\nHello\r\n",
        replacing(rb"(?im)^(content-type:[^\r\n;(]*?)[ \t]*\([^)\r\n]*\)", rb"\1"),
    ),
    Difference(
        "Content-Type that is no type, of a named file",
        "It is a file of an unknown type (RFC 2045 §5.2 speaks of text where the field is missing), and its name"
        " decides what becomes of it. The standard parser makes text of it, which would be shown.",
        MIXED + b"--b\r\nContent-Type: pdf; name=a.pdf\r\n\r\n%PDF\r\n--b--\r\n",
        replacing(rb"(?im)^content-type:[ \t]*[^/;\r\n]+(?=;|\r?$)", b"Content-Type: application/octet-stream"),
    ),
    Difference(
        "Content-Type or Content-Disposition that is encoded as a whole",
        "Python's compat32 policy encodes the whole value when a file name outside ASCII was put into it, as its old"
        " tutorial did. The standard parser finds neither disposition nor name in it.",
        MIXED
        + b"--b\r\nContent-Type: x/y\r\nContent-Disposition: =?utf-8?q?attachment=3B_filename=3D=C3=9C=2Epdf?=\r\n"
        + b"\r\nx\r\n--b--\r\n",
        decode_whole_values,
    ),
    Difference(
        "raw octets inside an encoded word",
        "RFC 2047 §2 allows ASCII alone; the word names the charset of the others, too. Read with the rest of the"
        " field they would be decoded twice.",
        HEADER + b"X-A: =?koi8-r?Q?\xf0=D2\xc9?=\r\n\r\nHello\r\n",
        escape_raw_octets,
    ),
    Difference(
        "header field in the charset that the message declares",
        "Header fields have no charset of their own. Programs that write their texts in an old one write their subjects"
        " in it, too; where they are no UTF-8 the standard way here is windows-1252.",
        HEADER + b"X-A: \xcf\xf0\xe8\r\nContent-Type: text/plain; charset=windows-1251\r\n\r\nHello\r\n",
        header_fields_in_utf_8,
    ),
    Difference(
        "quotes that are not closed",
        'The name of the file in `filename="a.pdf` is a.pdf, without the quotes.',
        MIXED + b'--b\r\nContent-Disposition: attachment; filename="a.pdf\r\n\r\n%PDF\r\n--b--\r\n',
        replacing(rb'(?im)(name="[^"\r\n]*)(?=\r?$)', rb'\1"'),
    ),
    Difference(
        "file name written both ways",
        "Programs write `filename=` for old readers and `filename*=` for others (RFC 6266 §4.3): the second is whole.",
        MIXED
        + b"--b\r\nContent-Disposition: attachment; filename=x.pdf; filename*=utf-8''%C3%A9.pdf\r\n\r\nx\r\n--b--",
        replacing(rb"filename=[^;\r\n]*;[ \t]*(?=filename\*)", b""),
    ),
    Difference(
        "empty file name beside another",
        "Content-Type then has the name, and only it can tell what the file is.",
        MIXED
        + b'--b\r\nContent-Type: x/y; name=a.pdf\r\nContent-Disposition: attachment; filename=""\r\n\r\nx\r\n--b--',
        replacing(rb';[ \t]*filename=""', b""),
    ),
    Difference(
        "Content-Transfer-Encoding that is no bare word",
        "Spaces, quotes, a comment or a parameter around a word that is meant. The standard parser takes the encoded"
        " octets for the content: an attachment would arrive as its own base64.",
        HEADER + b'Content-Transfer-Encoding: "base64" (of course)\r\n\r\nSGVsbG8=\r\n',
        replacing(rb'(?im)^(content-transfer-encoding:)[ \t"]*([A-Za-z0-9-]+)[^\r\n]*', rb"\1 \2"),
    ),
    Difference(
        "no closing boundary",
        "The last line end belongs to a boundary (RFC 2046 §5.1.1), and there is none. The standard parser takes it"
        " away.",
        MIXED + b"--b\r\n\r\nHello\r\n",
        lambda raw: raw + b"\r\n--b--\r\n",
    ),
    Difference(
        "parts after the closing boundary",
        "RFC 2046 §5.1.2: nobody's. But programs that give an inner and an outer multipart the same boundary write"
        " them, and their attachments would be lost.",
        MIXED + b"--b\r\n\r\nHello\r\n--b--\r\n\r\n--b\r\n\r\nWorld\r\n--b--\r\n",
        replacing(rb"(?ms)^--(\S+)--[ \t]*\r?\n.*?(?=^--\1[ \t]*\r?$)", b""),
    ),
    Difference(
        "base64 in pieces",
        "Streams that are padded each for itself are all decoded; the standard parser ends at the first padding.",
        HEADER + b"Content-Transfer-Encoding: base64\r\n\r\nYQ==\r\nYmM=\r\n",
        clean_base64,
    ),
    Difference(
        "base64 with a letter too much",
        "It holds no whole octet and is dropped. The standard parser gives the encoded octets for the content.",
        HEADER + b"Content-Transfer-Encoding: base64\r\n\r\nYWJjZ\r\n",
        clean_base64,
    ),
    Difference(
        "quoted-printable that is none",
        "RFC 2045 §6.7: an equals sign before anything but two hex digits stays, white space after a soft break goes."
        " The standard decoder makes one equals sign of two, drops the line after a soft break by CR alone, and keeps"
        " a soft break with spaces after it.",
        HEADER + b"Content-Transfer-Encoding: quoted-printable\r\n\r\na==b= \r\nc=\rd\r\n",
        clean_quoted_printable,
    ),
)
