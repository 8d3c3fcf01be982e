"""`python -m smtpgw capacity`: how many pods, cores, connections and how much memory so many emails an hour take.

The arithmetic is `capacity`, a pure function of what was measured, what is assumed and what a pod is allowed. Things at
a time are their rate times how long each lasts (Little's law). The READMEs' tables are printed from here.
"""

import argparse
import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

from rich.console import Console
from rich.table import Table

from smtpgw.commands.console import complain
from smtpgw.config.parsers import SettingsError, number, ratio, seconds, whole
from smtpgw.config.settings import Settings

VOLUMES = (1_000_000, 10_000_000, 100_000_000)  # emails an hour
HOUR_SECONDS = 3600


@dataclass(frozen=True)
class Measured:
    """What one worker takes. Messages of 4 KB to one recipient over TLS, with logs, metrics and limits on."""

    where: str = "one core of an AMD EPYC (Zen 4; Zen 3 takes a third more)"
    when: str = "November 2026"
    kept_cpu_ms: float = 0.67  # a message on a connection that stays, where the core is busy all the time
    own_cpu_ms: float = 1.72  # one that brings connection, TLS handshake and login along
    part_load: float = 1.2  # so many times that where the core is busy by two thirds: wake-ups, cold caches
    low_load: float = 2.4  # at a hundred messages a second
    worker_mb: float = 63.0  # a worker under steady load
    session_kb: float = 25.6  # a TLS session that is logged in
    copies: float = 5.5  # octets of memory for each of a message under way, with its request


def assumption(default: float, parse: Callable[[str], float], meaning: str) -> Any:
    """Declare a field of `Assumed`, which is also an option of the command."""
    return dataclasses.field(default=default, metadata={"parse": parse, "meaning": meaning})


@dataclass(frozen=True)
class Assumed:
    """What the traffic and the cluster are like."""

    own_share: float = assumption(0.5, ratio, "share of the messages that come on a connection each")
    pause_seconds: float = assumption(
        2.0, seconds(0, 3600), "from one message to the next on a connection that stays, in seconds"
    )
    own_seconds: float = assumption(1.0, seconds(0, 3600), "how long a connection of one message lasts")
    message_kb: float = assumption(50.0, number(0, 100_000), "a message, on average")
    api_ms: float = assumption(100.0, number(0, 60_000), "a call to the API")
    utilisation: float = assumption(0.65, number(0.05, 1), "no bound of a pod is used by more than this share")
    zones: int = assumption(1, whole(1, 100), "zones that pods are spread over, of which one may go; 1: one pod may")
    least_pods: int = assumption(3, whole(1, 1000), "never fewer")


@dataclass(frozen=True)
class Allowed:
    """A pod's bounds: one core, since a worker is one process, and what its settings say."""

    api_connections: int
    sessions: int
    bytes_in_flight: int
    cores: float = 1.0

    @classmethod
    def by(cls, environ: Mapping[str, str]) -> "Allowed":
        """What the gateway's settings say. Raises SettingsError."""
        settings = Settings.from_environ({**environ, "SMTPGW_TLS_CERT": os.devnull, "SMTPGW_TLS_KEY": os.devnull})
        return cls(settings.api_connections, settings.max_sessions, settings.max_bytes_in_flight)


@dataclass(frozen=True)
class Capacity:
    """What a volume takes, in all unless it says otherwise."""

    per_hour: int
    pods: int
    decided_by: str  # what the number of pods is from
    api_calls: float  # under way at a time, on average, each on a connection of its own
    sessions: float
    pod_memory_mb: float

    @property
    def per_second(self) -> float:
        return self.per_hour / HOUR_SECONDS


def cpu_seconds(measured: Measured, assumed: Assumed) -> float:
    """Of a core, for a message of the mix, where the core is not busy all the time."""
    mixed_ms = (1 - assumed.own_share) * measured.kept_cpu_ms + assumed.own_share * measured.own_cpu_ms
    return mixed_ms * measured.part_load / 1000


def capacity(per_hour: int, measured: Measured, assumed: Assumed, allowed: Allowed) -> Capacity:
    """What so many emails an hour take, evenly over the hour, each a message to one recipient."""
    per_second = per_hour / HOUR_SECONDS
    calls = per_second * assumed.api_ms / 1000
    sessions = per_second * ((1 - assumed.own_share) * assumed.pause_seconds + assumed.own_share * assumed.own_seconds)
    carrying = {
        "CPU": per_second * cpu_seconds(measured, assumed) / allowed.cores,
        "API calls": calls / allowed.api_connections,
        "sessions": sessions / allowed.sessions,
    }
    decided_by = max(carrying, key=lambda bound: carrying[bound])
    pods = with_spare(ceil(carrying[decided_by] / assumed.utilisation), assumed.zones)
    if pods < assumed.least_pods:
        pods, decided_by = assumed.least_pods, "availability"
    return Capacity(
        per_hour,
        pods,
        decided_by,
        calls,
        sessions,
        memory_mb(sessions / pods, calls / pods * assumed.message_kb * 1000, measured),
    )


def with_spare(pods: int, zones: int) -> int:
    """Pods of which so many are left when a zone has gone or, where there is one only, a pod."""
    return pods + 1 if zones == 1 else ceil(pods / (zones - 1)) * zones


def memory_mb(sessions: float, octets: float, measured: Measured) -> float:
    """What a pod holds with so many sessions, and so many octets of messages under way."""
    return measured.worker_mb + sessions * measured.session_kb / 1000 + octets * measured.copies / 1_000_000


# --- For people

COLUMNS = (
    "emails an hour", "a second", "pods", "decided by", "cores", "memory", "sessions", "API connections", "a pod"
)  # fmt: skip


