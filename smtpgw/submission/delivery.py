"""Submits one message to each of its recipients: in parallel, and within a budget of time.

What surely was not accepted (no connection, 429, 503 with Retry-After) is tried again while the budget for that lasts.
A request that was sent and not answered is not sent again while the memory knows of it: it may have been accepted.
"""

import math
from collections.abc import Callable, Sequence
from time import monotonic

import gevent
from gevent.pool import Pool

from smtpgw.cakemail.circuit_breaker import Breaker, MessageAdmission
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

# Of a message to many recipients, so much of its requests at a time, or one: each has the whole message in it.
MAX_COPIES_BYTES = 32 * 1024 * 1024
FIRST_PAUSE_SECONDS = 0.25  # before trying again what named no delay; doubled each time
MIN_SECONDS = 0.2  # a call that is begun with less would only end in an outcome that nobody knows


class SubmissionUnknown(OutcomeUnknown):
    """The submission itself was not answered, and not a call that it needs: the message may have been accepted."""


class Delivery:
    """Takes messages to the API."""

    def __init__(self, api: Cakemail, logins: Logins, breaker: Breaker, memory: Ledger, settings: Settings) -> None:
        self.api = api
        self.logins = logins
        self.breaker = breaker
        self.memory = memory
        self.settings = settings

    def send(
        self,
        request: EmailRequest,
        recipients: Sequence[str],
        account: Account,
        message: MessageKey,
        deadline: float,
    ) -> list[Outcome]:
        """Submit the message to each recipient that it was not accepted for before.

        Takes until `deadline`, a monotonic time, at most. Never raises for one of the recipients: what was accepted
        for the others must not be lost.

        Returns:
            An outcome for each, in their order.
        """
        last_try = min(deadline, monotonic() + self.settings.api_retry_seconds)
        admission = MessageAdmission(self.breaker)

        def submit(recipient: str) -> Outcome:
            return outcome_of(
                recipient,
                lambda: Outcome(recipient, self._submit(request, recipient, account, admission, deadline, last_try)),
            )

        def once(recipient: str) -> Outcome:
            return outcome_of(
                recipient, lambda: self.memory.once(message, recipient, lambda: submit(recipient), deadline)
            )

        if len(recipients) == 1:
            return [once(recipients[0])]
        parallel = max(1, min(self.settings.recipients_in_parallel, MAX_COPIES_BYTES // len(request.template)))
        outcomes = list(Pool(parallel).map(tracing.propagate(once), recipients))
        if any(outcome.is_deferred for outcome in outcomes):
            self.memory.await_retry(message, outcomes)
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
        """Submit to one recipient, again where that is safe and there is time; Cakemail's uuid."""
        self._time_left(deadline)  # before rendering, which is for nothing when the time is up
        body = request.body_for(recipient)
        pause = FIRST_PAUSE_SECONDS

        def call(token: str) -> str:
            seconds = self._time_left(deadline)
            admission.check()
            try:
                return self.api.submit_email(token, body, request.account_id, seconds)
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
        """Make a call; when the token turns out to be good no longer, log in again once and repeat it."""
        token = self.logins.token(account, deadline)
        try:
            return call(token)
        except NotAuthorized:
            return call(self.logins.token(account, deadline, stale=token))

    def _time_left(self, deadline: float) -> float:
        """Seconds that a call may take. Nothing new is begun for a message whose time is up."""
        left = deadline - monotonic()
        if left < MIN_SECONDS:
            raise SMTPError(replies.API_FAILED)
        return min(left, self.settings.api_timeout_seconds)


def outcome_of(recipient: str, work: Callable[[], Outcome]) -> Outcome:
    """What some work leads to for a recipient, whatever it raises."""
    try:
        return work()
    except SMTPError as refusal:
        return Outcome(recipient, reply=refusal.reply)
    except ApiError as problem:
        return Outcome(recipient, reply=reply_to(problem), is_unknown=isinstance(problem, SubmissionUnknown))
    except Exception:  # noqa: BLE001  our own bug must not lose what was accepted for the other recipients
        internal_errors.log_exception(what="a recipient could not be submitted")
        return Outcome(recipient, reply=replies.INTERNAL_ERROR)


def delay_before_another_try(problem: ApiError) -> float | None:
    """The seconds that the API wants us to wait; None where it may have been accepted, or is refused for good."""
    match problem:
        case NotReached():
            return 0.0
        case TryLater(may_be_retried=True, retry_after=seconds):
            return seconds or 0.0
    return None


def reply_to(problem: ApiError) -> Reply:
    """The table "what the API did → what the client is told" for one recipient."""
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
