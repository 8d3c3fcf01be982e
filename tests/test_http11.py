"""Answers of the API at the socket: the quick reader and the standard library's see the same in the same octets."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

import gevent
import pytest
from hypothesis import given
from hypothesis import strategies as st
from urllib3.exceptions import HTTPError, NewConnectionError, ProtocolError

from smtpgw import http11
from smtpgw.http11 import Exchange, quick_head
from smtpgw.stream import Stream
from smtpgw.transport import NotAnswered, NotSent, Transport

PLAIN = b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n" + b'{"id": "abc"}'


def connected(octets: bytes, *, leave_open: bool = False, step: int = 1 << 20) -> tuple[Exchange, socket.socket]:
    """A connection on which this answer is, or will be in pieces."""
    ours, theirs = socket.socketpair()

    def answer() -> None:
        for at in range(0, len(octets), step):
            theirs.sendall(octets[at : at + step])
            gevent.sleep(0)
        if not leave_open:
            theirs.close()

    exchange = Exchange("api.example", timeout=5)
    exchange.sock, exchange.stream = ours, Stream(ours)
    gevent.spawn(answer)
    return exchange, theirs


def outcome(exchange: Exchange, *, quick: bool) -> tuple[int, dict[str, str], bytes] | str:
    try:
        answer = exchange.getresponse() if quick else exchange.standard(b"", monotonic() + 5)
    except (HTTPError, OSError) as problem:
        return type(problem).__name__
    finally:
        exchange.close()
    # The standard library leaves the white space after a value (against RFC 9112 §5.1).
    return answer.status, {name.lower(): value.strip() for name, value in answer.headers.items()}, answer.data


ANSWERS = {
    "plain": PLAIN,
    "no fields but length": b"HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\n{}",
    "empty body": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "chunks": b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"a":\r\n3\r\n 1}\r\n0\r\n\r\n',
    "until it closes": b"HTTP/1.1 502 Bad Gateway\r\nConnection: close\r\n\r\n<html>oops</html>",
    "a line of information first": b"HTTP/1.1 100 Continue\r\n\r\n" + PLAIN,
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    "a folded field": b"HTTP/1.1 200 OK\r\nX-Long: a\r\n b\r\nContent-Length: 2\r\n\r\n{}",
    "no content": b"HTTP/1.1 204 No Content\r\n\r\n",
    "spaces about a value": b"HTTP/1.1 200 OK\r\nContent-Length:   2  \r\nRetry-After: \t7\r\n\r\n{}",
    "LATIN-1 in a value": b"HTTP/1.1 400 Bad\r\nX-Reason: refus\xe9\r\nContent-Length: 2\r\n\r\n{}",
    "connection close": b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}",
    "bare LF": b"HTTP/1.1 200 OK\nContent-Length: 2\n\n{}",
    "a long body": b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + b"x" * 300_000,
}


@pytest.mark.parametrize("step", [1 << 20, 7], ids=["whole", "in pieces"])
@pytest.mark.parametrize("name", ANSWERS)
def test_both_readers_see_the_same(name: str, step: int) -> None:
    octets = ANSWERS[name] if step > 7 or len(ANSWERS[name]) < 1000 else ANSWERS[name][:900]
    found = [outcome(connected(octets, step=step)[0], quick=quick) for quick in (True, False)]
    if isinstance(found[0], str) or isinstance(found[1], str):
        assert all(isinstance(one, str) for one in found), found
    else:
        assert found[0] == found[1]


def test_the_plain_kind_takes_the_quick_way() -> None:
    assert quick_head(PLAIN) == (201, {"content-type": "application/json", "content-length": "13"}, 13, len(PLAIN) - 13)


field_names = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=12)
field_values = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30)


@given(
    status=st.integers(200, 599),
    reason=field_values,
    fields=st.dictionaries(field_names, field_values, max_size=6),
    body=st.binary(max_size=200),
)
def test_generated_answers(status: int, reason: str, fields: dict[str, str], body: bytes) -> None:
    fields = {n: v.strip() for n, v in fields.items() if n not in ("transfer-encoding", "connection", "content-length")}
    head = [f"HTTP/1.1 {status} {reason}", *(f"{n}: {v}" for n, v in fields.items()), f"Content-Length: {len(body)}"]
    octets = "\r\n".join([*head, "\r\n"]).encode() + body
    quick, standard = (outcome(connected(octets)[0], quick=quick) for quick in (True, False))
    assert quick == standard


@given(st.binary(max_size=300))
def test_any_octets_are_an_answer_or_a_protocol_error(octets: bytes) -> None:
    for prefix in (b"", b"HTTP/1.1 200 OK\r\n", PLAIN[:60]):
        found = outcome(connected(prefix + octets)[0], quick=True)
        assert not isinstance(found, str) or found in ("ProtocolError", "TimeoutError"), found


@pytest.mark.parametrize("cut", range(0, len(PLAIN), 5))
def test_an_answer_that_breaks_off_is_none(cut: int) -> None:
    exchange, _ = connected(PLAIN[:cut])
    with pytest.raises(ProtocolError):
        exchange.getresponse()
    exchange.close()


def test_more_than_the_answer_closes_the_connection() -> None:
    exchange, theirs = connected(PLAIN + b"HTTP/1.1 200 OK\r\n", leave_open=True)
    assert exchange.getresponse().status == 201
    assert exchange.sock is None
    theirs.close()


def test_a_slow_answer_has_one_deadline_for_all_of_it() -> None:
    exchange, theirs = connected(PLAIN[:-1], leave_open=True)
    exchange.timeout = 0.2
    with pytest.raises(TimeoutError):
        exchange.getresponse()
    exchange.close()
    theirs.close()


def test_the_request_is_one_packet_with_its_length() -> None:
    ours, theirs = socket.socketpair()
    exchange = Exchange("api.example", port=8080, timeout=5)
    exchange.sock, exchange.stream = ours, Stream(ours)
    exchange.request("POST", "/v2/emails?account_id=3", b'{"a": 1}', {"Authorization": "Bearer t"})
    assert theirs.recv(65536) == (
        b"POST /v2/emails?account_id=3 HTTP/1.1\r\nHost: api.example:8080\r\nAuthorization: Bearer t\r\n"
        b'Content-Length: 8\r\n\r\n{"a": 1}'
    )
    exchange.close()
    theirs.close()


def test_a_line_end_in_a_header_of_ours_is_never_sent() -> None:
    ours, theirs = socket.socketpair()
    exchange = Exchange("api.example", timeout=5)
    exchange.sock, exchange.stream = ours, Stream(ours)
    with pytest.raises(AssertionError):
        exchange.request("GET", "/", b"", {"Authorization": "Bearer x\r\nX-Injected: 1"})
    exchange.close()
    assert theirs.recv(100) == b""
    theirs.close()


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


def test_a_connection_is_used_again() -> None:
    with server(PLAIN, PLAIN) as (url, requests):
        transport = Transport(url, 2, 1)
        for _ in range(2):
            answer = transport.exchange("GET", "/lists", {}, b"", 5)
            assert (answer.status, answer.content) == (201, b'{"id": "abc"}')
        assert transport.session.get_adapter(url).pool.num_connections == 1  # type: ignore[attr-defined]
        assert len(requests) == 2
        transport.close()


def test_a_connection_the_server_has_closed_is_not_used() -> None:
    closing = PLAIN.replace(b"Content-Length", b"Connection: close\r\nContent-Length")
    with server(closing, PLAIN) as (url, _):
        transport = Transport(url, 2, 1)
        assert transport.exchange("GET", "/", {}, b"", 5).status == 201
        assert transport.exchange("GET", "/", {}, b"", 5).status == 201
        transport.close()


def test_a_redirect_is_an_answer_and_not_followed() -> None:
    with server(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n") as (url, _):
        transport = Transport(url, 2, 1)
        assert transport.exchange("POST", "/token", {}, b"password=x", 5).status == 302
        transport.close()


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    transport = Transport(f"http://127.0.0.1:{port}", 2, 1)
    with pytest.raises(NotSent):
        transport.exchange("GET", "/", {}, b"", 5)
    transport.close()


def test_no_tls_at_the_other_end_is_told_from_a_lost_answer() -> None:
    with server(b"220 no TLS here\r\n") as (url, _):
        transport = Transport(url.replace("http:", "https:"), 2, 1)
        with pytest.raises(NotSent):
            transport.exchange("GET", "/", {}, b"", 5)
        transport.close()


def test_an_answer_that_does_not_come_in_time() -> None:
    with server(PLAIN, wait_seconds=5) as (url, _):
        transport = Transport(url, 2, 1)
        with pytest.raises(NotAnswered):
            transport.exchange("GET", "/", {}, b"", 0.2)
        transport.close()


def test_a_handshake_has_the_connections_deadline() -> None:
    listener = socket.create_server(("127.0.0.1", 0))  # the kernel accepts; nobody speaks
    exchange = http11.Exchange("127.0.0.1", port=1, timeout=0.2)
    exchange.port = 1
    transport = Transport(f"https://127.0.0.1:{listener.getsockname()[1]}", 2, 0.2)
    with pytest.raises(NotSent):
        transport.exchange("GET", "/", {}, b"", 5)
    with pytest.raises(NewConnectionError):
        exchange.connect()
    transport.close()
    listener.close()


def test_a_late_answer_is_never_taken_for_the_next_one() -> None:
    with server(PLAIN.replace(b"abc", b"old"), PLAIN, wait_seconds=0.4) as (url, _):
        transport = Transport(url, 2, 1)
        with pytest.raises(NotAnswered):
            transport.exchange("GET", "/", {}, b"", 0.2)
        assert b"abc" in transport.exchange("GET", "/", {}, b"", 5).content
        transport.close()


def test_an_exchange_that_is_killed_leaves_its_connection_to_nobody() -> None:
    with server(PLAIN.replace(b"abc", b"old"), PLAIN, wait_seconds=0.2) as (url, _):
        transport = Transport(url, 2, 1)
        killed = gevent.spawn(transport.exchange, "GET", "/", {}, b"", 5)
        gevent.sleep(0.1)
        killed.kill()
        assert b"abc" in transport.exchange("GET", "/", {}, b"", 5).content
        transport.close()


def test_an_answer_before_the_whole_request_was_taken_is_heard() -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def refuse() -> None:
        client, _ = listener.accept()
        client.sendall(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")
        client.shutdown(socket.SHUT_WR)
        client.recv(1024)
        gevent.sleep(0.2)
        client.close()  # with octets unread: a reset for who still writes

    gevent.spawn(refuse)
    transport = Transport(f"http://127.0.0.1:{listener.getsockname()[1]}", 2, 1)
    assert transport.exchange("POST", "/v2/emails", {}, b"x" * 30_000_000, 5).status == 413
    transport.close()
    listener.close()
