"""What the client's stream carries, and only that: lines, message data, TLS, each with its limit and its deadline.

Whatever keeps a read from succeeding leaves as an exception, so that no command ever checks for a lost connection:
`SMTPError` where there is still somebody to be told (line too long, message too big, idle, draining), `ConnectionLost`
where there is not.
"""

import ssl
from collections.abc import Callable
from time import monotonic

from smtpgw.config.settings import Settings
from smtpgw.core import replies
from smtpgw.core.replies import SMTPError
from smtpgw.core.text import with_crlf
from smtpgw.net.stream import Stream
from smtpgw.smtp.admission import Reservation, count
from smtpgw.smtp.session_limits import SessionLimits
from smtpgw.telemetry import metrics

SEND_SECONDS = 60.0  # a client that does not read its replies is gone
RECEIVE_BYTES = 16 * 1024  # a TLS record
MAX_READ_AHEAD_BYTES = 4 * RECEIVE_BYTES
END_OF_DATA = b"\r\n.\r\n"  # RFC 5321 §4.1.1.4, and nothing else: CVE-2023-51764 and its like
STUFFED = 1.01  # doubled dots do not count (RFC 1870 §3), and are no more than this of any real message


class ConnectionLost(Exception):
    """Nobody is left to answer; says why, for the log."""


