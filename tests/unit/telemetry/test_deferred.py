"""What is told a moment later is told whole, in order, and before anybody reads or the process ends."""

import json
from collections.abc import Callable
from pathlib import Path

import gevent

from smtpgw.telemetry import metrics
from smtpgw.telemetry.deferred import GATHER_SECONDS, Deferred
from tests.support.gateway import SENDER, Gateway
from tests.support.sandbox import Sandbox


def test_nothing_waits_before_the_start():
    told: list[int] = []
    Deferred().later(lambda: told.append(1))
    assert told == [1]


def test_what_waits_is_told_in_its_order():
    def telling_of(n: int) -> Callable[[], None]:
        return lambda: told.append(n)

    telling, told = Deferred(), []
    telling.start()
    for n in range(3):
        telling.later(telling_of(n))
    assert told == []
    gevent.sleep(3 * GATHER_SECONDS)
    assert told == [0, 1, 2]
    telling.later(telling_of(3))
    telling.catch_up()
    assert told == [0, 1, 2, 3]


def test_what_cannot_be_told_keeps_nobody_else_from_being_told():
    def broken() -> None:
        raise ZeroDivisionError

    telling, told = Deferred(), []
    telling.gathers = True
    before = metrics.INTERNAL_ERRORS._value.get()
    telling.later(broken)
    telling.later(lambda: told.append(1))
    telling.catch_up()
    assert told == [1]
    assert metrics.INTERNAL_ERRORS._value.get() == before + 1


def test_a_process_that_ends_tells_all_before_it_says_so(sandbox: Sandbox, tmp_path: Path):
    with Gateway(sandbox.url, tmp_path) as gateway:
        client = gateway.client()
        for n in range(20):
            client.sendmail(SENDER, ["b@customer.example"], f"From: {SENDER}\r\nSubject: {n}\r\n\r\n{n}\r\n")
        client.close()
        gateway.process.terminate()
        assert gateway.process.wait(30) == 0
    lines = [json.loads(line) for line in gateway.log.read_text().splitlines()]
    told = [line["event"] for line in lines if "session" in line or line.get("what") == "worker drained"]
    assert told == ["auth", *["message"] * 20, "session", "lifecycle"]
    times = [line["time"] for line in lines if "session" in line]
    assert times == sorted(times), "when it happened, not when it was told"


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
