"""A connected socket, plain or TLS, that one greenlet reads and writes with deadlines.

gevent's own sockets start a timer for each read, and try to read before each wait, which raises an exception whenever
the other side has not answered yet. Both cost much CPU time (measured, see docs/performance.md). Here one greenlet
checks the deadlines of all waits at an interval, and a stream that has just sent waits for the answer before it reads.
"""

import socket
import ssl
from select import POLLIN
from time import monotonic
from typing import Any

import gevent
from gevent import monkey
from gevent.socket import cancel_wait, wait

# A wait ends at most this long after its deadline.
POLL_INTERVAL_SECONDS = 0.5
# Event flags of libev, for loop.io.
READ, WRITE = 1, 2
# Only Linux has this option.
QUICKACK = getattr(socket, "TCP_QUICKACK", None)
# After so many reads or writes without a wait, other greenlets have their turn.
READS_PER_TURN = 32
# The smallest write of common clients, which is PHP's. Most send a whole TLS record.
PEER_WRITE_BYTES = 8 * 1024
# gevent's poll creates watchers of the event loop, although the kernel can answer at once.
poll = monkey.get_original("select", "poll")


class DeadlineExpired(Exception):
    """Thrown into a greenlet whose wait may have reached its deadline."""


class Deadlines:
    """The deadlines of all greenlets that wait for a socket."""

    def __init__(self) -> None:
        # Deadline on the monotonic clock, by watcher of the event loop.
        self.ends: dict[Any, float] = {}
        self.checking: gevent.Greenlet[..., None] | None = None

    def wait(self, watcher: Any, end: float) -> bool:
        """Wait for an event. Return False when it has not occurred by the deadline."""
        if not self.checking:
            self.checking = gevent.spawn(self._check)
        self.ends[watcher] = end
        try:
            while monotonic() < end:
                try:
                    wait(watcher)
                except DeadlineExpired:
                    # It may belong to an earlier wait whose event occurred in the same turn of the loop.
                    continue
                return True
        finally:
            del self.ends[watcher]
        return False

    def _check(self) -> None:
        """Cancel expired waits at an interval, in a greenlet that never returns."""
        while True:
            gevent.sleep(POLL_INTERVAL_SECONDS)
            now = monotonic()
            for watcher in [watcher for watcher, end in self.ends.items() if end <= now]:
                cancel_wait(watcher, DeadlineExpired)


# The deadlines of this process.
DEADLINES = Deadlines()


