"""How long the API had a message, by the sandbox's own clock: what a load test takes off what it measures itself.

A message to many recipients is many calls at a time. The API had it while at least one of them was under way.
"""

from collections import OrderedDict
from collections.abc import Iterable

MAX_RECIPIENTS = 50_000  # three minutes of a million an hour; the oldest go first

Span = tuple[float, float]  # beginning and end of a call, in seconds


class Clock:
    """Of each recipient, when the last email to them was being submitted."""

    def __init__(self, most: int = MAX_RECIPIENTS) -> None:
        self._most = most
        self._spans: OrderedDict[str, Span] = OrderedDict()

    def add(self, recipient: str, began: float, ended: float) -> None:
        """A call that submitted an email to this recipient is answered."""
        self._spans[recipient] = (began, ended)
        self._spans.move_to_end(recipient)
        while len(self._spans) > self._most:
            self._spans.popitem(last=False)

    def milliseconds(self, recipients: Iterable[str]) -> float | None:
        """How long at least one of their calls was under way; None where one of them is not known."""
        spans = [self._spans.get(recipient) for recipient in recipients]
        known = [span for span in spans if span]
        return covered(known) * 1000 if known and len(known) == len(spans) else None


def covered(spans: list[Span]) -> float:
    """The time that these cover together, in seconds."""
    total, reached = 0.0, float("-inf")
    for began, ended in sorted(spans):
        total += max(0.0, ended - max(began, reached))
        reached = max(reached, ended)
    return total
