"""Log lines of bounded size: a longer one says less of each list and text, and how much it leaves out.

Collectors cut or split long lines, and then they are no JSON any more. A line that is short enough costs nothing here.
Gunicorn's master imports this module: nothing heavy here.
"""

from collections.abc import Mapping
from datetime import datetime
from itertools import islice

import orjson

MAX_LINE_BYTES = 16_384
# How many items of a list and characters of a text are kept: the first of these with which the line is short enough.
STEPS = ((150, 2000), (100, 1000), (50, 500), (25, 250), (10, 100), (4, 40))
TRACE_SHARE = 4  # a traceback may have so many times the characters of another text
MESSAGE_ID_CHARACTERS = 998  # a line of a message (RFC 5322 §2.1.1): what support looks for is never cut below it
MAX_FIELDS = 40
MAX_DEPTH = 4
MAX_INTEGER_BITS = 63
# What is left when even the last step is too long: what the line is about.
CORE = ("time", "level", "event", "id", "session", "client", "account", "result", "reason", "limit", "what")
CORE_CHARACTERS = 60


def shortened(fields: Mapping[str, object]) -> bytes:
    """Return the fields as one line of JSON of at most MAX_LINE_BYTES octets."""
    for items, characters in STEPS:
        line = _dumped(_cut_fields(fields, items, characters))
        if len(line) <= MAX_LINE_BYTES:
            return line
    core = {name: _cut(fields[name], 1, CORE_CHARACTERS, MAX_DEPTH) for name in CORE if name in fields}
    if "message_id" in fields:
        core["message_id"] = _readable(fields["message_id"], MESSAGE_ID_CHARACTERS)
    return _dumped({**core, "fields_omitted": len(fields) - len(core)})


def shortened_text(text: str, characters: int) -> str:
    """Return the beginning and the end of a text that has more characters, and between them how many are missing."""
    if len(text) <= characters:
        return text
    head = characters * 2 // 3
    tail = characters - head
    return f"{text[:head]}… ({len(text) - characters} characters omitted) …{text[-tail:]}"


def _dumped(fields: Mapping[str, object]) -> bytes:
    return orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE)


def _cut_fields(fields: Mapping[str, object], items: int, characters: int) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in islice(fields.items(), MAX_FIELDS):
        key = _readable(name, characters)
        found[key] = _cut(value, items, _characters_of(name, characters), 0)
        omitted = len(value) - items if isinstance(value, (list, tuple, set, frozenset, dict)) else 0
        if omitted > 0:
            found[f"{key}_omitted"] = omitted
    if len(fields) > MAX_FIELDS:
        found["fields_omitted"] = len(fields) - MAX_FIELDS
    return found


def _characters_of(name: str, characters: int) -> int:
    """How many characters the text of a field may have, where another one has so many."""
    if name == "trace":
        return characters * TRACE_SHARE
    return max(characters, MESSAGE_ID_CHARACTERS) if name == "message_id" else characters


def _cut(value: object, items: int, characters: int, depth: int) -> object:
    """A value that JSON can carry, with no more than so many items at each level and characters in each text."""
    if value is None or isinstance(value, (bool, float, datetime)):
        return value
    if isinstance(value, int) and value.bit_length() <= MAX_INTEGER_BITS:
        return value
    if depth < MAX_DEPTH and isinstance(value, (list, tuple, set, frozenset)):
        return [_cut(one, items, characters, depth + 1) for one in islice(value, items)]
    if depth < MAX_DEPTH and isinstance(value, dict):
        some = islice(value.items(), items)
        return {_readable(name, characters): _cut(one, items, characters, depth + 1) for name, one in some}
    return _readable(value, characters)


def _readable(value: object, characters: int) -> str:
    """A value as a text that is not too long, of characters that UTF-8 can carry."""
    try:
        text = value if isinstance(value, str) else str(value)
    except Exception as problem:  # noqa: BLE001  a line must be written, whatever an object does
        text = f"({type(value).__name__}: {type(problem).__name__})"
    return shortened_text(text, characters).encode("utf-8", "replace").decode()
