"""Deduplication of concurrent calls: callers that want the same thing at the same time share one call to the API."""

from collections.abc import Callable
from time import monotonic
from typing import Any, TypeVar, cast

import gevent
from gevent.event import AsyncResult

from smtpgw.cakemail.errors import OutcomeUnknown
from smtpgw.telemetry import tracing

T = TypeVar("T")


class SingleFlight:
    """Runs concurrent requests for the same key once; all callers get the same result or exception."""

    def __init__(self) -> None:
        self.running: dict[object, AsyncResult[Any]] = {}

    def do(self, key: object, work: Callable[[], T], deadline: float) -> T:
        """Return the result of `work`, or of the call for this key that is already running.

        Raises:
            OutcomeUnknown: there was no result at the deadline, a monotonic time. The call goes on for other callers.
            Exception: whatever `work` raises.
        """
        if key not in self.running:
            self.running[key] = AsyncResult()
            gevent.spawn(tracing.propagate(lambda key: self._run(key, work)), key)
        result = self.running[key]
        if not result.ready():
            result.wait(max(0.0, deadline - monotonic()))
        if not result.ready():
            raise OutcomeUnknown("Cakemail did not answer in time")
        return cast(T, result.get())

    def _run(self, key: object, work: Callable[[], object]) -> None:
        """Run in a greenlet of its own: the first caller may be killed, or have an earlier deadline than the others."""
        try:
            self.running[key].set(work())
        except Exception as problem:  # noqa: BLE001  raised again in the callers
            self.running[key].set_exception(problem)
        finally:
            del self.running[key]
