"""Interpretation of headers that are one JSON object (X-SMTPAPI, X-MSYS-API), with a row for each path of keys."""

from collections.abc import Sequence
from typing import Any

from smtpgw.dialects import values
from smtpgw.dialects.context import HeaderContext
from smtpgw.dialects.table import STRIP, STRIP_WARN, Effect, Row

UNKNOWN_KEY = "not a key we know"
# Keys of one object that are looked up. Providers define far fewer.
MAX_KEYS = 1000


def json_keys(rows: Sequence[Row], first_instance: bool = False) -> Effect:
    """Return the effect of a header whose keys have their own rows.

    Args:
        rows: The rows, named by the path of their key, such as `filters.footer.settings`.
        first_instance: Whether only the first instance of the header counts. Others are still checked for test modes.
    """
    table = {row.name: row for row in rows}
    inner = {path for name in table for path in enclosing_paths(name)}

    def read(context: HeaderContext, text: str) -> None:
        header = context.header
        keys = parse_object(context, text)
        if context.is_repeated and first_instance:
            check_test_modes(context, keys)
            context.record(STRIP, "repeated; the first counts")
            return
        if not keys:
            context.record(STRIP, "empty")
        context.siblings = keys
        for key, value in require_few_keys(context, keys).items():
            walk(context, header, key, value)

    def walk(context: HeaderContext, header: str, path: str, value: Any) -> None:
        context.header = f"{header} {path}"
        row = table.get(path)
        if row is None and path in inner:
            for key, item in require_few_keys(context, require_object(context, value)).items():
                walk(context, header, f"{path}.{key}", item)
            return
        if row is None or not row.free_keys:
            check_test_modes(context, value)
        (row or Row(path, "", STRIP_WARN, reason=UNKNOWN_KEY)).apply(context, context.header, value)

    return read


def check_test_modes(context: HeaderContext, value: Any) -> None:
    """Reject a JSON value that contains an unknown test mode. Raises HeaderError."""
    if key := values.find_unsafe_test_mode(value):
        context.refuse(f"the test mode {key[:60]}")


def parse_object(context: HeaderContext, text: str) -> dict[str, Any]:
    """Parse a JSON object. An empty text is an empty object. Raises HeaderError."""
    # orjson.JSONDecodeError is a ValueError.
    try:
        value = values.json_value(text) if text else {}
    except ValueError as problem:
        context.refuse_value(f"is not valid JSON ({problem})")
    return require_object(context, value)


def require_object(context: HeaderContext, value: Any) -> dict[str, Any]:
    """Return a JSON value that is an object. Raises HeaderError for other values."""
    found = values.json_object(value)
    if found is None:
        context.refuse_value("must be a JSON object")
    return found


def require_few_keys(context: HeaderContext, keys: dict[str, Any]) -> dict[str, Any]:
    """Return an object with at most MAX_KEYS keys. Raises HeaderError for a larger one."""
    if len(keys) > MAX_KEYS:
        context.refuse_value(f"has an object of more than {MAX_KEYS} keys")
    return keys


def enclosing_paths(path: str) -> list[str]:
    """Return the paths that contain a path: `a` and `a.b` for `a.b.c`."""
    keys = path.split(".")
    return [".".join(keys[:n]) for n in range(1, len(keys))]
