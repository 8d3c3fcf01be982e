"""Logins, tokens, senders and lists: asked for once, refreshed in time, and no password kept."""

import gc
import smtplib
import threading
import time
from collections.abc import Callable, Iterator
from types import CodeType, FrameType, FunctionType, ModuleType, TracebackType

import gevent
import pytest

from smtpgw.cakemail.client import Cakemail
from smtpgw.cakemail.errors import NotAuthorized, OutcomeUnknown
from smtpgw.core.models import Account, Credentials
from smtpgw.core.replies import (
    BAD_CREDENTIALS,
    CHALLENGE_REQUIRED,
    CREDENTIALS_REVOKED,
    LOGIN_UNAVAILABLE,
    SENDER_ID_UNKNOWN,
    SENDER_NOT_CONFIRMED,
    Reply,
    SMTPError,
)
from smtpgw.sandbox.accounts import (
    ACTIVE_LIST,
    ARCHIVED_LIST,
    DEMO,
    MULTI_FACTOR,
    OTHER,
    SECOND_PAGE_SENDER,
    SUB_ACCOUNT,
    SUB_ACCOUNT_LIST,
    SUB_ACCOUNT_SENDER,
    UNCONFIRMED_SENDER,
)
from smtpgw.submission import directory, logins
from smtpgw.submission.directory import Directories
from smtpgw.submission.logins import Logins
from tests.support.gateway import PASSWORD, SENDER, USERNAME, Gateway
from tests.support.ports import free_port
from tests.support.raw_api import TOKEN, USUAL, RawApi, Request, http
from tests.support.recorder import settings
from tests.support.sandbox import Sandbox
from tests.support.submitting import Submitting

GOOD = Credentials(USERNAME, PASSWORD)
MESSAGE = "From: {sender}\r\nSubject: Accounts\r\n{header}\r\nx\r\n"


class Clocked:
    """Logins and directories whose clock a test sets."""

    def __init__(self, url: str, **variables: str) -> None:
        self.now = 1000.0
        variables = {"SMTPGW_API_TIMEOUT_SECONDS": "2", "SMTPGW_SUBMIT_TIMEOUT_SECONDS": "5", **variables}
        self.api = Cakemail(settings(CAKEMAIL_API_URL=url, **variables))
        self.logins = Logins(self.api, lambda: self.now)
        self.directories = Directories(self.logins, lambda: self.now)
        self.login, self.token = self.logins.login, self.logins.token
        self.sender, self.default_list = self.directories.sender, self.directories.default_list

    def is_in_flight(self) -> bool:
        return bool(self.logins.flight.running or self.directories.flight.running)


@pytest.fixture
def accounts(sandbox: Sandbox) -> Iterator[Clocked]:
    made = Clocked(sandbox.url)
    yield made
    made.api.close()


@pytest.fixture
def api() -> Iterator[RawApi]:
    with RawApi() as served:
        yield served


@pytest.fixture
def of_raw_api(api: RawApi) -> Iterator[Clocked]:
    made = Clocked(api.url)
    yield made
    made.api.close()


def calls(sandbox: Sandbox, endpoint: str) -> int:
    found: int = sandbox.calls().get(endpoint, {"calls": 0})["calls"]
    return found


def refusal(work: Callable[[], object]) -> Reply:
    with pytest.raises(SMTPError) as refused:
        work()
    return refused.value.reply


def at_once(work: Callable[[], object], times: int = 100) -> list[object]:
    return [greenlet.get(10) for greenlet in [gevent.spawn(work) for _ in range(times)]]


# --- Which credentials are good


