"""Dialect of Resend: Resend-*."""

from smtpgw.dialects.rules import idempotency_key
from smtpgw.dialects.table import MAP, Dialect, Row

RESEND = Dialect(
    name="resend",
    title="Resend",
    prefixes=("resend-",),
    rows=(
        Row(
            "Resend-Idempotency-Key",
            "welcome-user/123456789",
            MAP,
            "",
            "the gateway sends it once; STRIP_WARN over 256 characters",
            idempotency_key,
        ),
    ),
    notes=("X-Entity-Ref-ID is an ordinary header and is delivered.",),
)
