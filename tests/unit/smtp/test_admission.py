"""Limits of one worker: sessions and octets are returned however they end, and no limit is ever exceeded."""

from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpgw.config.parsers import networks
from smtpgw.core import replies
from smtpgw.core.models import Peer
from smtpgw.core.replies import SMTPError
from smtpgw.smtp.admission import ByteBudget, SessionLimiter


def refusal(held) -> replies.Reply:
    """Return the reply with which a context manager rejects entry."""
    with pytest.raises(SMTPError) as caught, held:
        pass
    return caught.value.reply


# --- Sessions


def test_each_address_has_its_own_count():
    limiter = SessionLimiter(100, 1, ())
    with limiter.admit("192.0.2.1"), limiter.admit("192.0.2.2"), limiter.admit("2001:db8::1"):
        for address in ("192.0.2.1", "192.0.2.2", "2001:db8::1"):
            assert refusal(limiter.admit(address)) is replies.TOO_MANY_SESSIONS_FROM_ADDRESS
        assert limiter.open == 3
    assert limiter.open == 0


def test_of_ipv6_a_whole_64_has_one_count():
    limiter = SessionLimiter(100, 2, ())
    with limiter.admit("2001:db8:0:1::1"), limiter.admit("2001:db8:0:1:ffff:ffff:ffff:ffff"):
        assert refusal(limiter.admit("2001:db8:0:1::2")) is replies.TOO_MANY_SESSIONS_FROM_ADDRESS
        with limiter.admit("2001:db8:0:2::1"), limiter.admit("2001:db8:0:0:ffff:ffff:ffff:ffff"):
            assert limiter.open == 4
    with limiter.admit("2001:db8:0:1::2"), limiter.admit("2001:db8:0:1::2"):
        assert limiter.open == 2
    assert (limiter.open, dict(limiter.by_client)) == (0, {})


def test_ipv4_addresses_that_a_listener_for_both_gives_as_ipv6_are_not_one():
    limiter = SessionLimiter(100, 1, ())
    with limiter.admit(Peer.of("::ffff:192.0.2.1", 1).address), limiter.admit(Peer.of("::ffff:192.0.2.2", 1).address):
        assert refusal(limiter.admit("192.0.2.2")) is replies.TOO_MANY_SESSIONS_FROM_ADDRESS


def test_who_is_trusted_takes_nothing_from_the_others_of_its_64():
    limiter = SessionLimiter(100, 1, networks("2001:db8::1"))
    with limiter.admit("2001:db8::1"), limiter.admit("2001:db8::1"), limiter.admit("2001:db8::2"):
        assert refusal(limiter.admit("2001:db8::3")) is replies.TOO_MANY_SESSIONS_FROM_ADDRESS
    assert (limiter.open, dict(limiter.by_client)) == (0, {})


@pytest.mark.parametrize(
    ("trusted", "address", "may_have_more"),
    [
        ("192.0.2.0/24", "192.0.2.255", True),
        ("192.0.2.0/24", "192.0.3.0", False),
        ("198.51.100.0/24,192.0.2.1", "192.0.2.1", True),
        ("2001:db8::/32", "2001:db8:ffff::1", True),
        ("2001:db8::/32", "2001:db9::1", False),
        ("0.0.0.0/0", "2001:db8::1", False),
        ("", "192.0.2.1", False),
    ],
)
def test_the_limit_of_an_address_is_not_for_those_who_are_trusted(trusted, address, may_have_more):
    limiter = SessionLimiter(5, 2, networks(trusted))
    with ExitStack() as inside:
        for _ in range(2):
            inside.enter_context(limiter.admit(address))
        if may_have_more:
            for _ in range(3):
                inside.enter_context(limiter.admit(address))
            # The limit of the worker is for everybody.
            assert refusal(limiter.admit(address)) is replies.TOO_MANY_SESSIONS
        else:
            assert refusal(limiter.admit(address)) is replies.TOO_MANY_SESSIONS_FROM_ADDRESS
    assert (limiter.open, dict(limiter.by_client)) == (0, {})


def test_a_session_that_ends_badly_is_counted_out():
    limiter = SessionLimiter(1, 1, ())
    for kind in (KeyError, SystemExit, GeneratorExit):
        with pytest.raises(kind), limiter.admit("192.0.2.1"):
            raise kind
    with limiter.admit("192.0.2.1"):
        assert limiter.open == 1
    assert (limiter.open, dict(limiter.by_client)) == (0, {})


def test_who_is_refused_is_not_counted():
    limiter = SessionLimiter(1, 1, ())
    with limiter.admit("192.0.2.1"):
        for n in range(10):
            assert refusal(limiter.admit(f"198.51.100.{n}")) is replies.TOO_MANY_SESSIONS
        assert limiter.open == 1
        assert dict(limiter.by_client) == {"192.0.2.1": 1}


# --- Octets


@pytest.mark.parametrize(
    ("held", "expected", "has_room"), [(0, 1000, True), (0, 1001, False), (999, 1, True), (999, 2, False)]
)
def test_a_declared_size_is_looked_at_before_the_data(held, expected, has_room):
    budget = ByteBudget(1000)
    with budget.reserve(0) as other:
        assert other.grow(held)
        if has_room:
            with budget.reserve(expected) as reservation:
                assert reservation.grow(expected)
                assert budget.held == held + expected
        else:
            assert refusal(budget.reserve(expected)) is replies.NO_ROOM_NOW
        assert budget.held == held


