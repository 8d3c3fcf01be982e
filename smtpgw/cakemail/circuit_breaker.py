"""Circuit breaker: while Cakemail's API fails, new messages are rejected at once instead of after a long wait.

It opens when a number of consecutive calls have failed over a number of seconds; shorter failures are bridged by
retries. While it is open, one submission every few seconds is admitted as a probe, and any answer of the API closes it.
The first submission that reaches its call becomes the probe. MAIL only checks the breaker: it is rejected with 451
while no probe is due, and a client that never submits a message does not use up a probe.

The available libraries wrap a call and count failures. They consider neither the duration of the failures nor which
submission may be the probe.
"""

from time import monotonic

from smtpgw.cakemail.errors import ApiError, Busy, NotReached, OutcomeUnknown, TryLater
from smtpgw.config.settings import Settings
from smtpgw.core import replies
from smtpgw.core.replies import SMTPError
from smtpgw.telemetry import logs, metrics

# Interval between two submissions that are admitted while the breaker is open.
PROBE_INTERVAL_SECONDS = 4.0
# Failures are forgotten when no call has followed them for this time.
MAX_FAILURE_AGE_SECONDS = 60.0


class CircuitBreaker:
    """Circuit breaker of one worker. All times are monotonic."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        # Number of consecutive failures.
        self.failures = 0
        self.failing_since = self.last_failure = 0.0
        # None while the breaker is closed.
        self.next_probe: float | None = None
        metrics.SAMPLED[metrics.BREAKER_OPEN] = self.is_open

    def check(self) -> None:
        """Check whether a message may begin. Raises SMTPError (451) while the breaker is open and no probe is due."""
        if self.is_open() and self.next_probe is not None and monotonic() < self.next_probe:
            raise SMTPError(replies.API_UNAVAILABLE)

    def admit(self) -> bool:
        """Admit a submission and return whether it is the probe. Raises SMTPError as `check` does."""
        self.check()
        if self.next_probe is None:
            return False
        self.next_probe = monotonic() + PROBE_INTERVAL_SECONDS
        return True

    def record(self, problem: ApiError | None) -> None:
        """Record the result of a call: its error, or None for a good answer."""
        if problem and is_failure(problem):
            self._failed(problem)
        # A call that failed with Busy never reached the API.
        elif not isinstance(problem, Busy):
            self._close("Cakemail's API answers")

    def is_open(self) -> bool:
        """Return whether the breaker is open now.

        It closes by itself when no call was made for a while, since there may be no message to close it.
        """
        # A probe may take as long as a submission.
        longest = MAX_FAILURE_AGE_SECONDS + self.settings.submit_timeout_seconds
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
        self.next_probe = self.last_failure + PROBE_INTERVAL_SECONDS
        logs.error(what="breaker opened: Cakemail's API fails", failures=self.failures, reason=str(problem))

    def _close(self, reason: str) -> None:
        if self.next_probe is not None:
            logs.lifecycle(what=f"breaker closed: {reason}", seconds=round(monotonic() - self.failing_since, 1))
        self.failures, self.next_probe = 0, None


class MessageAdmission:
    """Admission of one message. The probe is a message with all its recipients, so they are admitted once."""

    __slots__ = ("breaker", "is_probe")

    def __init__(self, breaker: CircuitBreaker) -> None:
        self.breaker = breaker
        self.is_probe = False

    def check(self) -> None:
        """Check whether a call of this message may begin. Raises SMTPError as `CircuitBreaker.admit` does."""
        self.is_probe = self.is_probe or self.breaker.admit()


def is_failure(problem: ApiError) -> bool:
    """Return whether an error is a failure of the API: no connection, no answer or 5xx. A 4xx concerns one message."""
    if isinstance(problem, TryLater):
        return problem.status >= 500
    return isinstance(problem, (NotReached, OutcomeUnknown))
