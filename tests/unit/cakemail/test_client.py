"""The API's answers as the gateway understands them; its calls, bounded in number and time; its connections."""

import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import gevent
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpgw.cakemail.bodies import MAX_LIFETIME_SECONDS, Sender
from smtpgw.cakemail.client import MAX_REASON_CHARACTERS, MAX_SENDERS, Cakemail, decode, error_reason
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
from smtpgw.cakemail.http11 import MAX_RETRY_AFTER_SECONDS, retry_after
from smtpgw.cakemail.transport import Answer
from smtpgw.core import replies
from smtpgw.core.models import Credentials
from smtpgw.core.replies import SMTPError
from smtpgw.sandbox.certificate import write_pair
from smtpgw.submission.logins import Logins
from smtpgw.telemetry import metrics
from tests.support.ports import free_port
from tests.support.raw_api import QUEUED, RawApi, Request, http
from tests.support.recorder import settings

BODY = b'{"email": "ann@example.com"}'


def client(url: str, **variables: str) -> Cakemail:
    return Cakemail(settings(CAKEMAIL_API_URL=url, **variables))


@pytest.fixture
def api() -> Iterator[RawApi]:
    with RawApi() as served:
        yield served


@pytest.fixture
def cakemail(api: RawApi) -> Iterator[Cakemail]:
    made = client(api.url, SMTPGW_API_CONNECT_TIMEOUT_SECONDS="0.5")
    yield made
    assert made.slots.free == made.settings.api_connections, "a slot has leaked"
    made.close()


def submit(cakemail: Cakemail, body: bytes = BODY, seconds: float = 5) -> str:
    return cakemail.submit_email("token", body, None, seconds)


# --- What an answer means

MEANINGS: dict[int, type[ApiError]] = {
    **dict.fromkeys((400, 403, 413, 422), Rejected),
    401: NotAuthorized,
    **dict.fromkeys((302, 307, 404, 405, 408, 409, 410, 429, 500, 502, 503, 504, 599), TryLater),
}


@pytest.mark.parametrize("content", [b'{"detail": "words"}', b"<html>", b"", b"{}", b"[]", b"null", b'"text"', b"\xff"])
@pytest.mark.parametrize("status", MEANINGS)
def test_a_status_has_its_meaning_whatever_the_body(status: int, content: bytes) -> None:
    with pytest.raises(ApiError) as problem:
        decode(Answer(status, {}, content), is_login=False)
    assert type(problem.value) is MEANINGS[status]
    assert str(problem.value) or status == 401


@pytest.mark.parametrize("status", [200, 201])
@pytest.mark.parametrize("content", [b"<html>", b"", b"{}", b"[]", b"null", b'{"data"', b"\xff"])
def test_a_good_status_without_json_says_nothing(status: int, content: bytes) -> None:
    with pytest.raises(OutcomeUnknown):
        decode(Answer(status, {}, content), is_login=False)


@pytest.mark.parametrize("status", [200, 401])
def test_a_challenge_is_one_under_either_status(status: int) -> None:
    with pytest.raises(ChallengeRequired):
        decode(Answer(status, {}, b'{"challenge": "x"}'), is_login=True)


@pytest.mark.parametrize(
    ("status", "retry_after", "may_be"),
    [
        (429, None, True),
        (429, "60", True),
        (503, "1", True),
        (503, None, False),
        (500, "1", False),
        (504, "1", False),
        (408, "1", False),
    ],
)
def test_only_what_was_surely_not_accepted_may_be_tried_again(
    status: int, retry_after: str | None, may_be: bool
) -> None:
    with pytest.raises(TryLater) as problem:
        decode(Answer(status, {"retry-after": retry_after} if retry_after else {}, b"{}"), is_login=False)
    assert problem.value.may_be_retried is may_be