def rows(found: Sequence[Capacity], allowed: Allowed) -> list[tuple[str, ...]]:
    """The table, as text."""
    return [
        (
            f"{one.per_hour:,}",
            f"{one.per_second:,.0f}",
            f"{one.pods:,}",
            one.decided_by,
            f"{one.pods * allowed.cores:,.0f}",
            f"{one.pods * one.pod_memory_mb / 1000:,.1f} GB",
            f"{one.sessions:,.0f}",
            f"{ceil(one.api_calls):,}",
            f"{ceil(one.api_calls / one.pods):,}",
        )
        for one in found
    ]


def explanation(found: Sequence[Capacity], measured: Measured, assumed: Assumed, allowed: Allowed) -> list[str]:
    """What the table holds for: what was measured, and what is assumed."""
    decisive_ms = allowed.api_connections * cpu_seconds(measured, assumed) / allowed.cores * 1000
    most_mb = memory_mb(allowed.sessions, allowed.bytes_in_flight, measured)
    kept, own = ([pods_of(one, measured, assumed, allowed, share) for one in found] for share in (0.0, 1.0))
    spare = "a pod" if assumed.zones == 1 else f"one of {assumed.zones} zones"
    return [
        f"CPU: a message of 4 KB takes {measured.kept_cpu_ms:g} ms on a connection that stays, and"
        f" {measured.own_cpu_ms:g} ms with a connection, TLS handshake and login of its own, where the core is busy all"
        f" the time; measured on {measured.where}, {measured.when}. By wake-ups and cold caches it takes"
        f" {measured.part_load:g} times that at the load that pods are meant to have, and {measured.low_load:g} times"
        " at a hundred messages a second.",
        f"Connections: {assumed.own_share:.0%} of the messages come on one each, which lasts {assumed.own_seconds:g} s;"
        f" the others on connections that stay, {assumed.pause_seconds:g} s after one another. If all stayed it would"
        f" be {listed(kept)} pods; if none did, {listed(own)}.",
        f"API: a call takes {assumed.api_ms:g} ms. Connections are those in use at a time, on average; a pod opens"
        f" {allowed.api_connections} at most (`SMTPGW_API_CONNECTIONS`). Above {decisive_ms:,.0f} ms a call it is this"
        " bound, and not CPU, that decides how many pods it takes.",
        f"Memory: {measured.worker_mb:g} MB a worker, {measured.session_kb:g} KB a session, and messages of"
        f" {assumed.message_kb:g} KB, held {measured.copies:g} times while the API has not answered. At its bounds,"
        f" {allowed.sessions:,} sessions and {allowed.bytes_in_flight / 1_000_000:,.0f} MB of messages, a pod holds"
        f" {most_mb:,.0f} MB.",
        f"Pods: one worker and one core each. None of their bounds (a core, calls, sessions) is used by more than"
        f" {assumed.utilisation:.0%}, also while {spare} is gone; the rest is for bursts. Never fewer than"
        f" {assumed.least_pods}.",
        "Volume: the busiest hour's, evenly over it; one recipient a message. Each further one is another email and"
        " another call, at less CPU than a message.",
    ]


def pods_of(one: Capacity, measured: Measured, assumed: Assumed, allowed: Allowed, own_share: float) -> int:
    """The pods for another share of messages that come on a connection each."""
    return capacity(one.per_hour, measured, dataclasses.replace(assumed, own_share=own_share), allowed).pods


def listed(numbers: Sequence[int]) -> str:
    *first, last = (f"{number:,}" for number in numbers)
    return f"{', '.join(first)} and {last}" if first else last


def findings(
    volumes: Sequence[int], assumed: Assumed, environ: Mapping[str, str]
) -> tuple[list[tuple[str, ...]], list[str]]:
    """The rows of the table, and what they hold for, with the settings of an environment. Raises SettingsError."""
    measured, allowed = Measured(), Allowed.by(environ)
    found = [capacity(volume, measured, assumed, allowed) for volume in volumes]
    return rows(found, allowed), explanation(found, measured, assumed, allowed)


def main(arguments: list[str]) -> int:
    """Print the table and what it holds for. 2 when a setting is out of its range; wrong usage ends the process."""
    options = vars(parser().parse_args(arguments))
    volumes = options.pop("per_hour")
    try:
        lines, sentences = findings(volumes, Assumed(**options), os.environ)
    except SettingsError as problem:
        complain(str(problem))
        return 2
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0))
    for column in COLUMNS:
        table.add_column(column, justify="right")
    for line in lines:
        table.add_row(*line)
    console = Console(highlight=False)
    console.print(table)
    for sentence in sentences:
        console.print(f"\n- {sentence}", markup=False)
    return 0


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m smtpgw capacity",
        description="What so many emails an hour take: pods, cores, memory, connections. Bounds of a pod are those of"
        " the gateway's settings in the environment, or their defaults.",
    )
    volume = argument(whole(1, 10**12))
    made.add_argument("--per-hour", type=volume, nargs="+", default=VOLUMES, metavar="N", help="emails an hour")
    for field in dataclasses.fields(Assumed):
        made.add_argument(
            f"--{field.name.replace('_', '-')}",
            type=argument(field.metadata["parse"]),
            default=field.default,
            metavar="N",
            help=f"{field.metadata['meaning']} (%(default)s)",
        )
    return made


def argument(read: Callable[[str], float]) -> Callable[[str], float]:
    """A reader that tells argparse what would have been right."""

    def reading(text: str) -> float:
        try:
            return read(text)
        except ValueError as wanted:
            raise argparse.ArgumentTypeError(f"must be {wanted}") from wanted

    return reading
