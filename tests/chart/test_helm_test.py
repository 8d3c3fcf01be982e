"""The script of `helm test`, against a real gateway: well where all is well, and it finds what is not."""

import smtplib
import subprocess
import sys

import pytest

from tests.chart.derived import CHART
from tests.chart.rendering import of_kind, with_changes
from tests.support.gateway import Gateway
from tests.support.ports import free_port


def run(address: str, hostname: str, ca: str = "") -> subprocess.CompletedProcess:
    """The script, as the pod runs it; `ca` stands for the ca.crt that would be mounted."""
    script = of_kind("Pod", with_changes())["spec"]["containers"][0]["args"][0]
    assert script == (CHART / "files/smtp_test.py").read_text("utf-8")
    if ca:
        script = script.replace("/etc/smtpgw/ca/ca.crt", ca)
    return subprocess.run([sys.executable, "-c", script, address, hostname], capture_output=True, text=True, timeout=60)


@pytest.fixture(scope="module")
def internal(shared_sandbox, tmp_path_factory):
    """A gateway behind a load balancer, as in a cluster, with its internal listener."""
    port = free_port()
    extra = {
        "SMTPGW_PROXY_PROTOCOL": "on",
        "SMTPGW_PROXY_CIDRS": "127.0.0.0/8",
        "SMTPGW_HANDSHAKE_TIMEOUT_SECONDS": "2",
    }
    folder = tmp_path_factory.mktemp("internal")
    with Gateway(shared_sandbox.url, folder, SMTPGW_INTERNAL_BIND=f"127.0.0.1:{port}", **extra) as gateway:
        gateway.internal = f"127.0.0.1:{port}"
        yield gateway


def test_all_is_well(internal):
    done = run(internal.internal, "localhost", str(internal.cert))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "STARTTLS, name, expiry, AUTH: all is well"


def test_a_certificate_of_another_name_is_found(internal):
    done = run(internal.internal, "smtp.example.com", str(internal.cert))
    assert done.returncode != 0
    assert "Hostname mismatch" in done.stderr


def test_a_certificate_that_nobody_trusts_is_found(internal):
    done = run(internal.internal, "localhost")
    assert done.returncode != 0
    assert "CERTIFICATE_VERIFY_FAILED" in done.stderr


def test_a_listener_that_wants_a_proxy_header_is_found(internal):
    done = run(f"127.0.0.1:{internal.port}", "localhost", str(internal.cert))
    assert done.returncode != 0


def test_senders_in_the_cluster_need_no_proxy_header(internal, sandbox):
    host, _, port = internal.internal.rpartition(":")
    with smtplib.SMTP(host, int(port), timeout=30) as client:
        client._host = "localhost"  # the name in the certificate
        client.starttls(context=internal.trusting())
        client.login("demo@cakemail.example", "demo-password")
        client.sendmail("sender@cakemail.example", ["you@example.com"], "Subject: Inside\n\nHello")
    assert [mail["email"] for mail in sandbox.emails()] == ["you@example.com"]
    assert 'smtpgw_sessions_opened_total{listener="internal"}' in internal.get("/metrics")[1]


@pytest.mark.parametrize(
    ("changes", "address"),
    [
        ({}, "smtpgw-internal:587"),
        ({"internalService": {"port": 25}}, "smtpgw-internal:25"),
        ({"internalService": {"enabled": False}, "proxyProtocol": {"enabled": False}}, "smtpgw:587"),
    ],
)
def test_the_pod_asks_a_listener_without_proxy(changes, address):
    assert of_kind("Pod", with_changes(**changes))["spec"]["containers"][0]["args"][1:] == [address, "smtp.example.com"]


def test_the_pod_is_still_there_when_helm_asks_for_its_log():
    hooks = of_kind("Pod", with_changes())["metadata"]["annotations"]
    assert hooks == {"helm.sh/hook": "test", "helm.sh/hook-delete-policy": "before-hook-creation"}


def test_there_is_no_test_where_every_listener_wants_a_header():
    found = with_changes(internalService={"enabled": False})
    assert all(manifest["kind"] != "Pod" for manifest in found)
