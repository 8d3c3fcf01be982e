"""Tells of messages and sessions a moment later, twenty times a second, one after the other.

A message's line in the log and its metrics take 20 µs when many are told of in a row. Between all else that a message
takes it is twice that, 4 % of its CPU, since by then the processor has nothing of it at hand. Before `start`, and so
in tools, nothing waits.
"""

from collections.abc import Callable

import gevent

from smtpgw.telemetry import internal_errors

GATHER_SECONDS = 0.05  # what a process that is killed has not told of


class Deferred:
    """What is to be told, in the order in which it happened."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []
        self.gathers = False

    def later(self, tell: Callable[[], None]) -> None:
        """Have this done soon. Raises nothing, nor does what it is given: what Cakemail has accepted is accepted."""
        self.waiting.append(tell)
        if not self.gathers:
            self.catch_up()

    def catch_up(self) -> None:
        """Tell of all that waits: before metrics are read, and at the end of the process."""
        waiting, self.waiting = self.waiting, []
        for tell in waiting:
            try:
                tell()
            except Exception:  # noqa: BLE001  the rest is still to be told
                internal_errors.told(what="a message or session could not be told of")

    def start(self) -> None:
        """Gather from now on; once in a process, after its fork."""
        self.gathers = True
        gevent.spawn(self._tell_again_and_again)

    def _tell_again_and_again(self) -> None:
        """The greenlet's whole life."""
        while True:
            gevent.sleep(GATHER_SECONDS)
            self.catch_up()


TELLING = Deferred()  # of this process