class Connection:
    """One connection with a client."""

    __slots__ = (
        "_buffer", "_early_bytes", "_is_more_early", "_limits", "_out", "_searched", "_settings", "_stream",
        "is_reaction",
    )  # fmt: skip

    def __init__(self, stream: Stream, settings: Settings, stopping: Callable[[], bool]) -> None:
        self._stream = stream
        self._settings = settings
        self._limits = SessionLimits(settings, stopping)
        self._buffer = bytearray()
        self._early_bytes = 0  # of the buffer: what had come before the last replies were sent
        self._is_more_early = False  # more had come than was read ahead, and some of it may not have been read yet
        # Whether what was read last, a line or message data, came after every reply had been sent: the client has
        # read them, then. What it sent ahead of them, as a client that pipelines does, proves nothing.
        self.is_reaction = False
        self._searched = 0  # that much of the buffer has no line end: a line that comes byte by byte costs no more
        self._out = bytearray()

    # --- Writing: replies wait until nothing more can be read, so that a pipelined group is answered at once (RFC 2920)

    def write(self, octets: bytes) -> None:
        self._out += octets

    def flush(self) -> None:
        """Send what has been written.

        Raises:
            ConnectionLost
        """
        if not self._out:
            return
        if self._is_more_early:
            self.read_ahead()
        octets, self._out = bytes(self._out), bytearray()
        try:
            self._stream.send(octets, SEND_SECONDS)
        except OSError as problem:
            raise ConnectionLost(f"sending: {problem}") from problem
        self._early_bytes = len(self._buffer)

    # --- Reading

    def read_line(self, *, logged_in: bool = True, between_messages: bool = False) -> bytes:
        """The client's next line, without its end (CRLF, or the bare LF that some clients send).

        Raises:
            SMTPError: 500 when it is too long (it has been read whole), 421 when the session is idle, too old, draining
                or without login after too many lines.
            ConnectionLost
        """
        line = self._take_line()
        if line is None:
            self.flush()
            # Between messages a session ends after a reply and before the next command: a client with a pool of
            # connections would lose the message that it hears a 421 in answer to.
            self._limits.check_time(logged_in=logged_in, between_messages=between_messages)
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
        kept = b""  # the beginning of a line that is too long; the rest of it is dropped as it comes
        while (line := self._take_line()) is None:
            if len(self._buffer) > self._settings.max_command_bytes + 1:  # a CR may be the last of them
                kept = kept or bytes(self._buffer)
                self._buffer.clear()
                self._searched = self._early_bytes = 0
            chunk = self._receive(min(self._limits.slice_seconds, deadline - monotonic()))
            if chunk is not None:
                self._buffer += chunk
                if b"\n" in chunk:
                    continue
            # A client that goes on sending and never ends its line is waited for no longer than one that is silent.
            if monotonic() >= deadline:
                metrics.LIMITS.labels("idle").inc()
                raise SMTPError(replies.IDLE_TIMEOUT)
            if chunk is None:
                self._limits.check_silence()
            self._limits.check_time(logged_in=logged_in, between_messages=False)
        return kept + line

    def read_data(self, hold: Reservation) -> bytes:
        """Message data up to CRLF.CRLF, with dots unstuffed (RFC 5321 §4.5.2) and bare LF made CRLF.

        A message that is too big is read to its end and dropped: what follows it must not be taken for commands.

        Raises:
            SMTPError: 552 when it is too big, 452 without room, 421 when it is too slow or the session ends.
            ConnectionLost
        """
        self.flush()
        self.is_reaction = not (self._early_bytes or self._is_more_early)
        self._buffer[:0] = b"\r\n"  # so that a message of no lines ends like any other
        limit, searched = self._settings.max_message_bytes, 0
        patience, rate = self._settings.data_timeout_seconds, self._settings.data_min_bytes_per_second
        deadline = monotonic() + patience
        refusal = None if hold.grow(len(self._buffer)) else hold.refusal
        while (end := self._buffer.find(END_OF_DATA, searched)) < 0:
            if refusal or len(self._buffer) > limit * STUFFED:
                refusal = refusal or replies.MESSAGE_TOO_BIG.filled(limit=limit)
                del self._buffer[: 1 - len(END_OF_DATA)]
                hold.release()
                self._limits.check_time(logged_in=True, between_messages=False)  # else it may go on for ever
            searched = max(0, len(self._buffer) - len(END_OF_DATA) + 1)
            chunk = self._receive(deadline - monotonic())
            if chunk is None:
                metrics.LIMITS.labels("data_rate").inc()
                raise SMTPError(replies.DATA_TIMEOUT)
            # Octets move the deadline on by the time they take at the least rate, never beyond the time-out from now:
            # however much came before, a client that stops is not waited for longer than that.
            deadline = min(deadline + len(chunk) / rate, monotonic() + patience)
            self._buffer += chunk
            refusal = refusal or (None if hold.grow(len(chunk)) else hold.refusal)
        data = unstuffed(bytes(memoryview(self._buffer)[2 : end + 2]))
        del self._buffer[: end + len(END_OF_DATA)]
        self._early_bytes = 0 if self.is_reaction else len(self._buffer)
        if not refusal and len(data) > limit:
            refusal = replies.MESSAGE_TOO_BIG.filled(limit=limit)
        if refusal:
            count(refusal)
            raise SMTPError(refusal)
        return with_crlf(data)

    def read_head(self, wanted: Callable[[bytes], int], seconds: float) -> bytes:
        """What stands before the client's first octet: as long as `wanted` says how much more of it there is.

        No octet more is read, since TLS may follow. When the time is up, what has come.

        Raises:
            ConnectionLost, and whatever `wanted` raises.
        """
        deadline = monotonic() + seconds
        head = b""
        while (more := wanted(head)) and (chunk := self._receive(deadline - monotonic(), more)):
            head += chunk
        return head

    def _receive(self, seconds: float, most_bytes: int = RECEIVE_BYTES) -> bytes | None:
        """Some octets, or None when none came in time."""
        try:
            chunk = self._stream.receive(most_bytes, seconds)
        except OSError as problem:
            raise ConnectionLost(f"receiving: {problem}") from problem
        if chunk == b"":
            raise ConnectionLost("closed by the client")
        return chunk

    @property
    def has_input(self) -> bool:
        """Whether the client has sent more than has been read; after STARTTLS it must not have."""
        return bool(self._buffer)

    def read_ahead(self) -> bool:
        """Read what has come already, so that it is not taken for a reaction to the reply that is sent next.

        Returns:
            Whether the client is still there. RFC 1047: it may have hung up while its message was being submitted.
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
        """Do a server's handshake on the connection; the protocol's version.

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
        """Send what is written, end TLS cleanly where the client still listens, and close."""
        try:
            self.flush()
        except ConnectionLost:
            return  # there is nobody left to tell
        finally:
            self._stream.close()


def unstuffed(data: bytes) -> bytes:
    """Return message data without the dot that the client put before each line that begins with one.

    A line ends in CRLF, and a bare LF within it is content. Some clients end every line of the message in bare LF, and
    stuff after each: Python's smtplib does when it is given octets. Then the dots after LF come off, too. A line that
    begins with a single dot proves that a client did not stuff after LF, so there every dot is content.
    """
    if data.startswith(b"."):
        data = data[1:]
    has_bare_lines_only = 0 <= len(data) - 2 == data.find(b"\r\n")
    if has_bare_lines_only and (dots := data.count(b"\n.")) and dots == data.count(b"\n.."):
        return data.replace(b"\n.", b"\n")
    return data.replace(b"\r\n.", b"\r\n") if b"\r\n." in data else data