DETAILS: list[tuple[object, str, bool]] = [
    ({"detail": "plain words"}, "plain words", False),
    ({"detail": [{"msg": "first"}, {"msg": "second", "loc": ["body", "content"]}]}, "first; second", False),
    ({"detail": [{"msg": "suppressed", "loc": ["body", "email"]}]}, "suppressed", True),
    ({"detail": [{"msg": "Sender not found", "loc": ["body", "sender", "email"]}]}, "Sender not found", False),
    ({"detail": [{"msg": 5, "loc": None}, "no object", None]}, "5", False),
    ({"detail": [{"msg": "odd", "loc": True}, {"loc": "email"}, {"loc": {"email": 1}}]}, "odd; ; ", False),
    ({"detail": [{}]}, "", False),
    ({"detail": None}, "", False),
    ({"detail": {"msg": "an object"}}, "", False),
    ({}, "", False),
    ([], "", False),
    ("text", "", False),
    (None, "", False),
    ({"detail": "x" * 5000}, "x" * MAX_REASON_CHARACTERS, False),
    ({"detail": [{"msg": "x" * 5000}]}, "x" * MAX_REASON_CHARACTERS, False),
]


@pytest.mark.parametrize(("found", "words", "about_recipient"), DETAILS)
def test_cakemails_words_are_found(found: object, words: str, about_recipient: bool) -> None:
    assert error_reason(found) == (words, about_recipient)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["detail", "msg", "loc", "x"]), inner),
)


@given(JSON)
def test_no_json_is_a_bug_of_ours(found: object) -> None:
    words, _ = error_reason(found)
    assert len(words) <= MAX_REASON_CHARACTERS


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None),
        ("", None),
        ("0", 0),
        ("7", 7),
        (" 7 ", 7),
        ("7\x1f", 7),
        ("7.5", None),
        ("-1", None),
        ("soon", None),
        ("1" * 30, MAX_RETRY_AFTER_SECONDS),
        ("1" * 5000, None),
        ("٣", None),
        ("Fri, 31 Dec 1999 23:59:59 GMT", 0),
        ("Fri, 31 Dec 1999 23:59:59", None),
        ("Fri, 99 Dec 1999 23:59:59 GMT", None),
        ("Fri, 31 Dec 2999 23:59:59 GMT", MAX_RETRY_AFTER_SECONDS),
        ("Dec +99999999 1 1 00:00:00 +0000", None),
        ("Fri, 31 Dec 9999 23:59:59 -9999", None),
        ("Mon, 01 Jan 0001 00:00:00 +9999", None),
        ("1 Jan 99999999999999999999 00:00:00 GMT", None),
        ("1 Jan 2030 99999999999:00:00 GMT", None),
        ("1 Jan 2030 00:00:00 +99999999999999999999", None),
    ],
)
def test_a_delay_is_a_number_or_a_date(text: str | None, seconds: float | None) -> None:
    found = retry_after({} if text is None else {"retry-after": text})
    assert found == seconds


def test_a_delay_to_a_date_is_the_time_until_then() -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    found = retry_after({"retry-after": date})
    assert found is not None
    assert 25 < found <= 30


date_words = st.sampled_from(["Fri,", "31", "Dec", "1999", "23:59:59", "GMT", "+0000", "-9999", "+", "-"]) | st.builds(
    str, st.integers(-(10**30), 10**30)
)


@given(st.text() | st.lists(date_words | st.text(max_size=3), max_size=8).map(" ".join))
def test_no_delay_is_a_bug_of_ours_and_each_has_a_bound(text: str) -> None:
    found = retry_after({"retry-after": text})
    assert found is None or 0 <= found <= MAX_RETRY_AFTER_SECONDS


@pytest.mark.parametrize("value", ["Dec +99999999 1 1 00:00:00 +0000", "Fri, 31 Dec 9999 23:59:59 -9999", "1" * 3000])
def test_a_delay_that_is_nonsense_is_an_answer_all_the_same(api: RawApi, cakemail: Cakemail, value: str) -> None:
    api.answers["/v2/emails"] = lambda request: http({"detail": "slow down"}, 429, Retry_After=value)
    with pytest.raises(TryLater):
        submit(cakemail)


# --- Logging in

