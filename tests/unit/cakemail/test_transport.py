"""Exchanges with an API at a socket: its connections, which are used again or not, and the time that all may take."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import gevent
import pytest

from smtpgw.cakemail.transport import Adapter, ApiConnection, ClosedMeanwhile, NotAnswered, NotSent, Transport
from smtpgw.sandbox.certificate import write_pair
from tests.support.raw_api import RawApi, Request, http

PLAIN = b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n" + b'{"id": "abc"}'
LARGE = b"x" * 30_000_000


def transport_to(url: str, connect_seconds: float = 1, idle_seconds: float = 55) -> Transport:
    return Transport(url, 2, connect_seconds, idle_seconds)


def adapter(transport: Transport) -> Adapter:
    found = transport.session.get_adapter(transport.url)
    assert isinstance(found, Adapter)
    return found


@contextmanager
def server(*answers: bytes, wait_seconds: float = 0) -> Iterator[tuple[str, list[bytes]]]:
    """A server that gives these answers, one a request, on connections that stay open; and the requests it got."""
    listener = socket.create_server(("127.0.0.1", 0))
    requests: list[bytes] = []
    connections: list[socket.socket] = []
    waiting = list(answers)

    def serve(connection: socket.socket) -> None:
        while waiting and (request := connection.recv(1 << 20)):
            requests.append(request)
            gevent.sleep(wait_seconds)
            connection.sendall(waiting.pop(0))

    def accept() -> None:
        while True:
            connection, _ = listener.accept()
            connections.append(connection)
            gevent.spawn(serve, connection)

    acceptor = gevent.spawn(accept)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", requests
    finally:
        acceptor.kill()
        for open_socket in (listener, *connections):
            open_socket.close()


@pytest.fixture(params=["plain", "tls"])
def api(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[RawApi]:
    """An API that is trusted, in clear and over TLS."""
    pair = write_pair(tmp_path_factory.mktemp("api"))
    monkeypatch.setenv("SSL_CERT_FILE", str(pair[0]))
    with RawApi(pair if request.param == "tls" else None) as served:
        yield served


def get(transport: Transport, seconds: float = 5) -> bytes:
    return transport.exchange("GET", "/lists", {}, b"", seconds).content


# --- A request


def test_the_request_is_one_packet_with_its_length() -> None:
    with server(PLAIN) as (url, requests):
        transport = transport_to(url)
        transport.exchange("POST", "/v2/emails?account_id=3", {"Authorization": "Bearer t"}, b'{"a": 1}', 5)
        host = url.removeprefix("http://").encode()
        assert requests == [
            b"POST /v2/emails?account_id=3 HTTP/1.1\r\nHost: " + host + b"\r\nAuthorization: Bearer t\r\n"
            b'Content-Length: 8\r\n\r\n{"a": 1}'
        ]
        transport.close()


@pytest.mark.parametrize(
    ("url", "host", "port", "authority"),
    [
        ("https://api.example", "api.example", 443, "api.example"),
        ("https://api.example:443", "api.example", 443, "api.example"),
        ("https://api.example:8443", "api.example", 8443, "api.example:8443"),
        ("http://api.example:443", "api.example", 443, "api.example:443"),
        ("http://[::1]", "::1", 80, "[::1]"),
        ("http://[::1]:8080", "::1", 8080, "[::1]:8080"),
    ],
)
def test_the_host_field_has_the_port_where_it_is_not_the_usual_one(
    url: str, host: str, port: int, authority: str
) -> None:
    found = adapter(transport_to(url))
    assert (found.host, found.port, found.authority) == (host, port, authority)


def test_a_header_with_a_line_end_sends_nothing() -> None:
    with server(PLAIN) as (url, requests):
        transport = transport_to(url)
        with pytest.raises(ValueError, match="line end"):
            transport.exchange("GET", "/", {"Authorization": "Bearer x\r\nX-Injected: 1"}, b"", 5)
        assert not requests
        transport.close()


def test_a_redirect_is_an_answer_and_not_followed() -> None:
    with server(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n") as (url, _):
        transport = transport_to(url)
        assert transport.exchange("POST", "/token", {}, b"password=x", 5).status_code == 302
        transport.close()


# --- Which connections are used again


def test_a_connection_is_used_again(api: RawApi) -> None:
    transport = transport_to(api.url)
    for _ in range(5):
        assert get(transport)
    assert api.accepted == 1
    transport.close()


def test_it_is_used_again_after_chunks_interim_answers_and_no_content(api: RawApi) -> None:
    transport = transport_to(api.url)
    chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
    for answer in (chunks, b"HTTP/1.1 103 E\r\n\r\n" + PLAIN, b"HTTP/1.1 204 No\r\n\r\n"):
        api.answers["/lists"] = lambda request, answer=answer: answer  # type: ignore[misc]
        get(transport)
    assert api.accepted == 1
    transport.close()


def test_a_connection_the_server_has_closed_is_not_used(api: RawApi) -> None:
    api.answers["/lists"] = lambda request: http({}, Connection="close")
    transport = transport_to(api.url)
    for _ in range(3):
        get(transport)
    assert api.accepted == 3
    transport.close()


def test_one_that_has_been_idle_for_long_is_not_used_but_closed(api: RawApi) -> None:
    transport = transport_to(api.url, idle_seconds=0.3)
    get(transport)
    get(transport)
    assert api.accepted == 1
    gevent.sleep(0.4)
    get(transport)
    assert api.accepted == 2
    gevent.sleep(0.05)
    assert len(api.connections) == 1, "the old one is closed"
    transport.close()


def test_those_that_a_peak_has_left_are_closed_while_others_are_used(api: RawApi) -> None:
    def slow(request: Request) -> bytes:
        gevent.sleep(0.05)
        return http({})

    api.answers["/lists"] = slow
    transport = Transport(api.url, 20, 1, 0.3)
    gevent.joinall([gevent.spawn(get, transport) for _ in range(20)])
    assert len(adapter(transport).idle) == 20
    for _ in range(8):
        get(transport)
    assert len(adapter(transport).idle) == 1
    transport.close()


def test_it_may_never_be_used_again(api: RawApi) -> None:
    transport = transport_to(api.url, idle_seconds=0)
    for _ in range(3):
        get(transport)
        gevent.sleep(0.001)
    assert api.accepted == 3
    transport.close()


def test_the_kernel_looks_after_a_connection(api: RawApi) -> None:
    transport = transport_to(api.url)
    get(transport)
    (connection,) = adapter(transport).idle
    assert isinstance(connection, ApiConnection)
    assert connection.sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    assert connection.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) <= 30
    assert connection.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
    transport.close()


def test_what_comes_while_a_connection_is_idle_is_nobodys_answer(api: RawApi) -> None:
    transport = transport_to(api.url)
    connections: list[socket.socket] = []

    def remember(request: Request) -> bytes:
        connections.append(request.connection)
        return http("own")

    api.answers["/lists"] = remember
    for unasked in (http("nobody's"), b"\r\n", b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"):
        assert get(transport) == b'"own"'
        connections[-1].sendall(unasked)
        gevent.sleep(0.02)
        assert get(transport) == b'"own"'
    transport.close()


def test_octets_in_the_tls_layer_are_seen(api: RawApi) -> None:
    """Where part of a record is read, the kernel has nothing to tell of the rest."""
    transport = transport_to(api.url)
    get(transport)
    (connection,) = adapter(transport).idle
    (theirs,) = api.connections
    assert connection.is_quiet()
    theirs.sendall(b"abc")
    gevent.sleep(0.02)
    assert connection.stream
    assert connection.stream.receive_now(1) == b"a"
    assert not connection.is_quiet()
    transport.close()


# --- The server closes a connection just as the next request is on its way


def closing_instead(api: RawApi, first: int) -> None:
    """Answer so many requests to /lists; then read one and close the connection instead, and answer again."""

    def answer(request: Request) -> bytes | None:
        return None if api.calls["/lists"] == first + 1 else http({})

    api.answers["/lists"] = answer


def test_one_that_ends_after_it_was_idle_is_told_from_others(api: RawApi) -> None:
    closing_instead(api, first=0)
    transport = transport_to(api.url)
    with pytest.raises(NotAnswered) as problem:
        get(transport)
    assert not isinstance(problem.value, ClosedMeanwhile), "it was new, so the server has read its request"
    closing_instead(api, first=api.calls["/lists"] + 1)
    get(transport)
    with pytest.raises(ClosedMeanwhile):
        get(transport)
    assert not adapter(transport).idle, "the others have been idle for longer"
    transport.close()


def test_a_late_answer_is_no_closed_connection(api: RawApi) -> None:
    transport = transport_to(api.url)
    get(transport)
    api.answers["/lists"] = lambda request: gevent.sleep(3)
    with pytest.raises(NotAnswered) as problem:
        get(transport, seconds=0.1)
    assert not isinstance(problem.value, ClosedMeanwhile)
    transport.close()


def test_what_the_server_says_of_its_wait_is_believed(api: RawApi) -> None:
    api.answers["/lists"] = lambda request: http({}, Keep_Alive="timeout=1, max=100")
    transport = transport_to(api.url)
    get(transport)
    get(transport)
    assert api.accepted == 1
    gevent.sleep(0.9)
    get(transport)
    assert api.accepted == 2
    transport.close()


def test_the_wait_of_a_server_that_closes_is_learnt(api: RawApi) -> None:
    transport = transport_to(api.url)
    get(transport)
    adapter(transport).idle[0].idle_since -= 10
    api.close_connections()
    gevent.sleep(0.01)
    get(transport)
    assert api.accepted == 2
    adapter(transport).idle[0].idle_since -= 9  # less than 10, and not so much less that it may not be closed just now
    get(transport)
    assert api.accepted == 3
    adapter(transport).idle[0].idle_since -= 5
    get(transport)
    assert api.accepted == 3
    transport.close()


def test_a_server_that_speaks_before_the_request_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    heard: list[bytes] = []

    def serve() -> None:
        client, _ = listener.accept()
        client.sendall(PLAIN)
        heard.append(client.recv(1024))

    serving = gevent.spawn(serve)
    connect = ApiConnection.connect

    def connect_slowly(self: ApiConnection) -> None:
        connect(self)
        gevent.sleep(0.1)

    monkeypatch.setattr(ApiConnection, "connect", connect_slowly)
    transport = transport_to(f"http://127.0.0.1:{listener.getsockname()[1]}")
    with pytest.raises(NotSent):
        transport.exchange("POST", "/v2/emails", {}, b"{}", 5)
    serving.join()
    assert heard == [b""]
    listener.close()


# --- What is no connection, and no answer


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    transport = transport_to(f"http://127.0.0.1:{port}")
    with pytest.raises(NotSent):
        get(transport)
    transport.close()


def test_no_tls_at_the_other_end_is_told_from_a_lost_answer() -> None:
    with server(b"220 no TLS here\r\n") as (url, _):
        transport = transport_to(url.replace("http:", "https:"))
        with pytest.raises(NotSent):
            get(transport)
        transport.close()


def test_a_handshake_has_the_connections_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:  # the kernel accepts; nobody speaks
        transport = transport_to(f"https://127.0.0.1:{listener.getsockname()[1]}", connect_seconds=0.2)
        with pytest.raises(NotSent):
            get(transport)
        transport.close()


def test_an_answer_that_does_not_come_in_time(api: RawApi) -> None:
    api.answers["/lists"] = lambda request: gevent.sleep(5)  # type: ignore[func-returns-value]
    transport = transport_to(api.url)
    with pytest.raises(NotAnswered):
        get(transport, 0.2)
    transport.close()


def test_a_late_answer_is_never_taken_for_the_next_one() -> None:
    with server(PLAIN.replace(b"abc", b"old"), PLAIN, wait_seconds=1.2) as (url, _):
        transport = transport_to(url)
        with pytest.raises(NotAnswered):
            get(transport, 0.2)
        assert b"abc" in get(transport)
        transport.close()


def test_an_exchange_that_is_killed_leaves_its_connection_to_nobody() -> None:
    with server(PLAIN.replace(b"abc", b"old"), PLAIN, wait_seconds=0.2) as (url, _):
        transport = transport_to(url)
        killed = gevent.spawn(get, transport)
        gevent.sleep(0.1)
        killed.kill()
        assert b"abc" in get(transport)
        transport.close()


# --- An answer before the request was sent whole


@contextmanager
def answers_early(answer: bytes, *, closes: bool, reads: bool) -> Iterator[str]:
    """A server that answers to the beginning of a request."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        client, _ = listener.accept()
        client.recv(1024)
        client.sendall(answer)
        if closes:
            client.shutdown(socket.SHUT_WR)
        while reads and client.recv(1 << 16):
            gevent.sleep(0.005)
        gevent.sleep(0.2)
        client.close()  # perhaps with octets unread: a reset for who still writes

    serving = gevent.spawn(serve)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        serving.kill()
        listener.close()


