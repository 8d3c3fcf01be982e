"""Types of a dialect's table, which has a row for each control header and each key of a JSON header."""

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

# An effect takes the text of a header, decoded and stripped, or a JSON value.
Effect = Callable[[HeaderContext, Any], None]


@dataclass(frozen=True, slots=True)
class Row:
    """A control header and its treatment."""

    # "X-Mailgun-Tag", "X-PM-Metadata-*" for all headers with a prefix, or the path of a JSON key in `Dialect.keys`.
    name: str
    # A value as applications send it.
    example: str
    verdict: Verdict
    # The field of the API; for REFUSE, the feature that the reply names as not supported.
    becomes: str = ""
    # One line for people, which names the cases with another verdict.
    reason: str = ""
    # The function that applies the row. Without one, the verdict applies to every value.
    effect: Effect | None = None
    # Whether the customer chooses the keys inside the value, so that they are never control keys.
    free_keys: bool = False

    def apply(self, context: HeaderContext, header: str, value: Any) -> None:
        """Apply the row to one value. A test mode takes precedence over the effect of the row.

        Args:
            context: The context of the message.
            header: The name for people of the header or the path of the JSON key.
            value: The text of the header, decoded and stripped, or a JSON value.

        Raises:
            HeaderError: The message must be rejected.
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
        """Discard the message in a known test mode, and reject it in an unknown one, unless the value turns it off."""
        if values.is_negative(value):
            context.record(STRIP, "test mode is off")
        elif self.verdict is DISCARD:
            context.discard = context.discard or context.header
            context.record(DISCARD, "test mode")
        else:
            context.refuse("this test mode")


@dataclass(frozen=True, slots=True)
class Dialect:
    """The control headers of one provider."""

    name: str
    title: str
    rows: tuple[Row, ...]
    # Prefixes in lower case. Every header with one of them is a control header, even if it has no row.
    prefixes: tuple[str, ...] = ()
    # Rows for the keys of the header that is one JSON object.
    keys: tuple[Row, ...] = ()
    # Ends of the addresses of the provider's mailbox simulator.
    test_domains: tuple[str, ...] = ()
    # Further information for customers.
    notes: tuple[str, ...] = ()