NO_TOKENS: list[object] = [
    {"access_token": None, "refresh_token": "r", "expires_in": 3600},
    {"access_token": "", "refresh_token": "r", "expires_in": 3600},
    {"access_token": 5, "expires_in": 3600},
    {"access_token": "a b", "expires_in": 3600},
    {"access_token": "a\r\nX-Injected: 1", "expires_in": 3600},
    {"access_token": "é", "expires_in": 3600},
    {"access_token": "a" * 10_000, "expires_in": 3600},
    {"access_token": "a", "refresh_token": "r\n", "expires_in": 3600},
    {"access_token": "a", "refresh_token": ["r"], "expires_in": 3600},
    {"access_token": "a", "refresh_token": "r"},
    {"access_token": "a", "expires_in": None},
    {"access_token": "a", "expires_in": 0},
    {"access_token": "a", "expires_in": -1},
    {"access_token": "a", "expires_in": "nan"},
    {"access_token": "a", "expires_in": 3600, "accounts": "x"},
    {"access_token": "a", "expires_in": 3600, "accounts": ["x"]},
    {"access_token": "a", "expires_in": 3600, "accounts": 5},
    {"access_token": "a", "expires_in": 3600, "accounts": "5"},
    {"access_token": "a", "expires_in": 3600, "accounts": [1.5]},
    {"access_token": "a", "expires_in": 3600, "accounts": {"1": 2}},
    {"refresh_token": "r", "expires_in": 3600},
    {"data": {"access_token": "a", "expires_in": 3600}},
    {"detail": "words"},
    {},
    [],
    None,
    "a",
]


@pytest.mark.parametrize("found", NO_TOKENS, ids=lambda found: repr(found)[:60])
def test_a_good_answer_without_tokens_says_nothing_of_the_password(
    api: RawApi, cakemail: Cakemail, found: object
) -> None:
    api.answers["/token"] = lambda request: http(found)
    # What an API says to a call without a token.
    api.answers["/accounts/self"] = lambda request: http({"detail": "no token"}, 401)
    with pytest.raises(SMTPError) as refusal:
        Logins(cakemail).login(Credentials("user@example.com", "password"))
    assert refusal.value.reply == replies.LOGIN_UNAVAILABLE


@pytest.mark.parametrize("lifetime", [3600, "3600", 1e300, "inf", 10**30])
def test_a_token_is_good_for_a_day_at_most(api: RawApi, cakemail: Cakemail, lifetime: object) -> None:
    api.answers["/token"] = lambda request: http({"access_token": "a", "expires_in": lifetime})
    assert cakemail.password_token("user@example.com", "x").lifetime_seconds in (3600, MAX_LIFETIME_SECONDS)


@pytest.mark.parametrize("body", [b'{"data": [{"id": 1e999}]}', b'{"data": {"id": 1e999}}', b'{"data": {"id": "x"}}'])
def test_an_account_or_list_that_has_no_number_is_no_bug_of_ours(api: RawApi, cakemail: Cakemail, body: bytes) -> None:
    api.answers["/accounts/self"] = api.answers["/lists"] = lambda request: http(body)
    for call in (lambda: cakemail.own_account("a"), lambda: cakemail.first_active_list("a", None)):
        with pytest.raises(OutcomeUnknown):
            call()


def test_a_good_password_is_not_wrong_where_its_token_is_not_known_yet(api: RawApi, cakemail: Cakemail) -> None:
    api.answers["/token"] = lambda request: http({"access_token": "a", "expires_in": 3600, "accounts": [1, 2]})
    api.answers["/accounts/self"] = lambda request: http({"detail": "no token"}, 401)
    with pytest.raises(SMTPError) as refusal:
        Logins(cakemail).login(Credentials("user@example.com", "password"))
    assert refusal.value.reply == replies.LOGIN_UNAVAILABLE


# --- Senders


def senders(*entries: object, per_page: object = 100) -> bytes:
    return http({"pagination": {"per_page": per_page}, "data": list(entries)})


GOOD_SENDER = {"id": "s", "email": "a@example.com", "confirmed": True}


@pytest.mark.parametrize("other", [{"email": None}, {"email": 5}, {"email": "x" * 100_000}, {"id": "x" * 100_000}])
def test_an_entry_that_is_no_sender_hides_no_other(api: RawApi, cakemail: Cakemail, other: dict[str, object]) -> None:
    api.answers["/brands/default/senders"] = lambda request: senders({**GOOD_SENDER, **other}, GOOD_SENDER)
    assert list(cakemail.senders("a", None)) == [Sender("s", "a@example.com", confirmed=True)]


