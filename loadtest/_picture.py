"""Draws the rate and the latency of a run over its time, from the history that locust writes: `_picture.py CSV SVG`."""

import csv
import sys
from collections import defaultdict
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import itertools

from matplotlib import pyplot
from matplotlib.axes import Axes

MESSAGES, OVERHEAD = "DATA→reply", "overhead"  # as locust's tables name them
PERCENTILES = {"50%": "p50", "95%": "p95", "99%": "p99"}
MILLION_AN_HOUR = 1_000_000 / 3600  # a second
WINDOW_SECONDS = 10  # locust's: each percentile is of so long before

Rows = list[dict[str, str]]
Points = list[tuple[float, float]]


def history(path: Path) -> dict[str, Rows]:
    """The rows of each line of locust's tables."""
    rows = defaultdict(list)
    with path.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            rows[row["Name"]].append(row)
    return rows


def rates(rows: Rows) -> Points:
    """Messages a second. The counts begin anew at the end of the ramp."""
    points = []
    for before, now in itertools.pairwise(rows):
        count, seconds = float(now["Total Request Count"]), float(now["Timestamp"]) - float(before["Timestamp"])
        grown = count - float(before["Total Request Count"])
        if seconds and grown >= 0:
            points.append((float(now["Timestamp"]), grown / seconds))
    return points


def latencies(rows: Rows, percentile: str) -> Points:
    """In milliseconds, from where there are some on."""
    return [(float(row["Timestamp"]), float(row[percentile])) for row in rows if row[percentile] not in ("N/A", "0")]


def draw(axis: Axes, points: Points, began: float, label: str, **style: object) -> None:
    if points:
        axis.plot(*zip(*((when - began, value) for when, value in points), strict=True), label=label, **style)


def main(source: Path, picture: Path) -> None:
    lines = history(source)
    began = float(lines["Aggregated"][0]["Timestamp"])
    pyplot.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "loadtest", "font.family": "sans-serif"}
    figure, (rate, latency) = pyplot.subplots(2, 1, sharex=True, figsize=(9, 6), layout="constrained")
    draw(rate, rates(lines[MESSAGES]), began, "accepted")
    rate.axhline(MILLION_AN_HOUR, label="a million an hour", linestyle="--", linewidth=1, color="gray")
    rate.set_ylabel("messages a second")
    for percentile, name in PERCENTILES.items():
        draw(latency, latencies(lines[MESSAGES], percentile), began, f"{MESSAGES}, {name}")
    draw(latency, latencies(lines[OVERHEAD], "95%"), began, f"{OVERHEAD}, p95", linestyle=":", color="black")
    latency.set_ylabel(f"milliseconds, of the last {WINDOW_SECONDS} s")
    latency.set_xlabel("seconds")
    for axis in (rate, latency):
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
        axis.legend(loc="lower right" if axis is rate else "best")
    figure.savefig(picture, metadata={"Date": None})


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
