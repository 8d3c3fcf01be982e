"""Processes on cores, the CPU time that they have used, and their memory."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def on_core(core: int | None) -> Iterator[None]:
    """Run on one core, and so does what is started meanwhile; anywhere where `core` is None."""
    before = os.sched_getaffinity(0)
    if core is not None:
        os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def cores() -> tuple[int | None, int | None]:
    """A core for what is measured and another for everything else; None twice where there is only one."""
    found = sorted(os.sched_getaffinity(0))
    return (found[0], found[-1]) if len(found) > 1 else (None, None)


def cpu_seconds(root: int) -> float:
    """User and system time of a process and of those that it started and that still run, threads and all.

    The clock of another process, clock_getcpuclockid(3), of which Python knows only that of a thread: /proc/PID/stat
    counts in ticks of 10 ms.
    """
    return sum(time.clock_gettime(~pid << 3 | 2) for pid in tree(root))


def memory_kib(pid: int) -> int:
    """The resident memory of a process."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(status["VmRSS"].split()[0])


def tree(root: int) -> list[int]:
    """A process and its descendants."""
    parents: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended meanwhile
            stat = (folder / "stat").read_text()
            parents[int(folder.name)] = int(stat.rpartition(")")[2].split()[1])
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def busy_cores(seconds: float = 0.5) -> float:
    """How many cores are busy now, with whatever."""

    def ticks() -> tuple[int, int]:
        user, nice, system, idle, waiting, *others = map(
            int, Path("/proc/stat").read_text().splitlines()[0].split()[1:]
        )
        return user + nice + system + sum(others[:3]), idle + waiting

    busy_before, idle_before = ticks()
    time.sleep(seconds)
    busy, idle = ticks()
    whole = busy - busy_before + idle - idle_before
    return (os.cpu_count() or 1) * (busy - busy_before) / max(1, whole)
