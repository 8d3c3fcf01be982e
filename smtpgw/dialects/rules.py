"""What rows do that several providers share: tags, tracking, metadata, schedules, templates, recipients, placeholders.

Each rule is a function that is an effect, or that makes one from what a provider calls things.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from smtpgw.dialects import values
from smtpgw.dialects.context import HeaderContext
from smtpgw.dialects.json_keys import parse_object, require_object
from smtpgw.dialects.table import STRIP, STRIP_WARN, Effect

MAX_CLOCK_SKEW_SECONDS = 60  # a schedule so little ahead is "now"
MAX_SUBSTITUTIONS = 100  # each is looked for in the whole message
MAX_TIMES = 10_000  # of send_each_at, one a recipient
UNKNOWN_VALUE = "not a value we know"
# Longer ones are text that happens to have braces.
MERGE_TAG = re.compile(r"\*\|[^|\r\n]{1,200}\|\*|\{\{[^{}]{1,200}\}\}")
NAME = re.compile(r"[^\s{}()#/^&*|:=]+")


def first_instance(effect: Effect) -> Effect:
    """Of a header that is repeated, the provider reads only the first."""

    def once(context: HeaderContext, value: Any) -> None:
        if context.is_repeated:
            context.record(STRIP, "repeated; the first counts")
        else:
            effect(context, value)

    return once


# --- Tags -------------------------------------------------------------------------------------------------------------


def tags(context: HeaderContext, value: Any) -> None:
    """One tag, or a JSON list of them."""
    context.add_tags([text for text in values.texts(value) if text.strip()])


def comma_separated_tags(context: HeaderContext, value: str) -> None:
    context.add_tags(values.comma_separated(value))


# --- Tracking ---------------------------------------------------------------------------------------------------------


def track(*fields: str) -> Effect:
    """A switch for some of opens, clicks_html, clicks_text."""

    def switch(context: HeaderContext, value: Any) -> None:
        wanted = values.yes_or_no(value)
        if wanted is None:
            context.record(STRIP_WARN, UNKNOWN_VALUE)
        else:
            context.decide(**dict.fromkeys(fields, wanted))

    return switch


def track_clicks(words: Mapping[str, tuple[bool, bool]]) -> Effect:
    """Words, in lower case, for whether clicks are tracked in HTML and in text."""

    def choose(context: HeaderContext, value: str) -> None:
        html_and_text = words.get(value.lower())
        if html_and_text is None:
            context.record(STRIP_WARN, UNKNOWN_VALUE)
        else:
            context.decide(clicks_html=html_and_text[0], clicks_text=html_and_text[1])

    return choose


# --- Metadata ---------------------------------------------------------------------------------------------------------


def metadata(context: HeaderContext, value: Any) -> None:
    """A JSON object, as text of a header or already read."""
    context.add_metadata(parse_object(context, value) if isinstance(value, str) else require_object(context, value))


def metadata_as(key: str) -> Effect:
    """One pair: the whole value, whatever its form."""
    return lambda context, value: context.add_metadata({key: value} if value else {})


def metadata_named_by_header(prefix: str) -> Effect:
    """One pair: the header's name after `prefix` is the key."""

    def one(context: HeaderContext, value: str) -> None:
        key = context.header[len(prefix) :]
        context.add_metadata({key: value} if key and value else {})

    return one


# --- Ids of Cakemail, and of other providers through the operator's maps ----------------------------------------------


def template(provider: str) -> Effect:
    """Another provider's template: the body here is then only a fragment of what should be sent."""

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
    """A name that the operator may have mapped; losing an unmapped one is told."""

    def mapped(context: HeaderContext, value: Any) -> None:
        name = values.as_text(value).strip()
        found = known(context).get(name)
        if found is None:
            context.record(STRIP_WARN, f"{name} is not mapped")
        else:
            context.decide(**{field: found})

    return mapped


def idempotency_key(context: HeaderContext, value: str) -> None:
    if not value or len(value) > 256:
        context.record(STRIP_WARN, "must have 1 to 256 characters")
    else:
        context.decide(idempotency_key=value)


# --- Schedules --------------------------------------------------------------------------------------------------------


def schedule(instant: Callable[[Any], float | None]) -> Effect:
    """Cakemail sends at once: a time that has come is now, a later one is refused."""

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
    """Copies to others: without their RCPT, ignoring them loses a copy, and honouring them overrides the envelope."""
    if not all(address in context.recipients for address in values.addresses(value)):
        context.refuse("a copy to an address that has no RCPT")
    context.record(STRIP, "all are recipients already")


# --- Placeholders -----------------------------------------------------------------------------------------------------


def literal_placeholders(context: HeaderContext, value: Any) -> None:
    """A JSON object whose keys stand in the message as they are, to be replaced."""
    keys = [key for key in require_object(context, value) if key]
    if len(keys) > MAX_SUBSTITUTIONS:
        context.refuse(f"replacing more than {MAX_SUBSTITUTIONS} texts in the message")
    refuse_visible(context, [key for key in keys if context.has_text(key)])


def refuse_where(pattern: str) -> Effect:
    """Placeholders of a known form."""
    placeholder = re.compile(pattern, re.IGNORECASE)
    return lambda context, _: refuse_visible(context, sorted(context.search(placeholder)))


def merge_variables(context: HeaderContext, names: Iterable[str]) -> None:
    """Names that stand in the message as `*|NAME|*` or `{{name}}`."""
    visible = context.derive(MERGE_TAG, named_in)
    refuse_visible(context, [name for name in names if name.lower() in visible])


def named_in(tokens: Iterable[str]) -> frozenset[str]:
    """The names in placeholders such as `*|HTML:FNAME|*` or `{{#if fname}}`, in lower case."""
    return frozenset(word for token in tokens for word in (token[2:-2].strip().lower(), *NAME.findall(token.lower())))


def refuse_visible(context: HeaderContext, placeholders: Sequence[str]) -> None:
    """A recipient would read placeholders as they are; variables that nothing refers to are harmless."""
    if placeholders:
        context.refuse(f"replacing {placeholders[0]} in the message")
    context.record(STRIP, "nothing to replace")
