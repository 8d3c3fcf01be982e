"""Asynchronous log writer: lines go to a file descriptor from a thread, so that no session waits for the reader.

Before `start`, and so in gunicorn's master, a line is written at once. It is dropped when the descriptor accepts
nothing until a time-out. After `start`, lines wait in a bounded queue. When the reader is slower than the process,
lines are dropped and counted, and as soon as there is room again a line reports how many. The thread is a native one
and uses none of gevent's locks and sleeps.
"""

import os
import select
import sys
from _queue import Empty, SimpleQueue  # gevent patches the module `queue`, but this queue must block a native thread
from collections.abc import Callable
from time import monotonic, sleep

MAX_QUEUED_LINES = 2048
MAX_BATCH_LINES = 256
# The thread waits this long before it writes, so that many lines share one write and one turn of the interpreter lock.
BATCH_INTERVAL_SECONDS = 0.02
WRITE_TIMEOUT_SECONDS = 1.0
POLL_INTERVAL_SECONDS = 0.05


class LogWriter:
    """Writer of log lines to one file descriptor.

    Args:
        descriptor: the file descriptor.
        format_dropped: returns the log line that reports this number of dropped lines.
    """

    def __init__(self, descriptor: int, format_dropped: Callable[[int], bytes]) -> None:
        self.descriptor = descriptor
        self.format_dropped = format_dropped
        self.dropped = 0  # lines, since the process began
        self._returned = 0  # dropped lines that `newly_dropped` has returned
        self._reported = 0  # dropped lines that a log line has reported
        self._queue: SimpleQueue[bytes] | None = None
        self._accepted = self._written = 0
        self._is_closed = False

    def put(self, line: bytes) -> None:
        """Write or queue a line. Never waits once `start` has been called."""
        if self._queue is None:
            self._write_at_once(line)
        elif self._queue.qsize() >= MAX_QUEUED_LINES:
            self.dropped += 1
        else:
            self._accepted += 1
            self._queue.put(line)

    def newly_dropped(self) -> int:
        """Return the number of lines dropped since the last call."""
        newly = self.dropped - self._returned
        self._returned += newly
        return newly

    def start(self) -> None:
        """Write from a thread from now on. Call it once in each process, after the fork."""
        # The master imports this module and does not need gevent.
        from gevent.monkey import get_original

        self._queue = SimpleQueue()
        # The counts of the process before the fork are not those of this one.
        self.dropped = self._returned = self._reported = self._accepted = self._written = 0
        get_original("_thread", "start_new_thread")(self._drain, (get_original("time", "sleep"),))

    def flush(self, seconds: float) -> None:
        """Wait until all queued lines are written, at most this long."""
        deadline = monotonic() + seconds
        while self._written < self._accepted and monotonic() < deadline:
            sleep(BATCH_INTERVAL_SECONDS)

    def _write_at_once(self, line: bytes) -> None:
        poll = select.poll()
        poll.register(self.descriptor, select.POLLOUT)
        if poll.poll(WRITE_TIMEOUT_SECONDS * 1000):
            self._report_dropped(sleep)
            self._write(line, sleep)
        else:
            self.dropped += 1

    def _drain(self, native_sleep: Callable[[float], None]) -> None:
        """Write queued lines until the process ends. The body of the thread."""
        assert self._queue
        while True:
            lines = [self._queue.get()]
            native_sleep(BATCH_INTERVAL_SECONDS)
            while len(lines) < MAX_BATCH_LINES:
                try:
                    lines.append(self._queue.get_nowait())
                except Empty:
                    break
            if not self._write(b"".join(lines), native_sleep):
                self.dropped += len(lines)
            self._written += len(lines)
            if self._queue.qsize() < MAX_QUEUED_LINES // 2:
                self._report_dropped(native_sleep)

    def _report_dropped(self, pause: Callable[[float], None]) -> None:
        """Write a line with the number of lines that were dropped since the last such line."""
        dropped = self.dropped
        if dropped > self._reported and self._write(self.format_dropped(dropped - self._reported), pause):
            self._reported = dropped

    def _write(self, octets: bytes, pause: Callable[[float], None]) -> bool:
        """Write all octets, however long that takes. Return False when the reader has closed its end."""
        rest = memoryview(octets)
        while rest:
            try:
                rest = rest[os.write(self.descriptor, rest) :]
            except BlockingIOError:
                # Another process that shares the descriptor has made it non-blocking.
                pause(POLL_INTERVAL_SECONDS)
            except OSError as problem:
                if not self._is_closed:
                    print(f"smtpgw: cannot write to the log: {problem}", file=sys.stderr)  # noqa: T201
                self._is_closed = True
                return False
        return True
