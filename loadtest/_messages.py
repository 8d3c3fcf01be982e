"""The messages of the load: transactional mail and campaigns, in sizes and with attachments as they really occur.

What costs time, MIME and its encodings, is done once for a pool of bodies. A message is a fresh header in front of one.
"""

import math
import random
import re
from dataclasses import dataclass
from email import policy
from email.message import EmailMessage
from email.utils import formatdate
from functools import cache
from uuid import uuid4

POOL_SIZE = 40  # bodies of each kind
SEED = 278  # the same bodies in every process and every run
# As servers without 8BITMIME take it: nothing outside ASCII, lines that end in CRLF.
POLICY = policy.SMTP.clone(cte_type="7bit")
TEXT = (
    "your order has been shipped today and will arrive within two working days thank you for choosing us votre "
    "commande est en route et arrivera dans deux jours ouvrés l'équipe à bientôt view details in account receipt "
    "number total amount paid by card questions reply to this message or visit the help centre réduction d'été"
)
ATTACHMENTS = (
    ("application", "pdf", "invoice.pdf"),
    ("image", "png", "logo.png"),
    ("text", "csv", "statement.csv"),
    ("text", "calendar", "appointment.ics"),
)


@dataclass(frozen=True, slots=True)
class Sizes:
    """Log-normal, as sizes of mails and files are: most are near the median, a few are many times as large."""

    median_bytes: int
    spread: float  # the standard deviation of the logarithm
    most_bytes: int

    def draw(self, chance: random.Random) -> int:
        drawn = math.exp(chance.gauss(math.log(self.median_bytes), self.spread))
        return max(1, min(round(drawn), self.most_bytes))


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of mail."""

    subject: str
    header: str  # what else the application writes into the header; lines that end in CRLF
    html: Sizes
    attachment_share: float
    recipients: tuple[int, ...]  # as many of them a message, each as often as it stands here


ATTACHMENT_SIZES = Sizes(median_bytes=40_000, spread=1.0, most_bytes=2_000_000)
TRANSACTIONAL = Kind(
    subject="Your order {number}",
    header="X-Tags: receipt\r\n",
    html=Sizes(median_bytes=6_000, spread=0.8, most_bytes=100_000),
    attachment_share=0.15,
    recipients=(1,) * 94 + (2,) * 4 + (3, 5),
)
CAMPAIGN = Kind(
    subject="What is new this week, {number}",
    header="X-Tags: newsletter\r\nX-Email-Api-Type: marketing\r\n",
    html=Sizes(median_bytes=25_000, spread=0.5, most_bytes=150_000),
    attachment_share=0.0,
    recipients=(1,),
)


@dataclass(frozen=True, slots=True)
class Mail:
    """One message. `octets` is what follows 354, with dots doubled and the one that ends it (RFC 5321 §4.5.2)."""

    sender: str
    recipients: tuple[str, ...]
    octets: bytes


def new_mail(kind: Kind, sender: str, recipient_domain: str) -> Mail:
    """A message of this kind to recipients that nobody had before, with a Message-ID of its own."""
    number = uuid4().hex
    recipients = tuple(f"customer-{number[:16]}-{n}@{recipient_domain}" for n in range(random.choice(kind.recipients)))
    header = (
        f"From: Load Test <{sender}>\r\nTo: {', '.join(recipients)}\r\n"
        f"Subject: {kind.subject.format(number=number[:8])}\r\n"
        f"Date: {formatdate()}\r\nMessage-ID: <{number}@{sender.rpartition('@')[2]}>\r\n{kind.header}"
    )
    return Mail(sender, recipients, header.encode("ascii") + random.choice(bodies(kind)))


@cache
def bodies(kind: Kind) -> tuple[bytes, ...]:
    """The pool: MIME header fields, body, the ending dot."""
    chance = random.Random(SEED)
    return tuple(ready_to_send(body(kind, chance)) for _ in range(POOL_SIZE))


def body(kind: Kind, chance: random.Random) -> bytes:
    message = EmailMessage(POLICY)
    words = TEXT.split()
    paragraphs = [" ".join(chance.choices(words, k=60)) for _ in range(max(1, kind.html.draw(chance) // 400))]
    message.set_content("\n\n".join(paragraphs[:5]), cte="quoted-printable")
    html = "\n".join(f"<p style='margin: 0 0 1em'>{paragraph}</p>" for paragraph in paragraphs)
    message.add_alternative(f"<!doctype html><body>\n{html}\n</body>", subtype="html", cte="quoted-printable")
    if chance.random() < kind.attachment_share:
        maintype, subtype, filename = chance.choice(ATTACHMENTS)
        content = chance.randbytes(ATTACHMENT_SIZES.draw(chance))
        message.add_attachment(content, maintype=maintype, subtype=subtype, filename=filename)
    return message.as_bytes()


def ready_to_send(text: bytes) -> bytes:
    return re.sub(rb"(?m)^\.", b"..", text) + b"\r\n.\r\n"
