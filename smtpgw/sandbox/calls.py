"""How often each endpoint was called, what came of it, and how long the sandbox itself took.

A load test subtracts the sandbox's own time from what it measures, and sees that the sandbox was not the brake.
"""

from collections import Counter, deque
from dataclasses import dataclass, field

SAMPLES = 10_000  # the last ones of an endpoint, for percentiles


class Durations:
    """Durations of one kind, in milliseconds."""

    def __init__(self) -> None:
        self._sum = self._max = 0.0
        self._last: deque[float] = deque(maxlen=SAMPLES)

    def add(self, seconds: float) -> None:
        milliseconds = seconds * 1000
        self._sum += milliseconds
        self._max = max(self._max, milliseconds)
        self._last.append(milliseconds)

    def described(self) -> dict[str, float]:
        ordered = sorted(self._last)
        percentiles = {f"p{p}": ordered[len(ordered) * p // 100] for p in (50, 95, 99)} if ordered else {}
        return {name: round(ms, 3) for name, ms in {"sum": self._sum, **percentiles, "max": self._max}.items()}


@dataclass
class Endpoint:
    """One endpoint. `outcomes` is by status, or by the kind of fault where no whole answer was sent."""

    outcomes: Counter[str] = field(default_factory=Counter)
    own: Durations = field(default_factory=Durations)  # of work, waits left out
    total: Durations = field(default_factory=Durations)  # from the head of the request to the answer
    under_way: int = 0
    most_under_way: int = 0


class Calls:
    def __init__(self) -> None:
        self._endpoints: dict[str, Endpoint] = {}

    def begin(self, name: str) -> Endpoint:
        endpoint = self._endpoints.setdefault(name, Endpoint())
        endpoint.under_way += 1
        endpoint.most_under_way = max(endpoint.most_under_way, endpoint.under_way)
        return endpoint

    def clear(self) -> None:
        self._endpoints.clear()

    def described(self) -> dict[str, dict[str, object]]:
        return {
            name: {
                "calls": endpoint.outcomes.total(),
                "outcomes": dict(endpoint.outcomes),
                "most_under_way": endpoint.most_under_way,
                "own_ms": endpoint.own.described(),
                "total_ms": endpoint.total.described(),
            }
            for name, endpoint in sorted(self._endpoints.items())
        }
