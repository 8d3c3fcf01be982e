"""Log lines of bounded size: of a longer line, lists and texts are cut, and the line shows how much is omitted.

Log collectors cut or split long lines, which are then no longer valid JSON. A line that is short enough never gets
here. Gunicorn's master imports this module, so it imports nothing heavy.
"""

from collections.abc import Mapping
from datetime import datetime
from itertools import islice

import orjson

MAX_LINE_BYTES = 16_384
# Items of a list and characters of a text that are kept. The first step that makes the line short enough is used.
STEPS = ((150, 2000), (100, 1000), (50, 500), (25, 250), (10, 100), (4, 40))
# A traceback may have this many times the characters of another text.
TRACE_FACTOR = 4
# The longest line of a message (RFC 5322 §2.1.1). Support searches for message ids, so they are never cut below it.
MESSAGE_ID_CHARACTERS = 998
MAX_FIELDS = 40
MAX_DEPTH = 4
MAX_INTEGER_BITS = 63
# The fields that are left when the line is too long even with the last step.
CORE = ("time", "level", "event", "id", "session", "client", "account", "result", "reason", "limit", "what")
CORE_CHARACTERS = 60


def shorten(fields: Mapping[str, object]) -> bytes:
    """Return the fields as one line of JSON with at most MAX_LINE_BYTES octets."""
    for items, characters in STEPS:
        line = _dump(_cut_fields(fields, items, characters))
        if len(line) <= MAX_LINE_BYTES:
            return line
    core = {name: _cut(fields[name], 1, CORE_CHARACTERS, MAX_DEPTH) for name in CORE if name in fields}
    if "message_id" in fields:
        core["message_id"] = _printable(fields["message_id"], MESSAGE_ID_CHARACTERS)
    return _dump({**core, "fields_omitted": len(fields) - len(core)})


def shorten_text(text: str, characters: int) -> str:
    """Return the text, or its beginning and end and the number of characters omitted between them."""
    if len(text) <= characters:
        return text
    head = characters * 2 // 3
    tail = characters - head
    return f"{text[:head]}… ({len(text) - characters} characters omitted) …{text[-tail:]}"


def _dump(fields: Mapping[str, object]) -> bytes:
    return orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE)


def _cut_fields(fields: Mapping[str, object], items: int, characters: int) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in islice(fields.items(), MAX_FIELDS):
        key = _printable(name, characters)
        found[key] = _cut(value, items, _max_characters(name, characters), 0)
        omitted = len(value) - items if isinstance(value, (list, tuple, set, frozenset, dict)) else 0
        if omitted > 0:
            found[f"{key}_omitted"] = omitted
    if len(fields) > MAX_FIELDS:
        found["fields_omitted"] = len(fields) - MAX_FIELDS
    return found


def _max_characters(name: str, characters: int) -> int:
    """Return the limit for the text of this field, given the limit for an ordinary field."""
    if name == "trace":
        return characters * TRACE_FACTOR
    return max(characters, MESSAGE_ID_CHARACTERS) if name == "message_id" else characters


def _cut(value: object, items: int, characters: int, depth: int) -> object:
    """Return a JSON value with at most this many items at each level and this many characters in each text."""
    if value is None or isinstance(value, (bool, float, datetime)):
        return value
    if isinstance(value, int) and value.bit_length() <= MAX_INTEGER_BITS:
        return value
    if depth < MAX_DEPTH and isinstance(value, (list, tuple, set, frozenset)):
        return [_cut(one, items, characters, depth + 1) for one in islice(value, items)]
    if depth < MAX_DEPTH and isinstance(value, dict):
        some = islice(value.items(), items)
        return {_printable(name, characters): _cut(one, items, characters, depth + 1) for name, one in some}
    return _printable(value, characters)


def _printable(value: object, characters: int) -> str:
    """Return a value as a text of at most this many characters that UTF-8 can encode."""
    try:
        text = value if isinstance(value, str) else str(value)
    except Exception as problem:  # noqa: BLE001  the line must be written, even if an object cannot be printed
        text = f"({type(value).__name__}: {type(problem).__name__})"
    return shorten_text(text, characters).encode("utf-8", "replace").decode()
