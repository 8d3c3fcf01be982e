"""An API, or what stands before it, that sends what it should not: nobody ever gets an answer meant for another.

Each request has a number, and so has each answer: that of the request it was written for, or none. An exchange ends
with its own answer, or without one. HOSTILE_SEQUENCES is how many random sequences are tried, in clear and over TLS.
"""

import base64
import contextlib
import os
import socket
import struct
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import gevent
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smtpgw.cakemail.transport import NotAnswered, Transport
from smtpgw.sandbox.certificate import write_pair
from tests.support.gateway import PASSWORD, SENDER, USERNAME, Gateway
from tests.support.raw_api import QUEUED, TOKEN, RawApi, Request, http
from tests.support.recorder import settings as gateway_settings

SEQUENCES = int(os.environ.get("HOSTILE_SEQUENCES", "150"))
CUSTOMERS = 3
NOBODYS = b'{"for": "nobody"}'
EARLY = b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n"


def answer(body: bytes, *fields: bytes, status: int = 200, version: bytes = b"1.1") -> bytes:
    head = [b"HTTP/%b %d Status" % (version, status), b"Content-Length: %d" % len(body), *fields]
    return b"\r\n".join([*head, b"", body])


def chunked(body: bytes, trailer: bytes = b"") -> bytes:
    half = len(body) // 2
    parts = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:half], body[half:]) if part)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + parts + b"0\r\n" + trailer + b"\r\n"


def with_fields(body: bytes, *fields: bytes) -> bytes:
    return b"\r\n".join([b"HTTP/1.1 200 OK", *fields, b"", body])


NOBODYS_ANSWER = answer(NOBODYS)


class Kind(NamedTuple):
    """A way to answer. `write` makes the octets, in the writes they are sent with, of the body that is right."""

    write: Callable[[bytes], Sequence[bytes]]
    is_answer: bool  # it must be taken for one; otherwise it must not, or may be by its first write alone
    closes: bool = False


def octet_by_octet(body: bytes) -> Sequence[bytes]:
    return [bytes([octet]) for octet in answer(body)]


KINDS: dict[str, Kind] = {
    "plain": Kind(lambda body: [answer(body)], True),
    "chunks": Kind(lambda body: [chunked(body)], True),
    "chunks and a trailer": Kind(lambda body: [chunked(body, b"X-Sum: 1\r\n")], True),
    "head, then body": Kind(lambda body: [answer(body)[: -len(body)], body], True),
    "octet by octet": Kind(octet_by_octet, True),
    **{
        f"after {n}": Kind(lambda body, n=n: [b"HTTP/1.1 %d Wait\r\n\r\n" % n + answer(body)], True)  # type: ignore[misc]
        for n in (100, 102, 103, 104, 199)
    },
    "after 103 that came before": Kind(lambda body: [EARLY, answer(body)], True),
    "after several": Kind(lambda body: [EARLY * 3 + b"HTTP/1.1 100 Continue\r\n\r\n", EARLY + chunked(body)], True),
    "connection close": Kind(lambda body: [answer(body, b"Connection: close")], True, True),
    "closes without a word": Kind(lambda body: [answer(body)], True, True),
    "HTTP/1.0": Kind(lambda body: [answer(body, version=b"1.0")], True, True),
    "HTTP/1.0 that stays open": Kind(lambda body: [answer(body, version=b"1.0")], True),
    "until it closes": Kind(lambda body: [with_fields(body)], True, True),
    "connection close, and it stays open": Kind(lambda body: [answer(body, b"Connection: close")], True),
    "endless 103": Kind(lambda body: [EARLY * 1000], False),
    "101": Kind(lambda body: [b"HTTP/1.1 101 S\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n" + answer(body)], False),
    "two answers": Kind(lambda body: [answer(body) + NOBODYS_ANSWER], False),
    "another answer before": Kind(lambda body: [answer(body) * 2], False),
    "chunks and another answer": Kind(lambda body: [chunked(body) + NOBODYS_ANSWER], False),
    "an answer and 103": Kind(lambda body: [answer(body) + EARLY], False),
    "an answer and a line end": Kind(lambda body: [answer(body) + b"\r\n"], False),
    "an answer and half of one": Kind(lambda body: [answer(body) + NOBODYS_ANSWER[:30]], False),
    "204 and a body": Kind(lambda body: [b"HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n" + NOBODYS_ANSWER], False),
    "304 and a body": Kind(lambda body: [b"HTTP/1.1 304 No\r\n\r\n" + NOBODYS_ANSWER], False),
    "two answers in two writes": Kind(lambda body: [answer(body), NOBODYS_ANSWER], False),
    "chunks and another answer in two writes": Kind(lambda body: [chunked(body), NOBODYS_ANSWER], False),
    "a length twice": Kind(
        lambda body: [with_fields(body, b"Content-Length: %d" % len(body), b"Content-Length: %d" % len(body))], False
    ),
    "two lengths": Kind(
        lambda body: [
            with_fields(body + NOBODYS_ANSWER, b"Content-Length: %d" % len(body), b"Content-Length: %d" % 999)
        ],
        False,
    ),
    "a negative length": Kind(lambda body: [with_fields(body, b"Content-Length: -1") + NOBODYS_ANSWER], False),
    "a huge length": Kind(lambda body: [with_fields(body, b"Content-Length: 99999999999")], False, True),
    "a length and chunks": Kind(
        lambda body: [with_fields(b"0\r\n\r\n" + NOBODYS_ANSWER, b"Content-Length: 5", b"Transfer-Encoding: chunked")],
        False,
    ),
    "a folded field": Kind(lambda body: [answer(body, b"X-Long: a\r\n b")], False),
    "bare LF": Kind(lambda body: [answer(body).replace(b"\r\n", b"\n")], False),
    "a head of 1 MB": Kind(lambda body: [answer(body, b"X-Long: " + b"x" * 1_000_000)], False),
    "cut in the head": Kind(lambda body: [answer(body)[:25]], False, True),
    "cut in the body": Kind(lambda body: [answer(body)[:-1]], False, True),
    "cut in a chunk": Kind(lambda body: [chunked(body)[:-1]], False, True),
    "nothing": Kind(lambda body: [], False, True),
}  # fmt: skip


