"""A socket with deadlines: octets that arrive, octets that do not arrive in time, and partial sends."""

import socket
import ssl
import sys
from time import monotonic

import gevent
import pytest

from smtpgw.net.stream import DEADLINES, POLL_INTERVAL_SECONDS, QUICKACK, Deadlines, Stream
from smtpgw.net.tls import make_context
from smtpgw.sandbox.certificate import write_pair
from tests.support.gateway import trusting

LONG_SECONDS = 30.0
MEGABYTES = b"0123456789abcdef" * 2**17


@pytest.fixture(scope="module")
def contexts(tmp_path_factory):
    """Return a server's context, and a client's that trusts it."""
    cert, key = map(str, write_pair(tmp_path_factory.mktemp("certificate")))
    return make_context(cert, key), trusting(cert)


@pytest.fixture(params=[False, True], ids=["plain", "tls"])
def ends(request, contexts):
    """A stream, and the socket at its other end."""
    ours, theirs = socket.socketpair()
    theirs.settimeout(LONG_SECONDS)
    stream = Stream(ours)
    if request.param:
        shaking = gevent.spawn(stream.start_tls, contexts[0], LONG_SECONDS)
        theirs = contexts[1].wrap_socket(theirs, server_hostname="localhost")
        assert shaking.get(timeout=LONG_SECONDS) == "TLSv1.3"
    yield stream, theirs
    stream.close()
    theirs.close()


def test_what_has_come_is_received_at_once(ends):
    stream, theirs = ends
    theirs.sendall(b"EHLO")
    gevent.sleep(0.05)
    assert stream.receive(100, 0) == b"EHLO"
    assert stream.receive(100, 0) is None


def test_what_comes_later_is_waited_for(ends):
    stream, theirs = ends
    gevent.spawn_later(0.1, theirs.sendall, b"EHLO")
    assert stream.receive(100, LONG_SECONDS) == b"EHLO"
    assert not DEADLINES.ends


def test_a_wait_ends_when_its_time_is_up(ends):
    stream, _ = ends
    began = monotonic()
    assert stream.receive(100, 0.1) is None
    assert monotonic() - began >= 0.1
    assert not DEADLINES.ends


def test_a_wait_may_be_taken_up_again(ends):
    stream, theirs = ends
    stream.send(b"220", LONG_SECONDS)
    assert stream.receive(100, 0.1) is None
    theirs.sendall(b"EHLO")
    assert stream.receive(100, LONG_SECONDS) == b"EHLO"


def test_the_other_side_closes(ends):
    stream, theirs = ends
    theirs.close()
    assert stream.receive(100, LONG_SECONDS) == b""


def test_an_answer_that_was_sent_too_early_is_not_waited_for(ends):
    """The kernel does not report the second part of a TLS record that is read in two parts."""
    stream, theirs = ends
    theirs.sendall(b"MAIL\r\nRCPT\r\n")
    assert stream.receive(6, LONG_SECONDS) == b"MAIL\r\n"
    stream.send(b"250\r\n", LONG_SECONDS)
    assert stream.receive(6, LONG_SECONDS) == b"RCPT\r\n"


@pytest.mark.skipif(QUICKACK is None, reason="this system has no TCP_QUICKACK")
def test_who_waits_for_the_rest_has_acknowledged_the_beginning(monkeypatch):
    """A client that uses Nagle's algorithm then sends the rest at once."""
    monkeypatch.setattr("smtpgw.net.stream.PEER_WRITE_BYTES", 9)  # so many more would be acknowledged anyway
    with socket.create_server(("127.0.0.1", 0)) as server:
        theirs = socket.create_connection(server.getsockname())
        stream = Stream(server.accept()[0])
    for _ in range(3):  # a dialogue, in which acknowledgements wait for the replies
        theirs.sendall(b"NOOP\r\n")
        assert stream.receive(100, LONG_SECONDS) == b"NOOP\r\n"
        stream.send(b"250\r\n", LONG_SECONDS)
        assert theirs.recv(100) == b"250\r\n"
    theirs.sendall(b"Subject: ")
    assert stream.receive(100, LONG_SECONDS) == b"Subject: "
    assert unacknowledged(theirs) == 1
    assert stream.receive(100, 0) is None
    assert unacknowledged(theirs) == 0
    stream.close()
    theirs.close()


