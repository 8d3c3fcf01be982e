"""A connected socket, plain or TLS, read and written with deadlines by one greenlet.

gevent's own sockets can do this, too: with a timer for each read, and an attempt to read before each wait, which fails
with an exception whenever the other side is still to answer. Both together were 6 % of the gateway's CPU a message.
Here one look at all that wait, twice a second, ends those whose time is up; and who has just spoken waits for the
answer before it reads.
"""

import socket
import ssl
from select import POLLIN
from time import monotonic
from typing import Any

import gevent
from gevent import monkey
from gevent.socket import cancel_wait, wait

POLL_INTERVAL_SECONDS = 0.5  # so much later than asked for may a wait end
READ, WRITE = 1, 2  # of libev, for loop.io
QUICKACK = getattr(socket, "TCP_QUICKACK", None)  # Linux has it
READS_A_TURN = 32  # without waiting; then others have their turn, however fast the other side sends
ONE_WRITE_BYTES = 8 * 1024  # what the other side sends at once, or less: PHP's; most send a TLS record of 16 KB
poll = monkey.get_original("select", "poll")  # gevent's makes watchers to ask what the kernel can say at once


class TimeIsUp(Exception):
    """Thrown into a greenlet that may have waited long enough."""


class Deadlines:
    """When each of those that wait has waited long enough."""

    def __init__(self) -> None:
        self.ends: dict[Any, float] = {}  # by watcher of the event loop, on the monotonic clock
        self.looking: gevent.Greenlet[..., None] | None = None

    def wait(self, watcher: Any, end: float) -> bool:
        """Wait for an event; False when it has not come in time."""
        if not self.looking:
            self.looking = gevent.spawn(self.look)
        self.ends[watcher] = end
        try:
            while monotonic() < end:
                try:
                    wait(watcher)
                except TimeIsUp:  # of an earlier wait, perhaps, whose event came in the same turn of the loop
                    continue
                return True
        finally:
            del self.ends[watcher]
        return False

    def look(self) -> None:
        """The greenlet's whole life."""
        while True:
            gevent.sleep(POLL_INTERVAL_SECONDS)
            now = monotonic()
            for watcher in [watcher for watcher, end in self.ends.items() if end <= now]:
                cancel_wait(watcher, TimeIsUp)


DEADLINES = Deadlines()  # of this process


class Stream:
    """One connection. Owns its socket, whichever is current, and closes it.

    It never shuts one down to wake a reader, since `SSLSocket.shutdown` would let later octets leave in clear.
    """

    __slots__ = ("_has_read_all", "_heard_bytes", "_poll", "_readable", "_socket", "_spoke_last", "_turns")

    def __init__(self, sock: socket.socket) -> None:
        """Take over a socket of gevent's."""
        sock.settimeout(0)
        self._socket = sock
        self._readable = gevent.get_hub().loop.io(sock.fileno(), READ)
        self._has_read_all = True  # nothing is left that the kernel would not tell of: in a TLS record, half read
        self._spoke_last = False
        self._heard_bytes = 0  # since we spoke last
        self._poll: Any = None  # of the kernel, once somebody asks
        self._turns = 0  # without a wait

    def receive(self, most_bytes: int, seconds: float) -> bytes | None:
        """Some octets, b"" at their end, or None when none came in time.

        What is there is received whatever the time. A caller that goes on for long looks at the clock itself; another
        greenlet has its turn now and then even where there is always something.

        Raises:
            OSError
        """
        end = monotonic() + seconds
        if self._spoke_last and self._has_read_all and not self._wait(self._readable, end):
            return None
        self._spoke_last = False
        self._take_turn()
        while (octets := self.receive_now(most_bytes)) is None:
            if self._heard_bytes >= ONE_WRITE_BYTES:
                self._acknowledge()
            if not self._wait(self._readable, end):
                return None
        return octets

    def _wait(self, watcher: Any, end: float) -> bool:
        self._turns = 0
        return DEADLINES.wait(watcher, end)

    def _take_turn(self) -> None:
        """Let other greenlets run, after so many reads or writes without a wait."""
        self._turns += 1
        if self._turns >= READS_A_TURN:
            self._turns = 0
            gevent.sleep(0)

    def unread(self) -> bytes | None:
        """What has come and was not received, if only in part: b"" at the end, None where there is nothing.

        Looks at every layer, without a wait: the TLS layer may have octets that the kernel knows no more of, and the
        kernel a record with nothing for us in it.

        Raises:
            OSError
        """
        if not (isinstance(self._socket, ssl.SSLSocket) and self._socket.pending()):
            if self._poll is None:
                self._poll = poll()
                self._poll.register(self._socket.fileno(), POLLIN)
            if not self._poll.poll(0):
                return None
        return self.receive_now(ONE_WRITE_BYTES)

    def _acknowledge(self) -> None:
        """Tell the other side now that its octets have come, since it may keep the rest until then.

        Of a message that takes several writes, a client that leaves Nagle's algorithm on (RFC 9293 §3.7.4) keeps the
        last part until the first is acknowledged, which kernels put off for 40 ms. At smaller ones it would be 5 % of
        the gateway's CPU for nothing.
        """
        if QUICKACK is not None and self._socket.family != socket.AF_UNIX:
            self._socket.setsockopt(socket.IPPROTO_TCP, QUICKACK, 1)

    def receive_now(self, most_bytes: int) -> bytes | None:
        """What is there, b"" at the end, or None while there is nothing.

        Raises:
            OSError
        """
        try:
            octets = self._socket.recv(most_bytes)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None
        self._has_read_all = len(octets) < most_bytes
        self._heard_bytes += len(octets)
        return octets

    def send(self, octets: bytes | memoryview, seconds: float) -> None:
        """Send all of it, within this time.

        Raises:
            OSError: TimeoutError where the other side does not read, or too slowly.
        """
        self._spoke_last = True
        self._heard_bytes = 0
        sent = self._send_now(octets)  # sendall asks the kernel for its buffer size each time
        if sent < len(octets):
            self._send_rest(memoryview(octets)[sent:], monotonic() + seconds)

    def _send_now(self, octets: bytes | memoryview) -> int:
        """How many octets could be sent at once. Raises OSError."""
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
        """Do a server's handshake; the protocol's version.

        Raises:
            OSError: TimeoutError when it takes too long.
        """
        end = monotonic() + seconds
        self._socket = context.wrap_socket(self._socket, server_side=True, do_handshake_on_connect=False)
        while DEADLINES.wait(self._readable, end):  # the client speaks first
            try:
                self._socket.do_handshake()
            except ssl.SSLWantReadError:
                continue
            return self._socket.version() or "unknown"
        raise TimeoutError("took too long")

    def close(self) -> None:
        """Close, and end TLS cleanly before, where the other side still listens."""
        try:
            if isinstance(self._socket, ssl.SSLSocket):
                self._socket.unwrap()  # our close_notify goes out, and we do not wait for the client's
        except (OSError, ValueError):
            return  # there is nobody left to close cleanly for
        finally:
            self._readable.close()
            self._socket.close()
