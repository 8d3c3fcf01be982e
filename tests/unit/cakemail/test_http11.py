"""Requests and answers as octets: what is an answer, what is none, and that it ends where it ends, in any pieces."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpgw.cakemail.http11 import (
    MAX_BODY_BYTES,
    MAX_FRAMING_BYTES,
    MAX_INTERIM_ANSWERS,
    AnswerReader,
    InvalidAnswer,
    encode_head,
)

FEED_BYTES = 16 * 1024
EARLY = b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n"
PLAIN = b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n" + b'{"id": "abc"}'
CHUNKS = b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"a":\r\n3;x=y\r\n 1}\r\n0\r\n\r\n'


def interim(status: int) -> bytes:
    return f"HTTP/1.1 {status} Wait\r\nX-Note: wait\r\n\r\n".encode()


# Status, body, and whether the connection ends with it.
ANSWERS: dict[str, tuple[bytes, tuple[int, bytes, bool]]] = {
    "plain": (PLAIN, (201, b'{"id": "abc"}', False)),
    "no reason": (b"HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\n{}", (200, b"{}", False)),
    "empty body": (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", (200, b"", False)),
    "chunks": (CHUNKS, (200, b'{"a": 1}', False)),
    "chunks and trailers": (CHUNKS[:-2] + b"X-Sum: 1\r\n\r\n", (200, b'{"a": 1}', False)),
    "chunked in capitals": (CHUNKS.replace(b"chunked", b"CHUNKED"), (200, b'{"a": 1}', False)),
    **{f"after {n}": (interim(n) + PLAIN, (201, b'{"id": "abc"}', False)) for n in (100, 102, 103, 110, 199)},
    "after several": (EARLY * MAX_INTERIM_ANSWERS + PLAIN, (201, b'{"id": "abc"}', False)),
    "after 100 and 103": (interim(100) + EARLY + CHUNKS, (200, b'{"a": 1}', False)),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", (204, b"", False)),
    "204 with a length": (b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", (204, b"", False)),
    "304 with a length": (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", (304, b"", False)),
    "connection close": (PLAIN.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), (201, b'{"id": "abc"}', True)),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}", (200, b"{}", True)),
    "HTTP/1.0 that would go on": (
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\n{}",
        (200, b"{}", True),
    ),
    "LATIN-1 in a field": (b"HTTP/1.1 400 Bad\r\nX: refus\xe9\r\nContent-Length: 2\r\n\r\n{}", (400, b"{}", False)),
    "an offer to speak HTTP/2": (
        b"HTTP/1.1 200 OK\r\nUpgrade: h2\r\nConnection: Upgrade, Keep-Alive\r\nContent-Length: 2\r\n\r\n{}",
        (200, b"{}", False),
    ),
    "gzip that nobody asked for": (
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x8b\x08",
        (200, b"\x1f\x8b\x08", False),
    ),
    "the largest body": (
        f"HTTP/1.1 200 OK\r\nContent-Length: {MAX_BODY_BYTES}\r\n\r\n".encode() + b"x" * MAX_BODY_BYTES,
        (200, b"x" * MAX_BODY_BYTES, False),
    ),
}  # fmt: skip
UNTIL_CLOSE: dict[str, tuple[bytes, tuple[int, bytes, bool]]] = {
    "until it closes": (b"HTTP/1.1 502 Bad\r\nConnection: close\r\n\r\n<html>", (502, b"<html>", True)),
    "no length, and it does not say": (b"HTTP/1.1 502 Bad\r\n\r\n<html>", (502, b"<html>", True)),
    "HTTP/1.0 without a length": (b"HTTP/1.0 200 OK\r\n\r\n{}", (200, b"{}", True)),
    "205 without a length": (b"HTTP/1.1 205 Reset\r\n\r\n", (205, b"", True)),
}


def pieces(octets: bytes, step: int) -> Iterator[bytes]:
    return (octets[at : at + step] for at in range(0, len(octets), step))


def read(*octets: bytes, ends: bool = False) -> tuple[int, bytes, bool] | None:
    """What an answer in these pieces is; None while it is not whole."""
    reader = AnswerReader()
    for piece in octets:
        reader.feed(piece)
    if ends and not reader.is_whole:
        reader.end()
    return (reader.status, reader.content, reader.is_last) if reader.is_whole else None


@pytest.mark.parametrize("step", [FEED_BYTES, 1460, 7, 1])
@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_in_any_pieces(name: str, step: int) -> None:
    octets, meaning = ANSWERS[name]
    if len(octets) <= 2000 or step > 1000:
        assert read(*pieces(octets, step)) == meaning


@pytest.mark.parametrize("name", UNTIL_CLOSE)
def test_an_answer_that_ends_with_its_connection(name: str) -> None:
    octets, meaning = UNTIL_CLOSE[name]
    for step in (FEED_BYTES, 7, 1):
        assert read(*pieces(octets, step)) is None
        assert read(*pieces(octets, step), ends=True) == meaning


@pytest.mark.parametrize("name", [name for name in ANSWERS if len(ANSWERS[name][0]) < 2000])
def test_cut_at_any_octet_it_is_none(name: str) -> None:
    octets, _ = ANSWERS[name]
    for cut in range(len(octets)):
        assert read(octets[:cut]) is None
        with pytest.raises(InvalidAnswer):
            read(octets[:cut], ends=True)
        assert read(octets[:cut], octets[cut:]) if cut else True


SURPLUS = [b"\n", b"\r\n", b"\r\n\r\n", b" ", b"\0", b"x", b"0\r\n\r\n", b"HTTP/1.1 200 OK\r\n", PLAIN, EARLY, CHUNKS]


@pytest.mark.parametrize("surplus", SURPLUS, ids=repr)
@pytest.mark.parametrize("name", [name for name in ANSWERS if len(ANSWERS[name][0]) < 2000])
def test_more_than_the_answer_is_no_answer(name: str, surplus: bytes) -> None:
    octets, _ = ANSWERS[name]
    with pytest.raises(InvalidAnswer):
        read(octets + surplus)
    with pytest.raises(InvalidAnswer):
        read(octets[:-3], octets[-3:] + surplus)
    with pytest.raises(InvalidAnswer):
        read(octets, surplus)


def with_fields(*fields: bytes) -> bytes:
    return b"HTTP/1.1 201 Created\r\n" + b"".join(field + b"\r\n" for field in fields) + b"\r\n" + b'{"id": "abc"}'


LENGTH = b"Content-Length: 13"
NO_ANSWERS = {
    "another protocol": b"220 smtp.example ESMTP\r\n\r\n",
    "HTTP/2.0": PLAIN.replace(b"HTTP/1.1", b"HTTP/2.0"),
    "HTTP/0.9": PLAIN.replace(b"HTTP/1.1", b"HTTP/0.9"),
    "101": b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + PLAIN,
    "101 with what to": b"HTTP/1.1 101 S\r\nUpgrade: smtp\r\nConnection: Upgrade\r\n\r\n" + PLAIN,
    **{f"status {n}": PLAIN.replace(b"201", n.encode()) for n in ("000", "099", "600", "2010", "20", "-20", "2x1")},
    "too many interim answers": EARLY * (MAX_INTERIM_ANSWERS + 1) + PLAIN,
    "an interim answer with a length": b"HTTP/1.1 110 E\r\nContent-Length: 5\r\n\r\n" + PLAIN,
    "an interim answer in chunks": b"HTTP/1.1 103 E\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + PLAIN,
    "an interim answer that closes": b"HTTP/1.1 103 E\r\nConnection: close\r\n\r\n" + PLAIN,
    "a length twice": with_fields(LENGTH, LENGTH),
    "two lengths": with_fields(LENGTH, b"Content-Length: 2"),
    "a list of lengths": with_fields(b"Content-Length: 13, 13"),
    "a negative length": with_fields(b"Content-Length: -13"),
    "a length with a sign": with_fields(b"Content-Length: +13"),
    "a length in hex": with_fields(b"Content-Length: 0xd"),
    "a length of nothing": with_fields(b"Content-Length: "),
    "a huge length": with_fields(b"Content-Length: " + b"9" * 30),
    "a length, then chunks": with_fields(LENGTH, b"Transfer-Encoding: chunked"),
    "chunks, then a length": with_fields(b"Transfer-Encoding: chunked", LENGTH),
    "a length and identity": with_fields(LENGTH, b"Transfer-Encoding: identity"),
    "chunked twice": with_fields(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
    "gzip, chunked": with_fields(b"Transfer-Encoding: gzip, chunked"),
    "chunked, identity": with_fields(b"Transfer-Encoding: chunked, identity"),
    "another coding": with_fields(b"Transfer-Encoding: xchunked"),
    "space before a colon": with_fields(b"Content-Length : 13"),
    "a folded field": with_fields(b"X-Long: a\r\n b", LENGTH),
    "a folded length": with_fields(b"Content-Length:\r\n 13"),
    "a field without a name": with_fields(b": x", LENGTH),
    "no colon": with_fields(b"X-Note", LENGTH),
    "NUL in a field": with_fields(b"X-Note: a\0b", LENGTH),
    "CR in a field": with_fields(b"X-Note: a\rb", LENGTH),
    "bare LF": PLAIN.replace(b"\r\n", b"\n"),
    "bare LF at the end of the head": PLAIN.replace(b"\r\n\r\n", b"\r\n\n"),
    "bare LF after a chunk's size": CHUNKS.replace(b"5\r\n", b"5\n"),
    "a negative chunk": CHUNKS.replace(b"5\r\n", b"-5\r\n"),
    "a huge chunk": CHUNKS.replace(b"5\r\n", b"f" * 20 + b"\r\n"),
    "a chunk that is longer than it says": CHUNKS.replace(b"5\r\n", b"4\r\n"),
    "a length in the trailers": CHUNKS[:-2] + b"Content-Length: 3\r\n\r\n",
    "a head of 1 MB": with_fields(b"X-Long: " + b"x" * 1_000_000, LENGTH),
    "a head of many fields": with_fields(*(b"X: y" for _ in range(20_000)), LENGTH),
    "a status line of 1 MB": b"HTTP/1.1 200 " + b"x" * 1_000_000,
    "line ends for ever": b"\r\n" * 100_000,
    "trailers of 1 MB": CHUNKS[:-2] + b"X: y\r\n" * 200_000 + b"\r\n",
    "a chunk's extension of 1 MB": CHUNKS.replace(b"x=y", b"x" * 1_000_000),
    "a body that is too large": (
        f"HTTP/1.1 200 OK\r\nContent-Length: {MAX_BODY_BYTES + 1}\r\n\r\n".encode() + b"x" * (MAX_BODY_BYTES + 1)
    ),
    "chunks that are too large": CHUNKS[:-5] + b"4000\r\n" + b"x" * 0x4000 + b"\r\n" * 66,
    "no length, and no end": b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (MAX_BODY_BYTES + 1),
}  # fmt: skip


@pytest.mark.parametrize("step", [FEED_BYTES, 1460, 3, 1])
@pytest.mark.parametrize("name", NO_ANSWERS)
def test_what_is_no_answer(name: str, step: int) -> None:
    octets = NO_ANSWERS[name]
    if len(octets) > 10_000 and step < 1000:
        return
    with pytest.raises(InvalidAnswer):
        read(*pieces(octets, step))


def fed_until_it_is_given_up(start: bytes, endless: bytes) -> int:
    """How many octets of what has no end are read."""
    reader = AnswerReader()
    fed = 0
    try:
        reader.feed(start)
        for _ in range(0, 10 * MAX_BODY_BYTES, len(endless)):
            reader.feed(endless)
            fed += len(endless)
    except InvalidAnswer:
        return fed
    pytest.fail("it is never given up")


@pytest.mark.parametrize("endless", [b"x", b"\r\n", EARLY], ids=repr)
@pytest.mark.parametrize("start", [b"\r", b"HTTP/1.1 200 ", b"HTTP/1.1 200 OK\r\nX: y", CHUNKS[:-2] + b"X: "], ids=repr)
def test_what_has_no_end_is_given_up_soon(start: bytes, endless: bytes) -> None:
    starts_a_body = start.startswith(b"HTTP/1.1 200 ") and endless in EARLY
    most = MAX_BODY_BYTES if starts_a_body else MAX_FRAMING_BYTES
    assert fed_until_it_is_given_up(start, endless * (FEED_BYTES // len(endless))) <= most


@given(st.binary(max_size=300), st.integers(1, 50))
def test_any_octets_are_an_answer_or_an_invalid_one(octets: bytes, step: int) -> None:
    for prefix in (b"", b"HTTP/1.1 200 OK\r\n", PLAIN[:60], CHUNKS[:60], EARLY):
        reader = AnswerReader()
        try:
            for piece in pieces(prefix + octets, step):
                reader.feed(piece)
            reader.end()
        except InvalidAnswer:
            continue
        assert 200 <= reader.status <= 599
        assert reader.is_whole


def test_fields_have_lower_case_names_and_are_joined() -> None:
    reader = AnswerReader()
    reader.feed(EARLY + b"HTTP/1.1 429 Slow\r\nRETRY-AFTER: \t7 \r\nX-A: 1\r\nx-a:\r\nContent-Length: 0\r\n\r\n")
    assert reader.headers == {"retry-after": "7", "x-a": "1, ", "content-length": "0"}


def test_a_request_has_a_length_where_there_is_a_body() -> None:
    assert encode_head("POST", "/v2/emails?account_id=3", "api.example:8080", {"Authorization": "Bearer t"}, 8) == (
        b"POST /v2/emails?account_id=3 HTTP/1.1\r\nHost: api.example:8080\r\nAuthorization: Bearer t\r\n"
        b"Content-Length: 8\r\n\r\n"
    )
    assert encode_head("POST", "/", "a", {}, 0).endswith(b"Content-Length: 0\r\n\r\n")
    assert encode_head("GET", "/", "a", {}, 0) == b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.mark.parametrize("line_end", ["\r\nX-Injected: 1", "\n", "\r", "x\r"])
def test_a_line_end_in_a_header_of_ours_is_never_sent(line_end: str) -> None:
    for head in (("GET", "/" + line_end, "a", {}), ("GET", "/", "a", {"Authorization": "Bearer x" + line_end})):
        with pytest.raises(ValueError, match="line end"):
            encode_head(*head, 0)  # type: ignore[arg-type]
