"""Parser for the tree of a message's parts, as positions in its octets (RFC 2046 §5.1).

The parser limits the depth, the number of parts and the number of boundary lines, and copies no body, so that a hostile
message costs no more than its size. Other modules decide what becomes of a part.

The standard library's parser splits a message into lines and keeps all of them as text, which takes several times the
CPU and the memory; see docs/performance.md. A test compares both parsers and lists each difference.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from smtpgw.core.replies import BAD_STRUCTURE, SMTPError
from smtpgw.message import fields, parameters
from smtpgw.message.fields import Header
from smtpgw.message.words import decode

# Levels of nested multiparts.
MAX_DEPTH = 10
MAX_PARTS = 1000
# Lines that only begin like a boundary are counted too.
MAX_BOUNDARY_LINES = 10_000

WORD = re.compile(r"[\s\"]*([^\s\";(]*)")

# RFC 2045 §5.2 and RFC 2046 §5.1.5: the default types of parts, and of parts of a multipart/digest.
TEXT = "text/plain"
DIGEST_DEFAULT = "message/rfc822"


@dataclass(slots=True, eq=False)
class Part:
    """A message or a part of one. `raw[start:end]` is its body."""

    headers: tuple[Header, ...]
    # The content type in lower case, such as "text/plain", and its parameters.
    type: str
    parameters: Mapping[str, str]
    # The disposition in lower case, such as "attachment", "" if there is none.
    disposition: str
    # The file name as sent, "" if there is none.
    file_name: str
    # Content-Transfer-Encoding in lower case.
    encoding: str
    raw: bytes
    start: int
    end: int
    children: list["Part"]

    @property
    def body(self) -> bytes:
        return self.raw[self.start : self.end]

    def header(self, name: str) -> str:
        """Return the value of the first field with a name in lower case, "" if there is none."""
        return next((header.value for header in self.headers if header.name.lower() == name), "")


def parse(raw: bytes) -> Part:
    """Parse a whole message and return its root part.

    Raises:
        SMTPError: BAD_STRUCTURE, HEADERS_TOO_BIG.
    """
    start = fields.find_message_start(raw)
    root = PartReader(raw).read_part(start, len(raw), TEXT, 0)
    if root.children and not all(header.value.isascii() for header in root.headers):
        # A multipart declares no charset. Its header fields are in the charset of its text.
        root.headers, _ = fields.parse_section(raw, start, len(raw), find_text_charset(root))
    return root


def find_text_charset(part: Part) -> str:
    """Return the charset of the first text part that declares one, "" if none does."""
    if part.type.startswith("text/"):
        return part.parameters.get("charset", "")
    return next(filter(None, map(find_text_charset, part.children)), "")


class PartReader:
    """Reader of the parts of one message. It counts parts and boundary lines, and rejects messages with too many."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.parts = 0
        self.boundary_lines = 0

    def read_part(self, start: int, end: int, default_type: str, depth: int) -> Part:
        """Return the part at `raw[start:end]` with its children. Raises SMTPError (BAD_STRUCTURE, HEADERS_TOO_BIG)."""
        self.parts += 1
        if self.parts > MAX_PARTS:
            raise SMTPError(BAD_STRUCTURE.filled(why=f"it has more than {MAX_PARTS} parts"))
        headers, body = fields.parse_section(self.raw, start, end)
        part = describe(headers, default_type, self.raw, body, end)
        if part.type.startswith("multipart/"):
            if depth == MAX_DEPTH:
                raise SMTPError(BAD_STRUCTURE.filled(why=f"its parts are nested more than {MAX_DEPTH} levels deep"))
            part.children = self.read_children(part, depth + 1)
        return part

    def read_children(self, part: Part, depth: int) -> list[Part]:
        """Return the children of a multipart. Raises SMTPError (BAD_STRUCTURE, HEADERS_TOO_BIG)."""
        boundary = part.parameters.get("boundary", "").rstrip().encode()
        default_type = DIGEST_DEFAULT if part.type == "multipart/digest" else TEXT
        places = list(self.find_parts(boundary, part.start, part.end)) if boundary else []
        if not places and part.body.strip() not in (b"", b"--" + boundary + b"--"):
            raise SMTPError(BAD_STRUCTURE.filled(why=f"a {part.type} without the boundary it declares"))
        return [self.read_part(start, end, default_type, depth) for start, end in places]

    def find_parts(self, boundary: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield the start and the end of each part. Text before the first and after the last is ignored (§5.1.1).

        Parts after the closing line are included if the boundary occurs again. Otherwise a program that uses the same
        boundary for two multiparts of a message would lose its attachments.
        """
        opened = -1
        for line, after, is_closing in self.find_boundary_lines(boundary, start, end):
            if opened >= 0:
                yield opened, max(opened, self.before_line_end(line))
            opened = -1 if is_closing else after
        if opened >= 0:
            yield opened, end

    def find_boundary_lines(self, boundary: bytes, start: int, end: int) -> Iterator[tuple[int, int, bool]]:
        """Yield the start of each boundary line, the start of the next line, and whether it is the closing one.

        A boundary line must contain nothing else, because one boundary may be a prefix of another.
        """
        raw, delimiter = self.raw, b"--" + boundary
        line = start if raw.startswith(delimiter, start, end) else raw.find(b"\n" + delimiter, start, end) + 1
        while line:
            self.boundary_lines += 1
            if self.boundary_lines > MAX_BOUNDARY_LINES:
                raise SMTPError(BAD_STRUCTURE.filled(why="it has too many lines that look like boundaries"))
            after = raw.find(b"\n", line + len(delimiter), end) + 1 or end
            rest = raw[line + len(delimiter) : after].strip()
            if rest in (b"", b"--"):
                yield line, after, bool(rest)
            line = raw.find(b"\n" + delimiter, after - 1, end) + 1

    def before_line_end(self, line: int) -> int:
        """Return the position before the line end that precedes a boundary and belongs to it (RFC 2046 §5.1.1)."""
        return line - 2 if self.raw[line - 2 : line - 1] == b"\r" else line - 1


def describe(headers: tuple[Header, ...], default_type: str, raw: bytes, start: int, end: int) -> Part:
    """Return the part whose header fields are `headers` and whose body is `raw[start:end]`, without its children."""
    part = Part(headers, default_type, {}, "", "", "", raw, start, end, [])
    named: Mapping[str, str] = {}
    type_ = ""
    # The first of repeated fields wins.
    for header in reversed(headers):
        match header.name.lower():
            case "content-type":
                type_, part.parameters = parameters.parse(header.value)
            case "content-disposition":
                part.disposition, named = parameters.parse(header.value)
            case "content-transfer-encoding":
                part.encoding = first_word(header.value)
    part.file_name = decode(named.get("filename") or part.parameters.get("name", "")).strip()
    if type_.count("/") == 1 and not type_.startswith("/") and not type_.endswith("/"):
        part.type = type_
    elif type_ and part.file_name:
        part.type = "application/octet-stream"
    return part


def first_word(value: str) -> str:
    """Return the value of a field without comments and parameters, in lower case."""
    found = WORD.match(value)
    return found[1].lower() if found else ""
