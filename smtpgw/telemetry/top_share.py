"""How much of something one account, or one client, has: what tells one that has gone mad from trouble for all.

An account's id or a client's address must not become the label of a metric, since there is no end of them. The share of
the largest of them is one number. Which one it is, the log says.
"""

from collections.abc import Callable, Hashable
from time import monotonic

from prometheus_client import Gauge

WINDOW_SECONDS = 15.0
LEAST = 10  # in a window; of fewer, one always has a large share
MAX_KEYS = 10_000  # told apart in a window


class TopShare:
    """The share of the largest in the last window that is over."""

    def __init__(self, gauge: Gauge, clock: Callable[[], float] = monotonic) -> None:
        self.gauge = gauge
        self.clock = clock
        self.ends = clock() + WINDOW_SECONDS
        self.times: dict[Hashable, int] = {}
        self.total = 0

    def count(self, key: Hashable) -> None:
        """Once more for this one."""
        self.total += 1
        if key in self.times or len(self.times) < MAX_KEYS:
            self.times[key] = self.times.get(key, 0) + 1

    def flush(self) -> None:
        """Publish, when a window is over."""
        if self.clock() < self.ends:
            return
        self.gauge.set(max(self.times.values()) / self.total if self.total >= LEAST else 0.0)
        self.ends = self.clock() + WINDOW_SECONDS
        self.times, self.total = {}, 0
