"""A circuit breaker: while Cakemail's API is away, new messages are refused at once instead of after a long wait.

Opens when so many calls in a row have failed, over so many seconds: a moment's trouble, which trying again bridges, is
none of its business. While it is open, MAIL is answered 451, but for one every few seconds whose message is the probe.
Any answer of the API closes it.

The circuit is that of `circuitbreaker`: it counts failures in a row, and knows when it is open, half open or closed. It
wraps no call, since what is refused here comes before one; it is told what calls have ended in. Ours is that failures
take some time, of which it knows nothing: a busy worker has ten of them within as many milliseconds.
"""

from time import monotonic

from circuitbreaker import CircuitBreaker

from smtpgw import logs, metrics, replies
from smtpgw.cakemail import ApiError, Busy, NotReached, OutcomeUnknown, TryLater
from smtpgw.replies import Refused
from smtpgw.settings import Settings

PROBE_SECONDS = 4.0  # between two messages that are let through while it is open
FORGOTTEN_SECONDS = 60.0  # failures that nothing has come after say nothing of now


class Breaker:
    """Of one worker."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.circuit = CircuitBreaker(settings.breaker_failures, PROBE_SECONDS)
        self.failing_since = self.last_failure = 0.0  # monotonic times
        metrics.SAMPLED[metrics.BREAKER_OPEN] = self.is_open

    def ready(self) -> None:
        """Let a message begin.

        Raises:
            Refused: 451, while the breaker is open and this is no probe.
        """
        if not self.is_open():
            return
        if self.circuit.opened:
            raise Refused(replies.API_UNAVAILABLE)
        self._count()  # half open: a probe counts as failed until it is answered, since its message may never come

    def heard(self, problem: ApiError | None) -> None:
        """Learn from what a call has ended in, None for a good answer."""
        if problem and is_failure(problem):
            self._failed(problem)
        elif not isinstance(problem, Busy):  # of which the API knows nothing
            self._close("Cakemail's API answers")

    def is_open(self) -> bool:
        """Whether it is open now. One that nobody has tried for long is not: there may be no message to close it."""
        longest = FORGOTTEN_SECONDS + self.settings.submit_timeout_seconds  # a probe takes its time
        if self.circuit.failure_count and monotonic() - self.last_failure > longest:
            self._close("nobody has tried for a while")
        return not self.circuit.closed

    def _failed(self, problem: ApiError) -> None:
        was_open = self.is_open()
        self.last_failure = monotonic()
        if not self.circuit.failure_count:
            self.failing_since = self.last_failure
        is_enough = self.circuit.failure_count + 1 >= self.settings.breaker_failures
        is_short = self.last_failure - self.failing_since < self.settings.breaker_seconds
        if was_open or (is_enough and is_short):
            return
        self._count()
        if is_enough:
            failures = self.circuit.failure_count
            logs.error(what="breaker opened: Cakemail's API fails", failures=failures, reason=str(problem))

    def _count(self) -> None:
        """Tell the circuit of a failure, as a `with` block does at its end.

        Not by one: the circuit keeps the last failure, and the traceback of what was raised would keep its message.
        """
        self.circuit.__exit__(ApiError, ApiError(), None)

    def _close(self, reason: str) -> None:
        was_open = not self.circuit.closed
        self.circuit.reset()
        if was_open:
            logs.lifecycle(what=f"breaker closed: {reason}", seconds=round(monotonic() - self.failing_since, 1))


def is_failure(problem: ApiError) -> bool:
    """Whether this tells of the API, and not of a message or an account: no connection, no answer, 5xx; never 4xx."""
    if isinstance(problem, TryLater):
        return problem.status >= 500
    return isinstance(problem, (NotReached, OutcomeUnknown))
