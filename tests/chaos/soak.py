"""`make soak`: a gateway under a steady rate of messages for minutes; in the end it holds what it held at first.

Memory, descriptors and greenlets are read when all clients have gone: after a first stretch that fills the caches and
pools, and at the end.
"""

from gevent import monkey

monkey.patch_all()

import argparse  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
from dataclasses import dataclass  # noqa: E402
from pathlib import Path  # noqa: E402
from time import monotonic, sleep  # noqa: E402

from tests.bench.processes import memory_kib  # noqa: E402
from tests.chaos.campaign import Campaign, compared, percentiles  # noqa: E402
from tests.chaos.ledger import workers  # noqa: E402
from tests.support.gateway import Gateway  # noqa: E402
from tests.support.line import metric  # noqa: E402
from tests.support.sandbox import Sandbox  # noqa: E402

TOLERANCE = 0.05
WARM_UP = 0.25  # of the time
CONNECTIONS = 50
MESSAGES_A_CONNECTION = 20  # so that connections come and go, too
QUIET_SECONDS = 3  # for what ends a little later than its client
TIMEOUT_SECONDS = 30


class WatchedGateway(Gateway):
    """A gateway whose worker can be asked for its greenlets."""

    command = ("tests.chaos.watched",)


@dataclass(frozen=True)
class Held:
    """What the worker holds while nobody is there."""

    memory_kib: int
    descriptors: int  # without those to the API, a pool that keeps as many as were needed at a time
    api_connections: int
    greenlets: int

    @classmethod
    def by(cls, gateway: Gateway, folder: Path) -> "Held":
        deadline = monotonic() + TIMEOUT_SECONDS
        while metric(gateway, "smtpgw_sessions_active"):
            assert monotonic() < deadline, "sessions that nobody is at"
            sleep(0.1)
        sleep(QUIET_SECONDS)
        (folder / "question").touch()
        while (folder / "question").exists():
            assert monotonic() < deadline + TIMEOUT_SECONDS, "no answer"
            sleep(0.1)
        (pid,) = workers(gateway)
        to_api = connections(pid, gateway.variables["CAKEMAIL_API_URL"])
        descriptors = len(list(Path(f"/proc/{pid}/fd").iterdir())) - to_api
        return cls(memory_kib(pid), descriptors, to_api, int((folder / "answer").read_text()))

    def grown_since(self, before: "Held") -> list[str]:
        """What is more now than the tolerance has it."""
        names = ("memory_kib", "descriptors", "greenlets")
        grown = [n for n in names if getattr(self, n) > getattr(before, n) * (1 + TOLERANCE)]
        return grown + ["api_connections"] * (self.api_connections > CONNECTIONS)


def connections(pid: int, url: str) -> int:
    """How many connections a process has to a port of the loopback address."""
    port = f"{int(url.rpartition(':')[2]):04X}"
    rows = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    inodes = {f"socket:[{row[9]}]" for row in rows if row[2].endswith(f":{port}")}
    return sum(os.readlink(f"/proc/{pid}/fd/{fd}") in inodes for fd in os.listdir(f"/proc/{pid}/fd"))


def soak(sandbox: Sandbox, folder: Path, seconds: float, rate: float) -> tuple[Held, Held, Campaign]:
    """What the worker held after the first stretch and at the end, and the messages of the second."""
    with WatchedGateway(sandbox.url, folder, WATCH_FOLDER=str(folder)) as gateway:

        def send(stretch_seconds: float) -> Campaign:
            total = int(stretch_seconds * rate)
            campaign = Campaign(
                gateway.port, gateway.trusting(), total, CONNECTIONS, rate, per_connection=MESSAGES_A_CONNECTION
            )
            campaign.run()
            return campaign

        send(seconds * WARM_UP)
        sandbox.clear()
        before = Held.by(gateway, folder)
        campaign = send(seconds * (1 - WARM_UP))
        return before, Held.by(gateway, folder), campaign


def main(arguments: list[str]) -> int:
    """Run it and print what was held. 1 when something has grown, or was lost or doubled."""
    parser = argparse.ArgumentParser("python -m tests.chaos.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--rate", type=float, default=100, help="messages a second (100)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder, Sandbox() as sandbox:
        before, after, campaign = soak(sandbox, Path(folder), options.seconds, options.rate)
        rows = compared(campaign, sandbox)
    grown = after.grown_since(before)
    print(f"after the first stretch: {before}")
    print(f"at the end:              {after}")
    print(f"{len(campaign.heard)} messages; time to a 250: {', '.join(percentiles(campaign))}")
    print(f"more than before: {', '.join(grown)}" if grown else "nothing has grown")
    is_right = not grown and all(h.code == 250 for h in campaign.heard.values()) and not any(r.wrong for r in rows)
    return 0 if is_right else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
