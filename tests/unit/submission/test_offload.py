"""The threads for large messages: few, bounded, in turns by account, and never waited for by smaller messages."""

import smtplib
import threading
import time
from collections.abc import Iterator
from statistics import median
from typing import Any

import gevent
import pytest
from gevent.event import Event
from gevent.monkey import get_original

from smtpgw.core import replies
from smtpgw.core.replies import SMTPError
from smtpgw.submission import offload
from smtpgw.submission.offload import HUGE_BYTES, LARGE_BYTES, Lane, Offload
from tests.support.gateway import SENDER, Gateway
from tests.support.line import metric
from tests.support.sandbox import Sandbox

TIMEOUT_SECONDS = 30.0
native_lock = get_original("threading", "Lock")


class Gate:
    """Work that goes on in its thread until it is let go."""

    def __init__(self) -> None:
        self.lock = native_lock()
        self.lock.acquire()

    def __call__(self) -> str:
        assert self.lock.acquire(timeout=TIMEOUT_SECONDS)
        return "done"

    def open(self) -> None:
        self.lock.release()


@pytest.fixture
def lane() -> Iterator[Lane]:
    """A lane with one thread and four places to wait."""
    found = Lane(1, 4)
    yield found
    assert (found.free, found.waiting) == (1, {}), "it has lost its thread, or somebody waits for ever"


def refusal(of: Any) -> replies.Reply:
    with pytest.raises(SMTPError) as caught:
        of()
    return caught.value.reply


def waiting(lane: Lane) -> int:
    return sum(map(len, lane.waiting.values()))


def test_smaller_messages_never_wait_for_larger_ones():
    lanes, gates = Offload(), [Gate() for _ in range(3)]
    deadline = time.monotonic() + TIMEOUT_SECONDS
    huge = [gevent.spawn(lanes.message(HUGE_BYTES, 1, deadline), gate) for gate in gates]
    gevent.sleep(0)
    try:
        assert lanes.message(HUGE_BYTES - 1, 1, deadline)(lambda: "large") == "large"
        assert lanes.message(LARGE_BYTES - 1, 1, deadline)(threading.get_ident) == threading.get_ident()
        assert not any(one.ready() for one in huge)
    finally:
        for gate in gates:
            gate.open()
    assert [one.get(timeout=TIMEOUT_SECONDS) for one in huge] == ["done"] * 3


def test_the_queue_is_bounded_and_one_account_has_half_of_it(lane: Lane):
    gate = Gate()
    running = [gevent.spawn(lane.run, 1, TIMEOUT_SECONDS, gate)]
    gevent.sleep(0)
    running += [gevent.spawn(lane.run, 1, TIMEOUT_SECONDS, str) for _ in range(2)]
    gevent.sleep(0)
    assert refusal(lambda: lane.run(1, TIMEOUT_SECONDS, str)) is replies.TOO_MANY_LARGE_MESSAGES
    running += [gevent.spawn(lane.run, account, TIMEOUT_SECONDS, str) for account in (2, 3)]
    gevent.sleep(0)
    assert refusal(lambda: lane.run(4, TIMEOUT_SECONDS, str)) is replies.TOO_MANY_LARGE_MESSAGES
    gate.open()
    gevent.joinall(running, TIMEOUT_SECONDS, raise_error=True)


def test_accounts_take_turns(lane: Lane):
    gate, order = Gate(), []
    running = [gevent.spawn(lane.run, 0, TIMEOUT_SECONDS, gate)]
    gevent.sleep(0)
    running += [
        gevent.spawn(lane.run, account, TIMEOUT_SECONDS, lambda account=account: order.append(account))
        for account in (1, 1, 2)
    ]
    gevent.sleep(0)
    gate.open()
    gevent.joinall(running, TIMEOUT_SECONDS, raise_error=True)
    assert order == [1, 2, 1]


def test_a_message_that_was_begun_comes_before_new_ones_and_needs_no_place(lane: Lane):
    gate, order, steps = Gate(), [], offload.Work(lane, 1, time.monotonic() + TIMEOUT_SECONDS)
    steps(str)
    running = [gevent.spawn(lane.run, 0, TIMEOUT_SECONDS, gate)]
    gevent.sleep(0)
    running += [gevent.spawn(lane.run, n, TIMEOUT_SECONDS, lambda: order.append("new")) for n in range(1, 5)]
    gevent.sleep(0)
    running.append(gevent.spawn(steps, lambda: order.append("begun")))
    gevent.sleep(0)
    assert waiting(lane) == 5
    gate.open()
    gevent.joinall(running, TIMEOUT_SECONDS, raise_error=True)
    assert order == ["begun", *["new"] * 4]


