"""Balancing of connections between workers, so that no worker is full while another is idle.

All workers listen on the same sockets, and the kernel wakes them in the same order each time, so that one of them gets
most of the connections. Therefore a worker that has more connections than another leaves the next one to it for a short
time. A socket for each worker (SO_REUSEPORT) would distribute connections by chance, and would reset the connections
that wait at a worker which ends.

Gunicorn's master imports this module before gevent patches the standard library, as it does `worker.py`.
"""

import mmap
from typing import Any

from smtpgw.server.descriptors import GuardedServer

# The time for which a connection is left to a worker that has fewer.
YIELD_SECONDS = 0.002
# The size of a count.
COUNT_BYTES = 4
# The count of a slot that no worker uses, or whose worker accepts no more connections.
UNUSED = 2 ** (8 * COUNT_BYTES) - 1


class ConnectionCounts:
    """The number of connections of each worker, in memory that the master creates and all workers share."""

    def __init__(self, workers: int) -> None:
        """Create two slots for each worker, since a reload starts the new workers while the old ones still run."""
        self.slots = memoryview(mmap.mmap(-1, 2 * workers * COUNT_BYTES)).cast("I")
        for slot in range(len(self.slots)):
            self.slots[slot] = UNUSED

    def join(self) -> "ConnectionShare":
        """Return the share of a worker that is about to be forked. It has a slot of its own when none is left."""
        for slot, count in enumerate(self.slots):
            if count == UNUSED:
                return ConnectionShare(self.slots[slot : slot + 1], self.slots)
        return ConnectionShare(memoryview(bytearray(COUNT_BYTES)).cast("I"), self.slots)


class ConnectionShare:
    """The connections of one worker. Only that worker writes its count, until it has left or ended."""

    def __init__(self, own: memoryview, counts: memoryview) -> None:
        self.own = own
        self.counts = counts
        self.own[0] = 0

    def add(self, connections: int) -> None:
        """Change the count, unless the worker has left."""
        if self.own[0] != UNUSED:
            self.own[0] += connections

    def leave(self) -> None:
        """Stop counting, so that no connection is left to a worker that drains or has ended."""
        self.own[0] = UNUSED

    @property
    def is_larger_than_another(self) -> bool:
        return self.own[0] > min(self.counts)


class BalancedServer(GuardedServer):
    """A server that leaves connections to workers that have fewer."""

    # Connections that are accepted at once.
    max_accept = 1

    def __init__(self, *arguments: Any, share: ConnectionShare, **options: Any) -> None:
        self.share = share
        super().__init__(*arguments, **options)

    def do_read(self) -> Any:
        """Accept a connection, or leave it to another worker for a short time."""
        if not self.share.is_larger_than_another:
            return super().do_read()
        self.stop_accepting()
        self._timer = self.loop.timer(YIELD_SECONDS)
        self._timer.start(self.accept_unclaimed)
        return None

    def accept_unclaimed(self) -> None:
        """Accept a connection that no other worker has accepted, and listen again."""
        if self.started:
            self.start_accepting()
            if not self.full() and (accepted := super().do_read()):
                self.do_handle(*accepted)

    def do_handle(self, *arguments: Any) -> None:
        self.share.add(1)
        super().do_handle(*arguments)

    def do_close(self, *arguments: Any) -> None:
        self.share.add(-1)
        super().do_close(*arguments)
