"""Four staged incidents and a calm day, watched by one real Prometheus.

The dashboard's first row says which it was, the alert that belongs to it fires and no other, and the log says who.
"""

import contextlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import gevent
import pytest

from smtpgw.sandbox import certificate
from smtpgw.sandbox.accounts import OTHER, OTHER_SENDER
from tests.observability.clients import Clock, connected, flood, send_all_day
from tests.observability.dashboards import boards, colour, first_row, scaled
from tests.observability.prometheus import RULES, Prometheus, gateway_target, wait_for
from tests.support.gateway import SENDER, Gateway
from tests.support.sandbox import Sandbox

LOAD_SECONDS = 45.0  # two of the windows of 15 s that shares are counted in, and time for alerts


class Stage:
    """The gateways, by what happens to them, and who sends to them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.gateways: dict[str, Gateway] = {}
        self.goes_on = Clock()
        self.clients: list[threading.Thread] = []

    def gateway(self, name: str, sandbox: Sandbox, **variables: str) -> None:
        # No address is trusted: limits are to be met.
        settings = {"SMTPGW_TRUSTED_CIDRS": "192.0.2.0/24", **variables}
        self.gateways[name] = Gateway(sandbox.url, self.folder / name, **settings)

    def all_at_once(self, work: Callable[[Gateway], object]) -> None:
        gevent.joinall([gevent.spawn(work, gateway) for gateway in self.gateways.values()], raise_error=True)

    def client(self, work: Callable[..., None], *arguments: object) -> None:
        self.clients.append(threading.Thread(target=work, args=(*arguments, self.goes_on)))

    def play(self) -> None:
        self.goes_on.begin(LOAD_SECONDS)
        for client in self.clients:
            client.start()


def staged(folder: Path, stack: contextlib.ExitStack) -> Stage:
    well, slow = stack.enter_context(Sandbox()), stack.enter_context(Sandbox())
    slow.fault(endpoint="POST /v2/emails", latency_ms=3000)
    well.fault(status=422, body={"detail": "this sender is suspended"}, sender=OTHER_SENDER.email)
    stage = Stage(folder)
    stage.gateway("calm", well)
    stage.gateway("api-slow", slow)
    stage.gateway("one-customer", well)
    stage.gateway("one-client", well, SMTPGW_MAX_SESSIONS_PER_ADDRESS="5")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(certificate, "DAYS", 7)
        stage.gateway("certificate", well)
    stack.callback(stage.all_at_once, Gateway.stop)
    stage.all_at_once(Gateway.start)
    for gateway in stage.gateways.values():
        for _ in range(2):
            stage.client(send_all_day, connected(gateway, "127.0.0.2"), SENDER)
    suspended = connected(stage.gateways["one-customer"], "127.0.0.3", OTHER.email, OTHER.password)
    stage.client(send_all_day, suspended, OTHER_SENDER.email)
    stage.client(flood, stage.gateways["one-client"])
    return stage


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Prometheus, Stage]]:
    """All incidents at once, each in a namespace of its own, when they have lasted a while."""
    folder = tmp_path_factory.mktemp("incidents")
    rules = folder / "rules.yaml"
    rules.write_text(scaled(RULES.read_text("utf-8")))
    with contextlib.ExitStack() as stack:
        stage = staged(folder, stack)
        targets = [gateway_target(gateway, namespace=name) for name, gateway in stage.gateways.items()]
        prometheus = stack.enter_context(Prometheus(folder, {"smtpgw": targets}, rules))
        stage.play()
        expected = {alert for alert, _ in INCIDENTS.values() if alert}
        wait_for(lambda: expected <= {a["labels"]["alertname"] for a in prometheus.alerts()}, LOAD_SECONDS - 5)
        time.sleep(3)  # for those that must not fire
        yield prometheus, stage
        stage.goes_on.end = 0.0
        for client in stage.clients:
            client.join()


INCIDENTS = {
    "calm": (None, None),
    "api-slow": ("SmtpgwApiSlow", "Cakemail's API: p95"),
    "one-customer": ("SmtpgwOneCustomerRefused", "One customer: share of refusals"),
    "one-client": ("SmtpgwOneClientFloods", "One client: share of limits hit"),
    "certificate": ("SmtpgwCertificateExpires", "Certificate: days left"),
}


@pytest.mark.parametrize("incident", INCIDENTS)
def test_the_first_row_says_which_it_was(seen, incident):
    prometheus, _ = seen
    red = set()
    for panel in first_row():
        expression = panel["targets"][0]["expr"].replace("$namespace", incident).replace("$region", ".*")
        ((_, value),) = prometheus.query(scaled(expression).replace("$__rate_interval", "15s"))
        if colour(panel, value) == "red":
            red.add(panel["title"])
    assert len(first_row()) == 7
    assert red == {INCIDENTS[incident][1]} - {None}


@pytest.mark.parametrize("incident", INCIDENTS)
def test_the_alert_that_should_fire_fires_and_no_other(seen, incident):
    prometheus, _ = seen
    firing = {alert["labels"]["alertname"] for alert in prometheus.alerts() if of(alert, incident)}
    assert firing == {INCIDENTS[incident][0]} - {None}


@pytest.mark.parametrize("incident", INCIDENTS)
def test_the_dashboard_marks_when_an_alert_fired(seen, incident):
    prometheus, _ = seen
    (marks,) = boards()["smtpgw"]["annotations"]["list"]
    expression = marks["expr"].replace("$namespace", incident).replace("$region", ".*")
    named = {labels["alertname"] for labels, _ in prometheus.query(expression)}
    assert named == {INCIDENTS[incident][0]} - {None}


def of(alert: dict, incident: str) -> bool:
    """Whether an alert is about this gateway, or about all of them."""
    return alert["labels"].get("namespace", incident) == incident


def lines(gateway: Gateway, event: str) -> list[dict]:
    found = map(json.loads, gateway.log.read_text().splitlines())
    return [line for line in found if line["event"] == event]


def test_the_log_says_which_customer(seen):
    _, stage = seen
    refused = [line for line in lines(stage.gateways["one-customer"], "message") if line["result"] == "refused"]
    assert Counter(line["account"] for line in refused).most_common(1)[0][0] == OTHER.id
    assert {(line["reason"], line["reply"]) for line in refused} == {
        ("refused_by_api", "550 5.0.0 this sender is suspended")
    }


def test_the_log_says_which_client(seen):
    _, stage = seen
    limits = lines(stage.gateways["one-client"], "limit")
    assert {(line["client"], line["limit"]) for line in limits} == {("127.0.0.1", "too_many_sessions_from_address")}


def test_others_are_served_meanwhile(seen):
    """Of the customer beside the suspended one, and of the client beside the flood, no message is refused."""
    prometheus, stage = seen
    for name in ("one-customer", "one-client"):
        results = Counter(
            (line["account"], line["result"])
            for line in lines(stage.gateways[name], "message")
            if line["account"] != OTHER.id
        )
        assert {result for _, result in results} == {"accepted"}, name
        assert sum(results.values()) > 50
    assert prometheus.query('sum(smtpgw_objective_total{outcome="failed"})') == [({}, 0.0)]
