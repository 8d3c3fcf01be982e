"""`python -m smtpgw top` as an operator runs it: once, again and again, and at nothing."""

import contextlib
import os
import pty
import re
import signal
import smtplib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from smtpgw.commands import top
from smtpgw.commands.scrape import Interval, Scrape
from tests.support.gateway import ROOT, SENDER, USERNAME, Gateway
from tests.support.ports import free_port


def run(*arguments: str, columns: int = 160) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "smtpgw", "top", *arguments],
        cwd=ROOT, env={**os.environ, "COLUMNS": str(columns)}, capture_output=True, text=True,
    )  # fmt: skip


@pytest.fixture
def load(sandbox, gateway):
    """A client that sends, and one that is refused, for as long as the test lasts."""
    sandbox.fault(kind="rejected", email="refused@customer.example")
    ends = threading.Event()

    def send() -> None:
        with gateway.client() as client:
            while not ends.is_set():
                client.sendmail(SENDER, ["accepted@customer.example"], f"From: {SENDER}\r\n\r\nx\r\n")
                with contextlib.suppress(smtplib.SMTPDataError):
                    client.sendmail(SENDER, ["refused@customer.example"], f"From: {SENDER}\r\n\r\nx\r\n")

    thread = threading.Thread(target=send)
    thread.start()
    with gateway.encrypted() as guesser, pytest.raises(smtplib.SMTPAuthenticationError):
        guesser.login(USERNAME, "wrong")
    yield gateway
    ends.set()
    thread.join()


def test_one_look(load):
    found = run("--once", "--interval", "2", f"127.0.0.1:{load.http_port}")
    assert found.returncode == 0, found
    said = found.stdout
    assert re.search(r"smtpgw \d+\.\d+\.\d+ .* [\d.]+ messages/s .* 1 workers  certificate \d+ days", said)
    for result in ("accepted", "refused"):
        (rate,) = re.findall(rf"{result} +([\d.,]+) +[\d,]+ ", said)
        assert float(rate) > 0
    assert re.search(r"DATA to reply +[\d.]+ m?s +[\d.]+ m?s +[\d.]+ m?s", said)
    assert re.search(r"API, one email +[\d.]+ m?s", said)
    assert re.search(r"answers 201 +[\d.,]+/s", said)
    assert re.search(r"not_queued_by_api +[\d.]+", said)
    assert "bad_credentials" in said


def test_a_terminal_is_refreshed_until_ctrl_c(load):
    ours, theirs = pty.openpty()
    watching = subprocess.Popen(
        [sys.executable, "-m", "smtpgw", "top", "--interval", "0.3", f"http://127.0.0.1:{load.http_port}/metrics"],
        cwd=ROOT, env={**os.environ, "COLUMNS": "160", "LINES": "40", "TERM": "xterm"},
        stdin=theirs, stdout=theirs, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    seen, end = b"", time.monotonic() + 30
    while seen.count(b"DATA to reply") < 3 and time.monotonic() < end:
        seen += os.read(ours, 65_536)
    watching.send_signal(signal.SIGINT)
    assert watching.wait(20) == 0
    os.close(ours)
    assert seen.count(b"DATA to reply") >= 3
    assert b"\x1b[?1049h" in seen  # the alternate screen: what was on the terminal comes back


@contextlib.contextmanager
def piped(gateway: Gateway) -> Iterator[Iterator[str]]:
    """The lines that `top` prints where there is no terminal, until Ctrl-C."""
    command = [sys.executable, "-m", "smtpgw", "top", "--interval", "0.3", f"127.0.0.1:{gateway.http_port}"]
    environ = {**os.environ, "COLUMNS": "160"}
    with subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, text=True) as watching:
        yield watching.stdout
        watching.send_signal(signal.SIGINT)
        watching.stdout.read()
    assert watching.returncode == 0


def test_a_pipe_gets_look_after_look(load):
    with piped(load) as lines:
        assert all(any("messages/s" in line for line in lines) for _ in range(3))


def test_a_gateway_that_restarts_is_waited_for(gateway):
    with piped(gateway) as lines:
        assert any("messages/s" in line for line in lines)
        gateway.stop()
        assert any(line.startswith("no answer: http://127.0.0.1:") for line in lines)
        gateway.start()
        assert any("messages/s" in line for line in lines)


def test_a_gateway_that_does_not_answer_is_named():
    address = f"127.0.0.1:{free_port()}"
    found = run("--once", address)
    assert found.returncode == 1
    assert found.stderr.startswith(f"smtpgw: http://{address}/metrics: ")
    assert "Traceback" not in found.stderr


def test_several_gateways_are_added_up(load):
    address = f"127.0.0.1:{load.http_port}"
    found = run("--once", "--interval", "0.5", address, address)
    assert " 2 workers" in found.stdout
    (days,) = re.findall(r"certificate (\d+) days", found.stdout)
    assert int(days) <= 365  # of the one that expires first, and not added up


def interval(before: str, after: str) -> Interval:
    scrapes = Scrape(0.0), Scrape(1.0)
    for scrape, page in zip(scrapes, (before, after), strict=True):
        scrape.add(page)
    return Interval(*scrapes)


def text(table: object) -> str:
    console = top.Console(width=100)
    with console.capture() as captured:
        console.print(table)
    return captured.get()


def test_the_breaker_is_shown_where_there_is_one():
    assert "breaker" not in text(top.api(interval("", "")))
    assert re.search(r"breaker +open", text(top.api(interval("", "smtpgw_breaker_open 1\n"))))
    assert re.search(r"breaker +closed", text(top.api(interval("", "smtpgw_breaker_open 0\n"))))


def test_a_gateway_at_rest_is_shown_without_numbers():
    assert "–" in text(top.latencies(interval("", "")))
    assert "none" in text(top.refusals(interval("", "")))
    assert "draining" not in text(top.headline(interval("", "smtpgw_draining 0\n"), []))
    assert "1 draining" in text(top.headline(interval("", "smtpgw_workers 2\nsmtpgw_draining 1\n"), []))


def test_what_grows_comes_first():
    before = 'smtpgw_refusals_total{reply="old"} 100\n'
    after = 'smtpgw_refusals_total{reply="old"} 100\nsmtpgw_refusals_total{reply="new"} 3\n'
    shown = text(top.refusals(interval(before, after)))
    assert shown.index("new") < shown.index("old")
