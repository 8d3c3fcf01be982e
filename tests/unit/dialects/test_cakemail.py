"""Tests of the Cakemail dialect: each row of the table, with every case that it names."""

import pytest

from tests.support.control_headers import changed, lost, mapped, options, refused, stripped, tracking

SWITCHES = {"x-track-opens": "opens", "x-track-clicks-html": "clicks_html", "x-track-clicks-text": "clicks_text"}
ON = ("true", "1", "yes", "on", "TRUE", " Yes ")
OFF = ("false", "0", "no", "off", "False")

CASES = (
    mapped("x-sender-id", "12345", {"sender_id": "12345"}),
    mapped("x-sender-id", "9f2c-ab", {"sender_id": "9f2c-ab"}),  # Ids of the API are strings.
    refused("x-sender-id", "", "550 5.6.0 x-sender-id: "),
    *(mapped(name, word, tracking(**{SWITCHES[name]: True})) for name in SWITCHES for word in ON),
    *(mapped(name, word, tracking(**{SWITCHES[name]: False})) for name in SWITCHES for word in OFF),
    *(lost(name, "maybe") for name in SWITCHES),
    mapped("x-list-id", "42", {"list_id": 42}),
    *(refused("x-list-id", value, "550 5.6.0 x-list-id: ") for value in ("news", "", "0", "-1", "4.2", "٤٢", "9" * 30)),
    mapped("x-email-api-type", "marketing", {"type": "marketing"}),
    mapped("x-email-api-type", "Transactional", {"type": "transactional"}),
    *(refused("x-email-api-type", value, "550 5.6.0 x-email-api-type: ") for value in ("bulk", "")),
    mapped("x-tags", "welcome,fr", {"tags": ("welcome", "fr")}),
    mapped("x-tags", " a , ,b,a", {"tags": ("a", "b")}),
    stripped("x-tags", ""),
    mapped("x-group-id", "7", {"tags": ("group-7",)}),
    stripped("x-group-id", ""),
    mapped("x-account-id", "99", {"account_id": 99}),
    *(refused("x-account-id", value, "550 5.6.0 x-account-id: ") for value in ("acme", "", "0")),
    mapped("x-email-api-enabled", "true", {"type": "marketing"}),
    stripped("x-email-api-enabled", "false"),
    lost("x-email-api-colour", "blue"),
    refused("x-email-api-sandbox", "true"),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_header(case):
    case.check("cakemail")


@pytest.mark.parametrize("name", ["x-list-id", "X-List-Id", "X-LIST-ID"])
def test_names_are_compared_without_case(name):
    found = options((name, "42"))
    assert (found.list_id, found.consumed) == (42, {"x-list-id"})


@pytest.mark.parametrize(
    "other", [("x-email-api-type", "transactional"), ("X-PM-Message-Stream", "outbound")], ids=lambda header: header[0]
)
def test_enabled_means_marketing_only_if_nothing_says_otherwise(other):
    enabled = ("x-email-api-enabled", "true")
    assert options(enabled, other).type == "transactional"
    assert options(other, enabled).type == "transactional"


def test_all_together():
    found = options(
        ("x-email-api-enabled", "true"),
        ("x-sender-id", "5"),
        ("x-list-id", "42"),
        ("x-tags", "a,b"),
        ("x-track-opens", "false"),
    )
    assert changed(found) == {
        "type": "marketing",
        "sender_id": "5",
        "list_id": 42,
        "tags": ("a", "b"),
        "tracking": {"opens": False},
    }
