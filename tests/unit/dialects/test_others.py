"""Tests of Brevo, Resend, Mailjet and the frameworks: each row of their tables, with every case that it names."""

import pytest

from smtpgw.config.provider_map import AccountMap
from tests.support.control_headers import discarded, lost, mapped, options, refused, stripped, tracking

TEMPLATES = AccountMap(templates={"brevo": {"1": 7}, "mailjet": {"4242": 8}})
PARAMS = '{"name":"Ben"}'

BREVO = (
    mapped("X-Mailin-Tag", "welcome", {"tags": ("welcome",)}),
    lost("X-Mailin-custom", '{"order":"1"}', {"metadata": {"order": "1"}}),
    lost("X-Mailin-custom", "order:1|url:https://x.test", {"metadata": {"order": "1", "url": "https://x.test"}}),
    refused("X-Mailin-custom", "order", "550 5.6.0 X-Mailin-custom: is not valid JSON"),
    stripped("X-Mailin-custom", ""),
    discarded("X-Sib-Sandbox", "drop"),
    discarded("X-Sib-Sandbox", ""),
    discarded("X-Sib-Sandbox", "anything"),
    *(stripped("X-Sib-Sandbox", word) for word in ("no", "false", "0", "off", "none")),
    stripped("sender.ip", "1.2.3.4"),
    mapped("idempotencyKey", "6ba7b810", {"idempotency_key": "6ba7b810"}),
    mapped("templateId", "1", {"template_id": 7}, maps=TEMPLATES),
    refused("templateId", "2", maps=TEMPLATES),
    stripped("params", PARAMS),
    refused("params", PARAMS, body={"text": "Dear {{params.name}}"}),
    refused("params", PARAMS, body={"text": "Dear {{ params.name }}"}),
    refused("params", "name=Ben", "550 5.6.0 params: is not valid JSON"),
    lost("X-SIB-API", "1"),
    lost("X-Mailin-Client", "1"),
    lost("X-Mailin-IP", "1.2.3.4"),
    lost("X-Mailin-Colour", "blue"),
    lost("X-Sib-Colour", "blue"),
    refused("X-Mailin-Sandbox", "drop"),
)

RESEND = (
    mapped("Resend-Idempotency-Key", "welcome-user/123456789", {"idempotency_key": "welcome-user/123456789"}),
    mapped("Resend-Idempotency-Key", "k" * 256, {"idempotency_key": "k" * 256}),
    lost("Resend-Idempotency-Key", "k" * 257),
    lost("Resend-Idempotency-Key", ""),
    lost("Resend-Colour", "blue"),
    refused("Resend-Test-Mode", "yes"),
)

MAILJET = (
    mapped("X-Mailjet-Campaign", "été 2026", {"tags": ("ete-2026",)}),
    lost("X-Mailjet-DeduplicateCampaign", "true"),
    mapped("X-Mailjet-TrackClick", "0", tracking(clicks_html=False, clicks_text=False)),
    mapped("X-Mailjet-TrackClick", "1", tracking(clicks_html=True, clicks_text=True)),
    mapped("X-Mailjet-TrackClick", "2", tracking(clicks_html=True, clicks_text=True)),
    mapped("X-Mailjet-TrackOpen", "0", tracking(opens=False)),
    mapped("X-Mailjet-TrackOpen", "2", tracking(opens=True)),
    lost("X-Mailjet-TrackOpen", "3"),
    stripped("X-Mailjet-Prio", "2"),
    lost("X-MJ-CustomID", "order-1", {"metadata": {"CustomID": "order-1"}}),
    lost("X-MJ-EventPayload", "<order/>", {"metadata": {"EventPayload": "<order/>"}}),
    mapped("X-MJ-TemplateID", "4242", {"template_id": 8}, maps=TEMPLATES),
    refused("X-MJ-TemplateID", "4242"),
    stripped("X-MJ-TemplateLanguage", "1"),
    stripped("X-MJ-TemplateLanguage", "0", body={"text": "Dear {{var:name}}"}),
    refused("X-MJ-TemplateLanguage", "1", body={"text": "Dear {{var:name}}"}),
    refused("X-MJ-TemplateLanguage", "True", body={"html": "<p>{% if var:name %}Dear{% endif %}</p>"}),
    stripped("X-MJ-Vars", PARAMS),
    refused("X-MJ-Vars", PARAMS, body={"subject": 'For {{var:name:"you"}}'}),
    refused("X-MJ-Vars", "{", "550 5.6.0 X-MJ-Vars: is not valid JSON"),
    stripped("X-MJ-TemplateErrorReporting", "a@x.test"),
    stripped("X-MJ-TemplateErrorDeliver", "deliver"),
    lost("X-MJ-WorkflowID", "1"),
    lost("X-Mailjet-Debug", "1"),
    refused("X-MJ-SandboxMode", "true"),
)

FRAMEWORKS = (
    mapped("X-Tag", "password-reset", {"tags": ("password-reset",)}),
    lost("X-Metadata-Client-ID", "12345", {"metadata": {"Client-ID": "12345"}}, row="X-Metadata-*"),
    lost("X-Metadata-drop-off", "x", {"metadata": {"drop-off": "x"}}),  # The customer chose the key.
)

CASES = {"brevo": BREVO, "resend": RESEND, "mailjet": MAILJET, "frameworks": FRAMEWORKS}


@pytest.mark.parametrize(
    ("dialect", "case"), [pytest.param(name, case, id=f"{name}-{case}") for name in CASES for case in CASES[name]]
)
def test_header(dialect, case):
    case.check(dialect)


def test_an_entity_reference_is_an_ordinary_header():
    assert options(("X-Entity-Ref-ID", "order-1042")).consumed == frozenset()
