"""What a worker holds at a time: sessions and octets come back however they end, and no limit is ever passed."""

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
    """What a context manager refuses entry with."""
    with pytest.raises(SMTPError) as caught, held:
        pass
    return caught.value.reply


# --- Sessions


def test_each_address_has_its_own_count():
    door = SessionLimiter(100, 1, ())
    with door.admit("192.0.2.1"), door.admit("192.0.2.2"), door.admit("2001:db8::1"):
        for address in ("192.0.2.1", "192.0.2.2", "2001:db8::1"):
            assert refusal(door.admit(address)) is replies.TOO_MANY_SESSIONS_FROM_ADDRESS
        assert door.open == 3
    assert door.open == 0


def test_of_ipv6_a_whole_64_has_one_count():
    door = SessionLimiter(100, 2, ())
    with door.admit("2001:db8:0:1::1"), door.admit("2001:db8:0:1:ffff:ffff:ffff:ffff"):
        assert refusal(door.admit("2001:db8:0:1::2")) is replies.TOO_MANY_SESSIONS_FROM_ADDRESS
        with door.admit("2001:db8:0:2::1"), door.admit("2001:db8:0:0:ffff:ffff:ffff:ffff"):
            assert door.open == 4
    with door.admit("2001:db8:0:1::2"), door.admit("2001:db8:0:1::2"):
        assert door.open == 2
    assert (door.open, dict(door.by_place)) == (0, {})


def test_ipv4_addresses_that_a_listener_for_both_gives_as_ipv6_are_not_one():
    door = SessionLimiter(100, 1, ())
    with door.admit(Peer.of("::ffff:192.0.2.1", 1).address), door.admit(Peer.of("::ffff:192.0.2.2", 1).address):
        assert refusal(door.admit("192.0.2.2")) is replies.TOO_MANY_SESSIONS_FROM_ADDRESS


def test_who_is_trusted_takes_nothing_from_the_others_of_its_64():
    door = SessionLimiter(100, 1, networks("2001:db8::1"))
    with door.admit("2001:db8::1"), door.admit("2001:db8::1"), door.admit("2001:db8::2"):
        assert refusal(door.admit("2001:db8::3")) is replies.TOO_MANY_SESSIONS_FROM_ADDRESS
    assert (door.open, dict(door.by_place)) == (0, {})


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
    door = SessionLimiter(5, 2, networks(trusted))
    with ExitStack() as inside:
        for _ in range(2):
            inside.enter_context(door.admit(address))
        if may_have_more:
            for _ in range(3):
                inside.enter_context(door.admit(address))
            # The limit of the worker is for everybody.
            assert refusal(door.admit(address)) is replies.TOO_MANY_SESSIONS
        else:
            assert refusal(door.admit(address)) is replies.TOO_MANY_SESSIONS_FROM_ADDRESS
    assert (door.open, dict(door.by_place)) == (0, {})


def test_a_session_that_ends_badly_is_counted_out():
    door = SessionLimiter(1, 1, ())
    for kind in (KeyError, SystemExit, GeneratorExit):
        with pytest.raises(kind), door.admit("192.0.2.1"):
            raise kind
    with door.admit("192.0.2.1"):
        assert door.open == 1
    assert (door.open, dict(door.by_place)) == (0, {})


def test_who_is_refused_is_not_counted():
    door = SessionLimiter(1, 1, ())
    with door.admit("192.0.2.1"):
        for n in range(10):
            assert refusal(door.admit(f"198.51.100.{n}")) is replies.TOO_MANY_SESSIONS
        assert door.open == 1
        assert dict(door.by_place) == {"192.0.2.1": 1}


# --- Octets


@pytest.mark.parametrize(
    ("held", "expected", "has_room"), [(0, 1000, True), (0, 1001, False), (999, 1, True), (999, 2, False)]
)
def test_a_declared_size_is_looked_at_before_the_data(held, expected, has_room):
    room = ByteBudget(1000)
    with room.hold(0) as other:
        assert other.grow(held)
        if has_room:
            with room.hold(expected) as hold:
                assert hold.grow(expected)
                assert room.held == held + expected
        else:
            assert refusal(room.hold(expected)) is replies.NO_ROOM_NOW
        assert room.held == held


def test_a_message_that_ends_badly_gives_its_octets_back():
    room = ByteBudget(1000)

    def fail() -> None:
        with room.hold(0) as hold:
            assert hold.grow(700)
            raise SystemExit

    with pytest.raises(SystemExit):
        fail()
    assert room.held == 0


def test_octets_released_early_are_not_given_back_twice():
    room = ByteBudget(1000)
    with room.hold(0) as other, room.hold(0) as hold:
        assert other.grow(100)
        assert hold.grow(900)
        hold.release()
        assert room.held == 100
        assert hold.grow(50)
    assert room.held == 0


