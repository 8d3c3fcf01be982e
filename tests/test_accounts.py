"""Logins, tokens, senders and lists: asked for once, refreshed in time, and no password kept."""

import gc
import smtplib
import time
from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest

from smtpgw.accounts import Accounts
from smtpgw.cakemail import Cakemail
from smtpgw.envelope import Credentials
from smtpgw.readers import MIB
from smtpgw.replies import BAD_CREDENTIALS, Refused
from smtpgw.settings import Settings
from tests.gateway import PASSWORD, SENDER, USERNAME, Gateway
from tests.sandbox import Sandbox

MESSAGE = "From: {sender}\r\nSubject: Accounts\r\n\r\nx\r\n"


@pytest.fixture
def accounts(sandbox: Sandbox, gateway: Gateway) -> Iterator[Accounts]:
    settings = Settings.from_environ(gateway.variables)
    api = Cakemail(settings)
    yield Accounts(api)
    api.close()


def send(gateway: Gateway, sender: str = SENDER, username: str = USERNAME, password: str = PASSWORD) -> object:
    with gateway.client(username, password) as client:
        return client.sendmail(sender, "ann@example.com", MESSAGE.format(sender=sender))


def test_a_hundred_logins_at_once_are_one_call(sandbox: Sandbox, accounts: Accounts) -> None:
    sandbox.fault(endpoint="/token", latency_ms=200)
    logins = [gevent.spawn(accounts.login, Credentials(USERNAME, PASSWORD)) for _ in range(100)]
    assert {login.get(10).id for login in logins} == {1000}
    assert sandbox.calls()["POST /token"]["calls"] == 1


def test_a_hundred_wrong_logins_at_once_are_one_call(sandbox: Sandbox, accounts: Accounts) -> None:
    sandbox.fault(endpoint="/token", latency_ms=200)

    def refused() -> object:
        with pytest.raises(Refused) as refusal:
            accounts.login(Credentials(USERNAME, "wrong"))
        return refusal.value.reply

    logins = [gevent.spawn(refused) for _ in range(100)]
    assert {login.get(10) for login in logins} == {BAD_CREDENTIALS}
    assert sandbox.calls()["POST /token"]["calls"] == 1


def test_a_token_is_refreshed_before_it_expires(sandbox: Sandbox, accounts: Accounts) -> None:
    now = [time.monotonic()]
    accounts.clock = lambda: now[0]
    account = accounts.login(Credentials(USERNAME, PASSWORD))
    first = accounts.token(account)
    now[0] += 3600
    assert accounts.token(account) != first
    assert sandbox.calls()["POST /token"]["calls"] == 2


def test_no_password_is_kept(accounts: Accounts) -> None:
    password = "".join(["pass", "word", "-nobody", "-keeps"])
    with pytest.raises(Refused):
        accounts.login(Credentials(USERNAME, password))
    accounts.login(Credentials(USERNAME, PASSWORD))
    seen: set[int] = set()
    waiting: list[object] = [accounts.logins, accounts.directories, accounts.flight.running]
    while waiting and len(seen) < MIB:
        thing = waiting.pop()
        if id(thing) in seen or isinstance(thing, type):
            continue
        seen.add(id(thing))
        assert thing not in (password, PASSWORD, password.encode(), PASSWORD.encode())
        if not isinstance(thing, (str, bytes, int, float)):
            waiting += [
                other for other in gc.get_referents(thing) if not callable(other) and type(other).__name__ != "module"
            ]
    assert len(seen) > 10


def test_a_revoked_token_costs_one_new_login(sandbox: Sandbox, gateway: Gateway) -> None:
    with gateway.client() as client:
        client.sendmail(SENDER, "ann@example.com", MESSAGE.format(sender=SENDER))
        sandbox.revoke_tokens(account_id=1000, kind="access")
        before = sandbox.calls().get("POST /token", {"calls": 0})["calls"]
        recipients = [f"u{n}@example.com" for n in range(8)]
        assert client.sendmail(SENDER, recipients, MESSAGE.format(sender=SENDER)) == {}
    assert sandbox.calls()["POST /token"]["calls"] == before + 1
    assert sandbox.ledger()["total"] == 9


def test_an_access_token_is_a_password(gateway: Gateway) -> None:
    assert send(gateway, username="apikey", password="demo-access-token") == {}
    assert send(gateway, username="Token", password="demo-access-token") == {}


def test_a_login_is_a_sessions_own(gateway: Gateway) -> None:
    """Not the address's: whoever shares it has to log in."""
    with gateway.client(), gateway.encrypted() as neighbour:
        neighbour.ehlo()
        assert neighbour.mail(SENDER)[0] == 530


def test_senders_of_every_page_whatever_the_case(gateway: Gateway) -> None:
    assert send(gateway, "Second-Page@CAKEMAIL.example") == {}


def test_a_sender_confirmed_a_moment_ago(sandbox: Sandbox, gateway: Gateway) -> None:
    with pytest.raises(smtplib.SMTPDataError) as refusal:
        send(gateway, "new@cakemail.example")
    assert refusal.value.smtp_code == 550
    sandbox.add_sender("new@cakemail.example", name="New", confirmed=True)
    time.sleep(1.1)
    assert send(gateway, "new@cakemail.example") == {}


def test_an_unknown_sender_asks_about_once_a_second(sandbox: Sandbox, gateway: Gateway) -> None:
    began = time.monotonic()
    for _ in range(10):
        with pytest.raises(smtplib.SMTPDataError):
            send(gateway, "unconfirmed@cakemail.example")
    pages = 2  # of the senders there are
    calls = sandbox.calls().get("GET /brands/default/senders", {"calls": 0})["calls"]
    assert calls <= pages * (time.monotonic() - began + 2)


def test_trouble_with_a_look_up_is_no_unknown_sender(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.fault(endpoint="/brands/default/senders", status=500)
    with Gateway(sandbox.url, tmp_path) as own, pytest.raises(smtplib.SMTPDataError) as refusal:
        send(own)
    assert refusal.value.smtp_code == 451


def test_an_account_without_lists_sends_without_one(sandbox: Sandbox, gateway: Gateway) -> None:
    sender = "other-sender@cakemail.example"
    assert send(gateway, sender, "other@cakemail.example", "other-password") == {}
    assert "list_id" not in sandbox.emails(bodies="true")[0]["request"]
