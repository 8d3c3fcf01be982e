"""HTTP/1.1 on an urllib3 connection, for the one kind of exchange we have: a whole request, an answer of known length.

urllib3 writes a request's head and body in two packets and reads the answer's head with the standard email parser, a
quarter of the gateway's CPU a message (0.22 ms of 0.9 at 4 KB; 0.07 ms so). `quick` reads what every API server sends:
a status line, fields of one line each, Content-Length. Whatever is not that (chunks, 1xx, folded fields, no length) is
read by `standard`, the standard library, from the same octets. A test holds both to the same result.
"""

import http.client
import io
import re
from collections.abc import Mapping
from time import monotonic
from typing import Any, NoReturn

import gevent
from urllib3 import HTTPHeaderDict
from urllib3.connection import HTTPConnection
from urllib3.exceptions import HTTPError, NewConnectionError, ProtocolError

from smtpgw.stream import Stream

RECEIVE_BYTES = 64 * 1024
ONE_SEND_BYTES = 64 * 1024  # up to here head and body are put together; above it the copy costs more
HEAD_BYTES = 64 * 1024
HEAD = re.compile(rb"HTTP/1\.1 ([2-5][0-9]{2}) [^\r\n]*\r\n((?:[!-9;-~]+:[^\r\n\x00]*\r\n)*)\r\n")
END_OF_HEAD = re.compile(rb"\n\r?\n")
FIELD = re.compile(r"([^:]+):[ \t]*([^\r]*?)[ \t]*\r\n")
UNUSUAL = frozenset({"transfer-encoding", "content-encoding", "trailer", "upgrade"})
BODYLESS = frozenset({204, 205, 304})


class Received:
    """An answer, whole."""

    __slots__ = ("data", "headers", "status")

    def __init__(self, status: int, headers: Mapping[str, str], data: bytes) -> None:
        self.status = status
        self.headers = headers
        self.data = data


class Exchange(HTTPConnection):
    """A connection of the pool. Opening it fails as NewConnectionError: nobody can have read the request then.

    urllib3 has one time-out for connecting and sending; `connect_seconds` is for the first alone: a message of
    megabytes takes longer to send than anybody wants to wait for a connection.
    """

    def __init__(self, *arguments: Any, connect_seconds: float | None = None, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.connect_seconds = connect_seconds
        self.stream: Stream | None = None  # of `sock`, while that is open

    def close(self) -> None:
        if self.stream:
            self.stream.close()
            self.stream = None
        super().close()

    def connect(self) -> None:
        times = [seconds for seconds in (self.connect_seconds, self.timeout) if isinstance(seconds, (int, float))]
        limit = gevent.Timeout(min(times, default=None), TimeoutError())
        try:
            with limit:  # the name's look-up and the TLS handshake, too
                super().connect()
            self.stream = Stream(self.sock)
        except (OSError, HTTPError) as problem:
            raise NewConnectionError(self, f"{type(problem).__name__}: {problem}") from problem

    def request(  # type: ignore[override]  # all that `transport` asks for
        self, method: str, url: str, body: Any = None, headers: Any = None
    ) -> None:
        """Send a whole request. `body` is octets, `headers` the fields but Host and Content-Length."""
        if self.stream is None:
            self.connect()
        assert self.stream
        seconds = float(self.timeout or 0)
        octets: bytes = body or b""
        lines = [f"{method} {url} HTTP/1.1", f"Host: {self.authority}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if octets or method == "POST":
            lines.append(f"Content-Length: {len(octets)}")
        head = "\r\n".join([*lines, "\r\n"]).encode("latin-1")
        assert head.count(b"\n") == len(lines) + 1, "a header of ours has a line end in it"
        if len(octets) <= ONE_SEND_BYTES:
            self.stream.send(head + octets, seconds)
        else:
            self.stream.send(head, seconds)
            self.stream.send(octets, seconds)

    @property
    def authority(self) -> str:
        """The Host field's value (RFC 9112 §3.2): the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == self.default_port else f"{host}:{self.port}"

    def getresponse(self) -> Received:  # type: ignore[override]  # all that `transport` looks at
        """Read the answer, all of it, within the connection's time-out."""
        deadline = monotonic() + float(self.timeout or 0)
        received = b""
        while not END_OF_HEAD.search(received) and len(received) < HEAD_BYTES:
            received += self.receive(deadline)
        found = quick_head(received)
        if not found:
            return self.standard(received, deadline)
        status, fields, length, start = found
        data = received[start:]
        while len(data) < length:
            data += self.receive(deadline)
        if len(data) > length or fields.get("connection", "").lower() == "close":
            self.close()  # more than the answer: nobody asked for it
        return Received(status, fields, data[:length])

    def receive(self, deadline: float) -> bytes:
        assert self.stream
        return octets_of(self.stream, RECEIVE_BYTES, deadline) or self.broken_off()

    def broken_off(self) -> NoReturn:
        raise ProtocolError("the server closed the connection within its answer")

    def standard(self, received: bytes, deadline: float) -> Received:
        """Read an answer that begins with what has been received, by the standard library."""
        assert self.stream
        answer = http.client.HTTPResponse(Again(received, self.stream, deadline))  # type: ignore[arg-type]  # makefile is all it needs
        try:
            answer.begin()
            data = answer.read()
        except http.client.HTTPException as problem:
            raise ProtocolError(type(problem).__name__) from problem
        if answer.will_close or not answer.isclosed():
            self.close()
        return Received(answer.status, HTTPHeaderDict(answer.getheaders()), data)


class Again:
    """As a socket, for the standard library: one whose first octets have been received before."""

    def __init__(self, before: bytes, stream: Stream, deadline: float) -> None:
        self.raw = Raw(before, stream, deadline)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self.raw)


class Raw(io.RawIOBase):
    """Octets received before, then those of a stream."""

    def __init__(self, before: bytes, stream: Stream, deadline: float) -> None:
        self.before = before
        self.stream = stream
        self.deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, room: Any) -> int:
        piece = self.before[: len(room)] or octets_of(self.stream, len(room), self.deadline)
        self.before = self.before[len(room) :]
        room[: len(piece)] = piece
        return len(piece)


def octets_of(stream: Stream, most_bytes: int, deadline: float) -> bytes:
    """The next octets of an answer, b"" at the end.

    Raises:
        OSError: TimeoutError after the deadline.
    """
    octets = stream.receive(most_bytes, deadline - monotonic())
    if octets is None:
        raise TimeoutError("the answer takes too long")
    return octets


def quick_head(received: bytes) -> tuple[int, dict[str, str], int, int] | None:
    """Status, fields by lower-case name, length of the body and where it begins; None where it takes `standard`."""
    head = HEAD.match(received)
    if not head:
        return None
    fields: dict[str, str] = {}
    for name, value in FIELD.findall(head[2].decode("latin-1")):
        fields.setdefault(name.lower(), value)
    status, length = int(head[1]), fields.get("content-length", "")
    if not length.isascii() or not length.isdigit() or status in BODYLESS or not UNUSUAL.isdisjoint(fields):
        return None
    return status, fields, int(length), head.end()
