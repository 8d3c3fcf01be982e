"""Pictures that HTML shows from other parts of the message by their Content-ID (RFC 2392), and those it does not."""

import base64
from collections.abc import Iterator
from typing import Any

from tests.corpus.case import Case, not_accepted, not_carried, request
from tests.corpus.octets import mail_of, multipart, part

GIF = b"GIF89a\x01\x00\x01\x00"
DATA = f"data:image/gif;base64,{base64.b64encode(GIF).decode()}"
TEXT = part("text/plain", "Hello")
LINK = "https://example.com/i"
REFUSE = {"inline_images": "refuse"}
PNG_FILE = [("i.png", "png", GIF)]

Made = Iterator[tuple[str, bytes, dict[str, Any]]]


def image(content_id: str, *fields: str, content_type: str = "image/gif") -> bytes:
    code = base64.b64encode(GIF)
    return part(content_type, code, "Content-Transfer-Encoding: base64", f"Content-ID: {content_id}", *fields)


def page(*references: str) -> bytes:
    return part("text/html", "".join(f'<img src="{reference}">' for reference in references))


def shown(*references: str, **more: Any) -> dict[str, Any]:
    return request("Test", None, "".join(f'<img src="{reference}">' for reference in references), **more)


IMAGE = image("<i@x>")
PNG = image("<i@x>", content_type="image/png; name=i.png")


def cases() -> Iterator[Case]:
    for name, raw, expected in [*embedded(), *embedded_elsewhere(), *left_as_they_are(), *refused()]:
        yield Case(f"images/{name}", raw, expected)


def embedded() -> Made:
    yield "embedded", mail_of("related", page("cid:i@x"), IMAGE), shown(DATA)
    yield "embedded-twice", mail_of("related", page("cid:i@x", "cid:i@x"), IMAGE), shown(DATA, DATA)
    yield "address-escaped", mail_of("related", page("cid:i%40x"), IMAGE), shown(DATA)
    yield "address-in-capitals", mail_of("related", page("CID:i@x"), IMAGE), shown(DATA)
    yield "id-without-brackets", mail_of("related", page("cid:i@x"), image("i@x")), shown(DATA)
    yield "before-the-html", mail_of("related", IMAGE, page("cid:i@x")), shown(DATA)
    attached = image("<i@x>", "Content-Disposition: attachment; filename=i.gif")
    yield "attached-and-shown", mail_of("mixed", page("cid:i@x"), attached), shown(DATA)
    octets = image("<i@x>", content_type="application/octet-stream; name=i.GIF")
    yield "octets-by-their-name", mail_of("related", page("cid:i@x"), octets), shown(DATA)
    svg = image("<i@x>", content_type="image/svg+xml")
    yield "svg", mail_of("related", page("cid:i@x"), svg), shown(DATA.replace("gif", "svg+xml"))


def embedded_elsewhere() -> Made:
    css = part("text/html", "<style>a{background:url(cid:i@x)}</style><td background='cid:i@x'>")
    wanted = f"<style>a{{background:url({DATA})}}</style><td background='{DATA}'>"
    yield "in-css", mail_of("related", css, IMAGE), request("Test", None, wanted)
    both = multipart("alternative", TEXT, page("cid:i@x"), boundary="b2")
    yield "with-alternative", mail_of("related", both, IMAGE), request("Test", "Hello", f'<img src="{DATA}">')
    yield "one-of-two-missing", mail_of("related", page("cid:i@x", "cid:gone@x"), IMAGE), shown(DATA, "cid:gone@x")


def left_as_they_are() -> Made:
    yield "missing", mail_of("related", page("cid:gone@x")), shown("cid:gone@x")
    yield "nobody-shows", mail_of("related", page(LINK), PNG), shown(LINK, attachments=PNG_FILE)
    yield "nobody-shows-in-text", mail_of("related", TEXT, PNG), request("Test", "Hello", attachments=PNG_FILE)
    yield "nobody-shows-not-refused", mail_of("related", page(LINK), PNG), shown(LINK, attachments=PNG_FILE) | REFUSE
    pdf = image("<i@x>", content_type="application/pdf; name=a.pdf")
    expected = shown("cid:i@x", attachments=[("a.pdf", "pdf", GIF)])
    yield "pdf-that-html-refers-to", mail_of("related", page("cid:i@x"), pdf), expected
    words = "lucid:i@x placid:i@x"
    expected = request("Test", None, words, attachments=PNG_FILE)
    yield "id-inside-a-word", mail_of("related", part("text/html", words), PNG), expected


def refused() -> Made:
    gif = image("<i@x>", content_type="image/gif; name=i.gif")
    yield "nobody-shows-gif", mail_of("related", page(LINK), gif), not_accepted("i.gif")
    yield "refused", mail_of("related", page("cid:i@x"), gif), not_carried("Inline image i.gif") | REFUSE
    yield "refused-unnamed", mail_of("related", page("cid:i@x"), IMAGE), not_carried("Inline image i@x") | REFUSE
    code = base64.b64encode(GIF * 1000)
    big = part("image/gif", code, "Content-Transfer-Encoding: base64", "Content-ID: <i@x>")
    characters = 1000 * len(b"data:image/gif;base64," + code)
    expected = not_carried(f"HTML that shows inline images of {characters} characters in all")
    yield "shown-a-thousand-times", mail_of("related", page(*["cid:i@x"] * 1000), big), expected
