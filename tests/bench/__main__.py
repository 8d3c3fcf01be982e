"""`make bench`: what a message costs of CPU, stage by stage and end to end, beside the stored baseline. A minute.

Each figure is a number of units, see tests/bench/unit.py, and the median of a few rounds; compare these, never
milliseconds of two runs. What has grown by more than the noise is marked.
"""

from gevent import monkey

monkey.patch_all()

import argparse  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
from collections.abc import Callable, Iterator, Mapping, Sequence  # noqa: E402
from pathlib import Path  # noqa: E402

from rich.console import Console  # noqa: E402
from rich.progress import Progress  # noqa: E402
from rich.table import Table  # noqa: E402

from tests.bench import end_to_end, figures, stages  # noqa: E402
from tests.bench.figures import Figure, Row, Samples  # noqa: E402
from tests.bench.processes import busy_cores, cores, on_core  # noqa: E402
from tests.bench.unit import Unit  # noqa: E402
from tests.observability import cost  # noqa: E402

TELLING = {"metrics": "counting", "metrics and log line": "telling"}  # rows, and what of `cost` they are
METRICS, METRICS_AND_LINE = TELLING
WHOLE = "end to end: persistent connections"
OBJECTIVE = 0.03  # of what a message costs, for its metrics
STAGE_SECONDS = 0.02  # of CPU, a sample
STAGE_ROUNDS = 3  # of the stages, in each round
STAGE_STEPS = STAGE_ROUNDS * sum(len(kinds) for _, _, kinds in stages.ROWS)
STEPS = len(end_to_end.LOADS) + STAGE_STEPS + len(TELLING)  # of a round
ROUNDS = 3
BASELINE_ROUNDS = 9  # a baseline from one short run would be as noisy as that
BUSY_CORES = 0.3


def measure(rounds: int, scale: float = 1.0, progress: Callable[[], None] = lambda: None) -> Samples:
    """Measure everything in so many rounds, with this share of the work. Raises Wrong."""
    core, other_core = cores()
    samples, unit = Samples(), Unit()
    with tempfile.TemporaryDirectory() as folder, end_to_end.Servers(Path(folder), core, other_core) as servers:
        apart = stages.Stages(servers.sandbox.url)
        for number in range(rounds):
            for _ in end_to_end.measure(servers, unit, samples, number, scale):
                progress()
            with on_core(core):
                for _ in range(STAGE_ROUNDS):
                    for _ in stages.measure(apart, unit, samples, STAGE_SECONDS * scale):
                        progress()
                    servers.sandbox.clear()
                for row, what in TELLING.items():
                    before = unit.sample()
                    took = cost.apart(what) * 1000
                    samples.add(row, took, (before + unit.sample()) / 2)
                    progress()
        apart.close()
    return samples


def table(rows: Sequence[Row]) -> Table:
    made = Table("CPU a message", box=None, header_style="bold")
    for column in ("ms", "units", "baseline", "change", ""):
        made.add_column(column, justify="right")
    for row in rows:
        then = f"{row.then.ratio:.3f}" if row.then else ""
        change = "new" if row.change is None else f"{row.change:+.0%}"
        mark = f"more than {row.tolerance:.0%}" if row.has_grown else ""
        style = "bold red" if row.has_grown else ""
        made.add_row(row.stage, f"{row.now.ms:.3f}", f"{row.now.ratio:.3f}", then, change, mark, style=style)
    return made


def share(row: str, found: Mapping[str, Figure]) -> float:
    """What part of a message's CPU goes into its metrics, or into these and its log line."""
    return found[row].ratio / found[WHOLE].ratio


def conclusions(samples: Samples, found: Mapping[str, Figure], measured: Mapping[str, str]) -> Iterator[str]:
    """What stands below the table. `measured`: where the baseline was."""
    yield f"\nThe baseline is of {', '.join(measured.values())}."
    if differences := figures.differences(measured):
        yield f"Here it is {', '.join(differences)}: expect other figures."
    units = samples.unit_ms()
    low, middle, high = (units[int(part * (len(units) - 1))] for part in (0.1, 0.5, 0.9))
    yield f"A unit took {middle:.3f} ms, most of the time {low:.3f} to {high:.3f}."
    counting = share(METRICS, found)
    verdict = "met" if counting < OBJECTIVE else "not met"
    yield f"Metrics are {counting:.1%} of a message; the objective, under {OBJECTIVE:.0%}, is {verdict}."
    yield f"With its line in the log it is {share(METRICS_AND_LINE, found):.1%}."


def main(arguments: list[str]) -> int:
    """Measure, and print the table. 1 when a message was lost or, with --strict, when something has grown."""
    parser = argparse.ArgumentParser("python -m tests.bench", description=__doc__)
    parser.add_argument(
        "--rounds", type=int, help=f"each a third of a minute ({ROUNDS}; {BASELINE_ROUNDS} for a baseline)"
    )
    parser.add_argument("--write-baseline", action="store_true", help=f"store the figures in {figures.BASELINE.name}")
    parser.add_argument("--strict", action="store_true", help="exit with 1 when something costs more than it may")
    options = parser.parse_args(arguments)
    rounds = options.rounds or (BASELINE_ROUNDS if options.write_baseline else ROUNDS)
    console = Console(highlight=False)
    if (busy := busy_cores()) > BUSY_CORES:
        console.print(f"Something else keeps {busy:.1f} cores busy: expect noise.", style="yellow")
    try:
        with Progress(console=console, transient=True) as bar:
            task = bar.add_task("measuring", total=rounds * STEPS)
            samples = measure(rounds, progress=lambda: bar.advance(task))
    except end_to_end.Wrong as problem:
        console.print(f"No figures: {problem}", style="bold red")
        return 1
    found = samples.figures()
    measured, then = figures.read()
    rows = figures.compared(found, then)
    console.print(table(rows))
    console.print(*conclusions(samples, found, measured), sep="\n")
    if options.write_baseline:
        figures.write(found)
        return 0
    return 1 if options.strict and any(row.has_grown for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
