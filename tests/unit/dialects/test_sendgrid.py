"""Tests of the SendGrid dialect: each key of the table, with every case that it names."""

import json

import pytest

from smtpgw.config.provider_map import AccountMap
from smtpgw.dialects.interpreter import HeaderError, Verdict
from tests.support.control_headers import NOW, changed, discarded, lost, mapped, options, refused, stripped, tracking

H = "X-SMTPAPI"
F = f"{H} filters"
GROUPS = AccountMap(asm_groups={"1": 42})
TEMPLATES = AccountMap(templates={"sendgrid": {"5997fcf6": 7}})
TWO = ("a@x.test", "b@x.test")
HUNDRED_AND_ONE = {f"%{n}%": ["x"] for n in range(101)}

CASES = (
    refused(H, '{"to":[', "550 5.6.0 X-SMTPAPI: is not valid JSON"),
    refused(H, '"category"', "550 5.6.0 X-SMTPAPI: must be a JSON object"),
    refused(H, "[1]", "550 5.6.0 X-SMTPAPI: must be a JSON object"),
    refused(H, '{"category":' + "[" * 40 + "]" * 40 + "}", "550 5.6.0 X-SMTPAPI: is not valid JSON (nested too deep)"),
    refused(H, "[" * 5000, "550 5.6.0 X-SMTPAPI: is not valid JSON"),
    stripped(H, "{}"),
    stripped(H, "[]"),  # PHP writes an empty object like this.
    stripped(H, ""),
    mapped(f"{H} category", "Orders", {"tags": ("Orders",)}),
    mapped(f"{H} category", ["Orders", "fr", "été 2026"], {"tags": ("Orders", "fr", "ete-2026")}),
    mapped(f"{H} category", 7, {"tags": ("7",)}),
    stripped(f"{H} category", []),
    lost(f"{H} unique_args", {"orderNumber": "12345"}, {"metadata": {"orderNumber": "12345"}}),
    lost(f"{H} unique_args", {"n": 1, "ok": True, "x": [1]}, {"metadata": {"n": "1", "ok": "true", "x": "[1]"}}),
    lost(f"{H} unique_args", {"sandbox": "yes"}, {"metadata": {"sandbox": "yes"}}),  # The customer chose the key.
    stripped(f"{H} unique_args", {}),
    stripped(f"{H} unique_args", []),
    refused(f"{H} unique_args", 5, f"550 5.6.0 {H} unique_args: must be a JSON object"),
    stripped(f"{H} to", ["A@x.test", "B <b@X.test>"], recipients=TWO),
    stripped(f"{H} to", "a@x.test", recipients=("a@x.test",)),
    stripped(f"{H} to", []),
    refused(f"{H} to", ["a@x.test"], recipients=TWO),  # A strict subset of RCPT.
    refused(f"{H} to", ["a@x.test", "b@x.test", "c@x.test"], recipients=TWO),
    refused(f"{H} to", ["nobody"], recipients=TWO),
    refused(f"{H} to", ["<<>"], recipients=TWO),
    stripped(f"{H} sub", {"%name%": ["Ben", "Joe"]}),
    refused(f"{H} sub", {"%name%": ["Ben"]}, body={"text": "Dear %name%"}),
    refused(f"{H} sub", {"-name-": ["Ben"]}, body={"subject": "For -name-"}),
    refused(f"{H} sub", {"%name%": ["Ben"]}, body={"html": "<p>Dear %name%</p>"}),
    stripped(f"{H} sub", {"": ["x"]}),
    refused(f"{H} sub", HUNDRED_AND_ONE),
    stripped(f"{H} section", {":buyer:": "Hello"}),
    refused(f"{H} section", {":buyer:": "Hello"}, body={"text": ":buyer:"}),
    refused(f"{H} send_at", int(NOW) + 3600),
    refused(f"{H} send_at", str(int(NOW) + 3600)),
    stripped(f"{H} send_at", 1409348513),
    stripped(f"{H} send_at", int(NOW) + 59),  # The client's clock is slightly ahead.
    refused(f"{H} send_at", int(NOW) + 61),
    stripped(f"{H} send_at", None),
    refused(f"{H} send_at", "tomorrow", f"550 5.6.0 {H} send_at: the time cannot be read"),
    refused(f"{H} send_at", {}, f"550 5.6.0 {H} send_at: the time cannot be read"),
    refused(f"{H} send_at", True, f"550 5.6.0 {H} send_at: the time cannot be read"),
    stripped(f"{H} send_each_at", [1409348513, 1409348514]),
    refused(f"{H} send_each_at", [1409348513, int(NOW) + 3600]),
    stripped(f"{H} send_each_at", []),
    stripped(f"{H} batch_id", "MWQxZmIyODYt"),
    mapped(f"{H} asm_group_id", 1, {"list_id": 42}, maps=GROUPS),
    mapped(f"{H} asm_group_id", "1", {"list_id": 42}, maps=GROUPS),
    lost(f"{H} asm_group_id", 2, maps=GROUPS),
    lost(f"{H} asm_group_id", 1),
    stripped(f"{H} asm_groups_to_display", [1, 2]),
    stripped(f"{H} ip_pool", "pool_name"),
    mapped(f"{F}.opentrack.settings", {"enable": 1}, tracking(opens=True)),
    mapped(f"{F}.opentrack.settings", {"enable": "1"}, tracking(opens=True)),
    mapped(f"{F}.opentrack.settings", {"enable": 0}, tracking(opens=False)),
    mapped(f"{F}.opentrack.settings", {"enable": 1, "replace": "%opentrack%"}, tracking(opens=True)),
    refused(f"{F}.opentrack.settings", {"enable": 1, "replace": "%open%"}, body={"text": "%open%"}),
    lost(f"{F}.opentrack.settings", {}),
    mapped(f"{F}.clicktrack.settings", {"enable": 0}, tracking(clicks_html=False, clicks_text=False)),
    mapped(f"{F}.clicktrack.settings", {"enable": 1}, tracking(clicks_html=True)),
    mapped(
        f"{F}.clicktrack.settings", {"enable": 1, "enable_text": True}, tracking(clicks_html=True, clicks_text=True)
    ),
    mapped(
        f"{F}.clicktrack.settings", {"enable": 1, "enable_text": False}, tracking(clicks_html=True, clicks_text=False)
    ),
    mapped(
        f"{F}.clicktrack.settings", {"enable": 0, "enable_text": True}, tracking(clicks_html=False, clicks_text=False)
    ),
    lost(f"{F}.clicktrack.settings", {"enable": "perhaps"}),
    stripped(f"{F}.subscriptiontrack.settings", {"enable": 0, "replace": "[unsub]"}, body={"text": "[unsub]"}),
    lost(f"{F}.subscriptiontrack.settings", {"enable": 1, "text/html": "Unsubscribe <% here %>"}),
    refused(f"{F}.subscriptiontrack.settings", {"enable": 1, "replace": "[unsub]"}, body={"text": "[unsub]"}),
    mapped(f"{F}.templates.settings", {"enable": 1, "template_id": "5997fcf6"}, {"template_id": 7}, maps=TEMPLATES),
    refused(f"{F}.templates.settings", {"enable": 1, "template_id": "5997fcf6"}),
    refused(f"{F}.templates.settings", {"enable": 1, "template_id": "other"}, maps=TEMPLATES),
    refused(f"{F}.templates.settings", {"template_id": "other"}),  # The body may be only a fragment.
    stripped(f"{F}.templates.settings", {"enable": 0, "template_id": "5997fcf6"}),
    stripped(f"{F}.templates.settings", {"enable": 1}),
    refused(f"{F}.template.settings", {"enable": 1, "text/html": "<html><% body %></html>"}),
    stripped(f"{F}.template.settings", {"enable": 0}),
    refused(f"{F}.footer.settings", {"enable": 1, "text/html": "Legal", "text/plain": "Legal"}),
    stripped(f"{F}.footer.settings", {"enable": 0}),
    mapped(f"{F}.bypass_list_management.settings", {"enable": 1}, {"type": "transactional"}),
    stripped(f"{F}.bypass_list_management.settings", {"enable": 0}),
    lost(f"{F}.bcc.settings", {"enable": 1, "email": "a@x.test"}),
    stripped(f"{F}.bcc.settings", {"enable": 0}),
    *(
        stripped(f"{F}.{name}", {"settings": {"enable": 1}})
        for name in ("spamcheck", "ganalytics", "dkim", "domainkeys", "gravatar", "forwardspam")
    ),
    lost(f"{H} colour", "blue"),
    lost(f"{F}.sparkle", {"settings": {"enable": 1}}),
    refused(f"{F}.footer.settings", 1, f"550 5.6.0 {F}.footer.settings: must be a JSON object"),
    refused(f"{F}.sandbox_mode", {"settings": {"enable": 1}}),
    refused(f"{F}.sandbox_mode", {}),
    stripped(f"{F}.sandbox_mode", {"settings": {"enable": 0}}),
    refused(f"{H} sandbox", True),
    refused(f"{H} mail_settings", {"sandbox_mode": {"enable": True}}),
    lost(f"{H} mail_settings", {"sandbox_mode": {"enable": False}}),
    refused(f"{F}.opentrack.settings", {"enable": 1, "dry_run": ""}),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_key(case):
    case.check("sendgrid")


def test_nothing_is_discarded_since_sendgrid_has_no_test_mode_over_smtp():
    assert not any(case.verdict is discarded(H, "").verdict for case in CASES)


@pytest.mark.parametrize("value", [1409348513, "1409348513"])
def test_both_schedules_at_once_are_refused_even_in_the_past(value):
    with pytest.raises(HeaderError, match=r"550 5\.3\.3 X-SMTPAPI send_each_at"):
        options((H, json.dumps({"send_at": value, "send_each_at": [value]})))


def test_an_unsubscribe_link_in_a_transactional_message_is_refused_wherever_it_is_asked_for():
    filters = {
        "subscriptiontrack": {"settings": {"enable": 1}},
        "bypass_list_management": {"settings": {"enable": 1}},
    }
    with pytest.raises(HeaderError, match=r"550 5\.3\.3 X-SMTPAPI filters\.subscriptiontrack\.settings"):
        options((H, json.dumps({"filters": filters})))


def test_an_unsubscribe_link_in_a_marketing_message_is_left_to_cakemail():
    header = json.dumps({"filters": {"subscriptiontrack": {"settings": {"enable": 1}}}})
    found = options((H, header), ("x-email-api-type", "marketing"))
    assert found.type == "marketing"
    assert [f.verdict for f in found.findings] == [Verdict.MAP, Verdict.STRIP_WARN]


def test_bypassing_lists_does_not_overrule_the_native_type():
    header = json.dumps({"filters": {"bypass_list_management": {"settings": {"enable": 1}}}})
    assert options((H, header), ("x-email-api-type", "marketing")).type == "marketing"


def test_only_the_first_of_several_headers_counts():
    found = options((H, '{"category":"first"}'), (H, '{"category":"second"}'))
    assert changed(found) == {"tags": ("first",)}
    assert found.consumed == {"x-smtpapi"}


def test_a_test_mode_is_found_in_a_repeated_header_too():
    with pytest.raises(HeaderError, match="sandbox"):
        options((H, "{}"), (H, '{"sandbox":true}'))


def test_a_header_that_looks_like_it_is_removed():
    found = options(("X-SMTPAPI-Extra", "1"))
    assert found.consumed == {"x-smtpapi-extra"}
    assert [f.verdict for f in found.findings] == [Verdict.STRIP_WARN]


def test_the_whole_header_of_a_newsletter():
    header = {
        "to": ["a@x.test", "b@x.test"],
        "category": ["Newsletter", "septembre été"],
        "unique_args": {"campaign": 12},
        "asm_group_id": 1,
        "filters": {
            "clicktrack": {"settings": {"enable": 1}},
            "opentrack": {"settings": {"enable": 0}},
            "ganalytics": {"settings": {"enable": 1, "utm_source": "mail"}},
        },
    }
    found = options((H, json.dumps(header)), recipients=("b@x.test", "a@x.test"), maps=GROUPS)
    assert changed(found) == {
        "tags": ("Newsletter", "septembre-ete"),
        "metadata": {"campaign": "12"},
        "list_id": 42,
        "tracking": {"clicks_html": True, "opens": False},
    }
