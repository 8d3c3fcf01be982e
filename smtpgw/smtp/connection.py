"""The SMTP connection with a client: lines, message data and TLS, each with a size limit and a deadline.

A read that cannot succeed raises, so that no command has to check for a lost connection: `SMTPError` when a reply can
still be sent (line too long, message too big, idle, draining), `ConnectionLost` when it cannot.
"""

import ssl
from collections.abc import Callable
from time import monotonic

from smtpgw.config.settings import Settings
from smtpgw.core import replies
from smtpgw.core.replies import SMTPError
from smtpgw.core.text import with_crlf
from smtpgw.net.stream import Stream
from smtpgw.smtp.admission import Reservation, count_refusal
from smtpgw.smtp.session_limits import SessionLimits
from smtpgw.telemetry import metrics

# A client that does not read its replies for this long is treated as lost.
SEND_TIMEOUT_SECONDS = 60.0
# The size of a TLS record.
RECEIVE_BYTES = 16 * 1024
MAX_READ_AHEAD_BYTES = 4 * RECEIVE_BYTES
# RFC 5321 §4.1.1.4. Accepting any other end allows SMTP smuggling, such as CVE-2023-51764.
END_OF_DATA = b"\r\n.\r\n"
# Stuffed dots do not count for the size of a message (RFC 1870 §3). They never make a real message grow by more.
MAX_STUFFING_RATIO = 1.01


class ConnectionLost(Exception):
    """The client cannot be reached any more. The message is the reason, for the log."""


