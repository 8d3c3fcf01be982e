"""Messages that become much more than they are, each a function from the size of the message in octets."""

import base64
from collections.abc import Callable

from tests.support.adversarial import AUTHOR, beside_html, multipart, with_image

IMAGE = "Content-Type: image/png\r\nContent-ID: <a>\r\nContent-Transfer-Encoding: base64\r\n\r\n"
LINE_OCTETS = 75


def one_part(fields: str, body: bytes) -> bytes:
    return f"{AUTHOR}MIME-Version: 1.0\r\n{fields}\r\n".encode() + body


def lines(octets: bytes, size: int) -> bytes:
    line = octets * (LINE_OCTETS // len(octets)) + b"\r\n"
    return line * (size // len(line))


def image_shown_often(size: int) -> bytes:
    """An image of a fiftieth of the message, and a thousand places that show it."""
    image = base64.b64encode(b"x" * (size // 50)).decode()
    return multipart("Content-Type: text/html\r\n\r\n" + "<img src=cid:a>" * 1000, IMAGE + image)


def many_texts(size: int) -> bytes:
    """As many parts as there may be, of text and HTML in turns."""
    text = "&" * (size // 950)
    return multipart(*[f"Content-Type: text/{'html' if n % 2 else 'plain'}\r\n\r\n{text}" for n in range(950)])


def nested_texts(size: int) -> bytes:
    """HTML beside text, ten levels deep."""
    text = "&" * (size // 10)
    inner = "Content-Type: text/html\r\n\r\n<p>x"
    for level in range(9):
        inner = (
            f"Content-Type: multipart/mixed; boundary=c{level}\r\n\r\n--c{level}\r\n\r\n{text}\r\n--c{level}\r\n{inner}"
            f"\r\n--c{level}--"
        )
    return multipart(inner)


def attachments(size: int) -> bytes:
    """Files that are not in base64, and are written in it."""
    return multipart(*['Content-Type: text/csv; name="a.csv"\r\n\r\n' + "a;" * (size // 10)] * 5)


MESSAGES: dict[str, Callable[[int], bytes]] = {
    "text": lambda size: one_part("", lines(b"hello ", size)),
    "an attachment": lambda size: multipart(
        "Content-Type: application/pdf; name=a.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        + "JVBERi0x" * (size // 8)
    ),
    "attachments not in base64": attachments,
    "& beside HTML": lambda size: beside_html("&" * size),
    "line ends beside HTML": lambda size: beside_html("\r\n" * (size // 2)),
    "& and a wide character beside HTML": lambda size: beside_html("\U0001f600" + "&" * (size // 4)),
    "control characters": lambda size: one_part("", b"\x01" * size),
    "control characters in HTML": lambda size: one_part("Content-Type: text/html\r\n", b"\x01" * size),
    "control characters, as many as fit": lambda size: one_part("", b"\x01" * (size // 3 - 1000)),
    "quotes": lambda size: one_part("", b'"' * size),
    "a wide character": lambda size: one_part("", "\U0001f600".encode() + b"a" * (size - 500)),
    "a wide character in half of it": lambda size: one_part("", "\U0001f600".encode() + lines(b"a", size // 2 - 1000)),
    "windows-1252": lambda size: one_part("Content-Type: text/plain; charset=windows-1252\r\n", b"\x80" * size),
    "latin-1": lambda size: one_part("Content-Type: text/plain; charset=latin-1\r\n", lines(b"\xe9", size)),
    "UTF-16": lambda size: one_part(
        "Content-Type: text/plain; charset=utf-16\r\nContent-Transfer-Encoding: base64\r\n",
        base64.b64encode("ü".encode("utf-16") * (size // 6)),
    ),
    "GB 18030": lambda size: one_part("Content-Type: text/plain; charset=gb18030\r\n", b"\xb0\xa1" * (size // 2)),
    "quoted-printable": lambda size: one_part("Content-Transfer-Encoding: quoted-printable\r\n", b"=01" * (size // 3)),
    "flowed": lambda size: one_part(
        "Content-Type: text/plain; format=flowed\r\n", b"a" * (size // 2) + b" \r\n" * 40_000
    ),
    "references": lambda size: with_image("cid:%61 " * (size // 8)),
    "an image shown often": image_shown_often,
    "many texts": many_texts,
    "nested texts": nested_texts,
}  # fmt: skip