def test_only_what_is_confirmed_is_confirmed(api: RawApi, cakemail: Cakemail) -> None:
    api.answers["/brands/default/senders"] = lambda request: senders({**GOOD_SENDER, "confirmed": "no"})
    assert not any(sender.confirmed for sender in cakemail.senders("a", None))


@pytest.mark.parametrize("per_page", [0, -1])
def test_a_page_without_senders_is_the_last(api: RawApi, cakemail: Cakemail, per_page: int) -> None:
    api.answers["/brands/default/senders"] = lambda request: senders(per_page=per_page)
    assert list(cakemail.senders("a", None)) == []
    assert api.calls["/brands/default/senders"] == 1


def test_pages_that_are_longer_than_asked_for_have_a_bound(api: RawApi, cakemail: Cakemail) -> None:
    page = senders(*[{"id": number, "email": "a@b.c", "confirmed": True} for number in range(15_000)], per_page=15_000)
    api.answers["/brands/default/senders"] = lambda request: page
    assert len(list(cakemail.senders("a", None))) == MAX_SENDERS
    assert api.calls["/brands/default/senders"] == 2


# --- Submitting

ANSWERS: dict[str, tuple[bytes, object]] = {
    "queued": (http(QUEUED, 201), "uuid"),
    "queued, 200": (http(QUEUED, 200), "uuid"),
    "queued, chunked": (
        b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n"
        b'2c\r\n{"data": {"id": "uuid", "status": "queued"}}\r\n0\r\n\r\n',
        "uuid",
    ),
    "queued without an id": (http({"data": {"status": "queued"}}, 201), ""),
    "rejected": (http({"data": {"id": "uuid", "status": "rejected"}}, 201), Rejected),
    "error": (http({"data": {"id": "uuid", "status": "error"}}, 201), Rejected),
    "no status": (http({"data": {"id": "uuid"}}, 201), OutcomeUnknown),
    "a status that is no text": (http({"data": {"id": "uuid", "status": None}}, 201), OutcomeUnknown),
    "a challenge": (http({"challenge": "x"}, 201), OutcomeUnknown),
    "queued, and a challenge": (http({**QUEUED, "challenge": "x"}, 201), "uuid"),
    "202": (http(QUEUED, 202), OutcomeUnknown),
    "203": (http(QUEUED, 203), OutcomeUnknown),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", OutcomeUnknown),
    "206": (http(QUEUED, 206), OutcomeUnknown),
    "no data": (http({"object": "email"}, 201), OutcomeUnknown),
    "data of another type": (http({"data": ["queued"]}, 201), OutcomeUnknown),
    "half of its JSON": (http(b'{"data": {"id": "uuid", "sta', 201), OutcomeUnknown),
    "HTML": (http(b"<html>", 201), OutcomeUnknown),
    "no HTTP": (b"220 smtp.example ESMTP\r\n\r\n", OutcomeUnknown),
    "a redirect": (http(b"", 302, Location="https://elsewhere.example/"), TryLater),
    "a redirect to send it again": (http(b"", 307, Location="/v2/emails"), TryLater),
    "an empty answer": (b"", OutcomeUnknown),
    "half a status line": (b"HTTP/1.1 20", OutcomeUnknown),
    "half the fields": (b"HTTP/1.1 201 Created\r\nContent-Le", OutcomeUnknown),
    "a body cut short": (http(QUEUED, 201)[:-5], OutcomeUnknown),
    "400": (http({"detail": "no"}, 400), Rejected),
    "401": (http({"detail": "no"}, 401), NotAuthorized),
    "413 before the end": (http({"detail": "too large"}, 413), Rejected),
    "503": (http({"detail": "no"}, 503), TryLater),
}  # fmt: skip


