"""HTTP transport to Cakemail's API: one exchange at a time on each connection of a pool.

This is the only module that imports `requests` and `urllib3`. It uses the public interface of `requests.Session`
without the merging of settings, cookies, proxies and `.netrc` (which would replace the Authorization header). `Adapter`
sends the requests, on connections that urllib3 opens.

A connection is reused only after exactly one complete answer to a request that was sent completely, and only when
nothing else can be read from it, neither in the TLS layer nor in the kernel. The adapter checks this again before the
next request. Anything unexpected closes the connection and raises `NotAnswered`: an unknown outcome is better than
another client's answer. HTTP/1.1 cannot detect an unsolicited answer that arrives while the next request is sent.
"""

import socket
import ssl
from collections import deque
from collections.abc import Iterator
from time import monotonic
from typing import Any

import certifi
import gevent
import requests
from requests.adapters import BaseAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError
from urllib3.util import parse_url

from smtpgw.cakemail.http11 import AnswerReader, InvalidAnswer, encode_head
from smtpgw.cakemail.idle_age import IdleAge
from smtpgw.net.stream import Stream

NO_HOOKS: dict[str, list[Any]] = {"response": []}
RECEIVE_BYTES = 16 * 1024
# Up to this size, head and body are sent in one write; above it, the copy costs more than it saves.
ONE_WRITE_BYTES = 64 * 1024
# A body is sent in pieces of this size, so that an early answer is noticed.
PIECE_BYTES = 256 * 1024
# Keep-alive probes detect a connection that the network has dropped, and prevent NAT gateways from dropping idle ones.
KEEPALIVE = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)] + [
    (socket.IPPROTO_TCP, getattr(socket, name), value)
    for name, value in {"TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}.items()
    if hasattr(socket, name)
]


class NotSent(Exception):
    """The connection or its TLS handshake failed, so the server cannot have read the request."""


class NotAnswered(Exception):
    """The request was sent, at least partly, and no complete answer came."""


class ClosedMeanwhile(NotAnswered):
    """An idle connection ended before the first octet, most likely because the server had closed it."""


class Answer(requests.Response):
    """Complete answer. Header names are in lower case.

    The constructor of requests would create a cookie jar and a header dictionary for each answer.
    """

    raw = None
    # The list stays empty, because no redirect is followed.
    history: list[requests.Response] = []  # noqa: RUF012

    def __init__(self, status: int, headers: Any, content: bytes) -> None:
        self.status_code = status
        self.headers = headers
        self._content = content
        self._content_consumed = True


class Transport:
    """Session with one server, shared by many greenlets."""

    def __init__(
        self, url: str, max_connections: int, connect_timeout_seconds: float, idle_timeout_seconds: float
    ) -> None:
        self.url = url
        self.session = ApiSession()
        self.session.mount(url, Adapter(url, max_connections, connect_timeout_seconds, idle_timeout_seconds))

    def exchange(self, method: str, target: str, headers: dict[str, str], body: bytes, seconds: float) -> Answer:
        """Send a request and read its answer within `seconds`. Raises NotSent, NotAnswered."""
        request = requests.PreparedRequest()
        request.method, request.url, request.body, request.hooks = method, self.url + target, body, NO_HOOKS
        # No field is repeated, so a plain dictionary is enough.
        request.headers = headers  # type: ignore[assignment]
        answer = self.session.send(
            request,
            timeout=seconds,
            proxies={},
            verify=True,
            cert=None,
            stream=False,
            allow_redirects=False,
        )
        assert isinstance(answer, Answer)
        return answer

    def close(self) -> None:
        """Close the connections that are idle."""
        self.session.close()


class ApiSession(requests.Session):
    """Session that follows no redirect, since a redirect could send the token to another server."""

    def resolve_redirects(self, *_: object, **__: object) -> Iterator[requests.Response]:
        """Return no redirects. requests would otherwise compute the next one even when it does not follow it."""
        return iter(())


class Adapter(BaseAdapter):
    """Adapter that sends requests to one server, on a pool of connections."""

    def __init__(self, url: str, max_connections: int, connect_seconds: float, max_idle_seconds: float) -> None:
        super().__init__()
        parts = parse_url(url)
        assert parts.host
        self.prefix = f"{parts.scheme}://{parts.netloc}"
        is_tls = parts.scheme == "https"
        self.host = parts.host.strip("[]")
        # Value of the Host field (RFC 9112 §3.2). It contains the port unless it is the default of the scheme.
        default_port = 443 if is_tls else 80
        self.port = parts.port or default_port
        self.authority = parts.host if self.port == default_port else f"{parts.host}:{self.port}"
        self.max_connections = max_connections
        self.connect_seconds = connect_seconds
        self.age = IdleAge(max_idle_seconds)
        # The connection that was used last is at the right.
        self.idle: deque[ApiConnection] = deque()
        self.context: ssl.SSLContext | None = None
        if is_tls:
            # All connections share one context, because loading the CA certificates is slow.
            self.context = ssl.create_default_context()
            self.context.load_verify_locations(certifi.where())

    # The other parameters of BaseAdapter.send are never used.
    def send(  # type: ignore[override]
        self, request: requests.PreparedRequest, timeout: float, **_: object
    ) -> Answer:
        """Send a request and read its answer within `timeout` seconds. Raises NotSent, NotAnswered."""
        assert request.method
        assert request.url
        assert isinstance(request.body, bytes)
        deadline = monotonic() + timeout
        target = request.url[len(self.prefix) :]
        head = encode_head(request.method, target, self.authority, request.headers, len(request.body))
        connection, reader = self._idle_connection() or self._new_connection(), AnswerReader()
        is_reusable = False
        try:
            if connection.stream is None:
                connection.open(min(self.connect_seconds, timeout))
            answer, is_reusable = connection.exchange(head, request.body, deadline, reader)
            self.age.read(answer.headers)
        except (OSError, InvalidAnswer) as problem:
            reason = f"{type(problem).__name__}: {problem}"
            if connection.idle_since and reader.is_untouched and not isinstance(problem, TimeoutError):
                self.age.closed_by_server(monotonic() - connection.idle_since)
                # The other idle connections are older than this one.
                self.close()
                raise ClosedMeanwhile(reason) from problem
            raise NotAnswered(reason) from problem
        finally:
            if is_reusable and len(self.idle) < self.max_connections:
                connection.idle_since = monotonic()
                self.idle.append(connection)
            else:
                connection.close()
        return answer

    def _idle_connection(self) -> "ApiConnection | None":
        """Return the idle connection that was used last, or None. Close connections that are too old or not usable."""
        now = monotonic()
        oldest = now - self.age.max_seconds()
        while self.idle and self.idle[0].idle_since < oldest:
            self.idle.popleft().close()
        while self.idle:
            connection = self.idle.pop()
            if connection.is_quiet():
                return connection
            self.age.closed_by_server(now - connection.idle_since)
            connection.close()
        return None

    def _new_connection(self) -> "ApiConnection":
        options = [*HTTPConnection.default_socket_options, *KEEPALIVE]
        if self.context:
            return TLSApiConnection(self.host, self.port, ssl_context=self.context, socket_options=options)
        return ApiConnection(self.host, self.port, socket_options=options)

    def close(self) -> None:
        """Close the connections that are idle."""
        while self.idle:
            self.idle.pop().close()


class ApiConnection(HTTPConnection):
    """Connection that urllib3 opens, with one exchange at a time.

    Attributes:
        idle_since: a monotonic time; 0 before the first answer.
        stream: stream of the socket, once it is open.
    """

    idle_since = 0.0
    stream: Stream | None = None

    def open(self, seconds: float) -> None:
        """Connect. Raises NotSent."""
        self.timeout = seconds
        try:
            # The time-out includes the DNS lookup and the TLS handshake.
            with gevent.Timeout(seconds, TimeoutError("takes too long")):
                self.connect()
            self.stream = Stream(self.sock)
        except (OSError, HTTPError) as problem:
            raise NotSent(f"{type(problem).__name__}: {problem}") from problem
        if not self.is_quiet():
            raise NotSent("the server spoke, or hung up, before the request")

    def close(self) -> None:
        """Close the connection in any state."""
        if self.stream:
            self.stream.close()
            self.stream = None
        super().close()

    def is_quiet(self) -> bool:
        """Return whether the server has neither sent anything nor closed the connection since the last answer."""
        try:
            return self.stream is not None and self.stream.unread() is None
        except OSError:
            return False

    def exchange(self, head: bytes, body: bytes, deadline: float, reader: AnswerReader) -> tuple[Answer, bool]:
        """Send a request and read its answer; also return whether the connection can be used again.

        Raises:
            OSError: the connection failed; TimeoutError at the deadline, a monotonic time.
            InvalidAnswer: the answer is not valid, or octets follow it.
        """
        assert self.stream
        is_sent = self._send(self.stream, head, body, deadline, reader)
        while not reader.is_whole:
            left = deadline - monotonic()
            octets = self.stream.receive(RECEIVE_BYTES, left) if left > 0 else None
            if octets is None:
                raise TimeoutError("the answer takes too long")
            reader.read(octets)
        if not is_sent and reader.status < 400:
            raise InvalidAnswer("a good answer to a part of the request")
        try:
            surplus = self.stream.unread()
        except OSError:
            # The server reset the connection after its answer.
            surplus = b""
        if surplus:
            raise InvalidAnswer("octets after the answer")
        is_reusable = is_sent and surplus is None and not reader.is_last
        return Answer(reader.status, reader.headers, reader.content), is_reusable

    @staticmethod
    def _send(stream: Stream, head: bytes, body: bytes, deadline: float, reader: AnswerReader) -> bool:
        """Send a request until it is complete, or the server answers or closes the connection.

        Octets that are received meanwhile go to the reader. An interim answer (100, 103) does not end the request,
        since the server waits for the rest.

        Returns:
            Whether the request was sent completely.
        """
        try:
            for number, piece in enumerate(pieces(head, body)):
                while number and (early := stream.unread()) is not None:
                    reader.read(early)
                    if reader.is_begun:
                        return False
                stream.send(piece, deadline - monotonic())
        except (ConnectionError, ssl.SSLError):
            # The server may have answered before it closed the connection.
            return False
        return True


class TLSApiConnection(ApiConnection, HTTPSConnection):
    """Connection over TLS."""


def pieces(head: bytes, body: bytes) -> Iterator[bytes | memoryview]:
    """Yield the pieces of a request: one when head and body are small, otherwise the head and slices of the body."""
    if len(head) + len(body) <= ONE_WRITE_BYTES:
        yield head + body
        return
    yield head
    for at in range(0, len(body), PIECE_BYTES):
        yield memoryview(body)[at : at + PIECE_BYTES]