@pytest.mark.parametrize("closes", [True, False])
@pytest.mark.parametrize("reads", [True, False])
def test_an_early_refusal_is_heard_and_ends_the_connection(closes: bool, reads: bool) -> None:
    answer = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n"
    with answers_early(answer, closes=closes, reads=reads) as url:
        transport = transport_to(url)
        assert transport.exchange("POST", "/v2/emails", {}, LARGE, 10).status_code == 413
        assert not adapter(transport).idle
        transport.close()


@pytest.mark.parametrize("reads", [True, False])
def test_an_early_acceptance_is_none(reads: bool) -> None:
    with answers_early(PLAIN, closes=True, reads=reads) as url:
        transport = transport_to(url)
        with pytest.raises(NotAnswered):
            transport.exchange("POST", "/v2/emails", {}, LARGE, 10)
        assert not adapter(transport).idle
        transport.close()


@pytest.mark.parametrize("status", [100, 102, 103])
def test_an_interim_answer_to_the_head_does_not_end_the_request(status: int) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    received: list[int] = []

    def serve() -> None:
        client, _ = listener.accept()
        count = len(client.recv(1024))
        client.sendall(f"HTTP/1.1 {status} Wait\r\n\r\n".encode())
        while count < len(LARGE):  # and the head
            count += len(client.recv(1 << 20))
        received.append(count)
        client.sendall(PLAIN)
        client.recv(1024)

    serving = gevent.spawn(serve)
    transport = transport_to(f"http://127.0.0.1:{listener.getsockname()[1]}")
    assert transport.exchange("POST", "/v2/emails", {}, LARGE, 5).status_code == 201
    assert received[0] >= len(LARGE)
    transport.close()
    serving.kill()
    listener.close()


