"""`make chaos`: messages through a gateway whose API fails, and whose processes are killed, reloaded and restarted.

In the end every message that was answered 250 is in the sandbox's ledger exactly once, and every other at most once.
"""

from gevent import monkey

monkey.patch_all()

import argparse  # noqa: E402
import contextlib  # noqa: E402
import os  # noqa: E402
import signal  # noqa: E402
import smtplib  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
from collections.abc import Callable  # noqa: E402
from pathlib import Path  # noqa: E402
from time import monotonic  # noqa: E402

import gevent  # noqa: E402

from smtpgw.sandbox.faults import KINDS, ONLY_ENDPOINT  # noqa: E402
from tests.chaos.campaign import HEADING, Campaign, Row, compared, percentiles  # noqa: E402
from tests.support.gateway import Gateway  # noqa: E402
from tests.support.sandbox import Sandbox  # noqa: E402

CONNECTIONS = 40
FAULT_RATE = 0.1
EVENT_SECONDS = 60  # a restart, after the last message
SUBMIT = "POST /v2/emails"
MORE_OF_A_KIND: dict[str, list[dict[str, object]]] = {
    "status": [{"status": 500}, {"status": 503, "retry_after": 0}, {"status": 429, "retry_after": 1}, {"status": 422}],
    "latency": [{"latency_ms": 300}],
    "slow_headers": [{"latency_ms": 5000}],
}
VARIABLES = {
    "SMTPGW_WORKERS": "2",
    "SMTPGW_API_TIMEOUT_SECONDS": "2",
    "SMTPGW_SUBMIT_TIMEOUT_SECONDS": "5",
    "SMTPGW_API_RETRY_SECONDS": "2",
    "SMTPGW_DRAIN_TIMEOUT_SECONDS": "15",
}


def add_faults(sandbox: Sandbox) -> None:
    """Make a tenth of the submissions fail, in every way there is, each as often as any other."""
    kinds = [kind for kind in KINDS if ONLY_ENDPOINT.get(kind, SUBMIT) == SUBMIT]
    rules = [{"kind": kind, **more} for kind in kinds for more in MORE_OF_A_KIND.get(kind, [{}])]
    for seed, rule in enumerate(rules):
        sandbox.fault(endpoint=SUBMIT, rate=FAULT_RATE / len(rules), seed=seed, **rule)


def workers(gateway: Gateway) -> list[int]:
    pid = gateway.process.pid
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def of_worker(gateway: Gateway, client: smtplib.SMTP) -> int:
    """The worker that serves a client, by what the kernel tells of its connection."""
    assert client.sock
    ours = f"0100007F:{client.sock.getsockname()[1]:04X}"
    for line in Path("/proc/net/tcp").read_text().splitlines():
        fields = line.split()
        if fields[2] == ours and fields[1].endswith(f":{gateway.port:04X}"):
            for worker in workers(gateway):
                with contextlib.suppress(FileNotFoundError):
                    links = [os.readlink(link) for link in Path(f"/proc/{worker}/fd").iterdir()]
                    if f"socket:[{fields[9]}]" in links:
                        return worker
    raise AssertionError("nobody serves it")


def kill_a_worker(gateway: Gateway) -> None:
    os.kill(workers(gateway)[0], signal.SIGKILL)


def reload(gateway: Gateway) -> None:
    gateway.process.send_signal(signal.SIGHUP)


def restart(gateway: Gateway) -> None:
    status = gateway.stop()
    assert status == 0, f"the gateway ended with status {status}"
    gateway.start()


# What happens to the gateway, and when: at which share of the messages.
EVENTS: list[tuple[float, Callable[[Gateway], None]]] = [
    (0.15, reload), (0.3, restart), (0.45, kill_a_worker), (0.6, reload), (0.8, restart),
]  # fmt: skip


def chaos(
    sandbox: Sandbox,
    folder: Path,
    total: int,
    tell: Callable[[str], None] = lambda text: None,
    rate: float | None = None,
) -> list[Row]:
    """Send `total` messages through all of it, at `rate` a second if given; what clients heard against the ledger."""
    add_faults(sandbox)
    with Gateway(sandbox.url, folder, **VARIABLES) as gateway:
        campaign = Campaign(gateway.port, gateway.trusting(), total, CONNECTIONS, rate)

        def progress(done: int) -> None:
            if done % max(1, total // 20) == 0:
                tell(f"{done:>7} done in {monotonic() - campaign.began:.0f} s")

        def disturb() -> None:
            for share, event in EVENTS:  # one after another: a worker of a gateway that restarts cannot be killed
                while len(campaign.heard) < share * total:
                    gevent.sleep(0.01)
                tell(f"{len(campaign.heard):>7} done; now: {event.__name__.replace('_', ' ')}")
                assert len(campaign.heard) < total, "too few messages for all that happens"
                event(gateway)

        disturbance = gevent.spawn(disturb)
        campaign.run(progress)
        disturbance.get(timeout=EVENT_SECONDS)
    rows = compared(campaign, sandbox)
    hits = {fault["kind"]: 0 for fault in sandbox.faults()}
    for fault in sandbox.faults():
        hits[fault["kind"]] += fault["hits"]
    tell(f"faults: {', '.join(f'{kind} {number}' for kind, number in hits.items())}")
    tell(f"not sent at first, and then sent: {dict(campaign.not_sent.most_common())}")
    tell(f"time to a 250: {', '.join(percentiles(campaign))}")
    return rows


def main(arguments: list[str]) -> int:
    """Run it and print the table. 1 when a message was lost or doubled."""
    parser = argparse.ArgumentParser("python -m tests.chaos.ledger", description=__doc__)
    parser.add_argument("--messages", type=int, default=20_000)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder, Sandbox() as sandbox:
        rows = chaos(sandbox, Path(folder), options.messages, lambda text: print(text, flush=True))
    print(HEADING, *rows, sep="\n")
    return 1 if any(row.wrong for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
