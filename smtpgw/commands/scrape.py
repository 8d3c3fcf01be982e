"""What `/metrics` says, read once or twice: values, rates and quantiles, as Prometheus would compute them. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

Labels = frozenset[tuple[str, str]]


@dataclass(slots=True)
class Scrape:
    """The samples of one moment, of one process or of several added up."""

    seconds: float  # of a monotonic clock
    samples: dict[str, dict[Labels, float]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(float)))
    least: dict[str, float] = field(default_factory=dict)  # of all series of a name: what it is no sense to add up

    def add(self, page: str) -> None:
        """Add the samples of a page in Prometheus' text format.

        Raises:
            ValueError: when it is none.
        """
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                self.samples[sample.name][frozenset(sample.labels.items())] += sample.value
                self.least[sample.name] = min(sample.value, self.least.get(sample.name, sample.value))

    def value(self, name: str, **labels: str) -> float:
        """The sum of all series of this name that have these labels."""
        wanted = labels.items()
        return sum(value for found, value in self.samples.get(name, {}).items() if wanted <= found)

    def by(self, name: str, label: str, **labels: str) -> dict[str, float]:
        """The sums by the values of a label."""
        wanted, sums = labels.items(), defaultdict[str, float](float)
        for found, value in self.samples.get(name, {}).items():
            if wanted <= found:
                sums[dict(found).get(label, "")] += value
        return dict(sums)


@dataclass(slots=True)
class Interval:
    """Two scrapes of the same, one after the other."""

    before: Scrape
    after: Scrape

    @property
    def seconds(self) -> float:
        return max(self.after.seconds - self.before.seconds, 0.001)

    def rate(self, name: str, **labels: str) -> float:
        """How much a counter grew, a second; 0 where it began anew."""
        grown = self.after.value(name, **labels) - self.before.value(name, **labels)
        return max(grown, 0.0) / self.seconds

    def rates(self, name: str, label: str, **labels: str) -> dict[str, float]:
        """The rates by the values of a label."""
        before = self.before.by(name, label, **labels)
        now = self.after.by(name, label, **labels)
        return {key: max(value - before.get(key, 0.0), 0.0) / self.seconds for key, value in now.items()}

    def quantiles(self, name: str, shares: Iterable[float], **labels: str) -> list[float | None]:
        """Of what a histogram observed in between: the amounts that these shares of it do not exceed."""
        rates = self.rates(f"{name}_bucket", "le", **labels)
        buckets = sorted((float(bound), count) for bound, count in rates.items())
        return [quantile(buckets, share) for share in shares]


def quantile(buckets: list[tuple[float, float]], share: float) -> float | None:
    """As Prometheus' histogram_quantile: buckets are upper bounds and cumulative counts; None where all are empty."""
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


def largest(values: Mapping[str, float], most: int) -> list[tuple[str, float]]:
    """The largest of these, those of 0 left out."""
    ranked = sorted(values.items(), key=lambda item: (-item[1], item[0]))
    return [item for item in ranked if item[1] > 0][:most]