@pytest.mark.parametrize("name", ANSWERS)
def test_each_answer_to_a_submission(api: RawApi, cakemail: Cakemail, name: str) -> None:
    octets, meaning = ANSWERS[name]

    def answer(request: Request) -> None:
        request.connection.sendall(octets)

    api.answers["/v2/emails"] = answer
    if isinstance(meaning, str):
        assert submit(cakemail) == meaning
    else:
        with pytest.raises(ApiError) as problem:
            submit(cakemail)
        assert type(problem.value) is meaning
    assert api.calls == {"/v2/emails": 1}, "nothing is sent twice, no redirect followed"
    api.answers.clear()
    assert submit(cakemail) == "uuid", "the pool is healthy"


def test_nobody_listens() -> None:
    with pytest.raises(NotReached):
        submit(client(f"http://127.0.0.1:{free_port()}"))


def test_no_such_host() -> None:
    with pytest.raises(NotReached):
        submit(client("https://no-such-host.invalid"), seconds=5)


def test_a_certificate_that_nobody_vouches_for_gets_no_password(tmp_path: Path) -> None:
    with RawApi(write_pair(tmp_path)) as api:
        with pytest.raises(NotReached):
            client(api.url).password_token("user@example.com", "password")
        assert not api.calls


# --- Connections


def test_one_that_the_server_has_closed_between_two_calls_is_made_anew(api: RawApi, cakemail: Cakemail) -> None:
    for _ in range(5):
        assert submit(cakemail) == "uuid"
        api.close_connections()
        gevent.sleep(0.01)
    assert (api.calls["/v2/emails"], api.accepted) == (5, 5)


def test_one_that_is_closed_after_an_idle_time_is_made_anew(api: RawApi, cakemail: Cakemail) -> None:
    def closing_soon(request: Request) -> bytes:
        gevent.spawn_later(0.05, request.connection.close)
        return http(QUEUED, 201)

    api.answers["/v2/emails"] = closing_soon
    for _ in range(3):
        assert submit(cakemail) == "uuid"
        gevent.sleep(0.15)
    assert api.accepted == 3


def test_one_that_has_been_idle_for_as_long_as_it_may_is_made_anew(api: RawApi) -> None:
    cakemail = client(api.url, SMTPGW_API_IDLE_TIMEOUT_SECONDS="0.2")
    for _ in range(3):
        submit(cakemail)
        gevent.sleep(0.3)
    assert api.accepted == 3
    cakemail.close()


def test_otherwise_it_is_used_again(api: RawApi, cakemail: Cakemail) -> None:
    for _ in range(20):
        submit(cakemail)
    assert api.accepted == 1


def test_one_that_is_reset_while_it_is_used_is_an_outcome_that_nobody_knows(api: RawApi, cakemail: Cakemail) -> None:
    submit(cakemail)
    api.answers["/v2/emails"] = lambda request: None
    with pytest.raises(OutcomeUnknown):
        submit(cakemail)
    assert api.calls["/v2/emails"] == 2


def test_a_call_that_may_come_twice_is_repeated_where_an_idle_connection_was_closed(
    api: RawApi, cakemail: Cakemail
) -> None:
    submit(cakemail)
    api.answers["/lists"] = lambda request: None if api.calls["/lists"] == 1 else http({"data": [{"id": 2}]})
    assert cakemail.first_active_list("a", None) == 2
    assert (api.calls["/lists"], api.accepted) == (2, 2)
    api.answers["/lists"] = lambda request: None
    with pytest.raises(OutcomeUnknown):
        cakemail.first_active_list("a", None)
    assert api.calls["/lists"] == 4, "once, and not again and again"


# --- Bounds


def test_an_account_whose_calls_hang_leaves_connections_to_the_others(api: RawApi) -> None:
    cakemail = client(api.url, SMTPGW_API_CONNECTIONS="4", SMTPGW_API_WAIT_SECONDS="0.3")

    def answer(request: Request) -> bytes:
        if request.fields["authorization"].endswith("hangs"):
            gevent.sleep(30)
        return http(QUEUED, 201)

    api.answers["/v2/emails"] = answer
    hanging = [gevent.spawn(cakemail.submit_email, "hangs", BODY, None, 30) for _ in range(20)]
    gevent.sleep(0.1)
    assert [cakemail.submit_email("another", BODY, None, 5) for _ in range(3)] == ["uuid"] * 3
    gevent.killall(hanging)
    assert cakemail.slots.free == 4
    cakemail.close()


