"""When a client is taken to have read the 250 of its message (RFC 1047), and what becomes of the same message then."""

import contextlib
import socket
import struct
import time
from collections.abc import Callable

import gevent
import pytest

from smtpgw.core.models import Receipt, Submission
from smtpgw.smtp.connection import MAX_READ_AHEAD_BYTES
from tests.support.gateway import SENDER, Gateway
from tests.support.recorder import TIMEOUT_SECONDS, InProcess, Recorder
from tests.support.sandbox import Sandbox

EMAILS = "/v2/emails"
MESSAGE = b"Subject: x\r\n\r\nx\r\n.\r\n"
ENVELOPE = b"MAIL FROM:<sender@cakemail.example>\r\nRCPT TO:<r@x.example>\r\nDATA\r\n"


# --- What proves it: the session with a gateway that notes confirmations


class Client(InProcess):
    """A client that has said DATA and heard 354. Its submissions take a little while."""

    def __init__(self) -> None:
        super().__init__("recipient given")
        submit = self.gateway.submit

        def slowly(submission: Submission) -> Receipt:
            gevent.sleep(0.05)
            return submit(submission)

        self.gateway.submit = slowly  # type: ignore[method-assign]
        self.received = b""
        self.say(b"DATA\r\n", 354)

    def say(self, octets: bytes, code: int) -> None:
        """Send octets and wait for a reply with this code, whatever comes before it."""
        self.sock.sendall(octets)
        while b"\r\n%d " % code not in b"\r\n" + self.received:
            chunk = self.sock.recv(4096)
            assert chunk, self.received
            self.received += chunk
        self.received = b""

    def end(self) -> Recorder:
        """Hang up, if that has not happened; the gateway once the session is over."""
        self.sock.close()
        with contextlib.suppress(Exception):
            self.running.get(timeout=TIMEOUT_SECONDS)
        return self.gateway


def send_much_ahead(client: Client) -> None:
    """Send more than is read ahead, as with a thousand RCPT; wherever the gateway stops reading, a line ends."""
    lines = 2 * MAX_READ_AHEAD_BYTES // 64
    client.sock.sendall(MESSAGE + b"NOOP\r\n".rjust(64 - len(MESSAGE)) + lines * b"NOOP\r\n".rjust(64))


def goes_on(command: bytes, code: int) -> Callable[[Client], None]:
    def do(client: Client) -> None:
        client.say(MESSAGE, 250)
        client.say(command, code)

    return do


def says_quit_and_reads_no_more(client: Client) -> None:
    client.say(MESSAGE, 250)
    client.sock.sendall(b"QUIT\r\n")


def pipelines_the_next_envelope(client: Client) -> None:
    """RFC 2920: MAIL, RCPT and DATA may be sent ahead of the 250; the next message waits for 354, which follows it."""
    client.say(MESSAGE + ENVELOPE, 354)
    client.sock.sendall(MESSAGE)
    client.say(b"", 250)
    assert client.gateway.confirmed == [client.gateway.submissions[0].id]


def goes_on_after_what_it_pipelined(client: Client) -> None:
    client.say(MESSAGE + b"RSET\r\nNOOP\r\n", 250)
    client.say(b"NOOP\r\n", 250)


def goes_on_after_much_that_it_pipelined(client: Client) -> None:
    send_much_ahead(client)
    client.say(b"VRFY x\r\n", 252)
    client.say(b"NOOP\r\n", 250)


def asks_for_too_long_a_line(client: Client) -> None:
    client.say(MESSAGE, 250)
    client.say(b"NOOP " + b"x" * 20_000 + b"\r\n", 500)
    client.say(b"NOOP\r\n", 250)


def hangs_up(client: Client) -> None:
    client.say(MESSAGE, 250)


def hangs_up_before(client: Client) -> None:
    client.sock.sendall(MESSAGE)
    gevent.sleep(0)


def ends_its_side_before(client: Client) -> None:
    client.sock.sendall(MESSAGE + b"QUIT\r\n")
    client.sock.shutdown(socket.SHUT_WR)
    while client.sock.recv(4096):
        pass


def sends_quit_ahead(client: Client) -> None:
    """As Postfix does."""
    client.say(MESSAGE + b"QUIT\r\n", 221)


def sends_quit_while_it_is_submitted(client: Client) -> None:
    client.sock.sendall(MESSAGE)
    gevent.sleep(0.02)
    client.sock.sendall(b"RSET\r\n")
    gevent.sleep(0)
    client.say(b"QUIT\r\n", 221)


