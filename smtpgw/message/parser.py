"""Raw octets to a Message: what its author wrote, in the terms of Cakemail's API.

Whatever the API cannot carry is refused with a reply that names it, and never dropped in silence. The pieces of the
work are in `smtpgw.mime`.

| part | becomes |
|---|---|
| text/plain and text/html to be read | text and HTML; several of them one after another |
| attached file of the API's nine types | attachment, its name made to fit |
| attached file of another type, a text file too | refused |
| text/calendar as an alternative | attachment `invite.ics` |
| image that the HTML shows (`cid:`) | `data:` address in the HTML, or refused |
| text/x-amp-html, text/watch-html | dropped: another version says the same |
| signed, encrypted, attached message, report, winmail.dat | refused |
| of a bounce: report, attached message | text: see `smtpgw.message.reports` |
"""

import base64
import hashlib
from dataclasses import dataclass, field, replace

from smtpgw.core.replies import AUTHOR_WITHOUT_BRACKETS, BAD_AUTHOR, UNSUPPORTED_PART, SMTPError
from smtpgw.message import growth, inline, parts, reports
from smtpgw.message.addresses import Mailbox, NoBrackets, NoMailbox, mailboxes
from smtpgw.message.attachments import Attachment, make_attachment
from smtpgw.message.bodies import BodyCollector
from smtpgw.message.fields import Header
from smtpgw.message.parts import Part
from smtpgw.message.words import decode

__all__ = ["Attachment", "Header", "Mailbox", "Message", "decode", "parse"]


@dataclass(frozen=True, slots=True)
class Message:
    """A message, read. Its texts are whole: line ends are newlines, and no lone surrogates or NUL are left."""

    headers: tuple[Header, ...]  # all of them, as they came
    author: Mailbox | None  # of From; None where there is no From, or an empty one
    subject: str  # decoded; "" where there is none
    text: str | None = field(repr=False)
    html: str | None = field(repr=False)
    attachments: tuple[Attachment, ...] = field(repr=False)
    message_id: str  # "" where there is none
    notes: tuple[str, ...]  # what was changed to fit the API, for the log; nothing of the content
    is_bounce: bool = False  # a mail system's: an address of its author may be missing, and is nobody's sender

    @property
    def content_bytes(self) -> int:
        """The memory that text, HTML and attachments take."""
        texts = [text for text in (self.text, self.html) if text]
        sizes = sum(growth.memory_bytes([text]) for text in texts)
        return sizes + sum(len(file.content) for file in self.attachments)

    def without_content(self) -> "Message":
        """Return the message without the text, HTML and attachments, which may be megabytes."""
        return replace(self, text=None, html=None, attachments=())


def parse(
    raw: bytes,
    inline_images: str,
    *,
    null_sender: bool = False,
    limit_bytes: int = growth.DEFAULT_LIMIT_BYTES,
) -> Message:
    """Read a message. See the table at the head of this module.

    Args:
        raw: the message as it came, its lines ended by CRLF or LF.
        inline_images: "embed" or "refuse".
        null_sender: its reverse-path is null, so that it may be a bounce.
        limit_bytes: the memory that its text, or its HTML, may take.

    Raises:
        SMTPError: BAD_AUTHOR, AUTHOR_WITHOUT_BRACKETS, BAD_STRUCTURE, HEADERS_TOO_BIG, REQUEST_TOO_BIG,
            UNSUPPORTED_ATTACHMENT or UNSUPPORTED_PART; never another exception, whatever the octets are.
    """
    root = parts.parse(raw)
    is_bounce = null_sender and reports.is_bounce(root)
    author = parse_bounce_author(root) if is_bounce else parse_author(root.headers)
    collector = BodyCollector(is_bounce=is_bounce, limit_bytes=limit_bytes)
    body = collector.collect(root)
    html = embed_inline_images(body.html, collector, inline_images)
    return Message(
        headers=root.headers,
        author=author,
        subject=decode(root.header("subject")),
        text=body.text,
        html=html,
        attachments=make_attachments(collector),
        message_id=root.header("message-id"),
        notes=tuple(collector.notes),
        is_bounce=is_bounce,
    )


def parse_author(headers: tuple[Header, ...]) -> Mailbox | None:
    """The one author; RFC 5322 §3.6.2 allows several, but then who is the sender? An empty field is no field."""
    values = [header.value for header in headers if header.value and header.name.lower() == "from"]
    if len(values) > 1:
        raise SMTPError(BAD_AUTHOR)
    try:
        named = [mailboxes(value) for value in values]
    except NoBrackets:
        raise SMTPError(AUTHOR_WITHOUT_BRACKETS) from None
    except NoMailbox:
        raise SMTPError(BAD_AUTHOR) from None
    if [len(found) for found in named] not in ([], [1]):
        raise SMTPError(BAD_AUTHOR)
    return named[0][0] if named else None


def parse_bounce_author(root: Part) -> Mailbox:
    """Return the author of a bounce, whose address is "" where From names none, or several."""
    try:
        author = parse_author(root.headers)
    except SMTPError:
        author = None
    return author or Mailbox(reports.display_name(root.header("from")), "")


def embed_inline_images(html: str | None, collector: BodyCollector, inline_images: str) -> str | None:
    """`html` with the images it refers to, which are no files any more."""
    images = {inline.content_id(part): part for part in collector.files if inline.image_type(part)}
    images.pop("", None)
    referred = inline.count_references(html, images) if html and images else {}
    images = {name: images[name] for name in referred}
    if not images or html is None:
        return html
    if inline_images == "refuse":
        first = next(iter(images.values()))
        raise SMTPError(
            UNSUPPORTED_PART.filled(what=f"Inline image {first.file_name[:200] or inline.content_id(first)}")
        )
    shown = {id(part) for part in images.values()}
    collector.files = [part for part in collector.files if id(part) not in shown]
    collector.notes.append(f"embedded {len(images)} inline images in the HTML")
    return inline.embed(html, images, collector.limit_bytes)


def make_attachments(collector: BodyCollector) -> tuple[Attachment, ...]:
    taken: dict[str, int] = {}
    made = [make_noted_attachment(part, collector, taken) for part in collector.files]
    calendars = {calendar_digest(file) for file in made if collector.invitations and file.type == "calendar"}
    for part in collector.invitations:
        invitation = make_attachment(part, dict(taken))
        digest = calendar_digest(invitation)
        if digest in calendars:
            continue  # Calendars send it twice, as an alternative and as a file.
        calendars.add(digest)
        taken[invitation.filename.lower()] = 1
        made.append(invitation)
        collector.notes.append(f"the calendar invitation became the attachment {invitation.filename}")
    return tuple(made)


def calendar_digest(file: Attachment) -> bytes:
    """Return a digest that the two forms of one invitation share: they may differ in their line ends."""
    lines = base64.b64decode(file.content).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return hashlib.sha256(lines.strip()).digest()


def make_noted_attachment(part: Part, collector: BodyCollector, taken: dict[str, int]) -> Attachment:
    made = make_attachment(part, taken)
    if made.filename != part.file_name:
        collector.notes.append(f"attachment {part.file_name[:200]!r} renamed {made.filename}")
    return made
