"""Uploads that stop hold the worker's room for a while, and never for everybody."""

import smtplib
import socket
import time
from collections.abc import Iterator

import pytest

from tests.support.gateway import PASSWORD, SENDER, USERNAME, Gateway
from tests.support.line import metric
from tests.support.sandbox import Sandbox

# As by default, at a tenth of the size: five of the largest messages fill the room.
MESSAGE_BYTES, ROOM_BYTES = 2_621_440, 13_421_772
UPLOADS = 5
DATA_SECONDS = 4
TIMEOUT_SECONDS = 60


@pytest.fixture(scope="module")
def besieged(shared_sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    variables = {
        "SMTPGW_MAX_MESSAGE_BYTES": str(MESSAGE_BYTES),
        "SMTPGW_MAX_BYTES_IN_FLIGHT": str(ROOM_BYTES),
        "SMTPGW_DATA_TIMEOUT_SECONDS": str(DATA_SECONDS),
        "SMTPGW_TRUSTED_CIDRS": "192.0.2.0/24",
    }
    with Gateway(shared_sandbox.url, tmp_path_factory.mktemp("besieged"), **variables) as gateway:
        yield gateway


def login(gateway: Gateway, source: str, username: str = USERNAME, password: str = PASSWORD) -> smtplib.SMTP:
    client = smtplib.SMTP("localhost", gateway.port, timeout=TIMEOUT_SECONDS, source_address=(source, 0))
    client.starttls(context=gateway.trusting())
    client.login(username, password)
    return client


def upload(gateway: Gateway, source: str) -> socket.socket:
    """Send nearly all of a message of the largest size, and stop."""
    client = login(gateway, source)
    client.mail(SENDER)
    client.rcpt("r@customer.example")
    assert client.docmd("DATA")[0] == 354
    line = b"x" * 998 + b"\r\n"
    client.send(f"From: {SENDER}\r\n\r\n".encode() + line * (MESSAGE_BYTES * 98 // 100 // len(line)))
    assert client.sock
    return client.sock


def message(octets: int) -> bytes:
    return b"From: other-sender@cakemail.example\r\nSubject: honest\r\n\r\n" + (b"y" * 98 + b"\r\n") * (octets // 100)


def test_uploads_that_stop_keep_nobody_else_from_sending(besieged: Gateway, sandbox: Sandbox):
    silent = [upload(besieged, "127.0.0.1") for _ in range(UPLOADS)]
    try:
        stopped_at = time.monotonic()
        with login(besieged, "127.0.0.2", "other@cakemail.example", "other-password") as client:
            sender = "other-sender@cakemail.example"
            # A small message, and one of the largest size, while all the uploads are still there.
            client.sendmail(sender, "r@customer.example", message(1000))
            client.sendmail(sender, "r@customer.example", message(MESSAGE_BYTES * 95 // 100))
        assert [e["subject"] for e in sandbox.emails()] == ["honest"] * 2
        # Whoever stops is not waited for longer because much was sent before.
        while metric(besieged, "smtpgw_sessions_active"):
            assert time.monotonic() - stopped_at < TIMEOUT_SECONDS, "they still hold the room"
            time.sleep(0.2)
        assert metric(besieged, 'smtpgw_limits_hit_total{limit="data_rate"}') == UPLOADS
    finally:
        for sock in silent:
            sock.close()
