"""`make observe`: the dashboard's main panels, drawn from what a real Prometheus scraped of a gateway with troubles.

Sandbox, gateway and Prometheus run on this machine for a minute and a half, while apps send and the troubles of the
runbook come one after the other: the API slow, one customer refused, one client flooding.
"""

import contextlib
import sys
import threading
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.axes import Axes

from smtpgw.sandbox.accounts import OTHER, OTHER_SENDER
from tests.gateway import ROOT, SENDER, Gateway
from tests.observability.clients import Clock, connected, flood, send_all_day
from tests.observability.dashboards import WINDOW, filled, panels
from tests.observability.prometheus import RULES, Prometheus, gateway_target
from tests.sandbox import Sandbox

PICTURE = ROOT / "build/observe.png"
SHOWN = (
    "Messages a second, by result", "Refusals, the ten most", "Error replies a second, by command",
    "DATA to reply", "What we add", "API: POST /v2/emails",
    "API: calls a second, by endpoint and status", "API: under way and waiting", "Largest shares",
    "Open sessions, by pod", "Limits hit a second", "How late greenlets run",
)  # fmt: skip
UNITS = {"s": "seconds", "reqps": "a second", "percentunit": "share"}
COLUMNS = 3
PHASE_SECONDS = 18.0
PHASES = ("calm", "the API is slow", "one customer is refused", "one client floods", "calm again")
SHORT_WINDOW = "6s"  # a small part of a phase
MOST_SERIES = 8  # in the legend of a panel


def main(arguments: list[str]) -> int:
    """Play, scrape and draw; prints where the picture is."""
    parser = ArgumentParser("make observe", description="Draw the dashboard's main panels of a gateway with troubles.")
    parser.add_argument("--phase-seconds", type=float, default=PHASE_SECONDS, help=f"{PHASE_SECONDS:g} by default")
    seconds = parser.parse_args(arguments).phase_seconds
    with TemporaryDirectory() as folder, Sandbox(latency_ms=20) as sandbox:
        variables = {"SMTPGW_TRUSTED_CIDRS": "192.0.2.0/24", "SMTPGW_MAX_SESSIONS_PER_ADDRESS": "12"}
        with (
            Gateway(sandbox.url, Path(folder), **variables) as gateway,
            Prometheus(Path(folder), {"smtpgw": [gateway_target(gateway)]}, RULES) as prometheus,
        ):
            began = time.time()
            for phase in play(sandbox, gateway, seconds):
                print(f"{time.time() - began:5.0f} s  {phase}", flush=True)
            draw(prometheus, began, seconds)
    print(f"The dashboard's main panels: {PICTURE.relative_to(ROOT)}")
    return 0


def play(sandbox: Sandbox, gateway: Gateway, seconds: float) -> Iterator[str]:
    """The phases, one after the other, with their clients; yields each at its beginning."""
    goes_on = Clock()
    goes_on.begin(seconds * len(PHASES))
    apps = [threading.Thread(target=app, args=(gateway, f"127.0.0.{n}", goes_on)) for n in range(2, 10)]
    for thread in apps:
        thread.start()
    trouble = {
        "the API is slow": lambda: sandbox.fault(endpoint="POST /v2/emails", latency_ms=2500),
        "one customer is refused": lambda: sandbox.fault(
            status=422, body={"detail": "this sender is suspended"}, sender=OTHER_SENDER.email
        ),
    }
    for phase in PHASES:
        sandbox.clear_faults()
        yield phase
        trouble.get(phase, sandbox.faults)()
        lasts = Clock()
        lasts.begin(seconds)
        if phase == "one customer is refused":
            customer = connected(gateway, "127.0.0.20", OTHER.email, OTHER.password)
            send_all_day(customer, OTHER_SENDER.email, lasts)
        elif phase == "one client floods":
            flood(gateway, lasts)
        time.sleep(max(lasts.end - time.monotonic(), 0))
    for thread in apps:
        thread.join()


def app(gateway: Gateway, address: str, goes_on: Clock) -> None:
    send_all_day(connected(gateway, address), SENDER, goes_on)


def draw(prometheus: Prometheus, began: float, seconds: float) -> None:
    """Write the picture."""
    rows = -(-len(SHOWN) // COLUMNS)
    figure, axes = pyplot.subplots(rows, COLUMNS, figsize=(7 * COLUMNS, 4 * rows), layout="constrained")
    by_title = {panel["title"]: panel for panel in panels("smtpgw")}
    for axis, title in zip(axes.flat, SHOWN, strict=True):
        draw_panel(axis, by_title[title], prometheus, began)
        axis.set_xlim(0, seconds * len(PHASES))
        for number, phase in enumerate(PHASES):
            if not phase.startswith("calm"):
                axis.axvspan(number * seconds, (number + 1) * seconds, color="red", alpha=0.06)
            middle = (number + 0.5) * seconds
            axis.text(middle, 1, phase, transform=axis.get_xaxis_transform(), ha="center", va="top", fontsize=7)
    figure.suptitle("SMTP gateway: the dashboard's main panels, in a minute and a half with three troubles")
    PICTURE.parent.mkdir(exist_ok=True)
    figure.savefig(PICTURE, dpi=80)


def draw_panel(axis: Axes, panel: dict, prometheus: Prometheus, began: float) -> None:
    """One panel: its queries over all the time, with its threshold."""
    defaults = panel["fieldConfig"]["defaults"]
    for target in panel["targets"]:
        expression = filled(target["expr"]).replace(WINDOW, SHORT_WINDOW)
        for series in prometheus.query_range(expression, began, time.time(), 1):
            values = [(float(when) - began, float(value)) for when, value in series["values"]]
            if any(value for _, value in values):
                axis.plot(*zip(*values, strict=True), label=legend(target, series["metric"]), linewidth=1.2)
    for step in defaults.get("thresholds", {"steps": []})["steps"]:
        if step["value"] is not None:
            axis.axhline(step["value"], color="red", linestyle="--", linewidth=0.8)
    axis.set_title(panel["title"], fontsize=11)
    axis.set_ylabel(UNITS.get(defaults["unit"], ""))
    axis.set_ylim(bottom=0)
    axis.margins(y=0.25)
    handles, labels = axis.get_legend_handles_labels()
    if labels:
        axis.legend(handles[:MOST_SERIES], labels[:MOST_SERIES], fontsize=7, loc="center left")


def legend(target: dict, metric: dict[str, str]) -> str:
    """The name of a series, as the panel has it."""
    text = target.get("legendFormat", "")
    for label, value in metric.items():
        text = text.replace(f"{{{{{label}}}}}", value)
    return text


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main(sys.argv[1:]))
