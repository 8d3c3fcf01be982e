"""Parser that turns the octets of a message into a Message, in the terms of Cakemail's API.

A part that the API cannot carry is rejected with a reply that names it, and never dropped silently.

| part | result |
|---|---|
| text/plain and text/html of the body | text and HTML; several parts are joined |
| attached file of one of the API's nine types | attachment with an ASCII file name |
| attached file of another type, including text files | rejected |
| text/calendar as an alternative | attachment `invite.ics` |
| image that the HTML shows (`cid:`) | `data:` URL in the HTML, or rejected |
| text/x-amp-html, text/watch-html | dropped, because it is an alternative to another part |
| signed, encrypted, attached message, report, winmail.dat | rejected |
| report or attached message of a bounce | text, see `smtpgw.message.reports` |
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
    """A parsed message. Lines in its text and HTML end with newlines; there are no lone surrogates and no NULs."""

    # All header fields in their order.
    headers: tuple[Header, ...]
    # The mailbox of From, None if From is missing or empty.
    author: Mailbox | None
    # Decoded, "" if there is none.
    subject: str
    text: str | None = field(repr=False)
    html: str | None = field(repr=False)
    attachments: tuple[Attachment, ...] = field(repr=False)
    # "" if there is none.
    message_id: str
    # Changes that were made to fit the API, for the log. They contain no content of the message.
    notes: tuple[str, ...]
    # A bounce comes from a mail system: its author may have no address, and is never a confirmed sender.
    is_bounce: bool = False

    @property
    def content_bytes(self) -> int:
        """The memory of text, HTML and attachments."""
        texts = [text for text in (self.text, self.html) if text]
        sizes = sum(growth.memory_bytes([text]) for text in texts)
        return sizes + sum(len(file.content) for file in self.attachments)

    def without_content(self) -> "Message":
        """Return a copy without text, HTML and attachments, which may be large."""
        return replace(self, text=None, html=None, attachments=())


def parse(
    raw: bytes,
    inline_images: str,
    *,
    null_sender: bool = False,
    limit_bytes: int = growth.DEFAULT_LIMIT_BYTES,
) -> Message:
    """Parse a message. The table at the top of this module lists what becomes of each part.

    Args:
        raw: The message as received. Its lines end with CRLF or LF.
        inline_images: "embed" or "refuse".
        null_sender: Whether the reverse-path is null, so that the message may be a bounce.
        limit_bytes: The memory that the text or the HTML may take.

    Raises:
        SMTPError: BAD_AUTHOR, AUTHOR_WITHOUT_BRACKETS, BAD_STRUCTURE, HEADERS_TOO_BIG, REQUEST_TOO_BIG,
            UNSUPPORTED_ATTACHMENT or UNSUPPORTED_PART. No input raises another exception.
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
    """Return the only author, None if From is missing or empty.

    RFC 5322 §3.6.2 allows several authors. They are rejected, because the sender would be ambiguous.

    Raises:
        SMTPError: BAD_AUTHOR, AUTHOR_WITHOUT_BRACKETS.
    """
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
    """Return the author of a bounce. The address is "" if From does not name exactly one."""
    try:
        author = parse_author(root.headers)
    except SMTPError:
        author = None
    return author or Mailbox(reports.display_name(root.header("from")), "")


def embed_inline_images(html: str | None, collector: BodyCollector, inline_images: str) -> str | None:
    """Return the HTML with the images it refers to, and remove these from the files.

    Raises:
        SMTPError: UNSUPPORTED_PART, REQUEST_TOO_BIG, BAD_STRUCTURE.
    """
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
    """Return the attachments for the files and the invitations. Raises SMTPError."""
    taken: dict[str, int] = {}
    made = [make_noted_attachment(part, collector, taken) for part in collector.files]
    calendars = {calendar_digest(file) for file in made if collector.invitations and file.type == "calendar"}
    for part in collector.invitations:
        invitation = make_attachment(part, dict(taken))
        digest = calendar_digest(invitation)
        if digest in calendars:
            # Calendar programs send an invitation twice, as an alternative and as a file.
            continue
        calendars.add(digest)
        taken[invitation.filename.lower()] = 1
        made.append(invitation)
        collector.notes.append(f"the calendar invitation became the attachment {invitation.filename}")
    return tuple(made)


def calendar_digest(file: Attachment) -> bytes:
    """Return a digest of an invitation that does not depend on its line ends."""
    lines = base64.b64decode(file.content).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return hashlib.sha256(lines.strip()).digest()


def make_noted_attachment(part: Part, collector: BodyCollector, taken: dict[str, int]) -> Attachment:
    """Return the attachment for a part, and note it if its file name changed."""
    made = make_attachment(part, taken)
    if made.filename != part.file_name:
        collector.notes.append(f"attachment {part.file_name[:200]!r} renamed {made.filename}")
    return made
