"""The client's socket: lines and message data however they are cut, limits at n and n + 1, deadlines, hanging up.

Most of it over `Chunks`, a stream whose client sends given pieces at given times of a clock that only it moves; what
the kernel and TLS do is over a pair of real sockets.
"""

import contextlib
import dataclasses
import math
import smtplib
import socket
import ssl
import struct
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator

import gevent
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpgw.config.settings import Settings
from smtpgw.core import replies
from smtpgw.core.replies import Reply, SMTPError
from smtpgw.core.text import with_crlf
from smtpgw.net.stream import Stream
from smtpgw.net.tls import make_context
from smtpgw.sandbox.certificate import write_pair
from smtpgw.smtp import connection, session_limits
from smtpgw.smtp.admission import ByteBudget
from smtpgw.smtp.connection import Connection, ConnectionLost
from tests.support.gateway import trusting

SETTINGS = Settings.from_environ({"SMTPGW_TLS_CERT": __file__, "SMTPGW_TLS_KEY": __file__, "SMTPGW_HOSTNAME": "gw"})
END = b"\r\n.\r\n"
BUDGET_BYTES = 2**40
HOUR = 3600.0


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Chunks:
    """A stream that receives pieces, each some seconds after the previous one, and then nothing."""

    def __init__(self, clock: Clock, pieces: Iterable[tuple[float, bytes]]) -> None:
        self.clock = clock
        self.pieces = deque(pieces)
        self.sent: list[bytes] = []
        self.closed = False

    def receive(self, most: int, seconds: float) -> bytes | None:
        wait, piece = self.pieces.popleft() if self.pieces else (math.inf, b"")
        if wait > seconds:
            self.pieces.appendleft((wait - seconds, piece))
            self.clock.now += max(seconds, 0.001)
            return None
        self.clock.now += wait
        if len(piece) > most:
            self.pieces.appendleft((0.0, piece[most:]))
        return piece[:most]

    def send(self, octets: bytes, seconds: float) -> None:
        self.sent.append(octets)

    def close(self) -> None:
        self.closed = True


