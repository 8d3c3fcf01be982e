"""Tests that a header or key for a test mode never leads to real mail, unless its value is explicitly negative."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpgw.dialects import values
from smtpgw.dialects.context import HeaderContext
from smtpgw.dialects.interpreter import DIALECTS, HeaderError, Verdict
from smtpgw.dialects.table import MAP, Row
from tests.support.control_headers import NO_MAPS, NOW, mail, options, outcome, written

PREFIXES = [(dialect.name, prefix) for dialect in DIALECTS for prefix in dialect.prefixes]

TEST_NAMES = ("Sandbox", "Drop", "Test-Mode", "TestMode", "test_mode", "Dry-Run", "dryrun", "My-Sandbox-Please")
DISCARDED = [row.name for dialect in DIALECTS for row in dialect.rows if row.verdict is Verdict.DISCARD]
NEGATIVES = ("no", "false", "0", "off", "none", "NO", " False ")
not_negative = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=20).filter(
    lambda value: value.strip().strip("\"'").lower() not in values.NEGATIVES and "=?" not in value
)
ON = ("", "yes", "true", "1", "on", "drop", "n", "00", "nope", "null", "disabled")
JSON_ON = (True, 1, "", "yes", None, {}, [], [True], {"enable": True}, {"a": 0, "b": 1}, 0.5)


def is_sent_for_real(*headers: tuple[str, str]) -> bool:
    found = outcome(written(*headers))
    return not isinstance(found, HeaderError) and not found.discard


@pytest.mark.parametrize("name", TEST_NAMES)
@pytest.mark.parametrize("prefix", [prefix for _, prefix in PREFIXES])
def test_a_header_that_looks_like_a_test_mode(prefix, name):
    assert [value for value in ON if is_sent_for_real((prefix + name, value))] == []


@given(st.sampled_from(PREFIXES), st.sampled_from(TEST_NAMES), not_negative)
def test_a_header_that_looks_like_a_test_mode_with_any_value(family, name, value):
    assert not is_sent_for_real((family[1] + name, value))


@pytest.mark.parametrize("prefix", [prefix for _, prefix in PREFIXES])
@pytest.mark.parametrize("value", NEGATIVES)
def test_an_explicit_negative_is_sent(prefix, value):
    assert is_sent_for_real((f"{prefix}test-mode", value))


@pytest.mark.parametrize("name", DISCARDED)
@given(value=not_negative)
def test_a_known_test_mode_is_discarded_with_any_value(name, value):
    assert outcome(written((name, value))).discard == name


def test_the_known_test_modes_are_those_of_mailgun_and_brevo():
    assert DISCARDED == ["X-Mailgun-Drop-Message", "X-Sib-Sandbox"]


@pytest.mark.parametrize("header", ["X-SMTPAPI", "X-MSYS-API"])
@pytest.mark.parametrize("place", ["", "options", "filters", "filters.opentrack.settings", "new", "new.and.deep"])
@pytest.mark.parametrize("name", TEST_NAMES)
def test_a_json_key_that_looks_like_a_test_mode(header, place, name):
    assert [value for value in JSON_ON if is_sent_for_real((header, nested(place, name, value)))] == []


def nested(place: str, name: str, value: object) -> str:
    inner = {name: value}
    for key in reversed(place.split(".") if place else []):
        inner = {key: inner}
    return json.dumps(inner)


@pytest.mark.parametrize("header", ["X-SMTPAPI", "X-MSYS-API"])
@pytest.mark.parametrize("value", [False, 0, "no", "off", "none", "false", "0", {"enable": 0}, [False]])
def test_a_json_key_that_says_no_is_sent(header, value):
    assert is_sent_for_real((header, json.dumps({"new": {"sandbox": value}})))


def test_no_row_can_send_a_test_mode_whatever_it_does():
    """A new table may forget to handle its test mode."""
    row = Row("X-New-Sandbox", "", MAP, effect=lambda reading, value: reading.add_tags([value]))
    reading = HeaderContext(mail([]), frozenset(), NO_MAPS, NOW, {})
    with pytest.raises(HeaderError, match="X-New-Sandbox: this test mode is not supported"):
        row.apply(reading, row.name, "yes")


def test_a_staging_system_still_sees_other_errors():
    with pytest.raises(HeaderError, match="X-Mailgun-Require-TLS"):
        options(("X-Sib-Sandbox", "drop"), ("X-Mailgun-Require-TLS", "yes"))
