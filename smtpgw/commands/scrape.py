"""Evaluation of `/metrics`: values, rates and quantiles, computed as Prometheus does. Pure functions."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

Labels = frozenset[tuple[str, str]]


@dataclass(slots=True)
class Scrape:
    """The samples of one moment, from one process or summed over several."""

    seconds: float  # of a monotonic clock
    samples: dict[str, dict[Labels, float]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(float)))
    # The smallest sample by name, for values whose sum has no meaning.
    minimum: dict[str, float] = field(default_factory=dict)

    def add(self, page: str) -> None:
        """Add the samples of a page in Prometheus' text format.

        Raises:
            ValueError: the page is not in this format.
        """
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                self.samples[sample.name][frozenset(sample.labels.items())] += sample.value
                self.minimum[sample.name] = min(sample.value, self.minimum.get(sample.name, sample.value))

    def value(self, name: str, **labels: str) -> float:
        """Return the sum of all series with this name and these labels."""
        wanted = labels.items()
        return sum(value for found, value in self.samples.get(name, {}).items() if wanted <= found)

    def by(self, name: str, label: str, **labels: str) -> dict[str, float]:
        """Return the sums by the values of a label."""
        wanted, sums = labels.items(), defaultdict[str, float](float)
        for found, value in self.samples.get(name, {}).items():
            if wanted <= found:
                sums[dict(found).get(label, "")] += value
        return dict(sums)


@dataclass(slots=True)
class Interval:
    """Two scrapes of the same processes, one after the other."""

    before: Scrape
    after: Scrape

    @property
    def seconds(self) -> float:
        """The time between the scrapes."""
        return max(self.after.seconds - self.before.seconds, 0.001)

    def rate(self, name: str, **labels: str) -> float:
        """Return the increase of a counter per second; 0 if it was reset."""
        grown = self.after.value(name, **labels) - self.before.value(name, **labels)
        return max(grown, 0.0) / self.seconds

    def rates(self, name: str, label: str, **labels: str) -> dict[str, float]:
        """Return the rates by the values of a label."""
        before = self.before.by(name, label, **labels)
        now = self.after.by(name, label, **labels)
        return {key: max(value - before.get(key, 0.0), 0.0) / self.seconds for key, value in now.items()}

    def quantiles(self, name: str, shares: Iterable[float], **labels: str) -> list[float | None]:
        """Return quantiles of the amounts that a histogram has observed between the scrapes."""
        rates = self.rates(f"{name}_bucket", "le", **labels)
        buckets = sorted((float(bound), count) for bound, count in rates.items())
        return [quantile(buckets, share) for share in shares]


def quantile(buckets: list[tuple[float, float]], share: float) -> float | None:
    """Return a quantile as Prometheus' histogram_quantile does; None if all buckets are empty.

    Args:
        buckets: upper bounds and cumulative counts, in ascending order.
        share: the quantile, from 0 to 1.
    """
    if not buckets or not buckets[-1][1]:
        return None
    rank, floor, below = share * buckets[-1][1], 0.0, 0.0
    for bound, count in buckets:
        if count >= rank:
            if bound == float("inf"):
                return floor
            return floor + (bound - floor) * (rank - below) / (count - below) if count > below else bound
        floor, below = bound, count
    return floor


def largest(values: Mapping[str, float], limit: int) -> list[tuple[str, float]]:
    """Return the largest values that are not 0, at most `limit`."""
    ranked = sorted(values.items(), key=lambda item: (-item[1], item[0]))
    return [item for item in ranked if item[1] > 0][:limit]
