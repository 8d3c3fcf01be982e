"""What clients hear while Cakemail's API fails, and that no failure outlives its cause."""

import secrets
import smtplib
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from smtpgw.sandbox.certificate import write_pair
from tests.support.gateway import SENDER, Gateway
from tests.support.line import metric
from tests.support.ports import free_port
from tests.support.raw_api import RawApi
from tests.support.sandbox import Sandbox

MESSAGE = f"From: {SENDER}\r\nSubject: Fault\r\n\r\nx\r\n"
LATER, UNKNOWN = (451, b"4.3.0"), (451, b"4.4.2")

PAST = "Fri, 31 Dec 1999 23:59:59 GMT"

# The fault, the reply, and how many calls it may cost: what may have been accepted is never sent again.
FAULTS = {
    **{f"status {n}": ({"status": n}, LATER, 1) for n in (302, 307, 404, 405, 408, 409, 500, 502, 503, 504)},
    **{f"status {n}": ({"status": n}, (550, b"5.0.0"), 1) for n in (400, 403, 413, 422)},
    "429 without a delay": ({"status": 429}, LATER, 3),
    "429 with a delay of nothing": ({"status": 429, "retry_after": 0}, (451, b"4.7.0"), 3),
    "429 with a date that is over": ({"status": 429, "retry_after": PAST}, (451, b"4.7.0"), 3),
    "503 with a delay of nothing": ({"status": 503, "retry_after": 0}, (451, b"4.7.0"), 3),
    "500 with a delay of nothing": ({"status": 500, "retry_after": 0}, (451, b"4.7.0"), 1),
    "429 with a long delay": ({"status": 429, "retry_after": 60}, (451, b"4.7.0"), 1),
    "503 with a long delay": ({"status": 503, "retry_after": 60}, (451, b"4.7.0"), 1),
    "429 with a date": ({"status": 429, "retry_after": "Fri, 31 Dec 2100 23:59:59 GMT"}, (451, b"4.7.0"), 1),
    "503 with a date": ({"status": 503, "retry_after": "Fri, 31 Dec 2100 23:59:59 GMT"}, (451, b"4.7.0"), 1),
    "429 with nonsense": ({"status": 429, "retry_after": "soon"}, LATER, 3),
    "401": ({"status": 401}, (550, b"5.7.1"), 2),
    "an HTML page": ({"kind": "html"}, LATER, 1),
    "an HTML page that says 201": ({"kind": "html", "status": 201, "accepts": True}, UNKNOWN, 1),
    "half of its JSON": ({"status": 201, "body": '{"data": {"id": "x", "sta', "accepts": True}, UNKNOWN, 1),
    "JSON of another shape": ({"status": 201, "body": {"queued": True}, "accepts": True}, UNKNOWN, 1),
    "reset before": ({"kind": "reset_before"}, UNKNOWN, 1),
    "reset after": ({"kind": "reset_after"}, UNKNOWN, 1),
    "truncated": ({"kind": "truncated"}, UNKNOWN, 1),
    "no answer": ({"kind": "no_answer"}, UNKNOWN, 1),
    "slow headers": ({"kind": "slow_headers"}, UNKNOWN, 1),
    "slow body": ({"kind": "slow_body"}, UNKNOWN, 1),
    "rejected": ({"kind": "rejected"}, (550, b"5.7.1"), 1),
    "error": ({"kind": "error"}, (550, b"5.7.1"), 1),
    "no id": ({"kind": "no_id"}, (250, b"2.0.0"), 1),  # accepted: to say otherwise would double it
}


