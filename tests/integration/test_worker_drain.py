"""How a worker ends: every session hears of it, what is under way is finished, nothing is begun that would be cut."""

import os
import re
import signal
import smtplib
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import gevent
import pytest

from tests.chaos.campaign import Campaign, compared
from tests.support.gateway import SENDER, Gateway
from tests.support.line import TIMEOUT_SECONDS, Line, log_lines
from tests.support.recorder import plain
from tests.support.sandbox import Sandbox

RESTARTING = "421 4.3.2 localhost is restarting; connect again"
MESSAGE = f"From: {SENDER}\r\nSubject: Drain\r\n\r\nx\r\n.\r\n".encode()
SHORT_DRAIN = {
    "SMTPGW_API_TIMEOUT_SECONDS": "2",
    "SMTPGW_API_RETRY_SECONDS": "1",
    "SMTPGW_SUBMIT_TIMEOUT_SECONDS": "2",
    "SMTPGW_DRAIN_TIMEOUT_SECONDS": "5",
}


def wait_for(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


class Client(Line):
    """A connection brought to some state, over TLS where that needs it. A connection that is cut is an error."""

    def __init__(self, gateway: Gateway, *lines: bytes, smtps: bool = False) -> None:
        super().__init__(gateway, port=gateway.smtps_port if smtps else 0)
        if smtps:
            self.encrypt(gateway)
        assert self.hear().startswith("220 ")
        for line in lines:
            if line == b"TLS":
                assert self.ask(b"STARTTLS").startswith("220 ")
                self.encrypt(gateway)
            else:
                assert self.ask(line)[0] in "23", line

    def encrypt(self, gateway: Gateway) -> None:
        context = gateway.trusting()
        self.sock = context.wrap_socket(self.sock, server_hostname="localhost", suppress_ragged_eofs=False)

    def ask(self, line: bytes) -> str:
        """The last line of the reply to a command."""
        heard = self.say(line + b"\r\n")
        while heard[3:4] == "-":
            heard = self.hear()
        return heard

    def rest(self) -> list[str]:
        """What is heard until the connection ends; over TLS it must end with a close_notify."""
        return list(iter(self.hear, ""))


HELLO = (b"EHLO client.example", b"TLS", b"EHLO client.example")
LOGIN = (*HELLO, b"AUTH PLAIN " + plain())
MAIL = (*LOGIN, b"MAIL FROM:<%b>" % SENDER.encode(), b"RCPT TO:<ann@example.com>")
IDLE = {
    "greeted": (),
    "said EHLO": (b"EHLO client.example",),
    "encrypted": HELLO,
    "logged in": LOGIN,
    "in a transaction": MAIL,
    "asked for a password": (*HELLO, b"AUTH LOGIN"),
}


def test_every_session_hears_of_it_and_is_closed_cleanly(sandbox: Sandbox, tmp_path: Path):
    with Gateway(sandbox.url, tmp_path) as gateway:
        clients = {state: Client(gateway, *lines) for state, lines in IDLE.items()}
        clients["halfway through a command"] = Client(gateway, *LOGIN)
        clients["halfway through a command"].sock.sendall(b"MAIL FR")
        clients["smtps"] = Client(gateway, smtps=True)
        clients["smtps, logged in"] = Client(gateway, HELLO[0], LOGIN[-1], smtps=True)
        gateway.process.terminate()
        for state, client in clients.items():
            with client:
                heard = client.rest()
                assert len(heard) == 1, state
                assert heard[0].startswith(RESTARTING), state
        assert gateway.process.wait(TIMEOUT_SECONDS) == 0
    (drained,) = log_lines(gateway.log, what="worker drained")
    assert drained["cut"] == 0
    assert drained["seconds"] < 100 / 2
    ended = log_lines(gateway.log, event="session")
    assert [line["reason"] for line in ended] == ["drain"] * len(ended)
    assert '"level":"error"' not in gateway.log.read_text()


def test_a_client_that_is_busy_in_a_transaction_hears_of_it_before_it_is_cut(sandbox: Sandbox, tmp_path: Path):
    with Gateway(sandbox.url, tmp_path, **SHORT_DRAIN) as gateway, Client(gateway, *MAIL) as client:
        gateway.process.terminate()
        heard = client.ask(b"NOOP")
        while heard.startswith("250 "):
            time.sleep(0.1)
            heard = client.ask(b"NOOP")
        assert heard.startswith(RESTARTING)
        assert client.rest() == []
        assert gateway.process.wait(TIMEOUT_SECONDS) == 0
    assert [line["cut"] for line in log_lines(gateway.log, what="worker drained")] == [0]


def test_a_message_that_comes_early_in_a_drain_is_taken_and_one_that_would_be_cut_is_not(
    sandbox: Sandbox, tmp_path: Path
):
    with Gateway(sandbox.url, tmp_path, **SHORT_DRAIN) as gateway:
        early, late = (Client(gateway, *MAIL, b"DATA") for _ in range(2))
        gateway.process.terminate()
        with early:
            heard = early.say(MESSAGE)
            assert heard.startswith("250 2.0.0 Ok: queued as ")
            assert early.rest()[0].startswith(RESTARTING)
        time.sleep(3.3)  # a tick until the drain, two seconds, and a tick until nothing is begun that would be cut
        with late:
            late.sock.sendall(MESSAGE.replace(b"Drain", b"Late"))
            (heard,) = late.rest()
            assert heard.startswith(RESTARTING)
        assert gateway.process.wait(TIMEOUT_SECONDS) == 0
    assert [entry["subject"] for entry in sandbox.ledger()["entries"]] == ["Drain"]
    assert [line["cut"] for line in log_lines(gateway.log, what="worker drained")] == [0]


def test_a_message_that_never_ends_is_cut_when_the_time_is_up(sandbox: Sandbox, tmp_path: Path):
    shorter = dict.fromkeys(SHORT_DRAIN, "1") | {"SMTPGW_DRAIN_TIMEOUT_SECONDS": "3"}
    with Gateway(sandbox.url, tmp_path, **shorter) as gateway, Client(gateway, *MAIL, b"DATA") as client:
        gateway.process.terminate()
        began = time.monotonic()
        client.sock.sendall(MESSAGE[:-3])
        assert client.rest() == []
        assert time.monotonic() - began >= 3
        assert gateway.process.wait(TIMEOUT_SECONDS) == 0
    assert [line["cut"] for line in log_lines(gateway.log, what="worker drained")] == [1]
    assert sandbox.ledger()["total"] == 0


def test_a_submission_that_takes_all_the_time_it_may_is_still_answered(sandbox: Sandbox, tmp_path: Path):
    """The API accepts and does not answer: the client hears within its time that nobody knows, and is not cut."""
    sandbox.fault(endpoint="/v2/emails", kind="no_answer")
    with Gateway(sandbox.url, tmp_path, **SHORT_DRAIN) as gateway, Client(gateway, *MAIL, b"DATA") as client:
        client.sock.sendall(MESSAGE)
        wait_for(lambda: sandbox.ledger()["total"] == 1, "it was not sent")
        gateway.process.terminate()
        assert client.hear().startswith("451 4.4.2 Cakemail did not answer in time")
        assert client.hear().startswith(RESTARTING)
        assert gateway.process.wait(TIMEOUT_SECONDS) == 0
    assert sandbox.ledger()["total"] == 1


def test_a_reload_refuses_nobody_and_loses_and_doubles_nothing(sandbox: Sandbox, tmp_path: Path):
    """With HUP a new worker takes over; connections wait meanwhile, and at worst are asked to connect again."""
    with Gateway(sandbox.url, tmp_path) as gateway:
        campaign = Campaign(gateway.port, gateway.trusting(), total=200, connections=10, rate=80, per_connection=3)
        sending = gevent.spawn(campaign.run)
        for sent in (40, 120):
            wait_for(lambda least=sent: len(campaign.heard) > least, "nothing is sent")
            before = workers(gateway)
            gateway.process.send_signal(signal.SIGHUP)
            wait_for(lambda old=before: not workers(gateway) & old, "the old worker stays")
            wait_for(gateway.is_ready, "the new one is not ready")
        sending.get(timeout=2 * TIMEOUT_SECONDS)
    assert {heard.code for heard in campaign.heard.values()} == {250}
    assert [str(row) for row in compared(campaign, sandbox) if row.wrong] == []
    assert [problem for problem in campaign.not_sent if problem.startswith("connecting: Connection")] == []
    assert [line["cut"] for line in log_lines(gateway.log, what="worker drained")] == [0, 0, 0]


def workers(gateway: Gateway) -> set[int]:
    pid = gateway.process.pid
    return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def test_a_worker_that_is_told_to_end_while_it_starts_ends(sandbox: Sandbox, tmp_path: Path):
    """After its fork it has the master's handlers for some time, which only put a signal into a queue."""
    with Gateway(sandbox.url, tmp_path) as gateway:
        (first,) = workers(gateway)
        os.kill(first, signal.SIGKILL)
        booting = re.compile(r"Booting worker with pid: ([0-9]+)")
        while (second := int(booting.findall(gateway.log.read_text())[-1])) == first:
            time.sleep(0.001)
        os.kill(second, signal.SIGTERM)
        wait_for(lambda: second not in workers(gateway), "it has missed the signal")
        wait_for(gateway.is_ready, "there is no third")


def test_a_worker_does_not_outlive_its_master(sandbox: Sandbox, tmp_path: Path):
    def is_gone() -> bool:
        try:
            with socket.create_connection((gateway.host, gateway.port), 5):
                return False
        except (ConnectionRefusedError, ConnectionResetError):
            return True

    with Gateway(sandbox.url, tmp_path) as gateway:
        assert not is_gone()
        os.kill(gateway.process.pid, signal.SIGKILL)
        wait_for(is_gone, "it lives on")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_whoever_is_in_a_hurry_does_not_wait(number: signal.Signals, sandbox: Sandbox, tmp_path: Path):
    with Gateway(sandbox.url, tmp_path) as gateway, smtplib.SMTP("localhost", gateway.port, timeout=30):
        gateway.process.send_signal(number)
        assert gateway.process.wait(TIMEOUT_SECONDS) == 0


def test_a_clean_end_of_tls_can_be_told_from_one_that_was_cut(sandbox: Sandbox, tmp_path: Path):
    """So that the tests above mean something."""
    with Gateway(sandbox.url, tmp_path) as gateway, Client(gateway, *HELLO) as client:
        gateway.kill()
        with pytest.raises((ssl.SSLEOFError, ConnectionResetError)):
            client.rest()