class Connection:
    """One connection with a client."""

    __slots__ = (
        "_buffer", "_early_bytes", "_is_more_early", "_limits", "_out", "_searched", "_settings", "_stream",
        "is_reaction",
    )  # fmt: skip

    def __init__(self, stream: Stream, settings: Settings, stopping: Callable[[], bool]) -> None:
        """Wrap a stream. `stopping` returns whether the worker drains."""
        self._stream = stream
        self._settings = settings
        self._limits = SessionLimits(settings, stopping)
        self._buffer = bytearray()
        # The number of octets at the beginning of the buffer that arrived before the last replies were sent.
        self._early_bytes = 0
        # True when more had arrived than was read ahead, so that unread octets may be early too.
        self._is_more_early = False
        # True when the line or message data that was read last arrived after every reply had been sent. The client
        # has then read the replies. Octets that a pipelining client sent ahead of the replies prove nothing.
        self.is_reaction = False
        # The number of octets at the beginning of the buffer that hold no line end. They are not searched again, so a
        # line that arrives byte by byte costs no more than any other.
        self._searched = 0
        self._out = bytearray()

    # --- Writing. Replies are buffered until nothing more can be read, so that a pipelined group of commands is
    # answered at once (RFC 2920).

    def write(self, octets: bytes) -> None:
        """Append to the buffer of replies."""
        self._out += octets

    def flush(self) -> None:
        """Send the buffered replies. Raises ConnectionLost."""
        if not self._out:
            return
        if self._is_more_early:
            self.read_ahead()
        octets, self._out = bytes(self._out), bytearray()
        try:
            self._stream.send(octets, SEND_TIMEOUT_SECONDS)
        except OSError as problem:
            raise ConnectionLost(f"sending: {problem}") from problem
        self._early_bytes = len(self._buffer)

    # --- Reading

    def read_line(self, *, logged_in: bool = True, between_messages: bool = False) -> bytes:
        """Return the client's next line without its end, which is CRLF, or the bare LF that some clients send.

        Args:
            logged_in: whether the limits of authenticated clients apply.
            between_messages: whether no transaction is under way.

        Raises:
            SMTPError: 500 when the line is too long, after it has been read to its end; 421 when the session is idle,
                too old, draining, or has sent too many commands without login.
            ConnectionLost
        """
        line = self._take_line()
        if line is None:
            self.flush()
            # A session ends after a reply and before the next command. A client with a pool of connections would lose
            # the message whose MAIL is answered with 421.
            self._limits.check_deadlines(logged_in=logged_in, between_messages=between_messages)
            line = self._wait_for_line(logged_in=logged_in)
        self._limits.count_command(logged_in=logged_in)
        if len(line) > self._settings.max_command_bytes:
            metrics.LIMITS.labels("command_bytes").inc()
            raise SMTPError(replies.LINE_TOO_LONG)
        return line

    def _take_line(self) -> bytes | None:
        end = self._buffer.find(b"\n", self._searched)
        if end < 0:
            self._searched = len(self._buffer)
            return None
        line = bytes(self._buffer[:end])
        self.is_reaction = not (self._early_bytes or self._out or self._is_more_early)
        del self._buffer[: end + 1]
        self._searched = 0
        self._early_bytes = max(0, self._early_bytes - end - 1)
        return line.removesuffix(b"\r")

    def _wait_for_line(self, *, logged_in: bool) -> bytes:
        deadline = monotonic() + self._limits.idle_seconds(logged_in=logged_in)
        # The beginning of a line that is too long. Its rest is dropped as it arrives.
        kept = b""
        while (line := self._take_line()) is None:
            # The last octet of the buffer may be the CR of the line end, hence one more than the limit.
            if len(self._buffer) > self._settings.max_command_bytes + 1:
                kept = kept or bytes(self._buffer)
                self._buffer.clear()
                self._searched = self._early_bytes = 0
            chunk = self._receive(min(self._limits.slice_seconds, deadline - monotonic()))
            if chunk is not None:
                self._buffer += chunk
                if b"\n" in chunk:
                    continue
            # The deadline also holds for a client that keeps sending and never ends its line.
            if monotonic() >= deadline:
                metrics.LIMITS.labels("idle").inc()
                raise SMTPError(replies.IDLE_TIMEOUT)
            if chunk is None:
                self._limits.check_drain()
            self._limits.check_deadlines(logged_in=logged_in, between_messages=False)
        return kept + line

    def read_data(self, reservation: Reservation) -> bytes:
        """Return the message data up to CRLF.CRLF, without stuffed dots (RFC 5321 §4.5.2), each bare LF as CRLF.

        A message that is too big is read to its end and dropped, so that its rest is not taken for commands.

        Raises:
            SMTPError: 552 when it is too big, 452 when the budget is exhausted, 421 when it is too slow or the session
                ends.
            ConnectionLost
        """
        self.flush()
        self.is_reaction = not (self._early_bytes or self._is_more_early)
        # With a line end in front, a message without lines ends like any other.
        self._buffer[:0] = b"\r\n"
        limit, searched = self._settings.max_message_bytes, 0
        timeout, rate = self._settings.data_timeout_seconds, self._settings.data_min_bytes_per_second
        deadline = monotonic() + timeout
        refusal = None if reservation.grow(len(self._buffer)) else reservation.refusal
        while (end := self._buffer.find(END_OF_DATA, searched)) < 0:
            if refusal or len(self._buffer) > limit * MAX_STUFFING_RATIO:
                refusal = refusal or replies.MESSAGE_TOO_BIG.filled(limit=limit)
                del self._buffer[: 1 - len(END_OF_DATA)]
                reservation.release()
                # A message that is dropped has no size limit, so only the session's age and the drain end it.
                self._limits.check_deadlines(logged_in=True, between_messages=False)
            searched = max(0, len(self._buffer) - len(END_OF_DATA) + 1)
            chunk = self._receive_data(deadline - monotonic())
            # Each octet extends the deadline by the time it takes at the minimum rate, but never beyond the timeout
            # from now. A client that stops is cut after the timeout, however much it sent before.
            deadline = min(deadline + len(chunk) / rate, monotonic() + timeout)
            self._buffer += chunk
            refusal = refusal or (None if reservation.grow(len(chunk)) else reservation.refusal)
        data = remove_dot_stuffing(bytes(memoryview(self._buffer)[2 : end + 2]))
        del self._buffer[: end + len(END_OF_DATA)]
        self._early_bytes = 0 if self.is_reaction else len(self._buffer)
        if not refusal and len(data) > limit:
            refusal = replies.MESSAGE_TOO_BIG.filled(limit=limit)
        if refusal:
            count_refusal(refusal)
            raise SMTPError(refusal)
        return with_crlf(data)

    def read_head(self, wanted: Callable[[bytes], int], seconds: float) -> bytes:
        """Return the header that a load balancer sends ahead of the client's octets, or its part that came in time.

        Not one octet more is read, since a TLS handshake may follow.

        Args:
            wanted: returns how many octets of the header are certainly missing, 0 when it is complete.
            seconds: the time limit.

        Raises:
            ConnectionLost, and whatever `wanted` raises.
        """
        deadline = monotonic() + seconds
        head = b""
        while (more := wanted(head)) and (chunk := self._receive(deadline - monotonic(), more)):
            head += chunk
        return head

    def _receive(self, seconds: float, most_bytes: int = RECEIVE_BYTES) -> bytes | None:
        """Return some octets, or None when none arrived in time. Raises ConnectionLost."""
        try:
            chunk = self._stream.receive(most_bytes, seconds)
        except OSError as problem:
            raise ConnectionLost(f"receiving: {problem}") from problem
        if chunk == b"":
            raise ConnectionLost("closed by the client")
        return chunk

    def _receive_data(self, seconds: float) -> bytes:
        """Return some octets of message data. Raises SMTPError: 421 when none arrive in time."""
        chunk = self._receive(seconds)
        if chunk is None:
            metrics.LIMITS.labels("data_rate").inc()
            raise SMTPError(replies.DATA_TIMEOUT)
        return chunk

    @property
    def has_input(self) -> bool:
        """Whether octets are waiting in the buffer. After STARTTLS there must be none."""
        return bool(self._buffer)

    def read_ahead(self) -> bool:
        """Read what has already arrived, so that it is not taken for a reaction to the reply that is sent next.

        Return whether the client is still connected. It may have hung up while its message was submitted (RFC 1047).
        """
        chunk: bytes | None = None
        try:
            while len(self._buffer) < MAX_READ_AHEAD_BYTES and (chunk := self._stream.receive_now(RECEIVE_BYTES)):
                self._buffer += chunk
        except OSError:
            return False
        self._is_more_early = len(self._buffer) >= MAX_READ_AHEAD_BYTES
        return chunk != b""

    # --- TLS

    def start_tls(self, context: ssl.SSLContext) -> str:
        """Do the server's side of the TLS handshake and return the protocol version.

        Raises:
            ConnectionLost: when it fails or takes too long.
        """
        self.flush()
        try:
            version = self._stream.start_tls(context, self._settings.handshake_timeout_seconds)
        except OSError as problem:
            metrics.TLS_HANDSHAKES.count("failed")
            raise ConnectionLost(f"TLS handshake: {problem}") from problem
        metrics.TLS_HANDSHAKES.count(version)
        return version

    def close(self) -> None:
        """Send the buffered replies, end TLS cleanly when the client is still connected, and close."""
        try:
            self.flush()
        except ConnectionLost:
            # The client is gone, so the replies cannot be sent.
            return
        finally:
            self._stream.close()


def remove_dot_stuffing(data: bytes) -> bytes:
    """Return message data without the dot that the client added to each line that begins with one.

    A line ends in CRLF, and a bare LF within it is content. Some clients end every line in a bare LF and stuff after
    each of them, such as Python's smtplib when it is given bytes. The dots after LF are then removed too. A line that
    begins with a single dot proves that the client did not stuff after LF, so every dot there is content.
    """
    if data.startswith(b"."):
        data = data[1:]
    has_bare_lines_only = 0 <= len(data) - 2 == data.find(b"\r\n")
    if has_bare_lines_only and (dots := data.count(b"\n.")) and dots == data.count(b"\n.."):
        return data.replace(b"\n.", b"\n")
    return data.replace(b"\r\n.", b"\r\n") if b"\r\n." in data else data
