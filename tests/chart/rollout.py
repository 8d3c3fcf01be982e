"""`helm upgrade` under load: three pods, as the chart has them, are replaced while clients send.

`python -m tests.chart.rollout FOLDER`, with a pickled Image on standard input, writes what became of it as JSON. A
process of its own, since it takes two minutes, of which it waits nearly all: test_rolling_update.py begins it, other
tests go on, and in the end looks at what it wrote.
"""

from gevent import monkey

monkey.patch_all()

import json  # noqa: E402
import pickle  # noqa: E402
import signal  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import gevent  # noqa: E402

from tests.chaos.campaign import Campaign, compared  # noqa: E402
from tests.chart.cluster import Cluster  # noqa: E402
from tests.chart.rendering import Manifest, of_kind, with_changes  # noqa: E402
from tests.support.gateway import trusting  # noqa: E402
from tests.support.sandbox import Sandbox  # noqa: E402

PODS = 3
RATE, CONNECTIONS = 20, 24  # a second, for as long as the rollout takes: 3 · (start + 15) + 25 + drain
MAX = 10_000  # messages


def values() -> list[Manifest]:
    """The chart as it comes, but for what is this machine's: a name, and the load balancer's network."""
    return with_changes(hostname="localhost", proxyProtocol={"trustedCIDRs": ["127.0.0.0/8"]})


def helm_test(found: list[Manifest], cluster: Cluster) -> str:
    """What `helm test` complains of, "" when all is well."""
    script, _, hostname = of_kind("Pod", found)["spec"]["containers"][0]["args"]
    script = script.replace("/etc/smtpgw/ca/ca.crt", str(cluster.cert))
    run = [sys.executable, "-c", script, f"127.0.0.1:{cluster.internal}", hostname]
    done = subprocess.run(run, capture_output=True, text=True, timeout=60)
    return done.stderr or f"exit status {done.returncode}" if done.returncode else ""


def roll_out(cluster: Cluster, sandbox: Sandbox, found: list[Manifest]) -> dict[str, Any]:
    """Start the pods, replace them under load; what became of pods and messages."""
    for _ in range(PODS):
        cluster.start_pod()
    cluster.wait_until_balanced()
    before = helm_test(found, cluster)
    campaign = Campaign(cluster.smtp, trusting(str(cluster.cert)), MAX, CONNECTIONS, rate=RATE)
    sending = gevent.spawn(campaign.run)
    statuses = cluster.roll_out()
    campaign.is_enough = True
    sending.get()
    logs = [pod.container.log.read_text() for pod in cluster.pods[:PODS]]
    return {
        "helm test": [before, helm_test(found, cluster)],
        "exit statuses": statuses,
        "drained": [json.loads(line) for log in logs for line in log.splitlines() if '"worker drained"' in line],
        "answers": [heard.code for heard in campaign.heard.values()],
        "not sent at first": dict(campaign.not_sent),
        "wrong": [str(row) for row in compared(campaign, sandbox) if row.wrong],
    }


def main(folder: Path) -> None:
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))  # and leave nothing behind
    image = pickle.load(sys.stdin.buffer)
    found = values()
    with Sandbox() as sandbox, Cluster(found, image, folder, sandbox.url, nodes=2 * PODS) as cluster:
        print(json.dumps(roll_out(cluster, sandbox, found)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
