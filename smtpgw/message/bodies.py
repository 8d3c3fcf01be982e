"""Conversion of a tree of parts to one text, one HTML and a list of files (RFC 2046 §5.1, RFC 2183)."""

import html
from dataclasses import dataclass, field

from smtpgw.core.replies import UNSUPPORTED_PART, SMTPError
from smtpgw.message import charsets, flowed, growth, reports, transfer
from smtpgw.message.attachments import EXTENSIONS, TYPES, UNSUPPORTED_TYPES, extension
from smtpgw.message.parts import Part

# Alternative versions of the message for clients that the API does not support.
DROPPED = ("text/x-amp-html", "text/watch-html")


@dataclass(slots=True)
class Body:
    """The text and the HTML of a part; None for a form that it does not have."""

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
    """Collector of the text, files, invitations and notes of one message."""

    is_bounce: bool = False
    # The memory that one text may take.
    limit_bytes: int = growth.DEFAULT_LIMIT_BYTES
    files: list[Part] = field(default_factory=list)
    invitations: list[Part] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def collect(self, part: Part) -> Body:
        """Return the body of a part and add its files to `files`.

        Raises:
            SMTPError: UNSUPPORTED_PART, BAD_STRUCTURE, REQUEST_TOO_BIG.
        """
        if self.is_bounce and reports.is_rendered_as_text(part):
            return Body(text=reports.render(part))
        if self.is_bounce and part.type == "multipart/report":
            return self.collect_report(part)
        if part.type == "multipart/alternative":
            return self.collect_alternative(part)
        if part.type.startswith("multipart/"):
            if part.type in UNSUPPORTED_TYPES:
                raise SMTPError(UNSUPPORTED_PART.filled(what=UNSUPPORTED_TYPES[part.type]))
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
        """Return the body of a delivery report. Its files are dropped, so that they cannot cause a rejection."""
        kept = len(self.files)
        body = self.concatenate([self.collect(child) for child in part.children])
        self.notes += [f"dropped a part of type {file.type} of the delivery report" for file in self.files[kept:]]
        del self.files[kept:]
        return body

    def collect_alternative(self, part: Part) -> Body:
        """Return the last text and the last HTML, because the best alternative comes last (RFC 2046 §5.1.4).

        A blank part does not replace an earlier one: it comes from an empty template or a surplus boundary.
        """
        known, unknown = Body(), Body()
        for child in part.children:
            if child.type == "text/calendar" and child.disposition != "attachment":
                self.invitations.append(child)
                continue
            body = self.collect(child)
            if child.type.startswith("text/") and child.type not in ("text/plain", "text/html"):
                unknown = body
            else:
                known = Body(choose_version(known.text, body.text), choose_version(known.html, body.html))
        if known.is_empty:
            return unknown
        if not unknown.is_empty:
            self.notes.append("dropped an alternative in another text format")
        return known

    def decode_text(self, part: Part) -> str:
        """Return the decoded text of a part.

        Raises:
            SMTPError: BAD_STRUCTURE, REQUEST_TOO_BIG.
        """
        octets = transfer.decode(part.body, part.encoding)
        label = part.parameters.get("charset", "") or (
            charsets.find_html_label(octets) if part.type == "text/html" else ""
        )
        text = charsets.decode(octets, label).removeprefix("\ufeff").replace("\0", "")
        growth.check(growth.memory_bytes([text]), self.limit_bytes)
        if "\r" in text:
            # CR LF is replaced twice, because Ruby's mail 2.7 ends lines with CR CR LF.
            text = text.replace("\r\n", "\n").replace("\r\n", "\n").replace("\r", "\n")
        if part.type == "text/plain" and part.parameters.get("format", "").lower() == "flowed":
            return flowed.join_paragraphs(text, part.parameters.get("delsp", "").lower() == "yes")
        return text

    def concatenate(self, bodies: list[Body]) -> Body:
        """Join parts that follow each other, such as a text and the footer of a mailing list.

        If one of them is HTML the others are converted to HTML, because readers of HTML do not see the text version.
        An incomplete text version is left out. Blank parts are left out too: they come from surplus boundaries.

        Raises:
            SMTPError: REQUEST_TOO_BIG.
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
        """Join texts, each on lines of its own. Raises SMTPError (REQUEST_TOO_BIG)."""
        growth.check(growth.memory_bytes(texts, len(texts)), self.limit_bytes)
        pieces = [text if text.endswith("\n") else f"{text}\n" for text in texts[:-1]]
        return "".join([*pieces, texts[-1]])

    def convert_to_html(self, text: str) -> str:
        """Return the HTML of a plain text. Raises SMTPError (REQUEST_TOO_BIG)."""
        added = 4 * (text.count("&") + text.count("\n")) + 3 * (text.count("<") + text.count(">"))
        growth.check(growth.memory_bytes([text], added), self.limit_bytes)
        return "<div>" + html.escape(text, quote=False).replace("\n", "<br>\n") + "</div>"


def is_blank(text: str | None) -> bool:
    return not text or text.isspace()


def choose_version(earlier: str | None, later: str | None) -> str | None:
    """Return the later of two versions, or the earlier one if the later one is missing or blank."""
    return earlier if later is None or (is_blank(later) and earlier is not None) else later


def is_file(part: Part) -> bool:
    """Return whether a part is a file. Text without an attachment disposition is part of the body.

    Text of an unknown subtype is read as plain text (RFC 2046 §4.1.4), unless it has a file name. A part whose file
    name has an extension of the API is a file, whatever its type.
    """
    if part.disposition not in ("", "inline") or not part.type.startswith("text/"):
        # RFC 2183 §2.8: an unknown disposition is treated as "attachment".
        return True
    if extension(part.file_name) in TYPES:
        return True
    if part.type in ("text/plain", "text/html"):
        return False
    return bool(part.file_name) or part.type in EXTENSIONS
