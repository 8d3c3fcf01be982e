"""The circuit breaker: what opens it, what a client then hears, and that it closes by itself."""

import itertools
import smtplib
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest

from smtpgw.cakemail import circuit_breaker
from smtpgw.cakemail.circuit_breaker import PROBE_INTERVAL_SECONDS, CircuitBreaker, MessageAdmission
from smtpgw.cakemail.errors import (
    ApiError,
    Busy,
    ChallengeRequired,
    NotAuthorized,
    NotReached,
    OutcomeUnknown,
    Rejected,
    TryLater,
)
from smtpgw.core import replies
from smtpgw.core.replies import SMTPError
from smtpgw.telemetry import metrics
from tests.support.gateway import SENDER, Gateway
from tests.support.line import log_lines, metric
from tests.support.raw_api import RawApi, http
from tests.support.recorder import settings

SETTINGS = settings(SMTPGW_BREAKER_FAILURES="5", SMTPGW_BREAKER_SECONDS="15")
FAILURES = [NotReached("refused"), OutcomeUnknown("timeout"), TryLater("bad gateway", 502), TryLater("later", 503, 9.0)]
ANSWERS: list[ApiError | None] = [
    None,
    TryLater("slow down", 429, 1.0),
    TryLater("no such page", 404),
    TryLater("moved", 302),
    Rejected("no", 422),
    NotAuthorized("no"),
    ChallengeRequired("code?"),
]


class Clocked:
    """A breaker, and the time that it thinks it is."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        patch.setattr(circuit_breaker, "monotonic", lambda: self.now)
        self.breaker = CircuitBreaker(SETTINGS)

    def fail(self, problem: ApiError, times: int, seconds_between: float) -> None:
        for _ in range(times):
            self.breaker.record(problem)
            self.now += seconds_between

    @property
    def lets_in(self) -> bool:
        """Whether a message may begin."""
        return is_let(self.breaker.check)

    @property
    def lets_submit(self) -> bool:
        """Whether a message's call may be made, by one that takes the probe where one is due."""
        return is_let(self.breaker.admit)


def is_let(ask: Callable[[], object]) -> bool:
    try:
        ask()
    except SMTPError as refusal:
        return refusal.reply != replies.API_UNAVAILABLE
    return True


@pytest.fixture
def clocked(monkeypatch: pytest.MonkeyPatch) -> Clocked:
    return Clocked(monkeypatch)


@pytest.mark.parametrize("problem", FAILURES, ids=repr)
def test_failures_in_a_row_over_some_time_open_it(clocked: Clocked, problem: ApiError) -> None:
    clocked.fail(problem, 5, 15 / 4 - 0.01)
    assert not clocked.breaker.is_open(), "a moment too early"
    clocked.fail(problem, 1, 0)
    assert clocked.breaker.is_open()
    assert not clocked.lets_in


def test_few_failures_over_a_long_time_do_not(clocked: Clocked) -> None:
    clocked.fail(NotReached(""), 4, 50)
    assert clocked.lets_in


def test_many_failures_at_once_do_not(clocked: Clocked) -> None:
    """A restart of the API fails a hundred calls within a moment, and trying again bridges it."""
    clocked.fail(NotReached(""), 1000, 0.01)
    assert clocked.lets_in


@pytest.mark.parametrize("answer", ANSWERS, ids=repr)
def test_an_answer_is_a_sign_of_life(clocked: Clocked, answer: ApiError | None) -> None:
    clocked.fail(NotReached(""), 4, 10)
    clocked.breaker.record(answer)
    clocked.fail(NotReached(""), 4, 10)
    assert not clocked.breaker.is_open()
    clocked.fail(NotReached(""), 1, 0)
    assert clocked.breaker.is_open()
    clocked.breaker.record(answer)
    assert clocked.lets_in
    assert clocked.lets_in


def test_4xx_never_opens_it(clocked: Clocked) -> None:
    clocked.fail(TryLater("slow down", 429), 1000, 1)
    clocked.fail(Rejected("no", 400), 1000, 1)
    assert clocked.lets_in


def test_our_own_limit_says_nothing_of_the_api(clocked: Clocked) -> None:
    clocked.fail(NotReached(""), 4, 10)
    clocked.fail(Busy("too many calls"), 10, 1)
    assert clocked.lets_in
    clocked.fail(NotReached(""), 1, 0)
    assert not clocked.lets_in


