"""What `make observe` draws: the dashboard's first row and the alerts as strips over time, and its main panels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.axes import Axes

from tests.observability.dashboards import WINDOW, alerts, colour, filled, first_row, panels, scaled
from tests.observability.prometheus import Prometheus

SHOWN = (
    "Messages a second, by result", "Refusals, the ten most", "Error replies a second, by command",
    "DATA to reply", "What we add", "API: POST /v2/emails",
    "API: calls a second, by endpoint and status", "API: under way and waiting", "Largest shares",
    "Open sessions, by pod", "Limits hit a second", "How late greenlets run",
)  # fmt: skip
TITLE = "The dashboard of a gateway with troubles. Rules count seconds as minutes; shares show some 15 s late."
SIZE_INCHES = (21, 21)
UNITS = {"s": "seconds", "reqps": "a second", "percentunit": "share"}
COLUMNS = 3
TINTS = ("#ffffff", "#fff3d6", "#ffe3e3", "#e6e3ff", "#dff3ea", "#ffffff")  # of the phases; calm ones have none
COLOURS = {"green": "#73bf69", "red": "#e02f44"}
ALERT_COLOUR = "#8f3bb8"
SHORT_WINDOW = "6s"  # a small part of a phase
MAX_SERIES = 8  # in the legend of a panel
HEADROOM = 1.15
DOTS_PER_INCH = 80

Points = list[tuple[float, float]]  # seconds and value
Series = tuple[str, Points]  # with its name


@dataclass
class Picture:
    """Of a time that began then, and had these phases of so many seconds each."""

    prometheus: Prometheus
    began: float
    seconds: float
    phases: Sequence[str]

    def save(self, path: Path) -> None:
        figure = pyplot.figure(figsize=SIZE_INCHES, layout="constrained")
        figure.suptitle(TITLE)
        above, below = figure.subfigures(2, height_ratios=[1, 3])
        self._draw_strips(above.subplots())
        by_title = {panel["title"]: panel for panel in panels("smtpgw")}
        for axis, title in zip(below.subplots(len(SHOWN) // COLUMNS, COLUMNS).flat, SHOWN, strict=True):
            self._draw_panel(axis, by_title[title])
        path.parent.mkdir(exist_ok=True)
        figure.savefig(path, dpi=DOTS_PER_INCH)

    def _series(self, expression: str, legend: str = "") -> list[Series]:
        """The series of a query over all the time."""
        found = self.prometheus.query_range(expression, self.began, self.began + self._end, 1)
        return [(named(legend, one["metric"]), self._points(one["values"])) for one in found]

    def _points(self, values: Sequence[tuple[float, str]]) -> Points:
        return [(float(when) - self.began, float(value)) for when, value in values if math.isfinite(float(value))]

    @property
    def _end(self) -> float:
        return self.seconds * len(self.phases)

    def _draw_strips(self, axis: Axes) -> None:
        """The first row, each panel in its colours with its value at the end of a phase; then the alerts that fire."""
        names: list[str] = []
        for panel in first_row():
            expression = scaled(filled(panel["targets"][0]["expr"].replace("$__rate_interval", SHORT_WINDOW)))
            for _, points in self._series(expression):
                for when, value in points:
                    axis.barh(len(names), 1, left=when, color=COLOURS[colour(panel, value)])
                for number in range(len(self.phases)):
                    self._write_last(axis, len(names), (number + 1) * self.seconds, points, panel)
            names.append(panel["title"])
        fired = dict(self._series('ALERTS{alertstate="firing"}', "{{alertname}}"))
        for name in [name for name in alerts() if name in fired]:
            for when, _ in fired[name]:
                axis.barh(len(names), 1, left=when, color=ALERT_COLOUR)
            names.append(f"alert {name}")
        axis.set_yticks(range(len(names)), names)
        axis.invert_yaxis()
        self._draw_phases(axis)
        for number, phase in enumerate(self.phases):
            middle = (number + 0.5) * self.seconds
            axis.text(middle, 1.02, phase, transform=axis.get_xaxis_transform(), ha="center", va="bottom", fontsize=11)

    def _write_last(self, axis: Axes, row: int, end: float, points: Points, panel: dict[str, Any]) -> None:
        """The value that a panel had at the end of a phase."""
        before = [value for when, value in points if end - self.seconds < when < end]
        if before:
            text = written(before[-1], panel["fieldConfig"]["defaults"]["unit"])
            axis.text(end - 0.4, row, text, ha="right", va="center", fontsize=9, color="white", weight="bold")

    def _draw_panel(self, axis: Axes, panel: dict[str, Any]) -> None:
        """One panel: its queries over all the time, stacked where the dashboard stacks them, with its threshold."""
        defaults = panel["fieldConfig"]["defaults"]
        series = [
            one
            for target in panel["targets"]
            for one in self._series(filled(target["expr"]).replace(WINDOW, SHORT_WINDOW), target["legendFormat"])
            if any(value for _, value in one[1])
        ]
        series.sort(key=lambda one: -max(value for _, value in one[1]))
        is_stacked = "stacking" in defaults.get("custom", {})
        top = draw_stacked(axis, series) if is_stacked else draw_lines(axis, series)
        for step in defaults.get("thresholds", {"steps": []})["steps"]:
            if step["value"] is not None:
                axis.axhline(step["value"], color="red", linestyle="--", linewidth=0.8)
                top = max(top, step["value"])
        axis.set_title(panel["title"], fontsize=11)
        axis.set_ylabel(UNITS.get(defaults["unit"], ""))
        axis.set_ylim(0, top * HEADROOM or 1)
        self._draw_phases(axis)
        handles, labels = axis.get_legend_handles_labels()
        if labels:
            handles, labels = handles[:MAX_SERIES], labels[:MAX_SERIES]
            axis.legend(
                handles, labels, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=4, frameon=False
            )

    def _draw_phases(self, axis: Axes) -> None:
        axis.set_xlim(0, self._end)
        for number, tint in enumerate(TINTS):
            axis.axvspan(number * self.seconds, (number + 1) * self.seconds, color=tint, zorder=0)
            axis.axvline(number * self.seconds, color="#bbbbbb", linewidth=0.6, zorder=0)


def draw_lines(axis: Axes, series: list[Series]) -> float:
    """Lines, the first ones broad, so that one that lies under others is seen; returns the highest value."""
    for number, (name, points) in enumerate(series):
        axis.plot(*zip(*points, strict=True), label=name, linewidth=max(1.2, 3 - 0.7 * number))
    return max((value for _, points in series for _, value in points), default=0.0)


def draw_stacked(axis: Axes, series: list[Series]) -> float:
    """Areas on top of each other; returns their highest sum."""
    if not series:
        return 0.0
    at = [{round(when): value for when, value in points} for _, points in series]
    whens = range(min(map(min, at)), max(map(max, at)) + 1)  # a series that is not there for a while is 0
    heights = [[values.get(when, 0.0) for when in whens] for values in at]
    axis.stackplot(whens, heights, labels=[name for name, _ in series], alpha=0.75)
    return max(map(sum, zip(*heights, strict=True)))


def written(value: float, unit: str) -> str:
    """A value as a panel of this unit has it."""
    if unit == "s":
        return f"{value:.2g} s" if value >= 1 else f"{value * 1000:.2g} ms"
    return f"{value:.0%}" if unit == "percentunit" else f"{value:.0f} days"


def named(legend: str, metric: dict[str, str]) -> str:
    """The name of a series, as a panel has it."""
    for label, value in metric.items():
        legend = legend.replace(f"{{{{{label}}}}}", value)
    return legend
