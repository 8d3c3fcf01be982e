"""Five hundred clients that say nothing, stop in their handshake or in their message; an honest one is served."""

import smtplib
import socket
import time
from collections.abc import Iterator

import pytest

from tests.support.gateway import PASSWORD, SENDER, USERNAME, Gateway
from tests.support.line import Line, metric
from tests.support.sandbox import Sandbox

SLOW = 500
IDLE_SECONDS = 8
TIMEOUT_SECONDS = 60
# How long the honest client may take: what it takes alone, on a machine that does other things, too, and never the
# time that a slow one is given.
PROMPT_SECONDS = 5.0
CLIENT_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"


@pytest.fixture(scope="module")
def besieged(shared_sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    seconds = str(IDLE_SECONDS)
    variables = {
        "SMTPGW_IDLE_TIMEOUT_SECONDS": seconds,
        "SMTPGW_DATA_TIMEOUT_SECONDS": seconds,
        "SMTPGW_HANDSHAKE_TIMEOUT_SECONDS": seconds,
        "SMTPGW_MAX_SESSIONS_PER_ADDRESS": "1000",
    }
    with Gateway(shared_sandbox.url, tmp_path_factory.mktemp("besieged"), **variables) as gateway:
        yield gateway


def silent(gateway: Gateway) -> socket.socket:
    return Line(gateway).sock


def slow_command(gateway: Gateway) -> socket.socket:
    return Line(gateway, b"EHLO an-octet-now-and-then").sock


def within_the_handshake(gateway: Gateway) -> socket.socket:
    return Line(gateway, CLIENT_HELLO, port=gateway.smtps_port).sock


def within_data(gateway: Gateway) -> socket.socket:
    client = smtplib.SMTP_SSL("localhost", gateway.smtps_port, timeout=TIMEOUT_SECONDS, context=gateway.trusting())
    client.login(USERNAME, PASSWORD)
    client.mail(SENDER)
    client.rcpt("r@customer.example")
    assert client.docmd("DATA")[0] == 354
    client.send(f"From: {SENDER}\r\n")
    assert client.sock
    return client.sock


WAYS = [silent, slow_command, within_the_handshake, within_data]


def test_an_honest_client_is_served_promptly_and_the_slow_ones_end(besieged: Gateway, sandbox: Sandbox):
    limits = [f'smtpgw_limits_hit_total{{limit="{name}"}}' for name in ("idle", "data_rate")]
    failed = 'smtpgw_tls_handshakes_total{version="failed"}'
    slow, since = [], []
    for n in range(SLOW):
        since.append(time.monotonic())
        slow.append(WAYS[n % len(WAYS)](besieged))
    try:
        here = metric(besieged, "smtpgw_sessions_active")
        began = time.monotonic()
        # All of them, unless it has taken so long to open them that the time of the first is up.
        assert here >= 0.9 * sum(began - opened < IDLE_SECONDS - 1 for opened in since), "they did not stay"
        with besieged.client() as client:
            client.sendmail(SENDER, "r@customer.example", f"From: {SENDER}\r\nSubject: honest\r\n\r\nhello\r\n")
        assert time.monotonic() - began < PROMPT_SECONDS
        assert [e["subject"] for e in sandbox.emails()] == ["honest"]
        assert besieged.is_ready()
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while metric(besieged, "smtpgw_sessions_active"):
            for sock in slow[1 :: len(WAYS)]:  # an octet now and then gives a command no more time
                try:
                    sock.send(b"x")
                except OSError:
                    sock.close()
            assert time.monotonic() < deadline, "slow clients are still here"
            time.sleep(0.5)
        counts = [metric(besieged, sample) for sample in (*limits, failed)]
        assert counts == [SLOW / 2, SLOW / 4, SLOW / 4]
    finally:
        for sock in slow:
            sock.close()
