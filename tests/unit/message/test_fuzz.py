"""Fuzz tests: dialogues in any order, and a short run of the targets of `make fuzz`."""

import socket
from pathlib import Path

import gevent
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.fuzz.targets import TARGETS
from tests.support.recorder import STATES, TIMEOUT_SECONDS, InProcess, codes, plain

COMMANDS = [
    b"EHLO client.example", b"HELO x", b"STARTTLS", b"AUTH PLAIN", b"AUTH LOGIN", b"AUTH PLAIN " + plain("bad", "bad"),
    b"MAIL FROM:<a@x.example>", b"MAIL FROM:<> SIZE=10 BODY=8BITMIME", b"MAIL FROM:<a@x.example> SIZE=99999999999",
    b"RCPT TO:<r@x.example>", b"RCPT TO:<r@x.example> NOTIFY=NEVER", b"RCPT TO:<>", b"DATA", b"BDAT 3 LAST", b"RSET",
    b"NOOP", b"VRFY x", b"HELP", b"QUIT", b"GET / HTTP/1.1", b".", b"..", b"*", b"=", b"", b"dGVzdA==", b"Subject: x",
]  # fmt: skip
ENDS = [b"\r\n", b"\n", b"\r", b"", b"\0\r\n", b"\r\n.\r\n", b"\n.\n", b"\r\n.\n"]
LONG = b"x" * 13_000
CORPUS = sorted((Path(__file__).parent.parent.parent / "corpus").rglob("*.eml"))


class Dialogue(RuleBasedStateMachine):
    """A client that sends anything at any time. The session replies or closes, and accepts nothing without a login."""

    @initialize(state=st.sampled_from(STATES))
    def connect(self, state: str) -> None:
        self.state = state
        self.dialogue = InProcess(state)
        self.heard = b""
        self.listen()

    def say(self, octets: bytes) -> None:
        try:
            self.dialogue.sock.sendall(octets)
        except (BrokenPipeError, ConnectionResetError):
            # The session has closed the connection.
            return
        self.listen()

    def listen(self) -> None:
        """Receive data while the session is busy."""
        for _ in range(3):
            gevent.sleep(0)
        self.dialogue.sock.settimeout(0)
        try:
            self.heard += self.dialogue.sock.recv(65_536)
        except (BlockingIOError, ConnectionResetError):
            return
        finally:
            self.dialogue.sock.settimeout(TIMEOUT_SECONDS)

    @rule(command=st.sampled_from(COMMANDS), end=st.sampled_from(ENDS))
    def command(self, command: bytes, end: bytes) -> None:
        self.say(command + end)

    @rule(octets=st.binary(min_size=1, max_size=60), end=st.sampled_from(ENDS))
    def anything(self, octets: bytes, end: bytes) -> None:
        self.say(octets + end)

    @rule(pieces=st.lists(st.sampled_from(COMMANDS), min_size=2, max_size=6))
    def pipelined(self, pieces: list[bytes]) -> None:
        self.say(b"\r\n".join(pieces) + b"\r\n")

    @rule()
    def something_long(self) -> None:
        self.say(LONG + b"\r\n")

    @precondition(lambda self: self.dialogue.session.tls)
    @rule()
    def login(self) -> None:
        self.say(b"EHLO x\r\nAUTH PLAIN " + plain() + b"\r\n")

    @invariant()
    def it_goes_on_or_has_ended_well(self) -> None:
        assert self.dialogue.running.exception is None, "the session died"

    @invariant()
    def nothing_is_accepted_without_a_login(self) -> None:
        logged_in = STATES.index(self.state) >= STATES.index("logged in") or b"\r\n235 " in self.heard
        assert logged_in or not self.dialogue.gateway.submissions

    @invariant()
    def every_line_it_says_is_a_reply(self) -> None:
        lines = self.heard.split(b"\r\n")[:-1]
        assert all(line[:3].isdigit() and line[3:4] in (b" ", b"-") for line in lines), lines
        assert all(len(line) <= 510 and all(32 <= octet < 127 for octet in line) for line in lines)

    def teardown(self) -> None:
        if not hasattr(self, "dialogue"):
            return
        self.heard += self.dialogue.converse([b"\r\n.\r\n", b"\r\nQUIT\r\n"])
        self.every_line_it_says_is_a_reply()
        assert self.dialogue.session.closing, "it neither answered nor hung up"
        assert codes(self.heard)[0] == 220


Dialogue.TestCase.settings = settings(max_examples=150, stateful_step_count=25, deadline=None)
test_any_dialogue = Dialogue.TestCase


@pytest.mark.parametrize("name", [name for name in TARGETS if name != "dialogue"])
def test_any_octets(name: str):
    @settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.binary(max_size=400))
    def fuzz(octets: bytes) -> None:
        TARGETS[name](octets)

    fuzz()


@pytest.mark.skipif(not CORPUS, reason="there is no corpus of messages")
def test_messages_with_a_few_octets_changed():
    seeds = st.sampled_from(CORPUS).map(Path.read_bytes)
    changes = st.lists(st.tuples(st.integers(0, 100_000), st.binary(max_size=4), st.integers(0, 12)), max_size=5)

    @settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
    @given(seeds, changes)
    def fuzz(message: bytes, changed: list[tuple[int, bytes, int]]) -> None:
        for place, octets, cut in changed:
            at = place % (len(message) + 1)
            message = message[:at] + octets + message[at + cut :]
        TARGETS["message"](message)

    fuzz()


def test_a_client_that_leaves_at_any_octet_leaves_nothing_behind():
    whole = (
        b"EHLO x\r\nAUTH PLAIN "
        + plain()
        + b"\r\nMAIL FROM:<a@x.example>\r\nRCPT TO:<r@x.example>\r\nDATA\r\nx\r\n.\r\n"
    )
    for length in range(len(whole)):
        dialogue = InProcess("encrypted")
        dialogue.sock.sendall(whole[:length])
        dialogue.sock.shutdown(socket.SHUT_RDWR)
        dialogue.running.get(timeout=TIMEOUT_SECONDS)
        assert dialogue.budget.held == 0
        assert dialogue.gateway.submissions == []
        dialogue.sock.close()