@pytest.fixture(scope="module")
def impatient(shared_sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    variables = {"SMTPGW_API_TIMEOUT_SECONDS": "1.5", "SMTPGW_API_RETRY_SECONDS": "1.5"}
    with Gateway(shared_sandbox.url, tmp_path_factory.mktemp("impatient"), **variables) as gateway:
        yield gateway


def reply_to(gateway: Gateway, recipients: list[str] | str = "ann@example.com") -> tuple[int, bytes]:
    """The code and enhanced code that a message is answered with, each another one: no retry."""
    with gateway.client() as client:
        client.mail(SENDER)
        for recipient in [recipients] if isinstance(recipients, str) else recipients:
            client.rcpt(recipient)
        code, text = client.data(f"Message-ID: <{secrets.token_hex(8)}@client.example>\r\n{MESSAGE}")
    return code, text[:5]


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_has_its_reply_and_leaves_nothing_behind(name: str, sandbox: Sandbox, impatient: Gateway) -> None:
    fault, reply, calls = FAULTS[name]
    sandbox.fault(endpoint="/v2/emails", **fault)
    assert reply_to(impatient) == reply
    made = sandbox.calls()["POST /v2/emails"]
    assert max(made["calls"], made["most_under_way"]) == calls  # one that still waits is not counted yet
    sandbox.clear()
    assert reply_to(impatient)[0] == 250, "the pool is healthy"
    assert "smtpgw_api_requests_in_flight 0.0" in impatient.get("/metrics")[1]


def test_an_api_that_cannot_be_reached(sandbox: Sandbox, tmp_path: Path) -> None:
    """replies.LOGIN_UNAVAILABLE: nobody is told that their password is wrong."""
    with Gateway(f"http://127.0.0.1:{free_port()}", tmp_path) as gateway:
        with gateway.encrypted() as client, pytest.raises(smtplib.SMTPAuthenticationError) as refusal:
            client.login("demo@cakemail.example", "demo-password")
        assert (refusal.value.smtp_code, refusal.value.smtp_error[:5]) == (454, b"4.7.0")  # type: ignore[index]


def test_an_api_that_goes_away_after_the_login(tmp_path: Path) -> None:
    """replies.API_UNAVAILABLE."""
    with Sandbox() as own, Gateway(own.url, tmp_path, SMTPGW_API_RETRY_SECONDS="1") as gateway:
        assert reply_to(gateway)[0] == 250
        client = gateway.client()
        client.mail(SENDER)
        client.rcpt("ann@example.com")
        own.stop()
        code, text = client.data(MESSAGE.replace("Fault", "Second"))
        assert (code, text[:5]) in ((451, b"4.4.1"), UNKNOWN)
        client.mail(SENDER)
        client.rcpt("ann@example.com")
        code, text = client.data(MESSAGE.replace("Fault", "Third"))
        assert (code, text[:5]) == (451, b"4.4.1")
        client.close()


def test_calls_at_a_time_are_bounded_and_so_is_waiting_for_one(sandbox: Sandbox, tmp_path: Path) -> None:
    """replies.API_BUSY."""
    with Gateway(sandbox.url, tmp_path, SMTPGW_API_CONNECTIONS="1", SMTPGW_API_WAIT_SECONDS="0.5") as gateway:
        assert reply_to(gateway)[0] == 250
        sandbox.fault(endpoint="/v2/emails", latency_ms=1500)
        assert reply_to(gateway, ["ann@example.com", "bob@example.com"]) == (451, b"4.4.5")
        assert sandbox.calls()["POST /v2/emails"]["most_under_way"] == 1


def test_calls_of_many_messages_are_bounded_together(sandbox: Sandbox, tmp_path: Path) -> None:
    with Gateway(sandbox.url, tmp_path, SMTPGW_API_CONNECTIONS="3") as gateway:
        clients = [gateway.client() for _ in range(15)]
        sandbox.fault(endpoint="/v2/emails", latency_ms=100)
        codes: list[int] = []

        def send(client: smtplib.SMTP, number: int) -> None:
            client.mail(SENDER)
            client.rcpt(f"a{number}@example.com")
            client.rcpt(f"b{number}@example.com")
            codes.append(client.data(MESSAGE.replace("Fault", str(number)))[0])

        together(*[partial(send, client, number) for number, client in enumerate(clients)])
        for client in clients:
            client.quit()
        assert codes == [250] * 15
        assert sandbox.calls()["POST /v2/emails"]["most_under_way"] == 3
        assert sandbox.ledger()["total"] == sandbox.ledger()["distinct"] == 30
        assert "smtpgw_api_requests_in_flight 0.0" in gateway.get("/metrics")[1]
        assert "smtpgw_api_requests_waiting 0.0" in gateway.get("/metrics")[1]


def together(*works: Callable[[], None]) -> None:
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)


def test_a_message_is_answered_in_time_with_a_hundred_recipients_and_an_api_that_hangs(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    variables = {
        "SMTPGW_SUBMIT_TIMEOUT_SECONDS": "4",
        "SMTPGW_API_TIMEOUT_SECONDS": "3",
        "SMTPGW_API_RETRY_SECONDS": "1",
    }
    with Gateway(sandbox.url, tmp_path, **variables) as gateway:
        assert reply_to(gateway)[0] == 250
        sandbox.fault(endpoint="/v2/emails", kind="no_answer")
        began = time.monotonic()
        assert reply_to(gateway, [f"u{n}@example.com" for n in range(100)]) == UNKNOWN
        assert 4 <= time.monotonic() - began < 8
        ledger = sandbox.ledger()
        assert ledger["total"] == ledger["distinct"] == 1 + 20
        sandbox.clear_faults()
        assert reply_to(gateway)[0] == 250, "the pool is healthy"
        assert "smtpgw_api_requests_in_flight 0.0" in gateway.get("/metrics")[1]


def test_connections_that_the_api_closes_between_two_messages(tmp_path: Path) -> None:
    with RawApi() as api, Gateway(api.url, tmp_path) as gateway, gateway.client() as client:
        for n in range(5):
            assert (
                client.sendmail(SENDER, ["ann@example.com", "bob@example.com"], MESSAGE.replace("Fault", f"{n}")) == {}
            )
            api.close_connections()
            time.sleep(0.05)
        assert api.calls["/v2/emails"] == 10


def test_a_host_without_an_address(tmp_path: Path) -> None:
    with Gateway("https://no-such-host.invalid", tmp_path) as gateway:
        assert auth_code(gateway) == 454


def auth_code(gateway: Gateway) -> int:
    with gateway.encrypted() as client:
        try:
            return client.login("demo@cakemail.example", "demo-password")[0]
        except smtplib.SMTPAuthenticationError as refusal:
            return refusal.smtp_code


def test_a_certificate_that_nobody_vouches_for_gets_no_password_and_one_that_is_vouched_for_does(
    tmp_path: Path,
) -> None:
    pair = write_pair(tmp_path)
    with RawApi(pair) as api:
        with Gateway(api.url, tmp_path) as gateway:
            assert auth_code(gateway) == 454
            assert not api.calls
            sample = 'smtpgw_api_request_duration_seconds_count{endpoint="token",status="unreached"}'
            assert metric(gateway, sample) > 0
        with Gateway(api.url.replace("127.0.0.1", "localhost"), tmp_path, SSL_CERT_FILE=str(pair[0])) as gateway:
            assert auth_code(gateway) == 235
            assert reply_to(gateway)[0] == 250
