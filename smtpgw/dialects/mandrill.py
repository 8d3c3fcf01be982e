"""Dialect of Mandrill (Mailchimp Transactional): X-MC-*."""

from smtpgw.dialects import values
from smtpgw.dialects.context import HeaderContext
from smtpgw.dialects.json_keys import parse_object
from smtpgw.dialects.rules import (
    comma_separated_tags,
    extra_recipients,
    look_up,
    merge_variables,
    metadata,
    schedule,
    template,
)
from smtpgw.dialects.table import MAP, REFUSE, STRIP, STRIP_WARN, Dialect, Row


def track(context: HeaderContext, value: str) -> None:
    """Track what the list names, and nothing else."""
    words = {word.lower() for word in values.comma_separated(value)}
    both = bool(words & {"clicks", "clicks_all"})
    context.decide(
        opens="opens" in words,
        clicks_html=both or "clicks_htmlonly" in words,
        clicks_text=both or "clicks_textonly" in words,
    )


def merge_vars(context: HeaderContext, value: str) -> None:
    """Reject the message if it contains a placeholder of one of the merge variables."""
    merge_variables(context, [name for name in parse_object(context, value) if name != "_rcpt"])


def bcc_address(context: HeaderContext, value: str) -> None:
    """Reject a copy to an address without RCPT, unless the operator chose to send without it."""
    if context.mapping.strip_mandrill_bcc:
        context.record(STRIP_WARN, "sent without the copy, as the operator configured")
    else:
        extra_recipients(context, values.comma_separated(value))


MANDRILL = Dialect(
    name="mandrill",
    title="Mandrill (Mailchimp Transactional)",
    prefixes=("x-mc-",),
    rows=(
        Row("X-MC-Tags", "password-reset, fr", MAP, "tags", "", comma_separated_tags),
        Row("X-MC-Track", "opens, clicks_htmlonly", MAP, "tracking", "what it does not name is off", track),
        Row("X-MC-Metadata", '{"user_id":"45829"}', STRIP_WARN, "X-Metadata-…", "metadata", metadata),
        Row(
            "X-MC-Template",
            "welcome|main",
            MAP,
            "content.template.id",
            "through the operator's map; REFUSE when unmapped",
            template("mandrill"),
        ),
        Row(
            "X-MC-MergeVars",
            '{"_rcpt":"a@x.test","fname":"John"}',
            STRIP,
            "",
            "may be repeated; REFUSE when *|FNAME|* or {{fname}} stands in the message",
            merge_vars,
        ),
        Row("X-MC-MergeLanguage", "handlebars", STRIP, "", "both languages are looked for"),
        Row(
            "X-MC-SendAt",
            "2026-12-31 23:59:59",
            REFUSE,
            "",
            "UTC; STRIP when the time has come",
            schedule(values.iso_instant),
        ),
        Row(
            "X-MC-BccAddress",
            "archive@x.test",
            REFUSE,
            "",
            "STRIP when it is a recipient; STRIP_WARN with the operator's strip_mandrill_bcc",
            bcc_address,
        ),
        Row("X-MC-PreserveRecipients", "true", STRIP, "", "each copy shows its own recipient"),
        Row(
            "X-MC-Subaccount",
            "cust-123",
            MAP,
            "account_id",
            "through the operator's map; STRIP_WARN when unmapped",
            look_up("account_id", lambda context: context.mapping.subaccounts),
        ),
        Row("X-MC-Autotext", "on", STRIP, "", "send both parts"),
        Row("X-MC-AutoHtml", "on", STRIP, "", "send both parts"),
        Row("X-MC-InlineCSS", "true", STRIP_WARN, "", "may look different"),
        Row("X-MC-ViewContentLink", "false", STRIP),
        Row("X-MC-URLStripQS", "true", STRIP),
        Row("X-MC-GoogleAnalytics", "example.com", STRIP, "", "links keep their addresses"),
        Row("X-MC-GoogleAnalyticsCampaign", "spring", STRIP, "", "links keep their addresses"),
        Row("X-MC-Important", "true", STRIP),
        Row("X-MC-IpPool", "Main Pool", STRIP, "", "Cakemail decides"),
        Row("X-MC-TrackingDomain", "links.x.test", STRIP, "", "Cakemail decides"),
        Row("X-MC-SigningDomain", "x.test", STRIP, "", "Cakemail decides"),
        Row("X-MC-ReturnPathDomain", "bounces.x.test", STRIP, "", "Cakemail decides"),
    ),
)