class HostileApi(RawApi):
    """Answers a request, whose body is the name of a kind and a number, in this way."""

    def __init__(self, certificate: tuple[Path, Path] | None = None) -> None:
        super().__init__(certificate)
        self.answers["/"] = self.answer_in_kind

    def answer_in_kind(self, request: Request) -> bytes | None:
        name, _, number = request.body.partition(b"|")
        kind = KINDS[name.decode()]
        for octets in kind.write(own_body(number)):
            request.connection.sendall(octets)
        return None if kind.closes else b""


def own_body(number: bytes) -> bytes:
    return b'{"for": "%b"}' % number


def trusted(certificate: Path) -> Iterator[None]:
    """Make clients of this process trust a certificate."""
    before = os.environ.get("SSL_CERT_FILE")
    os.environ["SSL_CERT_FILE"] = str(certificate)
    yield
    del os.environ["SSL_CERT_FILE"]
    if before is not None:
        os.environ["SSL_CERT_FILE"] = before


@pytest.fixture(scope="module", params=["plain", "tls"])
def api(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostileApi]:
    pair = write_pair(tmp_path_factory.mktemp("hostile"))
    with contextlib.contextmanager(trusted)(pair[0]), HostileApi(pair if request.param == "tls" else None) as served:
        yield served


@pytest.fixture(scope="module")
def transport(api: HostileApi) -> Iterator[Transport]:
    given = gateway_settings(CAKEMAIL_API_URL=api.url)
    made = Transport(given.api_url, 10, 3, given.api_idle_timeout_seconds)
    yield made
    made.close()


numbers = iter(range(10**9))


def exchange(transport: Transport, name: str) -> None:
    """Make a request that is answered in this way, and see that it has got its own answer, or none where it may."""
    number = b"%d" % next(numbers)
    try:
        content = transport.exchange("POST", "/", {}, name.encode() + b"|" + number, 10).content
    except NotAnswered:
        assert not KINDS[name].is_answer, "an answer was not taken for one"
        return
    # Of what is sent in two writes, the first may be all that has come when it is read.
    assert content == own_body(number), f"{name}: got {content!r}"
    assert KINDS[name].is_answer or "two writes" in name, "what is no answer was taken for one"


@pytest.mark.parametrize("name", KINDS)
def test_each_kind_and_what_comes_after_it(transport: Transport, name: str) -> None:
    exchange(transport, "plain")
    exchange(transport, name)
    exchange(transport, "plain")
    exchange(transport, name)
    exchange(transport, name)


kinds = st.sampled_from(sorted(KINDS))


@settings(max_examples=SEQUENCES, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(kinds, min_size=2, max_size=8))
def test_random_sequences(transport: Transport, names: list[str]) -> None:
    for name in [*names, "plain"]:
        exchange(transport, name)


@settings(max_examples=SEQUENCES, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.lists(kinds, min_size=1, max_size=4), min_size=CUSTOMERS, max_size=CUSTOMERS))
def test_random_sequences_of_customers_at_a_time(transport: Transport, of_each: list[list[str]]) -> None:
    def one(names: list[str]) -> None:
        for name in [*names, "plain"]:
            exchange(transport, name)

    for customer in [gevent.spawn(one, names) for names in of_each]:
        customer.get(timeout=60)