def test_calls_under_way_are_bounded(api: RawApi) -> None:
    cakemail = client(api.url, SMTPGW_API_CONNECTIONS="3")
    under_way, most = 0, 0

    def slow(request: Request) -> bytes:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        gevent.sleep(0.02)
        under_way -= 1
        return http(QUEUED, 201)

    api.answers["/v2/emails"] = slow
    assert [g.get(10) for g in [gevent.spawn(submit, cakemail) for _ in range(30)]] == ["uuid"] * 30
    assert most == 3
    assert api.accepted == 3
    assert cakemail.slots.free == 3
    assert cakemail.waiting == 0
    cakemail.close()


def test_waiting_is_part_of_a_calls_time_and_bounded_itself(api: RawApi) -> None:
    cakemail = client(api.url, SMTPGW_API_CONNECTIONS="1", SMTPGW_API_WAIT_SECONDS="1")
    api.answers["/v2/emails"] = lambda request: gevent.sleep(10)  # type: ignore[func-returns-value]
    first = gevent.spawn(submit, cakemail, BODY, 10)
    gevent.sleep(0.05)
    for seconds, least in ((0.3, 0.3), (10, 1)):
        began = time.monotonic()
        with pytest.raises(Busy):
            submit(cakemail, seconds=seconds)
        assert least <= time.monotonic() - began < 5
    assert metrics.SAMPLED[metrics.API_IN_FLIGHT]() == 1
    first.kill()
    assert cakemail.slots.free == 1, "one who is killed gives its place back"
    api.answers.clear()
    assert submit(cakemail) == "uuid"
    cakemail.close()


@pytest.mark.parametrize("path", ["/v2/emails", "/token"])
def test_an_answer_octet_by_octet_takes_no_longer_than_its_call_may(api: RawApi, cakemail: Cakemail, path: str) -> None:
    def drip(request: Request) -> None:
        for octet in http(QUEUED, 201):
            request.connection.sendall(bytes([octet]))
            gevent.sleep(0.1)

    api.answers[path] = drip
    began = time.monotonic()
    with pytest.raises(OutcomeUnknown):
        cakemail._call("emails", "POST", path, body=BODY, timeout_seconds=0.5)
    assert 0.4 < time.monotonic() - began < 3


LARGE = b"x" * 8_000_000


class SlowReader(RawApi):
    """Reads a request of megabytes in so many seconds."""

    seconds = 1.0

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            left = len(LARGE)
            while left > 0 and (received := connection.recv(len(LARGE) // 20)):
                left -= len(received)
                gevent.sleep(self.seconds * len(received) / len(LARGE))
            if left <= 0:
                connection.sendall(http(QUEUED, 201))


def test_a_large_message_may_take_longer_to_send_than_a_connection_to_be_made() -> None:
    with SlowReader() as api:
        cakemail = client(api.url, SMTPGW_API_CONNECT_TIMEOUT_SECONDS="0.2")
        assert submit(cakemail, LARGE) == "uuid"
        cakemail.close()


def test_but_not_longer_than_its_call() -> None:
    with SlowReader() as api:
        api.seconds = 20
        cakemail = client(api.url)
        began = time.monotonic()
        with pytest.raises(OutcomeUnknown):
            submit(cakemail, LARGE, seconds=1)
        assert time.monotonic() - began < 3
        assert cakemail.slots.free == cakemail.settings.api_connections
        cakemail.close()


def test_what_is_measured_has_the_status_or_why_there_is_none(api: RawApi, cakemail: Cakemail) -> None:
    def count(status: str) -> int:
        metrics.API_SECONDS.flush()
        return int(sum(b.get() for b in metrics.API_SECONDS.labels("emails", status)._buckets))

    before = {status: count(status) for status in ("201", "4xx", "unanswered")}
    submit(cakemail)
    api.answers["/v2/emails"] = lambda request: http({}, 418)
    with pytest.raises(TryLater):
        submit(cakemail)
    api.answers["/v2/emails"] = lambda request: None
    with pytest.raises(OutcomeUnknown):
        submit(cakemail)
    assert {status: count(status) - before[status] for status in before} == dict.fromkeys(before, 1)
