"""Dialect of SendGrid: X-SMTPAPI, one JSON object."""

from typing import Any

from smtpgw.dialects import values
from smtpgw.dialects.context import HeaderContext
from smtpgw.dialects.json_keys import json_keys, require_object
from smtpgw.dialects.rules import (
    literal_placeholders,
    look_up,
    metadata,
    schedule,
    tags,
    template,
)
from smtpgw.dialects.table import MAP, REFUSE, STRIP, STRIP_WARN, Dialect, Effect, Row


def replaced_recipients(context: HeaderContext, value: Any) -> None:
    """Reject a list that differs from RCPT.

    SendGrid sends to the list instead. It does not document whether other recipients get a copy.
    """
    wanted = set()
    for address in values.addresses(value):
        wanted.add(address)
        # One address without RCPT is enough to decide.
        if address not in context.recipients:
            break
    if wanted and wanted != context.recipients:
        context.refuse("naming other recipients than RCPT")
    context.record(STRIP, "the recipients are those of RCPT")


def send_each_at(context: HeaderContext, value: Any) -> None:
    """Reject times in the future, and `send_at` beside them."""
    if value and context.siblings.get("send_at"):
        context.refuse("send_at together with send_each_at")
    schedule(values.epoch)(context, value)


# --- Filters, each of the form {"settings": {"enable": 1, …}} ---------------------------------------------------------


def is_on(settings: dict[str, Any]) -> bool:
    """Return whether a filter is enabled."""
    return values.yes_or_no(settings.get("enable")) is True


def refuse_visible_tag(context: HeaderContext, settings: dict[str, Any]) -> None:
    """Reject the message if it contains the text that `replace` names, which a recipient would see."""
    replaced = settings.get("replace")
    if isinstance(replaced, str) and replaced and context.has_text(replaced):
        context.refuse(f"replacing {replaced} in the message")


def open_tracking(context: HeaderContext, value: Any) -> None:
    """Set the tracking of opens. The placeholder for the image is rejected."""
    settings = require_object(context, value)
    wanted = values.yes_or_no(settings.get("enable"))
    if wanted is not False:
        refuse_visible_tag(context, settings)
    if wanted is None:
        context.record(STRIP_WARN, "enable is neither 1 nor 0")
    else:
        context.decide(opens=wanted)


def click_tracking(context: HeaderContext, value: Any) -> None:
    """Set the tracking of clicks. Links in the text are tracked only if `enable_text` is on."""
    settings = require_object(context, value)
    wanted = values.yes_or_no(settings.get("enable"))
    in_text = values.yes_or_no(settings.get("enable_text"))
    if wanted is None:
        context.record(STRIP_WARN, "enable is neither 1 nor 0")
    elif wanted and in_text is None:
        context.decide(clicks_html=True)
    else:
        context.decide(clicks_html=wanted, clicks_text=bool(wanted and in_text))


def subscription_tracking(context: HeaderContext, value: Any) -> None:
    """Reject a transactional message, because Cakemail adds its unsubscribe link to marketing messages only."""
    settings = require_object(context, value)

    def without_tag() -> None:
        if context.decided.get("type") == "transactional":
            context.refuse("a link to unsubscribe in a transactional message")
        context.record(STRIP_WARN, "Cakemail adds its own link, to marketing messages")

    if is_on(settings):
        refuse_visible_tag(context, settings)
        context.defer(without_tag)
    else:
        context.record(STRIP, "off")


def stored_template(context: HeaderContext, value: Any) -> None:
    """Map a stored template, unless the filter is off."""
    settings = require_object(context, value)
    if settings.get("template_id") and not values.is_negative(settings.get("enable")):
        template("sendgrid")(context, settings["template_id"])
    else:
        context.record(STRIP, "off")


def bypass_list_management(context: HeaderContext, value: Any) -> None:
    """Make the message transactional if the filter is on."""
    if is_on(require_object(context, value)):
        context.decide(type="transactional")
    else:
        context.record(STRIP, "off")


def refuse_when_on(what: str) -> Effect:
    """Return an effect that rejects the message if the filter is enabled."""

    def check(context: HeaderContext, value: Any) -> None:
        if is_on(require_object(context, value)):
            context.refuse(what)
        context.record(STRIP, "off")

    return check


def retired_bcc(context: HeaderContext, value: Any) -> None:
    """Drop the filter, with a warning if it is on."""
    context.record(STRIP_WARN if is_on(require_object(context, value)) else STRIP, "SendGrid has retired it")


