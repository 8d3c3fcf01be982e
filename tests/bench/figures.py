"""The figures of a run, each as a number of units, and how they compare with the baseline's."""

import json
import os
import platform
import ssl
import statistics
import subprocess
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

BASELINE = Path(__file__).with_name("baseline.json")


@dataclass(frozen=True)
class Figure:
    """CPU a message: in milliseconds, and in units."""

    ms: float
    ratio: float


class Samples:
    """What has been measured, by stage."""

    def __init__(self) -> None:
        self.taken: dict[str, list[tuple[float, float]]] = defaultdict(list)

    def add(self, stage: str, ms: float, unit_ms: float) -> None:
        """A sample, and what the unit took while it was taken."""
        self.taken[stage].append((ms, unit_ms))

    def figures(self) -> dict[str, Figure]:
        """The medians."""
        return {
            stage: Figure(statistics.median(ms for ms, _ in taken), statistics.median(ms / unit for ms, unit in taken))
            for stage, taken in self.taken.items()
        }

    def unit_ms(self) -> list[float]:
        """What the unit took, sorted."""
        return sorted(unit for taken in self.taken.values() for _, unit in taken)


# The noise: of ten runs in a row on two virtual cores, each figure's furthest from their median was 4 % for most stages
# and 6 % for some, 14 % for log line and metrics, 7 % end to end (12 % with another load on the machine), and 17 % for
# calls, which have the kernel and the sandbox's pace in them.
TOLERANCES = {"end to end": 0.15, "log line and metrics": 0.15, "API call": 0.2}
TOLERANCE = 0.1


@dataclass(frozen=True)
class Row:
    """A stage, now and at the baseline."""

    stage: str
    now: Figure
    then: Figure | None

    @property
    def change(self) -> float | None:
        """By what share it costs more than at the baseline."""
        return self.now.ratio / self.then.ratio - 1 if self.then else None

    @property
    def tolerance(self) -> float:
        return TOLERANCES.get(self.stage.partition(":")[0], TOLERANCE)

    @property
    def has_grown(self) -> bool:
        """Whether it costs more, by more than the noise."""
        return self.change is not None and self.change > self.tolerance


def compared(now: Mapping[str, Figure], then: Mapping[str, Figure]) -> list[Row]:
    return [Row(stage, figure, then.get(stage)) for stage, figure in now.items()]


def read() -> tuple[dict[str, str], dict[str, Figure]]:
    """The baseline: where it was measured, and its figures."""
    found = json.loads(BASELINE.read_text("utf-8"))
    return found["measured"], {stage: Figure(**figure) for stage, figure in found["figures"].items()}


def write(figures: Mapping[str, Figure]) -> None:
    """Make these the baseline."""
    found: dict[str, Any] = {
        "measured": here(),
        "figures": {stage: {"ms": round(f.ms, 4), "ratio": round(f.ratio, 4)} for stage, f in figures.items()},
    }
    BASELINE.write_text(json.dumps(found, indent=2) + "\n", "utf-8")


def differences(measured: Mapping[str, str]) -> list[str]:
    """What of this machine is not as it was for the baseline, and may move the figures."""
    now = here()
    return [f"{name} {now[name]}" for name in ("python", "openssl", "gevent", "machine") if now[name] != measured[name]]


def here() -> dict[str, str]:
    """What is measured, when and on what."""
    git = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=BASELINE.parent, capture_output=True, text=True
    )
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "commit": git.stdout.strip() or "unknown",
        "python": platform.python_version(),
        "openssl": ssl.OPENSSL_VERSION.partition("  ")[0],
        "gevent": version("gevent"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {processor()}",
    }


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "unknown")