MESSAGE_BYTES = 25 * 1024 * 1024
ROOM_BYTES = 128 * 1024 * 1024
PIECE_BYTES = 16 * 1024


def fill(hold, octets: int) -> int:
    """Take up to so much, piece by piece as a message comes; what was got."""
    while hold.octets + PIECE_BYTES <= octets and hold.grow(PIECE_BYTES):
        pass
    return hold.octets


@pytest.mark.parametrize("same", ["client", "account"])
def test_one_client_or_account_leaves_room_for_a_message_of_another(same):
    room = ByteBudget(ROOM_BYTES)
    with ExitStack() as messages:
        for n in range(20):
            who = ("192.0.2.1", n) if same == "client" else (f"192.0.2.{n}", 1)
            hold = messages.enter_context(room.hold(0, *who))
            fill(hold, MESSAGE_BYTES)
            assert n < 3 or hold.refusal is replies.SHARE_OF_ROOM_TAKEN
        greedy = ("192.0.2.1", 99) if same == "client" else ("198.51.100.9", 1)
        assert refusal(room.hold(PIECE_BYTES, *greedy)) is replies.SHARE_OF_ROOM_TAKEN
        other = messages.enter_context(room.hold(MESSAGE_BYTES, "203.0.113.1", 1000))
        assert fill(other, MESSAGE_BYTES) == MESSAGE_BYTES
    assert (room.held, dict(room.by_owner)) == (0, {})


def test_many_greedy_clients_leave_room_for_small_messages():
    room = ByteBudget(ROOM_BYTES)
    with ExitStack() as messages:
        for n in range(10):
            for _ in range(10):
                fill(messages.enter_context(room.hold(0, f"192.0.2.{n}", n)), MESSAGE_BYTES)
        for n in range(10):  # fresh clients, one after the other
            small = messages.enter_context(room.hold(100_000, f"198.51.100.{n}", 100 + n))
            assert fill(small, 100_000) > 100_000 - PIECE_BYTES


def test_a_message_that_is_alone_may_take_all_of_the_room():
    room = ByteBudget(MESSAGE_BYTES)
    with room.hold(MESSAGE_BYTES, "192.0.2.1", 1) as hold:
        assert fill(hold, MESSAGE_BYTES) == MESSAGE_BYTES
        assert refusal(room.hold(1, "192.0.2.2", 2)) is replies.NO_ROOM_NOW
        assert refusal(room.hold(1, "192.0.2.1", 1)) is replies.SHARE_OF_ROOM_TAKEN


def test_who_is_trusted_shares_the_room_by_account_alone():
    room = ByteBudget(900, networks("192.0.2.0/24"))
    with ExitStack() as messages:
        for account in (1, 2, 3):
            assert messages.enter_context(room.hold(0, "192.0.2.1", account)).grow(200)
        assert refusal(room.hold(150, "192.0.2.1", 1)) is replies.NO_ROOM_NOW
        assert refusal(room.hold(201, "2001:db8::1", 4)) is replies.NO_ROOM_NOW


def test_of_ipv6_a_whole_64_has_one_share():
    room = ByteBudget(900)
    with room.hold(0, "2001:db8::1", 1) as first, room.hold(0, "2001:db8::2", 2) as second:
        assert first.grow(500)
        assert not second.grow(101)
        assert second.refusal is replies.SHARE_OF_ROOM_TAKEN


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 400), st.booleans())))
def test_octets_are_counted_for_their_owners_and_given_back(steps):
    room = ByteBudget(1000)
    with ExitStack() as messages:
        holds = [messages.enter_context(room.hold(0, f"192.0.2.{n % 3}", n % 2)) for n in range(6)]
        for who, octets, is_release in steps:
            if is_release:
                holds[who].release()
            else:
                holds[who].grow(octets)
            assert room.held == sum(hold.octets for hold in holds) <= 1000
            for owner in ("192.0.2.0", "192.0.2.1", "192.0.2.2", 0, 1):
                assert room.by_owner[owner] == sum(hold.octets for hold in holds if owner in hold.owners)
    assert (room.held, +room.by_owner) == (0, {})


@given(st.integers(1, 1000), st.lists(st.tuples(st.integers(0, 3), st.integers(0, 400), st.booleans())))
def test_the_room_is_never_passed_and_never_leaks(limit, steps):
    room = ByteBudget(limit)
    with ExitStack() as messages:
        holds = [messages.enter_context(room.hold(0)) for _ in range(4)]
        for who, octets, is_release in steps:
            before = room.held
            if is_release:
                holds[who].release()
            elif holds[who].grow(octets):
                assert room.held == before + octets
            else:
                assert room.held == before
                assert before + octets > limit
            assert room.held == sum(hold.octets for hold in holds) <= limit
    assert room.held == 0
