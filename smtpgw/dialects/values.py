"""Values of control headers, read as what their providers mean by them. Pure functions; None is "cannot be read"."""

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from smtpgw.message.addresses import NoMailbox, mailboxes

MAX_JSON_DEPTH = 32
MAX_TAG_CHARACTERS = 255
MAX_TAG_TEXT_CHARACTERS = 1024  # what a tag is made from; one character of Unicode may stand for eighteen
MAX_NAMED_ADDRESSES = 10_000  # ten times what SendGrid takes in one header
# No name like this may lead to mail that is really sent, unless its value says no.
TEST_MODE_NAME = re.compile(r"sandbox|drop|test.?mode|dry.?run", re.IGNORECASE)
NEGATIVES = frozenset(("no", "false", "0", "off", "none"))
YES = frozenset(("1", "true", "yes", "y", "on"))
NO = frozenset(("0", "false", "no", "n", "off"))


def yes_or_no(value: Any) -> bool | None:
    """A switch, as text or as JSON has it: true, 1, "1", "on", "yes" and their contraries."""
    word = as_text(value).strip().lower()
    return True if word in YES else False if word in NO else None


def is_negative(value: Any) -> bool:
    """Whether a test mode is surely not wanted. An empty value is not that; an object is if all within it says no."""
    if isinstance(value, dict | list):
        inner = [item for _, item in items_within(value) if not isinstance(item, dict | list)]
        return bool(inner) and all(map(is_negative, inner))
    return value is not None and as_text(value).strip().strip("\"'").lower() in NEGATIVES


def whole_number(value: Any) -> int | None:
    """An id, from 1."""
    text = as_text(value).strip()
    return int(text) if re.fullmatch(r"0*[1-9][0-9]{0,17}", text, re.ASCII) else None


def as_text(value: Any) -> str:
    """A JSON value as the word that people would write for it."""
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, bool):
        return {None: "", True: "true", False: "false"}[value]
    return orjson.dumps(value).decode()


def json_value(text: str) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: when it is not JSON, is nested deeper than anything a provider asks for, or has a key twice: which
            of the two counts nobody can tell (RFC 8259 §4), and one may be a test mode.
    """
    value = orjson.loads(text)
    if depth(value) > MAX_JSON_DEPTH:
        raise ValueError("nested too deep")
    json.loads(text, object_pairs_hook=reject_duplicate_keys)
    return value


def reject_duplicate_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice")
    return found


def depth(value: Any) -> int:
    level, found = [value], 0
    while level := [item for outer in level for item in children(outer)]:
        found += 1
    return found


def children(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []


def items_within(value: Any) -> Iterator[tuple[str, Any]]:
    """Every key and value inside a JSON value, however deep; the items of a list have the key ""."""
    open_values = [pairs_within(value)]  # not one generator in another: each item would pass through all of them
    while open_values:
        for key, item in open_values[-1]:
            yield key, item
            if isinstance(item, dict | list):
                open_values.append(pairs_within(item))
                break
        else:
            open_values.pop()


def pairs_within(value: Any) -> Iterator[tuple[str, Any]]:
    """The keys and values of a JSON object; the items of a list have the key ""."""
    if isinstance(value, dict):
        return iter(value.items())
    return (("", item) for item in value) if isinstance(value, list) else iter(())


def find_unsafe_test_mode(value: Any) -> str:
    """Return the first key inside a JSON value that names a test mode which is not surely off, "" if there is none."""
    return survey(value, is_wanted=False)[0]


def survey(value: Any, *, is_wanted: bool) -> tuple[str, bool, bool]:
    """Look at each value inside another one once, however many test modes it stands in.

    Returns:
        What `find_unsafe_test_mode` does; whether there is anything but objects and lists; and, where that `is_wanted`,
        whether all of it says no.
    """
    found, has_leaf, is_negative_all = "", False, True
    for key, item in pairs_within(value):
        names_test_mode = bool(TEST_MODE_NAME.search(key))
        wanted = is_wanted or names_test_mode
        if isinstance(item, dict | list):
            inner, has_inner_leaf, is_off = survey(item, is_wanted=wanted)
        else:
            inner, has_inner_leaf, is_off = "", True, not wanted or is_negative(item)
        if not found:
            found = key if names_test_mode and not (has_inner_leaf and is_off) else inner
        has_leaf = has_leaf or has_inner_leaf
        is_negative_all = is_negative_all and is_off
    return found, has_leaf, is_negative_all


def json_object(value: Any) -> dict[str, Any] | None:
    """A JSON object; PHP writes an empty one as `[]`, and nothing given as null."""
    return value if isinstance(value, dict) else {} if value in (None, []) else None


def texts(value: Any) -> list[str]:
    """One text or a list of them."""
    return [as_text(item) for item in value] if isinstance(value, list) else [as_text(value)] if value else []


def comma_separated(text: str) -> list[str]:
    return [word for piece in text.split(",") if (word := piece.strip())]


def tag(text: str) -> str:
    """A tag as the API takes it, [a-zA-Z0-9-_]{1,255}; "" when nothing of it is left."""
    characters = unicodedata.normalize("NFKD", text[:MAX_TAG_TEXT_CHARACTERS])[:MAX_TAG_TEXT_CHARACTERS]
    letters = "".join(c for c in characters if not unicodedata.combining(c))
    return re.sub(r"[^a-zA-Z0-9_-]+", "-", letters).strip("-")[:MAX_TAG_CHARACTERS]


def addresses(value: Any) -> Iterator[str]:
    """The addresses in a text such as `B <b@x.test>`, an object with an `email`, or a list of these; to be compared.

    What holds no address gives "", which equals no recipient; so does what comes after MAX_NAMED_ADDRESSES.
    """
    items = value if isinstance(value, list) else [value]
    for item in items[:MAX_NAMED_ADDRESSES]:
        text = as_text(item.get("email")) if isinstance(item, dict) else as_text(item)
        try:
            yield from (comparable(mailbox.address) for mailbox in mailboxes(text))
        except NoMailbox:
            yield ""
    if len(items) > MAX_NAMED_ADDRESSES:
        yield ""


def comparable(address: str) -> str:
    """Mailboxes that differ in case alone are one, for all that providers and customers care."""
    return unicodedata.normalize("NFC", address.strip()).casefold()


def epoch(value: Any) -> float | None:
    """Seconds since 1970 UTC, as a number or in digits."""
    text = as_text(value).strip()
    return float(text) if re.fullmatch(r"-?[0-9]{1,15}(\.[0-9]{1,9})?", text, re.ASCII) else None


def iso_instant(value: Any) -> float | None:
    """`2026-12-31 23:59:59` or `2026-12-31T23:59:59-04:00`; UTC where no zone is named."""
    try:
        return seconds_of(datetime.fromisoformat(as_text(value).strip()))
    except (ValueError, OverflowError):
        return None


def mail_date(value: Any) -> float | None:
    """RFC 5322 §3.3: `Fri, 14 Oct 2026 23:10:10 -0000`; or seconds since 1970."""
    seconds = epoch(value)
    try:
        return seconds if seconds is not None else seconds_of(parsedate_to_datetime(as_text(value)))
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def seconds_of(instant: datetime) -> float:
    # RFC 5322 §3.3: -0000 says nothing of a zone, and Python then leaves it out; the time itself is UTC.
    return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp()


def pairs(text: str) -> Mapping[str, str] | None:
    """`key:value|key:value`, as Brevo has it besides JSON."""
    split = [piece.partition(":") for piece in text.split("|") if piece.strip()]
    return {key.strip(): value.strip() for key, _, value in split} if all(colon for _, colon, _ in split) else None
