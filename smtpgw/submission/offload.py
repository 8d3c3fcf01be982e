"""Thread pools for work on large messages, so that small messages do not wait for it.

Parsing holds the interpreter lock, so more threads would only compete with the loop that serves all sessions. The
largest messages and the large ones have a small pool each; small messages stay on the loop. Work that waits for a
thread is in a bounded queue that takes turns by account.
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
# Share of the time left for a message that it may wait for a thread. The rest is for the work itself and for Cakemail.
WAIT_SHARE = 0.5
# A computing thread yields to the loop after this time. Python's default would delay the loop noticeably each time it
# has waited for a socket.
SWITCH_INTERVAL_SECONDS = 0.0005

# The "account" of work on messages that were started: this work is done first.
STARTED = object()

T = TypeVar("T")


class Lane:
    """Small thread pool with a bounded queue that takes turns by account."""

    def __init__(self, threads: int, max_waiting: int) -> None:
        self.free = threads
        self.max_waiting = max_waiting
        self.waiting: OrderedDict[object, deque[Event]] = OrderedDict()
        self._pool = ThreadPool(threads)

    def run(self, account: object, seconds: float, work: Callable[[], T]) -> T:
        """Do some work in a thread and return its result.

        Exceptions of the work are raised here only, since gevent would also log them as uncaught.

        Raises:
            SMTPError: 452 when the queue is full, or no thread was free in time.
            Exception: whatever `work` raises.
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
        if account is not STARTED:
            self._check_queue(account)
        turn = Event()
        queue = self.waiting.setdefault(account, deque())
        queue.append(turn)
        has_turn = False
        try:
            has_turn = turn.wait(seconds)
        finally:
            # The thread may have been assigned at the moment when this greenlet was killed.
            if turn.is_set() and not has_turn:
                self._leave()
            elif not has_turn:
                queue.remove(turn)
                if not queue and self.waiting.get(account) is queue:
                    del self.waiting[account]
        if not has_turn:
            reject()

    def _check_queue(self, account: object) -> None:
        """Raise SMTPError when the queue is full, or half of it belongs to this account."""
        started = len(self.waiting.get(STARTED, ()))
        others = sum(map(len, self.waiting.values())) - started
        if others >= self.max_waiting or len(self.waiting.get(account, ())) >= self.max_waiting // 2:
            reject()

    def _leave(self) -> None:
        """Pass the thread to the next waiter, if there is one."""
        if not self.waiting:
            self.free += 1
            return
        account = STARTED if STARTED in self.waiting else next(iter(self.waiting))
        queue = self.waiting[account]
        queue.popleft().set()
        if queue:
            self.waiting.move_to_end(account)
        else:
            del self.waiting[account]


class Offload:
    """Lanes of a process."""

    def __init__(self) -> None:
        sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
        self.large = Lane(LARGE_THREADS, MAX_LARGE_WAITING)
        self.huge = Lane(HUGE_THREADS, MAX_HUGE_WAITING)

    def lane(self, octets: int) -> Lane | None:
        """Return the lane for a message of this size; None when the work is done on the loop."""
        if octets < LARGE_BYTES:
            return None
        return self.large if octets < HUGE_BYTES else self.huge

    def message(self, octets: int, account_id: int, deadline: float) -> "Work":
        """Return the runner for the work on one message, with a monotonic deadline."""
        return Work(self.lane(octets), account_id, deadline)


class Work:
    """Runner for the work on one message. It is called with one step after the other."""

    __slots__ = ("account", "deadline", "lane")

    def __init__(self, lane: Lane | None, account: object, deadline: float) -> None:
        self.lane = lane
        self.account = account
        self.deadline = deadline

    def __call__(self, step: Callable[[], T]) -> T:
        """Do a step and return its result. Raises SMTPError (452) when no thread is free, and what the step raises."""
        if self.lane is None:
            return step()
        seconds = (self.deadline - monotonic()) * WAIT_SHARE
        account, self.account = self.account, STARTED
        return self.lane.run(account, max(0.0, seconds), step)


def reject() -> None:
    """Count and raise SMTPError (452)."""
    metrics.LIMITS.labels("large_messages").inc()
    raise SMTPError(replies.TOO_MANY_LARGE_MESSAGES)
