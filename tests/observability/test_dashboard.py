"""A real Prometheus scrapes a gateway under load: every query of the dashboard has something to show."""

import contextlib
import math
import smtplib
import threading
import time
from collections.abc import Iterator

import pytest

from tests.observability.dashboards import Query, board_queries
from tests.observability.prometheus import RULES, Blackbox, Page, Prometheus, gateway_target, target, wait_for
from tests.support.gateway import SENDER, USERNAME, Gateway
from tests.support.sandbox import Sandbox

LOAD_SECONDS = 8.0
CLUSTER = """\
kube_horizontalpodautoscaler_status_current_replicas{namespace="mail",horizontalpodautoscaler="smtpgw"} 3
kube_horizontalpodautoscaler_spec_max_replicas{namespace="mail",horizontalpodautoscaler="smtpgw"} 12
kube_pod_container_status_restarts_total{namespace="mail",pod="mail-0",container="smtpgw"} 0
octavia_listener_current_sessions{listener="smtp"} 5
octavia_listener_limit_sessions{listener="smtp"} 50000
"""


def send(client: smtplib.SMTP, recipients: list[str], headers: str = "") -> None:
    text = f"From: {SENDER}\r\nSubject: x\r\nX-Mailgun-Tag: a\r\n{headers}\r\n{'x' * 3000}\r\n"
    with contextlib.suppress(smtplib.SMTPDataError):
        client.sendmail(SENDER, recipients, text)


def load(gateway: Gateway, until: float) -> None:
    """A client's life, again and again: all that the panels show."""
    while time.monotonic() < until:
        with gateway.client() as client:
            for _ in range(10):
                send(client, ["accepted@customer.example"])
                send(client, ["refused@customer.example"])
                send(client, [f"{n}@customer.example" for n in range(8)])
        with gateway.encrypted() as guesser, contextlib.suppress(smtplib.SMTPAuthenticationError):
            guesser.login(USERNAME, "wrong")
        gateway.encrypted().close()
        gateway.is_ready()


@pytest.fixture(scope="module")
def prometheus(shared_sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    folder = tmp_path_factory.mktemp("prometheus")
    shared_sandbox.clear()
    shared_sandbox.fault(kind="rejected", email="refused@customer.example")
    # Two calls of the API at a time: some have to wait.
    with Gateway(shared_sandbox.url, folder, SMTPGW_API_CONNECTIONS="2") as gateway, Page(lambda: CLUSTER) as cluster:
        blackbox = Blackbox(folder, gateway.cert)
        jobs = {"smtpgw": [gateway_target(gateway)], "cluster": [target(cluster.address)]}
        prometheus = Prometheus(folder, jobs, RULES)
        prometheus.probe(blackbox, f"localhost:{gateway.port}")
        with blackbox, prometheus:
            until = time.monotonic() + LOAD_SECONDS
            clients = [threading.Thread(target=load, args=(gateway, until)) for _ in range(4)]
            for client in clients:
                client.start()
            for client in clients:
                client.join()
            wait_for(lambda: prometheus.query("smtpgw:error_ratio:rate3d"), 10)
            yield prometheus


@pytest.mark.parametrize("query", board_queries(), ids=lambda query: query.where)
def test_a_query_has_something_to_show(prometheus: Prometheus, query: Query):
    found = prometheus.query(query.expression)
    assert found, query.expression
    assert any(math.isfinite(value) for _, value in found), (query.expression, found)


def test_the_probe_succeeds_and_sees_the_certificate(prometheus: Prometheus):
    ((_, success),) = prometheus.query("probe_success")
    ((labels, expiry),) = prometheus.query("probe_ssl_earliest_cert_expiry")
    assert success == 1
    assert labels["instance"].startswith("localhost:")
    ((_, served),) = prometheus.query("smtpgw_certificate_expiry_timestamp_seconds")
    assert expiry == served


def test_every_target_is_up(prometheus: Prometheus):
    assert {labels["job"]: value for labels, value in prometheus.query("up")} == {
        "smtpgw": 1, "cluster": 1, "smtpgw-probe": 1,
    }  # fmt: skip
