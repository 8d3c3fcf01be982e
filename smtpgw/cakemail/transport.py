"""HTTP with Cakemail's API: one exchange, on a connection of the pool. The only importer of `requests` and `urllib3`.

`requests.Session` by its public doors, less what an API client has no use for: a request is made once and not prepared
anew by merging settings, cookies, proxies and `.netrc` (which would replace our Authorization header). `Adapter` sends
it, on connections that urllib3 opens.

A connection is used again only after exactly one whole answer to a request that was sent whole, when nothing else is
there to be read, in the TLS layer or in the kernel; just before the next request the adapter looks again. Whatever is
unexpected closes the connection and is `NotAnswered`: better an outcome that is unknown than another client's answer.
What a server sends of its own accord while the next request is on its way to it, HTTP/1.1 cannot tell from an answer.
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
# Up to this size head and body are put together in one write; above it the copy costs more than it saves.
ONE_WRITE_BYTES = 64 * 1024
# A body is sent in pieces of this size, so that an answer to its beginning is noticed.
PIECE_BYTES = 256 * 1024
# A network that dropped a connection without a word is found out within half a minute, and one that forgets those that
# are silent (NAT) is kept from it.
KEEPALIVE = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)] + [
    (socket.IPPROTO_TCP, getattr(socket, name), value)
    for name, value in {"TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}.items()
    if hasattr(socket, name)
]


class NotSent(Exception):
    """No connection came about, in its TLS handshake perhaps: nobody can have read the request."""


class NotAnswered(Exception):
    """The request was sent, or may have been, and no whole answer came."""


class ClosedMeanwhile(NotAnswered):
    """A connection that had been idle ended without an octet: most likely the server closed it before the request."""


class Answer(requests.Response):
    """An answer that has been read. Names of headers are lower case.

    requests would make each a cookie jar and a dictionary of headers.
    """

    raw = None
    history: list[requests.Response] = []  # noqa: RUF012  never changed: no redirect is followed

    def __init__(self, status: int, headers: Any, content: bytes) -> None:
        self.status_code = status
        self.headers = headers
        self._content = content
        self._content_consumed = True


class Transport:
    """A session with the server at one address, for many greenlets at a time."""

    def __init__(
        self, url: str, max_connections: int, connect_timeout_seconds: float, idle_timeout_seconds: float
    ) -> None:
        self.url = url
        self.session = ApiSession()
        self.session.mount(url, Adapter(url, max_connections, connect_timeout_seconds, idle_timeout_seconds))

    def exchange(self, method: str, target: str, headers: dict[str, str], body: bytes, seconds: float) -> Answer:
        """Send a request and read its answer, all within this time.

        Raises:
            NotSent
            NotAnswered
        """
        request = requests.PreparedRequest()
        request.method, request.url, request.body, request.hooks = method, self.url + target, body, NO_HOOKS
        request.headers = headers  # type: ignore[assignment]  # each once, so a plain dictionary does
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
    """requests' session, which follows no redirect, with a token least of all."""

    def resolve_redirects(self, *_: object, **__: object) -> Iterator[requests.Response]:
        """Return none, not even the next one: requests looks for it in vain otherwise."""
        return iter(())


