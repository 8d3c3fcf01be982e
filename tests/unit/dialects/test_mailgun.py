"""Tests of the Mailgun dialect: each row of the table, with every case that it names."""

from itertools import permutations

import pytest

from smtpgw.config.provider_map import AccountMap
from smtpgw.core.replies import SMTPError
from smtpgw.dialects.interpreter import read
from smtpgw.message import parser
from tests.support.control_headers import NOW, RECIPIENT, discarded, lost, mapped, options, refused, stripped, tracking

TEMPLATES = AccountMap(templates={"mailgun": {"welcome": 7}})
VARS = '{"bob@x.test":{"first":"Bob","id":1}}'
ALL_ON = tracking(opens=True, clicks_html=True, clicks_text=True)
ALL_OFF = tracking(opens=False, clicks_html=False, clicks_text=False)

CASES = (
    mapped("X-Mailgun-Tag", "welcome", {"tags": ("welcome",)}),
    mapped("X-Mailgun-Tag", "Q3: été, soldes", {"tags": ("Q3-ete-soldes",)}),
    mapped("X-Mailgun-Track", "yes", ALL_ON),
    mapped("X-Mailgun-Track", "no", ALL_OFF),
    lost("X-Mailgun-Track", "maybe"),
    mapped("X-Mailgun-Track-Clicks", "yes", tracking(clicks_html=True, clicks_text=True)),
    mapped("X-Mailgun-Track-Clicks", "no", tracking(clicks_html=False, clicks_text=False)),
    mapped("X-Mailgun-Track-Clicks", "htmlonly", tracking(clicks_html=True, clicks_text=False)),
    lost("X-Mailgun-Track-Clicks", "some"),
    mapped("X-Mailgun-Track-Opens", "yes", tracking(opens=True)),
    mapped("X-Mailgun-Track-Opens", "no", tracking(opens=False)),
    *(discarded("X-Mailgun-Drop-Message", word) for word in ("yes", "true", "", "maybe", "1", "no thanks")),
    *(stripped("X-Mailgun-Drop-Message", word) for word in ("no", "false", "0", "off", "none", "NO", " No ")),
    refused("X-Mailgun-Deliver-By", "Fri, 14 Oct 2036 23:10:10 -0000"),
    refused("X-Mailgun-Deliver-By", str(int(NOW) + 3600)),
    stripped("X-Mailgun-Deliver-By", "Fri, 14 Oct 2011 23:10:10 -0000"),
    stripped(
        "X-Mailgun-Deliver-By", "Mon, 21 Sep 2026 16:13:20 +0200"
    ),  # The current time of the tests, in another zone.
    refused("X-Mailgun-Deliver-By", "Mon, 21 Sep 2026 16:13:20 +0000"),
    stripped("X-Mailgun-Deliver-By", "1409348513"),
    stripped("X-Mailgun-Deliver-By", "0"),
    refused("X-Mailgun-Deliver-By", "next week", "550 5.6.0 X-Mailgun-Deliver-By: the time cannot be read"),
    refused("X-Mailgun-Deliver-By", "", "550 5.6.0 X-Mailgun-Deliver-By: the time cannot be read"),
    refused("X-Mailgun-Time-Zone-Localize", "09:00"),
    refused("X-Mailgun-Time-Zone-Localize", "09:00AM"),
    lost("X-Mailgun-Delivery-Time-Optimize-Period", "24h"),
    lost("X-Mailgun-Deliver-Within", "1h"),
    refused("X-Mailgun-Require-TLS", "yes"),
    refused("X-Mailgun-Require-TLS", "True"),
    stripped("X-Mailgun-Require-TLS", "no"),
    stripped("X-Mailgun-Require-TLS", "False"),
    stripped("X-Mailgun-Skip-Verification", "yes"),
    stripped("X-Mailgun-Recipient-Variables", VARS),
    stripped("X-Mailgun-Recipient-Variables", VARS, body={"text": "100% of recipients, first %"}),
    refused("X-Mailgun-Recipient-Variables", VARS, body={"text": "Dear %recipient.first%"}),
    refused("X-Mailgun-Recipient-Variables", VARS, body={"subject": "For %recipient.first%"}),
    refused("X-Mailgun-Recipient-Variables", VARS, body={"html": "<p>%recipient_email%</p>"}),
    refused("X-Mailgun-Recipient-Variables", "{", "550 5.6.0 X-Mailgun-Recipient-Variables: is not valid JSON"),
    lost("X-Mailgun-Variables", '{"my_message_id":"123"}', {"metadata": {"my_message_id": "123"}}),
    lost("X-Mailgun-Variables", '{"order":{"id":1}}', {"metadata": {"order": '{"id":1}'}}),
    refused("X-Mailgun-Variables", "my_message_id", "550 5.6.0 X-Mailgun-Variables: is not valid JSON"),
    mapped("X-Mailgun-Template-Name", "welcome", {"template_id": 7}, maps=TEMPLATES),
    refused("X-Mailgun-Template-Name", "welcome"),
    lost("X-Mailgun-Template-Variables", '{"a":1}'),
    stripped("X-Mailgun-Template-Variables", "{}"),
    stripped("X-Mailgun-Dkim", "yes"),
    stripped("X-Mailgun-Secondary-DKIM", "x.test/s1"),
    stripped("X-Mailgun-Sending-Ip", "1.2.3.4"),
    stripped("X-Mailgun-Sending-Ip-Pool", "pool"),
    lost("X-Mailgun-Archive-To", "https://x.test/archive"),
    stripped("X-Mailgun-Suppress-Headers", "x-a,x-b"),
    stripped("X-Mailgun-Incoming", "yes"),
    stripped("X-Mailgun-Sflag", "No"),
    stripped("X-Mailgun-Sscore", "0.1"),
    stripped("X-Mailgun-Sid", "WyI3"),
    lost("X-Mailgun-Colour", "blue"),
    refused("X-Mailgun-Sandbox", "yes"),
    refused("X-Mailgun-Dry-Run", ""),
    stripped("X-Mailgun-Dry-Run", "none"),
)

