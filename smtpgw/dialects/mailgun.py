"""Dialect of Mailgun: X-Mailgun-*."""

from smtpgw.dialects import values
from smtpgw.dialects.context import HeaderContext
from smtpgw.dialects.json_keys import parse_object
from smtpgw.dialects.rules import metadata, refuse_where, schedule, tags, template, track, track_clicks
from smtpgw.dialects.table import DISCARD, MAP, REFUSE, STRIP, STRIP_WARN, Dialect, Row

CLICKS = dict.fromkeys(values.YES, (True, True)) | dict.fromkeys(values.NO, (False, False))
CLICKS["htmlonly"] = (True, False)


def track_all(context: HeaderContext, value: str) -> None:
    """Switch tracking of opens and clicks, except for those that have their own header."""
    opens = () if context.has_header("X-Mailgun-Track-Opens") else ("opens",)
    clicks = () if context.has_header("X-Mailgun-Track-Clicks") else ("clicks_html", "clicks_text")
    if opens or clicks:
        track(*opens, *clicks)(context, value)
    else:
        context.record(STRIP, "the headers for opens and clicks decide")


def require_tls(context: HeaderContext, value: str) -> None:
    """Reject the message if TLS is required."""
    if values.is_negative(value) or not value:
        context.record(STRIP)
    else:
        context.refuse("a promise to deliver only over TLS")


def recipient_variables(context: HeaderContext, value: str) -> None:
    """Reject the message if it contains a placeholder of a recipient variable."""
    parse_object(context, value)
    refuse_where(r"%recipient(?:[._][^%\s]{1,100})?%")(context, value)


def template_variables(context: HeaderContext, value: str) -> None:
    """Drop the variables of a template with a warning."""
    given = parse_object(context, value)
    context.record(STRIP_WARN if given else STRIP, "Cakemail's template has its own attributes")


MAILGUN = Dialect(
    name="mailgun",
    title="Mailgun",
    prefixes=("x-mailgun-",),
    rows=(
        Row("X-Mailgun-Tag", "welcome", MAP, "tags", "may be repeated", tags),
        Row("X-Mailgun-Track", "yes", MAP, "tracking", "all three", track_all),
        Row(
            "X-Mailgun-Track-Clicks",
            "htmlonly",
            MAP,
            "tracking.clicks_html, tracking.clicks_text",
            "yes, no or htmlonly; beats X-Mailgun-Track",
            track_clicks(CLICKS),
        ),
        Row("X-Mailgun-Track-Opens", "no", MAP, "tracking.opens", "beats X-Mailgun-Track", track("opens")),
        Row("X-Mailgun-Drop-Message", "yes", DISCARD, "", "test mode, unless no, false, 0, off or none"),
        Row(
            "X-Mailgun-Deliver-By",
            "Fri, 14 Oct 2026 23:10:10 -0000",
            REFUSE,
            "",
            "STRIP when the time has come",
            schedule(values.mail_date),
        ),
        Row("X-Mailgun-Time-Zone-Localize", "09:00", REFUSE, "sending at the recipient's local time"),
        Row("X-Mailgun-Delivery-Time-Optimize-Period", "24h", STRIP_WARN, "", "sent at once"),
        Row("X-Mailgun-Deliver-Within", "1h", STRIP_WARN, "", "Cakemail has no latest time of delivery"),
        Row("X-Mailgun-Require-TLS", "yes", REFUSE, "", "the gateway cannot promise TLS; STRIP for no", require_tls),
        Row("X-Mailgun-Skip-Verification", "yes", STRIP, "", "Cakemail decides"),
        Row(
            "X-Mailgun-Recipient-Variables",
            '{"bob@x.test":{"first":"Bob"}}',
            STRIP,
            "",
            "REFUSE when %recipient.…% stands in subject or body",
            recipient_variables,
        ),
        Row("X-Mailgun-Variables", '{"my_message_id":"123"}', STRIP_WARN, "X-Metadata-…", "metadata", metadata),
        Row(
            "X-Mailgun-Template-Name",
            "welcome",
            MAP,
            "content.template.id",
            "through the operator's map; REFUSE when unmapped",
            template("mailgun"),
        ),
        Row("X-Mailgun-Template-Variables", '{"a":1}', STRIP_WARN, "", "not merged", template_variables),
        Row("X-Mailgun-Dkim", "yes", STRIP, "", "Cakemail signs"),
        Row("X-Mailgun-Secondary-DKIM", "example.com/s1", STRIP, "", "Cakemail signs"),
        Row("X-Mailgun-Sending-Ip", "1.2.3.4", STRIP, "", "Cakemail decides"),
        Row("X-Mailgun-Sending-Ip-Pool", "pool", STRIP, "", "Cakemail decides"),
        Row("X-Mailgun-Archive-To", "https://example.com/archive", STRIP_WARN, "", "no copy is archived"),
        Row("X-Mailgun-Suppress-Headers", "x-a,x-b", STRIP, "", "X-Mailgun headers are never delivered"),
        Row("X-Mailgun-Incoming", "yes", STRIP, "", "a trace of received mail"),
        Row("X-Mailgun-Sflag", "No", STRIP, "", "a trace of received mail"),
        Row("X-Mailgun-Sscore", "0.1", STRIP, "", "a trace of received mail"),
        Row("X-Mailgun-Sid", "WyI3", STRIP, "", "a trace of received mail"),
    ),
    notes=(
        "`To: %recipient%` needs no replacement: each copy shows the address of its own recipient.",
        "A body of the type multipart/mailgun-variables is refused, because it is not mail.",
    ),
)
