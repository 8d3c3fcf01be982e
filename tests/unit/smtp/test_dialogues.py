"""Every transcript of `dialogues/`: in memory, whole and byte by byte, and with a real server, TLS both ways."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest

from smtpgw.config.provider_map import ProviderMap
from smtpgw.config.settings import Settings
from smtpgw.core.models import Account, Credentials, Peer, Receipt, Submission
from smtpgw.net.stream import Stream
from smtpgw.net.tls import Certificate
from smtpgw.sandbox.certificate import write_pair
from smtpgw.smtp.admission import ByteBudget
from smtpgw.smtp.connection import Connection
from smtpgw.smtp.session import Session
from smtpgw.submission.gateway import Gateway
from tests.support import gateway as real
from tests.support.dialogue import FOLDER, Player, Transcript
from tests.support.sandbox import Sandbox

TRANSCRIPTS = [Transcript.read(path) for path in sorted(FOLDER.glob("*.txt"))]
REAL = [t for t in TRANSCRIPTS if "only" not in t.directives]
BYTEWISE_BYTES = 20_000  # in all; a longer transcript gains nothing from it


class Broken:
    """A gateway with a bug."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway

    def login(self, credentials: Credentials, client: str) -> Account:
        return self.gateway.login(credentials, client)

    def check_available(self) -> None:
        return

    def submit(self, submission: Submission) -> Receipt:
        raise KeyError("a bug, for the test")

    def close(self) -> None:
        self.gateway.close()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_pair(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def memory(sandbox: Sandbox, pair: tuple[Path, Path]) -> Iterator[Callable[[Transcript, bool], None]]:
    """Play a transcript with a session in this process, over a pair of sockets."""
    running = []

    def play(transcript: Transcript, bytewise: bool) -> None:
        cert, key = map(str, pair)
        environ = {"SMTPGW_TLS_CERT": cert, "SMTPGW_TLS_KEY": key, "SMTPGW_HOSTNAME": "localhost"}
        settings = Settings.from_environ({"CAKEMAIL_API_URL": sandbox.url, **environ, **transcript.settings})
        gateway: Any = Gateway(settings, ProviderMap.EMPTY)
        if "broken_gateway" in transcript.directives:
            gateway = Broken(gateway)
        budget = ByteBudget(settings.max_bytes_in_flight)
        budget.held = int(transcript.directives.get("room_taken", 0))
        ours, theirs = socket.socketpair()
        connection = Connection(Stream(theirs), settings, lambda: False)
        session = Session(connection, Peer("127.0.0.1", 1), gateway, settings, Certificate(cert, key), budget)
        running.append(gevent.spawn(session.run))
        with Player(ours, real.trusting(cert), sandbox, bytewise=bytewise) as player:
            player.play(transcript)
        running[0].get(timeout=10)  # raises what the session raised: nothing dies unseen
        gateway.close()
        assert budget.held == int(transcript.directives.get("room_taken", 0))

    yield play
    gevent.killall(running)


@pytest.fixture(scope="session")
def gateways(
    shared_sandbox: Sandbox, shared_gateway: real.Gateway, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[dict[str, str]], real.Gateway]]:
    """A real gateway for each combination of settings."""
    started: dict[tuple[tuple[str, str], ...], real.Gateway] = {(): shared_gateway}

    def get(settings: dict[str, str]) -> real.Gateway:
        key = tuple(sorted(settings.items()))
        if key not in started:
            started[key] = real.Gateway(shared_sandbox.url, tmp_path_factory.mktemp("gateway"), **settings)
            started[key].start()
        return started[key]

    yield get
    del started[()]
    for gateway in started.values():
        gateway.process.terminate()
    for gateway in started.values():
        gateway.stop()


def prepare(sandbox: Sandbox, transcript: Transcript) -> None:
    for fault in transcript.faults:
        sandbox.fault(**fault)


@pytest.mark.parametrize("bytewise", [False, True], ids=["whole", "bytewise"])
@pytest.mark.parametrize("transcript", TRANSCRIPTS, ids=lambda t: t.name)
def test_in_memory(
    transcript: Transcript, bytewise: bool, sandbox: Sandbox, memory: Callable[[Transcript, bool], None]
) -> None:
    if bytewise and sum(map(len, transcript.lines)) > BYTEWISE_BYTES:
        pytest.fail("too long a transcript to play byte by byte; use {repeat}")
    prepare(sandbox, transcript)
    memory(transcript, bytewise)


@pytest.mark.parametrize("transcript", REAL, ids=lambda t: t.name)
def test_with_a_real_server(transcript: Transcript, sandbox: Sandbox, gateways: Callable[..., real.Gateway]) -> None:
    gateway = gateways(transcript.settings)
    prepare(sandbox, transcript)
    sock = socket.create_connection((gateway.host, gateway.port))
    with Player(sock, gateway.trusting(), sandbox) as player:
        player.play(transcript)


@pytest.mark.parametrize("transcript", [t for t in REAL if t.uses_starttls], ids=lambda t: t.name)
def test_with_tls_from_the_first_byte(
    transcript: Transcript, sandbox: Sandbox, gateways: Callable[..., real.Gateway]
) -> None:
    gateway = gateways(transcript.settings)
    prepare(sandbox, transcript)
    sock = socket.create_connection((gateway.host, gateway.smtps_port))
    with Player(sock, gateway.trusting(), sandbox) as player:
        player.step("TLS")
        player.play(transcript.with_tls_first())