class Stream:
    """One connection. It owns the current socket, plain or TLS, and closes it.

    It never uses shutdown to wake a reader, because `SSLSocket.shutdown` would make later octets leave in clear.
    """

    __slots__ = ("_has_read_all", "_poll", "_readable", "_received_bytes", "_sent_last", "_socket", "_turns")

    def __init__(self, sock: socket.socket) -> None:
        """Take ownership of a gevent socket."""
        sock.settimeout(0)
        self._socket = sock
        self._readable = gevent.get_hub().loop.io(sock.fileno(), READ)
        # False when a TLS record may be half read. The kernel does not report its rest as readable.
        self._has_read_all = True
        self._sent_last = False
        # The octets received since the last send.
        self._received_bytes = 0
        # The kernel's poll object, created at its first use.
        self._poll: Any = None
        # Reads and writes since the last wait.
        self._turns = 0

    def receive(self, most_bytes: int, seconds: float) -> bytes | None:
        """Return some octets, b"" at the end of the stream, or None when none arrived in time.

        Octets that have already arrived are returned even after the deadline, so a caller that loops has to check the
        time itself. Other greenlets have their turn now and then, even when octets are always available.

        Raises:
            OSError
        """
        end = monotonic() + seconds
        if self._sent_last and self._has_read_all and not self._wait(self._readable, end):
            return None
        self._sent_last = False
        self._take_turn()
        while (octets := self.receive_now(most_bytes)) is None:
            if self._received_bytes >= PEER_WRITE_BYTES:
                self._acknowledge()
            if not self._wait(self._readable, end):
                return None
        return octets

    def _wait(self, watcher: Any, end: float) -> bool:
        self._turns = 0
        return DEADLINES.wait(watcher, end)

    def _take_turn(self) -> None:
        """Let other greenlets run after READS_PER_TURN reads or writes without a wait."""
        self._turns += 1
        if self._turns >= READS_PER_TURN:
            self._turns = 0
            gevent.sleep(0)

    def unread(self) -> bytes | None:
        """Return octets that arrived and were not received, b"" at the end of the stream, None when there are none.

        This checks the TLS layer and the kernel, without a wait. The TLS layer may hold octets that the kernel has
        already delivered, and the kernel may hold a TLS record without application data.

        Raises:
            OSError
        """
        if not (isinstance(self._socket, ssl.SSLSocket) and self._socket.pending()):
            if self._poll is None:
                self._poll = poll()
                self._poll.register(self._socket.fileno(), POLLIN)
            if not self._poll.poll(0):
                return None
        return self.receive_now(PEER_WRITE_BYTES)

    def _acknowledge(self) -> None:
        """Acknowledge the received octets at once.

        A client that uses Nagle's algorithm (RFC 9293 §3.7.4) and sends a message in several writes keeps the last one
        until the first is acknowledged, and the kernel delays acknowledgements. A smaller message fits into one write,
        so the system call would only cost CPU time (measured, see docs/performance.md).
        """
        if QUICKACK is not None and self._socket.family != socket.AF_UNIX:
            self._socket.setsockopt(socket.IPPROTO_TCP, QUICKACK, 1)

    def receive_now(self, most_bytes: int) -> bytes | None:
        """Return the octets that are available, b"" at the end of the stream, None when there are none. Never wait.

        Raises:
            OSError
        """
        try:
            octets = self._socket.recv(most_bytes)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None
        self._has_read_all = len(octets) < most_bytes
        self._received_bytes += len(octets)
        return octets

    def send(self, octets: bytes | memoryview, seconds: float) -> None:
        """Send all octets.

        Raises:
            OSError: TimeoutError when the other side does not read them in time.
        """
        self._sent_last = True
        self._received_bytes = 0
        # sendall would ask the kernel for the size of its buffer each time.
        sent = self._send_now(octets)
        if sent < len(octets):
            self._send_rest(memoryview(octets)[sent:], monotonic() + seconds)

    def _send_now(self, octets: bytes | memoryview) -> int:
        """Send what the kernel accepts at once and return the number of octets. Raises OSError."""
        try:
            return self._socket.send(octets)
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            return 0

    def _send_rest(self, rest: memoryview, end: float) -> None:
        writable = gevent.get_hub().loop.io(self._socket.fileno(), WRITE)
        try:
            while rest:
                sent = self._send_now(rest)
                rest = rest[sent:]
                self._take_turn()
                if monotonic() >= end or not (sent or self._wait(writable, end)):
                    raise TimeoutError("took too long to send")
        finally:
            writable.close()

    def start_tls(self, context: ssl.SSLContext, seconds: float) -> str:
        """Do the server's side of the TLS handshake and return the protocol version.

        Raises:
            OSError: TimeoutError when the handshake takes too long.
        """
        end = monotonic() + seconds
        self._socket = context.wrap_socket(self._socket, server_side=True, do_handshake_on_connect=False)
        # The client sends first.
        while DEADLINES.wait(self._readable, end):
            try:
                self._socket.do_handshake()
            except ssl.SSLWantReadError:
                continue
            return self._socket.version() or "unknown"
        raise TimeoutError("took too long")

    def close(self) -> None:
        """Close the socket, after ending TLS cleanly when the other side is still connected."""
        try:
            if isinstance(self._socket, ssl.SSLSocket):
                # This sends close_notify. The socket does not block, so the client's is not awaited.
                self._socket.unwrap()
        except (OSError, ValueError):
            # The other side is gone.
            return
        finally:
            self._readable.close()
            self._socket.close()
