"""An SMTP connection as an application has one, by smtplib, which says of each step how long it took.

The dialogue is smtplib's; only AUTH and DATA are said here, to hear their replies whatever they are.
"""

import base64
import re
import smtplib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from time import perf_counter
from urllib.parse import urlsplit

from _messages import Mail

TIMEOUT_SECONDS = 60.0  # longer than the gateway takes for one message
OUR_NAME = "loadtest.example"  # in EHLO; looking up the machine's own can take seconds
SESSION_ID = re.compile(r" *\[[^\[\]]*\]$")  # at the end of an error reply: another one each time
PORT = 587
ENDED = 421  # the reply after which the server closes
CONNECT, TLS, AUTH, REPLY = STEPS = ("connect", "TLS", "AUTH", "DATA→reply")


class Unexpected(Exception):
    """A step that did not go as it should."""

    def __init__(self, step: str, milliseconds: float, why: str) -> None:
        super().__init__(why)
        self.step = step
        self.milliseconds = milliseconds


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply, and how long it took."""

    code: int
    text: str
    milliseconds: float

    def problem(self, wanted: int) -> str | None:
        """What is wrong with it, if anything; in the same words each time, so that locust's table of errors is one."""
        if self.code == wanted:
            return None
        return "250, and not " + str(wanted) if self.code == 250 else f"{self.code} {SESSION_ID.sub('', self.text)}"


@dataclass(frozen=True, slots=True)
class Target:
    """Where to connect, and which certificates to trust: the system's, or those in a file."""

    host: str
    port: int
    ca_file: str = ""

    @classmethod
    def named(cls, url: str, ca_file: str = "") -> "Target":
        """Of an address as locust's --host has it, smtp://name:port.

        Raises:
            ValueError: it is none.
        """
        parts = urlsplit(url)
        if parts.scheme != "smtp" or not parts.hostname or parts.path.strip("/"):
            raise ValueError(f"{url!r} must be like smtp://smtp.example.com:{PORT}")
        return cls(parts.hostname, parts.port or PORT, ca_file)


@cache
def trusting(ca_file: str) -> ssl.SSLContext:
    """One context for all connections: reading the certificates takes longer than a handshake."""
    return ssl.create_default_context(cafile=ca_file or None)


class Connection:
    """Open and encrypted once it is made. Where a method raises Unexpected, it has closed the connection."""

    def __init__(self, target: Target) -> None:
        self.messages = 0
        self.steps: dict[str, float] = {}  # the last of each name, in milliseconds
        self.smtp: smtplib.SMTP | None = None
        context = trusting(target.ca_file)
        with self.step(CONNECT):
            self.smtp = smtplib.SMTP(target.host, target.port, OUR_NAME, TIMEOUT_SECONDS)
        with self.step("EHLO"):
            self.smtp.ehlo()
        with self.step(TLS):
            self.smtp.starttls(context=context)
        with self.step("EHLO"):
            self.smtp.ehlo()

    def log_in(self, username: str, password: str) -> Answer:
        """AUTH PLAIN in one command (RFC 4954 §4). smtplib's own takes no password outside ASCII."""
        secret = base64.b64encode(f"\0{username}\0{password}".encode()).decode("ascii")
        return self.say(AUTH, f"AUTH PLAIN {secret}")

    def begin(self, sender: str) -> Answer:
        return self.say("MAIL", f"MAIL FROM:<{sender}>")

    def begins_again(self, sender: str) -> bool:
        """MAIL on a connection that was used before: False where it has ended meanwhile, as servers may do."""
        try:
            answer = self.begin(sender)
        except Unexpected as problem:
            if problem.milliseconds >= TIMEOUT_SECONDS * 1000:
                raise  # it has not ended, but hangs
            return False
        if answer.code == ENDED:
            self.close()
            return False
        self.need("MAIL", 250, answer)
        return True

    def finish(self, mail: Mail) -> Answer:
        """RCPT for each recipient and DATA; the answer is that to the data, timed from its last octet on."""
        for recipient in mail.recipients:
            self.need("RCPT", 250, self.say("RCPT", f"RCPT TO:<{recipient}>"))
        self.need("DATA", 354, self.say("DATA", "DATA"))
        with self.step("DATA"):
            self.smtp.send(mail.octets)
        self.messages += 1
        with self.step(REPLY):
            code, text = self.smtp.getreply()
        return Answer(code, text.decode("utf-8", "replace"), self.steps[REPLY])

    def say(self, step: str, command: str) -> Answer:
        with self.step(step):
            code, text = self.smtp.docmd(command)
        return Answer(code, text.decode("utf-8", "replace"), self.steps[step])

    def need(self, step: str, code: int, answer: Answer) -> None:
        """Raises Unexpected when that is not the answer's code."""
        if problem := answer.problem(code):
            self.close()
            raise Unexpected(step, answer.milliseconds, problem)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        began = perf_counter()
        try:
            yield
        except (OSError, smtplib.SMTPException) as problem:
            self.close()
            raise Unexpected(name, (perf_counter() - began) * 1000, said(problem)) from problem
        self.steps[name] = (perf_counter() - began) * 1000

    def quit(self) -> None:
        """Leave as is polite."""
        with suppress(OSError, smtplib.SMTPException):  # it may have gone before
            self.smtp.quit()
        self.close()

    def close(self) -> None:
        if self.smtp:
            self.smtp.close()


def said(problem: Exception) -> str:
    """The same words each time for the same problem."""
    if isinstance(problem, smtplib.SMTPResponseException):
        text = problem.smtp_error
        text = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
        return f"{problem.smtp_code} {SESSION_ID.sub('', text)}"
    if isinstance(problem, ssl.SSLError):
        return f"{type(problem).__name__}: {getattr(problem, 'verify_message', '') or problem.reason}"
    return f"{type(problem).__name__}: {getattr(problem, 'strerror', None) or problem}"
