"""Tests that any value of any control header is parsed or rejected, and never raises another exception."""

import json
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from smtpgw.config.provider_map import AccountMap
from smtpgw.dialects.interpreter import DIALECTS, HeaderError
from tests.support.control_headers import NO_MAPS, RECIPIENT, outcome, written

HEADERS = [row.name.replace("*", "key") for dialect in DIALECTS for row in dialect.rows]
AS_HEADERS = AccountMap(metadata_as_headers=True)

plain_text = st.text(st.characters(codec="utf-8"), max_size=60)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | plain_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(plain_text, inner, max_size=4),
    max_leaves=12,
)
telling_texts = st.sampled_from(
    ["{", "[]", "{}", "null", "1", "-1", "9" * 30, "1e400", "NaN", "=?utf-8?B?/w==?=", "yes", "2026-12-31 23:59:59",
     "Fri, 31 Dec 99999 23:59:59 +9999", "a@b", "a:b|c", "|", "%", "((((", '"', "list;", ";;=", "\ud7ff", "*|X|*"]
)  # fmt: skip
any_value = plain_text | telling_texts | json_values.map(json.dumps)
known_keys = st.sampled_from([row.name for dialect in DIALECTS for row in dialect.keys])


def check(headers: list[tuple[str, str]], maps: AccountMap = NO_MAPS) -> None:
    found = outcome(written(*headers), (RECIPIENT, "b@x.test"), maps)
    if isinstance(found, HeaderError):
        assert found.reply.code == 550
        assert found.reply.encode().isascii()
        return
    assert found.consumed == {name.lower() for name, _ in headers}
    assert len(found.findings) >= len(headers)
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,255}", tag) for tag in found.tags)
    assert all(header.value.isascii() and header.value.isprintable() for header in found.extra_headers)


@given(st.lists(st.tuples(st.sampled_from(HEADERS), any_value), max_size=4), st.sampled_from([NO_MAPS, AS_HEADERS]))
@example([("X-MC-BccAddress", "(" * 5000)], NO_MAPS)
@example([("X-SMTPAPI", '{"a":' * 3000 + "1" + "}" * 3000)], NO_MAPS)
@example([("X-Mailgun-Deliver-By", "Fri, 31 Dec 0000 99:99:99 -9999")], NO_MAPS)
def test_any_values_are_read_or_refused(headers, maps):
    check(headers, maps)


@pytest.mark.parametrize("name", HEADERS)
@settings(max_examples=25)
@given(value=any_value)
def test_any_value_of_each_header_is_read_or_refused(name, value):
    check([(name, value)])


@given(st.sampled_from(["X-SMTPAPI", "X-MSYS-API"]), st.dictionaries(known_keys, json_values, max_size=4))
def test_any_value_of_each_key_is_read_or_refused(header, paths):
    whole: dict = {}
    for path, value in paths.items():
        *outer, last = path.split(".")
        at = whole
        for key in outer:
            at = at.setdefault(key, {})
            if not isinstance(at, dict):
                return
        at[last] = value
    check([(header, json.dumps(whole))] if whole else [])
