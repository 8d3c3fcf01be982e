"""Parser for address fields: display names, comments and groups (RFC 5322 §3.4, and the obsolete forms of §4.4)."""

import functools
import re
from dataclasses import dataclass

from smtpgw.message.words import decode, decode_outer_encoding

# Short fields are cached, because an application sends all of its mail with the same From.
MAX_CACHED_CHARACTERS = 120
MAX_FIELD_CHARACTERS = 8192

# Encoded words are matched first: the comma in "=?utf-8?q?Doe,_Jane?=" is not a separator.
TOKEN = re.compile(
    r"(?P<space>\s+)"
    r"|(?P<word>=\?[^?\s]+\?[bBqQ]\?[^?]*\?=)"
    r"|(?P<quoted>\"(?:[^\"\\]|\\.)*+\"?)"
    r"|(?P<special>[,;:()<])"
    r"|(?P<atom>[^\s,;:()<\"]+)"
)
QUOTED_PAIR = re.compile(r"\\(.)")
COMMENT_PIECE = re.compile(r"=\?[^?\s]+\?[bBqQ]\?[^?]*\?=|[^()\\=]+|\\.|.", re.DOTALL)
ANGLE_PIECE = re.compile(r"[^<>(\"]+|\"(?:[^\"\\]|\\.)*+\"?")
# White space around a dot or the @ is not part of the address (RFC 5322 §4.4), except inside quotes.
SPACE_IN_ADDRESS = re.compile(r"(\"(?:[^\"\\]|\\.)*+\"?)|(?<!\s)\s++([@.])\s*+|([@.])\s++")
# RFC 5322 §4.4: source routes are obsolete and must be ignored.
ROUTE = re.compile(r"^@[^:]*:")
ADDRESS = re.compile(r"(?:\"[^\"]*\"|[^@\s\"<>,;:()\[\]\\]+)(?:@(?:[^@\s\"<>,;:()\[\]\\]+|\[[0-9A-Za-z.:]+\]))?")


@dataclass(frozen=True, slots=True)
class Mailbox:
    """An address and its decoded display name, "" if there is none."""

    name: str
    # A local name without a domain, such as "root", is accepted too.
    address: str


class NoMailbox(ValueError):
    """The text is not a list of mailboxes."""


class NoBrackets(NoMailbox):
    """The text has a display name and an address without angle brackets."""


def mailboxes(value: str) -> list[Mailbox]:
    """Return the mailboxes of a field, including the members of groups.

    A field that was encoded as a whole, including its brackets (against RFC 2047 §5), is decoded first.

    Raises:
        NoMailbox: The field is empty or is not a list of mailboxes.
        NoBrackets: The field has a display name and an address without angle brackets.
    """
    return list(parse_cached(value)) if len(value) <= MAX_CACHED_CHARACTERS else parse_uncached(value)


def parse_uncached(value: str) -> list[Mailbox]:
    """Parse a field without the cache. Raises NoMailbox or NoBrackets."""
    if len(value) > MAX_FIELD_CHARACTERS:
        raise NoMailbox
    items = [item for item in AddressReader(decode_outer_encoding(value)).read_items() if not item.is_empty]
    return [item.to_mailbox() for item in rejoin_unquoted_name(items)]


parse_cached = functools.lru_cache(1024)(parse_uncached)


@dataclass(slots=True)
class Item:
    """The text between two separators."""

    # The words outside the angle brackets, with their original white space.
    phrase: str = ""
    comment: str = ""
    angle: str | None = None
    # Whether words follow the angle brackets.
    is_broken: bool = False

    @property
    def is_empty(self) -> bool:
        return not self.phrase.strip() and self.angle is None

    @property
    def is_phrase_only(self) -> bool:
        return self.angle is None and "@" not in self.phrase

    def to_mailbox(self) -> Mailbox:
        """Return the mailbox of the item. Raises NoMailbox or NoBrackets."""
        phrase = self.phrase.strip()
        if self.angle is None:
            address, name = remove_spaces(phrase), self.comment
        else:
            address, name = remove_spaces(ROUTE.sub("", self.angle.strip())), unquote(phrase) or self.comment
        if self.is_broken or not ADDRESS.fullmatch(address) or not address.isprintable():
            raise NoBrackets if self.angle is None and has_one_address(phrase) else NoMailbox
        return Mailbox(" ".join(decode(name).split()), address)


def rejoin_unquoted_name(items: list[Item]) -> list[Item]:
    """Merge the items of `Doe, Jane <jane@example.com>`, whose display name lacks its quotes, into one."""
    *words, last = items or [Item()]
    if words and last.angle is not None and all(item.is_phrase_only for item in words):
        last.phrase = ", ".join(phrase for item in items if (phrase := item.phrase.strip()))
        return [last]
    return items


def has_one_address(phrase: str) -> bool:
    """Return whether a phrase contains exactly one word with an @, and this is an address."""
    addresses = [word for word in phrase.split() if "@" in word]
    return len(addresses) == 1 and bool(ADDRESS.fullmatch(addresses[0]))


def remove_spaces(address: str) -> str:
    """Remove white space around the dots and the @ of an address."""
    return SPACE_IN_ADDRESS.sub(lambda found: found[1] or found[2] or found[3], address)


def unquote(phrase: str) -> str:
    """Return a display name without the quotes around all or parts of it."""
    return re.sub(r"\"((?:[^\"\\]|\\.)*+)\"?", lambda quoted: QUOTED_PAIR.sub(r"\1", quoted[1]), phrase)


class AddressReader:
    """Reader of one field, from left to right."""

    def __init__(self, value: str) -> None:
        self.value = value
        self.at = 0

    def read_items(self) -> list[Item]:
        """Return the items between commas and semicolons. The last item may be empty."""
        items = [Item()]
        while found := TOKEN.match(self.value, self.at):
            kind, text = found.lastgroup, found[0]
            self.at = found.end()
            item = items[-1]
            if text in (",", ";"):
                items.append(Item())
            elif text == ":":
                # The item before the colon is the name of a group.
                items[-1] = Item()
            elif text == "(":
                comment = self.read_comment()
                item.comment = item.comment or comment
            elif text == "<":
                item.is_broken = item.is_broken or item.angle is not None
                item.angle = self.read_angle()
            elif item.angle is None:
                item.phrase += text
            elif kind != "space":
                item.is_broken = True
        return items

    def read_comment(self) -> str:
        """Read the rest of a comment, which may contain other comments (RFC 5322 §3.2.2), and return its text."""
        depth, text_so_far = 1, ""
        while depth and (found := COMMENT_PIECE.match(self.value, self.at)):
            text = found[0]
            self.at = found.end()
            depth += (text == "(") - (text == ")")
            text_so_far += QUOTED_PAIR.sub(r"\1", text) if depth else ""
        return text_so_far

    def read_angle(self) -> str:
        """Read to the closing bracket and return the text before it, without comments."""
        pieces: list[str] = []
        while True:
            if found := ANGLE_PIECE.match(self.value, self.at):
                pieces.append(found[0])
                self.at = found.end()
            elif self.value.startswith("(", self.at):
                self.at += 1
                self.read_comment()
            else:
                self.at += self.value.startswith(">", self.at)
                return "".join(pieces)
