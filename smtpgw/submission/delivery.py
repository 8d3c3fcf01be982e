"""Submit one message to each of its recipients, in parallel and within a time budget.

A request that was certainly not accepted (no connection, 429, 503 with Retry-After) is retried within the budget for
retries. A request that was sent and not answered may have been accepted, so it is not sent again while it is in the
ledger.
"""

import math
from collections.abc import Callable, Sequence
from time import monotonic

import gevent
from gevent.pool import Pool

from smtpgw.cakemail.circuit_breaker import CircuitBreaker, MessageAdmission
from smtpgw.cakemail.client import Cakemail
from smtpgw.cakemail.errors import ApiError, Busy, NotAuthorized, NotReached, OutcomeUnknown, Rejected, TryLater
from smtpgw.config.settings import Settings
from smtpgw.core import replies
from smtpgw.core.models import Account
from smtpgw.core.outcomes import Outcome
from smtpgw.core.replies import Reply, SMTPError
from smtpgw.submission.ledger import Ledger, MessageKey
from smtpgw.submission.logins import Logins
from smtpgw.submission.translation import EmailRequest
from smtpgw.telemetry import internal_errors, tracing

# Each request contains the whole message, so the size of the requests that are sent at the same time is limited. One
# request is always sent.
MAX_COPIES_BYTES = 32 * 1024 * 1024
# Delay before the first retry when the API names none. It doubles with each retry.
MIN_PAUSE_SECONDS = 0.25
# A call with less time would most likely end in an unknown outcome.
MIN_CALL_SECONDS = 0.2


class SubmissionUnknown(OutcomeUnknown):
    """The submission itself, and not a call before it, was not answered: the message may have been accepted."""


class Delivery:
    """Submission of messages to the API."""

    def __init__(
        self, api: Cakemail, logins: Logins, breaker: CircuitBreaker, ledger: Ledger, settings: Settings
    ) -> None:
        self.api = api
        self.logins = logins
        self.breaker = breaker
        self.ledger = ledger
        self.settings = settings

    def send(
        self,
        request: EmailRequest,
        recipients: Sequence[str],
        account: Account,
        message: MessageKey,
        deadline: float,
    ) -> list[Outcome]:
        """Submit the message to each recipient for which it was not accepted before.

        An error for one recipient becomes its outcome and is not raised, since the outcomes of the other recipients
        must not be lost.

        Args:
            message: key of the message in the ledger.
            deadline: a monotonic time at which all outcomes are known.

        Returns:
            One outcome for each recipient, in their order.
        """
        last_try = min(deadline, monotonic() + self.settings.api_retry_seconds)
        admission = MessageAdmission(self.breaker)

        def submit(recipient: str) -> Outcome:
            return capture_outcome(
                recipient,
                lambda: Outcome(recipient, self._submit(request, recipient, account, admission, deadline, last_try)),
            )

        def once(recipient: str) -> Outcome:
            return capture_outcome(
                recipient, lambda: self.ledger.submit_once(message, recipient, lambda: submit(recipient), deadline)
            )

        if len(recipients) == 1:
            return [once(recipients[0])]
        parallel = max(1, min(self.settings.recipients_in_parallel, MAX_COPIES_BYTES // len(request.template)))
        outcomes = list(Pool(parallel).map(tracing.propagate(once), recipients))
        if any(outcome.is_deferred for outcome in outcomes):
            self.ledger.await_retry(message, outcomes)
        return outcomes

    def _submit(
        self,
        request: EmailRequest,
        recipient: str,
        account: Account,
        admission: MessageAdmission,
        deadline: float,
        last_try: float,
    ) -> str:
        """Submit to one recipient, with retries where they are safe. Return Cakemail's uuid."""
        # The body is not built when there is no time left to send it.
        self._time_left(deadline)
        body = request.body_for(recipient)
        pause = MIN_PAUSE_SECONDS

        def call(token: str) -> str:
            seconds = self._time_left(deadline)
            admission.check()
            try:
                return self.api.submit_email(token, body, request.account_id, seconds, str(account.id))
            except OutcomeUnknown as problem:
                raise SubmissionUnknown(str(problem)) from problem

        while True:
            try:
                uuid = self._with_valid_token(account, deadline, call)
            except ApiError as problem:
                self.breaker.record(problem)
                wanted = delay_before_another_try(problem)
                if wanted is None or monotonic() + max(wanted, pause) > last_try:
                    raise
                gevent.sleep(max(wanted, pause))
                pause *= 2
            else:
                self.breaker.record(None)
                return uuid

    def _with_valid_token(self, account: Account, deadline: float, call: Callable[[str], str]) -> str:
        """Make a call. If the token is no longer valid, log in again and repeat the call once."""
        token = self.logins.token(account, deadline)
        try:
            return call(token)
        except NotAuthorized:
            return call(self.logins.token(account, deadline, stale=token))

    def _time_left(self, deadline: float) -> float:
        """Return the seconds that a call may take. Raises SMTPError (451) when the time of the message is over."""
        left = deadline - monotonic()
        if left < MIN_CALL_SECONDS:
            raise SMTPError(replies.API_FAILED)
        return min(left, self.settings.api_timeout_seconds)


def capture_outcome(recipient: str, work: Callable[[], Outcome]) -> Outcome:
    """Return the outcome of `work` for a recipient. An exception becomes an outcome, too."""
    try:
        return work()
    except SMTPError as refusal:
        return Outcome(recipient, reply=refusal.reply)
    except ApiError as problem:
        return Outcome(recipient, reply=reply_for(problem), is_unknown=isinstance(problem, SubmissionUnknown))
    # A bug of the gateway must not lose the outcomes of the other recipients.
    except Exception:  # noqa: BLE001
        internal_errors.log_exception(what="a recipient could not be submitted")
        return Outcome(recipient, reply=replies.INTERNAL_ERROR)


def delay_before_another_try(problem: ApiError) -> float | None:
    """Return the delay in seconds that the API asks for; None when a retry is useless, or could duplicate."""
    match problem:
        case NotReached():
            return 0.0
        case TryLater(may_be_retried=True, retry_after=seconds):
            return seconds or 0.0
    return None


def reply_for(problem: ApiError) -> Reply:
    """Return the reply for an error of the API, for one recipient."""
    match problem:
        case Rejected(about_recipient=True):
            return replies.RECIPIENT_REFUSED_BY_API.filled(words=problem)
        case Rejected(status=201):
            return replies.NOT_QUEUED_BY_API.filled(status=problem)
        case Rejected():
            return replies.REFUSED_BY_API.filled(words=problem)
        case NotAuthorized():
            return replies.CREDENTIALS_REVOKED
        case TryLater(retry_after=float(seconds)):
            return replies.API_RATE_LIMITED.filled(seconds=max(1, math.ceil(seconds)))
        case NotReached():
            return replies.API_UNAVAILABLE
        case Busy():
            return replies.API_BUSY
        case OutcomeUnknown():
            return replies.OUTCOME_UNKNOWN
    return replies.API_FAILED
