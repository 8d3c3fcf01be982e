"""Guessing passwords: what it costs the guesser, and that it costs nobody else anything."""

import base64
import itertools
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import gevent
import pytest
import redis

from smtpgw.config.settings import Settings
from smtpgw.core import replies
from smtpgw.core.models import Account, Credentials
from smtpgw.core.replies import SMTPError
from smtpgw.sandbox.accounts import OTHER
from smtpgw.sandbox.certificate import write_pair
from smtpgw.submission import login_throttle
from smtpgw.submission.login_throttle import (
    ACCEPTED_SECONDS,
    ADMISSION_NAME_SECONDS,
    ADMISSION_SECONDS,
    MAX_CREDENTIALS,
    RECHECK_SECONDS,
    LoginThrottle,
)
from tests.support.gateway import PASSWORD, USERNAME, Gateway
from tests.support.line import TIMEOUT_SECONDS, Line, log_lines, metric
from tests.support.ports import free_port
from tests.support.sandbox import Sandbox

ATTACKER, OWNER = "203.0.113.7", "198.51.100.1"
GOOD = Credentials(USERNAME, PASSWORD)
FAILURES = 5
DELAYS = [0.1, 0.2, 0.4, 0.8, 1.0]  # seconds after the first guess and so on, no more than the setting says


def guess(number: int, username: str = USERNAME) -> Credentials:
    return Credentials(username, f"guess-{number}")


class Api:
    """What stands for the API: who may log in, and how often it was asked."""

    def __init__(self) -> None:
        self.good = {GOOD}
        self.asked: list[Credentials] = []
        self.refusal = replies.BAD_CREDENTIALS

    def login(self, credentials: Credentials) -> Account:
        self.asked.append(credentials)
        gevent.sleep(0)  # as a call would, this lets the others go on
        if credentials in self.good:
            return Account(1, credentials)
        raise SMTPError(self.refusal)


