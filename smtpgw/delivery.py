"""Submits one message to each of its recipients: in parallel, within a budget of time, and each at most once.

What surely was not accepted (no connection, 429, 503 with Retry-After) is tried again while the budget for that lasts.
A request that was sent and not answered is never sent again: it may have been accepted.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic

import gevent
from gevent.pool import Pool

from smtpgw import replies, tracing
from smtpgw.accounts import Accounts
from smtpgw.cakemail import (
    ApiError,
    Busy,
    Cakemail,
    NotAuthorized,
    NotReached,
    OutcomeUnknown,
    Rejected,
    TryLater,
)
from smtpgw.envelope import Account
from smtpgw.replies import Refused, Reply
from smtpgw.settings import Settings
from smtpgw.translation import EmailRequest

FIRST_PAUSE_SECONDS = 0.25  # before trying again what named no delay; doubled each time


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one recipient: Cakemail's uuid, or the reply that says why not."""

    recipient: str
    uuid: str = ""
    reply: Reply = replies.QUEUED

    @property
    def is_accepted(self) -> bool:
        return not self.reply.is_error

    @property
    def is_deferred(self) -> bool:
        return self.reply.is_temporary


class Delivery:
    """Takes messages to the API."""

    def __init__(self, api: Cakemail, accounts: Accounts, settings: Settings) -> None:
        self.api = api
        self.accounts = accounts
        self.settings = settings

    def send(self, request: EmailRequest, recipients: Sequence[str], account: Account) -> list[Outcome]:
        """Submit the message to each recipient; an outcome for each, in their order. Never raises for one of them."""
        began = monotonic()

        def one(recipient: str) -> Outcome:
            return self._outcome(request, recipient, account, began)

        if len(recipients) == 1:
            return [one(recipients[0])]
        return list(Pool(self.settings.recipients_in_parallel).map(tracing.carried(one), recipients))

    def _outcome(self, request: EmailRequest, recipient: str, account: Account, began: float) -> Outcome:
        try:
            return Outcome(recipient, self._submit(request, recipient, account, began))
        except Refused as refusal:
            return Outcome(recipient, reply=refusal.reply)
        except ApiError as problem:
            return Outcome(recipient, reply=reply_to(problem))

    def _submit(self, request: EmailRequest, recipient: str, account: Account, began: float) -> str:
        """Submit to one recipient, again where that is safe and there is time; Cakemail's uuid."""
        body = request.body_for(recipient)
        last_try = began + self.settings.api_retry_seconds
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                return self._with_valid_token(
                    account,
                    lambda token: self.api.submit_email(token, body, request.account_id, self._time_left(began)),
                )
            except (NotReached, TryLater) as problem:
                named = problem.retry_after if isinstance(problem, TryLater) else None
                wait = pause if named is None else named
                safe = isinstance(problem, NotReached) or problem.may_be_retried
                if not safe or monotonic() + wait > last_try:
                    raise
                gevent.sleep(wait)
                pause *= 2

    def _with_valid_token(self, account: Account, call: Callable[[str], str]) -> str:
        """Make a call; when the token turns out to be good no longer, log in again once and repeat it."""
        token = self.accounts.token(account)
        try:
            return call(token)
        except NotAuthorized:
            return call(self.accounts.token(account, stale=token))

    def _time_left(self, began: float) -> float:
        """Seconds that a call may take. Nothing new is begun for a message whose time is up."""
        left = began + self.settings.submit_timeout_seconds - monotonic()
        if left <= 0:
            raise Refused(replies.API_FAILED)
        return min(left, self.settings.api_timeout_seconds)


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
            return replies.API_RATE_LIMITED.filled(seconds=round(seconds))
        case NotReached():
            return replies.API_UNAVAILABLE
        case Busy():
            return replies.API_BUSY
        case OutcomeUnknown():
            return replies.OUTCOME_UNKNOWN
    return replies.API_FAILED
