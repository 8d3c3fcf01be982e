"""Messages while everything around them fails: none that was promised is lost, and none is doubled."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from shutil import which

import gevent
import pytest

from tests.chaos.campaign import Campaign, compared
from tests.chaos.ledger import VARIABLES, chaos
from tests.support.gateway import Gateway
from tests.support.line import Line, log_lines, metric
from tests.support.ports import free_port
from tests.support.sandbox import Sandbox

TIMEOUT_SECONDS = 30
RESTARTING = "421 4.3.2 localhost is restarting; connect again"


@pytest.fixture
def own_sandbox() -> Iterator[Sandbox]:
    """A sandbox for many messages, and for faults that outlive their calls."""
    with Sandbox() as sandbox:
        yield sandbox


def test_every_promise_is_kept_while_the_api_fails_and_the_gateway_is_killed_reloaded_and_restarted(
    own_sandbox: Sandbox, tmp_path: Path
):
    told: list[str] = []
    rows = chaos(own_sandbox, tmp_path, 600, told.append, rate=60)
    assert [str(row) for row in rows if row.wrong] == [], "\n".join(told)
    by_answer = {row.answer: row.counts for row in rows}
    assert sum(counts.total() for counts in by_answer.values()) == 600
    assert by_answer["250"][1] > 300
    assert by_answer["4xx"].total() + by_answer["5xx"].total() > 20, "nothing failed"
    assert [text.split("now: ")[1] for text in told if "now: " in text] == [
        "reload", "restart", "kill a worker", "reload", "restart",
    ]  # fmt: skip


HAPROXY = """
global
    maxconn 1000
defaults
    mode tcp
    timeout connect 2s
    timeout client 60s
    timeout server 60s
    option redispatch
    retries 3
listen smtp
    bind 127.0.0.1:{port}
    balance leastconn
    option httpchk GET /health/ready
"""
SERVER = "    server {name} 127.0.0.1:{smtp} send-proxy-v2 check port {http} inter 100 fall 1 rise 1\n"


@pytest.fixture
def behind_haproxy(own_sandbox: Sandbox, tmp_path: Path) -> Iterator[tuple[int, list[Gateway]]]:
    """Two gateways behind one port, by the PROXY protocol, version 2."""
    haproxy = which("haproxy", path="/usr/sbin:/usr/bin:/usr/local/sbin")
    if not haproxy:
        pytest.skip("haproxy is not installed; see tests/chaos/install.sh")
    proxied = {
        **{name: value for name, value in VARIABLES.items() if name != "SMTPGW_WORKERS"},
        "SMTPGW_PROXY_PROTOCOL": "on",
        "SMTPGW_PROXY_CIDRS": "127.0.0.1/32",
    }
    gateways = [Gateway(own_sandbox.url, tmp_path, **proxied) for _ in range(2)]
    port = free_port()
    servers = "".join(SERVER.format(name=f"gateway{n}", smtp=g.port, http=g.http_port) for n, g in enumerate(gateways))
    config = tmp_path / "haproxy.cfg"
    config.write_text(HAPROXY.format(port=port) + servers)
    with gateways[0], gateways[1]:
        process = subprocess.Popen([haproxy, "-q", "-db", "-f", str(config)], stdin=subprocess.DEVNULL)
        yield port, gateways
        process.terminate()
        process.wait(TIMEOUT_SECONDS)


def test_two_gateways_are_restarted_one_after_the_other_and_no_message_fails(
    behind_haproxy: tuple[int, list[Gateway]], own_sandbox: Sandbox
):
    port, gateways = behind_haproxy
    own_sandbox.fault(kind="latency", latency_ms=50)  # so that there is always something under way
    campaign = Campaign(port, gateways[0].trusting(), total=6000, connections=20, rate=60, per_connection=5)

    def wait_for_more() -> None:
        sent = len(campaign.heard)
        while len(campaign.heard) < sent + 100:
            gevent.sleep(0.01)

    def roll() -> None:
        for gateway in gateways:
            wait_for_more()
            assert gateway.stop() == 0
            gateway.start()
        wait_for_more()
        campaign.is_enough = True

    rolling = gevent.spawn(roll)
    campaign.run()
    rolling.get(timeout=TIMEOUT_SECONDS)
    assert {heard.code for heard in campaign.heard.values()} == {250}
    assert [str(row) for row in compared(campaign, own_sandbox) if row.wrong] == []
    assert campaign.not_sent, "no client noticed the restarts"
    for gateway in gateways:
        assert metric(gateway, 'smtpgw_recipients_total{result="accepted"}') > 0, "it took no part after its restart"
        drained = log_lines(gateway.log, what="worker drained")
        assert [line["cut"] for line in drained] == [0]


def wait_until_refused(gateway: Gateway) -> None:
    """See that a new connection is told to go at once, as long as there is still one to be had."""
    while True:
        try:
            with Line(gateway) as line:
                heard = list(iter(line.hear, ""))
        except ConnectionResetError:  # it was waiting to be accepted
            continue
        except ConnectionRefusedError:
            return
        assert not heard or heard[-1].startswith(RESTARTING), heard


def test_with_term_a_message_under_way_is_answered_and_nobody_else_is_let_in(own_sandbox: Sandbox, tmp_path: Path):
    own_sandbox.fault(endpoint="POST /v2/emails", kind="latency", latency_ms=1500)
    with Gateway(own_sandbox.url, tmp_path, **VARIABLES | {"SMTPGW_WORKERS": "1"}) as gateway:
        campaign = Campaign(gateway.port, gateway.trusting(), total=5, connections=5)
        with Line(gateway) as idle:
            assert idle.hear().startswith("220 ")
            sending = gevent.spawn(campaign.run)
            own_sandbox.wait_for_submissions(5)
            gateway.process.terminate()
            ready = 200
            while ready == 200:
                ready = gateway.get("/health/ready")[0]
            assert ready == 503
            wait_until_refused(gateway)
            assert idle.hear().startswith(RESTARTING)
            sending.get(timeout=TIMEOUT_SECONDS)
        assert {heard.code for heard in campaign.heard.values()} == {250}
        assert gateway.process.wait(TIMEOUT_SECONDS) == 0
    assert not any(row.wrong for row in compared(campaign, own_sandbox))
