"""Semaphore whose waiters take turns by owner, so that one with a thousand of them delays nobody else's."""

from collections import OrderedDict, deque

from gevent.event import Event


class Slots:
    """A number of slots, of which each is held by one greenlet at a time.

    A slot that becomes free goes to the owner who has waited longest since its last one, and there to the first in
    line. gevent's semaphore has one line for all: a message to a thousand recipients would fill it.
    """

    def __init__(self, slots: int) -> None:
        self.counter = slots  # free ones
        self._lines: OrderedDict[str, deque[Event]] = OrderedDict()  # by owner; the next one's first

    def acquire(self, owner: str, timeout: float = 0.0) -> bool:
        """Take a slot, wait for one as long as that; whether it was had."""
        if self.counter:
            self.counter -= 1
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
                self.release()
            elif not has_slot:
                self._leave(owner, turn)
        return has_slot

    def release(self) -> None:
        """Give a slot to the next one that waits, if there is one."""
        if not self._lines:
            self.counter += 1
            return
        owner, line = next(iter(self._lines.items()))
        turn = line.popleft()
        if line:
            self._lines.move_to_end(owner)
        else:
            del self._lines[owner]
        turn.set()

    def _leave(self, owner: str, turn: Event) -> None:
        line = self._lines[owner]
        line.remove(turn)
        if not line:
            del self._lines[owner]
