"""Share of the busiest account or client: one number that separates a single misbehaving user from trouble for all.

The id of an account or the address of a client must not become the label of a metric, because their number is not
bounded. The share of the busiest one is a single number. The log shows which one it is.
"""

from collections.abc import Callable, Hashable
from time import monotonic

from prometheus_client import Gauge

WINDOW_SECONDS = 15.0
# With fewer events in a window, one key always has a large share.
MIN_COUNT = 10
# Keys that are counted apart in a window; of the others only the total is counted.
MAX_KEYS = 10_000


class TopShare:
    """Gauge with the share of the busiest key in the last complete window."""

    def __init__(self, gauge: Gauge, clock: Callable[[], float] = monotonic) -> None:
        self.gauge = gauge
        self.clock = clock
        self.ends = clock() + WINDOW_SECONDS
        self.times: dict[Hashable, int] = {}
        self.total = 0

    def count(self, key: Hashable) -> None:
        """Count one event of this key."""
        self.total += 1
        if key in self.times or len(self.times) < MAX_KEYS:
            self.times[key] = self.times.get(key, 0) + 1

    def flush(self) -> None:
        """Set the gauge and begin a new window, once the current window is over."""
        if self.clock() < self.ends:
            return
        self.gauge.set(max(self.times.values()) / self.total if self.total >= MIN_COUNT else 0.0)
        self.ends = self.clock() + WINDOW_SECONDS
        self.times, self.total = {}, 0
