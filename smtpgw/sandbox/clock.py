"""How long the API had each message, by the sandbox's own clock: what a load test takes off what it measures itself.

A message to many recipients is many calls at a time. The API had it while at least one of them was under way.
"""

from collections import OrderedDict

MOST_MESSAGES = 50_000  # three minutes of a million an hour; the oldest go first

Span = tuple[float, float]  # beginning and end of a call, in seconds


class Clock:
    def __init__(self, most: int = MOST_MESSAGES) -> None:
        self._most = most
        self._spans: OrderedDict[str, list[Span]] = OrderedDict()

    def add(self, message_id: str, began: float, ended: float) -> None:
        """A call that submitted this message has been answered."""
        self._spans.setdefault(message_id, []).append((began, ended))
        while len(self._spans) > self._most:
            self._spans.popitem(last=False)

    def milliseconds(self, message_id: str) -> float | None:
        """How long at least one call was under way; None for a message that is not known."""
        spans = self._spans.get(message_id)
        return covered(spans) * 1000 if spans else None


def covered(spans: list[Span]) -> float:
    """The time that these cover together, in seconds."""
    total, reached = 0.0, float("-inf")
    for began, ended in sorted(spans):
        total += max(0.0, ended - max(began, reached))
        reached = max(reached, ended)
    return total
