"""Limits of a session: commands before login, its age even when it is busy, and its share of the event loop."""

import socket
import ssl
import threading
from collections.abc import Iterator

import gevent
import pytest

from smtpgw.core import replies
from smtpgw.net import stream
from smtpgw.net.stream import Stream
from smtpgw.net.tls import make_context
from smtpgw.sandbox.certificate import write_pair
from smtpgw.smtp import session_limits
from smtpgw.smtp.session_limits import SessionLimits
from tests.integration.test_hostile_limits import hits
from tests.support.gateway import Gateway, trusting
from tests.support.line import Line, metric
from tests.support.recorder import InProcess, codes, settings
from tests.support.sandbox import Sandbox
from tests.unit.smtp.test_connection import SETTINGS, Clock, Scene
from tests.unit.smtp.test_connection import Line as Pair

NOOP = b"NOOP\r\n"


class Turns:
    """A greenlet that counts how often it has its turn."""

    def __enter__(self) -> "Turns":
        self.number = 0
        self.running = gevent.spawn(self._count)
        gevent.sleep(0)
        return self

    def _count(self) -> None:
        while True:
            self.number += 1
            gevent.sleep(0)

    def __exit__(self, *_: object) -> None:
        self.running.kill()


# --- Others have their turn


def test_a_session_that_has_sent_much_ahead_lets_others_go_on():
    dialogue = InProcess("logged in")
    dialogue.sock.sendall(NOOP * 2000)
    with Turns() as turns:
        heard = dialogue.converse([])
    assert codes(heard) == [220] + [250] * 2000
    assert turns.number > 2000 / session_limits.COMMANDS_PER_TURN


def test_whoever_sends_faster_than_it_is_read_lets_others_go_on(monkeypatch: pytest.MonkeyPatch):
    ours, theirs = socket.socketpair()
    found = Stream(ours)
    monkeypatch.setattr(Stream, "receive_now", lambda self, most_bytes: b"x" * most_bytes)
    with Turns() as turns:
        for _ in range(1000):
            found.receive(1024, 10)
    assert turns.number > 1000 / stream.READS_PER_TURN
    monkeypatch.undo()
    found.close()
    theirs.close()


# --- Before login


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_limits, "COMMANDS_PER_SECOND", 100_000.0)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("command", [NOOP, b"RSET\r\n", b"EHLO x\r\n", b"HELP\r\n"])
def test_a_session_without_login_may_say_so_much_and_no_more(command: bytes):
    before = hits("commands")
    for number, is_over in ((50, False), (51, True), (5000, True)):
        heard = InProcess("greeted").converse([command * number])
        assert heard.count(b"421 4.7.0 localhost saw too many commands before a login; closing") == is_over
        assert len([line for line in heard.split(b"\r\n") if line[3:4] == b" "]) == min(number, 50) + 1 + is_over
    assert hits("commands") == before + 2


@pytest.mark.usefixtures("quick")
def test_the_lines_of_an_unfinished_login_count_too():
    dialogue = InProcess("greeted", settings(SMTPGW_MAX_ERRORS="1000"))
    heard = dialogue.converse([b"AUTH LOGIN\r\n*\r\n" * 100])
    assert codes(heard) == [220] + [334, 501] * 25 + [421]


def test_a_session_with_login_may_say_what_it_likes():
    assert codes(InProcess("logged in").converse([NOOP * 200])) == [220] + [250] * 200


def test_before_login_the_commands_after_the_first_take_their_time(monkeypatch: pytest.MonkeyPatch):
    clock, waits = Clock(), []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        clock.now += seconds

    monkeypatch.setattr(session_limits, "monotonic", clock)
    monkeypatch.setattr(session_limits.gevent, "sleep", sleep)
    at_once = SessionLimits(SETTINGS, lambda: False)
    for _ in range(50):
        at_once.count_command(logged_in=False)
    assert sum(waits) == pytest.approx(3)
    waits.clear()
    slowly = SessionLimits(SETTINGS, lambda: False)
    for _ in range(50):
        clock.now += 0.5
        slowly.count_command(logged_in=False)
    assert sum(waits) == 0


def test_two_hundred_connections_that_flood_it_without_login_are_ended_and_others_served(
    sandbox: Sandbox, gateway: Gateway
):
    """Each sends 96 KB of NOOP: all of them together would be three million commands."""
    sample = 'smtpgw_commands_total{verb="noop",code="250"}'
    before = metric(gateway, sample)
    lines = [Line(gateway) for _ in range(200)]
    heard: list[bytes] = []

    def flood(line: Line) -> None:
        try:
            line.sock.sendall(NOOP * 16_000)
        except OSError:
            return  # ended meanwhile
        finally:
            heard.append(rest(line))

    threads = [threading.Thread(target=flood, args=(line,)) for line in lines]
    for thread in threads:
        thread.start()
    assert gateway.is_ready()
    with gateway.client() as client:
        assert client.noop()[0] == 250
    for thread in threads:
        thread.join(60)
    for line in lines:
        line.sock.close()
    assert len(heard) == 200
    assert metric(gateway, sample) - before <= 200 * 50 + 1


