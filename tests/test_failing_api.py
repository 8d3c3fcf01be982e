"""What clients hear while Cakemail's API fails, and that no failure outlives its cause."""

import smtplib
from pathlib import Path

import pytest

from tests.gateway import SENDER, Gateway, free_port
from tests.sandbox import Sandbox

MESSAGE = f"From: {SENDER}\r\nSubject: Fault\r\n\r\nx\r\n"
LATER, UNKNOWN = (451, b"4.3.0"), (451, b"4.4.2")

# The fault, the reply, and how many calls it may cost: what may have been accepted is never sent again.
FAULTS = {
    **{f"status {n}": ({"status": n}, LATER, 1) for n in (404, 408, 409, 500, 502, 503, 504)},
    **{f"status {n}": ({"status": n}, (550, b"5.0.0"), 1) for n in (400, 403, 413, 422)},
    "429 with a long delay": ({"status": 429, "retry_after": 60}, (451, b"4.7.0"), 1),
    "503 with a long delay": ({"status": 503, "retry_after": 60}, (451, b"4.7.0"), 1),
    "429 with a date": ({"status": 429, "retry_after": "Fri, 31 Dec 2100 23:59:59 GMT"}, (451, b"4.7.0"), 1),
    "401": ({"status": 401}, (550, b"5.7.1"), 2),
    "an HTML page": ({"kind": "html"}, LATER, 1),
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
def impatient(shared_sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Gateway:
    with Gateway(shared_sandbox.url, tmp_path_factory.mktemp("impatient"), SMTPGW_API_TIMEOUT_SECONDS="1.5") as gateway:
        yield gateway  # type: ignore[misc]


def reply_to(gateway: Gateway, recipients: list[str] | str = "ann@example.com") -> tuple[int, bytes]:
    """The code and enhanced code that a message is answered with."""
    with gateway.client() as client:
        client.mail(SENDER)
        for recipient in [recipients] if isinstance(recipients, str) else recipients:
            client.rcpt(recipient)
        code, text = client.data(MESSAGE)
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


def test_partial_results(sandbox: Sandbox, gateway: Gateway) -> None:
    """Ten recipients, two refused, one failing twice: eight accepted calls, one notice, and 250."""
    recipients = [f"u{n}@example.com" for n in range(10)]
    for n in (3, 7):
        sandbox.fault(endpoint="/v2/emails", email=recipients[n], status=422, body={"detail": "address is suppressed"})
    sandbox.fault(endpoint="/v2/emails", email=recipients[5], status=429, times=2)
    assert reply_to(gateway, recipients)[0] == 250
    accepted = sandbox.emails(bodies="true")
    notices = [e for e in accepted if e["request"]["email"] == SENDER]
    assert len(accepted) == 9
    assert len(notices) == 1
    text = notices[0]["request"]["content"]["text"]
    assert recipients[3] in text
    assert recipients[7] in text
    assert "address is suppressed" in text


def test_a_retry_submits_only_what_is_left(sandbox: Sandbox, gateway: Gateway) -> None:
    message = MESSAGE.replace("Subject", "Message-ID: <retry@example.com>\r\nSubject")
    sandbox.fault(endpoint="/v2/emails", email="bob@example.com", status=500, times=1)
    with gateway.client() as client:
        with pytest.raises(smtplib.SMTPDataError) as refusal:
            client.sendmail(SENDER, ["ann@example.com", "bob@example.com"], message)
        assert refusal.value.smtp_code == 451
    with gateway.client() as client:
        assert client.sendmail(SENDER, ["bob@example.com", "ann@example.com"], message) == {}
    ledger = sandbox.ledger()
    assert (ledger["total"], ledger["duplicates"]) == (2, 0)
