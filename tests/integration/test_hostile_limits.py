"""Every limit of a session: at it, nothing happens; one more, and there is a reply and a count of it."""

import base64
import gc
from collections.abc import Callable

import pytest
from prometheus_client import REGISTRY

from smtpgw.core.replies import SMTPError
from smtpgw.smtp.admission import ByteBudget, SessionLimiter
from tests.support.recorder import InProcess, codes, settings

MESSAGE = b"Subject: s\r\n\r\n"
END = b"\r\n.\r\n"


def hits(limit: str) -> float:
    return REGISTRY.get_sample_value("smtpgw_limits_hit_total", {"limit": limit}) or 0.0


def failed_logins(number: int) -> bytes:
    return b"".join(b"AUTH PLAIN " + base64.b64encode(b"\0u\0p%d" % n) + b"\r\n" for n in range(number))


def recipients(number: int) -> bytes:
    return b"".join(b"RCPT TO:<r%d@x.example>\r\n" % n for n in range(number))


def command_of(octets: int) -> bytes:
    return b"NOOP ".ljust(octets, b"x") + b"\r\n"


def message_of(octets: int) -> bytes:
    return b"DATA\r\n" + MESSAGE + b"x" * (octets - len(MESSAGE) - 2) + END


# name of the limit, its setting and value, the state to begin in, what a client sends for n, what it hears above n
TABLE: list[tuple[str, str, int, str, Callable[[int], bytes], bytes]] = [
    ("command_bytes", "SMTPGW_MAX_COMMAND_BYTES", 512, "greeted", command_of, b"500 5.5.2"),
    ("message_bytes", "SMTPGW_MAX_MESSAGE_BYTES", 1024, "recipient given", message_of, b"552 5.3.4"),
    ("recipients", "SMTPGW_MAX_RECIPIENTS", 1000, "mail given", recipients, b"452 4.5.3"),
    ("errors", "SMTPGW_MAX_ERRORS", 10, "greeted", lambda n: b"WHAT\r\n" * (n - 1), b"421 4.7.0"),
    ("auth_failures", "SMTPGW_MAX_AUTH_FAILURES", 3, "greeted", lambda n: failed_logins(n - 1), b"421 4.7.0"),
]  # fmt: skip


@pytest.mark.parametrize(("limit", "setting", "most", "state", "sent", "reply"), TABLE, ids=[row[0] for row in TABLE])
def test_a_limit_is_met_at_one_more(
    limit: str, setting: str, most: int, state: str, sent: Callable[[int], bytes], reply: bytes
):
    for number, is_over in ((most, False), (most + 1, True)):
        before = hits(limit)
        dialogue = InProcess(state, settings(**{setting: str(most)}))
        heard = dialogue.converse([sent(number)])
        assert (reply in heard) is is_over, heard
        assert hits(limit) == before + is_over


def test_the_size_that_a_client_declares_is_checked_before_the_message_is_sent():
    for number, is_over in ((1024, False), (1025, True)):
        dialogue = InProcess("logged in", settings(SMTPGW_MAX_MESSAGE_BYTES="1024"))
        heard = dialogue.converse([b"MAIL FROM:<a@x.example> SIZE=%d\r\n" % number])
        assert codes(heard) == [220, 552 if is_over else 250]


def test_the_octets_in_flight_have_a_limit():
    before = hits("bytes_in_flight")
    budget = ByteBudget(1000)
    with budget.reserve(0) as reservation:
        assert reservation.grow(600)
        with budget.reserve(400):
            assert reservation.grow(400), "a declaration alone takes nothing"
        with pytest.raises(SMTPError, match=r"452 4\.3\.1"), budget.reserve(1):
            pass
        assert not reservation.grow(1)
    assert budget.held == 0
    assert hits("bytes_in_flight") == before + 1


@pytest.mark.parametrize(
    ("limit", "of_worker", "of_address", "reply"),
    [("sessions", 3, 9, "421 4.3.2"), ("sessions_per_address", 9, 3, "421 4.7.0")],
)
def test_sessions_have_a_limit(limit: str, of_worker: int, of_address: int, reply: str):
    before = hits(limit)
    limiter = SessionLimiter(of_worker, of_address, ())
    inside = [limiter.admit("192.0.2.1") for _ in range(3)]
    for session in inside:
        session.__enter__()
    with pytest.raises(SMTPError, match=reply), limiter.admit("192.0.2.1"):
        pass
    assert hits(limit) == before + 1
    inside.pop().__exit__(None, None, None)
    with limiter.admit("192.0.2.1"):
        assert limiter.open == 3
    for session in inside:
        session.__exit__(None, None, None)
    assert (limiter.open, dict(limiter.by_client)) == (0, {})


def test_what_a_session_held_is_gone_when_it_ends():
    """A cycle of references would keep megabytes of a message until the collector comes by."""
    gc.disable()
    try:
        dialogue = InProcess("recipient given")
        dialogue.converse([b"DATA\r\n" + MESSAGE + b"x" * 100_000 + END])
        raw = dialogue.gateway.submissions.pop().raw
        del dialogue
        assert [type(r) for r in gc.get_referrers(raw)] in ([], [dict]), "something still holds the message"
    finally:
        gc.enable()