# --- What is endless


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 ",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n",
    ],
    ids=repr,
)
def test_an_endless_answer_is_given_up_and_stops_nobody(api: RawApi, head: bytes) -> None:
    """Whatever flows is bounded in octets."""
    sent = 0

    def flood(request: Request) -> None:
        nonlocal sent
        request.connection.sendall(head)
        while sent < 200_000_000:
            request.connection.sendall(b"x" * 65536)
            sent += 65536

    api.answers["/lists"] = flood
    transport = transport_to(api.url)
    began = monotonic()
    with pytest.raises(NotAnswered):
        get(transport, 30)
    assert monotonic() - began < 10
    assert sent < 50_000_000, "more than the kernel's buffers hold was sent, and read"
    transport.close()


def test_the_deadline_is_looked_at_although_something_is_always_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream that has an octet for each read, of an answer that is long enough for a million reads."""
    with server(PLAIN) as (url, _):
        transport = transport_to(url)
        get(transport)
        (connection,) = adapter(transport).idle
        assert connection.stream
        turns = 0

        def other() -> None:
            nonlocal turns
            while True:
                turns += 1
                gevent.sleep(0)

        octets = iter(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1_000_000)
        monkeypatch.setattr("smtpgw.net.stream.Stream.receive_now", lambda self, most: bytes([next(octets)]))
        monkeypatch.setattr("smtpgw.net.stream.Stream.unread", lambda self: None)
        counting = gevent.spawn(other)
        began = monotonic()
        with pytest.raises(NotAnswered, match="too long"):
            get(transport, 0.3)
        assert 0.2 < monotonic() - began < 3
        assert turns > 10, "the others have had their turns"
        counting.kill()
        transport.close()


def test_a_slow_answer_has_one_deadline_for_all_of_it(api: RawApi) -> None:
    def drip(request: Request) -> None:
        for octet in PLAIN:
            request.connection.sendall(bytes([octet]))
            gevent.sleep(0.05)

    api.answers["/lists"] = drip
    transport = transport_to(api.url)
    began = monotonic()
    with pytest.raises(NotAnswered):
        get(transport, 0.3)
    assert monotonic() - began < 2
    transport.close()


def test_a_slow_reader_has_one_deadline_for_all_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over TLS, where each record could have its own."""
    pair = write_pair(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(pair[0]))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*map(str, pair))
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)

    def serve() -> None:
        client = context.wrap_socket(listener.accept()[0], server_side=True)
        while client.recv(100_000):
            gevent.sleep(0.05)

    serving = gevent.spawn(serve)
    transport = transport_to(f"https://127.0.0.1:{listener.getsockname()[1]}")
    began = monotonic()
    with pytest.raises(NotAnswered):
        transport.exchange("POST", "/v2/emails", {}, LARGE, 1)
    assert monotonic() - began < 4
    serving.kill()
    transport.close()
    listener.close()
