"""Tests of CPU cost: parsing input that is four times as long takes about four times as long.

The inputs come from `adversarial`: floods of every delimiter in every place that is parsed. Only a rejection is allowed
to result. A quadratic step would take sixteen times as long. Short times are not compared, because they vary.
"""

import dataclasses
from collections.abc import Callable
from time import process_time

import pytest

from smtpgw.config.provider_map import ProviderMap
from smtpgw.core.addresses import mailbox
from smtpgw.core.networks import client_key
from smtpgw.core.replies import SMTPError
from smtpgw.dialects import interpreter
from smtpgw.message import parser
from smtpgw.smtp import commands, sasl
from smtpgw.submission import message_log, translation
from smtpgw.telemetry import logs
from tests.support.adversarial import PAIRS, PLACES, UNITS, flood, floods

RECIPIENTS = ["ann@customer.example", "bob@customer.example"]
MAPPING = dataclasses.replace(ProviderMap.EMPTY.account(1), metadata_as_headers=True)
SMALL_BYTES, LARGE_BYTES = 6_000, 24_000
SMALL_COUNT, LARGE_COUNT = 200, 800
# Shorter times are not compared.
MIN_COMPARED_SECONDS = 0.03
# An input four times as long takes 4 times as long if the cost is linear, and 16 times if it is quadratic.
MAX_TIMES = 9


def whole_way(raw: bytes) -> None:
    """Process a message up to its request."""
    try:
        mail = parser.parse(raw, "embed")
        options = interpreter.read(mail, RECIPIENTS, MAPPING)
        translation.translate(mail, options, "sender", 1, "transactional")
    except SMTPError:
        message_log.message_id(raw)


def seconds(work: Callable[[], object], times: int = 1) -> float:
    """Return the least CPU time of some work."""
    best = float("inf")
    for _ in range(times):
        began = process_time()
        work()
        best = min(best, process_time() - began)
    return best


def check(small: Callable[[], object], large: Callable[[], object], what: str) -> None:
    if seconds(large) < MIN_COMPARED_SECONDS:
        return
    long = seconds(large, 3)
    if long >= MIN_COMPARED_SECONDS:
        short = seconds(small, 3)
        assert long < MAX_TIMES * short, f"{what}: {short:.4f} s, and {long:.4f} s for four times that"


@pytest.mark.parametrize("place", PLACES)
def test_a_flood_takes_time_in_proportion(place: str) -> None:
    made = PLACES[place]
    short = dict(floods(SMALL_BYTES))
    for name, text in floods(LARGE_BYTES):
        check(
            lambda name=name: whole_way(made(short[name])),  # type: ignore[misc]
            lambda text=text: whole_way(made(text)),  # type: ignore[misc]
            f"{name} in {place}",
        )


@pytest.mark.parametrize("pair", PAIRS)
def test_two_floods_do_not_multiply(pair: str) -> None:
    made = PAIRS[pair]
    small, large = made(SMALL_COUNT), made(LARGE_COUNT)
    seconds_per_byte_of_both = MAX_TIMES * max(1.0, len(large) / len(small) / 4)
    if seconds(lambda: whole_way(large)) >= MIN_COMPARED_SECONDS:
        short, long = seconds(lambda: whole_way(small), 3), seconds(lambda: whole_way(large), 3)
        assert long < seconds_per_byte_of_both * short or long < MIN_COMPARED_SECONDS, f"{short:.4f} s, {long:.4f} s"


def command(text: str) -> None:
    """Parse a command line, and its argument as each command would."""
    for read in (commands.split_line, commands.parse_mail, commands.parse_rcpt, mailbox, client_key):
        try:
            read(text.encode() if read is commands.split_line else text)  # type: ignore[operator]
        except (SMTPError, ValueError):
            continue


def response(text: str) -> None:
    """Parse a response to AUTH."""
    for mechanism in sasl.MECHANISMS.values():
        try:
            mechanism(text, lambda _: "*")
        except SMTPError:
            continue


READERS: dict[str, Callable[[str], object]] = {
    "command": command,
    "MAIL": lambda text: command("FROM:" + text),
    "MAIL <": lambda text: command("FROM:<" + text),
    'MAIL <"': lambda text: command('FROM:<"' + text),
    "MAIL parameters": lambda text: command("FROM:<a@b.example> " + text),
    "RCPT": lambda text: command("TO:<" + text + ">"),
    "RCPT domain": lambda text: command("TO:<a@" + text + ">"),
    "AUTH": response,
    "log text": logs.text,
    "log text with an address": lambda text: logs.text(f"@ {text} a@b.example"),
    "Message-ID": lambda text: message_log.message_id(text.encode()),
    "Message-ID field": lambda text: message_log.message_id(b"message-id:" + text.encode()),
}


@pytest.mark.parametrize("reader", READERS)
def test_a_line_takes_time_in_proportion(reader: str) -> None:
    read = READERS[reader]
    for unit in [*UNITS, "message-id:", "message-id:\r\n", '"\\"', 'a"', "<a", "@a,", "a=b "]:
        for before in ("", "a", '"', "<"):
            short, long = flood(unit, SMALL_BYTES, before), flood(unit, LARGE_BYTES, before)
            check(lambda short=short: read(short), lambda long=long: read(long), repr(unit))  # type: ignore[misc]
