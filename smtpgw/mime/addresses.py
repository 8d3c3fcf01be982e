"""Mailboxes of an address field: display names, comments, groups and all (RFC 5322 §3.4, with §4.4 of old mail)."""

import functools
import re
from dataclasses import dataclass

from smtpgw.mime.words import decoded

CACHED_LENGTH = 120  # an app's From is the same in all its mail
LENGTH = 8192  # of a field; a person's name and address need a hundredth of it

# An encoded word comes first: "=?utf-8?q?Doe,_Jane?=" has a comma that separates nothing.
TOKEN = re.compile(
    r"(?P<space>\s+)"
    r"|(?P<word>=\?[^?\s]+\?[bBqQ]\?[^?]*\?=)"
    r"|(?P<quoted>\"(?:[^\"\\]|\\.)*+\"?)"
    r"|(?P<angle><[^<>]*>?)"
    r"|(?P<special>[,;:()])"
    r"|(?P<atom>[^\s,;:()<\"]+)"
)
QUOTED_PAIR = re.compile(r"\\(.)")
ROUTE = re.compile(r"^@[^:]*:")  # RFC 5322 §4.4: obsolete, and to be ignored
ADDRESS = re.compile(r"(?:\"[^\"]*\"|[^@\s\"<>,;:()\[\]\\]+)(?:@(?:[^@\s\"<>,;:()\[\]\\]+|\[[0-9A-Za-z.:]+\]))?")


@dataclass(frozen=True, slots=True)
class Mailbox:
    """One address and the name shown with it, decoded; "" where there is none."""

    name: str
    address: str  # "root" alone is one too: a local name, whose domain nobody knows


class NoMailbox(ValueError):
    """The text is no list of mailboxes."""


def mailboxes(value: str) -> list[Mailbox]:
    """The mailboxes a field names, those of groups included.

    Raises:
        NoMailbox: it names something else, or nothing.
    """
    return list(cached(value)) if len(value) <= CACHED_LENGTH else read(value)


def read(value: str) -> list[Mailbox]:
    if len(value) > LENGTH:
        raise NoMailbox
    items = [item for item in Reader(value).items() if not item.is_empty]
    return [item.mailbox() for item in with_their_commas(items)]


cached = functools.lru_cache(1024)(read)


@dataclass(slots=True)
class Item:
    """What stands between two separators."""

    phrase: str = ""  # the words, each separated as it was
    comment: str = ""
    angle: str | None = None
    is_broken: bool = False  # words after the angle brackets

    @property
    def is_empty(self) -> bool:
        return not self.phrase.strip() and self.angle is None

    @property
    def is_words(self) -> bool:
        return self.angle is None and "@" not in self.phrase

    def mailbox(self) -> Mailbox:
        phrase = self.phrase.strip()
        if self.angle is None:
            address, name = re.sub(r"\s*([@.])\s*", r"\1", phrase), self.comment
        else:
            address, name = ROUTE.sub("", self.angle.strip()), unquoted(phrase) or self.comment
        if self.is_broken or not ADDRESS.fullmatch(address) or not address.isprintable():
            raise NoMailbox
        return Mailbox(" ".join(decoded(name).split()), address)


def with_their_commas(items: list[Item]) -> list[Item]:
    """`Doe, Jane <jane@example.com>`, where the name ought to have been quoted, is one mailbox and not two."""
    *words, last = items or [Item()]
    if words and last.angle is not None and all(item.is_words for item in words):
        last.phrase = ", ".join(item.phrase.strip() for item in items)
        return [last]
    return items


def unquoted(phrase: str) -> str:
    """A display name without the quotes that hold all or a part of it."""
    return re.sub(r"\"((?:[^\"\\]|\\.)*+)\"?", lambda quoted: QUOTED_PAIR.sub(r"\1", quoted[1]), phrase)


class Reader:
    """Reads one field from left to right."""

    def __init__(self, value: str) -> None:
        self.tokens = [(found.lastgroup or "", found[0]) for found in TOKEN.finditer(value)]
        self.at = 0

    def items(self) -> list[Item]:
        items = [Item()]
        while self.at < len(self.tokens):
            kind, text = self.tokens[self.at]
            self.at += 1
            item = items[-1]
            if text in (",", ";"):
                items.append(Item())
            elif text == ":":
                items[-1] = Item()  # what came before names a group
            elif text == "(":
                item.comment = item.comment or self.comment()
            elif kind == "angle":
                item.is_broken = item.is_broken or item.angle is not None
                item.angle = text[1:].removesuffix(">")
            elif item.angle is None:
                item.phrase += text
            elif kind != "space":
                item.is_broken = True
        return items

    def comment(self) -> str:
        """The rest of a comment, which may hold others (RFC 5322 §3.2.2)."""
        depth, said = 1, ""
        while depth and self.at < len(self.tokens):
            text = self.tokens[self.at][1]
            self.at += 1
            depth += (text == "(") - (text == ")")
            said += text if depth else ""
        return said