def test_who_waits_too_long_is_refused_and_leaves_the_queue(lane: Lane):
    gate = Gate()
    running = gevent.spawn(lane.run, 1, TIMEOUT_SECONDS, gate)
    gevent.sleep(0)
    assert refusal(lambda: lane.run(2, 0.01, str)) is replies.TOO_MANY_LARGE_MESSAGES
    assert waiting(lane) == 0
    gate.open()
    running.get(timeout=TIMEOUT_SECONDS)


@pytest.mark.parametrize("has_its_turn", [False, True])
def test_a_session_that_is_ended_while_it_waits_takes_no_thread_with_it(lane: Lane, has_its_turn: bool):
    gate = Gate()
    running = gevent.spawn(lane.run, 1, TIMEOUT_SECONDS, gate)
    gevent.sleep(0)
    ended = gevent.spawn(lane.run, 2, TIMEOUT_SECONDS, str)
    gevent.sleep(0)
    if has_its_turn:
        gate.open()
        running.link(lambda _: ended.kill(block=False))
    else:
        ended.kill()
        gate.open()
    gevent.joinall([running, ended], TIMEOUT_SECONDS)
    assert lane.run(3, TIMEOUT_SECONDS, lambda: "next") == "next"


def test_what_the_work_raises_is_raised_to_its_message(lane: Lane):
    def broken() -> None:
        raise SMTPError(replies.BAD_AUTHOR)

    assert refusal(lambda: lane.run(1, TIMEOUT_SECONDS, broken)) is replies.BAD_AUTHOR


def test_a_message_that_finds_the_queue_full_may_come_again(lane: Lane):
    gate, told = Gate(), Event()
    running = [gevent.spawn(lane.run, 0, TIMEOUT_SECONDS, gate)]
    gevent.sleep(0)
    running += [gevent.spawn(lane.run, n, TIMEOUT_SECONDS, told.set) for n in range(1, 5)]
    gevent.sleep(0)
    assert refusal(lambda: lane.run(9, TIMEOUT_SECONDS, str)).code == 452
    gate.open()
    gevent.joinall(running, TIMEOUT_SECONDS, raise_error=True)
    assert lane.run(9, TIMEOUT_SECONDS, lambda: "taken") == "taken"


def test_small_messages_do_not_notice_large_ones(sandbox: Sandbox, tmp_path: Any):
    """Ten messages that take long to read, and twenty small ones of somebody else meanwhile."""
    lines = ("cid:a " * 11 + "\r\n") * (4_000_000 // 68)
    large = (
        f"From: {SENDER}\r\nMIME-Version: 1.0\r\nContent-Type: multipart/related; boundary=b\r\n\r\n"
        f"--b\r\nContent-Type: text/html\r\n\r\n{lines}\r\n"
        "--b\r\nContent-Type: image/png\r\nContent-ID: <a>\r\nContent-Transfer-Encoding: base64\r\n\r\niVBORw0KGgo=\r\n"
        "--b--\r\n"
    )
    answers: list[int] = []

    def send_large() -> None:
        try:
            with gateway.client() as client:
                client.sendmail(SENDER, "large@customer.example", large)
        except smtplib.SMTPDataError as refused:
            answers.append(refused.smtp_code)

    with Gateway(sandbox.url, tmp_path) as gateway, gateway.client() as client:
        senders = [gevent.spawn(send_large) for _ in range(10)]
        waits: list[float] = []
        first = time.monotonic()
        while len(waits) < 20 or not all(sender.ready() for sender in senders):
            began = time.monotonic()
            client.sendmail(SENDER, "small@customer.example", f"From: {SENDER}\r\nSubject: s\r\n\r\nx\r\n")
            waits.append(time.monotonic() - began)
            gevent.sleep(0.02)
        gevent.joinall(senders, raise_error=True)
        assert metric(gateway, 'smtpgw_limits_hit_total{limit="large_messages"}') == answers.count(452)
    # Before, each wait of the loop was as long as ten threads took their turns.
    assert median(waits) < (time.monotonic() - first) / 20
