"""Deferred telemetry is complete, in order, and written before a scrape and before the process ends."""

import json
from collections.abc import Callable
from pathlib import Path

import gevent

from smtpgw.telemetry import metrics
from smtpgw.telemetry.deferred import FLUSH_INTERVAL_SECONDS, DeferredCalls
from tests.support.gateway import SENDER, Gateway
from tests.support.sandbox import Sandbox


def test_callbacks_run_at_once_before_the_start():
    called: list[int] = []
    DeferredCalls().submit(lambda: called.append(1))
    assert called == [1]


def test_callbacks_run_in_the_order_of_submission():
    def append(n: int) -> Callable[[], None]:
        return lambda: called.append(n)

    calls, called = DeferredCalls(), []
    calls.start()
    for n in range(3):
        calls.submit(append(n))
    assert called == []
    gevent.sleep(3 * FLUSH_INTERVAL_SECONDS)
    assert called == [0, 1, 2]
    calls.submit(append(3))
    calls.flush()
    assert called == [0, 1, 2, 3]


def test_an_exception_of_a_callback_does_not_stop_the_others():
    def broken() -> None:
        raise ZeroDivisionError

    calls, called = DeferredCalls(), []
    calls.is_started = True
    before = metrics.INTERNAL_ERRORS._value.get()
    calls.submit(broken)
    calls.submit(lambda: called.append(1))
    calls.flush()
    assert called == [1]
    assert metrics.INTERNAL_ERRORS._value.get() == before + 1


def test_a_process_that_ends_writes_everything_before_its_last_line(sandbox: Sandbox, tmp_path: Path):
    with Gateway(sandbox.url, tmp_path) as gateway:
        client = gateway.client()
        for n in range(20):
            client.sendmail(SENDER, ["b@customer.example"], f"From: {SENDER}\r\nSubject: {n}\r\n\r\n{n}\r\n")
        client.close()
        gateway.process.terminate()
        assert gateway.process.wait(30) == 0
    lines = [json.loads(line) for line in gateway.log.read_text().splitlines()]
    called = [line["event"] for line in lines if "session" in line or line.get("what") == "worker drained"]
    assert called == ["auth", *["message"] * 20, "session", "lifecycle"]
    times = [line["time"] for line in lines if "session" in line]
    assert times == sorted(times), "the time of the event, not of the flush"


def test_a_scrape_right_after_a_reply_has_it(sandbox: Sandbox, gateway: Gateway):
    def accepted() -> float:
        lines = gateway.get("/metrics")[1].splitlines()
        return float(
            next(line.split()[1] for line in lines if line.startswith('smtpgw_messages_total{result="accepted"'))
        )

    before = accepted()
    with gateway.client() as client:
        for n in range(1, 6):
            client.sendmail(SENDER, ["b@customer.example"], f"From: {SENDER}\r\nSubject: {n}\r\n\r\n{n}\r\n")
            assert accepted() == before + n
