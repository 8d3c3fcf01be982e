"""Buffered Prometheus instruments, for events that every message causes.

The instruments of prometheus_client are expensive on the path of a message, the more so with several workers, where
their values are in shared files. `count` and `add` only change plain numbers. `flush`, which runs twice a second,
passes the sums on, and so does each scrape of a single process. See docs/performance.md.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import prometheus_client
from prometheus_client import Metric

Labels = tuple[str | int, ...]


class Counter(prometheus_client.Counter):
    """Counter with a buffered method, `count`. `inc` works as usual."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.pending: defaultdict[Labels, int] = defaultdict(int)

    def count(self, *labels: str | int) -> None:
        """Count one event.

        Args:
            labels: the values of the labels, in the order of their declaration.
        """
        self.pending[labels] += 1

    def flush(self) -> None:
        """Pass the buffered counts on to prometheus_client."""
        pending, self.pending = self.pending, defaultdict(int)
        for labels, times in pending.items():
            (self.labels(*labels) if labels else self).inc(times)

    def collect(self) -> Iterable[Metric]:
        self.flush()
        return super().collect()


class Histogram(prometheus_client.Histogram):
    """Histogram with a buffered method, `add`. `observe` works as usual."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.pending: dict[Labels, tuple[list[int], list[float]]] = {}

    def add(self, amount: float, *labels: str | int) -> None:
        """Observe an amount.

        Args:
            amount: the amount.
            labels: the values of the labels, in the order of their declaration.
        """
        try:
            times, total = self.pending[labels]
        except KeyError:
            times, total = self.pending[labels] = [0] * len(self._upper_bounds), [0.0]
        times[bisect_left(self._upper_bounds, amount)] += 1
        total[0] += amount

    def flush(self) -> None:
        """Pass the buffered amounts on to prometheus_client."""
        pending, self.pending = self.pending, {}
        for labels, (times, total) in pending.items():
            child = self.labels(*labels) if labels else self
            child._sum.inc(total[0])
            for bucket, n in zip(child._buckets, times, strict=True):
                if n:
                    bucket.inc(n)

    def collect(self) -> Iterable[Metric]:
        self.flush()
        return super().collect()
