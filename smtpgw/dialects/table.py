"""The shape of a provider's table: a row for each control header, or each key of a header that is JSON."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from smtpgw.dialects import values
from smtpgw.dialects.context import HeaderContext
from smtpgw.dialects.options import Verdict

MAP = Verdict.MAP
STRIP = Verdict.STRIP
STRIP_WARN = Verdict.STRIP_WARN
REFUSE = Verdict.REFUSE
DISCARD = Verdict.DISCARD

Effect = Callable[[HeaderContext, Any], None]  # of a header's text, decoded and stripped, or of a JSON value


@dataclass(frozen=True, slots=True)
class Row:
    """One control header and what becomes of it."""

    name: str  # "X-Mailgun-Tag"; "X-PM-Metadata-*" for all that begin so; among `keys` the path of a JSON key
    example: str  # a value as applications send it
    verdict: Verdict
    becomes: str = ""  # the field of the API; for REFUSE, what the reply says is not supported
    reason: str = ""  # one line for people, naming the case of another verdict
    effect: Effect | None = None  # what to do; without one the verdict says it all
    free_keys: bool = False  # the keys inside the value are the customer's own words, and never control

    def apply(self, context: HeaderContext, header: str, value: Any) -> None:
        """Apply the row to one value. A test mode comes before everything else that a row may say.

        Args:
            context: of the message.
            header: the header, or the path of a JSON key, as people know it.
            value: a header's text, decoded and stripped, or a JSON value.
        """
        context.begin_row(header)
        if self.verdict is DISCARD or values.TEST_MODE_NAME.search(self.name):
            self._apply_test_mode(context, value)
        elif self.effect:
            self.effect(context, value)
        elif self.verdict is REFUSE:
            context.refuse(self.becomes)
        else:
            context.record(self.verdict, self.reason)

    def _apply_test_mode(self, context: HeaderContext, value: Any) -> None:
        """Accept and drop where this is known to mean that; nothing else that looks like a test is sent for real."""
        if values.is_negative(value):
            context.record(STRIP, "test mode is off")
        elif self.verdict is DISCARD:
            context.discard = context.discard or context.header
            context.record(DISCARD, "test mode")
        else:
            context.refuse("this test mode")


@dataclass(frozen=True, slots=True)
class Dialect:
    """All that is known of one provider's control headers."""

    name: str
    title: str
    rows: tuple[Row, ...]
    prefixes: tuple[str, ...] = ()  # lower case; headers that begin so are control headers, known or not
    keys: tuple[Row, ...] = ()  # of the header that is one JSON object
    test_domains: tuple[str, ...] = ()  # how addresses of the provider's mailbox simulator end
    notes: tuple[str, ...] = ()  # what else a customer should know
