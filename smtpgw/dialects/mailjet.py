"""Dialect of Mailjet: X-MJ-* and X-Mailjet-*."""

from smtpgw.dialects import values
from smtpgw.dialects.context import HeaderContext
from smtpgw.dialects.json_keys import parse_object
from smtpgw.dialects.rules import metadata_as, refuse_where, tags, template, track
from smtpgw.dialects.table import MAP, STRIP, STRIP_WARN, Dialect, Row

# Clients send the value of Mailjet's API for "on" over SMTP too.
API_ON = "2"
# Matches {{var:name}}, {{data:name}}, and conditions of the template language such as {% if … %}.
TEMPLATE_LANGUAGE = r"\{\{\s{0,20}(?:var|data)\s{0,20}:|\{%\s{0,20}(?:if|for|set)\b"


def template_language(context: HeaderContext, value: str) -> None:
    """Reject the message if the template language is on and the message uses it."""
    if values.yes_or_no(value):
        refuse_where(TEMPLATE_LANGUAGE)(context, value)
    else:
        context.record(STRIP, "off")


def variables(context: HeaderContext, value: str) -> None:
    """Reject the message if it uses the template language."""
    parse_object(context, value)
    refuse_where(TEMPLATE_LANGUAGE)(context, value)


MAILJET = Dialect(
    name="mailjet",
    title="Mailjet",
    prefixes=("x-mj-", "x-mailjet-"),
    rows=(
        Row("X-Mailjet-Campaign", "spring", MAP, "tags", "accents and spaces are made to fit", tags),
        Row("X-Mailjet-DeduplicateCampaign", "true", STRIP_WARN, "", "Cakemail does not look for duplicates"),
        Row(
            "X-Mailjet-TrackClick",
            "0",
            MAP,
            "tracking.clicks_html, tracking.clicks_text",
            "",
            track("clicks_html", "clicks_text", also_on=API_ON),
        ),
        Row("X-Mailjet-TrackOpen", "0", MAP, "tracking.opens", "", track("opens", also_on=API_ON)),
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
