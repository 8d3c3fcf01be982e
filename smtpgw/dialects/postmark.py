"""Dialect of Postmark: X-PM-*."""

from smtpgw.dialects.context import HeaderContext
from smtpgw.dialects.rules import metadata_named_by_header, tags, track, track_clicks
from smtpgw.dialects.table import MAP, STRIP, STRIP_WARN, Dialect, Row

LINKS = {
    "none": (False, False),
    "htmlandtext": (True, True),
    "htmlonly": (True, False),
    "textonly": (False, True),
}
STREAMS = {"outbound": "transactional", "broadcast": "marketing", "broadcasts": "marketing"}


def message_stream(context: HeaderContext, value: str) -> None:
    """Map a message stream to a message type. The operator's map wins over Postmark's own streams."""
    found = context.mapping.message_streams.get(value) or STREAMS.get(value.lower())
    if found:
        context.decide(type=found)
    else:
        context.record(STRIP_WARN, f"{value} is not mapped")


POSTMARK = Dialect(
    name="postmark",
    title="Postmark",
    prefixes=("x-pm-",),
    rows=(
        Row("X-PM-Tag", "welcome", MAP, "tags", "accents and spaces are made to fit", tags),
        Row("X-PM-TrackOpens", "true", MAP, "tracking.opens", "", track("opens")),
        Row(
            "X-PM-TrackLinks",
            "HtmlOnly",
            MAP,
            "tracking.clicks_html, tracking.clicks_text",
            "None, HtmlAndText, HtmlOnly or TextOnly",
            track_clicks(LINKS),
        ),
        Row(
            "X-PM-Message-Stream",
            "broadcast",
            MAP,
            "content.type",
            "outbound: transactional, broadcast: marketing; others through the map, STRIP_WARN when unmapped",
            message_stream,
        ),
        Row(
            "X-PM-Metadata-*",
            "12345",
            STRIP_WARN,
            "X-Metadata-…",
            "metadata; a header only if the operator enables it",
            metadata_named_by_header("X-PM-Metadata-"),
        ),
        Row("X-PM-KeepID", "true", STRIP, "", "Cakemail creates its own Message-ID"),
        Row("X-PM-Bounce-Type", "HardBounce", STRIP, "", "only for bounce-testing.postmarkapp.com"),
        Row("X-PM-RCPT", "a@x.test", STRIP, "", "a trace that Postmark adds"),
    ),
    test_domains=("@bounce-testing.postmarkapp.com",),
)
