"""Dialect of SparkPost (now Bird): X-MSYS-API, one JSON object."""

from typing import Any

from smtpgw.dialects import values
from smtpgw.dialects.context import HeaderContext
from smtpgw.dialects.json_keys import json_keys
from smtpgw.dialects.rules import extra_recipients, metadata, schedule, tags, track
from smtpgw.dialects.table import MAP, REFUSE, STRIP, STRIP_WARN, Dialect, Row


def transactional(context: HeaderContext, value: Any) -> None:
    """Make the message transactional if the option is on."""
    if values.yes_or_no(value):
        context.decide(type="transactional")
    else:
        context.record(STRIP, "the default stands")


def inline_css(context: HeaderContext, value: Any) -> None:
    """Drop the option, with a warning if it is on."""
    context.record(STRIP_WARN if values.yes_or_no(value) else STRIP, "styles are not inlined")


KEYS = (
    Row("campaign_id", '"my_campaign"', MAP, "tags", "accents and spaces are made to fit", tags),
    Row("tags", '["cat","dog"]', MAP, "tags", "accents and spaces are made to fit", tags),
    Row(
        "metadata",
        '{"has_pets":true}',
        STRIP_WARN,
        "X-Metadata-…",
        "metadata; a header only if the operator enables it",
        metadata,
        free_keys=True,
    ),
    Row("options.open_tracking", "false", MAP, "tracking.opens", "", track("opens")),
    Row(
        "options.click_tracking",
        "false",
        MAP,
        "tracking.clicks_html, tracking.clicks_text",
        "",
        track("clicks_html", "clicks_text"),
    ),
    Row("options.transactional", "true", MAP, "content.type", "false leaves the default", transactional),
    Row("options.sandbox", "true", REFUSE, "", "real mail from another domain, at SparkPost; STRIP when false"),
    Row("options.skip_suppression", "true", STRIP, "", "Cakemail decides"),
    Row("options.ip_pool", '"my_ip_pool"', STRIP, "", "Cakemail decides"),
    Row("options.inline_css", "false", STRIP, "", "STRIP_WARN when true: may look different", inline_css),
    Row("options.dkim_key", '"key"', STRIP, "", "Cakemail signs"),
    Row(
        "options.start_time",
        '"2026-12-31T23:59:59-04:00"',
        REFUSE,
        "",
        "STRIP when the time has come",
        schedule(values.iso_instant),
    ),
    Row("cc", '[{"email":"cc@x.test","name":"CC"}]', REFUSE, "", "STRIP when all are recipients", extra_recipients),
    Row("bcc", '["bcc@x.test"]', REFUSE, "", "STRIP when all are recipients", extra_recipients),
    Row("archive", '["archive@x.test"]', REFUSE, "", "STRIP when all are recipients", extra_recipients),
    Row(
        "substitution_data",
        '{"name":"Ben"}',
        STRIP,
        "",
        "SparkPost ignores it over SMTP too",
        free_keys=True,
    ),
    Row("content", '{"template_id":"welcome"}', REFUSE, "content in a header", "of its REST API only", free_keys=True),
    Row("template_id", '"welcome"', REFUSE, "a template of SparkPost", "of its REST API only"),
)

SPARKPOST = Dialect(
    name="sparkpost",
    title="SparkPost",
    prefixes=("x-msys-",),
    rows=(
        Row("X-MSYS-API", '{"campaign_id":"x"}', MAP, "", "REFUSE when not valid JSON; keys below", json_keys(KEYS)),
        Row("X-Binding", "marketing", STRIP, "", "Cakemail decides"),
    ),
    keys=KEYS,
    test_domains=(".sink.sparkpostmail.com",),
    notes=("SparkPost tracks nothing by default over SMTP; Cakemail does. See `tracking` in the maps.",),
)
