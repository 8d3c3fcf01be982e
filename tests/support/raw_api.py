"""An API of Cakemail's kind in this process, at a plain socket: for what no web server would do, or not on demand.

It knows one account with one sender and one list, and accepts every email. A test replaces the answer to a path by a
function of its own, which may also do something to the connection; it can go away and come back at the same address.
"""

import contextlib
import json
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import gevent

RECEIVE_BYTES = 64 * 1024


class Request(NamedTuple):
    """What a client has asked for, and the connection that it did so on."""

    path: str
    body: bytes
    connection: socket.socket
    fields: dict[str, str]  # of the header, in lower case


Answer = Callable[[Request], bytes | None]  # octets to send; None where the connection ends


def http(body: object, status: int = 200, **headers: str) -> bytes:
    """An answer, its body as JSON, or as it is where it is octets."""
    octets = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} Status\r\n{fields}Content-Length: {len(octets)}\r\n\r\n".encode() + octets


TOKEN = {"access_token": "a", "refresh_token": "r", "expires_in": 3600, "accounts": [1]}
SENDERS = {
    "pagination": {"page": 1, "per_page": 100},
    "data": [{"id": "s", "email": "sender@cakemail.example", "confirmed": True}],
}
QUEUED = {"data": {"id": "uuid", "status": "queued"}}
USUAL: dict[str, bytes] = {
    "/token": http(TOKEN),
    "/accounts/self": http({"data": {"id": "1"}}),
    "/brands/default/senders": http(SENDERS),
    "/lists": http({"pagination": {}, "data": [{"id": 2}]}),
    "/v2/emails": http(QUEUED, 201),
}


class RawApi:
    """A server on a free port of the loopback address; also a context manager."""

    def __init__(self, certificate: tuple[Path, Path] | None = None) -> None:
        self.answers: dict[str, Answer] = {}
        self.calls: Counter[str] = Counter()
        self.connections: set[socket.socket] = set()
        self.accepted = 0
        self.context: ssl.SSLContext | None = None
        if certificate:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(*map(str, certificate))
        self.port = 0
        self.start()

    @property
    def url(self) -> str:
        return f"{'https' if self.context else 'http'}://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listen, where it did before if it did."""
        self.listener = socket.create_server(("127.0.0.1", self.port), backlog=200)
        self.port = self.listener.getsockname()[1]
        self.acceptor = gevent.spawn(self._accept)

    def stop(self) -> None:
        """Go away: whoever connects is refused, whoever is connected is cut."""
        self.acceptor.kill()
        self.listener.close()
        self.close_connections()

    def close_connections(self) -> None:
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def _accept(self) -> None:
        while True:
            connection, _ = self.listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # what is sent by itself comes by itself
            self.accepted += 1
            gevent.spawn(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):  # the client has left, or does not trust us
            if self.context:
                connection = self.context.wrap_socket(connection, server_side=True)
            self.connections.add(connection)
            while request := read(connection):
                self.calls[request.path] += 1
                answer = self.answers.get(request.path, lambda request: USUAL[request.path])(request)
                if answer is None:
                    break
                connection.sendall(answer)
        self.connections.discard(connection)
        connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()


def read(connection: socket.socket) -> Request | None:
    """The next request; None when the client has closed the connection instead."""
    received = b""
    while b"\r\n\r\n" not in received:
        chunk = connection.recv(RECEIVE_BYTES)
        if not chunk:
            return None
        received += chunk
    head, _, body = received.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    fields: dict[str, str] = dict(line.lower().split(": ", 1) for line in lines[1:])
    length = int(fields.get("content-length", 0))
    while len(body) < length:
        chunk = connection.recv(RECEIVE_BYTES)
        if not chunk:
            return None
        body += chunk
    return Request(lines[0].split(" ")[1].partition("?")[0], body, connection, fields)
