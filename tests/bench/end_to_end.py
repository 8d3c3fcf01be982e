"""What a message costs in all: a gateway of one worker on a core of its own, before a sandbox, under bounded loads.

CPU is that of its process tree, with what the kernel does for it. The sandbox and the clients, on the other core, are
what limits the rate: the gateway's core is busy by two thirds or so, as it is meant to be in production.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from time import sleep
from types import TracebackType
from typing import Self

from tests.bench.figures import Samples
from tests.bench.load import Load
from tests.bench.messages import KINDS, tags
from tests.bench.processes import cpu_seconds, on_core
from tests.bench.unit import Unit
from tests.support.gateway import ROOT, Gateway
from tests.support.sandbox import Sandbox

API_MS = 20  # that each call takes at least
PAUSE_SECONDS = 0.04  # between two samples of the unit, which take some 5 ms of the gateway's core
LOADS: Mapping[str, Load] = {
    "persistent connections": Load("4 KB", 1500, connections=30),
    "a connection each": Load("4 KB", 500, connections=20, connection_each=True),
    "1 MB PDF": Load("1 MB PDF", 60, connections=10),
    "ten recipients": Load("ten recipients", 120, connections=10),
}


class Wrong(Exception):
    """A message was refused, lost or doubled: then no figure means anything."""


class Servers:
    """The gateway and the sandbox behind it; also a context manager."""

    def __init__(self, folder: Path, core: int | None, other_core: int | None, **variables: str) -> None:
        """`variables` are the gateway's settings, beside those that it needs."""
        self.core, self.other_core = core, other_core
        with on_core(other_core):
            self.sandbox = Sandbox(API_MS)
        self.gateway = Gateway(self.sandbox.url, folder, **{"SMTPGW_WORKERS": "1"} | variables)

    def __enter__(self) -> Self:
        with on_core(self.core):
            self.gateway.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.gateway.stop()
        self.sandbox.stop()

    def send(self, load: Load, prefix: str, unit: Unit) -> tuple[float, float]:
        """Send a load: CPU milliseconds a message, and what the unit took meanwhile. Raises Wrong."""
        told = {
            "load": asdict(load),
            "port": self.gateway.port,
            "certificate": str(self.gateway.cert),
            "prefix": prefix,
        }
        with on_core(self.other_core):
            clients = subprocess.Popen(
                [sys.executable, "-m", "tests.bench.load", json.dumps(told)],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                text=True,
            )
        assert clients.stdout
        with on_core(self.core), clients, clients.stdout:
            connected = clients.stdout.readline()
            before = cpu_seconds(self.gateway.process.pid)
            taken = []
            while connected and clients.poll() is None:
                taken.append(unit.sample())
                sleep(PAUSE_SECONDS)
            spent = cpu_seconds(self.gateway.process.pid) - before
            answered = clients.stdout.read()
        if clients.returncode:
            raise Wrong(f"the clients ended with {clients.returncode}")
        check(self.sandbox, load, prefix, json.loads(answered))
        return spent * 1000 / load.messages, sum(taken) / len(taken)


def check(sandbox: Sandbox, load: Load, prefix: str, answered: Mapping[str, int]) -> None:
    """See that all messages were accepted, and that each is at the sandbox once. Raises Wrong."""
    if answered != {"250": load.messages}:
        raise Wrong(f"answers: {answered}, and not {load.messages} times 250")
    wanted = sorted(address for tag in tags(prefix, load.messages) for address in KINDS[load.kind].addresses(tag))
    there = sorted(entry["email"] for entry in sandbox.ledger()["entries"] for _ in entry["ids"])
    sandbox.clear()
    if there != wanted:
        raise Wrong(f"{len(wanted)} emails were accepted; {len(there)} are there, {len(set(there))} of them different")


def measure(servers: Servers, unit: Unit, samples: Samples, number: int, scale: float) -> Iterator[None]:
    """Take a sample of each load, with this share of its messages; a step for each. `number` is the round's."""
    for place, (name, load) in enumerate(LOADS.items()):
        messages = max(load.connections, int(load.messages * scale))
        samples.add(f"end to end: {name}", *servers.send(replace(load, messages=messages), f"r{number}l{place}", unit))
        yield
