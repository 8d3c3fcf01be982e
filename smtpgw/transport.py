"""HTTP with Cakemail's API: one exchange, on a connection of the pool. The only importer of `requests` and `urllib3`.

`requests.Session` by its public doors, less what an API client has no use for: a request is made once and not prepared
anew by merging settings, cookies, proxies and `.netrc` (which would replace our Authorization header), and it is sent
by an adapter of our own on one urllib3 pool. Measured at 4 KB, one recipient, CPU a message of the whole gateway:
1.0 ms by `Session.request`, 0.75 ms so, and 4 % less since the pool's `urlopen` knows no proxies, redirects and
retries either.
"""

import ssl
from collections.abc import Iterator, Mapping
from contextlib import suppress
from select import POLLIN
from time import monotonic
from typing import Any, NamedTuple

import certifi
import requests
from gevent import monkey
from requests.adapters import BaseAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPSConnection
from urllib3.exceptions import HTTPError, NewConnectionError, ProtocolError
from urllib3.util import parse_url

from smtpgw.http11 import Exchange, Received

NO_HOOKS: dict[str, list[Any]] = {"response": []}
poll = monkey.get_original("select", "poll")  # gevent's makes watchers to ask what the kernel can say at once


class NotSent(Exception):
    """No connection came about, in its TLS handshake perhaps: nobody can have read the request."""


class NotAnswered(Exception):
    """The request was sent, or may have been, and no whole answer came."""


class Answer(NamedTuple):
    """What came back. Names of headers are lower case."""

    status: int
    headers: Mapping[str, str]
    content: bytes


class Transport:
    """A session with the server at one address, for many greenlets at a time."""

    def __init__(self, url: str, connections: int, connect_timeout_seconds: float) -> None:
        self.url = url
        self.session = Session()
        self.session.mount(url, Adapter(url, connections, connect_timeout_seconds))

    def exchange(self, method: str, target: str, headers: dict[str, str], body: bytes, seconds: float) -> Answer:
        """Send a request and read its answer, all within this time.

        Raises:
            NotSent
            NotAnswered
        """
        request = requests.PreparedRequest()
        request.method, request.url, request.body, request.hooks = method, self.url + target, body, NO_HOOKS
        request.headers = headers  # type: ignore[assignment]  # each once, so a plain dictionary does
        try:
            answer = self.session.send(
                request,
                timeout=seconds,
                proxies={},
                verify=True,
                cert=None,
                stream=False,
                allow_redirects=False,
            )
        except NewConnectionError as problem:
            raise NotSent(str(problem)) from problem
        except (HTTPError, requests.RequestException) as problem:
            raise NotAnswered(type(problem).__name__) from problem
        return Answer(answer.status_code, answer.headers, answer.content)

    def close(self) -> None:
        self.session.close()


class Session(requests.Session):
    """requests' session, which follows no redirect, with a token least of all."""

    def resolve_redirects(self, *_: object, **__: object) -> Iterator[requests.Response]:
        """None, not even the next one: to find out that there is none is 5 µs."""
        return iter(())


class Adapter(BaseAdapter):
    """Takes requests' requests to one urllib3 pool and makes its answers requests' responses."""

    def __init__(self, url: str, connections: int, connect_seconds: float) -> None:
        super().__init__()
        parts = parse_url(url)
        assert parts.host
        self.prefix = f"{parts.scheme}://{parts.netloc}"
        self.pool: Pool
        if parts.scheme == "https":
            # One context for all connections: to read the authorities' certificates takes 30 ms.
            context = ssl.create_default_context()
            context.load_verify_locations(certifi.where())
            self.pool = TLSPool(
                parts.host, parts.port, maxsize=connections, ssl_context=context, connect_seconds=connect_seconds
            )
        else:
            self.pool = Pool(parts.host, parts.port, maxsize=connections, connect_seconds=connect_seconds)

    def send(  # type: ignore[override]  # the rest is of no use to one server
        self, request: requests.PreparedRequest, timeout: float, **_: object
    ) -> requests.Response:
        assert request.method
        assert request.url
        target = request.url[len(self.prefix) :]
        found = self.pool.urlopen(request.method, target, request.body, request.headers, timeout)
        return Whole(found.status, found.headers, found.data)

    def close(self) -> None:
        self.pool.close()


class Whole(requests.Response):
    """An answer that has been read. requests makes each a cookie jar and a dictionary of headers: 8 µs."""

    raw = None
    history: list[requests.Response] = []  # noqa: RUF012  never changed: no redirect is followed

    def __init__(self, status: int, headers: Any, content: bytes) -> None:
        self.status_code = status
        self.headers = headers
        self._content = content
        self._content_consumed = True


class Connection(Exchange):
    """A connection that is cheap to look at."""

    @property
    def is_connected(self) -> bool:
        """Whether it can take a request: what is readable before one is the server's goodbye."""
        if self.sock is None:
            return False
        waiting = poll()
        waiting.register(self.sock, POLLIN)
        return not waiting.poll(0)


class TLSConnection(Connection, HTTPSConnection):
    """The same over TLS."""


class Pool(HTTPConnectionPool):
    """The connections with one server."""

    ConnectionCls = Connection  # type: ignore[assignment]  # less than urllib3 offers

    def urlopen(  # type: ignore[override]  # so is this
        self, method: str, target: str, body: Any, headers: Any, seconds: float
    ) -> Received:
        """Send a request and read its answer, all within this time.

        Raises:
            HTTPError: NewConnectionError where nobody can have read the request.
        """
        deadline = monotonic() + seconds
        connection: Any = self._get_conn()
        is_well = False
        try:
            connection.timeout = seconds
            with suppress(BrokenPipeError, ConnectionResetError):  # it may have answered before it hung up
                connection.request(method, target, body, headers)
            connection.timeout = deadline - monotonic()
            answer: Received = connection.getresponse()
            is_well = True
        except OSError as problem:
            raise ProtocolError(f"{type(problem).__name__}: {problem}") from problem
        else:
            return answer
        finally:
            if not is_well:  # for whatever reason: what is still to come on it answers nobody's request
                connection.close()
            self._put_conn(connection)


class TLSPool(Pool, HTTPSConnectionPool):
    """The same over TLS."""

    ConnectionCls = TLSConnection  # type: ignore[assignment]
