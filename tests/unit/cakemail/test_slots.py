"""Calls to the API take turns by account: who has a thousand of them waits for the others, not they for him."""

import random

import gevent
import pytest

from smtpgw.cakemail.slots import Slots


def test_slots_are_as_many_as_they_are() -> None:
    slots = Slots(2)
    assert [slots.acquire("a"), slots.acquire("b"), slots.acquire("c"), slots.acquire("a", 0.01)] == [True] * 2 + [
        False
    ] * 2
    slots.release("a")
    assert slots.acquire("c", 1)
    slots.release("b")
    slots.release("c")
    assert slots.free == 2


def test_owners_take_turns_and_each_ones_are_first_come_first_served() -> None:
    slots, order = Slots(1), []

    def work(owner: str, number: int) -> None:
        assert slots.acquire(owner, 5)
        order.append(f"{owner}{number}")
        gevent.sleep(0)
        slots.release(owner)

    assert slots.acquire("before")
    waiting = [gevent.spawn(work, "big", n) for n in range(6)]
    gevent.sleep(0)
    waiting += [gevent.spawn(work, owner, n) for owner in ("x", "y") for n in range(2)]
    gevent.sleep(0)
    slots.release("before")
    gevent.joinall(waiting, timeout=5, raise_error=True)
    assert order == ["big0", "x0", "y0", "big1", "x1", "y1", "big2", "big3", "big4", "big5"]
    assert slots.free == 1


@pytest.mark.parametrize(("slots", "most"), [(1, 1), (2, 2), (3, 3), (4, 3), (8, 6), (256, 192)])
def test_no_owner_has_all_of_them_where_there_are_several(slots: int, most: int) -> None:
    made = Slots(slots)
    assert sum(made.acquire("greedy") for _ in range(2 * slots)) == most
    assert sum(made.acquire("other") for _ in range(2 * slots)) == slots - most


def test_who_waits_at_its_bound_gets_its_own_slots_again_and_holds_up_nobody() -> None:
    slots = Slots(4)
    assert [slots.acquire("greedy") for _ in range(4)] == [True, True, True, False]
    waiting = gevent.spawn(slots.acquire, "greedy", 5)
    gevent.sleep(0)
    assert slots.acquire("other")
    slots.release("other")
    gevent.sleep(0)
    assert not waiting.ready()
    assert slots.free == 1
    assert slots.acquire("other")
    slots.release("greedy")
    assert waiting.get(timeout=5)
    assert slots.free == 0


@pytest.mark.parametrize("number", [3, 8])
@pytest.mark.parametrize("seed", range(20))
def test_nothing_leaks_whoever_gives_up_or_is_killed(seed: int, number: int) -> None:
    """At any moment: while they wait, hold, or have just been given a slot and do not know it yet."""
    chance, slots = random.Random(seed), Slots(number)
    held: list[str] = []

    def work(owner: str) -> None:
        if slots.acquire(owner, chance.random() / 200):
            held.append(owner)
            assert len(held) <= number
            assert held.count(owner) <= slots.max_of_owner
            try:
                gevent.sleep(chance.random() / 1000)
            finally:
                held.remove(owner)
                slots.release(owner)

    greenlets = []
    for _ in range(300):
        greenlets.append(gevent.spawn(work, chance.choice("aaaabcde")))
        if chance.random() < 0.3:
            chance.choice(greenlets).kill(block=False)
        if chance.random() < 0.2:
            gevent.sleep(chance.random() / 1000)
    gevent.joinall(greenlets, timeout=10, raise_error=True)
    assert (slots.free, held, dict(slots._queues), dict(slots._held)) == (number, [], {}, {})