@pytest.mark.parametrize("write", [answer, chunked, lambda body: EARLY + answer(body)], ids=["length", "chunks", "103"])
def test_cut_at_each_octet_it_is_nobodys(
    api: HostileApi, transport: Transport, write: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = write(own_body(b"0"))
    for cut in range(len(whole)):
        monkeypatch.setitem(KINDS, "cut", Kind(lambda body, cut=cut: [whole[:cut]], False, True))  # type: ignore[misc]
        exchange(transport, "cut")
    exchange(transport, "plain")


def test_reset_at_each_octet_it_is_nobodys(api: HostileApi, transport: Transport) -> None:
    whole = answer(own_body(b"0"))
    for cut in range(0, len(whole), 7):

        def reset(request: Request, cut: int = cut) -> None:
            request.connection.sendall(whole[:cut])
            linger = struct.pack("ii", 1, 0)
            request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

        api.answers["/reset"] = reset
        with pytest.raises(NotAnswered):
            transport.exchange("POST", "/reset", {}, b"x", 10)
        exchange(transport, "plain")


# --- From the outside: logins and messages through a gateway

WRONG = "wrong-password"
MESSAGE = f"From: {SENDER}\r\nSubject: Whose\r\n\r\n"
PAUSE = b""  # so long that the next request is there before what comes after it, where a connection is used too early
PAUSE_SECONDS = 0.3
OTHER_TOKEN = http({**TOKEN, "access_token": "another"})


def token(request: Request) -> bytes:
    """The right answer to a login."""
    if WRONG.encode() in request.body:
        return http({"detail": [{"msg": "no", "type": "unauthorized"}]}, 401)
    return http(TOKEN)


def email(request: Request) -> bytes:
    """The right answer to a submission."""
    if b"refused" in request.body:
        return http({"detail": "no"}, 422)
    number = request.body.split(b"number ")[1][:4].decode()
    return http({"data": {"id": f"uuid-{number}", "status": "queued"}}, 201)


def in_chunks(whole: bytes) -> bytes:
    head, _, body = whole.partition(b"\r\n\r\n")
    return head.split(b"\r\nContent-Length")[0] + b"\r\n" + chunked(body).partition(b"\r\n")[2]


DISTURBED: dict[str, Callable[[bytes, bytes], Sequence[bytes]]] = {
    "103 before": lambda right, other: [EARLY + right],
    "103 a while before": lambda right, other: [EARLY, PAUSE, right],
    "103 and 102 before": lambda right, other: [EARLY, b"HTTP/1.1 102 Processing\r\n\r\n", right],
    "another after": lambda right, other: [right + other],
    "another after chunks": lambda right, other: [in_chunks(right) + other],
    "another in a write of its own": lambda right, other: [right, other],
    "another in a write of its own, after chunks": lambda right, other: [in_chunks(right), other],
}  # fmt: skip


@pytest.fixture(scope="module")
def gateway(api: HostileApi, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    variables = {"SSL_CERT_FILE": os.environ["SSL_CERT_FILE"], "SMTPGW_MAX_AUTH_FAILURES": "100"}
    with Gateway(api.url, tmp_path_factory.mktemp("gateway"), **variables) as started:
        yield started


def disturb(api: HostileApi, name: str) -> None:
    """Have the API answer like this from now on."""

    def sends(request: Request, right: Callable[[Request], bytes], other: bytes) -> bytes:
        for octets in DISTURBED[name](right(request), other):
            request.connection.sendall(octets)
            gevent.sleep(0 if octets else PAUSE_SECONDS)
        return b""

    api.answers["/token"] = partial(sends, right=token, other=OTHER_TOKEN)
    api.answers["/v2/emails"] = partial(sends, right=email, other=http(QUEUED, 201))


def login(gateway: Gateway, password: str, username: str) -> int:
    """Log in once; smtplib would try the next mechanism after a failure."""
    with gateway.encrypted() as client:
        client.ehlo()
        return client.docmd("AUTH", "PLAIN " + base64.b64encode(f"\0{username}\0{password}".encode()).decode())[0]


@pytest.mark.parametrize("name", DISTURBED)
def test_a_wrong_password_is_never_let_in(api: HostileApi, gateway: Gateway, name: str) -> None:
    disturb(api, name)
    for n in range(4):
        right = login(gateway, PASSWORD, f"right-{n}-{name.replace(' ', '-')}@cakemail.example")
        wrong = login(gateway, WRONG, f"wrong-{n}-{name.replace(' ', '-')}@cakemail.example")
        if "before" in name:
            assert (right, wrong) == (235, 535)
        else:  # what nobody can be sure of is 454
            assert right in (235, 454)
            assert wrong in (535, 454)
    api.answers = {"/": api.answers["/"]}


@pytest.mark.parametrize("name", DISTURBED)
def test_a_message_is_answered_with_what_became_of_it(api: HostileApi, gateway: Gateway, name: str) -> None:
    api.answers = {"/": api.answers["/"], "/token": token}
    with gateway.client(USERNAME, PASSWORD) as client:
        disturb(api, name)
        for n in range(6):
            is_refused = n % 2 == 1
            client.mail(SENDER)
            client.rcpt("ann@example.com")
            tag = f"number {next(numbers) % 10_000:04}"
            code, text = client.data(f"{MESSAGE}{'refused ' if is_refused else ''}{tag}\r\n")
            if code == 250:
                assert not is_refused
                assert text.endswith(b"queued as uuid-" + tag[-4:].encode())
            else:
                assert code in ((550,) if "before" in name else (550, 451))
                assert code == 451 or is_refused
    api.answers = {"/": api.answers["/"]}
