"""Dialect of Symfony Mailer and Laravel, which write these headers for tags and metadata without a provider."""

from smtpgw.dialects.rules import metadata_named_by_header, tags
from smtpgw.dialects.table import MAP, STRIP_WARN, Dialect, Row

FRAMEWORKS = Dialect(
    name="frameworks",
    title="Symfony Mailer and Laravel",
    rows=(
        Row("X-Tag", "password-reset", MAP, "tags", "accents and spaces are made to fit", tags),
        Row(
            "X-Metadata-*",
            "12345",
            STRIP_WARN,
            "X-Metadata-…",
            "metadata; delivered only if the operator enables it",
            metadata_named_by_header("X-Metadata-"),
        ),
    ),
)
