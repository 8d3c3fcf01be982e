"""Tests of the limit on expansion: a message is rejected before it takes the memory, and its memory is counted."""

import subprocess
import sys
from pathlib import Path
from time import monotonic

import gevent
import orjson
import pytest

from smtpgw.config.settings import Settings
from smtpgw.core import replies
from smtpgw.core.models import Account, Credentials
from smtpgw.core.replies import SMTPError
from smtpgw.dialects.interpreter import Options
from smtpgw.message import growth
from smtpgw.message.parser import Message, parse
from smtpgw.smtp.admission import ByteBudget
from smtpgw.submission import delivery
from smtpgw.submission.ledger import Ledger, MessageKey
from smtpgw.submission.translation import EmailRequest, translate
from tests.support.growth import MESSAGES

# The size of the largest message.
SIZE_BYTES = 4 * 1024 * 1024
# The memory that a message may take, in multiples of the largest message: its octets, its text (2) and the text with
# other line ends (2), or its text, the text in UTF-8 (2) and the request (2); and a part that is being decoded.
MAX_TIMES = 10
TOO_BIG = {
    "& beside HTML",
    "& and a wide character beside HTML",
    "control characters",
    "control characters in HTML",
    "quotes",
    "quoted-printable",
    "windows-1252",
    "a wide character",
    "many texts",
    "nested texts",
}


def refusal(of) -> replies.Reply:
    with pytest.raises(SMTPError) as caught:
        of()
    return caught.value.reply


def request(raw: bytes, limit_bytes: int) -> EmailRequest:
    mail = parse(raw, "embed", limit_bytes=limit_bytes)
    return translate(mail, Options(), "1", None, "transactional", limit_bytes=limit_bytes)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the high-water mark is Linux's")
@pytest.mark.parametrize("name", MESSAGES)
def test_peak_memory_is_bounded(name: str):
    arguments = [sys.executable, "-m", "tests.support.peak_memory", name, str(SIZE_BYTES)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    _, peak_bytes, reply = done.stdout.split()
    assert int(peak_bytes) < MAX_TIMES * SIZE_BYTES
    assert (reply == "request_too_big") == (name in TOO_BIG)


@pytest.mark.parametrize(
    ("raw", "octets"),
    [
        (b"From: a@b.example\r\n\r\n" + b"\x01" * 1000, 6000),
        (b"From: a@b.example\r\n\r\n" + b'"' * 1000, 2000),
        (b"From: a@b.example\r\nContent-Type: text/plain; charset=latin-1\r\n\r\n" + b"\xe9" * 1000, 2000),
        (b"From: a@b.example\r\nX-A: " + b'"' * 1000 + b"\r\n\r\n", 2000),
    ],
)
def test_a_request_is_as_large_as_the_limit_at_most(raw: bytes, octets: int):
    size = len(request(raw, 100_000).template)
    assert size > octets
    assert len(request(raw, size).template) == size
    assert refusal(lambda: request(raw, size - 1)) == replies.REQUEST_TOO_BIG.filled(limit=size - 1)


def test_the_size_is_known_before_the_memory_is_taken(monkeypatch):
    """The JSON is built in pieces and abandoned at the piece that exceeds the limit."""
    made = []
    dumps = counting_dumps(made)
    monkeypatch.setattr("smtpgw.submission.translation.orjson.dumps", dumps)
    monkeypatch.setattr("smtpgw.submission.translation.CHECKED_CHARACTERS", 1000)
    mail = Message((), None, "x", "\x01" * 100_000, None, (), "", ())
    assert refusal(lambda: translate(mail, Options(), "1", None, "transactional", limit_bytes=60_000)).code == 552
    assert max(made) < 7000
    assert sum(made) < 70_000


def counting_dumps(made: list[int]):
    dumps = orjson.dumps

    def counted(value, *rest):
        found = dumps(value, *rest)
        made.append(len(found))
        return found

    return counted


@pytest.mark.parametrize(
    ("text", "each"),
    [("a", 1), ("é", 1), ("€", 2), ("\U0001f600", 4), ("é" + "a" * 2000, 1), ("€" + "a" * 2000, 2)],
)
def test_the_memory_of_a_text_is_that_of_its_largest_character_times_its_length(text: str, each: int):
    assert growth.bytes_per_character(text) == each
    assert growth.memory_bytes([text, "aa"], 3) == (len(text) + 5) * each


# --- Counting of memory -----------------------------------------------------------------------------------------------


def test_a_hold_becomes_what_the_message_becomes():
    budget = ByteBudget(100_000)
    with budget.reserve(0, "192.0.2.1", 1) as reservation:
        reservation.resize(1000)
        assert (budget.held, reservation.octets, dict(budget.by_owner)) == (1000, 1000, {"192.0.2.1": 1000, 1: 1000})
        reservation.resize(300)
        assert (budget.held, reservation.octets) == (300, 300)
        with budget.reserve(0, "192.0.2.2", 2) as other:
            assert other.grow(50_000)
            assert refusal(lambda: reservation.resize(90_000)).code == 452
            assert reservation.octets == 300
    assert (budget.held, dict(budget.by_owner)) == (0, {})


def test_no_more_requests_at_a_time_than_their_memory_allows(monkeypatch):
    """The request of each recipient contains the whole message."""
    account, under_way, most = Account(1, Credentials("u", "p")), [], []

    def submit(self, _request, recipient, *_rest):
        under_way.append(recipient)
        most.append(len(under_way))
        gevent.sleep(0.01)
        under_way.remove(recipient)
        return "uuid"

    monkeypatch.setattr(delivery.Delivery, "_submit", submit)
    monkeypatch.setattr(delivery, "MAX_COPIES_BYTES", 1000)
    settings = Settings.from_environ({"SMTPGW_TLS_CERT": __file__, "SMTPGW_TLS_KEY": __file__})
    for size, expected in ((2000, 1), (1000, 1), (400, 2), (10, 10)):
        most.clear()
        sending = delivery.Delivery(None, None, None, Ledger(), settings)  # type: ignore[arg-type]
        recipients = [f"r{n}@x.example" for n in range(20)]
        identity = MessageKey(str(size).encode())
        request = EmailRequest(None, (), b"x" * size, "")
        sending.send(request, recipients, account, identity, monotonic() + 60)
        assert max(most) == expected
