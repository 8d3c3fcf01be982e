"""Which of several workers takes the next connection: who has the fewest, so that none is full while another idles.

All listen at the same sockets, and the kernel wakes them in the same order each time: of fifty connections that came
one by one, one of two workers got forty-three. So who has more than another leaves the next one to it, for a
moment. A socket for each worker (SO_REUSEPORT) would share by chance, and reset what waits at one that ends.

Gunicorn's master imports this before gevent patches the standard library, as it does `worker.py`.
"""

import mmap
from typing import Any

from smtpgw.server.descriptors import GuardedServer

MOMENT_SECONDS = 0.002  # what a connection may wait for a worker that does not come for it
BYTES = 4  # of a count
NOBODY = 2 ** (8 * BYTES) - 1  # the count of a worker that takes no more


class ConnectionCounts:
    """The connections of each worker, in memory that the master has made and all of them see."""

    def __init__(self, workers: int) -> None:
        """Room for twice as many: of a reload, the old ones are still there when the new ones come."""
        self.places = memoryview(mmap.mmap(-1, 2 * workers * BYTES)).cast("I")
        for place in range(len(self.places)):
            self.places[place] = NOBODY

    def join(self) -> "ConnectionShare":
        """A place for a worker that is about to be forked; one that is nobody's where there is none left."""
        for place, count in enumerate(self.places):
            if count == NOBODY:
                return ConnectionShare(self.places[place : place + 1], self.places)
        return ConnectionShare(memoryview(bytearray(BYTES)).cast("I"), self.places)


class ConnectionShare:
    """What one worker has. Only it writes its count, until it has left or ended."""

    def __init__(self, mine: memoryview, all_of_them: memoryview) -> None:
        self.mine = mine
        self.all = all_of_them
        self.mine[0] = 0

    def add(self, connections: int) -> None:
        if self.mine[0] != NOBODY:
            self.mine[0] += connections

    def leave(self) -> None:
        """Count no more: nothing is to be left to this worker, which drains or is dead."""
        self.mine[0] = NOBODY

    @property
    def is_larger_than_another(self) -> bool:
        return self.mine[0] > min(self.all)


class BalancedServer(GuardedServer):
    """A server that leaves connections to workers that have fewer."""

    max_accept = 1  # at once

    def __init__(self, *arguments: Any, share: ConnectionShare, **options: Any) -> None:
        self.share = share
        super().__init__(*arguments, **options)

    def do_read(self) -> Any:
        """Accept a connection, or leave it."""
        if not self.share.is_larger_than_another:
            return super().do_read()
        self.stop_accepting()
        self._timer = self.loop.timer(MOMENT_SECONDS)
        self._timer.start(self.take_what_is_left)
        return None

    def take_what_is_left(self) -> None:
        """Accept what no other worker has come for, and listen again."""
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
