"""Tests of shared rules: decoding, conflicts, tags, tracking, metadata, mailbox simulators, cost."""

import base64
import json
import quopri
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpgw.config.provider_map import AccountMap
from smtpgw.dialects import values
from smtpgw.dialects.interpreter import HeaderError, Options, Verdict
from smtpgw.message.parser import Header
from tests.support.control_headers import RECIPIENT, changed, options, tracking

# --- Unfolding and decoding (RFC 2047) before parsing ---------------------------------------------------------

FOLDED = '{"category":\r\n ["Orders",\r\n\t"fr"],\r\n "unique_args": {"a b":\r\n\t"c"}}'
ACCENTS = '{"category": ["déjà vu"]}'


def test_folded_json():
    found = options(("X-SMTPAPI", FOLDED))
    assert (found.tags, found.metadata) == (("Orders", "fr"), {"a b": "c"})


def test_json_folded_by_a_tab_inside_a_text():
    assert options(("X-SMTPAPI", '{"category":"two\r\n\twords"}')).tags == ("two-words",)


@pytest.mark.parametrize(
    "value",
    [
        ACCENTS,
        json.dumps(json.loads(ACCENTS)),
        f"=?utf-8?B?{base64.b64encode(ACCENTS.encode()).decode()}?=",
        f"=?utf-8?Q?{quopri.encodestring(ACCENTS.encode(), header=True).decode().replace('?', '=3F')}?=",
        '=?utf-8?Q?{"category":?=\r\n =?utf-8?Q?_["d=C3=A9j=C3=A0_vu"]}?=',
        '{"category": ["=?utf-8?Q?d=C3=A9j=C3=A0?= vu"]}',
    ],
    ids=["utf-8", "escapes", "base64", "quoted", "two words", "inside"],
)
def test_encoded_json(value):
    assert options(("X-SMTPAPI", value)).tags == ("deja-vu",)


def test_an_encoded_text_header():
    assert options(("X-Tag", "=?utf-8?Q?d=C3=A9j=C3=A0_vu?=")).tags == ("deja-vu",)


# --- Several dialects in one message --------------------------------------------------------------------------


def test_all_dialects_apply():
    found = options(("X-PM-Tag", "a"), ("X-Mailgun-Tag", "b"), ("X-Sib-Sandbox", "no"), ("X-PM-TrackOpens", "true"))
    assert changed(found) == {"tags": ("a", "b"), "tracking": {"opens": True}}


@pytest.mark.parametrize("native_first", [True, False])
def test_native_headers_win(native_first):
    headers = [("x-track-opens", "true"), ("X-PM-TrackOpens", "false")]
    found = options(*headers if native_first else reversed(headers))
    assert found.tracking == {"opens": True}
    assert [(f.header, f.verdict.value) for f in found.findings] == [
        ("x-track-opens", "map"),
        ("X-PM-TrackOpens", "strip_warn"),
    ]


@pytest.mark.parametrize("mailgun_first", [True, False])
def test_otherwise_the_order_of_the_message_decides(mailgun_first):
    headers = [("X-Mailgun-Track", "yes"), ("X-MC-Track", "none")]
    assert set(options(*headers if mailgun_first else reversed(headers)).tracking.values()) == {mailgun_first}


def test_those_who_agree_are_not_warned_of():
    found = options(("x-track-opens", "true"), ("X-PM-TrackOpens", "true"))
    assert [f.verdict for f in found.findings] == [Verdict.MAP, Verdict.MAP]


# --- Tags -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "tag"),
    [
        ("welcome", "welcome"),
        ("a_b-C9", "a_b-C9"),
        ("Crème brûlée", "Creme-brulee"),
        ("v1.2: new", "v1-2-new"),
        ("  spaced  out  ", "spaced-out"),
        ("--x--", "x"),
        ("ﬁn Ⅳ", "fin-IV"),
        ("日本", ""),
        ("!", ""),
        ("é" * 300, "e" * 255),
    ],
)
def test_tags_are_made_to_fit(source, tag):
    assert values.tag(source) == tag
    assert options(("X-PM-Tag", source)).tags == ((tag,) if tag else ())


@given(st.text())
def test_any_text_becomes_a_tag_that_the_api_takes_or_none(text):
    tag = values.tag(text)
    assert re.fullmatch(r"[a-zA-Z0-9_-]{0,255}", tag)
    assert values.tag(tag) == tag.strip("-")


def test_a_changed_tag_is_told():
    assert [f.detail for f in options(("X-Tag", "été")).findings] == ["été → ete"]


