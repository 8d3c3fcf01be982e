"""What a message says, as one text and one HTML, and which of its parts are files (RFC 2046 §5.1, RFC 2183)."""

import html
from dataclasses import dataclass, field

from smtpgw.core.replies import UNSUPPORTED_PART, SMTPError
from smtpgw.message import charsets, flowed, growth, reports, transfer
from smtpgw.message.attachments import EXTENSIONS, TYPES, extension
from smtpgw.message.parts import Part

# Multiparts that mean something the API would break or cannot say.
CANNOT_BE_CARRIED = {
    "multipart/encrypted": "An encrypted message (multipart/encrypted)",
    "multipart/mailgun-variables": "A part with Mailgun's variables (multipart/mailgun-variables)",
    "multipart/report": "A delivery report (multipart/report)",
    "multipart/signed": "A signed message (multipart/signed)",
}
# Versions of the same message for readers that the API does not write for.
DROPPED = ("text/x-amp-html", "text/watch-html")


@dataclass(slots=True)
class Body:
    """What a part says, in one form or in both; None where it does not."""

    text: str | None = None
    html: str | None = None

    @property
    def is_empty(self) -> bool:
        return self.text is None and self.html is None

    @property
    def is_blank(self) -> bool:
        return is_blank(self.text) and is_blank(self.html)


@dataclass(slots=True)
class BodyCollector:
    """What has been found besides the text while reading the parts of one message."""

    is_bounce: bool = False
    limit_bytes: int = growth.DEFAULT_LIMIT_BYTES  # of a text, in memory
    files: list[Part] = field(default_factory=list)
    invitations: list[Part] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def collect(self, part: Part) -> Body:
        """What `part` says; the files in it are added to `files`.

        Raises:
            SMTPError: UNSUPPORTED_PART, BAD_STRUCTURE, REQUEST_TOO_BIG.
        """
        if self.is_bounce and reports.is_rendered_as_text(part):
            return Body(text=reports.render(part))
        if self.is_bounce and part.type == "multipart/report":
            return self.collect_report(part)
        if what := CANNOT_BE_CARRIED.get(part.type):
            raise SMTPError(UNSUPPORTED_PART.filled(what=what))
        if part.type == "multipart/alternative":
            return self.collect_alternative(part)
        if part.type.startswith("multipart/"):
            return self.concatenate([self.collect(child) for child in part.children])
        if part.type in DROPPED:
            self.notes.append(f"dropped a part of type {part.type}")
            return Body()
        if is_file(part):
            self.files.append(part)
            return Body()
        if part.type == "text/html":
            return Body(html=self.decode_text(part))
        text = self.decode_text(part)
        return Body(text=reports.remove_copy(text) if self.is_bounce else text)

    def collect_report(self, part: Part) -> Body:
        """Return what a delivery report says, without files: nothing in it is worth refusing the others for."""
        kept = len(self.files)
        body = self.concatenate([self.collect(child) for child in part.children])
        self.notes += [f"dropped a part of type {file.type} of the delivery report" for file in self.files[kept:]]
        del self.files[kept:]
        return body

    def collect_alternative(self, part: Part) -> Body:
        """Return the last text and the last HTML: the sender puts the best last (RFC 2046 §5.1.4).

        A blank part replaces nothing: it comes from a template that was left empty, or from a surplus boundary.
        """
        said, unknown = Body(), Body()
        for child in part.children:
            if child.type == "text/calendar" and child.disposition != "attachment":
                self.invitations.append(child)
                continue
            body = self.collect(child)
            if child.type.startswith("text/") and child.type not in ("text/plain", "text/html"):
                unknown = body
            else:
                said = Body(choose_version(said.text, body.text), choose_version(said.html, body.html))
        if said.is_empty:
            return unknown
        if not unknown.is_empty:
            self.notes.append("dropped an alternative in another text format")
        return said

    def decode_text(self, part: Part) -> str:
        """Return what a part of text says. Raises SMTPError: BAD_STRUCTURE, REQUEST_TOO_BIG."""
        octets = transfer.decode(part.body, part.encoding)
        label = part.parameters.get("charset", "") or (
            charsets.find_html_label(octets) if part.type == "text/html" else ""
        )
        text = charsets.decode(octets, label).removeprefix("\ufeff").replace("\0", "")
        growth.check(growth.memory_bytes([text]), self.limit_bytes)
        if "\r" in text:
            # Twice: Ruby's mail 2.7 ends lines with CR CR LF.
            text = text.replace("\r\n", "\n").replace("\r\n", "\n").replace("\r", "\n")
        if part.type == "text/plain" and part.parameters.get("format", "").lower() == "flowed":
            return flowed.join_paragraphs(text, part.parameters.get("delsp", "").lower() == "yes")
        return text

    def concatenate(self, bodies: list[Body]) -> Body:
        """Parts that follow each other in a message, as one: a mailing list's footer, text around a picture.

        Where one of them is HTML the others are made HTML too, since readers of HTML do not see the text version. A
        text version that would not say everything is left out, and so are blank parts: surplus boundaries make them.

        Raises:
            SMTPError: REQUEST_TOO_BIG
        """
        visible = [body for body in bodies if not body.is_blank] or [body for body in bodies if not body.is_empty][-1:]
        if len(visible) < 2:
            return visible[0] if visible else Body()
        texts = [body.text for body in visible if body.text is not None]
        text = self.join(texts) if len(texts) == len(visible) else None
        if all(body.html is None for body in visible):
            return Body(text=text)
        return Body(
            text,
            self.join([self.convert_to_html(body.text or "") if body.html is None else body.html for body in visible]),
        )

    def join(self, texts: list[str]) -> str:
        growth.check(growth.memory_bytes(texts, len(texts)), self.limit_bytes)
        pieces = [text if text.endswith("\n") else f"{text}\n" for text in texts[:-1]]
        return "".join([*pieces, texts[-1]])

    def convert_to_html(self, text: str) -> str:
        added = 4 * (text.count("&") + text.count("\n")) + 3 * (text.count("<") + text.count(">"))
        growth.check(growth.memory_bytes([text], added), self.limit_bytes)
        return "<div>" + html.escape(text, quote=False).replace("\n", "<br>\n") + "</div>"


def is_blank(said: str | None) -> bool:
    return not said or said.isspace()


def choose_version(earlier: str | None, later: str | None) -> str | None:
    """Return the later of two versions unless only the earlier one says something."""
    return earlier if later is None or (is_blank(later) and earlier is not None) else later


def is_file(part: Part) -> bool:
    """Whether a part is a file and not something to read: text that is not said to be attached is to be read.

    Text of a kind nobody knows is read as plain text (RFC 2046 §4.1.4), unless it has a name. A file that is one by its
    name is no text, whatever its client calls it.
    """
    if part.disposition not in ("", "inline") or not part.type.startswith("text/"):
        return True  # RFC 2183 §2.8: what we do not know is as good as attached
    if extension(part.file_name) in TYPES:
        return True
    if part.type in ("text/plain", "text/html"):
        return False
    return bool(part.file_name) or part.type in EXTENSIONS