class Clock:
    """A time that only passes when something waits, or when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.waits: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)


@pytest.fixture(scope="module")
def settings_with(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Settings]:
    cert, key = write_pair(tmp_path_factory.mktemp("certificate"))

    def make(**variables: str) -> Settings:
        least = {"SMTPGW_TLS_CERT": str(cert), "SMTPGW_TLS_KEY": str(key)}
        throttle = {"SMTPGW_THROTTLE_FAILURES": str(FAILURES), "SMTPGW_THROTTLE_DELAY_SECONDS": "1"}
        return Settings.from_environ({**least, **throttle, **variables})

    return make


class World:
    """A throttle, the API behind it and the time."""

    def __init__(self, settings: Settings) -> None:
        self.api, self.clock = Api(), Clock()
        self.throttle = LoginThrottle(settings, self.clock, self.clock.sleep)

    def answer(self, credentials: Credentials, address: str = ATTACKER) -> int:
        """The code that a client hears; 235 for a login."""
        try:
            self.throttle.login(address, credentials, self.api.login)
        except SMTPError as refusal:
            return refusal.reply.code
        return 235


@pytest.fixture
def world(settings_with: Callable[..., Settings]) -> World:
    return World(settings_with())


def test_each_guess_takes_longer_and_then_none_is_heard(world: World):
    assert [world.answer(guess(n)) for n in range(FAILURES)] == [535] * FAILURES
    assert world.clock.waits == pytest.approx(DELAYS)
    assert [world.answer(guess(n)) for n in range(FAILURES, FAILURES + 3)] == [454] * 3
    assert len(world.api.asked) == FAILURES, "a refused login costs no call of the API"
    assert world.clock.waits[FAILURES:] == [1.0] * 3


def test_one_guess_fewer_and_the_right_password_is_still_heard(world: World):
    assert [world.answer(guess(n)) for n in range(FAILURES - 1)] == [535] * (FAILURES - 1)
    assert world.answer(GOOD) == 235


def test_the_refusal_says_how_long_it_lasts(world: World):
    for n in range(FAILURES):
        world.answer(guess(n))
    with pytest.raises(SMTPError) as refused:
        world.throttle.login(ATTACKER, guess(99), world.api.login)
    assert (refused.value.reply.code, refused.value.reply.status) == (454, "4.7.0")
    seconds = re.search("try again in ([0-9]+) seconds", refused.value.reply.text)
    assert seconds
    assert 25 < int(seconds[1]) <= ADMISSION_NAME_SECONDS


def test_it_is_over_when_the_time_is(settings_with: Callable[..., Settings]):
    world = World(settings_with(SMTPGW_THROTTLE_SECONDS="1"))
    for n in range(FAILURES):
        world.answer(guess(n))
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while world.answer(GOOD) == 454:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert world.api.asked[-1] == GOOD


def test_nobody_else_hears_of_it(world: World):
    for n in range(FAILURES):
        world.answer(guess(n))
    assert world.answer(guess(99)) == 454
    world.clock.waits.clear()
    assert world.answer(GOOD, OWNER) == 235
    assert world.answer(guess(99, "somebody@else.example"), "192.0.2.77") == 535


def test_the_owner_logs_in_at_once_where_he_has_before_while_his_account_is_guessed_at_from_everywhere(world: World):
    assert world.answer(GOOD, OWNER) == 235
    world.clock.now += ACCEPTED_SECONDS - 1
    for n in range(4 * FAILURES):
        world.answer(guess(n), f"203.0.113.{n}")
    world.throttle.accepted.clear()  # as after a restart with a shared storage: his password is not known here
    world.clock.waits.clear()
    assert world.answer(GOOD, OWNER) == 235
    assert world.clock.waits == []


def test_the_owner_is_slowed_and_never_refused_where_he_has_not(world: World):
    for n in range(4 * FAILURES):
        world.answer(guess(n), f"203.0.113.{n}")
    world.clock.waits.clear()
    assert world.answer(GOOD, OWNER) == 235
    assert world.clock.waits == [1.0]
    world.clock.waits.clear()
    assert world.answer(GOOD, "192.0.2.9") == 235, "a password that was right a moment ago is no guess"
    assert world.clock.waits == []


def test_credentials_accepted_lately_pass_from_an_address_that_guesses(world: World):
    assert world.answer(GOOD) == 235
    for n in range(FAILURES):
        world.answer(guess(n, "somebody@else.example"))
    assert world.answer(guess(99, "somebody@else.example")) == 454
    world.clock.waits.clear()
    assert world.answer(GOOD) == 235
    assert world.clock.waits == []


def test_credentials_that_are_good_no_longer_are_a_guess_again(world: World):
    assert world.answer(GOOD) == 235
    world.api.good.clear()
    assert world.answer(GOOD) == 535
    for n in range(FAILURES - 1):
        assert world.answer(guess(n)) == 535
    assert world.answer(guess(99)) == 454
    asked = len(world.api.asked)
    assert world.answer(GOOD) == 535, "the same again is answered from memory"
    assert len(world.api.asked) == asked


def test_an_old_password_that_an_app_keeps_trying_costs_no_calls_and_shuts_out_nobody(world: World):
    assert [world.answer(guess(1)) for _ in range(10 * FAILURES)] == [535] * 10 * FAILURES
    assert len(world.api.asked) == 1
    assert world.answer(GOOD) == 235


def test_a_wrong_password_is_asked_for_again_after_a_while_since_it_may_have_become_right(world: World):
    assert world.answer(guess(1)) == 535
    world.clock.now += RECHECK_SECONDS - 1
    assert (world.answer(guess(1)), len(world.api.asked)) == (535, 1)
    world.clock.now += 2
    world.api.good.add(guess(1))
    assert world.answer(guess(1)) == 235


def test_a_wrong_password_from_another_address_is_a_guess_of_its_own(world: World):
    assert world.answer(guess(1), ATTACKER) == 535
    assert world.answer(guess(1), OWNER) == 535
    assert len(world.api.asked) == 2


def test_trouble_with_the_api_is_no_guess(world: World):
    world.api.refusal = replies.LOGIN_UNAVAILABLE
    assert [world.answer(guess(n)) for n in range(3 * FAILURES)] == [454] * 3 * FAILURES
    assert len(world.api.asked) == 3 * FAILURES, "each was asked for"
    assert set(world.clock.waits) == {0.0}


def test_trusted_clients_are_not_throttled(settings_with: Callable[..., Settings]):
    world = World(settings_with(SMTPGW_TRUSTED_CIDRS="203.0.113.0/24"))
    assert [world.answer(guess(n)) for n in range(3 * FAILURES)] == [535] * 3 * FAILURES
    assert world.clock.waits == []


def test_of_ipv6_a_whole_64_is_one_address(world: World):
    for n in range(FAILURES):
        world.answer(guess(n), f"2001:db8:0:1::{n}")
    assert world.answer(guess(99), "2001:db8:0:1:ffff::1") == 454
    assert world.answer(guess(99), "2001:db8:0:2::1") == 535


def test_many_guesses_at_once_are_not_many_more(world: World):
    """Each could see that there were few failures before it, were they not counted while they are under way."""
    guesses = [gevent.spawn(world.answer, guess(n)) for n in range(100)]
    codes = [g.get(timeout=TIMEOUT_SECONDS) for g in guesses]
    assert len(world.api.asked) == codes.count(535) <= 2 * FAILURES
    assert codes.count(454) == 100 - codes.count(535)
    del guesses
    assert not world.throttle.turns, "an entry for an address outlived its use"
    assert not world.throttle.queues


def test_what_it_remembers_is_bounded_and_no_password(world: World):
    for n in range(20):
        world.answer(guess(n), f"192.0.2.{n}")
    world.answer(GOOD, OWNER)
    state = [world.throttle.refused, world.throttle.accepted, world.throttle.counts.own.storage]
    kept = " ".join(str(list(kept.items() if hasattr(kept, "items") else vars(kept).items())) for kept in state)
    assert "guess-1" not in kept
    assert PASSWORD not in kept
    assert USERNAME not in kept
    assert world.throttle.refused.maxsize == world.throttle.accepted.maxsize == MAX_CREDENTIALS


# --- Neighbours of who guesses, at one address: a company, a cloud


NEIGHBOURS = [Credentials(f"neighbour-{n}@example.com", PASSWORD) for n in range(3)]
VICTIM = "victim@example.com"


@pytest.fixture
def street(settings_with: Callable[..., Settings]) -> World:
    """A world whose time passes."""
    made = World(settings_with(SMTPGW_THROTTLE_DELAY_SECONDS="5"))
    made.throttle = LoginThrottle(made.throttle.settings)
    made.api.good.update(NEIGHBOURS)
    return made


def test_a_neighbour_of_who_guesses_logs_in_for_the_first_time(street: World) -> None:
    """While the guessing goes on, on many connections."""

    def go_on(connection: int) -> None:
        for n in itertools.count():
            street.answer(guess(1000 * connection + n, VICTIM))

    guesser = [gevent.spawn(go_on, connection) for connection in range(50)]
    gevent.sleep(1)
    began = time.monotonic()
    try:
        assert street.throttle.counts.stats(street.throttle.guesses, "address", ATTACKER).remaining == 0
        for neighbour in NEIGHBOURS:
            assert street.answer(neighbour) == 235
            assert street.answer(neighbour) == 235, "and then at once"
        assert time.monotonic() - began < 5 * ADMISSION_SECONDS
    finally:
        gevent.killall(guesser)
    guesses = [credentials for credentials in street.api.asked if credentials.username == VICTIM]
    assert len(guesses) <= 2 * FAILURES + 1


def test_many_connections_of_one_neighbour_take_one_turn(street: World) -> None:
    for _ in range(FAILURES):
        street.throttle.counts.add(street.throttle.guesses, "address", ATTACKER)
    street.throttle.counts.add(street.throttle.turn, "turn", ATTACKER)
    logins = [gevent.spawn(street.answer, NEIGHBOURS[0]) for _ in range(20)]
    assert [login.get(timeout=TIMEOUT_SECONDS) for login in logins] == [235] * 20


def test_passwords_tried_with_many_user_names_take_turns(street: World) -> None:
    """Each is somebody's first login, as far as anybody can know."""
    began = time.monotonic()
    guesses = [gevent.spawn(street.answer, guess(1, f"user-{n}@example.com")) for n in range(200)]
    codes = [g.get(timeout=TIMEOUT_SECONDS) for g in guesses]
    most = 2 * FAILURES + 1 + (time.monotonic() - began) / ADMISSION_SECONDS
    assert len(street.api.asked) == codes.count(535) <= most
    assert codes.count(454) == 200 - codes.count(535)