def rest(line: Line) -> bytes:
    """Return what is received until the connection ends."""
    heard = b""
    try:
        while chunk := line.sock.recv(65_536):
            heard += chunk
    except ConnectionResetError:
        return heard  # what the client had sent and nobody read
    return heard


# --- The drain and the age, for a session that is busy


def every(seconds: float, number: int) -> Iterator[tuple[float, bytes]]:
    return ((seconds, NOOP) for _ in range(number))


def commands_until_refused(scene: Scene, most: int, reply: replies.Reply, **how: bool) -> int:
    """Read commands until one is rejected with this reply. Return how many were read, -1 for another reply."""
    for number in range(most):
        try:
            scene.line(**how)
        except replies.SMTPError as refusal:
            return number if refusal.reply is reply else -1
    raise AssertionError("never refused")


def test_a_busy_transaction_ends_in_a_drain_long_before_it_would_be_cut():
    scene = Scene(*every(1, 1000), stopping=lambda: scene.clock.now >= 1100)
    assert 100 < commands_until_refused(scene, 1000, replies.SHUTTING_DOWN) <= 100 + SETTINGS.drain_timeout_seconds / 4


def test_a_busy_transaction_has_some_time_in_a_drain():
    scene = Scene(*every(1, 20), stopping=lambda: True)
    for _ in range(20):
        assert scene.line() == b"NOOP"


def test_a_busy_transaction_ends_at_some_age():
    scene = Scene(*every(60, 1000), session_timeout_seconds=3600)
    assert 60 <= commands_until_refused(scene, 1000, replies.SESSION_TIMEOUT) <= 62


@pytest.mark.parametrize("drip", [b"x", b"x" * 5000])
def test_a_line_that_never_ends_does_not_keep_a_session(drip: bytes):
    for stopping, reply, most in ((False, replies.IDLE_TIMEOUT, 301), (True, replies.SHUTTING_DOWN, 27)):
        scene = Scene(*[(1.0, drip)] * 2000, stopping=lambda found=stopping: found)
        assert scene.refusal(scene.line) is reply
        assert scene.clock.now - 1000 <= most
    scene = Scene(*[(1.0, drip)] * 2000)
    assert scene.refusal(lambda: scene.line(logged_in=False)) is replies.IDLE_TIMEOUT
    assert scene.clock.now - 1000 <= 31


def test_one_that_never_lets_the_buffer_run_dry_hears_of_the_drain():
    lines = NOOP * 100
    scene = Scene(*[(1.0, lines + b"NO"), (0.0, b"OP\r\n")] * 100, stopping=lambda: scene.clock.now >= 1010)
    scene.stream.clock = scene.clock
    assert 0 < commands_until_refused(scene, 100_000, replies.SHUTTING_DOWN) <= 101 * (10 + 27)


def test_a_session_without_login_ends_when_its_time_is_up():
    scene = Scene(*every(1, 1000), max_commands_before_login=10_000)
    assert 119 <= commands_until_refused(scene, 1000, replies.LOGIN_TIMEOUT, logged_in=False) <= 122


@pytest.mark.parametrize(("drain", "slice_seconds"), [(100, 5), (12, 3), (4, 1)])
def test_a_short_drain_is_looked_for_more_often(drain: float, slice_seconds: float):
    found = Scene(drain_timeout_seconds=drain)
    assert found.connection._limits.slice_seconds == slice_seconds


def test_tls_hands_over_what_it_has_read_ahead_too(tmp_path):
    """Commands in records of their own: each of them is read before the reply is sent."""
    cert, key = map(str, write_pair(tmp_path))
    pair = Pair((make_context(cert, key), trusting(cert)), encrypted=True)
    assert isinstance(pair.client, ssl.SSLSocket)
    for _ in range(3):
        pair.client.sendall(NOOP)
    gevent.sleep(0.05)
    assert pair.connection.read_ahead()
    pair.connection.write(b"250 2.0.0 Ok\r\n")
    pair.connection.flush()
    for _ in range(3):
        assert pair.connection.read_line() == b"NOOP"
        assert not pair.connection.is_reaction
    pair.client.sendall(NOOP)
    assert pair.connection.read_line() == b"NOOP"
    assert pair.connection.is_reaction
    pair.connection.close()
    pair.client.close()
