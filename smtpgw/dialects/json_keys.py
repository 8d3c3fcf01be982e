"""Headers that are one JSON object, X-SMTPAPI and X-MSYS-API: a row for each path of keys."""

from collections.abc import Sequence
from typing import Any

from smtpgw.dialects import values
from smtpgw.dialects.context import HeaderContext
from smtpgw.dialects.table import STRIP, STRIP_WARN, Effect, Row

UNKNOWN_KEY = "not a key we know"
MAX_KEYS = 1000  # of an object whose keys are looked up one by one; providers know some twenty


def json_keys(rows: Sequence[Row], first_instance: bool = False) -> Effect:
    """The effect of a header whose keys have rows of their own, named by their paths: `filters.footer.settings`.

    With `first_instance`, a repetition of the header is only searched for test modes.
    """
    table = {row.name: row for row in rows}
    inner = {path for name in table for path in enclosing(name)}

    def read(reading: HeaderContext, text: str) -> None:
        header = reading.header
        keys = parsed_object(reading, text)
        if reading.repeated and first_instance:
            check_test_modes(reading, keys)
            reading.found(STRIP, "repeated; the first counts")
            return
        if not keys:
            reading.found(STRIP, "empty")
        reading.siblings = keys
        for key, value in few(reading, keys).items():
            walk(reading, header, key, value)

    def walk(reading: HeaderContext, header: str, path: str, value: Any) -> None:
        reading.header = f"{header} {path}"
        row = table.get(path)
        if row is None and path in inner:
            for key, item in few(reading, inner_object(reading, value)).items():
                walk(reading, header, f"{path}.{key}", item)
            return
        if row is None or not row.free_keys:
            check_test_modes(reading, value)
        (row or Row(path, "", STRIP_WARN, reason=UNKNOWN_KEY)).apply(reading, reading.header, value)

    return read


def check_test_modes(reading: HeaderContext, value: Any) -> None:
    if key := values.unsafe_test_mode(value):
        reading.refuse(f"the test mode {key[:60]}")


def parsed_object(reading: HeaderContext, text: str) -> dict[str, Any]:
    try:
        value = values.json_value(text) if text else {}
    except ValueError as problem:  # orjson.JSONDecodeError is one
        reading.invalid(f"is not valid JSON ({problem})")
    return inner_object(reading, value)


def inner_object(reading: HeaderContext, value: Any) -> dict[str, Any]:
    found = values.json_object(value)
    if found is None:
        reading.invalid("must be a JSON object")
    return found


def few(reading: HeaderContext, keys: dict[str, Any]) -> dict[str, Any]:
    if len(keys) > MAX_KEYS:
        reading.invalid(f"has an object of more than {MAX_KEYS} keys")
    return keys


def enclosing(path: str) -> list[str]:
    """Of `a.b.c`: `a` and `a.b`."""
    keys = path.split(".")
    return [".".join(keys[:n]) for n in range(1, len(keys))]