KEYS = (
    Row("category", '["Orders","fr"]', MAP, "tags", "accents and spaces are made to fit", tags),
    Row(
        "unique_args",
        '{"orderNumber":"12345"}',
        STRIP_WARN,
        "X-Metadata-…",
        "metadata; a header only if the operator enables it",
        metadata,
        free_keys=True,
    ),
    Row("to", '["a@x.test"]', REFUSE, "", "STRIP when they are exactly those of RCPT", replaced_recipients),
    Row(
        "sub",
        '{"%name%":["Ben"]}',
        STRIP,
        "",
        "REFUSE when %name% stands in the message",
        literal_placeholders,
        free_keys=True,
    ),
    Row(
        "section",
        '{":buyer:":"Hello"}',
        STRIP,
        "",
        "REFUSE when :buyer: stands in the message",
        literal_placeholders,
        free_keys=True,
    ),
    Row("send_at", "1409348513", REFUSE, "", "STRIP when the time has come", schedule(values.epoch)),
    Row("send_each_at", "[1409348513]", REFUSE, "", "STRIP when all have come, without send_at", send_each_at),
    Row("batch_id", '"MWQxZmIy"', STRIP, "", "there is nothing to cancel"),
    Row(
        "asm_group_id",
        "1",
        MAP,
        "list_id",
        "through the operator's map; STRIP_WARN when unmapped: its unsubscribes live at SendGrid",
        look_up("list_id", lambda context: context.mapping.asm_groups),
    ),
    Row("asm_groups_to_display", "[1,2]", STRIP, "", "Cakemail has its own page"),
    Row("ip_pool", '"pool_name"', STRIP, "", "Cakemail decides"),
    Row(
        "filters.opentrack.settings",
        '{"enable":1}',
        MAP,
        "tracking.opens",
        "REFUSE when the text of `replace` stands in the message",
        open_tracking,
    ),
    Row(
        "filters.clicktrack.settings",
        '{"enable":1,"enable_text":true}',
        MAP,
        "tracking.clicks_html, tracking.clicks_text",
        "text only if enable_text is on",
        click_tracking,
    ),
    Row(
        "filters.subscriptiontrack.settings",
        '{"enable":1,"replace":"[unsubscribe]"}',
        STRIP_WARN,
        "",
        "REFUSE when the text of `replace` stands in the message, or the message is transactional",
        subscription_tracking,
    ),
    Row(
        "filters.templates.settings",
        '{"enable":1,"template_id":"5997fcf6"}',
        MAP,
        "content.template.id",
        "through the operator's map; REFUSE when unmapped",
        stored_template,
    ),
    Row(
        "filters.template.settings",
        '{"enable":1,"text/html":"<% body %>"}',
        REFUSE,
        "",
        "STRIP when not enabled",
        refuse_when_on("wrapping the body in a template"),
    ),
    Row(
        "filters.footer.settings",
        '{"enable":1,"text/html":"Legal"}',
        REFUSE,
        "",
        "often a legal text; STRIP when not enabled",
        refuse_when_on("adding a footer to the body"),
    ),
    Row(
        "filters.bypass_list_management.settings",
        '{"enable":1}',
        MAP,
        "content.type",
        "transactional, unless x-email-api-type decides otherwise",
        bypass_list_management,
    ),
    Row("filters.bcc.settings", '{"enable":1,"email":"a@x.test"}', STRIP_WARN, "", "retired", retired_bcc),
    Row("filters.spamcheck", '{"settings":{"enable":1}}', STRIP, "", "retired by SendGrid"),
    Row("filters.ganalytics", '{"settings":{"enable":1}}', STRIP, "", "links keep their addresses"),
    Row("filters.dkim", '{"settings":{"enable":1}}', STRIP, "", "Cakemail signs"),
    Row("filters.domainkeys", '{"settings":{"enable":1}}', STRIP, "", "Cakemail signs"),
    Row("filters.gravatar", '{"settings":{"enable":1}}', STRIP, "", "retired by SendGrid"),
    Row("filters.forwardspam", '{"settings":{"enable":1}}', STRIP, "", "a setting of SendGrid's account"),
)

SENDGRID = Dialect(
    name="sendgrid",
    title="SendGrid",
    prefixes=("x-smtpapi",),
    rows=(
        Row(
            "X-SMTPAPI",
            '{"category":"Orders"}',
            MAP,
            "",
            "REFUSE when not valid JSON; keys below",
            json_keys(KEYS, first_instance=True),
        ),
    ),
    keys=KEYS,
    notes=("An unknown key is removed and logged; one that looks like a test mode is refused.",),
)
