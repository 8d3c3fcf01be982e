"""Tests of the Postmark dialect: each row of the table, with every case that it names."""

import pytest

from smtpgw.config.provider_map import AccountMap
from tests.support.control_headers import lost, mapped, options, refused, stripped, tracking

STREAMS = AccountMap(message_streams={"newsletter": "marketing", "outbound": "marketing"})

CASES = (
    mapped("X-PM-Tag", "welcome", {"tags": ("welcome",)}),
    mapped("X-PM-Tag", "a" * 1000, {"tags": ("a" * 255,)}),
    stripped("X-PM-Tag", ""),
    mapped("X-PM-TrackOpens", "true", tracking(opens=True)),
    mapped("X-PM-TrackOpens", "false", tracking(opens=False)),
    lost("X-PM-TrackOpens", "maybe"),
    mapped("X-PM-TrackLinks", "None", tracking(clicks_html=False, clicks_text=False)),
    mapped("X-PM-TrackLinks", "HtmlAndText", tracking(clicks_html=True, clicks_text=True)),
    mapped("X-PM-TrackLinks", "HtmlOnly", tracking(clicks_html=True, clicks_text=False)),
    mapped("X-PM-TrackLinks", "textonly", tracking(clicks_html=False, clicks_text=True)),
    lost("X-PM-TrackLinks", "All"),
    mapped("X-PM-Message-Stream", "outbound", {"type": "transactional"}),
    mapped("X-PM-Message-Stream", "broadcast", {"type": "marketing"}),
    mapped("X-PM-Message-Stream", "broadcasts", {"type": "marketing"}),
    mapped("X-PM-Message-Stream", "newsletter", {"type": "marketing"}, maps=STREAMS),
    mapped("X-PM-Message-Stream", "outbound", {"type": "marketing"}, maps=STREAMS),
    lost("X-PM-Message-Stream", "newsletter"),
    lost("X-PM-Metadata-client-id", "12345", {"metadata": {"client-id": "12345"}}, row="X-PM-Metadata-*"),
    lost("X-PM-Metadata-sandbox", "yes", {"metadata": {"sandbox": "yes"}}),  # The customer chose the key.
    stripped("X-PM-Metadata-", "12345"),
    stripped("X-PM-KeepID", "true"),
    stripped("X-PM-Bounce-Type", "HardBounce"),
    stripped("X-PM-RCPT", "a@x.test"),
    lost("X-PM-Colour", "blue"),
    refused("X-PM-Sandbox", "true"),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_header(case):
    case.check("postmark")


def test_what_symfony_sends_through_its_postmark_transport():
    found = options(("X-PM-KeepID", "true"), ("X-PM-Tag", "reset"), ("X-PM-Metadata-Color", "blue"))
    assert (found.tags, found.metadata) == (("reset",), {"Color": "blue"})
    assert found.consumed == {"x-pm-keepid", "x-pm-tag", "x-pm-metadata-color"}