@pytest.mark.parametrize(
    ("credentials", "account"),
    [
        (GOOD, DEMO),
        (Credentials(USERNAME.upper(), PASSWORD), DEMO),
        (Credentials(OTHER.email, OTHER.password), OTHER),
        (Credentials("apikey", DEMO.access_token), DEMO),
        (Credentials("ApiKey", DEMO.access_token + "\n"), DEMO),  # pasted
        (Credentials("token", MULTI_FACTOR.access_token), MULTI_FACTOR),
    ],
    ids=lambda value: getattr(value, "username", ""),
)
def test_both_kinds_of_credentials_are_good(accounts: Clocked, credentials: Credentials, account: object) -> None:
    found = accounts.login(credentials)
    assert found == Account(account.id, credentials)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "credentials",
    [
        Credentials(USERNAME, "wrong"),
        Credentials(USERNAME, ""),
        Credentials(USERNAME, PASSWORD.upper()),
        Credentials("nobody@example.com", PASSWORD),
        Credentials("no address", PASSWORD),
        Credentials("", ""),
        Credentials("apikey", "wrong"),
        Credentials("apikey", ""),
        Credentials("apikey", "two words"),
        Credentials("apikey", "token\r\nX-Injected: 1"),
        Credentials("apikey", PASSWORD),
        Credentials(USERNAME, DEMO.access_token),
    ],
    ids=repr,
)
def test_others_are_not(accounts: Clocked, credentials: Credentials) -> None:
    assert refusal(lambda: accounts.login(credentials)) == BAD_CREDENTIALS


def test_who_has_several_factors_is_told_what_to_do(accounts: Clocked, sandbox: Sandbox) -> None:
    """Both shapes of the challenge: the API's text says 401, its schema 200."""
    careful = Credentials(MULTI_FACTOR.email, MULTI_FACTOR.password)
    assert refusal(lambda: accounts.login(careful)) == CHALLENGE_REQUIRED
    sandbox.fault(kind="challenge_200")
    assert refusal(lambda: accounts.login(GOOD)) == CHALLENGE_REQUIRED
    assert "access token" in CHALLENGE_REQUIRED.text


AWAY: dict[str, dict[str, object]] = {
    "reset before": {"kind": "reset_before"},
    "reset after": {"kind": "reset_after"},
    "no answer": {"kind": "no_answer"},
    "slow headers": {"kind": "slow_headers"},
    "slow body": {"kind": "slow_body"},
    "truncated": {"kind": "truncated"},
    "an HTML page": {"kind": "html"},
    "an HTML page, 200": {"kind": "html", "status": 200},
    **{f"status {n}": {"status": n} for n in (302, 404, 408, 429, 500, 502, 503, 504)},
}


@pytest.mark.parametrize("credentials", [GOOD, Credentials("apikey", DEMO.access_token)], ids=["password", "token"])
@pytest.mark.parametrize("fault", AWAY)
def test_an_api_that_cannot_say_is_no_wrong_password(sandbox: Sandbox, fault: str, credentials: Credentials) -> None:
    accounts = Clocked(sandbox.url, SMTPGW_API_TIMEOUT_SECONDS="1")
    sandbox.fault(endpoint="/token", **AWAY[fault])
    sandbox.fault(endpoint="/accounts/self", **AWAY[fault])
    assert refusal(lambda: accounts.login(credentials)) == LOGIN_UNAVAILABLE
    sandbox.clear_faults()
    assert accounts.login(credentials).id == DEMO.id
    accounts.api.close()


def test_an_api_that_is_not_there_is_no_wrong_password() -> None:
    away = Clocked(f"http://127.0.0.1:{free_port()}")
    assert refusal(lambda: away.login(GOOD)) == LOGIN_UNAVAILABLE


@pytest.mark.parametrize(
    "answer", [{}, [], {"access_token": "a"}, {**TOKEN, "expires_in": "soon"}, {**TOKEN, "accounts": "x"}]
)
def test_an_answer_of_another_shape_is_no_wrong_password(api: RawApi, of_raw_api: Clocked, answer: object) -> None:
    api.answers["/token"] = lambda request: http(answer)
    assert refusal(lambda: of_raw_api.login(GOOD)) == LOGIN_UNAVAILABLE


# --- Asked for once


def test_a_hundred_logins_at_once_are_one_call(sandbox: Sandbox, accounts: Clocked) -> None:
    sandbox.fault(endpoint="/token", latency_ms=200)
    found = at_once(lambda: accounts.login(GOOD))
    assert found == [Account(DEMO.id, GOOD)] * 100
    assert calls(sandbox, "POST /token") == 1


def test_a_hundred_wrong_logins_at_once_are_one_call(sandbox: Sandbox, accounts: Clocked) -> None:
    sandbox.fault(endpoint="/token", latency_ms=200)
    wrong = Credentials(USERNAME, "wrong")
    assert at_once(lambda: refusal(lambda: accounts.login(wrong))) == [BAD_CREDENTIALS] * 100
    assert calls(sandbox, "POST /token") == 1
    assert not accounts.is_in_flight()


