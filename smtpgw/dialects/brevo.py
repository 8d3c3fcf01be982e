"""Dialect of Brevo (formerly Sendinblue): X-Mailin-*, X-Sib-*, and names of its API as headers."""

from smtpgw.dialects import values
from smtpgw.dialects.context import HeaderContext
from smtpgw.dialects.json_keys import parse_object
from smtpgw.dialects.rules import idempotency_key, metadata, refuse_where, tags, template
from smtpgw.dialects.table import DISCARD, MAP, STRIP, STRIP_WARN, Dialect, Row

# Matches {{params.name}} and {{ params.name }}.
PARAMS = r"\{\{\s{0,20}params\.[^{}]{1,200}\}\}"


def custom(context: HeaderContext, value: str) -> None:
    """Add metadata from a JSON object or from `key:value|key:value`."""
    pairs = None if value.startswith(("{", "[")) else values.pairs(value)
    if pairs is None:
        metadata(context, value)
    else:
        context.add_metadata(pairs)


def params(context: HeaderContext, value: str) -> None:
    """Reject the message if it contains a placeholder of Brevo's parameters."""
    parse_object(context, value)
    refuse_where(PARAMS)(context, value)


BREVO = Dialect(
    name="brevo",
    title="Brevo (Sendinblue)",
    prefixes=("x-mailin-", "x-sib-"),
    rows=(
        Row("X-Mailin-Tag", "welcome", MAP, "tags", "accents and spaces are made to fit", tags),
        Row("X-Mailin-custom", '{"order":"1"}', STRIP_WARN, "X-Metadata-…", "metadata, or key:value|key:value", custom),
        Row("X-Sib-Sandbox", "drop", DISCARD, "", "test mode, unless no, false, 0, off or none"),
        Row("sender.ip", "1.2.3.4", STRIP, "", "Cakemail decides"),
        Row("idempotencyKey", "6ba7b810-9dad-11d1", MAP, "", "the gateway sends it once", idempotency_key),
        Row(
            "templateId",
            "1",
            MAP,
            "content.template.id",
            "through the operator's map; REFUSE when unmapped",
            template("brevo"),
        ),
        Row("params", '{"name":"Ben"}', STRIP, "", "REFUSE when {{params.…}} stands in the message", params),
        Row("X-SIB-API", "1", STRIP_WARN, "", "not documented"),
        Row("X-Mailin-Client", "1", STRIP_WARN, "", "not documented"),
        Row("X-Mailin-IP", "1.2.3.4", STRIP_WARN, "", "not documented"),
    ),
)
