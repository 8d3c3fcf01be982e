"""Pure functions that parse values of control headers. They return None for an invalid value."""

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
# Only the beginning of a long text is normalized, because one character may expand to many.
MAX_TAG_TEXT_CHARACTERS = 1024
MAX_NAMED_ADDRESSES = 10_000
# A header or key with such a name never leads to real mail, unless its value is negative.
TEST_MODE_NAME = re.compile(r"sandbox|drop|test.?mode|dry.?run", re.IGNORECASE)
NEGATIVES = frozenset(("no", "false", "0", "off", "none"))
YES = frozenset(("1", "true", "yes", "y", "on"))
NO = frozenset(("0", "false", "no", "n", "off"))


def yes_or_no(value: Any) -> bool | None:
    """Parse a switch in text or JSON: true, 1, "1", "on", "yes" and their opposites."""
    word = as_text(value).strip().lower()
    return True if word in YES else False if word in NO else None


def is_negative(value: Any) -> bool:
    """Return whether a value turns a test mode off. An empty value does not; an object does if all of its values do."""
    if isinstance(value, dict | list):
        inner = [item for _, item in items_within(value) if not isinstance(item, dict | list)]
        return bool(inner) and all(map(is_negative, inner))
    return value is not None and as_text(value).strip().strip("\"'").lower() in NEGATIVES


def whole_number(value: Any) -> int | None:
    """Parse an id, which is at least 1."""
    text = as_text(value).strip()
    return int(text) if re.fullmatch(r"0*[1-9][0-9]{0,17}", text, re.ASCII) else None


def as_text(value: Any) -> str:
    """Return a JSON value as text; null is ""."""
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, bool):
        return {None: "", True: "true", False: "false"}[value]
    return orjson.dumps(value).decode()


def json_value(text: str) -> Any:
    """Parse a JSON text.

    Raises:
        ValueError: The text is not JSON, is nested too deeply, or has an object with a duplicate key. Which of the two
            counts is undefined (RFC 8259 §4), and one may be a test mode.
    """
    value = orjson.loads(text)
    if depth(value) > MAX_JSON_DEPTH:
        raise ValueError("nested too deep")
    json.loads(text, object_pairs_hook=reject_duplicate_keys)
    return value


def reject_duplicate_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object for its pairs. Raises ValueError if a key is repeated."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice")
    return found


def depth(value: Any) -> int:
    """Return how many levels of values a JSON value contains."""
    level, found = [value], 0
    while level := [item for outer in level for item in children(outer)]:
        found += 1
    return found


def children(value: Any) -> list[Any]:
    """Return the values directly inside a JSON value."""
    return list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []


def items_within(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield every key and value inside a JSON value at any depth. The items of a list have the key ""."""
    # A stack is used, because an item of nested generators would pass through each of them.
    open_values = [pairs_within(value)]
    while open_values:
        for key, item in open_values[-1]:
            yield key, item
            if isinstance(item, dict | list):
                open_values.append(pairs_within(item))
                break
        else:
            open_values.pop()


def pairs_within(value: Any) -> Iterator[tuple[str, Any]]:
    """Return the keys and values of a JSON object. The items of a list have the key ""."""
    if isinstance(value, dict):
        return iter(value.items())
    return (("", item) for item in value) if isinstance(value, list) else iter(())


def find_unsafe_test_mode(value: Any) -> str:
    """Return the first key inside a JSON value that names a test mode and does not turn it off, "" if there is none."""
    return survey(value, is_wanted=False)[0]


def survey(value: Any, *, is_wanted: bool) -> tuple[str, bool, bool]:
    """Visit each value inside a JSON value once, even if several test modes contain it.

    Returns:
        The result of `find_unsafe_test_mode`; whether the value contains a scalar; and, if `is_wanted`, whether all of
        its scalars are negative.
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
    """Return a JSON object, None for other values. PHP writes an empty one as `[]`; null counts as empty too."""
    return value if isinstance(value, dict) else {} if value in (None, []) else None


def texts(value: Any) -> list[str]:
    """Return a list of texts for one text or a list."""
    return [as_text(item) for item in value] if isinstance(value, list) else [as_text(value)] if value else []


def comma_separated(text: str) -> list[str]:
    """Return the items of a comma-separated list that are not empty."""
    return [word for piece in text.split(",") if (word := piece.strip())]


def tag(text: str) -> str:
    """Return a tag in the form of the API, [a-zA-Z0-9-_]{1,255}, or "" if no usable character is left."""
    characters = unicodedata.normalize("NFKD", text[:MAX_TAG_TEXT_CHARACTERS])[:MAX_TAG_TEXT_CHARACTERS]
    letters = "".join(c for c in characters if not unicodedata.combining(c))
    return re.sub(r"[^a-zA-Z0-9_-]+", "-", letters).strip("-")[:MAX_TAG_CHARACTERS]


def addresses(value: Any) -> Iterator[str]:
    """Yield the addresses in a text such as `B <b@x.test>`, an object with an `email`, or a list of these.

    The addresses are in the form of `comparable`. An item without an address, or beyond MAX_NAMED_ADDRESSES, yields "",
    which equals no recipient.
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
    """Return an address in a form for comparison. Addresses that differ only in case are considered equal."""
    return unicodedata.normalize("NFC", address.strip()).casefold()


def epoch(value: Any) -> float | None:
    """Parse seconds since 1970 UTC, as a number or as digits."""
    text = as_text(value).strip()
    return float(text) if re.fullmatch(r"-?[0-9]{1,15}(\.[0-9]{1,9})?", text, re.ASCII) else None


def iso_instant(value: Any) -> float | None:
    """Parse `2026-12-31 23:59:59` or `2026-12-31T23:59:59-04:00`. The default time zone is UTC."""
    try:
        return seconds_of(datetime.fromisoformat(as_text(value).strip()))
    except (ValueError, OverflowError):
        return None


def mail_date(value: Any) -> float | None:
    """Parse a date such as `Fri, 14 Oct 2026 23:10:10 -0000` (RFC 5322 §3.3) or seconds since 1970."""
    seconds = epoch(value)
    try:
        return seconds if seconds is not None else seconds_of(parsedate_to_datetime(as_text(value)))
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def seconds_of(instant: datetime) -> float:
    """Return the seconds since 1970 of a time. A time without a zone is in UTC."""
    # RFC 5322 §3.3: -0000 means UTC and no information on the zone. Python returns such a time without a zone.
    return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp()


def pairs(text: str) -> Mapping[str, str] | None:
    """Parse `key:value|key:value`, which Brevo accepts besides JSON."""
    split = [piece.partition(":") for piece in text.split("|") if piece.strip()]
    return {key.strip(): value.strip() for key, _, value in split} if all(colon for _, colon, _ in split) else None
