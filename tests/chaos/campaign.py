"""Many messages from many clients, each sent once and no more, and what became of each: what clients heard, the ledger.

A message counts as sent from the moment its data is on the way. What goes wrong before (a connection refused or lost, a
421 between two messages) is what clients with a pool of connections cope with: they connect again and send it then.
"""

import itertools
import re
import smtplib
import ssl
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from time import monotonic

import gevent

from tests.support.gateway import PASSWORD, SENDER, USERNAME
from tests.support.sandbox import Sandbox

TIMEOUT_SECONDS = 60.0
PAUSE_SECONDS = 0.05  # before connecting again
DOMAIN = "chaos.example"
UNKNOWN = 0  # for a code: the connection was lost before the reply to the data
MESSAGE = (
    f"From: {SENDER}\r\nSubject: {{number}}\r\nMessage-ID: <{{number}}@{DOMAIN}>\r\n\r\nMessage {{number}}.\r\n.\r\n"
)


class NotSent(Exception):
    """No data was on its way yet: the message may be sent again."""


@dataclass
class Heard:
    """What a client heard of a message: the reply's code and text."""

    code: int
    text: str
    seconds: float


@dataclass
class Campaign:
    """`total` messages over `connections` clients that connect to `port`, at no more than `rate` a second, if given.

    It ends before where `is_enough` is set: for what a test does meanwhile, and takes as long as it takes.
    """

    port: int
    trusted: ssl.SSLContext
    total: int
    connections: int = 40
    rate: float | None = None
    per_connection: int | None = None  # then the client says QUIT and connects again
    is_enough: bool = False
    heard: dict[int, Heard] = field(default_factory=dict)
    not_sent: Counter[str] = field(default_factory=Counter)  # by what went wrong before the data

    def run(self, progress: Callable[[int], None] = lambda done: None) -> None:
        """Send them all; `progress` hears after each how many are done."""
        self.numbers = itertools.takewhile(lambda number: not self.is_enough, range(self.total))
        self.progress, self.began = progress, monotonic()
        clients = [gevent.spawn(self.client) for _ in range(self.connections)]
        try:
            for client in gevent.iwait(clients):
                client.get()  # a bug of this file is not one message lost
        finally:
            gevent.killall(clients)

    def client(self) -> None:
        """One client: a connection at a time, messages one after another."""
        connection: smtplib.SMTP | None = None
        sent = 0
        for number in self.numbers:
            self.wait_for_turn(number)
            while number not in self.heard:
                try:
                    connection = connection or self.connect()
                    self.heard[number] = self.send(connection, number)
                    sent += 1
                except NotSent as problem:
                    self.not_sent[str(problem)] += 1
                    connection, sent = close(connection), 0
                    gevent.sleep(PAUSE_SECONDS)
            self.progress(len(self.heard))
            if self.heard[number].code in (UNKNOWN, 421) or sent == self.per_connection:
                connection, sent = close(connection), 0
        close(connection)

    def wait_for_turn(self, number: int) -> None:
        if self.rate:
            gevent.sleep(max(0.0, self.began + number / self.rate - monotonic()))

    def connect(self) -> smtplib.SMTP:
        connection = None
        try:
            connection = smtplib.SMTP("localhost", self.port, timeout=TIMEOUT_SECONDS)
            connection.starttls(context=self.trusted)
            connection.login(USERNAME, PASSWORD)
        except (OSError, smtplib.SMTPException) as problem:
            if connection:
                connection.close()
            raise NotSent(f"connecting: {said(problem)}") from problem
        return connection

    def send(self, connection: smtplib.SMTP, number: int) -> Heard:
        began = monotonic()
        try:
            for command, wanted in (
                (f"MAIL FROM:<{SENDER}>", 250),
                (f"RCPT TO:<{number}@{DOMAIN}>", 250),
                ("DATA", 354),
            ):
                code, text = connection.docmd(command)
                if code != wanted:
                    raise NotSent(f"{command[:4]}: {code}")
        except (OSError, smtplib.SMTPException) as problem:
            raise NotSent(f"before the data: {said(problem)}") from problem
        try:
            connection.send(MESSAGE.format(number=number))
            code, text = connection.getreply()
        except (OSError, smtplib.SMTPException):
            return Heard(UNKNOWN, "", monotonic() - began)
        return Heard(code, text.decode(), monotonic() - began)


def close(connection: smtplib.SMTP | None) -> None:
    if connection:
        try:
            connection.quit()
        except (OSError, smtplib.SMTPException):
            connection.close()


def said(problem: Exception) -> str:
    code = getattr(problem, "smtp_code", None)
    return f"{code}" if code else type(problem).__name__


@dataclass
class Row:
    """Of the messages that were answered alike, how many are in the ledger how often."""

    answer: str
    counts: Counter[int]
    wrong: list[int]  # messages that are there more or less often than they may be

    def __str__(self) -> str:
        more = sum(number for times, number in self.counts.items() if times > 1)
        return (
            f"{self.answer:<14} {self.counts.total():>7} {self.counts[0]:>9} {self.counts[1]:>7} {more:>7}"
            f"   {'wrong: ' + ', '.join(map(str, self.wrong[:5])) if self.wrong else 'as it should be'}"
        )


OWN_ID = re.compile(r"queued as [0-9a-f]{12}\.[0-9]+$")
HEADING = f"{'answered':<14} {'all':>7} {'not there':>9} {'once':>7} {'more':>7}   in the sandbox's ledger"


def compared(campaign: Campaign, sandbox: Sandbox) -> list[Row]:
    """What clients heard against what was accepted: 250 is there exactly once, everything else at most once.

    A 250 says Cakemail's id; the gateway's own only where Cakemail accepted the message and gave none, no more often.
    """
    without_id = sum(fault["hits"] for fault in sandbox.faults() if fault["kind"] == "no_id")
    ids: dict[str, list[str]] = {}
    for entry in sandbox.ledger()["entries"]:
        ids.setdefault(entry["email"], []).extend(entry["ids"])
    rows = {name: Row(name, Counter(), []) for name in ("250", "4xx", "5xx", "connection lost")}
    for number, heard in campaign.heard.items():
        found = ids.pop(f"{number}@{DOMAIN}", [])
        row = rows[answer(heard.code)]
        row.counts[len(found)] += 1
        is_once_and_so_named = len(found) == 1 and found[0] in heard.text
        if heard.code == 250 and len(found) == 1 and without_id and OWN_ID.search(heard.text):
            is_once_and_so_named = True
            without_id -= 1
        if not (is_once_and_so_named if heard.code == 250 else len(found) <= 1):
            row.wrong.append(number)
    if ids:
        rows["nobody sent"] = Row("nobody sent", Counter(map(len, ids.values())), [0])
    return list(rows.values())


def answer(code: int) -> str:
    return {0: "connection lost", 250: "250"}.get(code, f"{code // 100}xx")


def percentiles(campaign: Campaign, shares: Sequence[float] = (0.5, 0.95, 0.99)) -> Iterator[str]:
    seconds = sorted(heard.seconds for heard in campaign.heard.values() if heard.code == 250)
    for share in shares:
        yield f"p{share * 100:g} {seconds[int(share * (len(seconds) - 1))] * 1000:.0f} ms"
