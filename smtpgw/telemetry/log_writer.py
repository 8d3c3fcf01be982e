"""Where log lines leave the process: a file descriptor, written by a thread of its own so that no session waits for it.

Until `start`, and so in gunicorn's master, a line is written at once, and dropped when the reader takes nothing for a
second. After it, lines wait in a bounded queue. When the reader is slower than we are they are dropped and counted, and
a line says how many as soon as there is room again. The thread is a native one and uses no lock or sleep of gevent's.
"""

import os
import select
import sys
from _queue import Empty, SimpleQueue  # gevent patches the module `queue`, and this must block a thread
from collections.abc import Callable
from time import monotonic, sleep

MAX_LINES = 2048  # waiting; a message's line has some 600 octets
MAX_AT_ONCE = 256  # lines of one write
GATHER_SECONDS = 0.02  # one write, and one turn of the interpreter's lock, for all the lines of that time
TIMEOUT_SECONDS = 1.0
POLL_SECONDS = 0.05


class LogWriter:
    """A file descriptor that takes lines."""

    def __init__(self, descriptor: int, told: Callable[[int], bytes]) -> None:
        """`told` makes the line that says how many were dropped."""
        self.descriptor = descriptor
        self.told = told
        self.dropped = 0  # lines, since the process began
        self._asked = self._said = 0  # of these, how many `newly_dropped` and the reader were told of
        self._queue: SimpleQueue[bytes] | None = None
        self._accepted = self._written = 0
        self._is_gone = False

    def put(self, line: bytes) -> None:
        """Write a line, soon. Never waits once `start` was called."""
        if self._queue is None:
            self._write_at_once(line)
        elif self._queue.qsize() >= MAX_LINES:
            self.dropped += 1
        else:
            self._accepted += 1
            self._queue.put(line)

    def newly_dropped(self) -> int:
        """How many lines were dropped since this was asked for last."""
        newly = self.dropped - self._asked
        self._asked += newly
        return newly

    def start(self) -> None:
        """Write from a thread from now on; once in a process, after its fork."""
        from gevent.monkey import get_original

        self._queue = SimpleQueue()
        self.dropped = self._asked = self._said = self._accepted = self._written = 0  # of this process
        get_original("_thread", "start_new_thread")(self._drain, (get_original("time", "sleep"),))

    def flush(self, seconds: float) -> None:
        """Wait until all lines are written, no longer than that."""
        deadline = monotonic() + seconds
        while self._written < self._accepted and monotonic() < deadline:
            sleep(GATHER_SECONDS)

    def _write_at_once(self, line: bytes) -> None:
        poll = select.poll()
        poll.register(self.descriptor, select.POLLOUT)
        if poll.poll(TIMEOUT_SECONDS * 1000):
            self._say_how_many(sleep)
            self._write(line, sleep)
        else:
            self.dropped += 1

    def _drain(self, native_sleep: Callable[[float], None]) -> None:
        """The thread's whole life."""
        assert self._queue
        while True:
            lines = [self._queue.get()]
            native_sleep(GATHER_SECONDS)
            while len(lines) < MAX_AT_ONCE:
                try:
                    lines.append(self._queue.get_nowait())
                except Empty:
                    break
            if not self._write(b"".join(lines), native_sleep):
                self.dropped += len(lines)
            self._written += len(lines)
            if self._queue.qsize() < MAX_LINES // 2:
                self._say_how_many(native_sleep)

    def _say_how_many(self, pause: Callable[[float], None]) -> None:
        """Tell the reader of the lines that were dropped."""
        dropped = self.dropped
        if dropped > self._said and self._write(self.told(dropped - self._said), pause):
            self._said = dropped

    def _write(self, octets: bytes, pause: Callable[[float], None]) -> bool:
        """Write them all, however long that takes; False when nobody reads any more."""
        rest = memoryview(octets)
        while rest:
            try:
                rest = rest[os.write(self.descriptor, rest) :]
            except BlockingIOError:  # another process has made our standard output non-blocking
                pause(POLL_SECONDS)
            except OSError as problem:
                if not self._is_gone:
                    print(f"smtpgw: cannot write to the log: {problem}", file=sys.stderr)  # noqa: T201
                self._is_gone = True
                return False
        return True
