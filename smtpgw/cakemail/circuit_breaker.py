"""A circuit breaker: while Cakemail's API is away, new messages are rejected at once instead of after a long wait.

It opens when so many calls in a row have failed, over so many seconds: a moment's trouble, which trying again bridges,
is none of its business. While it is open, one submission every few seconds is let through, the probe, and any answer of
the API closes it. The probe belongs to the first submission that reaches its call. MAIL takes nothing: it is answered
451 while no probe is due, and what never becomes a submission keeps nobody from being the next probe.

No library: those at hand wrap a call and count failures, and know neither how long they have lasted nor who may probe.
"""

from time import monotonic

from smtpgw.cakemail.errors import ApiError, Busy, NotReached, OutcomeUnknown, TryLater
from smtpgw.config.settings import Settings
from smtpgw.core import replies
from smtpgw.core.replies import SMTPError
from smtpgw.telemetry import logs, metrics

PROBE_SECONDS = 4.0  # between two submissions that are let through while it is open
FORGOTTEN_SECONDS = 60.0  # failures that nothing has come after say nothing of now


class Breaker:
    """The breaker of one worker. All times are monotonic."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.failures = 0  # in a row
        self.failing_since = self.last_failure = 0.0
        self.next_probe: float | None = None  # None while it is closed
        metrics.SAMPLED[metrics.BREAKER_OPEN] = self.is_open

    def check(self) -> None:
        """Let a message begin. Raises SMTPError: 451, while the breaker is open and no probe is due."""
        if self.is_open() and self.next_probe is not None and monotonic() < self.next_probe:
            raise SMTPError(replies.API_UNAVAILABLE)

    def admit(self) -> bool:
        """Let a submission begin; return whether it is the probe. Raises Refused as `check` does."""
        self.check()
        if self.next_probe is None:
            return False
        self.next_probe = monotonic() + PROBE_SECONDS
        return True

    def record(self, problem: ApiError | None) -> None:
        """Learn from what a call has ended in, None for a good answer."""
        if problem and is_failure(problem):
            self._failed(problem)
        elif not isinstance(problem, Busy):  # of which the API knows nothing
            self._close("Cakemail's API answers")

    def is_open(self) -> bool:
        """Whether it is open now. One that nobody has tried for long is not: there may be no message to close it."""
        longest = FORGOTTEN_SECONDS + self.settings.submit_timeout_seconds  # a probe takes its time
        if self.failures and monotonic() - self.last_failure > longest:
            self._close("nobody has tried for a while")
        return self.next_probe is not None

    def _failed(self, problem: ApiError) -> None:
        was_open = self.is_open()
        self.last_failure = monotonic()
        if not self.failures:
            self.failing_since = self.last_failure
        self.failures += 1
        lasted = self.last_failure - self.failing_since
        if was_open or self.failures < self.settings.breaker_failures or lasted < self.settings.breaker_seconds:
            return
        self.next_probe = self.last_failure + PROBE_SECONDS
        logs.error(what="breaker opened: Cakemail's API fails", failures=self.failures, reason=str(problem))

    def _close(self, reason: str) -> None:
        if self.next_probe is not None:
            logs.lifecycle(what=f"breaker closed: {reason}", seconds=round(monotonic() - self.failing_since, 1))
        self.failures, self.next_probe = 0, None


class MessageAdmission:
    """One message's leave to make its calls. The probe is a message with all its recipients."""

    __slots__ = ("breaker", "is_probe")

    def __init__(self, breaker: Breaker) -> None:
        self.breaker = breaker
        self.is_probe = False

    def check(self) -> None:
        """Let a call begin. Raises SMTPError, see `Breaker.admit`."""
        self.is_probe = self.is_probe or self.breaker.admit()


def is_failure(problem: ApiError) -> bool:
    """Whether this tells of the API, and not of a message or an account: no connection, no answer, 5xx; never 4xx."""
    if isinstance(problem, TryLater):
        return problem.status >= 500
    return isinstance(problem, (NotReached, OutcomeUnknown))
