"""Mailjet: X-MJ-* and X-Mailjet-*."""

from smtpgw.dialects import values
from smtpgw.dialects.context import HeaderContext
from smtpgw.dialects.json_keys import parse_object
from smtpgw.dialects.rules import metadata_as, refuse_where, tags, template
from smtpgw.dialects.table import MAP, STRIP, STRIP_WARN, Dialect, Effect, Row

# {{var:name}}, {{data:name}}, and the conditions of the template language, {% if … %}
TEMPLATE_LANGUAGE = r"\{\{\s{0,20}(?:var|data)\s{0,20}:|\{%\s{0,20}(?:if|for|set)\b"


def track(*fields: str) -> Effect:
    """Mailjet's SMTP has 0 and 1; its API's 2, "on", is sent over SMTP too."""

    def switch(context: HeaderContext, value: str) -> None:
        wanted = True if value == "2" else values.yes_or_no(value)
        if wanted is None:
            context.record(STRIP_WARN, "not a value we know")
        else:
            context.decide(**dict.fromkeys(fields, wanted))

    return switch


def template_language(context: HeaderContext, value: str) -> None:
    if values.yes_or_no(value):
        refuse_where(TEMPLATE_LANGUAGE)(context, value)
    else:
        context.record(STRIP, "off")


def variables(context: HeaderContext, value: str) -> None:
    parse_object(context, value)
    refuse_where(TEMPLATE_LANGUAGE)(context, value)


MAILJET = Dialect(
    name="mailjet",
    title="Mailjet",
    prefixes=("x-mj-", "x-mailjet-"),
    rows=(
        Row("X-Mailjet-Campaign", "spring", MAP, "tags", "accents and spaces are made to fit", tags),
        Row("X-Mailjet-DeduplicateCampaign", "true", STRIP_WARN, "", "Cakemail does not look for doubles"),
        Row(
            "X-Mailjet-TrackClick",
            "0",
            MAP,
            "tracking.clicks_html, tracking.clicks_text",
            "",
            track("clicks_html", "clicks_text"),
        ),
        Row("X-Mailjet-TrackOpen", "0", MAP, "tracking.opens", "", track("opens")),
        Row("X-Mailjet-Prio", "2", STRIP, "", "Cakemail decides"),
        Row("X-MJ-CustomID", "order-1", STRIP_WARN, "X-Metadata-…", "metadata", metadata_as("CustomID")),
        Row("X-MJ-EventPayload", "order-1", STRIP_WARN, "X-Metadata-…", "metadata", metadata_as("EventPayload")),
        Row(
            "X-MJ-TemplateID",
            "4242",
            MAP,
            "content.template.id",
            "through the operator's map; REFUSE when unmapped",
            template("mailjet"),
        ),
        Row(
            "X-MJ-TemplateLanguage",
            "1",
            STRIP,
            "",
            "REFUSE when {{var:…}} or {% … %} stands in the message",
            template_language,
        ),
        Row("X-MJ-Vars", '{"name":"Ben"}', STRIP, "", "REFUSE when {{var:…}} stands in the message", variables),
        Row("X-MJ-TemplateErrorReporting", "a@x.test", STRIP, "", "there is no template to fail"),
        Row("X-MJ-TemplateErrorDeliver", "deliver", STRIP, "", "there is no template to fail"),
    ),
)
