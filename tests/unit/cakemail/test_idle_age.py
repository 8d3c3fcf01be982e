"""How long an idle connection may be used: as configured, or for less where the server says or shows that it closes."""

import pytest

from smtpgw.cakemail.idle_age import ESTIMATE_SECONDS, MIN_ESTIMATE_SECONDS, USED_PART, IdleAge

CONFIGURED_SECONDS = 55.0


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def age(clock: Clock) -> IdleAge:
    return IdleAge(CONFIGURED_SECONDS, clock)


@pytest.mark.parametrize(
    ("field", "seconds"),
    [
        ("timeout=5", 5 * USED_PART),
        ("max=100, timeout = 5", 5 * USED_PART),
        ('TIMEOUT="5", max=1', 5 * USED_PART),
        ("timeout=0", 0.0),
        ("timeout=3600", CONFIGURED_SECONDS),
        ("timeout=99999999999", CONFIGURED_SECONDS),
        ("timeout=-5", CONFIGURED_SECONDS),
        ("timeout=x", CONFIGURED_SECONDS),
        ("mytimeout=5", CONFIGURED_SECONDS),
        ("timeout=\u0665", CONFIGURED_SECONDS),
        (" " * 100_000 + "timeout=5", CONFIGURED_SECONDS),
        ("", CONFIGURED_SECONDS),
    ],
)
def test_what_the_server_says(age: IdleAge, field: str, seconds: float) -> None:
    age.read({"keep-alive": field})
    assert age.max_seconds() == pytest.approx(seconds)


def test_the_last_that_it_says_counts(age: IdleAge) -> None:
    age.read({"keep-alive": "timeout=5"})
    age.read({})
    assert age.max_seconds() == 5 * USED_PART
    age.read({"keep-alive": "timeout=20"})
    assert age.max_seconds() == 20 * USED_PART


def test_what_a_closed_connection_shows(age: IdleAge) -> None:
    for idle_seconds, seconds in ((30.0, 24.0), (40.0, 24.0), (10.0, 8.0), (0.1, MIN_ESTIMATE_SECONDS)):
        age.closed_by_server(idle_seconds)
        assert age.max_seconds() == pytest.approx(seconds)


def test_one_that_was_closed_late_shows_nothing(age: IdleAge) -> None:
    age.closed_by_server(1000.0)
    assert age.max_seconds() == CONFIGURED_SECONDS


def test_it_is_forgotten_after_a_while(age: IdleAge, clock: Clock) -> None:
    age.closed_by_server(5.0)
    clock.now += ESTIMATE_SECONDS - 1
    assert age.max_seconds() == 5 * USED_PART
    clock.now += 2
    assert age.max_seconds() == CONFIGURED_SECONDS


def test_it_is_never_more_than_configured(clock: Clock) -> None:
    age = IdleAge(0.2, clock)
    age.closed_by_server(0.1)
    assert age.max_seconds() == 0.2