def test_others_at_once_are_calls_of_their_own(sandbox: Sandbox, accounts: Clocked) -> None:
    sandbox.fault(endpoint="/token", latency_ms=200)
    logins = [gevent.spawn(accounts.login, c) for c in (GOOD, Credentials(OTHER.email, OTHER.password))]
    assert [login.get(10).id for login in logins] == [DEMO.id, OTHER.id]


def connected_at_once(gateway: Gateway, password: str, connections: int = 100) -> list[int]:
    """The codes of AUTH on so many connections."""
    codes: list[int] = []
    clients = [gateway.encrypted() for _ in range(connections)]

    def log_in(client: smtplib.SMTP) -> None:
        client.ehlo()
        client.user, client.password = USERNAME, password
        try:
            codes.append(client.auth("PLAIN", client.auth_plain)[0])  # `login` would try LOGIN, too
        except smtplib.SMTPAuthenticationError as refused:
            codes.append(refused.smtp_code)

    threads = [threading.Thread(target=log_in, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    for client in clients:
        client.close()
    return codes


@pytest.mark.parametrize(("password", "code"), [(PASSWORD, 235), ("wrong", 535)])
def test_a_hundred_connections_at_once_are_one_call(
    sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory, password: str, code: int
) -> None:
    sandbox.fault(endpoint="/token", latency_ms=1000)
    with Gateway(sandbox.url, tmp_path_factory.mktemp("logins")) as own:
        assert connected_at_once(own, password) == [code] * 100
    assert calls(sandbox, "POST /token") == 1


def test_one_who_leaves_or_has_no_time_costs_the_others_nothing(sandbox: Sandbox, accounts: Clocked) -> None:
    account = accounts.login(GOOD)
    sandbox.fault(endpoint="/brands/default/senders", latency_ms=600)

    def look_up(seconds: float = 5) -> str:
        return accounts.sender(account, None, None, SENDER, time.monotonic() + seconds).email

    first = gevent.spawn(look_up)
    gevent.sleep(0.05)
    others = [gevent.spawn(look_up) for _ in range(10)]
    with pytest.raises(OutcomeUnknown):
        look_up(0.05)
    first.kill()
    assert {other.get(10) for other in others} == {SENDER}
    assert calls(sandbox, "GET /lists") == 1
    assert not accounts.is_in_flight()


def test_a_look_up_that_nobody_has_time_for_is_there_for_the_next(sandbox: Sandbox, accounts: Clocked) -> None:
    account = accounts.login(GOOD)
    sandbox.fault(endpoint="/lists", latency_ms=300)
    with pytest.raises(OutcomeUnknown):
        accounts.default_list(account, None, time.monotonic() + 0.05)
    while accounts.is_in_flight():
        gevent.sleep(0.05)
    assert accounts.default_list(account, None, time.monotonic() + 0.05) == ACTIVE_LIST.id
    assert calls(sandbox, "GET /lists") == 1


def test_credentials_that_are_refused_do_not_refuse_others_of_the_account(api: RawApi) -> None:
    """Both look up the same account at once; what one of them hears is about its token."""
    api.answers["/token"] = lambda request: http({**TOKEN, "access_token": "old" if b"old" in request.body else "new"})

    def senders(request: Request) -> bytes:
        gevent.sleep(0.3)
        if request.fields["authorization"] == "bearer old":
            return http({"detail": "expired"}, 401)
        return USUAL["/brands/default/senders"]

    api.answers["/brands/default/senders"] = senders
    with Submitting(api.url) as submitting:
        logged_in = [submitting.gateway.logins.login(Credentials(USERNAME, password)) for password in ("old", "new")]
        assert logged_in[0].id == logged_in[1].id
        first = gevent.spawn(submitting.send, account=logged_in[0])
        gevent.sleep(0.1)
        assert submitting.send(account=logged_in[1]).code == 250
        assert first.get(10) == CREDENTIALS_REVOKED


@pytest.mark.parametrize("status", [400, 403])
def test_credentials_that_may_not_act_for_a_sub_account_do_not_refuse_others(api: RawApi, status: int) -> None:
    api.answers["/token"] = lambda request: http(
        {**TOKEN, "access_token": "may-not" if b"no" in request.body else "may"}
    )

    def senders(request: Request) -> bytes:
        gevent.sleep(0.3)
        return (
            http({"detail": "no"}, status)
            if "not" in request.fields["authorization"]
            else USUAL["/brands/default/senders"]
        )

    api.answers["/brands/default/senders"] = senders
    raw = MESSAGE.format(sender=SENDER, header="x-account-id: 77\r\n").encode()
    with Submitting(api.url) as submitting:
        logged_in = [submitting.gateway.logins.login(Credentials(USERNAME, password)) for password in ("no", "yes")]
        first = gevent.spawn(submitting.send, ("ann@example.com",), raw, account=logged_in[0])
        gevent.sleep(0.1)
        assert submitting.send(("ann@example.com",), raw, account=logged_in[1]).code == 250
        assert first.get(10).code == 550


# --- Tokens


@pytest.mark.parametrize(("lifetime", "early"), [(3600, 60), (100, 10)])
def test_a_token_is_refreshed_before_it_expires(api: RawApi, of_raw_api: Clocked, lifetime: int, early: int) -> None:
    forms: list[bytes] = []

    def token(request: Request) -> bytes:
        forms.append(request.body)
        return http(
            {**TOKEN, "access_token": f"a{len(forms)}", "refresh_token": f"r{len(forms)}", "expires_in": lifetime}
        )

    api.answers["/token"] = token
    account = of_raw_api.login(GOOD)
    assert of_raw_api.token(account) == "a1"
    of_raw_api.now += lifetime - early - 0.1
    assert of_raw_api.token(account) == "a1"
    of_raw_api.now += 0.2
    assert of_raw_api.token(account) == "a2"
    assert [b"grant_type=refresh_token" in form for form in forms] == [False, True]
    assert b"refresh_token=r1" in forms[1]
    assert at_once(lambda: of_raw_api.token(account)) == ["a2"] * 100


def test_when_the_refresh_token_has_expired_too_the_password_is_taken(sandbox: Sandbox, accounts: Clocked) -> None:
    account = accounts.login(GOOD)
    first = accounts.token(account)
    sandbox.revoke_tokens(account_id=DEMO.id)
    accounts.now += 3600
    second = accounts.token(account)
    assert second != first
    assert calls(sandbox, "POST /token") == 3
    assert accounts.token(account) == second


def test_short_lived_tokens_are_changed_while_messages_go_on(sandbox: Sandbox, gateway: Gateway) -> None:
    sandbox.revoke_tokens(account_id=DEMO.id, kind="access")
    sandbox.limit_tokens(1)
    with gateway.client() as client:
        for n in range(4):
            assert client.sendmail(SENDER, f"u{n}@example.com", message()) == {}
            time.sleep(0.5)
    assert sandbox.ledger()["total"] == 4
    assert sandbox.calls()["POST /v2/emails"]["outcomes"].get("401", 0) <= 1, "refreshed before, not after"


def test_a_password_is_checked_again_each_hour_however_often_its_token_is_refreshed(
    api: RawApi, of_raw_api: Clocked
) -> None:
    """Else one that was changed would be good here for as long as somebody keeps sending."""
    is_good = True

    def token(request: Request) -> bytes:
        if b"grant_type=password" in request.body and not is_good:
            return http({"detail": "no"}, 401)
        return http({**TOKEN, "expires_in": 600})

    api.answers["/token"] = token
    account = of_raw_api.login(GOOD)
    is_good = False
    for _ in range(11):
        of_raw_api.now += 300
        of_raw_api.token(account)
        assert of_raw_api.login(GOOD).id == account.id
    of_raw_api.now += 400
    assert refusal(lambda: of_raw_api.login(GOOD)) == BAD_CREDENTIALS
    with pytest.raises(NotAuthorized):
        of_raw_api.token(account)


def test_an_access_token_is_checked_again_after_a_while(api: RawApi, of_raw_api: Clocked) -> None:
    token = Credentials("apikey", "some-token")
    of_raw_api.login(token)
    of_raw_api.login(token)
    assert api.calls["/accounts/self"] == 1
    of_raw_api.now += 601
    api.answers["/accounts/self"] = lambda request: http({"detail": "revoked"}, 401)
    assert refusal(lambda: of_raw_api.login(token)) == BAD_CREDENTIALS
    assert api.calls["/token"] == 0


def test_a_refused_token_is_replaced_once(sandbox: Sandbox, accounts: Clocked) -> None:
    account = accounts.login(GOOD)
    stale = accounts.token(account)
    sandbox.fault(endpoint="/token", latency_ms=100)
    fresh = at_once(lambda: accounts.token(account, stale=stale), 10)
    assert len(set(fresh)) == 1
    assert fresh[0] != stale
    assert accounts.token(account, stale=stale) == fresh[0], "one who comes late does not throw away the new one"
    assert calls(sandbox, "POST /token") == 2


@pytest.mark.parametrize("fault", [{"status": 401}, {"status": 403}, {"status": 422}, {"kind": "challenge_200"}])
def test_credentials_that_are_good_no_longer_are_no_fault_of_the_message(
    sandbox: Sandbox, accounts: Clocked, fault: dict[str, object]
) -> None:
    account = accounts.login(GOOD)
    stale = accounts.token(account)
    sandbox.fault(endpoint="/token", **fault)
    with pytest.raises(NotAuthorized):
        accounts.token(account, stale=stale)


def test_a_revoked_token_costs_one_new_login(sandbox: Sandbox, gateway: Gateway) -> None:
    with gateway.client() as client:
        client.sendmail(SENDER, "ann@example.com", message())
        sandbox.revoke_tokens(account_id=DEMO.id, kind="access")
        before = calls(sandbox, "POST /token")
        recipients = [f"u{n}@example.com" for n in range(10)]
        assert client.sendmail(SENDER, recipients, message()) == {}
    assert calls(sandbox, "POST /token") == before + 1
    assert sandbox.ledger()["total"] == 11


# --- What is kept


def reachable(*roots: object) -> Iterator[object]:
    """Everything that these hold on to: what closures have closed over and what greenlets wait in, too."""
    seen: set[int] = set()
    waiting = list(roots)
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen or isinstance(thing, (type, ModuleType, CodeType)):
            continue
        seen.add(id(thing))
        yield thing
        if isinstance(thing, gevent.Greenlet) and thing.gr_frame:
            waiting.append(thing.gr_frame)
        if isinstance(thing, FunctionType):  # not its module's globals, which are the whole process
            waiting += [thing.__defaults__, thing.__kwdefaults__, thing.__closure__]
        elif isinstance(thing, FrameType):
            waiting += [thing.f_locals]
        elif not isinstance(thing, TracebackType):
            waiting += gc.get_referents(thing)


def test_no_password_is_kept(sandbox: Sandbox, accounts: Clocked) -> None:
    made_up = "".join(["pass", "word", "-nobody", "-keeps"])
    assert refusal(lambda: accounts.login(Credentials(USERNAME, made_up))) == BAD_CREDENTIALS
    account = accounts.login(Credentials(USERNAME, PASSWORD))
    accounts.sender(account, None, None, SENDER, time.monotonic() + 5)
    accounts.now += 3600
    accounts.token(account)
    found = list(
        reachable(
            accounts.logins.cache,
            accounts.logins.flight,
            accounts.logins.key,
            accounts.directories.cache,
            accounts.directories.flight,
            accounts.api.transport,
        )
    )
    secrets = [made_up, PASSWORD, made_up.encode(), PASSWORD.encode()]
    texts = [thing for thing in found if isinstance(thing, (str, bytes, bytearray))]
    assert len(texts) > 100
    assert any(SENDER in text for text in texts if isinstance(text, str)), "it looks where things are kept"
    for text in texts:
        assert not any(secret in text for secret in secrets if isinstance(text, type(secret))), text


def test_the_search_finds_what_is_kept() -> None:
    password = "".join(["p", "assword"])
    kept = {1: [lambda: password]}
    assert password in [thing for thing in reachable(kept) if isinstance(thing, str)]


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch, api: RawApi) -> None:
    monkeypatch.setattr(logins, "MAX_LOGINS", 10)
    monkeypatch.setattr(directory, "MAX_LOGINS", 10)
    monkeypatch.setattr(directory, "MAX_SENDERS", 10)
    accounts = Clocked(api.url)
    ids = iter(range(100))
    api.answers["/token"] = lambda request: http({**TOKEN, "accounts": [next(ids)]})
    logged_in = [accounts.login(Credentials(f"u{n}@example.com", "x")) for n in range(30)]
    for account in logged_in:
        assert accounts.default_list(account, None) == 2
    assert len(accounts.logins.cache) == 10
    assert len(accounts.directories.cache) == 5, "each counts for itself and its sender"
    accounts.api.close()


# --- Whose it is


def test_a_login_is_a_sessions_own(gateway: Gateway) -> None:
    """Not the address's: whoever shares it has to log in."""
    with gateway.client(), gateway.encrypted() as neighbour:
        neighbour.ehlo()
        assert neighbour.mail(SENDER)[0] == 530


def test_neighbours_at_one_address_send_each_for_themselves(sandbox: Sandbox, gateway: Gateway) -> None:
    theirs = OTHER.senders[0].email
    with gateway.client() as ours, gateway.client(OTHER.email, OTHER.password) as other:
        for n in range(3):
            assert ours.sendmail(SENDER, f"a{n}@example.com", message()) == {}
            assert other.sendmail(theirs, f"b{n}@example.com", message(theirs)) == {}
        with pytest.raises(smtplib.SMTPDataError) as refused:
            other.sendmail(SENDER, "c@example.com", message())
        assert (refused.value.smtp_code, refused.value.smtp_error[:5]) == (550, b"5.7.1")  # type: ignore[index]
        with gateway.encrypted() as third:
            third.ehlo()
            assert third.mail(SENDER)[0] == 530
    owners = {e["email"]: e["account_id"] for e in sandbox.emails()}
    assert owners == {f"{who}{n}@example.com": id_ for n in range(3) for who, id_ in (("a", DEMO.id), ("b", OTHER.id))}


# --- Senders and lists


def message(sender: str = SENDER, header: str = "") -> str:
    return MESSAGE.format(sender=sender, header=header)


def send(
    gateway: Gateway, sender: str = SENDER, header: str = "", username: str = USERNAME, password: str = PASSWORD
) -> object:
    with gateway.client(username, password) as client:
        return client.sendmail(sender, "ann@example.com", message(sender, header))


def refused_to_send(gateway: Gateway, sender: str = SENDER, header: str = "") -> tuple[int, str]:
    with pytest.raises(smtplib.SMTPDataError) as refused:
        send(gateway, sender, header)
    return refused.value.smtp_code, bytes(refused.value.smtp_error).decode()  # type: ignore[arg-type]


def submitted(sandbox: Sandbox) -> dict[str, object]:
    (email,) = sandbox.emails()
    found: dict[str, object] = {"account_id": email["account_id"], **email["request"]}
    return found


def test_senders_of_every_page_whatever_the_case(sandbox: Sandbox, gateway: Gateway) -> None:
    assert send(gateway, "Second-Page@CAKEMAIL.example") == {}
    assert submitted(sandbox)["sender"] == {"id": SECOND_PAGE_SENDER.id}


@pytest.mark.parametrize("pages", [1, 2, 3])
def test_pages_are_read_to_the_last_also_when_it_is_full_or_empty(api: RawApi, of_raw_api: Clocked, pages: int) -> None:
    """Two senders a page, whatever we ask for; the last page is empty."""
    asked: list[int] = []

    def senders(request: Request) -> bytes:
        asked.append(len(asked) + 1)
        some = [{"id": f"{len(asked)}-{n}", "email": f"{len(asked)}-{n}@x.example", "confirmed": True} for n in (1, 2)]
        return http({"pagination": {"page": len(asked), "per_page": 2}, "data": some if len(asked) <= pages else []})

    api.answers["/brands/default/senders"] = senders
    account = of_raw_api.login(GOOD)
    found = of_raw_api.sender(account, None, None, f"{pages}-2@x.example", time.monotonic() + 5)
    assert found.id == f"{pages}-2"
    assert len(asked) == pages + 1


def test_of_two_senders_with_one_address_the_first_counts(api: RawApi, of_raw_api: Clocked) -> None:
    twins = [
        {"id": str(n), "email": e, "confirmed": c}
        for n, (e, c) in enumerate([("A@x", False), ("a@x", True), ("a@X", True)])
    ]
    api.answers["/brands/default/senders"] = lambda request: http({"pagination": {}, "data": twins})
    account = of_raw_api.login(GOOD)
    assert of_raw_api.sender(account, None, None, "a@x", time.monotonic() + 5).id == "1"


class PagesOfSenders:
    """Answers with so many pages of a hundred senders; the last one has one fewer."""

    def __init__(self, pages: int) -> None:
        self.there, self.asked = pages, 0

    def __call__(self, request: Request) -> bytes:
        page = self.asked % self.there
        self.asked += 1
        size = 100 if page + 1 < self.there else 99
        some = [{"id": f"{page}-{n}", "email": f"{page}-{n}@x.example", "confirmed": True} for n in range(size)]
        return http({"pagination": {"per_page": 100}, "data": some})


def test_a_sender_confirmed_a_moment_ago_is_one_at_once(sandbox: Sandbox, gateway: Gateway) -> None:
    assert send(gateway) == {}, "the senders have been read"
    time.sleep(1.1)
    sandbox.add_sender("new@cakemail.example", name="New", confirmed=True)
    assert send(gateway, "new@cakemail.example") == {}
    sandbox.add_sender("later@cakemail.example", confirmed=False)
    time.sleep(1.1)
    assert refused_to_send(gateway, "later@cakemail.example")[0] == 550
    sandbox.add_sender("later@cakemail.example", confirmed=True)
    time.sleep(1.1)
    assert send(gateway, "later@cakemail.example") == {}


def test_an_unknown_sender_asks_about_once_a_second(api: RawApi, of_raw_api: Clocked) -> None:
    account = of_raw_api.login(GOOD)
    for _ in range(50):
        unknown = refusal(lambda: of_raw_api.sender(account, None, None, "x@y.example", time.monotonic() + 5))
        assert unknown == SENDER_NOT_CONFIRMED.filled(address="x@y.example")
        of_raw_api.now += 0.1
    assert 4 <= api.calls["/brands/default/senders"] <= 6
    of_raw_api.now += 0.9
    before = api.calls["/brands/default/senders"]
    for _ in range(10):
        assert of_raw_api.sender(account, None, None, SENDER, time.monotonic() + 5).id == "s"
    assert api.calls["/brands/default/senders"] == before, "a known one asks nobody"


@pytest.mark.parametrize("pages", [1, 30, 199])
def test_an_account_with_a_wrong_from_costs_few_calls_a_minute(api: RawApi, of_raw_api: Clocked, pages: int) -> None:
    """Each look takes as many calls as there are pages, and an application that fails so sends on for hours."""

    def calls() -> int:
        return api.calls["/brands/default/senders"] + api.calls["/lists"]

    api.answers["/brands/default/senders"] = PagesOfSenders(pages)
    account = of_raw_api.login(GOOD)
    of_raw_api.default_list(account, None)
    a_look = calls()
    assert a_look == pages + 1
    for _ in range(180):  # seconds
        of_raw_api.now += 1
        refusal(lambda: of_raw_api.sender(account, None, None, "x@y.example", time.monotonic() + 30))
    assert a_look <= calls() - a_look <= 4 * 20 + a_look, "at first at once, then 20 calls a minute"
    assert of_raw_api.sender(account, None, None, "0-1@x.example", time.monotonic() + 5)


def test_one_accounts_unknown_senders_do_not_use_up_anothers(sandbox: Sandbox, accounts: Clocked) -> None:
    demo, other = accounts.login(GOOD), accounts.login(Credentials(OTHER.email, OTHER.password))
    for account in (demo, other):
        refusal(lambda account=account: accounts.sender(account, None, None, "x@y.example", time.monotonic() + 5))
    sandbox.add_sender("x@y.example", account_id=OTHER.id)
    accounts.now += 1.1
    refusal(lambda: accounts.sender(demo, None, None, "x@y.example", time.monotonic() + 5))
    assert accounts.sender(other, None, None, "x@y.example", time.monotonic() + 5).email == "x@y.example"


def test_x_sender_id_beats_the_from_address(sandbox: Sandbox, gateway: Gateway) -> None:
    assert send(gateway, "whoever@elsewhere.example", f"x-sender-id: {SECOND_PAGE_SENDER.id}\r\n") == {}
    assert submitted(sandbox)["sender"] == {"id": SECOND_PAGE_SENDER.id}


@pytest.mark.parametrize("sender_id", ["sender-9999", UNCONFIRMED_SENDER.id])
def test_x_sender_id_must_be_a_confirmed_one(gateway: Gateway, sender_id: str) -> None:
    code, text = refused_to_send(gateway, header=f"x-sender-id: {sender_id}\r\n")
    assert code == 550
    assert text.startswith(f"5.7.1 {SENDER_ID_UNKNOWN.filled(id=sender_id).text}")


def test_an_unconfirmed_sender_is_refused_by_its_name(gateway: Gateway) -> None:
    code, text = refused_to_send(gateway, UNCONFIRMED_SENDER.email)
    assert code == 550
    assert text.startswith(f"5.7.1 {UNCONFIRMED_SENDER.email}: sender is not confirmed in this Cakemail account")


def test_the_list_is_the_oldest_active_one_or_the_one_that_is_named(sandbox: Sandbox, gateway: Gateway) -> None:
    assert send(gateway) == {}
    assert submitted(sandbox)["list_id"] == ACTIVE_LIST.id
    code, text = refused_to_send(gateway, header=f"x-list-id: {ARCHIVED_LIST.id}\r\n")
    assert code == 550
    assert text.startswith("5.0.0 "), "Cakemail's own word on it"


def test_an_account_without_lists_sends_without_one(sandbox: Sandbox, gateway: Gateway) -> None:
    assert send(gateway, OTHER.senders[0].email, username=OTHER.email, password=OTHER.password) == {}
    assert "list_id" not in submitted(sandbox)


def test_a_sub_account_has_its_own_senders_and_list(sandbox: Sandbox, gateway: Gateway) -> None:
    header = f"x-account-id: {SUB_ACCOUNT.id}\r\n"
    assert send(gateway, SUB_ACCOUNT_SENDER.email, header) == {}
    found = submitted(sandbox)
    assert found["sender"] == {"id": SUB_ACCOUNT_SENDER.id}
    assert (found["account_id"], found["list_id"]) == (SUB_ACCOUNT.id, SUB_ACCOUNT_LIST.id)
    assert refused_to_send(gateway, SENDER, header)[1].startswith("5.7.1 "), "not its parent's"
    assert refused_to_send(gateway, SUB_ACCOUNT_SENDER.email)[1].startswith("5.7.1 "), "and the other way round"


def test_nobody_acts_for_an_account_that_is_not_his(gateway: Gateway) -> None:
    code, text = refused_to_send(gateway, header=f"x-account-id: {OTHER.id}\r\n")
    assert code == 550
    assert text.startswith(f"5.7.1 x-account-id {OTHER.id}: these credentials may not act for this account")


SHAPES: dict[str, bytes] = {
    "nothing": http({}),
    "a list": http([]),
    "no pages": http({"data": [{"id": "s"}]}),
    "other types": http({"pagination": [], "data": [[1], 2]}),
    "no ids": http({"pagination": {}, "data": [{}]}),
    "a page of HTML": http(b"<html>"),
    **{f"status {n}": http({"detail": "oops"}, n) for n in (400, 403, 404, 413, 422, 429, 500, 502, 503, 504)},
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("path", ["/brands/default/senders", "/lists"])
def test_trouble_with_a_look_up_is_no_unknown_sender(api: RawApi, path: str, shape: str) -> None:
    with Submitting(api.url) as gateway:
        api.answers[path] = lambda request: SHAPES[shape]
        assert gateway.send().is_temporary
        api.answers.clear()
        assert gateway.send().code == 250, "and nothing of it is kept"


@pytest.mark.parametrize("path", ["/brands/default/senders", "/lists"])
def test_a_look_up_whose_token_is_refused_takes_one_new_login(api: RawApi, path: str) -> None:
    tokens = iter(range(9))
    api.answers["/token"] = lambda request: http({**TOKEN, "access_token": f"a{next(tokens)}"})
    refusals = [http({"detail": "expired"}, 401)]
    api.answers[path] = lambda request: refusals.pop() if refusals else USUAL[path]
    with Submitting(api.url) as gateway:
        assert gateway.send().code == 250
        assert api.calls["/token"] == 2
        api.answers[path] = lambda request: http({"detail": "expired"}, 401)
        gateway.gateway.directories.cache.clear()
        assert gateway.send() == CREDENTIALS_REVOKED
        assert api.calls["/token"] == 3