class Adapter(BaseAdapter):
    """Sends requests' requests to one server, on a pool of connections."""

    def __init__(self, url: str, max_connections: int, connect_seconds: float, max_idle_seconds: float) -> None:
        super().__init__()
        parts = parse_url(url)
        assert parts.host
        self.prefix = f"{parts.scheme}://{parts.netloc}"
        is_tls = parts.scheme == "https"
        self.host = parts.host.strip("[]")
        # The Host field's value (RFC 9112 §3.2): the port only where it is not the scheme's own.
        default_port = 443 if is_tls else 80
        self.port = parts.port or default_port
        self.authority = parts.host if self.port == default_port else f"{parts.host}:{self.port}"
        self.max_connections = max_connections
        self.connect_seconds = connect_seconds
        self.age = IdleAge(max_idle_seconds)
        self.idle: deque[ApiConnection] = deque()  # the one that was used last is at the right
        self.context: ssl.SSLContext | None = None
        if is_tls:
            # One context for all connections: to read the authorities' certificates takes long.
            self.context = ssl.create_default_context()
            self.context.load_verify_locations(certifi.where())

    def send(  # type: ignore[override]  # the rest is of no use to one server
        self, request: requests.PreparedRequest, timeout: float, **_: object
    ) -> Answer:
        """Send a request and read its answer, all within `timeout` seconds. Raises NotSent, NotAnswered."""
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
            words = f"{type(problem).__name__}: {problem}"
            if connection.idle_since and reader.is_untouched and not isinstance(problem, TimeoutError):
                self.age.closed_by_server(monotonic() - connection.idle_since)
                self.close()  # the others have been idle for longer
                raise ClosedMeanwhile(words) from problem
            raise NotAnswered(words) from problem
        finally:
            if is_reusable and len(self.idle) < self.max_connections:
                connection.idle_since = monotonic()
                self.idle.append(connection)
            else:  # for whatever reason, a greenlet's end included
                connection.close()
        return answer

    def _idle_connection(self) -> "ApiConnection | None":
        """Return the connection that was used last, if it can take a request; close those that are too old."""
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
    """A connection, which urllib3 opens, with one exchange at a time on it."""

    idle_since = 0.0  # a monotonic time; 0 before its first answer
    stream: Stream | None = None  # of `sock`, once that is open

    def open(self, seconds: float) -> None:
        """Connect. Raises NotSent."""
        self.timeout = seconds
        try:
            with gevent.Timeout(seconds, TimeoutError("takes too long")):  # the name's look-up and TLS, too
                self.connect()
            self.stream = Stream(self.sock)
        except (OSError, HTTPError) as problem:
            raise NotSent(f"{type(problem).__name__}: {problem}") from problem
        if not self.is_quiet():
            raise NotSent("the server spoke, or hung up, before the request")

    def close(self) -> None:
        """Close it, whatever state it is in."""
        if self.stream:
            self.stream.close()
            self.stream = None
        super().close()

    def is_quiet(self) -> bool:
        """Return whether the server has neither sent anything nor hung up since the last answer."""
        try:
            return self.stream is not None and self.stream.unread() is None
        except OSError:
            return False

    def exchange(self, head: bytes, body: bytes, deadline: float, reader: AnswerReader) -> tuple[Answer, bool]:
        """Send a request and read its answer; also return whether the connection can be used again.

        Raises:
            OSError: TimeoutError at the deadline, a monotonic time.
            InvalidAnswer
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
        except OSError:  # the server has reset it, after its answer
            surplus = b""
        if surplus:
            raise InvalidAnswer("octets after the answer")
        is_reusable = is_sent and surplus is None and not reader.is_last
        return Answer(reader.status, reader.headers, reader.content), is_reusable

    @staticmethod
    def _send(stream: Stream, head: bytes, body: bytes, deadline: float, reader: AnswerReader) -> bool:
        """Send a request, until all of it is sent, or the server answers or hangs up; return whether it is all sent.

        What is received meanwhile goes to the reader. Interim answers, as to the head (103) or to what comes with
        `Expect` elsewhere (100), are none: the server waits for the rest.
        """
        try:
            for number, piece in enumerate(pieces(head, body)):
                while number and (early := stream.unread()) is not None:
                    reader.read(early)
                    if reader.is_begun:
                        return False
                stream.send(piece, deadline - monotonic())
        except (ConnectionError, ssl.SSLError):  # it may have answered before it hung up
            return False
        return True


class TLSApiConnection(ApiConnection, HTTPSConnection):
    """The same over TLS."""


def pieces(head: bytes, body: bytes) -> Iterator[bytes | memoryview]:
    """Yield a request in the pieces that it is sent in: one where head and body are small enough to be put together."""
    if len(head) + len(body) <= ONE_WRITE_BYTES:
        yield head + body
        return
    yield head
    for at in range(0, len(body), PIECE_BYTES):
        yield memoryview(body)[at : at + PIECE_BYTES]
