"""`helm upgrade` under load: three pods, as the chart has them, are replaced, and no message is lost or doubled."""

import subprocess
import sys

import gevent
import pytest

from tests.chaos.campaign import Campaign, compared
from tests.chart.cluster import HAPROXY, Cluster
from tests.chart.rendering import of_kind, with_changes
from tests.container import why_not
from tests.gateway import trusting

RATE, SECONDS, CONNECTIONS = 20, 115, 24  # the rollout takes 3 · (start + 15) + 25 + drain
LACKING = why_not() or ("" if HAPROXY else "no haproxy")


@pytest.fixture
def found():
    """The chart as it comes, but for what is this machine's: a name, and the load balancer's network."""
    return with_changes(hostname="localhost", proxyProtocol={"trustedCIDRs": ["127.0.0.0/8"]})


def helm_test(found, cluster: Cluster) -> None:
    script, _, hostname = of_kind("Pod", found)["spec"]["containers"][0]["args"]
    script = script.replace("/etc/smtpgw/ca/ca.crt", str(cluster.cert))
    run = [sys.executable, "-c", script, f"127.0.0.1:{cluster.internal}", hostname]
    done = subprocess.run(run, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(bool(LACKING), reason=f"no cluster here: {LACKING}")
@pytest.mark.timeout(400)
def test_a_rolling_update_loses_and_doubles_nothing(found, image, sandbox, tmp_path):
    with Cluster(found, image, tmp_path, sandbox.url, nodes=6) as cluster:
        for _ in range(3):
            cluster.start_pod()
        cluster.wait_until_balanced()
        helm_test(found, cluster)
        total = RATE * SECONDS
        campaign = Campaign(cluster.smtp, trusting(str(cluster.cert)), total, CONNECTIONS, rate=RATE)
        sending = gevent.spawn(campaign.run)
        statuses = cluster.roll_out()
        assert len(campaign.heard) < total, "the load ended before the rollout"
        sending.get()
        helm_test(found, cluster)
        drained = [pod.container.log.read_text() for pod in cluster.pods[:3]]
    assert statuses == [0, 0, 0]
    assert all('"cut":0' in log for log in drained)
    assert {heard.code for heard in campaign.heard.values()} == {250}
    assert len(campaign.heard) == total
    # Whoever connected was served: nobody was sent to a pod that had gone.
    assert {what: n for what, n in campaign.not_sent.items() if what.startswith("connecting")} == {}
    for row in compared(campaign, sandbox):
        assert row.wrong == [], row
