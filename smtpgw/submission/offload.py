"""Work on large messages, done in threads of few and bounded pools, so that small messages never wait for it.

Parsing holds the interpreter's lock, and more threads would only take turns with the loop that serves all sessions. So
there is one thread for the largest messages, and two for those between them and the small ones, which stay on the loop.
What has to wait for a thread waits in a bounded queue, in turns by account.
"""

import sys
from collections import OrderedDict, deque
from collections.abc import Callable
from time import monotonic
from typing import TypeVar

from gevent.event import Event
from gevent.threadpool import ThreadPool
from gevent.util import wrap_errors

from smtpgw.core import replies
from smtpgw.core.replies import SMTPError
from smtpgw.telemetry import metrics

LARGE_BYTES = 256 * 1024
HUGE_BYTES = 2 * 1024 * 1024
LARGE_THREADS, MAX_LARGE_WAITING = 2, 64
HUGE_THREADS, MAX_HUGE_WAITING = 1, 64
WAIT_SHARE = 0.5  # of the time left for a message; the rest is for the work itself, and for Cakemail
# A thread that computes gives the loop its turn after this long. By default it is 5 ms, each time that the loop has
# waited for a socket.
SWITCH_INTERVAL_SECONDS = 0.0005

BEGUN = object()  # the "account" of work on messages that were begun: it is done first

T = TypeVar("T")


class Lane:
    """A pool of few threads, with a bounded queue that takes turns by account."""

    def __init__(self, threads: int, max_waiting: int) -> None:
        self.free = threads
        self.max_waiting = max_waiting
        self.waiting: OrderedDict[object, deque[Event]] = OrderedDict()
        self._pool = ThreadPool(threads)

    def run(self, account: object, seconds: float, work: Callable[[], T]) -> T:
        """Do some work in a thread. What it raises is raised here, and nowhere else: gevent would log it as uncaught.

        Raises:
            SMTPError: 452 when too many wait already, or no thread was free in time.
        """
        self._enter(account, seconds)
        try:
            found: T | Exception = self._pool.apply(wrap_errors((Exception,), work))
        finally:
            self._leave()
        if isinstance(found, Exception):
            raise found
        return found

    def _enter(self, account: object, seconds: float) -> None:
        if self.free:
            self.free -= 1
            return
        if account is not BEGUN:
            self._check_queue(account)
        turn = Event()
        queue = self.waiting.setdefault(account, deque())
        queue.append(turn)
        has_turn = False
        try:
            has_turn = turn.wait(seconds)
        finally:
            if turn.is_set() and not has_turn:  # it came as this greenlet was ended
                self._leave()
            elif not has_turn:
                queue.remove(turn)
                if not queue and self.waiting.get(account) is queue:
                    del self.waiting[account]
        if not has_turn:
            refuse()

    def _check_queue(self, account: object) -> None:
        """Raises SMTPError: where the queue is full, or half of it is this account's."""
        begun = len(self.waiting.get(BEGUN, ()))
        others = sum(map(len, self.waiting.values())) - begun
        if others >= self.max_waiting or len(self.waiting.get(account, ())) >= self.max_waiting // 2:
            refuse()

    def _leave(self) -> None:
        """Pass the thread on to the next one that waits."""
        if not self.waiting:
            self.free += 1
            return
        account = BEGUN if BEGUN in self.waiting else next(iter(self.waiting))
        queue = self.waiting[account]
        queue.popleft().set()
        if queue:
            self.waiting.move_to_end(account)
        else:
            del self.waiting[account]


class Offload:
    """The lanes of a process."""

    def __init__(self) -> None:
        sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
        self.large = Lane(LARGE_THREADS, MAX_LARGE_WAITING)
        self.huge = Lane(HUGE_THREADS, MAX_HUGE_WAITING)

    def lane(self, octets: int) -> Lane | None:
        """Where the work on a message of this size is done; None: on the loop."""
        if octets < LARGE_BYTES:
            return None
        return self.large if octets < HUGE_BYTES else self.huge

    def message(self, octets: int, account_id: int, deadline: float) -> "Work":
        """The work on one message, which is to be done by `deadline`, of the monotonic clock."""
        return Work(self.lane(octets), account_id, deadline)


class Work:
    """The work on one message: called with each of its steps, one after the other."""

    __slots__ = ("account", "deadline", "lane")

    def __init__(self, lane: Lane | None, account: object, deadline: float) -> None:
        self.lane = lane
        self.account = account
        self.deadline = deadline

    def __call__(self, step: Callable[[], T]) -> T:
        """Do a step and return its result. Raises SMTPError: 452 where no thread is free; and what the step raises."""
        if self.lane is None:
            return step()
        seconds = (self.deadline - monotonic()) * WAIT_SHARE
        account, self.account = self.account, BEGUN
        return self.lane.run(account, max(0.0, seconds), step)


def refuse() -> None:
    """Raises SMTPError: 452."""
    metrics.LIMITS.labels("large_messages").inc()
    raise SMTPError(replies.TOO_MANY_LARGE_MESSAGES)
