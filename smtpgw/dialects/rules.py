"""What rows do that several providers share: tags, tracking, metadata, schedules, templates, recipients, placeholders.

Each rule is a function that is an effect, or that makes one from what a provider calls things.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from smtpgw.dialects import values
from smtpgw.dialects.context import HeaderContext
from smtpgw.dialects.json_keys import inner_object, parsed_object
from smtpgw.dialects.table import STRIP, STRIP_WARN, Effect

CLOCK_SKEW_SECONDS = 60  # a schedule so little ahead is "now"
MAX_SUBSTITUTIONS = 100  # each is looked for in the whole message
MAX_TIMES = 10_000  # of send_each_at, one a recipient
UNREADABLE = "not a value we know"
# Longer ones are text that happens to have braces.
MERGE_TAG = re.compile(r"\*\|[^|\r\n]{1,200}\|\*|\{\{[^{}]{1,200}\}\}")
NAME = re.compile(r"[^\s{}()#/^&*|:=]+")


def first_instance(effect: Effect) -> Effect:
    """Of a header that is repeated, the provider reads only the first."""

    def once(reading: HeaderContext, value: Any) -> None:
        if reading.repeated:
            reading.found(STRIP, "repeated; the first counts")
        else:
            effect(reading, value)

    return once


# --- Tags -------------------------------------------------------------------------------------------------------------


def tags(reading: HeaderContext, value: Any) -> None:
    """One tag, or a JSON list of them."""
    reading.add_tags([text for text in values.texts(value) if text.strip()])


def comma_separated_tags(reading: HeaderContext, value: str) -> None:
    reading.add_tags(values.comma_separated(value))


# --- Tracking ---------------------------------------------------------------------------------------------------------


def track(*fields: str) -> Effect:
    """A switch for some of opens, clicks_html, clicks_text."""

    def switch(reading: HeaderContext, value: Any) -> None:
        wanted = values.yes_or_no(value)
        if wanted is None:
            reading.found(STRIP_WARN, UNREADABLE)
        else:
            reading.decide(**dict.fromkeys(fields, wanted))

    return switch


def track_clicks(words: Mapping[str, tuple[bool, bool]]) -> Effect:
    """Words, in lower case, for whether clicks are tracked in HTML and in text."""

    def choose(reading: HeaderContext, value: str) -> None:
        html_and_text = words.get(value.lower())
        if html_and_text is None:
            reading.found(STRIP_WARN, UNREADABLE)
        else:
            reading.decide(clicks_html=html_and_text[0], clicks_text=html_and_text[1])

    return choose


# --- Metadata ---------------------------------------------------------------------------------------------------------


def metadata(reading: HeaderContext, value: Any) -> None:
    """A JSON object, as text of a header or already read."""
    reading.add_metadata(parsed_object(reading, value) if isinstance(value, str) else inner_object(reading, value))


def metadata_as(key: str) -> Effect:
    """One pair: the whole value, whatever its form."""
    return lambda reading, value: reading.add_metadata({key: value} if value else {})


def metadata_named_by_header(prefix: str) -> Effect:
    """One pair: the header's name after `prefix` is the key."""

    def one(reading: HeaderContext, value: str) -> None:
        key = reading.header[len(prefix) :]
        reading.add_metadata({key: value} if key and value else {})

    return one


# --- Ids of Cakemail, and of other providers through the operator's maps ----------------------------------------------


def template(provider: str) -> Effect:
    """Another provider's template: the body here is then only a fragment of what should be sent."""

    def mapped(reading: HeaderContext, value: Any) -> None:
        name = values.as_text(value).strip()
        known = reading.mapping.templates.get(provider, {})
        found = known.get(name, known.get(name.partition("|")[0].strip()))
        if not name:
            reading.found(STRIP, "no template")
        elif found is None:
            reading.refuse(f"template {name}, which no Cakemail template is mapped to,")
        else:
            reading.decide(template_id=found)

    return mapped


def look_up(field: str, known: Callable[[HeaderContext], Mapping[str, Any]]) -> Effect:
    """A name that the operator may have mapped; losing an unmapped one is told."""

    def mapped(reading: HeaderContext, value: Any) -> None:
        name = values.as_text(value).strip()
        found = known(reading).get(name)
        if found is None:
            reading.found(STRIP_WARN, f"{name} is not mapped")
        else:
            reading.decide(**{field: found})

    return mapped


def idempotency_key(reading: HeaderContext, value: str) -> None:
    if not value or len(value) > 256:
        reading.found(STRIP_WARN, "must have 1 to 256 characters")
    else:
        reading.decide(idempotency_key=value)


# --- Schedules --------------------------------------------------------------------------------------------------------


def schedule(instant: Callable[[Any], float | None]) -> Effect:
    """Cakemail sends at once: a time that has come is now, a later one is refused."""

    def check(reading: HeaderContext, value: Any) -> None:
        if value is None or value == []:
            reading.found(STRIP)
            return
        times = value if isinstance(value, list) else [value]
        if len(times) > MAX_TIMES:
            reading.invalid(f"has more than {MAX_TIMES} times")
        for item in times:
            when = instant(item)
            if when is None:
                reading.invalid("the time cannot be read")
            if when > reading.now + CLOCK_SKEW_SECONDS:
                reading.refuse("sending at a later time")
        reading.found(STRIP, "the time has come")

    return check


# --- Recipients -------------------------------------------------------------------------------------------------------


def extra_recipients(reading: HeaderContext, value: Any) -> None:
    """Copies to others: without their RCPT, ignoring them loses a copy, and honouring them overrides the envelope."""
    if not all(address in reading.recipients for address in values.addresses(value)):
        reading.refuse("a copy to an address that has no RCPT")
    reading.found(STRIP, "all are recipients already")


# --- Placeholders -----------------------------------------------------------------------------------------------------


def literal_placeholders(reading: HeaderContext, value: Any) -> None:
    """A JSON object whose keys stand in the message as they are, to be replaced."""
    keys = [key for key in inner_object(reading, value) if key]
    if len(keys) > MAX_SUBSTITUTIONS:
        reading.refuse(f"replacing more than {MAX_SUBSTITUTIONS} texts in the message")
    refuse_visible(reading, [key for key in keys if reading.occurs(key)])


def refuse_where(pattern: str) -> Effect:
    """Placeholders of a known form."""
    placeholder = re.compile(pattern, re.IGNORECASE)
    return lambda reading, _: refuse_visible(reading, sorted(reading.search(placeholder)))


def merge_variables(reading: HeaderContext, names: Iterable[str]) -> None:
    """Names that stand in the message as `*|NAME|*` or `{{name}}`."""
    visible = reading.derived(MERGE_TAG, named_in)
    refuse_visible(reading, [name for name in names if name.lower() in visible])


def named_in(tokens: Iterable[str]) -> frozenset[str]:
    """The names in placeholders such as `*|HTML:FNAME|*` or `{{#if fname}}`, in lower case."""
    return frozenset(word for token in tokens for word in (token[2:-2].strip().lower(), *NAME.findall(token.lower())))


def refuse_visible(reading: HeaderContext, placeholders: Sequence[str]) -> None:
    """A recipient would read placeholders as they are; variables that nothing refers to are harmless."""
    if placeholders:
        reading.refuse(f"replacing {placeholders[0]} in the message")
    reading.found(STRIP, "nothing to replace")