def test_while_it_is_open_one_submission_every_few_seconds_tries(clocked: Clocked) -> None:
    clocked.fail(NotReached(""), 5, 5)
    let_in = []
    for _ in range(200):
        let_in.append(clocked.lets_submit)
        clocked.now += 0.1
        clocked.breaker.record(NotReached(""))
    assert PROBE_INTERVAL_SECONDS <= 5
    assert sum(let_in) == 20 / PROBE_INTERVAL_SECONDS
    assert metrics.SAMPLED[metrics.BREAKER_OPEN]()
    clocked.breaker.record(None)
    assert not metrics.SAMPLED[metrics.BREAKER_OPEN]()


def test_a_message_that_only_begins_takes_no_probe(clocked: Clocked) -> None:
    """Any number of clients may say MAIL and RSET."""
    clocked.fail(NotReached(""), 5, 0)
    clocked.now += 15
    clocked.fail(NotReached(""), 1, 0)
    assert not clocked.lets_in
    clocked.now += PROBE_INTERVAL_SECONDS
    assert all(clocked.lets_in for _ in range(100))
    assert clocked.lets_submit, "the first that comes to its call is the probe"
    assert not clocked.lets_in
    assert not clocked.lets_submit


def test_the_probe_is_a_message_with_all_its_recipients(clocked: Clocked) -> None:
    clocked.fail(NotReached(""), 5, 5)
    probe, other = MessageAdmission(clocked.breaker), MessageAdmission(clocked.breaker)
    for _ in range(3):
        probe.check()
    assert not is_let(other.check)
    clocked.now += PROBE_INTERVAL_SECONDS
    other.check()
    assert not clocked.lets_submit
    clocked.breaker.record(None)
    assert clocked.lets_submit


def test_a_message_under_way_makes_no_more_calls_once_it_is_open(clocked: Clocked) -> None:
    under_way = MessageAdmission(clocked.breaker)
    under_way.check()
    clocked.fail(NotReached(""), 4, 5)
    clocked.fail(NotReached(""), 1, 0)
    assert not is_let(under_way.check)


def test_probes_that_are_not_answered_keep_nobody_from_trying_next(clocked: Clocked) -> None:
    clocked.fail(NotReached(""), 5, 5)
    for _ in range(10):
        assert clocked.lets_submit
        clocked.now += PROBE_INTERVAL_SECONDS - 0.01
        assert not clocked.lets_submit, "one is tried at a time"
        clocked.now += 0.01
    assert clocked.lets_submit
    clocked.breaker.record(None)
    assert clocked.lets_submit
    assert clocked.lets_submit


def test_a_failure_is_not_kept_for_it_holds_a_message(clocked: Clocked) -> None:
    class Message:
        pass

    def fail() -> weakref.ref[Message]:
        message = Message()
        try:
            raise NotReached("refused")
        except NotReached as problem:
            clocked.breaker.record(problem)
        return weakref.ref(message)

    of_messages = []
    for _ in range(5):
        of_messages.append(fail())
        clocked.now += 5
    assert clocked.breaker.is_open()
    assert [message() for message in of_messages] == [None] * 5


def test_failures_that_nobody_has_tried_after_are_forgotten(clocked: Clocked) -> None:
    """Else an alert would go on for as long as nobody sends anything."""
    clocked.fail(NotReached(""), 5, 5)
    assert clocked.breaker.is_open()
    clocked.now += 100
    assert not clocked.breaker.is_open()
    clocked.fail(NotReached(""), 4, 100)
    assert not clocked.breaker.is_open(), "they are not in a row"
    clocked.now += 100
    clocked.fail(NotReached(""), 4, 10)
    assert not clocked.breaker.is_open()
    clocked.fail(NotReached(""), 1, 0)
    assert clocked.breaker.is_open()


# --- With a real gateway

MESSAGE = f"From: {SENDER}\r\nSubject: Breaker\r\n\r\nx\r\n"


def gone(api: RawApi) -> Callable[[], None]:
    api.stop()
    return api.start


def failing(api: RawApi) -> Callable[[], None]:
    api.answers["/v2/emails"] = lambda request: http({"detail": "oops"}, 500)
    return api.answers.clear


def hanging(api: RawApi) -> Callable[[], None]:
    def no_answer(request: object) -> None:
        time.sleep(5)  # longer than the gateway waits for it

    api.answers["/v2/emails"] = no_answer
    return api.answers.clear


