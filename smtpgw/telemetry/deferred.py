"""Deferred emission of telemetry: log lines and metrics of messages and sessions are written in short batches.

Emitting them in batches takes less CPU than emitting each one in the middle of a message, because the code and the data
stay in the processor's cache. See docs/performance.md. Before `start`, and so in the command-line tools, every callback
runs at once.
"""

from collections.abc import Callable

import gevent

from smtpgw.telemetry import internal_errors

# A process that is killed loses the telemetry of at most this time.
FLUSH_INTERVAL_SECONDS = 0.05


class DeferredCalls:
    """Callbacks that wait for the next flush, in the order in which they were submitted."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []
        self.is_started = False

    def submit(self, callback: Callable[[], None]) -> None:
        """Queue a callback for the next flush.

        Exceptions of the callback are logged, never propagated: the message has already been accepted.
        """
        self.waiting.append(callback)
        if not self.is_started:
            self.flush()

    def flush(self) -> None:
        """Run all callbacks that wait. Called before each scrape and at the end of the process, too."""
        waiting, self.waiting = self.waiting, []
        for callback in waiting:
            try:
                callback()
            except Exception:  # noqa: BLE001  the other callbacks must still run
                internal_errors.log_exception(what="the telemetry of a message or session could not be written")

    def start(self) -> None:
        """Begin to defer. Call it once in each process, after the fork."""
        self.is_started = True
        gevent.spawn(self._flush_regularly)

    def _flush_regularly(self) -> None:
        while True:
            gevent.sleep(FLUSH_INTERVAL_SECONDS)
            self.flush()


_CALLS = DeferredCalls()
submit, flush, start = _CALLS.submit, _CALLS.flush, _CALLS.start
