"""Dialect of Cakemail's own SMTP relay, whose customers already send these headers."""

from smtpgw.dialects import values
from smtpgw.dialects.context import HeaderContext
from smtpgw.dialects.rules import comma_separated_tags, track
from smtpgw.dialects.table import MAP, STRIP, Dialect, Effect, Row


def sender_id(context: HeaderContext, value: str) -> None:
    """Set the sender. An empty id is rejected."""
    if not value:
        context.refuse_value("must be the id of a confirmed sender")
    context.decide(sender_id=value)


def whole_number(field: str) -> Effect:
    """Return an effect that sets an id. An invalid one is rejected, because the wrong list or account would be used."""

    def read(context: HeaderContext, value: str) -> None:
        number = values.whole_number(value)
        if number is None:
            context.refuse_value("must be a whole number")
        context.decide(**{field: number})

    return read


def message_type(context: HeaderContext, value: str) -> None:
    """Set the type of the message. An unknown one is rejected."""
    # The type decides whether recipients can unsubscribe, so an unknown one is rejected.
    if value.lower() not in ("marketing", "transactional"):
        context.refuse_value("must be marketing or transactional")
    context.decide(type=value.lower())


def group(context: HeaderContext, value: str) -> None:
    """Add the group as a tag."""
    context.add_tags([f"group-{value}"] if value else [])


def enabled(context: HeaderContext, value: str) -> None:
    """Make the message marketing, unless another header decides its type."""

    def by_default() -> None:
        if context.decided.get("type"):
            context.record(STRIP)
        else:
            context.decide(type="marketing")

    if values.yes_or_no(value):
        context.defer(by_default)
    else:
        context.record(STRIP)


CAKEMAIL = Dialect(
    name="cakemail",
    title="Cakemail's SMTP relay",
    prefixes=("x-email-api-",),
    rows=(
        Row("x-sender-id", "12345", MAP, "sender.id", "beats the From address; must be confirmed", sender_id),
        Row("x-track-opens", "true", MAP, "tracking.opens", "1/0, yes/no, on/off too", track("opens")),
        Row("x-track-clicks-html", "true", MAP, "tracking.clicks_html", "likewise", track("clicks_html")),
        Row("x-track-clicks-text", "false", MAP, "tracking.clicks_text", "likewise", track("clicks_text")),
        Row("x-list-id", "42", MAP, "list_id", "REFUSE when not a whole number", whole_number("list_id")),
        Row("x-email-api-type", "marketing", MAP, "content.type", "REFUSE when it is another word", message_type),
        Row("x-tags", "welcome,fr", MAP, "tags", "accents and spaces are made to fit", comma_separated_tags),
        Row("x-group-id", "7", MAP, "tags", "as the tag group-7", group),
        Row("x-account-id", "99", MAP, "account_id", "REFUSE when not a whole number", whole_number("account_id")),
        Row(
            "x-email-api-enabled",
            "true",
            MAP,
            "content.type",
            "marketing, unless another header decides; STRIP when not true",
            enabled,
        ),
    ),
    notes=("These headers win over those of any other provider.",),
)
