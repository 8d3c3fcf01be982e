"""Tests of the SparkPost dialect: each row and key of the tables, with every case that they name."""

import json

import pytest

from smtpgw.config.provider_map import AccountMap
from tests.support.control_headers import changed, lost, mapped, options, refused, stripped, tracking

H = "X-MSYS-API"
O = f"{H} options"  # noqa: E741
TWO = ("a@x.test", "b@x.test")

CASES = (
    refused(H, '{"tags":', "550 5.6.0 X-MSYS-API: is not valid JSON"),
    refused(H, "5", "550 5.6.0 X-MSYS-API: must be a JSON object"),
    refused(H, '{"options":{"sandbox":true,"sandbox":false}}', "550 5.6.0 X-MSYS-API: is not valid JSON (a key"),
    stripped(H, "{}"),
    mapped(f"{H} campaign_id", "my campaign", {"tags": ("my-campaign",)}),
    mapped(f"{H} tags", ["cat", "dog"], {"tags": ("cat", "dog")}),
    lost(f"{H} metadata", {"has_pets": True}, {"metadata": {"has_pets": "true"}}),
    refused(f"{H} metadata", [1], f"550 5.6.0 {H} metadata: must be a JSON object"),
    mapped(f"{O}.open_tracking", False, tracking(opens=False)),
    mapped(f"{O}.open_tracking", True, tracking(opens=True)),
    mapped(f"{O}.click_tracking", False, tracking(clicks_html=False, clicks_text=False)),
    mapped(f"{O}.click_tracking", True, tracking(clicks_html=True, clicks_text=True)),
    lost(f"{O}.click_tracking", "maybe"),
    mapped(f"{O}.transactional", True, {"type": "transactional"}),
    stripped(f"{O}.transactional", False),
    refused(f"{O}.sandbox", True),
    refused(f"{O}.sandbox", "true"),
    refused(f"{O}.sandbox", ""),
    refused(f"{O}.sandbox", None),
    stripped(f"{O}.sandbox", False),
    stripped(f"{O}.skip_suppression", True),
    stripped(f"{O}.ip_pool", "my_ip_pool"),
    stripped(f"{O}.inline_css", False),
    lost(f"{O}.inline_css", True),
    stripped(f"{O}.dkim_key", "key"),
    refused(f"{O}.start_time", "2036-12-31T23:59:59-04:00"),
    stripped(f"{O}.start_time", "2015-02-11T08:00:00-04:00"),
    refused(f"{O}.start_time", "now", f"550 5.6.0 {O}.start_time: the time cannot be read"),
    *(
        case
        for key in ("cc", "bcc", "archive")
        for case in (
            refused(f"{H} {key}", [{"email": "cc@x.test", "name": "CC 1"}]),
            refused(f"{H} {key}", ["a@x.test", "cc@x.test"], recipients=TWO),
            refused(f"{H} {key}", [{"name": "nobody"}, "<broken"], recipients=TWO),
            stripped(f"{H} {key}", [{"email": "A@x.test"}], recipients=TWO),
            stripped(f"{H} {key}", ["B <b@x.test>"], recipients=TWO),
            stripped(f"{H} {key}", []),
        )
    ),
    stripped(f"{H} substitution_data", {"name": "Ben", "sandbox": "yes"}, body={"text": "{{name}}"}),
    refused(f"{H} content", {"template_id": "welcome"}),
    refused(f"{H} template_id", "welcome"),
    stripped("X-Binding", "marketing"),
    lost(f"{H} colour", "blue"),
    lost(f"{O}.colour", "blue"),
    refused(f"{O}.test_mode", True),
    refused(f"{H} options", 5, f"550 5.6.0 {O}: must be a JSON object"),
    lost("X-MSYS-Colour", "blue"),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_key(case):
    case.check("sparkpost")


def test_an_account_that_came_from_sparkpost_does_not_track_by_default():
    maps = AccountMap(tracking={"opens": False, "clicks_html": False, "clicks_text": False})
    header = json.dumps({"options": {"open_tracking": True}})
    assert changed(options((H, header), maps=maps)) == tracking(opens=True, clicks_html=False, clicks_text=False)


def test_repeated_headers_are_all_read():
    assert options((H, '{"tags":["a"]}'), (H, '{"tags":["b"]}')).tags == ("a", "b")
