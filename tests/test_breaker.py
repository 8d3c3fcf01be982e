"""The circuit breaker: what opens it, what a client then hears, and that it closes by itself."""

import time
import weakref
from collections.abc import Callable
from pathlib import Path

import circuitbreaker
import pytest

from smtpgw import breaker, metrics, replies
from smtpgw.breaker import PROBE_SECONDS, Breaker
from smtpgw.cakemail import (
    ApiError,
    Busy,
    ChallengeRequired,
    NotAuthorized,
    NotReached,
    OutcomeUnknown,
    Rejected,
    TryLater,
)
from smtpgw.replies import Refused
from tests.gateway import SENDER, Gateway
from tests.line import log_lines, metric
from tests.raw_api import RawApi, http
from tests.recorder import settings

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
        for module in (breaker, circuitbreaker):
            patch.setattr(module, "monotonic", lambda: self.now)
        self.breaker = Breaker(SETTINGS)

    def fail(self, problem: ApiError, times: int, seconds_between: float) -> None:
        for _ in range(times):
            self.breaker.heard(problem)
            self.now += seconds_between

    @property
    def lets_in(self) -> bool:
        try:
            self.breaker.ready()
        except Refused as refusal:
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
    clocked.breaker.heard(answer)
    clocked.fail(NotReached(""), 4, 10)
    assert not clocked.breaker.is_open()
    clocked.fail(NotReached(""), 1, 0)
    assert clocked.breaker.is_open()
    clocked.breaker.heard(answer)
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


def test_while_it_is_open_one_message_every_few_seconds_tries(clocked: Clocked) -> None:
    clocked.fail(NotReached(""), 5, 5)
    let_in = []
    for _ in range(200):
        let_in.append(clocked.lets_in)
        clocked.now += 0.1
        clocked.breaker.heard(NotReached(""))
    assert PROBE_SECONDS <= 5
    assert sum(let_in) == 20 / PROBE_SECONDS
    assert metrics.SAMPLED[metrics.BREAKER_OPEN]()
    clocked.breaker.heard(None)
    assert not metrics.SAMPLED[metrics.BREAKER_OPEN]()


def test_probes_that_never_reach_the_api_keep_nobody_from_trying_next(clocked: Clocked) -> None:
    """They may be refused for what is in them; nothing is heard of them then."""
    clocked.fail(NotReached(""), 5, 5)
    for _ in range(10):
        assert clocked.lets_in
        clocked.now += PROBE_SECONDS - 0.01
        assert not clocked.lets_in, "one is tried at a time"
        clocked.now += 0.01
    assert clocked.lets_in
    clocked.breaker.heard(None)
    assert clocked.lets_in
    assert clocked.lets_in


def test_a_failure_is_not_kept_for_it_holds_a_message(clocked: Clocked) -> None:
    class Message:
        pass

    def fail() -> weakref.ref[Message]:
        message = Message()
        try:
            raise NotReached("refused")
        except NotReached as problem:
            clocked.breaker.heard(problem)
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

        def try_to_send() -> tuple[str, int, bytes]:
            """The last command, and its answer."""
            code, text = client.mail(SENDER)
            if code != 250:
                return "MAIL", code, text
            client.rcpt("ann@example.com")
            return "DATA", *client.data(MESSAGE)

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
