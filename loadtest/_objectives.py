"""The objectives, what was measured, and the verdict: a table, and the exit status of locust."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

MIN_KNOWN = 0.9  # of the accepted messages, whose overhead must have been measured


@dataclass(frozen=True, slots=True)
class Overhead:
    """`p95_ms` by the clock that `by` names; `known` of so many messages."""

    by: str
    p95_ms: float | None
    known: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What came of the time in which the rate was held."""

    seconds: float
    accepted: int
    attempts: int
    failures: int
    p99_ms: Mapping[str, float] = field(default_factory=dict)  # by step
    overhead: Overhead | None = None
    bugs: int = 0  # exceptions of the load test itself


@dataclass(frozen=True, slots=True)
class Row:
    objective: str
    target: str
    measured: str
    held: bool | None  # None: not judged


@dataclass(frozen=True, slots=True, kw_only=True)
class Objectives:
    target_per_hour: float
    p99_ms: float
    overhead_p95_ms: float
    failure_share: float

    def judge(self, found: Measured) -> list[Row]:
        per_hour = found.accepted / found.seconds * 3600 if found.seconds else 0.0
        failed = found.failures / found.attempts if found.attempts else 1.0
        return [
            Row(
                "accepted an hour",
                f"at least {self.target_per_hour:,.0f}",
                f"{per_hour:,.0f} ({found.accepted:,} in {found.seconds:.0f} s)",
                per_hour >= self.target_per_hour,
            ),
            *(
                Row(f"{step}, p99", f"at most {self.p99_ms:,.0f} ms", f"{ms:,.0f} ms", ms <= self.p99_ms)
                for step, ms in found.p99_ms.items()
            ),
            self._overhead(found),
            Row(
                "failures",
                f"at most {self.failure_share:.2%}",
                f"{failed:.2%} ({found.failures:,} of {found.attempts:,})",
                failed <= self.failure_share,
            ),
            *([Row("the load test itself", "no exceptions", f"{found.bugs}", False)] if found.bugs else []),
        ]

    def _overhead(self, found: Measured) -> Row:
        name, target = "overhead, p95", f"at most {self.overhead_p95_ms:,.0f} ms"
        if found.overhead is None:
            return Row(name, target, "not measured: neither --sandbox-url nor --metrics-url", None)
        by, p95_ms, known = found.overhead.by, found.overhead.p95_ms, found.overhead.known
        if p95_ms is None or known < MIN_KNOWN * found.accepted:
            return Row(name, target, f"of too few messages, {known:,}, by {by}", False)
        return Row(name, target, f"{p95_ms:,.0f} ms, by {by}", p95_ms <= self.overhead_p95_ms)


def exit_status(rows: Sequence[Row]) -> int:
    return int(any(row.held is False for row in rows))


def table(rows: Sequence[Row]) -> str:
    """The verdict for people."""
    held = {True: "held", False: "MISSED", None: "not judged"}
    cells = [("objective", "target", "measured", "")]
    cells += [(row.objective, row.target, row.measured, held[row.held]) for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])
