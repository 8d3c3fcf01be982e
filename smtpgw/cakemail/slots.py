"""Semaphore whose waiters take turns by owner, so that one with a thousand of them delays nobody else's."""

from collections import Counter, OrderedDict, deque

from gevent.event import Event


class Slots:
    """A number of slots, of which each is held by one greenlet at a time.

    A slot that becomes free goes to the owner who has waited longest since its last one, and there to the first in
    line. gevent's semaphore has one line for all: a message to a thousand recipients would fill it.

    No owner holds more than three quarters of them. Turns alone do not help the others while the API hangs for one
    account, whose calls end only at their time-outs.
    """

    def __init__(self, slots: int) -> None:
        self.counter = slots  # free ones
        self.max_of_owner = slots - slots // 4
        self._held: Counter[str] = Counter()  # by owner; none is 0
        self._lines: OrderedDict[str, deque[Event]] = OrderedDict()  # by owner; the next one's first

    def acquire(self, owner: str, timeout: float = 0.0) -> bool:
        """Take a slot, wait for one as long as that; whether it was had."""
        if self.counter and self._held[owner] < self.max_of_owner:
            self.counter -= 1
            self._held[owner] += 1
            return True
        if timeout <= 0:
            return False
        turn = Event()
        self._lines.setdefault(owner, deque()).append(turn)
        has_slot = False
        try:
            has_slot = turn.wait(timeout)
        finally:
            if not has_slot and turn.is_set():  # given to one that is killed in this moment
                self.release(owner)
            elif not has_slot:
                self._leave(owner, turn)
        return has_slot

    def release(self, owner: str) -> None:
        """Give a slot of this owner's to the next one that waits and may have it, if there is one."""
        self._held[owner] -= 1
        if not self._held[owner]:
            del self._held[owner]
        next_owner = next((name for name in self._lines if self._held[name] < self.max_of_owner), None)
        if next_owner is None:
            self.counter += 1
            return
        self._held[next_owner] += 1
        line = self._lines[next_owner]
        turn = line.popleft()
        if line:
            self._lines.move_to_end(next_owner)
        else:
            del self._lines[next_owner]
        turn.set()

    def _leave(self, owner: str, turn: Event) -> None:
        line = self._lines[owner]
        line.remove(turn)
        if not line:
            del self._lines[owner]
