"""Conversion of bounces: reports by a mail system that a message was not delivered (RFC 3464, RFC 6522).

A bounce has the null reverse-path and an author that is not a confirmed sender, such as `MAILER-DAEMON@host`. Its
machine-readable parts become text. Only the header of the returned message is kept.
"""

import re

from smtpgw.message import charsets, transfer
from smtpgw.message.addresses import NoMailbox, mailboxes
from smtpgw.message.parts import Part
from smtpgw.message.words import decode

DAEMONS = frozenset({"mailer-daemon", "postmaster"})
ORIGINALS = frozenset({"message/rfc822", "message/global", "message/partial"})
ORIGINAL_HEADERS = frozenset({"text/rfc822-headers", "message/global-headers"})
# A part that becomes text is cut here. A header section with many Received fields fits.
MAX_PART_BYTES = 16 * 1024

NO_ADDRESS = re.compile(r"([^<>]*)<[ \t]*>")
BLANK_LINE = re.compile(rb"\r?\n\r?\n")
# qmail, and dma with FULLBOUNCE, quote the whole message below such a line.
COPY_FOLLOWS = re.compile(
    r"^(?:--- Below this line is a copy of the message\.|Original message follows\.)\n+", re.MULTILINE
)


def is_bounce(root: Part) -> bool:
    """Return whether a message with a null reverse-path is a report or comes from a mail system."""
    value = root.header("from").strip()
    if root.type == "multipart/report" or NO_ADDRESS.fullmatch(value):
        return True
    try:
        return [mailbox.address.partition("@")[0].lower() in DAEMONS for mailbox in mailboxes(value)] == [True]
    except NoMailbox:
        return False


def display_name(value: str) -> str:
    """Return the name of a From without an address, such as `MAILER-DAEMON <>`, "" for any other From."""
    found = NO_ADDRESS.fullmatch(value.strip())
    return " ".join(decode(found[1].strip().strip('"')).split()) if found else ""


def is_rendered_as_text(part: Part) -> bool:
    """Return whether a part of a bounce is machine-readable or the returned message, so that `render` applies."""
    return part.type.startswith("message/") or part.type in ORIGINAL_HEADERS


def render(part: Part) -> str:
    """Return a part of a bounce as text, with a title line.

    Raises:
        SMTPError: BAD_STRUCTURE.
    """
    is_encoded = part.encoding in ("quoted-printable", "base64")
    # Only the beginning is copied, because a returned message may be large and only its header is used.
    end = part.end if is_encoded else min(part.end, part.start + MAX_PART_BYTES)
    octets = transfer.decode(part.raw[part.start : end], part.encoding)
    is_original = part.type in ORIGINALS or part.type in ORIGINAL_HEADERS
    if is_original and (blank := BLANK_LINE.search(octets)):
        octets = octets[: blank.start()]
    text = charsets.decode_utf_8_or_windows_1252(octets[:MAX_PART_BYTES].strip())
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
    title = "Header of the original message" if is_original else "Details of the report"
    return f"\n--- {title} ---\n\n{text}\n"


def remove_copy(text: str) -> str:
    """Return a plain-text bounce without the body of the quoted message."""
    found = COPY_FOLLOWS.search(text)
    if not found:
        return text
    header, _, _ = text[found.end() :].partition("\n\n")
    return f"{text[: found.end()]}{header[:MAX_PART_BYTES]}\n"