class Scene:
    """A connection over a simulated stream and clock."""

    def __init__(self, *pieces: bytes | tuple[float, bytes], stopping: Callable[[], bool] = bool, **changes) -> None:
        self.clock = Clock()
        timed = [piece if isinstance(piece, tuple) else (0.0, piece) for piece in pieces]
        self.stream = Chunks(self.clock, timed)
        with self.timed():  # the session's limits note when it began
            self.connection = Connection(self.stream, dataclasses.replace(SETTINGS, **changes), stopping)
        self.budget = ByteBudget(changes.get("max_bytes_in_flight", BUDGET_BYTES))

    @contextlib.contextmanager
    def timed(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(connection, "monotonic", self.clock)
            patch.setattr(session_limits, "monotonic", self.clock)
            yield

    def line(self, **how: bool) -> bytes:
        with self.timed():
            return self.connection.read_line(**how)

    def data(self) -> bytes:
        with self.timed(), self.budget.reserve(0) as reservation:
            return self.connection.read_data(reservation)

    def refusal(self, read: Callable[[], bytes]) -> Reply:
        with pytest.raises(SMTPError) as caught:
            read()
        return caught.value.reply


def cuts(octets: bytes) -> Iterable[list[bytes]]:
    """Return the octets as a whole, one by one, and cut in two at every position."""
    yield [octets]
    yield [octets[n : n + 1] for n in range(len(octets))]
    yield from ([octets[:n], octets[n:]] for n in range(1, len(octets)))


# --- Lines


@pytest.mark.parametrize(
    ("octets", "lines"),
    [
        (b"NOOP\r\n", [b"NOOP"]),
        (b"NOOP\n", [b"NOOP"]),  # some clients send that
        (b"\r\n", [b""]),
        (b"\n\n", [b"", b""]),
        (b"NOOP\r\r\n", [b"NOOP\r"]),
        (b"NO\rOP\r\n", [b"NO\rOP"]),
        (b"NO\0OP\xff\r\n", [b"NO\0OP\xff"]),
        (b"MAIL\r\nRCPT\nDATA\r\n", [b"MAIL", b"RCPT", b"DATA"]),
    ],
)
def test_lines(octets, lines):
    for pieces in cuts(octets):
        scene = Scene(*pieces)
        assert [scene.line() for _ in lines] == lines
        assert not scene.connection.has_input


@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
def test_a_line_may_have_as_many_octets_as_it_may_and_no_more(end):
    for pieces in cuts(b"x" * 20 + end + b"y" * 21 + end + b"NOOP" + end):
        scene = Scene(*pieces, max_command_bytes=20)
        assert scene.line() == b"x" * 20
        assert scene.refusal(scene.line) is replies.LINE_TOO_LONG
        assert scene.line() == b"NOOP"


def test_a_line_that_is_far_too_long_is_one_mistake_and_takes_no_room():
    scene = Scene(*[b"x" * 10_000] * 1000, b"\r\nNOOP\r\n", max_command_bytes=20)
    assert scene.refusal(scene.line) is replies.LINE_TOO_LONG
    assert scene.line() == b"NOOP"


def test_a_line_that_comes_octet_by_octet_still_has_to_come_in_time():
    scene = Scene(*[(10.0, b"x")] * 100, idle_timeout_seconds=300)
    assert scene.refusal(scene.line) is replies.IDLE_TIMEOUT
    assert scene.clock.now == pytest.approx(1300, abs=11)


@pytest.mark.parametrize(("pause", "line"), [(299.9, b"NOOP"), (300.1, None)])
def test_idle(pause, line):
    scene = Scene((pause, b"NOOP\r\n"), idle_timeout_seconds=300)
    if line:
        assert scene.line() == line
    else:
        assert scene.refusal(scene.line) is replies.IDLE_TIMEOUT


# --- Draining, and a session's age


def test_a_session_that_waits_hears_of_the_drain_within_a_slice():
    scene = Scene(stopping=lambda: scene.clock.now > 1100)
    assert scene.refusal(scene.line) is replies.SHUTTING_DOWN
    assert 1100 < scene.clock.now <= 1100 + session_limits.MAX_SLICE_SECONDS


def test_a_drain_is_told_of_at_once_between_messages_and_a_command_that_has_come_is_still_answered():
    scene = Scene(b"NOOP\r\nNO", b"OP\r\n", stopping=lambda: True)
    assert scene.line(between_messages=False) == b"NOOP"
    assert scene.line(between_messages=False) == b"NOOP"
    assert scene.refusal(lambda: scene.line(between_messages=True)) is replies.SHUTTING_DOWN
    assert scene.clock.now == 1000


def test_a_drain_does_not_end_a_message():
    scene = Scene(b"text\r\n", (100.0, b".\r\n"), stopping=lambda: True)
    assert scene.data() == b"text\r\n"


@pytest.mark.parametrize(("age", "is_over"), [(14_400.0, False), (14_400.1, True)])
def test_a_session_ends_at_some_age_between_two_messages(age, is_over):
    scene = Scene((age - 1000, b"MAIL\r\n"), b"NOOP\r\n", idle_timeout_seconds=HOUR * 10)
    scene.clock.now += 1000
    assert scene.line(between_messages=True) == b"MAIL"
    if is_over:
        assert scene.refusal(lambda: scene.line(between_messages=True)) is replies.SESSION_TIMEOUT
    assert scene.line(between_messages=False) == b"NOOP"


# --- Message data


@pytest.mark.parametrize(
    ("sent", "data"),
    [
        (b".\r\n", b""),
        (b"\r\n.\r\n", b"\r\n"),
        (b"a\r\n.\r\n", b"a\r\n"),
        # RFC 5321 §4.5.2: the dot that the client put before each line that begins with one comes off
        (b"..\r\n.\r\n", b".\r\n"),
        (b"..a\r\n.\r\n", b".a\r\n"),
        (b"...\r\n....\r\n.\r\n", b"..\r\n...\r\n"),
        (b".a\r\n.\r\n", b"a\r\n"),  # from a client that forgets to double it
        (b"a\r\n..b\r\n.\r\n", b"a\r\n.b\r\n"),
        (b"a.\r\nb..c\r\n.\r\n", b"a.\r\nb..c\r\n"),
        (b"a\r\n..\r\n..\r\n.\r\n", b"a\r\n.\r\n.\r\n"),
        # a bare LF becomes CRLF, and a bare CR is content
        (b"a\nb\r\n.\r\n", b"a\r\nb\r\n"),
        (b"a\n\nb\r\n.\r\n", b"a\r\n\r\nb\r\n"),
        (b"a\rb\r\n.\r\n", b"a\rb\r\n"),
        (b"a\r\r\nb\r\n.\r\n", b"a\r\r\nb\r\n"),
        (b"a\r\r\nb\nc\r\n.\r\n", b"a\r\r\nb\r\nc\r\n"),
        # lines that end in bare LF throughout: smtplib.sendmail with octets stuffs after each of them
        (b"a\n..b\r\n.\r\n", b"a\r\n.b\r\n"),
        (b"..a\n..b\n..\n...\n\r\n.\r\n", b".a\r\n.b\r\n.\r\n..\r\n\r\n"),
        # a line that begins with one dot: the client did not stuff after LF, and the other lines' dots are their own
        (b"a\n.b\n..c\r\n.\r\n", b"a\r\n.b\r\n..c\r\n"),
        # lines that end in CRLF: a bare LF within one is content, and so are the dots after it
        (b"a\n..b\r\nc\r\n.\r\n", b"a\r\n..b\r\nc\r\n"),
        (b"a\r\n..b\n..c\r\n.\r\n", b"a\r\n.b\r\n..c\r\n"),
        (b"\0\xff\x80\r\n.\r\n", b"\0\xff\x80\r\n"),
    ],
)
def test_data(sent, data):
    for pieces in cuts(sent + b"NOOP\r\n"):
        scene = Scene(*pieces)
        assert scene.data() == data
        assert scene.line() == b"NOOP"
        assert scene.budget.held == 0


# What other servers have taken for the end of a message, and what it is as content.
NO_END = {
    b"\n.\n": b"\r\n.\r\n",
    b"\n.\r\n": b"\r\n.\r\n",
    b"\r\n.\n": b"\r\n\r\n",
    b"\n.\r": b"\r\n.\r",
    b"\r.\r": b"\r.\r",
    b"\r.\n": b"\r.\r\n",
    b"\r.\r\n": b"\r.\r\n",
    b"\r\n.\r": b"\r\n\r",
    b"\r\r\n.\r\r\n": b"\r\r\n\r\r\n",
    b"\r\n.\r\r\n": b"\r\n\r\r\n",
    b"\r\n. \r\n": b"\r\n \r\n",
    b"\r\n .\r\n": b"\r\n .\r\n",
    b"\r\n..\r\n": b"\r\n.\r\n",
    b"\r\n.\0\r\n": b"\r\n\0\r\n",
    b"\r\n\0.\r\n": b"\r\n\0.\r\n",
    b"\r\0\n.\r\0\n": b"\r\0\r\n.\r\0\r\n",
    b"\x85.\x85": b"\x85.\x85",
    b"\xe2\x80\xa8.\xe2\x80\xa8": b"\xe2\x80\xa8.\xe2\x80\xa8",
    b"\x0b.\x0b": b"\x0b.\x0b",
}


@pytest.mark.parametrize("variant", NO_END, ids=repr)
def test_only_crlf_dot_crlf_ends_a_message(variant):
    smuggled = b"MAIL FROM:<x@example.com>\r\n"
    for pieces in cuts(b"a" + variant + smuggled + b".\r\nQUIT\r\n"):
        scene = Scene(*pieces)
        assert scene.data() == b"a" + NO_END[variant] + smuggled
        assert scene.line() == b"QUIT"


@pytest.mark.parametrize("stuffing", [b"", b".\r\n"])
def test_a_message_may_have_as_many_octets_as_it_may_and_no_more(stuffing):
    limit = 2048
    for size in (limit, limit + 1):
        body = (stuffing + b"x" * size)[: size - 2] + b"\r\n"
        sent = body.replace(stuffing, b"." + stuffing) if stuffing else body
        for pieces in ([sent + b".\r\nNOOP\r\n"], [sent, b".\r\nNOOP\r\n"], [sent + b".", b"\r\nNOOP\r\n"]):
            scene = Scene(*pieces, max_message_bytes=limit)
            if size == limit:
                assert scene.data() == body
            else:
                assert scene.refusal(scene.data) == replies.MESSAGE_TOO_BIG.filled(limit=limit)
            assert scene.line() == b"NOOP"
            assert scene.budget.held == 0


def test_a_message_that_is_far_too_big_is_read_to_its_end_and_holds_no_room_meanwhile():
    held = []

    def watched() -> Iterable[tuple[float, bytes]]:
        for _ in range(100):
            yield 0.0, b"x" * 1000 + b"\r\n"
            held.append(scene.budget.held)
        yield 0.0, b".\r\nNOOP\r\n"

    scene = Scene(max_message_bytes=2048)
    pieces = watched()
    scene.stream.receive = lambda most, seconds: next(pieces)[1]
    assert scene.refusal(scene.data) == replies.MESSAGE_TOO_BIG.filled(limit=2048)
    assert max(held) <= 2048 * connection.MAX_STUFFING_RATIO + 1002
    assert set(held[4:]) == {0}
    assert scene.line() == b"NOOP"


@pytest.mark.parametrize(("limit", "fits"), [(1004, True), (1003, False)])
def test_a_message_fits_into_the_room_that_is_left_or_not(limit, fits):
    sent = b"x" * 997 + b"\r\n.\r\n"  # 1002, and the CRLF that stands before it
    for pieces in ([sent + b"NOOP\r\n"[:0], b"NOOP\r\n"], [sent[:500], sent[500:], b"NOOP\r\n"]):
        scene = Scene(*pieces, max_bytes_in_flight=limit)
        if fits:
            assert scene.data() == sent[:-3]
        else:
            assert scene.refusal(scene.data) is replies.NO_ROOM_NOW
        assert scene.line() == b"NOOP"
        assert scene.budget.held == 0


def test_data_that_drips_at_the_least_rate_may_take_for_ever():
    pieces = [(1.0, b"x" * 998 + b"\r\n")] * 5000
    scene = Scene(*pieces, (1.0, b".\r\n"), data_timeout_seconds=180, data_min_bytes_per_second=1000)
    assert len(scene.data()) == 5_000_000
    assert scene.clock.now == 6001


@pytest.mark.parametrize("octets_each", [1, 500, 990])
def test_data_that_drips_more_slowly_is_not_waited_for(octets_each):
    pieces = [(1.0, b"x" * octets_each)] * 100_000
    scene = Scene(*pieces, data_timeout_seconds=180, data_min_bytes_per_second=1000)
    assert scene.refusal(scene.data) is replies.DATA_TIMEOUT
    share = octets_each / 1000
    assert 179 / (1 - share) <= scene.clock.now - 1000 <= 180 / (1 - share) + 1
    assert scene.budget.held == 0


def test_data_that_stops_coming():
    scene = Scene(b"x\r\n", data_timeout_seconds=180)
    assert scene.refusal(scene.data) is replies.DATA_TIMEOUT


@pytest.mark.parametrize("octets", [3, 100_000, 25_000_000])
def test_data_that_stops_is_waited_for_no_longer_because_much_came_before(octets):
    scene = Scene(b"x" * octets, data_timeout_seconds=180, data_min_bytes_per_second=1000)
    assert scene.refusal(scene.data) is replies.DATA_TIMEOUT
    assert scene.clock.now - 1000 <= 180.1
    assert scene.budget.held == 0


def test_the_least_rate_holds_for_the_rest_of_a_message_that_began_fast():
    pieces = [(0.0, b"x" * 20_000_000), *[(1.0, b"x")] * 100_000]
    scene = Scene(*pieces, data_timeout_seconds=180, data_min_bytes_per_second=1000)
    assert scene.refusal(scene.data) is replies.DATA_TIMEOUT
    assert scene.clock.now - 1000 <= 182


def test_a_client_that_pauses_again_and_again_and_is_fast_between_is_served():
    pieces = [(179.0, b"x" * 200_000)] * 10
    scene = Scene(*pieces, (0.0, END), data_timeout_seconds=180, data_min_bytes_per_second=1000)
    assert len(scene.data()) == 2_000_002


@given(st.data())
def test_any_text_comes_through_however_it_is_cut(data):
    text = data.draw(st.lists(st.binary(max_size=8) | st.sampled_from([b".", b"..", b".x", b"\r", b""])))
    body = b"".join(line.replace(b"\n", b"") + b"\r\n" for line in text)
    lines = body.split(b"\r\n")
    sent = b"\r\n".join(b"." + line if line.startswith(b".") else line for line in lines) + b".\r\nNOOP\r\n"
    pieces = []
    while sent:
        n = data.draw(st.integers(1, len(sent)))
        pieces.append(sent[:n])
        sent = sent[n:]
    scene = Scene(*pieces)
    assert scene.data() == body
    assert scene.line() == b"NOOP"


@given(
    st.lists(
        st.binary(max_size=6).map(lambda line: line.replace(b"\n", b"").rstrip(b"\r")) | st.sampled_from([b".", b"..x"])
    )
)
def test_what_smtplib_sends_of_a_message_with_bare_lf_is_the_message(lines):
    """`smtplib.SMTP.data` puts a dot before each line that begins with one, after LF as after CRLF."""
    body = b"".join(line + b"\n" for line in lines)
    sent = smtplib._quote_periods(body)
    scene = Scene(sent + (b"" if sent.endswith(b"\r\n") else b"\r\n") + b".\r\n")
    assert scene.data().replace(b"\r\n", b"\n") == body + b"\n"


def test_dots_cost_in_proportion_to_the_message():
    def seconds(lines: int) -> float:
        data = b"\n..x" * lines + b"\r\n"
        began = time.perf_counter()
        assert connection.remove_dot_stuffing(data) == b"\n.x" * lines + b"\r\n"
        return time.perf_counter() - began

    assert min(seconds(400_000) for _ in range(3)) < 10 * 4 * min(seconds(100_000) for _ in range(3))


@given(st.binary())
def test_every_line_of_a_message_ends_in_crlf_and_nothing_else_is_changed(data):
    made = with_crlf(data)
    assert made.count(b"\n") == made.count(b"\r\n") == data.count(b"\n")
    assert made.replace(b"\r\n", b"\n") == data.replace(b"\r\n", b"\n")


# --- Replies


def test_the_replies_to_a_pipelined_group_go_out_together():  # RFC 2920 §3.2
    scene = Scene(b"MAIL\r\nRCPT\r\nDATA\r\n", b"NOOP\r\n")
    for n in range(4):
        scene.line()
        scene.connection.write(b"%d\r\n" % n)
    assert scene.stream.sent == [b"0\r\n1\r\n2\r\n"]
    scene.connection.flush()
    assert scene.stream.sent == [b"0\r\n1\r\n2\r\n", b"3\r\n"]
    scene.connection.flush()
    assert len(scene.stream.sent) == 2


def test_half_a_command_does_not_hold_back_the_replies():
    scene = Scene(b"MAIL\r\nRC", b"PT\r\n")
    scene.line()
    scene.connection.write(b"0\r\n")
    assert scene.line() == b"RCPT"
    assert scene.stream.sent == [b"0\r\n"]


def test_what_was_said_goes_out_before_data_is_read():
    scene = Scene(b"DATA\r\nx\r\n.\r\n")
    scene.line()
    scene.connection.write(b"354\r\n")
    scene.data()
    assert scene.stream.sent == [b"354\r\n"]


def test_what_was_said_goes_out_before_the_connection_is_closed():
    scene = Scene()
    scene.connection.write(b"221 2.0.0 Bye\r\n")
    scene.connection.close()
    assert scene.stream.sent == [b"221 2.0.0 Bye\r\n"]
    assert scene.stream.closed


# --- Real sockets


@pytest.fixture(scope="module")
def contexts(tmp_path_factory):
    """Return a server's context, and a client's that trusts it."""
    cert, key = map(str, write_pair(tmp_path_factory.mktemp("certificate")))
    return make_context(cert, key), trusting(cert)


class Line:
    """A connection and its client's socket, plain or after a handshake."""

    def __init__(self, contexts, *, encrypted: bool) -> None:
        ours, self.client = socket.socketpair()
        self.client.settimeout(10)
        self.connection = Connection(Stream(ours), SETTINGS, lambda: False)
        if encrypted:
            serving, trusted = contexts
            handshake = gevent.spawn(self.connection.start_tls, serving)
            self.client = trusted.wrap_socket(self.client, server_hostname="localhost", suppress_ragged_eofs=False)
            assert handshake.get(timeout=10) == self.client.version() == "TLSv1.3"

    def has_gone(self) -> bool:
        gevent.sleep(0.05)  # for the kernel to carry it over
        return not self.connection.read_ahead()


@pytest.fixture(params=[False, True], ids=["plain", "tls"])
def line(request, contexts):
    found = Line(contexts, encrypted=request.param)
    yield found
    found.connection.close()
    found.client.close()


def test_a_client_that_waits_is_there(line):
    assert not line.has_gone()
    line.client.sendall(b"NOOP\r\n")
    assert line.connection.read_line() == b"NOOP"


def test_a_client_that_has_sent_more_is_there_and_is_read(line):
    line.client.sendall(b"RSET\r\nNO")
    assert not line.has_gone()
    line.client.sendall(b"OP\r\n")
    assert [line.connection.read_line(), line.connection.read_line()] == [b"RSET", b"NOOP"]


def test_a_client_that_has_hung_up_has_gone(line):
    line.client.close()
    assert line.has_gone()


def test_a_client_whose_connection_was_reset_has_gone(contexts):
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        ours, _ = server.accept()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        gevent.sleep(0.05)
        found = Connection(Stream(ours), SETTINGS, lambda: False)
        assert not found.read_ahead()
        with pytest.raises(ConnectionLost):
            found.read_line()
        found.close()


def test_reading_from_a_client_that_has_hung_up(line):
    line.client.close()
    with pytest.raises(ConnectionLost):
        line.connection.read_line()


def test_writing_to_a_client_that_has_hung_up(line):
    def write() -> None:
        for _ in range(100):
            line.connection.write(b"x" * 100_000)
            line.connection.flush()

    line.client.close()
    with pytest.raises(ConnectionLost):
        write()


def test_closing_ends_a_connection_cleanly_after_what_was_said(line):
    line.connection.write(b"221 2.0.0 Bye\r\n")
    line.connection.close()
    assert line.client.recv(100) == b"221 2.0.0 Bye\r\n"
    assert line.client.recv(100) == b""  # over TLS: a close_notify, or this were an SSLEOFError


def test_closing_waits_for_no_answer(line):
    with gevent.Timeout(5, AssertionError("still closing")):
        line.connection.close()


def test_closing_a_connection_that_the_client_has_closed(line):
    line.client.close()
    line.connection.write(b"421 4.3.2 gone\r\n")
    line.connection.close()


# --- TLS


def handshake(octets: bytes | None, seconds: float, contexts) -> ConnectionLost:
    ours, client = socket.socketpair()
    found = Connection(Stream(ours), dataclasses.replace(SETTINGS, handshake_timeout_seconds=seconds), lambda: False)
    if octets is None:
        client.close()
    else:
        client.sendall(octets)
    with gevent.Timeout(10, AssertionError("still waiting")), pytest.raises(ConnectionLost) as caught:
        found.start_tls(contexts[0])
    found.close()
    client.close()
    return caught.value


def test_a_handshake_that_does_not_come(contexts):
    assert "took too long" in str(handshake(b"", 0.1, contexts))


def test_a_handshake_that_stops_halfway(contexts):
    assert "took too long" in str(handshake(b"\x16\x03\x01\x02\x00\x01", 0.1, contexts))


def test_a_handshake_that_is_none(contexts):
    assert "TLS handshake" in str(handshake(b"EHLO client.example\r\n" * 20, 10, contexts))


def test_a_client_that_leaves_instead_of_shaking_hands(contexts):
    assert "TLS handshake" in str(handshake(None, 10, contexts))


def test_the_reply_to_starttls_goes_out_before_the_handshake(contexts):
    ours, client = socket.socketpair()
    found = Connection(Stream(ours), SETTINGS, lambda: False)
    found.write(b"220 2.0.0 Ready to start TLS\r\n")
    shaking = gevent.spawn(found.start_tls, contexts[0])
    client.settimeout(10)
    assert client.recv(100) == b"220 2.0.0 Ready to start TLS\r\n"
    encrypted = contexts[1].wrap_socket(client, server_hostname="localhost")
    assert shaking.get(timeout=10) == "TLSv1.3"
    found.close()
    encrypted.close()


def test_a_handshake_leaves_no_socket_behind_that_could_speak_in_clear(contexts):
    line = Line(contexts, encrypted=True)
    assert isinstance(line.connection._stream._socket, ssl.SSLSocket)
    line.connection.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        line.connection._stream._socket.send(b"in clear")
    line.client.close()