def test_a_message_that_ends_badly_gives_its_octets_back():
    budget = ByteBudget(1000)

    def fail() -> None:
        with budget.reserve(0) as reservation:
            assert reservation.grow(700)
            raise SystemExit

    with pytest.raises(SystemExit):
        fail()
    assert budget.held == 0


def test_octets_released_early_are_not_given_back_twice():
    budget = ByteBudget(1000)
    with budget.reserve(0) as other, budget.reserve(0) as reservation:
        assert other.grow(100)
        assert reservation.grow(900)
        reservation.release()
        assert budget.held == 100
        assert reservation.grow(50)
    assert budget.held == 0


MESSAGE_BYTES = 25 * 1024 * 1024
BUDGET_BYTES = 128 * 1024 * 1024
PIECE_BYTES = 16 * 1024


def fill(reservation, octets: int) -> int:
    """Reserve up to so many octets, piece by piece as a message arrives. Return how many were reserved."""
    while reservation.octets + PIECE_BYTES <= octets and reservation.grow(PIECE_BYTES):
        pass
    return reservation.octets


@pytest.mark.parametrize("same", ["client", "account"])
def test_one_client_or_account_leaves_room_for_a_message_of_another(same):
    budget = ByteBudget(BUDGET_BYTES)
    with ExitStack() as messages:
        for n in range(20):
            who = ("192.0.2.1", n) if same == "client" else (f"192.0.2.{n}", 1)
            reservation = messages.enter_context(budget.reserve(0, *who))
            fill(reservation, MESSAGE_BYTES)
            assert n < 3 or reservation.refusal is replies.SHARE_OF_ROOM_TAKEN
        greedy = ("192.0.2.1", 99) if same == "client" else ("198.51.100.9", 1)
        assert refusal(budget.reserve(PIECE_BYTES, *greedy)) is replies.SHARE_OF_ROOM_TAKEN
        other = messages.enter_context(budget.reserve(MESSAGE_BYTES, "203.0.113.1", 1000))
        assert fill(other, MESSAGE_BYTES) == MESSAGE_BYTES
    assert (budget.held, dict(budget.by_owner)) == (0, {})


def test_many_greedy_clients_leave_room_for_small_messages():
    budget = ByteBudget(BUDGET_BYTES)
    with ExitStack() as messages:
        for n in range(10):
            for _ in range(10):
                fill(messages.enter_context(budget.reserve(0, f"192.0.2.{n}", n)), MESSAGE_BYTES)
        for n in range(10):  # fresh clients, one after the other
            small = messages.enter_context(budget.reserve(100_000, f"198.51.100.{n}", 100 + n))
            assert fill(small, 100_000) > 100_000 - PIECE_BYTES


def test_a_message_that_is_alone_may_take_all_of_the_room():
    budget = ByteBudget(MESSAGE_BYTES)
    with budget.reserve(MESSAGE_BYTES, "192.0.2.1", 1) as reservation:
        assert fill(reservation, MESSAGE_BYTES) == MESSAGE_BYTES
        assert refusal(budget.reserve(1, "192.0.2.2", 2)) is replies.NO_ROOM_NOW
        assert refusal(budget.reserve(1, "192.0.2.1", 1)) is replies.SHARE_OF_ROOM_TAKEN


def test_who_is_trusted_shares_the_room_by_account_alone():
    budget = ByteBudget(900, networks("192.0.2.0/24"))
    with ExitStack() as messages:
        for account in (1, 2, 3):
            assert messages.enter_context(budget.reserve(0, "192.0.2.1", account)).grow(200)
        assert refusal(budget.reserve(150, "192.0.2.1", 1)) is replies.NO_ROOM_NOW
        assert refusal(budget.reserve(201, "2001:db8::1", 4)) is replies.NO_ROOM_NOW


def test_of_ipv6_a_whole_64_has_one_share():
    budget = ByteBudget(900)
    with budget.reserve(0, "2001:db8::1", 1) as first, budget.reserve(0, "2001:db8::2", 2) as second:
        assert first.grow(500)
        assert not second.grow(101)
        assert second.refusal is replies.SHARE_OF_ROOM_TAKEN


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 400), st.booleans())))
def test_octets_are_counted_for_their_owners_and_given_back(steps):
    budget = ByteBudget(1000)
    with ExitStack() as messages:
        reservations = [messages.enter_context(budget.reserve(0, f"192.0.2.{n % 3}", n % 2)) for n in range(6)]
        for who, octets, is_release in steps:
            if is_release:
                reservations[who].release()
            else:
                reservations[who].grow(octets)
            assert budget.held == sum(reservation.octets for reservation in reservations) <= 1000
            for owner in ("192.0.2.0", "192.0.2.1", "192.0.2.2", 0, 1):
                assert budget.by_owner[owner] == sum(
                    reservation.octets for reservation in reservations if owner in reservation.owners
                )
    assert (budget.held, +budget.by_owner) == (0, {})


@given(st.integers(1, 1000), st.lists(st.tuples(st.integers(0, 3), st.integers(0, 400), st.booleans())))
def test_the_room_is_never_passed_and_never_leaks(limit, steps):
    budget = ByteBudget(limit)
    with ExitStack() as messages:
        reservations = [messages.enter_context(budget.reserve(0)) for _ in range(4)]
        for who, octets, is_release in steps:
            before = budget.held
            if is_release:
                reservations[who].release()
            elif reservations[who].grow(octets):
                assert budget.held == before + octets
            else:
                assert budget.held == before
                assert before + octets > limit
            assert budget.held == sum(reservation.octets for reservation in reservations) <= limit
    assert budget.held == 0
