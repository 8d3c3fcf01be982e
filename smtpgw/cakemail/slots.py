"""Semaphore whose waiters take turns by owner, so that an owner with many waiters does not delay the others."""

from collections import Counter, OrderedDict, deque

from gevent.event import Event


class Slots:
    """A number of slots; a greenlet holds one at a time.

    A slot that becomes free goes to the owner who has waited longest since its last one, and to the first waiter of
    this owner. gevent's semaphore has one queue for all waiters, which a message to a thousand recipients would fill.

    No owner holds more than three quarters of the slots. Turns alone do not help the others while the API hangs for one
    account, whose calls end only at their time-outs.
    """

    def __init__(self, slots: int) -> None:
        self.free = slots
        self.max_of_owner = slots - slots // 4
        # Slots of each owner; there are no entries of zero.
        self._held: Counter[str] = Counter()
        # Waiters of each owner. The owner whose turn is next comes first.
        self._queues: OrderedDict[str, deque[Event]] = OrderedDict()

    def acquire(self, owner: str, timeout: float = 0.0) -> bool:
        """Take a slot, and wait up to `timeout` seconds for one. Return whether there was one."""
        if self.free and self._held[owner] < self.max_of_owner:
            self.free -= 1
            self._held[owner] += 1
            return True
        if timeout <= 0:
            return False
        turn = Event()
        self._queues.setdefault(owner, deque()).append(turn)
        has_slot = False
        try:
            has_slot = turn.wait(timeout)
        finally:
            if not has_slot and turn.is_set():
                # The slot was given to a greenlet that is killed at this moment.
                self.release(owner)
            elif not has_slot:
                self._leave(owner, turn)
        return has_slot

    def release(self, owner: str) -> None:
        """Pass a slot of this owner to the next waiter that may have it, if there is one."""
        self._held[owner] -= 1
        if not self._held[owner]:
            del self._held[owner]
        next_owner = next((name for name in self._queues if self._held[name] < self.max_of_owner), None)
        if next_owner is None:
            self.free += 1
            return
        self._held[next_owner] += 1
        queue = self._queues[next_owner]
        turn = queue.popleft()
        if queue:
            self._queues.move_to_end(next_owner)
        else:
            del self._queues[next_owner]
        turn.set()

    def _leave(self, owner: str, turn: Event) -> None:
        queue = self._queues[owner]
        queue.remove(turn)
        if not queue:
            del self._queues[owner]
