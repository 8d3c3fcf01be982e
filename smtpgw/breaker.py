"""A circuit breaker: while Cakemail's API is away, new messages are refused at once instead of after a long wait.

Opens when so many calls in a row have failed, over so many seconds: a moment's trouble, which trying again bridges, is
none of its business. While it is open, MAIL is answered 451, but for one every few seconds whose message is the probe.
Any answer of the API closes it.

Our own, since the libraries do something else. pybreaker holds a lock while it calls, so that only one call would be
under way; circuitbreaker lets everybody through when it tries again; aiobreaker and purgatory are for asyncio. All of
them open after a number of failures, which a busy worker has within ten milliseconds, and wrap the call that fails,
where we refuse what comes before it.
"""

from collections.abc import Callable
from time import monotonic

from smtpgw import logs, metrics, replies
from smtpgw.cakemail import ApiError, Busy, NotReached, OutcomeUnknown, TryLater
from smtpgw.replies import Refused
from smtpgw.settings import Settings

PROBE_SECONDS = 4.0  # between two messages that are let through while it is open
FORGOTTEN_SECONDS = 60.0  # failures that nothing has come after say nothing of now


class Breaker:
    """Of one worker."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = monotonic) -> None:
        self.settings = settings
        self.clock = clock
        self.is_open = False
        self.failures = 0  # in a row
        self.failing_since = self.last_failure = self.next_probe = 0.0  # times of the clock
        metrics.SAMPLED[metrics.BREAKER_OPEN] = self.opened

    def ready(self) -> None:
        """Let a message begin.

        Raises:
            Refused: 451, while the breaker is open and this is no probe.
        """
        if not self.opened():
            return
        if self.clock() < self.next_probe:
            raise Refused(replies.API_UNAVAILABLE)
        self.next_probe = self.clock() + PROBE_SECONDS

    def heard(self, problem: ApiError | None) -> None:
        """Learn from what a call has ended in, None for a good answer."""
        if problem and is_failure(problem):
            self._failed(problem)
        elif not isinstance(problem, Busy):  # of which the API knows nothing
            self._close("Cakemail's API answers")

    def opened(self) -> bool:
        """Whether it is open now. One that nobody has tried for long is not: there may be no message to close it."""
        longest = FORGOTTEN_SECONDS + self.settings.submit_timeout_seconds  # a probe takes its time
        if self.failures and self.clock() - self.last_failure > longest:
            self._close("nobody has tried for a while")
        return self.is_open

    def _failed(self, problem: ApiError) -> None:
        now = self.clock()
        if not self.opened() and not self.failures:
            self.failing_since = now
        self.failures += 1
        self.last_failure = now
        is_long = now - self.failing_since >= self.settings.breaker_seconds
        if self.is_open or self.failures < self.settings.breaker_failures or not is_long:
            return
        self.is_open = True
        self.next_probe = now + PROBE_SECONDS
        logs.error(what="breaker opened: Cakemail's API fails", failures=self.failures, reason=str(problem))

    def _close(self, reason: str) -> None:
        self.failures = 0
        if self.is_open:
            self.is_open = False
            seconds = round(self.clock() - self.failing_since, 1)
            logs.lifecycle(what=f"breaker closed: {reason}", seconds=seconds)


def is_failure(problem: ApiError) -> bool:
    """Whether this tells of the API, and not of a message or an account: no connection, no answer, 5xx; never 4xx."""
    if isinstance(problem, TryLater):
        return problem.status >= 500
    return isinstance(problem, (NotReached, OutcomeUnknown))
