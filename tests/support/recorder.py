"""A session in this process whose gateway only notes down what it is given: for tests of dialogues by the thousand."""

import base64
import contextlib
import socket
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import gevent

from smtpgw.config.settings import Settings
from smtpgw.core import replies
from smtpgw.core.models import Account, Credentials, Envelope, Peer, Receipt, Submission
from smtpgw.core.replies import SMTPError
from smtpgw.net.stream import Stream
from smtpgw.net.tls import Certificate
from smtpgw.sandbox.certificate import write_pair
from smtpgw.smtp.admission import ByteBudget
from smtpgw.smtp.connection import Connection
from smtpgw.smtp.session import Session
from tests.support.gateway import PASSWORD, USERNAME

TIMEOUT_SECONDS = 20
GOOD = Credentials(USERNAME, PASSWORD)
STATES = ("connected", "encrypted", "greeted", "logged in", "mail given", "recipient given")


class Recorder:
    """The session's `Gateway`: accepts whatever somebody who has logged in submits."""

    def __init__(self) -> None:
        self.logins: list[Credentials] = []
        self.submissions: list[Submission] = []
        self.confirmed: list[str] = []  # ids of submissions

    def login(self, credentials: Credentials, client: str) -> Account:
        self.logins.append(credentials)
        if credentials != GOOD:
            raise SMTPError(replies.BAD_CREDENTIALS)
        return Account(1, credentials)

    def check_available(self) -> None:
        return

    def submit(self, submission: Submission) -> Receipt:
        assert submission.account.credentials == GOOD, "a submission without a login"
        self.submissions.append(submission)
        number = submission.id
        return Receipt(replies.QUEUED.filled(id=number), lambda: self.confirmed.append(number))


FOLDER = TemporaryDirectory(prefix="smtpgw-test-")


@cache
def pair() -> tuple[str, str]:
    """A certificate and its key, made once."""
    cert, key = write_pair(Path(FOLDER.name))
    return str(cert), str(key)


@cache
def certificate() -> Certificate:
    return Certificate(*pair())


def settings(**variables: str) -> Settings:
    cert, key = pair()
    usual = {"SMTPGW_TLS_CERT": cert, "SMTPGW_TLS_KEY": key, "SMTPGW_HOSTNAME": "localhost"}
    return Settings.from_environ({**usual, **variables})


class InProcess:
    """A session that begins in one of STATES, as if TLS and login had been; without them, so that it is quick."""

    def __init__(
        self, state: str = "connected", using: Settings | None = None, gateway: Recorder | None = None
    ) -> None:
        self.may_fail = gateway is not None  # one with a bug, for the test
        self.gateway = gateway or Recorder()
        self.sock, theirs = socket.socketpair()
        self.sock.settimeout(TIMEOUT_SECONDS)
        self.settings = using or settings()
        connection = Connection(Stream(theirs), self.settings, lambda: False)
        budget = ByteBudget(self.settings.max_bytes_in_flight)
        self.session = Session(connection, Peer("192.0.2.1", 1), self.gateway, self.settings, certificate(), budget)
        self.budget = budget
        level = STATES.index(state)
        self.session.tls = "TLSv1.3" if level >= 1 else ""
        self.session.greeted = level >= 2
        self.session.account = Account(1, GOOD) if level >= 3 else None
        self.session.envelope = (
            Envelope("sender@cakemail.example", ["r@x.example"] * (level >= 5)) if level >= 4 else None
        )
        self.running = gevent.spawn(self.session.run)

    def converse(self, pieces: Iterable[bytes]) -> bytes:
        """Send these pieces, each in a packet of its own, and say no more; everything that was heard."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it may hang up before the end
            for piece in pieces:
                self.sock.sendall(piece)
                gevent.sleep(0)
            self.sock.shutdown(socket.SHUT_WR)
        heard = b"".join(self._received())
        self.running.get(timeout=TIMEOUT_SECONDS)  # raises what the session raised: nothing dies unseen
        assert self.may_fail or replies.INTERNAL_ERROR.encode()[:20] not in heard, "the session has a bug"
        assert self.budget.held == 0
        self.sock.close()
        return heard

    def _received(self) -> Iterator[bytes]:
        try:
            while chunk := self.sock.recv(65_536):
                yield chunk
        except ConnectionResetError:
            return


def plain(username: str = USERNAME, password: str = PASSWORD) -> bytes:
    """The response of AUTH PLAIN."""
    return base64.b64encode(f"\0{username}\0{password}".encode())


def codes(heard: bytes) -> list[int]:
    """The codes of the replies, one for each, the greeting's among them."""
    return [int(line[:3]) for line in heard.split(b"\r\n") if line[3:4] in (b" ", b"") and line]
