"""The command `capacity`: compute the pods, cores, connections and memory for a number of emails per hour.

The function `capacity` is pure: it depends on measurements, assumptions and the limits of a pod. The number of
concurrent calls or sessions is their rate times their duration (Little's law). The tables of the documentation are
generated here.
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
    """Measurements of one worker, for small messages to one recipient over TLS; see docs/performance.md."""

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
    """Assumptions about the traffic and the cluster."""

    own_share: float = assumption(0.5, ratio, "share of the messages that come on a connection of their own")
    pause_seconds: float = assumption(2.0, seconds(0, 3600), "seconds between two messages on a kept connection")
    own_seconds: float = assumption(1.0, seconds(0, 3600), "duration of a connection with one message, in seconds")
    message_kb: float = assumption(50.0, number(0, 100_000), "average size of a message, in KB")
    api_ms: float = assumption(100.0, number(0, 60_000), "duration of an API call, in milliseconds")
    utilisation: float = assumption(0.65, number(0.05, 1), "maximum utilisation of each limit of a pod")
    zones: int = assumption(1, whole(1, 100), "zones of the pods, one of which may fail; 1: one pod may fail")
    least_pods: int = assumption(3, whole(1, 1000), "minimum number of pods")


@dataclass(frozen=True)
class Allowed:
    """Limits of a pod: one core, because a worker is one process, and those of its settings."""

    api_connections: int
    sessions: int
    bytes_in_flight: int
    cores: float = 1.0

    @classmethod
    def by(cls, environ: Mapping[str, str]) -> "Allowed":
        """Return the limits of the settings in an environment. Raises SettingsError."""
        settings = Settings.from_environ({**environ, "SMTPGW_TLS_CERT": os.devnull, "SMTPGW_TLS_KEY": os.devnull})
        return cls(settings.api_connections, settings.max_sessions, settings.max_bytes_in_flight)


@dataclass(frozen=True)
class Capacity:
    """The capacity for a volume: totals unless the name says otherwise."""

    per_hour: int
    pods: int
    decided_by: str  # the limit that determines the number of pods
    api_calls: float  # concurrent calls, on average, each on a connection of its own
    sessions: float
    pod_memory_mb: float

    @property
    def per_second(self) -> float:
        """Emails per second."""
        return self.per_hour / HOUR_SECONDS


def cpu_seconds(measured: Measured, assumed: Assumed) -> float:
    """Return the CPU time of an average message at the intended load of a core."""
    mixed_ms = (1 - assumed.own_share) * measured.kept_cpu_ms + assumed.own_share * measured.own_cpu_ms
    return mixed_ms * measured.part_load / 1000


def capacity(per_hour: int, measured: Measured, assumed: Assumed, allowed: Allowed) -> Capacity:
    """Return the capacity for a number of emails per hour, evenly distributed, each a message to one recipient."""
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
    """Return how many pods leave this many when a zone fails or, with a single zone, a pod."""
    return pods + 1 if zones == 1 else ceil(pods / (zones - 1)) * zones


def memory_mb(sessions: float, octets: float, measured: Measured) -> float:
    """Return the memory of a pod with this many sessions and octets of messages in progress."""
    return measured.worker_mb + sessions * measured.session_kb / 1000 + octets * measured.copies / 1_000_000


# --- For people

COLUMNS = (
    "emails an hour", "a second", "pods", "decided by", "cores", "memory", "sessions", "API connections", "a pod"
)  # fmt: skip


def rows(found: Sequence[Capacity], allowed: Allowed) -> list[tuple[str, ...]]:
    """Return the rows of the table as text."""
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
    """Return the measurements and assumptions behind the table, as sentences."""
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
    """Return the pods for another share of messages on a connection of their own."""
    return capacity(one.per_hour, measured, dataclasses.replace(assumed, own_share=own_share), allowed).pods


def listed(numbers: Sequence[int]) -> str:
    """Join numbers to an enumeration."""
    *first, last = (f"{number:,}" for number in numbers)
    return f"{', '.join(first)} and {last}" if first else last


def findings(
    volumes: Sequence[int], assumed: Assumed, environ: Mapping[str, str]
) -> tuple[list[tuple[str, ...]], list[str]]:
    """Return the rows of the table and the sentences for an environment. Raises SettingsError."""
    measured, allowed = Measured(), Allowed.by(environ)
    found = [capacity(volume, measured, assumed, allowed) for volume in volumes]
    return rows(found, allowed), explanation(found, measured, assumed, allowed)


def main(arguments: list[str]) -> int:
    """Print the table and the sentences.

    Returns:
        The exit status: 0, or 2 when a setting is wrong.
    """
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
    """Return the parser of the arguments."""
    made = argparse.ArgumentParser(
        prog="python -m smtpgw capacity",
        description="Compute the pods, cores, memory and connections for a number of emails per hour. The limits of"
        " a pod are those of the gateway's settings in the environment, or their defaults.",
    )
    volume = argument(whole(1, 10**12))
    made.add_argument("--per-hour", type=volume, nargs="+", default=VOLUMES, metavar="N", help="emails per hour")
    for field in dataclasses.fields(Assumed):
        made.add_argument(
            f"--{field.name.replace('_', '-')}",
            type=argument(field.metadata["parse"]),
            default=field.default,
            metavar="N",
            help=f"{field.metadata['meaning']} (%(default)s)",
        )
    return made


def argument(parse: Callable[[str], float]) -> Callable[[str], float]:
    """Return a parser for argparse, whose error describes a valid value."""

    def parse_argument(text: str) -> float:
        try:
            return parse(text)
        except ValueError as wanted:
            raise argparse.ArgumentTypeError(f"must be {wanted}") from wanted

    return parse_argument
