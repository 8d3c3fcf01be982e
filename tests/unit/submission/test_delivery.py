"""Submitting to many recipients: what is tried again, what never is, within which time; a bug loses nothing."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from itertools import count, pairwise

import gevent
import pytest

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
from smtpgw.core.outcomes import Outcome
from smtpgw.core.replies import Reply, SMTPError
from smtpgw.submission import bounces, gateway, message_log
from smtpgw.submission.delivery import delay_before_another_try, reply_for
from smtpgw.submission.gateway import final_reply
from smtpgw.telemetry import logs, metrics
from tests.support.raw_api import QUEUED, TOKEN, USUAL, RawApi, Request, http
from tests.support.submitting import GOOD, Submitting, message

EMAILS = "/v2/emails"
ANN, BOB, CAT = "ann@example.com", "bob@example.com", "cat@example.com"
TEN = [f"u{n}@example.com" for n in range(10)]
HUNDRED = [f"u{n}@example.com" for n in range(100)]


class Api(RawApi):
    """Notes whom an email was accepted for."""

    def __init__(self) -> None:
        super().__init__()
        self.got: list[str] = []
        self.asked: list[tuple[str, float]] = []  # recipient and time of each submission
        self.queue: dict[str, list[bytes]] = {}  # answers for a recipient, before it is accepted
        self.slow: dict[str, float] = {}  # seconds
        self.under_way = self.most_under_way = 0
        self.answers[EMAILS] = self.take

    def take(self, request: Request) -> bytes | None:
        recipient = json.loads(request.body)["email"]
        self.asked.append((recipient, time.monotonic()))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            gevent.sleep(self.slow.get(recipient, self.slow.get("", 0)))
        finally:
            self.under_way -= 1
        if self.queue.get(recipient):
            return self.queue[recipient].pop(0) or None
        self.got.append(recipient)
        return http(QUEUED, 201)

    @property
    def times(self) -> Counter[str]:
        """How often each was asked for."""
        return Counter(recipient for recipient, _ in self.asked)


@pytest.fixture
def api() -> Iterator[Api]:
    with Api() as served:
        yield served


@pytest.fixture
def gw(api: Api) -> Iterator[Submitting]:
    with Submitting(api.url) as made:
        yield made
        nothing_left(made)


def nothing_left(made: Submitting) -> None:
    """No place in a queue, nobody waited for, nothing noted of what is over."""
    api = made.gateway.delivery.api
    assert api.slots.free == api.settings.api_connections
    assert api.waiting == 0
    assert not made.gateway.ledger.running
    assert not made.gateway.logins.flight.running
    assert not made.gateway.directories.flight.running


# --- The tables

PROBLEMS: list[tuple[ApiError, Reply]] = [
    (Rejected("no such mailbox", 422, about_recipient=True), Reply(550, "5.1.3", "no such mailbox")),
    (Rejected("content is not welcome", 400), Reply(550, "5.0.0", "content is not welcome")),
    (Rejected("too\r\n250 large", 413), Reply(550, "5.0.0", "too 250 large")),
    (Rejected("rejected", 201), Reply(550, "5.7.1", "Cakemail did not accept the message: rejected")),
    (NotAuthorized("expired"), replies.CREDENTIALS_REVOKED),
    (TryLater("slow", 429), replies.API_FAILED),
    (TryLater("slow", 429, 0.0), Reply(451, "4.7.0", "Cakemail asks to wait 1 seconds; try again then")),
    (TryLater("slow", 429, 6.1), Reply(451, "4.7.0", "Cakemail asks to wait 7 seconds; try again then")),
    (TryLater("down", 503, 60.0), Reply(451, "4.7.0", "Cakemail asks to wait 60 seconds; try again then")),
    (TryLater("bug", 500), replies.API_FAILED),
    (NotReached("refused"), replies.API_UNAVAILABLE),
    (Busy("many"), replies.API_BUSY),
    (OutcomeUnknown("timeout"), replies.OUTCOME_UNKNOWN),
    (ChallengeRequired("code"), replies.API_FAILED),
    (ApiError("new"), replies.API_FAILED),
]


@pytest.mark.parametrize(("problem", "reply"), PROBLEMS, ids=lambda value: repr(value)[:40])
def test_each_problem_has_its_reply(problem: ApiError, reply: Reply) -> None:
    assert reply_for(problem) == reply


@pytest.mark.parametrize(("problem", "reply"), PROBLEMS, ids=lambda value: repr(value)[:40])
def test_what_may_be_tried_again(problem: ApiError, reply: Reply) -> None:
    wanted = delay_before_another_try(problem)
    if isinstance(problem, NotReached) or getattr(problem, "may_be_retried", False):
        assert wanted == (getattr(problem, "retry_after", 0.0) or 0.0)
    else:
        assert wanted is None


YES = Outcome(ANN, "uuid-a")
ALSO = Outcome(BOB, "uuid-b")
NO = Outcome(CAT, reply=Reply(550, "5.1.3", "no"))
LATER = Outcome("dan@example.com", reply=replies.API_FAILED)


@pytest.mark.parametrize(
    ("outcomes", "reply"),
    [
        ([YES], replies.QUEUED.filled(id="uuid-a")),
        ([YES, ALSO], replies.QUEUED.filled(id="ours")),
        ([Outcome(ANN)], replies.QUEUED.filled(id="ours")),
        ([YES, NO], replies.QUEUED.filled(id="ours")),
        ([NO, YES], replies.QUEUED.filled(id="ours")),
        ([NO], NO.reply),
        ([NO, Outcome(BOB, reply=replies.CREDENTIALS_REVOKED)], NO.reply),
        ([LATER], LATER.reply),
        ([YES, LATER], LATER.reply),
        ([NO, LATER], LATER.reply),
        ([YES, NO, LATER, ALSO], LATER.reply),
    ],
)
def test_the_reply_to_all_is_a_promise_for_all(outcomes: list[Outcome], reply: Reply) -> None:
    try:
        found = final_reply("ours", outcomes)
    except SMTPError as refusal:
        found = refusal.reply
    assert found == reply


# --- Trying again


REFUSALS = {
    ANN: http({}, 429),
    BOB: http({}, 429, Retry_After="0"),
    CAT: http({}, 503, Retry_After="0"),
    "dan@example.com": http({}, 429, Retry_After="soon"),
}


def test_what_surely_was_not_accepted_is_tried_again_with_pauses_that_grow(api: Api, gw: Submitting) -> None:
    api.queue = {recipient: [refusal] * 3 for recipient, refusal in REFUSALS.items()}
    assert gw.send(list(REFUSALS)).code == 250
    for recipient in REFUSALS:
        times = [when for asked, when in api.asked if asked == recipient]
        pauses = [after - before for before, after in pairwise(times)]
        assert len(pauses) == 3
        for pause, least in zip(pauses, (0.25, 0.5, 1), strict=True):
            assert least <= pause < least + 0.5, (recipient, pauses)


def test_the_delay_that_was_asked_for_is_kept(api: Api, gw: Submitting) -> None:
    api.queue[ANN] = [http({}, 503, Retry_After="1")]
    assert gw.send([ANN]).code == 250
    assert api.asked[1][1] - api.asked[0][1] >= 1


def test_trying_again_ends_with_its_budget(api: Api) -> None:
    api.queue[ANN] = [http({}, 429)] * 50
    with Submitting(api.url, SMTPGW_API_RETRY_SECONDS="1.5") as made:
        began = time.monotonic()
        assert made.send([ANN]) == replies.API_FAILED
        assert time.monotonic() - began < 3
        assert api.times[ANN] == 3, "at once, after 0.25 s, after another 0.5 s; after another second it would be late"


def test_a_delay_beyond_the_budget_is_not_begun(api: Api, gw: Submitting) -> None:
    api.queue[ANN] = [http({}, 429, Retry_After="30")]
    began = time.monotonic()
    assert gw.send([ANN]).status == "4.7.0"
    assert time.monotonic() - began < 3


@pytest.mark.parametrize("status", [500, 502, 503, 504, 404, 408])
def test_what_may_have_been_accepted_is_not_sent_again(api: Api, gw: Submitting, status: int) -> None:
    api.queue[ANN] = [http({}, status)]
    assert gw.send([ANN]).is_temporary
    assert api.times[ANN] == 1


def test_an_api_that_comes_back_within_the_budget_was_never_away(api: Api, gw: Submitting) -> None:
    assert gw.send([ANN]).code == 250
    api.stop()
    gevent.spawn_later(0.6, api.start)
    assert gw.send([BOB]).code == 250
    assert api.got == [ANN, BOB]


# --- In parallel, and within a time


def test_recipients_are_submitted_in_parallel_within_a_bound_and_told_in_their_order(api: Api) -> None:
    api.slow = {"": 0.02, "u3@example.com": 0.2}
    api.queue["u50@example.com"] = [http({"detail": "no"}, 422)]
    with Submitting(api.url, SMTPGW_RECIPIENTS_IN_PARALLEL="7") as made:
        sent = []
        deliver = made.gateway.delivery.send
        made.gateway.delivery.send = lambda *a: sent.append(deliver(*a)) or sent[-1]  # type: ignore[func-returns-value, method-assign, assignment, return-value]
        assert made.send(HUNDRED).code == 250
        assert [outcome.recipient for outcome in sent[0]] == HUNDRED
        assert [n for n, outcome in enumerate(sent[0]) if not outcome.is_accepted] == [50]
    assert api.most_under_way == 7
    assert sorted(api.got) == sorted({*HUNDRED, "sender@cakemail.example"} - {"u50@example.com"})


def test_a_message_takes_no_longer_than_it_may_with_a_hundred_recipients_and_an_api_that_hangs(api: Api) -> None:
    variables = {
        "SMTPGW_SUBMIT_TIMEOUT_SECONDS": "3",
        "SMTPGW_API_TIMEOUT_SECONDS": "1.5",
        "SMTPGW_API_RETRY_SECONDS": "1",
    }
    with Submitting(api.url, **variables) as made:
        api.slow = {"": 30}
        began = time.monotonic()
        assert made.send(HUNDRED) == replies.OUTCOME_UNKNOWN
        assert 2.9 <= time.monotonic() - began < 5
        assert max(api.times.values()) == 1
        assert len(api.asked) == 20, "nothing is begun when the time is up"
        nothing_left(made)


@pytest.mark.parametrize("path", ["/brands/default/senders", "/lists", "/token"])
def test_what_is_looked_up_for_a_message_is_part_of_its_time(api: Api, path: str) -> None:
    variables = {
        "SMTPGW_SUBMIT_TIMEOUT_SECONDS": "2",
        "SMTPGW_API_TIMEOUT_SECONDS": "2",
        "SMTPGW_API_RETRY_SECONDS": "1",
    }
    with Submitting(api.url, **variables) as made:
        account = made.gateway.logins.login(GOOD)
        if path == "/token":
            made.gateway.logins.cache.clear()
        api.answers[path] = lambda request: gevent.sleep(1.5) or USUAL[path]
        api.slow = {"": 30}
        began = time.monotonic()
        assert made.send(TEN, account=account).is_temporary
        assert time.monotonic() - began < 4


def test_waiting_for_a_turn_is_part_of_its_time(api: Api) -> None:
    variables = {
        "SMTPGW_SUBMIT_TIMEOUT_SECONDS": "1",
        "SMTPGW_API_TIMEOUT_SECONDS": "1",
        "SMTPGW_API_RETRY_SECONDS": "1",
        "SMTPGW_API_CONNECTIONS": "1",
        "SMTPGW_API_WAIT_SECONDS": "30",
    }
    with Submitting(api.url, **variables) as made:
        api.slow = {"": 30}
        began = time.monotonic()
        messages = [gevent.spawn(made.send, [recipient], message(recipient)) for recipient in (ANN, BOB, CAT)]
        assert {greenlet.get(10).code for greenlet in messages} == {451}
        assert time.monotonic() - began < 4


def test_waiting_for_the_same_message_is_part_of_its_time(api: Api) -> None:
    variables = {
        "SMTPGW_SUBMIT_TIMEOUT_SECONDS": "2",
        "SMTPGW_API_TIMEOUT_SECONDS": "2",
        "SMTPGW_API_RETRY_SECONDS": "1",
    }
    with Submitting(api.url, **variables) as made:
        api.slow = {ANN: 30}
        began = time.monotonic()
        messages = [gevent.spawn(made.send, [ANN], message("same")) for _ in range(5)]
        assert {greenlet.get(10) for greenlet in messages} <= {replies.OUTCOME_UNKNOWN, replies.API_BUSY}
        assert time.monotonic() - began < 4
        assert api.times[ANN] == 1


# --- Tokens


def test_ten_refused_tokens_are_one_new_login(api: Api, gw: Submitting) -> None:
    numbers = count()
    api.answers["/token"] = lambda request: http({**TOKEN, "access_token": f"token-{next(numbers)}"})
    assert gw.send([ANN]).code == 250
    for recipient in TEN:
        api.queue[recipient] = [http({"detail": "expired"}, 401)]
    assert gw.send(TEN).code == 250
    assert api.calls["/token"] == 2
    assert api.times == Counter({ANN: 1, **dict.fromkeys(TEN, 2)})


def test_a_token_that_is_refused_twice_is_given_up(api: Api, gw: Submitting) -> None:
    api.queue[ANN] = [http({"detail": "expired"}, 401)] * 3
    assert gw.send([ANN]) == replies.CREDENTIALS_REVOKED
    assert (api.calls["/token"], api.times[ANN]) == (2, 2)


def test_an_api_that_cannot_renew_a_token_is_no_revoked_one(api: Api, gw: Submitting) -> None:
    gw.send([ANN])
    api.queue[BOB] = [http({"detail": "expired"}, 401)]
    api.answers["/token"] = lambda request: http({}, 500)
    assert gw.send([BOB]) == replies.API_FAILED


# --- Nothing accepted is lost, whatever breaks


def retry_submits(api: Api, gw: Submitting, raw: bytes, recipients: list[str]) -> list[str]:
    """Whom the same message, sent again, is submitted for."""
    before = len(api.asked)
    assert gw.send(recipients, raw).code == 250
    return [recipient for recipient, _ in api.asked[before:]]


def test_a_bug_with_one_recipient_leaves_the_others_accepted(
    api: Api, gw: Submitting, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit_email = gw.gateway.delivery.api.submit_email

    def buggy(token: str, body: bytes, *more: object) -> str:
        if BOB.encode() in body:
            raise KeyError("a bug, for the test")
        return submit_email(token, body, *more)  # type: ignore[arg-type]

    raw = message("bug")
    with monkeypatch.context() as patch:
        patch.setattr(gw.gateway.delivery.api, "submit_email", buggy)
        assert gw.send([ANN, BOB, CAT], raw) == replies.INTERNAL_ERROR
    assert sorted(api.got) == [ANN, CAT]
    assert retry_submits(api, gw, raw, [ANN, BOB, CAT]) == [BOB]


def broken(*_: object, **__: object) -> None:
    raise RuntimeError("a bug, for the test")


TELLING: list[tuple[object, str]] = [
    (logs, "message"),
    (logs, "address"),
    (logs, "error"),
    (message_log.MessageLog, "_emit"),
    (message_log.MessageLog, "_measure"),
    (metrics.MESSAGES, "count"),
    (metrics.RECIPIENTS, "count"),
    (metrics.MESSAGE_SECONDS, "add"),
    (metrics.NOTICES, "count"),
]


@pytest.mark.parametrize(("of", "name"), TELLING, ids=lambda value: value if isinstance(value, str) else "")
@pytest.mark.parametrize("recipients", [[ANN], [ANN, BOB]], ids=["accepted", "partly"])
def test_a_bug_in_telling_of_it_changes_no_reply(
    api: Api, gw: Submitting, monkeypatch: pytest.MonkeyPatch, of: object, name: str, recipients: list[str]
) -> None:
    api.queue[BOB] = [http({"detail": "no"}, 422)]
    with monkeypatch.context() as patch:
        patch.setattr(of, name, broken)
        assert gw.send(recipients).code == 250
    assert gw.send([CAT]).code == 250


def test_a_bug_in_telling_of_it_that_cannot_be_told_either_changes_no_reply(
    api: Api, gw: Submitting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "message", broken)
    monkeypatch.setattr(logs, "error", broken)
    monkeypatch.setattr(metrics.INTERNAL_ERRORS, "inc", broken)
    assert gw.send([ANN]).code == 250


@pytest.mark.parametrize(
    ("of", "name"), [(bounces, "bounce_for"), (bounces, "is_automatic"), (bounces.translation, "translate")]
)
def test_a_bug_in_the_notice_is_logged_and_the_message_stays_accepted(
    api: Api, gw: Submitting, monkeypatch: pytest.MonkeyPatch, of: object, name: str
) -> None:
    api.queue[BOB] = [http({"detail": "no"}, 422)]
    told: list[dict[str, object]] = []
    monkeypatch.setattr(logs, "error", lambda **fields: told.append(fields))
    if name == "translate":  # which the message itself takes first
        translate, calls = bounces.translation.translate, iter([False, True])
        monkeypatch.setattr(of, name, lambda *a: broken() if next(calls) else translate(*a))
    else:
        monkeypatch.setattr(of, name, broken)
    assert gw.send([ANN, BOB], message("notice")).code == 250
    assert api.got == [ANN]
    assert [fields["what"] for fields in told] == ["no notice, or none that could be told of"]


def test_a_notice_goes_to_the_ascii_form_of_an_international_domain(api: Api, gw: Submitting) -> None:
    api.queue[BOB] = [http({"detail": "no"}, 422)]
    assert gw.send([ANN, BOB], message("idn"), reverse_path="x@bücher.cakemail.example").code == 250
    assert sorted(api.got) == [ANN, "x@xn--bcher-kva.cakemail.example"]


def test_a_bug_between_acceptance_and_reply_doubles_nothing(
    api: Api, gw: Submitting, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = message("between")
    with monkeypatch.context() as patch:
        patch.setattr(gateway, "final_reply", broken)
        with pytest.raises(RuntimeError):
            gw.send([ANN, BOB], raw)
    assert sorted(api.got) == [ANN, BOB]
    assert retry_submits(api, gw, raw, [ANN, BOB, CAT]) == [CAT]


def test_a_session_that_is_killed_leaves_its_message_remembered_and_nobody_waiting(api: Api) -> None:
    raw = message("killed")
    with Submitting(api.url, SMTPGW_RECIPIENTS_IN_PARALLEL="2") as made:
        api.slow = {"": 0.2}
        killed = gevent.spawn(made.send, TEN, raw)
        while len(api.got) < 3:
            gevent.sleep(0.01)
        killed.kill()
        assert len(api.got) < 10
        assert retry_submits(api, made, raw, TEN) != []
        assert sorted(api.got) == TEN, "each once: what was under way went on, and was waited for"
        nothing_left(made)


def test_one_that_is_killed_in_its_only_call_leaves_nothing_behind_but_an_unknown_outcome(
    api: Api, gw: Submitting
) -> None:
    api.slow = {ANN: 5}
    killed = gevent.spawn(gw.send, [ANN], message("only"))
    while not api.asked:
        gevent.sleep(0.01)
    killed.kill()
    nothing_left(gw)
    api.slow = {}
    assert gw.send([ANN], message("only")) == replies.STILL_UNKNOWN
    assert gw.send([ANN], message("another")).code == 250


def test_an_unknown_outcome_is_not_submitted_again_until_its_hour_is_over(api: Api, gw: Submitting) -> None:
    """The accepted recipients never are."""
    now = [0.0]
    gw.gateway.ledger.__init__(lambda: now[0])  # type: ignore[misc]
    raw = message("hour")
    api.queue[BOB] = [b""] * 2  # the connection ends without an answer
    assert gw.send([ANN, BOB, CAT], raw) == replies.OUTCOME_UNKNOWN
    for now[0] in range(0, 3600, 300):
        assert gw.send([ANN, BOB, CAT], raw) == replies.STILL_UNKNOWN
    now[0] = 3601
    assert gw.send([ANN, BOB, CAT], raw) == replies.OUTCOME_UNKNOWN, "once more"
    now[0] += 3599
    assert gw.send([ANN, BOB, CAT], raw) == replies.STILL_UNKNOWN
    now[0] += 2
    assert gw.send([ANN, BOB, CAT], raw).code == 250
    assert api.times == Counter({ANN: 1, BOB: 3, CAT: 1})


@pytest.mark.parametrize("path", ["/token", "/brands/default/senders", "/lists"])
def test_a_look_up_that_is_not_answered_is_no_unknown_outcome(api: Api, gw: Submitting, path: str) -> None:
    account = gw.gateway.logins.login(GOOD)
    gw.gateway.logins.cache.clear()
    api.answers[path] = lambda request: None
    raw = message("look-up")
    assert gw.send([ANN], raw, account=account).is_temporary
    del api.answers[path]
    assert gw.send([ANN], raw, account=account).code == 250


@pytest.mark.parametrize("accept", [True, False])
def test_what_the_memory_keeps_after_each_way(api: Api, gw: Submitting, accept: bool) -> None:
    kept = gw.gateway.ledger.kept
    assert gw.send([ANN, BOB], message("heard")).code == 250
    assert len(kept) == 0, "the client knows"
    assert gw.send([ANN, BOB], message("unheard"), heard=False).code == 250
    assert len(kept) == 2
    if not accept:
        api.queue[CAT] = [http({}, 500), http({"detail": "no"}, 422)]
        assert gw.send([CAT], message("failed")).code == 451
        assert gw.send([CAT], message("refused")).code == 550
        assert len(kept) == 2
    assert gw.send([ANN, BOB], message("unheard")).code == 250
    assert len(kept) == 0
    assert api.times[ANN] == 2


def test_a_large_message_is_the_same_when_it_comes_again(api: Api, gw: Submitting) -> None:
    """Its digest is made in a thread."""
    raw = message("large", "x" * 70 + "\r\n" * 5000 + "y" * 400_000)
    api.queue[BOB] = [http({}, 500)]
    assert gw.send([ANN, BOB], raw).code == 451
    assert retry_submits(api, gw, raw, [ANN, BOB]) == [BOB]
