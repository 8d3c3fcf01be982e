"""`make scale`: what a message costs of CPU with more connections, with a second worker, and hour after hour.

It should cost the same. As in `make bench`, compare units (tests/bench/unit.py), which are slowed down by whatever else
the machine does as the gateway is, and never milliseconds.
"""

from gevent import monkey

monkey.patch_all()

import argparse  # noqa: E402
import os  # noqa: E402
import resource  # noqa: E402
import statistics  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
from collections import defaultdict  # noqa: E402
from collections.abc import Iterator, Sequence  # noqa: E402
from dataclasses import dataclass, replace  # noqa: E402
from pathlib import Path  # noqa: E402

from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from tests.bench.end_to_end import Servers, Wrong  # noqa: E402
from tests.bench.load import Load  # noqa: E402
from tests.bench.processes import cores, cpu_seconds, memory_kib  # noqa: E402
from tests.bench.unit import Unit  # noqa: E402
from tests.chaos.ledger import workers  # noqa: E402

CONNECTIONS = (10, 50, 200, 500, 1000, 2000)
MESSAGES = 4000
LOADS = {
    "persistent connections": Load("4 KB", MESSAGES, connections=50),
    "a connection each": Load("4 KB", MESSAGES // 2, connections=50, connection_each=True),
}
ROUNDS = 3
PERIOD_MINUTES = 5
PER_SECOND = 100
WARM_UP = Load("4 KB", 500, connections=10)
ROOM = {"SMTPGW_MAX_SESSIONS": str(2 * max(CONNECTIONS))}
DESCRIPTORS = 4 * max(CONNECTIONS)


@dataclass(frozen=True)
class Point:
    """One row of a table."""

    name: str
    ms: float
    value: float  # in units, or what the table says
    beside: str = ""


def connections(rounds: int, scale: float = 1.0, counts: Sequence[int] = CONNECTIONS) -> Iterator[Point]:
    """The cost by how many connections share the messages; their handshakes are not in it."""
    core, other_core = cores()
    unit, taken = Unit(), defaultdict[int, list[tuple[float, float]]](list)
    with tempfile.TemporaryDirectory() as folder, Servers(Path(folder), core, other_core, **ROOM) as servers:
        servers.send(WARM_UP, "warm", unit)
        for number in range(rounds):
            for many in counts:
                load = Load("4 KB", max(many, int(MESSAGES * scale)), many)
                ms, unit_ms = servers.send(load, f"r{number}c{many}", unit)
                taken[many].append((ms, ms / unit_ms))
    for many, samples in taken.items():
        yield Point(f"{many:,} connections", *(statistics.median(found) for found in zip(*samples, strict=True)))


def two_workers(rounds: int, scale: float = 1.0) -> Iterator[Point]:
    """What two workers carry, each on a core, beside one.

    Clients and sandbox need cores, too, and there are no others: one worker shares its core with all of them, two
    workers share theirs with twice the load. So a worker has the same company, and it is told by messages a second of
    CPU of the worker that has most to do: when that has no more time, the gateway carries no more.
    """
    core, _ = cores()
    unit, taken = Unit(), defaultdict[str, list[tuple[float, float]]](list)
    with (
        tempfile.TemporaryDirectory() as one,
        tempfile.TemporaryDirectory() as two,
        Servers(Path(one), core, core) as single,
        Servers(Path(two), None, None, SMTPGW_WORKERS="2") as double,
    ):
        pin(double)
        for servers in (single, double):
            servers.send(WARM_UP, "warm", unit)
        for number in range(rounds):
            for place, (name, load) in enumerate(LOADS.items()):
                many = max(load.connections, int(load.messages * scale))
                alone = replace(load, messages=many)
                both = replace(load, messages=2 * many, connections=2 * load.connections)
                prefix = f"r{number}l{place}"
                costs = busiest(single, alone, prefix, unit), busiest(double, both, prefix, unit)
                taken[name].append((costs[1], costs[0] / costs[1]))
    for name, samples in taken.items():
        yield Point(name, *(statistics.median(found) for found in zip(*samples, strict=True)))


def pin(servers: Servers) -> None:
    """Give each worker a core of its own."""
    for pid, core in zip(workers(servers.gateway), sorted(os.sched_getaffinity(0)), strict=False):
        os.sched_setaffinity(pid, {core})


def busiest(servers: Servers, load: Load, prefix: str, unit: Unit) -> float:
    """CPU milliseconds of the busiest worker for each message that all of them took."""
    before = {pid: cpu_seconds(pid) for pid in workers(servers.gateway)}
    servers.send(load, prefix, unit)
    return max(cpu_seconds(pid) - was for pid, was in before.items()) * 1000 / load.messages


def hours(minutes: float, per_second: float, period_minutes: float = PERIOD_MINUTES) -> Iterator[Point]:
    """The cost in each period of a long run at a steady rate, and the memory at its end."""
    core, other_core = cores()
    unit = Unit()
    load = Load("4 KB", int(per_second * period_minutes * 60), connections=50, per_second=per_second)
    with tempfile.TemporaryDirectory() as folder, Servers(Path(folder), core, other_core) as servers:
        servers.send(WARM_UP, "warm", unit)
        for number in range(max(1, round(minutes / period_minutes))):
            ms, unit_ms = servers.send(load, f"p{number}", unit)
            memory = sum(memory_kib(pid) for pid in workers(servers.gateway)) * 1024 / 1e6
            yield Point(f"to minute {(number + 1) * period_minutes:g}", ms, ms / unit_ms, f"{memory:.1f} MB")


def table(title: str, heads: Sequence[str], points: Sequence[Point]) -> Table:
    made = Table(title, box=None, header_style="bold")
    for column in (*heads, ""):
        made.add_column(column, justify="right")
    for point in points:
        made.add_row(point.name, f"{point.ms:.3f}", f"{point.value:.3f}", point.beside)
    return made


HEADS = {
    "connections": ("ms", "units"),
    "workers": ("ms of the busiest of two", "times what one carries"),
    "hour": ("ms", "units", "memory"),
}


def main(arguments: list[str]) -> int:
    """Measure, and print the table. 1 when a message was lost."""
    parser = argparse.ArgumentParser("python -m tests.bench.scale", description=__doc__)
    parser.add_argument("what", choices=HEADS, help="what is to change")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of connections or workers (%(default)s)")
    parser.add_argument("--minutes", type=int, default=60, help="of an hour (%(default)s)")
    parser.add_argument("--per-second", type=float, default=PER_SECOND, help="messages, for an hour (%(default)s)")
    options = parser.parse_args(arguments)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(DESCRIPTORS, hard) if hard >= 0 else DESCRIPTORS, hard))
    console = Console(highlight=False)
    found = {
        "connections": lambda: connections(options.rounds),
        "workers": lambda: two_workers(options.rounds),
        "hour": lambda: hours(options.minutes, options.per_second),
    }[options.what]()
    points = []
    try:
        with console.status("measuring"):
            for point in found:
                points.append(point)
                console.print(f"{point.name}: {point.ms:.3f} ms")
    except Wrong as problem:
        console.print(f"No figures: {problem}", style="bold red")
        return 1
    console.print(table("CPU a message", HEADS[options.what], points))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
