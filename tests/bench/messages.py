"""The messages that the benchmark sends: a handful that stand for what apps send, each with boundaries of its own.

A boundary that comes again would flatter whatever remembers: `re` keeps what it has compiled.
"""

import json
import random
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP

from tests.support.gateway import SENDER

TAG = b"the-tag-of-one-1"  # in a template; what makes a message another one: boundaries, Message-ID, recipients
DOMAIN = "bench.example"

SENTENCE = "Your order has left our warehouse and is on its way; you can follow it on the page below.\n"
PARAGRAPH = f'<p style="margin:0;color:#333">{SENTENCE}<a href="https://shop.example/o/1">Follow</a> –</p>\n'
CONTROL = {
    "category": ["orders", "shipped"],
    "unique_args": {"order": "12345"},
    "filters": {"clicktrack": {"settings": {"enable": 1, "enable_text": False}}},
}


@dataclass(frozen=True)
class Kind:
    """A message to be made any number of times."""

    template: bytes
    recipients: int = 1

    def raw(self, tag: bytes) -> bytes:
        """One of them."""
        return self.template.replace(TAG, tag)

    def addresses(self, tag: bytes) -> list[str]:
        """Its recipients, nobody else's."""
        return [f"{tag.decode()}.{number}@{DOMAIN}" for number in range(self.recipients)]


def tags(prefix: str, number: int) -> list[bytes]:
    """As many different tags, as long as TAG; those of another prefix, of at most 8 letters, are others."""
    return [f"{prefix:x<8}{n:08}".encode() for n in range(number)]


def template(*, pdf: int = 0, png: int = 0, **headers: str) -> bytes:
    """Text and HTML, 4 KB together; with a file or an image of that many octets."""
    made = EmailMessage(SMTP)
    made["From"], made["To"], made["Subject"] = f"Shop <{SENDER}>", f"Jane Roe <jane@{DOMAIN}>", "Your order – 12345"
    made["Message-ID"] = f"<{TAG.decode()}@{DOMAIN}>"
    for name, value in headers.items():
        made[name.replace("_", "-")] = value
    made.set_content(SENTENCE * 14)
    image = '<img src="cid:logo">' if png else ""
    made.add_alternative(f"<html><body>{image}{PARAGRAPH * 12}</body></html>\n", subtype="html")
    if png:
        rich = made.get_body(("html",))
        assert isinstance(rich, EmailMessage)
        rich.add_related(b"\x89PNG\r\n\x1a\n" + some(png), "image", "png", cid="<logo>", filename="logo.png")
    if pdf:
        made.add_attachment(b"%PDF-1.7\n" + some(pdf), "application", "pdf", filename="invoice.pdf")
    for number, part in enumerate(made.walk()):
        if part.is_multipart():
            part.set_boundary(f"{TAG.decode()}={number}")
    return made.as_bytes()


def some(octets: int) -> bytes:
    """That many octets, always the same."""
    return random.Random(octets).randbytes(octets)


SMALL = template()
KINDS = {
    "4 KB": Kind(SMALL),
    "inline image": Kind(template(png=20_000)),
    "1 MB PDF": Kind(template(pdf=1_000_000)),
    "ten recipients": Kind(SMALL, recipients=10),
    "SendGrid": Kind(template(X_SMTPAPI=json.dumps(CONTROL))),
}