TRACKS = (("X-Mailgun-Track", "yes"), ("X-Mailgun-Track-Opens", "no"), ("X-Mailgun-Track-Clicks", "htmlonly"))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_header(case):
    case.check("mailgun")


@pytest.mark.parametrize(
    "headers",
    list(permutations(TRACKS)),
    ids=lambda headers: ",".join(name for name, _ in headers),
)
def test_the_headers_for_clicks_and_opens_beat_the_one_for_all(headers):
    assert options(*headers).tracking == {"opens": False, "clicks_html": True, "clicks_text": False}


def test_tags_of_several_headers_are_put_together():
    assert options(("X-Mailgun-Tag", "a"), ("x-mailgun-tag", "b"), ("X-Mailgun-Tag", "a")).tags == ("a", "b")


@pytest.mark.parametrize("words", [("no", "yes"), ("yes", "no")])
def test_one_drop_message_of_several_is_enough(words):
    headers = [("X-Mailgun-Drop-Message", word) for word in words]
    assert options(*headers).discard == "X-Mailgun-Drop-Message"


def test_a_to_of_recipient_is_display_only():
    raw = b"From: a@x.test\r\nTo: %recipient%\r\nX-Mailgun-Recipient-Variables: {}\r\nSubject: s\r\n\r\nHello\r\n"
    found = read(parser.parse(raw, "embed"), [RECIPIENT], AccountMap(), NOW)
    assert found.consumed == {"x-mailgun-recipient-variables"}


def test_a_body_of_mailgun_variables_is_refused():
    raw = b"From: a@x.test\r\nSubject: s\r\nContent-Type: multipart/mailgun-variables; boundary=x\r\n\r\n--x--\r\n"
    with pytest.raises(SMTPError, match="multipart/mailgun-variables"):
        parser.parse(raw, "embed")
