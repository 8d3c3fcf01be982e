"""What a client may not know is remembered: a retry, a hang-up before the 250, a second try at once double nothing."""

import smtplib
import threading
import time

import pytest

from smtpgw import memory
from smtpgw.memory import Memory
from tests.gateway import SENDER, Gateway
from tests.sandbox import Sandbox

MESSAGE = f"From: {SENDER}\r\nMessage-ID: <{{id}}@example.com>\r\nSubject: Memory\r\n\r\n{{text}}\r\n"


def message(message_id: str, text: str = "x", header: str = "") -> str:
    return header + MESSAGE.format(id=message_id, text=text)


def send(gateway: Gateway, text: str, recipient: str = "ann@example.com") -> object:
    with gateway.client() as client:
        return client.sendmail(SENDER, recipient, text)


def test_a_client_that_hangs_up_before_its_250_doubles_nothing(sandbox: Sandbox, gateway: Gateway) -> None:
    sandbox.fault(endpoint="/v2/emails", latency_ms=1500)
    client = gateway.client()
    client.mail(SENDER)
    client.rcpt("ann@example.com")
    assert client.docmd("DATA")[0] == 354
    client.send(message("hang-up") + ".\r\n")
    time.sleep(0.3)
    client.close()
    time.sleep(2)
    sandbox.clear_faults()
    assert send(gateway, message("hang-up")) == {}
    assert sandbox.ledger()["total"] == 1


def test_the_same_message_at_once_on_two_connections_is_one(sandbox: Sandbox, gateway: Gateway) -> None:
    sandbox.fault(endpoint="/v2/emails", latency_ms=1000)
    results: list[object] = []
    threads = [threading.Thread(target=lambda: results.append(send(gateway, message("at-once")))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert results == [{}, {}, {}]
    assert sandbox.ledger()["total"] == 1


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (message("one"), message("two")),
        (message("three"), message("three", "another text")),
    ],
    ids=["another Message-ID", "another content"],
)
def test_another_message_is_sent(sandbox: Sandbox, gateway: Gateway, first: str, second: str) -> None:
    sandbox.fault(endpoint="/v2/emails", email="bob@example.com", status=500)
    for text in (first, second):
        with gateway.client() as client, pytest.raises(smtplib.SMTPDataError):
            client.sendmail(SENDER, ["ann@example.com", "bob@example.com"], text)
    assert sandbox.ledger(email="ann@example.com")["total"] == 2


def test_a_message_meant_twice_is_sent_twice(sandbox: Sandbox, gateway: Gateway) -> None:
    for _ in range(2):
        assert send(gateway, message("twice")) == {}
    assert sandbox.ledger()["total"] == 2


def test_a_clients_own_key_is_what_makes_a_retry(sandbox: Sandbox, gateway: Gateway) -> None:
    sandbox.fault(endpoint="/v2/emails", email="bob@example.com", status=500, times=1)
    key = "Resend-Idempotency-Key: welcome/1\r\n"
    recipients = ["ann@example.com", "bob@example.com"]
    with gateway.client() as client:
        with pytest.raises(smtplib.SMTPDataError):
            client.sendmail(SENDER, recipients, message("a", header=key))
        assert client.sendmail(SENDER, recipients, message("b", header=key)) == {}
    ledger = sandbox.ledger()
    assert (ledger["total"], ledger["duplicates"]) == (2, 0)


def test_keys() -> None:
    key = memory.key(1, "<a@b>", b"x")
    assert key == memory.key(1, "<a@b>", b"x")
    others = [memory.key(2, "<a@b>", b"x"), memory.key(1, "<c@d>", b"x"), memory.key(1, "<a@b>", b"y")]
    assert key not in others
    assert memory.key(1, "<a@b>", b"x", "mine") == memory.key(1, "<c@d>", b"y", "mine")
    assert memory.key(1, "", b"x", "mine") != memory.key(2, "", b"x", "mine")


def test_it_keeps_what_was_accepted_also_when_something_breaks() -> None:
    remembered = Memory(1)
    key = memory.key(1, "<a@b>", b"x")

    def break_after_acceptance() -> None:
        with remembered.submitting(key) as accepted:
            accepted["ann@example.com"] = "uuid"
            raise KeyError

    with pytest.raises(KeyError):
        break_after_acceptance()
    with remembered.submitting(key) as accepted:
        assert accepted == {"ann@example.com": "uuid"}
    remembered.forget(key)
    with remembered.submitting(key) as accepted:
        assert accepted == {}
    assert not remembered.running