def test_the_right_password_of_a_user_name_that_was_guessed_at_here_gets_through(
    settings_with: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(login_throttle, "ADMISSION_NAME_SECONDS", 2)
    world = World(settings_with())
    assert [world.answer(guess(n)) for n in range(FAILURES + 1)] == [535] * FAILURES + [454]
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while world.answer(GOOD) == 454:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert world.answer(GOOD) == 235


def test_who_has_logged_in_here_before_waits_for_no_newcomer(world: World) -> None:
    for neighbour in NEIGHBOURS:
        world.api.good.add(neighbour)
        assert world.answer(neighbour) == 235
    for n in range(FAILURES + 1):
        world.answer(guess(n, VICTIM))
    world.throttle.accepted.clear()  # as after a restart with a shared storage
    assert world.answer(GOOD) == 235, "a newcomer, whose turn it is"
    assert [world.answer(neighbour) for neighbour in NEIGHBOURS] == [235] * 3
    world.api.good.add(guess(0, "newcomer@example.com"))
    world.clock.waits.clear()
    assert world.answer(guess(0, "newcomer@example.com")) == 454, "it is not this one's turn yet"


# --- A Redis for all pods


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    if not shutil.which("redis-server"):
        pytest.skip("redis-server is not installed; see tests/chaos/install.sh")
    port = free_port()
    options = [
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--dir",
        str(tmp_path),
        "--save",
        "",
        "--requirepass",
        "s3cret",
    ]
    process = subprocess.Popen(["redis-server", *options], stdout=subprocess.DEVNULL)
    url = f"redis://:s3cret@127.0.0.1:{port}/0"
    deadline = time.monotonic() + TIMEOUT_SECONDS
    with redis.Redis.from_url(url) as client:
        while time.monotonic() < deadline:
            try:
                client.ping()
                break
            except redis.ConnectionError:
                time.sleep(0.05)
    yield url, process
    process.kill()
    process.wait()


def test_pods_with_a_redis_count_together(
    redis_server: tuple[str, subprocess.Popen[bytes]], settings_with: Callable[..., Settings]
):
    url, _ = redis_server
    one, another = (World(settings_with(SMTPGW_THROTTLE_STORAGE=url)) for _ in range(2))
    turn = itertools.cycle([one, another])
    assert [next(turn).answer(guess(n)) for n in range(FAILURES)] == [535] * FAILURES
    assert [one.answer(guess(98)), another.answer(guess(99))] == [454, 454]
    with redis.Redis.from_url(url) as client:
        keys = b" ".join(client.keys())
    assert keys
    assert b"@" not in keys, "a mail address in the storage"


def test_pods_with_a_redis_take_turns_together(
    redis_server: tuple[str, subprocess.Popen[bytes]], settings_with: Callable[..., Settings]
) -> None:
    url, _ = redis_server
    one, another = (World(settings_with(SMTPGW_THROTTLE_STORAGE=url)) for _ in range(2))
    for n in range(FAILURES):
        one.answer(guess(n, VICTIM))
    for pod in (one, another):
        pod.api.good.update(NEIGHBOURS)
    assert one.answer(NEIGHBOURS[0]) == 235
    assert another.answer(NEIGHBOURS[1]) == 454, "the address has just had its turn in the other pod"
    assert another.answer(NEIGHBOURS[0]) == 235, "he has logged in from here before"
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while another.answer(NEIGHBOURS[1]) == 454:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_without_its_redis_it_counts_by_itself_and_tells_so_once(
    redis_server: tuple[str, subprocess.Popen[bytes]],
    settings_with: Callable[..., Settings],
    capfd: pytest.CaptureFixture[str],
):
    url, process = redis_server
    world = World(settings_with(SMTPGW_THROTTLE_STORAGE=url))
    assert world.answer(guess(0)) == 535
    process.kill()
    process.wait()
    assert [world.answer(guess(n)) for n in range(1, FAILURES + 1)] == [535] * FAILURES
    assert world.answer(guess(99)) == 454
    assert world.answer(GOOD, OWNER) == 235
    told = "".join(capfd.readouterr())
    assert told.count("the throttle's storage fails") == 1
    assert "s3cret" not in told


# --- A real gateway


def test_a_guesser_hears_of_it_and_so_does_the_operator(sandbox: Sandbox, tmp_path: Path):
    variables = {
        "SMTPGW_TRUSTED_CIDRS": "",
        "SMTPGW_THROTTLE_FAILURES": "3",
        "SMTPGW_THROTTLE_DELAY_SECONDS": "0.2",
        "SMTPGW_MAX_AUTH_FAILURES": "10",
    }
    with Gateway(sandbox.url, tmp_path, **variables) as gateway:
        client = gateway.encrypted()
        client.ehlo()

        def auth(password: str) -> tuple[int, bytes]:
            return client.docmd("AUTH PLAIN " + base64.b64encode(f"\0{USERNAME}\0{password}".encode()).decode())

        assert [auth(f"wrong-{n}")[0] for n in range(3)] == [535] * 3
        code, text = auth("wrong-4")
        assert code == 454
        assert text.startswith(b"4.7.0 Too many failed logins from your address; try again in ")
        assert auth(PASSWORD)[0] == 454, "not even the right one at once, or guessing would go on"
        client.quit()
        assert sandbox.calls()["POST /token"]["calls"] == 3
        with gateway.client(OTHER.email, OTHER.password):
            assert sandbox.calls()["POST /token"]["calls"] == 4, "a neighbour at the same address"
        assert metric(gateway, 'smtpgw_limits_hit_total{limit="auth_address"}') == 2
        assert len(log_lines(gateway.log, event="limit", client="127.0.0.1")) == 2
        assert "wrong-" not in gateway.log.read_text()
        with Line(gateway) as line:
            assert line.hear().startswith("220 ")
