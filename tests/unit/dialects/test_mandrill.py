"""Tests of the Mandrill dialect: each row of the table, with every case that it names."""

import pytest

from smtpgw.config.provider_map import AccountMap
from smtpgw.dialects.interpreter import HeaderError
from tests.support.control_headers import changed, lost, mapped, options, refused, stripped, tracking

TEMPLATES = AccountMap(templates={"mandrill": {"welcome": 7}})
SUBACCOUNTS = AccountMap(subaccounts={"cust-123": 99})
VARS = '{"_rcpt":"a@x.test","fname":"John"}'


def tracked(opens: bool, html: bool, text: bool) -> dict:
    return tracking(opens=opens, clicks_html=html, clicks_text=text)


CASES = (
    mapped("X-MC-Tags", "password-reset, fr", {"tags": ("password-reset", "fr")}),
    mapped("X-MC-Tags", "mot de passe", {"tags": ("mot-de-passe",)}),
    mapped("X-MC-Track", "opens", tracked(True, False, False)),
    mapped("X-MC-Track", "opens, clicks", tracked(True, True, True)),
    mapped("X-MC-Track", "clicks_all", tracked(False, True, True)),
    mapped("X-MC-Track", "opens,clicks_htmlonly", tracked(True, True, False)),
    mapped("X-MC-Track", "Clicks_TextOnly", tracked(False, False, True)),
    mapped("X-MC-Track", "none", tracked(False, False, False)),
    mapped("X-MC-Track", "", tracked(False, False, False)),
    lost("X-MC-Metadata", '{"user_id":"45829"}', {"metadata": {"user_id": "45829"}}),
    refused("X-MC-Metadata", "user_id=45829", "550 5.6.0 X-MC-Metadata: is not valid JSON"),
    mapped("X-MC-Template", "welcome", {"template_id": 7}, maps=TEMPLATES),
    mapped("X-MC-Template", "welcome|main", {"template_id": 7}, maps=TEMPLATES),
    refused("X-MC-Template", "goodbye", maps=TEMPLATES),
    refused("X-MC-Template", "welcome"),
    stripped("X-MC-Template", ""),
    stripped("X-MC-MergeVars", VARS),
    refused("X-MC-MergeVars", VARS, body={"text": "Dear *|FNAME|*"}),
    refused("X-MC-MergeVars", VARS, body={"text": "Dear *|TITLE:fname|*"}),
    refused("X-MC-MergeVars", VARS, body={"html": "<p>Dear {{fname}}</p>"}),
    refused("X-MC-MergeVars", VARS, body={"html": "<p>{{#if fname}}Dear{{/if}}</p>"}),
    refused("X-MC-MergeVars", VARS, body={"html": "<p>Dear {{{ fname }}}</p>"}),
    refused("X-MC-MergeVars", VARS, body={"subject": "For *|FNAME|*"}),
    stripped("X-MC-MergeVars", VARS, body={"text": "Dear *|LNAME|* {{lname}} fname _rcpt"}),
    refused("X-MC-MergeVars", '{"first name":"J"}', body={"text": "Dear *|FIRST NAME|*"}),
    refused("X-MC-MergeVars", '{"fname":', "550 5.6.0 X-MC-MergeVars: is not valid JSON"),
    stripped("X-MC-MergeLanguage", "handlebars"),
    refused("X-MC-SendAt", "2036-12-31 23:59:59"),
    refused("X-MC-SendAt", "2036-12-31T23:59:59Z"),
    stripped("X-MC-SendAt", "2012-12-31 23:59:59"),
    stripped("X-MC-SendAt", "2026-09-21 14:13:19"),  # UTC, one second before the current time of the tests.
    refused("X-MC-SendAt", "2026-09-21 14:15:20"),
    refused("X-MC-SendAt", "soon", "550 5.6.0 X-MC-SendAt: the time cannot be read"),
    refused("X-MC-SendAt", "9999-99-99 00:00:00", "550 5.6.0 X-MC-SendAt: the time cannot be read"),
    refused("X-MC-BccAddress", "archive@x.test"),
    stripped("X-MC-BccAddress", "Archive@x.test", recipients=("a@x.test", "archive@X.TEST")),
    refused("X-MC-BccAddress", "archive@x.test, other@x.test", recipients=("archive@x.test",)),
    lost("X-MC-BccAddress", "archive@x.test", maps=AccountMap(strip_mandrill_bcc=True)),
    stripped("X-MC-PreserveRecipients", "true"),
    stripped("X-MC-PreserveRecipients", "false"),
    mapped("X-MC-Subaccount", "cust-123", {"account_id": 99}, maps=SUBACCOUNTS),
    lost("X-MC-Subaccount", "cust-124", maps=SUBACCOUNTS),
    stripped("X-MC-Autotext", "on"),
    stripped("X-MC-AutoHtml", "on"),
    lost("X-MC-InlineCSS", "true"),
    stripped("X-MC-ViewContentLink", "false"),
    stripped("X-MC-URLStripQS", "true"),
    stripped("X-MC-GoogleAnalytics", "example.com"),
    stripped("X-MC-GoogleAnalyticsCampaign", "spring"),
    stripped("X-MC-Important", "true"),
    stripped("X-MC-IpPool", "Main Pool"),
    stripped("X-MC-TrackingDomain", "links.x.test"),
    stripped("X-MC-SigningDomain", "x.test"),
    stripped("X-MC-ReturnPathDomain", "bounces.x.test"),
    lost("X-MC-Colour", "blue"),
    refused("X-MC-TestMode", "on"),
    stripped("X-MC-TestMode", "off"),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_header(case):
    case.check("mandrill")


def test_merge_variables_of_all_headers_are_looked_for():
    headers = [("X-MC-MergeVars", f'{{"_rcpt":"{n}@x.test","var{n}":"x"}}') for n in range(3)]
    assert changed(options(*headers, text="nothing")) == {}
    with pytest.raises(HeaderError, match=r"replacing var2 in the message"):
        options(*headers, text="*|VAR2|*")


def test_tags_of_several_headers_are_put_together():
    assert options(("X-MC-Tags", "a, b"), ("X-MC-Tags", "b, c")).tags == ("a", "b", "c")