def unacknowledged(sock: socket.socket) -> int:
    """Return how many segments the other side's kernel has not acknowledged yet."""
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 28)
    return int.from_bytes(info[24:28], sys.byteorder)  # tcpi_unacked of linux/tcp.h


def test_all_is_sent_where_the_kernel_takes_it_in_parts(ends):
    stream, theirs = ends
    sending = gevent.spawn(stream.send, MEGABYTES, LONG_SECONDS)
    received = bytearray()
    while len(received) < len(MEGABYTES):
        received += theirs.recv(2**16)
    sending.get(timeout=LONG_SECONDS)
    assert received == MEGABYTES
    theirs.sendall(b"250")
    assert stream.receive(100, LONG_SECONDS) == b"250"


def test_nobody_reads(ends):
    stream, _ = ends
    with pytest.raises(TimeoutError):
        stream.send(MEGABYTES, 2.0)
    with gevent.Timeout(1.9, AssertionError("still closing")):  # that does not wait for them again
        stream.close()


def test_what_is_sent_to_nobody(ends):
    stream, theirs = ends
    theirs.close()

    def send_on() -> None:
        for _ in range(100):
            stream.send(MEGABYTES[:1000], LONG_SECONDS)

    with pytest.raises(OSError, match=r"Broken pipe|reset|EOF|protocol is shutdown"):
        send_on()


def test_a_time_that_is_up_for_an_event_that_has_come_after_all():
    """The check and the event may occur in the same turn of the loop. The next wait must not be affected."""
    ours, theirs = socket.socketpair()
    watcher = gevent.get_hub().loop.io(ours.fileno(), 1)
    deadlines = Deadlines()
    waiting = gevent.spawn(deadlines.wait, watcher, monotonic() + LONG_SECONDS)
    gevent.sleep(0)
    deadlines.ends[watcher] = 0.0  # so that the look throws, before the wait's end
    gevent.sleep(2 * POLL_INTERVAL_SECONDS)
    assert not waiting.ready()
    theirs.sendall(b"x")
    assert waiting.get(timeout=LONG_SECONDS)
    watcher.close()
    ours.close()
    theirs.close()


@pytest.mark.parametrize(
    ("octets", "seconds", "problem"),
    [(b"\x16\x03\x01\x02\x00\x01", 0.1, TimeoutError), (b"GET / HTTP/1.1\r\n\r\n", LONG_SECONDS, ssl.SSLError)],
    ids=["stops in the middle", "is none"],
)
def test_a_handshake_that_fails(contexts, octets, seconds, problem):
    ours, theirs = socket.socketpair()
    stream = Stream(ours)
    theirs.sendall(octets)
    with pytest.raises(problem):
        stream.start_tls(contexts[0], seconds)
    stream.close()
    theirs.close()


def test_others_have_their_turn_while_something_is_always_there(ends, monkeypatch):
    stream, _ = ends
    turns = []
    monkeypatch.setattr(Stream, "receive_now", lambda self, most: b"x")
    other = gevent.spawn(lambda: [(turns.append(1), gevent.sleep(0)) for _ in range(1000)])
    for _ in range(1000):
        stream.receive(100, LONG_SECONDS)
    assert 10 <= len(turns) <= 100
    other.kill()


def test_sending_has_one_deadline_for_all_of_it(ends):
    """The deadline holds however the other side spreads its reads."""
    stream, theirs = ends

    def read_slowly():
        while theirs.recv(50_000):
            gevent.sleep(0.05)

    reading = gevent.spawn(read_slowly)
    began = monotonic()
    with pytest.raises(TimeoutError):
        stream.send(MEGABYTES * 20, 0.5)
    assert monotonic() - began < 3
    assert not DEADLINES.ends
    reading.kill()


def test_what_was_not_received_is_seen_in_every_layer(ends):
    stream, theirs = ends
    assert stream.unread() is None
    theirs.sendall(b"abcdef")
    gevent.sleep(0.05)
    assert stream.receive_now(2) == b"ab"
    assert stream.unread() == b"cdef"
    assert stream.unread() is None
    theirs.close()
    gevent.sleep(0.05)
    assert stream.unread() == b""