@pytest.mark.parametrize("break_it", [gone, failing, hanging])
def test_a_client_hears_at_once_that_nothing_can_be_sent_and_soon_that_it_can(
    break_it: Callable[[RawApi], Callable[[], None]], tmp_path: Path
) -> None:
    variables = {
        "SMTPGW_BREAKER_FAILURES": "3",
        "SMTPGW_BREAKER_SECONDS": "1",
        "SMTPGW_API_RETRY_SECONDS": "0.5",
        "SMTPGW_API_TIMEOUT_SECONDS": "1",
    }
    with RawApi() as api, Gateway(api.url, tmp_path, **variables) as gateway, gateway.client() as client:
        numbers = itertools.count()

        def try_to_send() -> tuple[str, int, bytes]:
            """The last command, and its answer."""
            code, text = client.mail(SENDER)
            if code != 250:
                return "MAIL", code, text
            client.rcpt("ann@example.com")
            # Each message is another one: the outcome of one that was not answered is known to be unknown.
            return "DATA", *client.data(f"X-Number: {next(numbers)}\r\n{MESSAGE}")

        assert try_to_send()[:2] == ("DATA", 250)
        mend = break_it(api)
        answered = []
        while "MAIL" not in [verb for verb, _, _ in answered]:
            answered.append(try_to_send())
            assert len(answered) < 100
            time.sleep(0.1)
        assert len(answered) > 2
        assert {code for _, code, _ in answered} == {451}
        began = time.monotonic()
        assert try_to_send()[:2] == ("MAIL", 451)
        assert time.monotonic() - began < 0.5
        assert answered[-1][2].startswith(b"4.4.1 Cakemail cannot be reached now")
        assert metric(gateway, "smtpgw_breaker_open") == 1
        (opened,) = log_lines(gateway.log, event="error")
        assert opened["what"] == "breaker opened: Cakemail's API fails"
        assert client.noop()[0] == 250
        mend()
        began = time.monotonic()
        while (answer := try_to_send())[:2] != ("DATA", 250):
            assert answer[1] == 451
            assert time.monotonic() - began < 5 + 5, "no probe was let through"
            time.sleep(0.05)
        assert metric(gateway, "smtpgw_breaker_open") == 0
        assert log_lines(gateway.log, what="breaker closed: Cakemail's API answers")
        assert try_to_send()[:2] == ("DATA", 250)


def test_a_client_that_begins_messages_and_drops_them_keeps_nobody_else_waiting(tmp_path: Path) -> None:
    variables = {
        "SMTPGW_BREAKER_FAILURES": "2",
        "SMTPGW_BREAKER_SECONDS": "0",
        "SMTPGW_API_RETRY_SECONDS": "0",
    }
    with RawApi() as api, Gateway(api.url, tmp_path, **variables) as gateway, gateway.client() as client:
        stopped = threading.Event()

        def begin_and_drop() -> None:
            with gateway.client() as dropping:
                while not stopped.is_set():
                    dropping.mail(SENDER)
                    dropping.rset()

        def send() -> int:
            code, _ = client.mail(SENDER)
            if code == 250:
                client.rcpt("ann@example.com")
                code, _ = client.data(MESSAGE)
            return code

        mend = failing(api)
        while metric(gateway, "smtpgw_breaker_open") == 0:
            assert send() == 451
        dropping = threading.Thread(target=begin_and_drop)
        dropping.start()
        try:
            mend()
            began = time.monotonic()
            while send() != 250:
                assert time.monotonic() - began < 5 + 3, "others have taken the probe"
                time.sleep(0.2)
        finally:
            stopped.set()
            dropping.join()


def test_after_an_outage_the_first_message_to_many_is_accepted_for_all(tmp_path: Path) -> None:
    variables = {"SMTPGW_BREAKER_FAILURES": "2", "SMTPGW_BREAKER_SECONDS": "0", "SMTPGW_API_RETRY_SECONDS": "0"}
    with RawApi() as api, Gateway(api.url, tmp_path, **variables) as gateway, gateway.client() as client:
        mend = failing(api)
        while metric(gateway, "smtpgw_breaker_open") == 0:
            with pytest.raises(smtplib.SMTPResponseException):
                client.sendmail(SENDER, "ann@example.com", MESSAGE)
        mend()
        time.sleep(PROBE_INTERVAL_SECONDS + 0.5)
        before = api.calls["/v2/emails"]
        assert client.sendmail(SENDER, [f"{n}@example.com" for n in range(30)], MESSAGE) == {}
        assert api.calls["/v2/emails"] - before == 30