def test_no_message_is_refused_for_its_tags():
    found = options(("x-tags", ",".join(f"tag {n}" for n in range(256))))
    assert found.tags == tuple(f"tag-{n}" for n in range(255))
    assert [(f.verdict, f.detail[:15]) for f in found.findings] == [(Verdict.STRIP_WARN, "tag 255 dropped")]


# --- Tracking -------------------------------------------------------------------------------------------------


def test_tracking_is_said_only_where_it_is_decided():
    assert options(("X-PM-TrackOpens", "true")).tracking == {"opens": True}


def test_an_account_has_its_own_default():
    maps = AccountMap(tracking={"opens": False, "clicks_html": False})
    assert options(maps=maps).tracking == {"opens": False, "clicks_html": False}
    assert changed(options(("X-Tag", "a"), ("x-track-opens", "yes"), maps=maps)) == {
        "tags": ("a",),
        **tracking(opens=True, clicks_html=False),
    }


# --- Metadata -------------------------------------------------------------------------------------------------

AS_HEADERS = AccountMap(metadata_as_headers=True)


def test_metadata_is_for_the_log():
    found = options(("X-Mailgun-Variables", '{"order":"1"}'))
    assert (found.metadata, found.extra_headers) == ({"order": "1"}, ())


def test_metadata_is_sent_where_the_operator_says_so():
    found = options(
        ("X-Mailgun-Variables", '{"order id":"é1","empty":"","!":"x"}'), ("X-Metadata-B", "2"), maps=AS_HEADERS
    )
    assert found.extra_headers == (Header("X-Metadata-order-id", "=?utf-8?B?w6kx?="), Header("X-Metadata-B", "2"))
    assert found.consumed == {"x-mailgun-variables", "x-metadata-b"}
    assert {f.verdict for f in found.findings} == {Verdict.MAP}


def test_metadata_cannot_end_a_header():
    found = options(("X-MC-Metadata", json.dumps({"a": "b\r\nBcc: c@x.test", "d\r\nBcc": "e"})), maps=AS_HEADERS)
    assert [(h.name, h.value) for h in found.extra_headers] == [
        ("X-Metadata-a", "b Bcc: c@x.test"),
        ("X-Metadata-d-Bcc", "e"),
    ]


def test_the_first_of_two_values_stands():
    assert options(("X-PM-Metadata-a", "1"), ("X-Mailgun-Variables", '{"a":2,"b":3}')).metadata == {"a": "1", "b": "3"}


# --- Mailbox simulators -----------------------------------------------------------------------------------------------

SIMULATORS = (
    "success@simulator.amazonses.com",
    "bounce+label@Simulator.AmazonSES.com",
    "hard@bounce-testing.postmarkapp.com",
    "someone@example.com.sink.sparkpostmail.com",
)


@pytest.mark.parametrize("address", SIMULATORS)
def test_a_message_to_a_simulator_is_discarded(address):
    found = options(recipients=(address,))
    assert found.discard.startswith("recipient at ")
    assert [f.verdict for f in found.findings] == [Verdict.DISCARD]


@pytest.mark.parametrize("address", SIMULATORS)
def test_a_simulator_beside_people_is_refused(address):
    with pytest.raises(HeaderError, match=r"550 5\.3\.3 .*: a test recipient beside real ones is not supported"):
        options(recipients=(RECIPIENT, address))


@pytest.mark.parametrize("address", ["a@notsimulator.amazonses.com", "simulator.amazonses.com@x.test", "a@x.test"])
def test_others_are_people(address):
    assert options(recipients=(address,)) == Options()


# --- Cost of one message ----------------------------------------------------------------------------------------------


def test_findings_are_bounded_and_say_so():
    found = options(("X-SMTPAPI", json.dumps({str(n): 1 for n in range(300)})))
    assert len(found.findings) == 201
    assert found.findings[-1].detail == "and more, which are not told"


def test_metadata_for_the_log_is_bounded():
    found = options(("X-MC-Metadata", json.dumps({f"{n}": "v" * 1001 for n in range(101)})), maps=AS_HEADERS)
    assert list(found.metadata.values()) == ["v" * 1000] * 100
    assert [len(header.value) for header in found.extra_headers] == [1001] * 101


def test_placeholders_are_bounded():
    text = "".join(f"{{{{x{n}}}}}" for n in range(10_001))
    with pytest.raises(HeaderError, match="more than 10000 placeholders"):
        options(("X-MC-MergeVars", '{"a":1}'), text=text)


def test_long_names_are_cut_where_they_are_told_and_nowhere_else():
    found = options(("X-Metadata-" + "k" * 200, "v"), ("X-SMTPAPI", json.dumps({"k" * 200: 1})))
    assert found.metadata == {"k" * 200: "v"}
    assert [len(f.header) for f in found.findings] == [100, 100]
