"""Effects that several dialects share: tags, tracking, metadata, templates, schedules, recipients, placeholders.

Each rule is an effect, or a function that returns one for the names that a provider uses.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from smtpgw.dialects import values
from smtpgw.dialects.context import HeaderContext
from smtpgw.dialects.json_keys import parse_object, require_object
from smtpgw.dialects.table import STRIP, STRIP_WARN, Effect

# A time that is less than this ahead counts as now.
MAX_CLOCK_SKEW_SECONDS = 60
# Each substitution is searched in the whole message.
MAX_SUBSTITUTIONS = 100
# A schedule may have one time for each recipient.
MAX_TIMES = 10_000
UNKNOWN_VALUE = "not a value we know"
# A longer match is text that contains braces by chance.
MERGE_TAG = re.compile(r"\*\|[^|\r\n]{1,200}\|\*|\{\{[^{}]{1,200}\}\}")
NAME = re.compile(r"[^\s{}()#/^&*|:=]+")


def first_instance(effect: Effect) -> Effect:
    """Return an effect that applies to the first instance of a repeated header only, as at the provider."""

    def once(context: HeaderContext, value: Any) -> None:
        if context.is_repeated:
            context.record(STRIP, "repeated; the first counts")
        else:
            effect(context, value)

    return once


# --- Tags -------------------------------------------------------------------------------------------------------------


def tags(context: HeaderContext, value: Any) -> None:
    """Add a tag, or each tag of a JSON list."""
    context.add_tags([text for text in values.texts(value) if text.strip()])


def comma_separated_tags(context: HeaderContext, value: str) -> None:
    """Add each tag of a comma-separated list."""
    context.add_tags(values.comma_separated(value))


# --- Tracking ---------------------------------------------------------------------------------------------------------


def track(*fields: str, also_on: str = "") -> Effect:
    """Return an effect that switches tracking on or off.

    Args:
        fields: The fields to switch: opens, clicks_html, clicks_text.
        also_on: A provider's further value for "on".
    """

    def switch(context: HeaderContext, value: Any) -> None:
        wanted = True if also_on and value == also_on else values.yes_or_no(value)
        if wanted is None:
            context.record(STRIP_WARN, UNKNOWN_VALUE)
        else:
            context.decide(**dict.fromkeys(fields, wanted))

    return switch


def track_clicks(words: Mapping[str, tuple[bool, bool]]) -> Effect:
    """Return an effect for click tracking. `words` maps a value in lower case to the switches for HTML and text."""

    def choose(context: HeaderContext, value: str) -> None:
        html_and_text = words.get(value.lower())
        if html_and_text is None:
            context.record(STRIP_WARN, UNKNOWN_VALUE)
        else:
            context.decide(clicks_html=html_and_text[0], clicks_text=html_and_text[1])

    return choose


# --- Metadata ---------------------------------------------------------------------------------------------------------


def metadata(context: HeaderContext, value: Any) -> None:
    """Add metadata from a JSON object or its text."""
    context.add_metadata(parse_object(context, value) if isinstance(value, str) else require_object(context, value))


def metadata_as(key: str) -> Effect:
    """Return an effect that adds the whole value under one key."""
    return lambda context, value: context.add_metadata({key: value} if value else {})


def metadata_named_by_header(prefix: str) -> Effect:
    """Return an effect that adds the value under the header's name after `prefix`."""

    def one(context: HeaderContext, value: str) -> None:
        key = context.header[len(prefix) :]
        context.add_metadata({key: value} if key and value else {})

    return one


# --- Ids, mapped by the operator --------------------------------------------------------------------------------------


def template(provider: str) -> Effect:
    """Return an effect that maps a provider's template.

    An unmapped template is rejected, because the body is only a fragment without it.
    """

    def mapped(context: HeaderContext, value: Any) -> None:
        name = values.as_text(value).strip()
        known = context.mapping.templates.get(provider, {})
        found = known.get(name, known.get(name.partition("|")[0].strip()))
        if not name:
            context.record(STRIP, "no template")
        elif found is None:
            context.refuse(f"template {name}, which no Cakemail template is mapped to,")
        else:
            context.decide(template_id=found)

    return mapped