def sends_half_a_command_ahead(client: Client) -> None:
    client.say(MESSAGE + b"QU", 250)
    client.say(b"IT\r\n", 221)


def sends_more_ahead_than_is_read_ahead(client: Client) -> None:
    send_much_ahead(client)
    client.say(b"QUIT\r\n", 221)


def sends_everything_ahead(client: Client) -> None:
    """Against RFC 2920: not even 354 is waited for."""
    client.say(MESSAGE + ENVELOPE + MESSAGE + ENVELOPE + MESSAGE + b"QUIT\r\n", 221)


PROOFS = [
    goes_on(b"QUIT\r\n", 221), goes_on(b"RSET\r\n", 250), goes_on(b"NOOP\r\n", 250), goes_on(b"WHAT\r\n", 500),
    goes_on(ENVELOPE, 354), goes_on(b"MAIL FROM:<>\r\n", 250), says_quit_and_reads_no_more,
    pipelines_the_next_envelope, goes_on_after_what_it_pipelined, goes_on_after_much_that_it_pipelined,
    asks_for_too_long_a_line,
]  # fmt: skip
NO_PROOFS = [
    hangs_up, hangs_up_before, ends_its_side_before, sends_quit_ahead, sends_quit_while_it_is_submitted,
    sends_half_a_command_ahead, sends_more_ahead_than_is_read_ahead, sends_everything_ahead,
]  # fmt: skip


@pytest.mark.parametrize("act", PROOFS, ids=lambda act: act.__name__)
def test_a_client_that_goes_on_has_read_it(act: Callable[[Client], None]) -> None:
    client = Client()
    act(client)
    found = client.end()
    assert found.confirmed == [found.submissions[0].id]


@pytest.mark.parametrize("act", NO_PROOFS, ids=lambda act: act.__name__)
def test_anything_else_proves_nothing(act: Callable[[Client], None]) -> None:
    client = Client()
    act(client)
    found = client.end()
    assert found.submissions
    assert found.confirmed == []


# --- What follows from it: a real gateway


def message(message_id: str) -> bytes:
    return f"From: {SENDER}\r\nSubject: heard\r\nMessage-ID: <{message_id}@client.example>\r\n\r\nx\r\n".encode()


def send(gateway: Gateway, raw: bytes, end: str) -> str:
    """Send a message on a connection of its own; the reply, "" where it was not read."""
    client = gateway.client()
    client.mail(SENDER)
    client.rcpt("ann@example.com")
    assert client.docmd("DATA")[0] == 354
    client.send(raw + b".\r\n" + b"QUIT\r\n" * (end == "QUIT sent ahead"))
    if end == "cut before the 250":
        time.sleep(0.2)
        client.close()
        return ""
    if end == "reset, the 250 unread":
        time.sleep(1)
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        return ""
    code, text = client.getreply()
    assert code == 250
    if end == "QUIT":
        client.quit()
    client.close()
    return text.decode()


@pytest.mark.parametrize("end", ["hang-up", "QUIT sent ahead", "cut before the 250", "reset, the 250 unread"])
def test_a_retry_of_what_the_client_may_not_have_heard_is_answered_and_not_sent(
    end: str, gateway: Gateway, sandbox: Sandbox
) -> None:
    sandbox.fault(endpoint=EMAILS, latency_ms=600)
    raw = message(f"retry-{end.replace(' ', '-')}")
    first = send(gateway, raw, end)
    time.sleep(0.8)
    again = send(gateway, raw, "QUIT")
    (entry,) = sandbox.ledger()["entries"]
    assert len(entry["ids"]) == 1
    assert again == f"2.0.0 Ok: queued as {entry['ids'][0]}"
    assert first in ("", again)
    assert sandbox.calls()["POST /v2/emails"]["calls"] == 1


def test_what_the_client_has_heard_and_means_twice_is_sent_twice(gateway: Gateway, sandbox: Sandbox) -> None:
    with gateway.client() as client:
        for _ in range(2):
            client.sendmail(SENDER, "ann@example.com", message("twice"))
    send(gateway, message("twice"), "QUIT")
    send(gateway, message("twice"), "QUIT")
    assert sandbox.ledger()["total"] == 4


def test_a_retry_that_was_heard_makes_the_next_one_meant(gateway: Gateway, sandbox: Sandbox) -> None:
    for end in ("hang-up", "hang-up", "QUIT", "QUIT"):
        send(gateway, message("thrice"), end)
    assert sandbox.ledger()["total"] == 2
