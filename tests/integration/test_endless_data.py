"""A message that is dropped and has no end keeps its session no longer than the session's age, or the drain, allows."""

import contextlib
import time

import pytest

from tests.support.recorder import InProcess, settings

TIMEOUT_SECONDS = 15
SHORT = {
    "SMTPGW_SUBMIT_TIMEOUT_SECONDS": "1", "SMTPGW_API_TIMEOUT_SECONDS": "1", "SMTPGW_API_RETRY_SECONDS": "1",
    "SMTPGW_DRAIN_TIMEOUT_SECONDS": "2",
}  # fmt: skip


@pytest.mark.parametrize("why", ["age", "drain"])
def test_a_message_that_is_too_big_does_not_go_on_for_ever(why: str) -> None:
    age = "1" if why == "age" else "3600"
    using = settings(SMTPGW_MAX_MESSAGE_BYTES="1024", SMTPGW_SESSION_TIMEOUT_SECONDS=age, **SHORT)
    client = InProcess("recipient given", using)
    client.sock.sendall(b"DATA\r\n" + 2000 * b"x")
    if why == "drain":
        client.session.connection._limits._stopping = lambda: True
    end = time.monotonic() + TIMEOUT_SECONDS
    while not client.running.ready() and time.monotonic() < end:
        with contextlib.suppress(OSError):  # it may hang up meanwhile
            client.sock.sendall(100 * b"x")
        time.sleep(0.05)
    heard = b"".join(iter(lambda: client.sock.recv(4096), b"")) if client.running.ready() else b""
    assert b"\r\n421 " in heard
    client.sock.close()
    client.running.get(timeout=TIMEOUT_SECONDS)
    assert client.budget.held == 0