def look_up(field: str, known: Callable[[HeaderContext], Mapping[str, Any]]) -> Effect:
    """Return an effect that sets `field` to the operator's value for a name.

    An unmapped name is dropped with a warning.
    """

    def mapped(context: HeaderContext, value: Any) -> None:
        name = values.as_text(value).strip()
        found = known(context).get(name)
        if found is None:
            context.record(STRIP_WARN, f"{name} is not mapped")
        else:
            context.decide(**{field: found})

    return mapped


def idempotency_key(context: HeaderContext, value: str) -> None:
    """Set the idempotency key. An invalid one is dropped with a warning."""
    if not value or len(value) > 256:
        context.record(STRIP_WARN, "must have 1 to 256 characters")
    else:
        context.decide(idempotency_key=value)


# --- Schedules --------------------------------------------------------------------------------------------------------


def schedule(instant: Callable[[Any], float | None]) -> Effect:
    """Return an effect that rejects a time in the future, because Cakemail sends at once.

    Args:
        instant: The parser for the provider's form of a time.
    """

    def check(context: HeaderContext, value: Any) -> None:
        if value is None or value == []:
            context.record(STRIP)
            return
        times = value if isinstance(value, list) else [value]
        if len(times) > MAX_TIMES:
            context.refuse_value(f"has more than {MAX_TIMES} times")
        for item in times:
            when = instant(item)
            if when is None:
                context.refuse_value("the time cannot be read")
            if when > context.now + MAX_CLOCK_SKEW_SECONDS:
                context.refuse("sending at a later time")
        context.record(STRIP, "the time has come")

    return check


# --- Recipients -------------------------------------------------------------------------------------------------------


def extra_recipients(context: HeaderContext, value: Any) -> None:
    """Reject a copy to an address without RCPT: ignoring it loses the copy, and honouring it overrides the envelope."""
    if not all(address in context.recipients for address in values.addresses(value)):
        context.refuse("a copy to an address that has no RCPT")
    context.record(STRIP, "all are recipients already")


# --- Placeholders -----------------------------------------------------------------------------------------------------


def literal_placeholders(context: HeaderContext, value: Any) -> None:
    """Reject the message if it contains a key of a JSON object of substitutions."""
    keys = [key for key in require_object(context, value) if key]
    if len(keys) > MAX_SUBSTITUTIONS:
        context.refuse(f"replacing more than {MAX_SUBSTITUTIONS} texts in the message")
    refuse_visible(context, [key for key in keys if context.has_text(key)])


def refuse_where(pattern: str) -> Effect:
    """Return an effect that rejects the message if it matches a pattern of placeholders."""
    placeholder = re.compile(pattern, re.IGNORECASE)
    return lambda context, _: refuse_visible(context, sorted(context.search(placeholder)))


def merge_variables(context: HeaderContext, names: Iterable[str]) -> None:
    """Reject the message if it contains one of the names as `*|NAME|*` or `{{name}}`."""
    visible = context.derive(MERGE_TAG, named_in)
    refuse_visible(context, [name for name in names if name.lower() in visible])


def named_in(tokens: Iterable[str]) -> frozenset[str]:
    """Return the names in placeholders such as `*|HTML:FNAME|*` or `{{#if fname}}`, in lower case."""
    return frozenset(word for token in tokens for word in (token[2:-2].strip().lower(), *NAME.findall(token.lower())))


def refuse_visible(context: HeaderContext, placeholders: Sequence[str]) -> None:
    """Reject the message if there are placeholders, which a recipient would see. Unused variables are harmless."""
    if placeholders:
        context.refuse(f"replacing {placeholders[0]} in the message")
    context.record(STRIP, "nothing to replace")
