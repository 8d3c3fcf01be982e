"""Gateway between the SMTP session and Cakemail: logins, and the path of a message to the API.

The path of a message is one function, `_submit`. The reply for its outcomes is chosen in another, `final_reply`.
"""

from collections.abc import Sequence
from functools import partial

from smtpgw.cakemail.circuit_breaker import CircuitBreaker
from smtpgw.cakemail.client import Cakemail
from smtpgw.cakemail.errors import ApiError, Rejected
from smtpgw.config.provider_map import ProviderMap
from smtpgw.config.settings import Settings
from smtpgw.core import replies
from smtpgw.core.models import Account, Credentials, Receipt, Submission
from smtpgw.core.outcomes import Outcome
from smtpgw.core.replies import Reply, SMTPError
from smtpgw.dialects import interpreter
from smtpgw.message import parser
from smtpgw.message.parser import Message
from smtpgw.submission import translation
from smtpgw.submission.bounces import Bounces, SubmittedMessage
from smtpgw.submission.delivery import Delivery, reply_for
from smtpgw.submission.directory import Directories
from smtpgw.submission.ledger import Ledger, MessageKey, message_key
from smtpgw.submission.login_throttle import LoginThrottle
from smtpgw.submission.logins import Logins
from smtpgw.submission.message_log import MessageLog
from smtpgw.submission.offload import Offload


class Gateway:
    """Implementation of the session's `Gateway` with Cakemail's API."""

    def __init__(self, settings: Settings, mappings: ProviderMap) -> None:
        self.settings = settings
        self.mappings = mappings
        api = Cakemail(settings)
        self.logins = Logins(api)
        self.directories = Directories(self.logins)
        self.throttle = LoginThrottle(settings)
        self.breaker = CircuitBreaker(settings)
        self.ledger = Ledger()
        self.offload = Offload()
        self.delivery = Delivery(api, self.logins, self.breaker, self.ledger, settings)
        self.bounces = Bounces(self.delivery, self.directories, domains=settings.notices == "on")
        # The process will end before a new submission could.
        self.is_closing = False

    def close(self) -> None:
        """Close the connections to Cakemail."""
        self.delivery.api.close()

    def login(self, credentials: Credentials, client: str) -> Account:
        """Log a client in from its address, against which failed logins count.

        Raises:
            SMTPError: 535 when the credentials are wrong, 454 when Cakemail cannot check them now, or after too many
                failed logins.
        """
        return self.throttle.login(client, credentials, self.logins.login)

    def submit(self, submission: Submission) -> Receipt:
        """Submit a message to Cakemail for all its recipients.

        Returns:
            The reply that accepts it. The session confirms it when the client has read it.

        Raises:
            SMTPError: 5xx when the message is rejected permanently, 4xx when the client may send it again.
        """
        with MessageLog(submission) as log:
            receipt = self._submit(submission, log)
            log.reply = receipt.reply
        return receipt

    def check_available(self) -> None:
        """Check that a message can be submitted now. Raises SMTPError: 451 while the API keeps failing."""
        self.breaker.check()

    def _forget(self, key: MessageKey, outcomes: Sequence[Outcome], bounce: Outcome | None) -> None:
        """Remove a message from the ledger when the client knows that it was accepted."""
        self.ledger.forget(key, outcomes)
        if bounce:
            self.ledger.forget(key.of_bounce(), [bounce])

    def _submit(self, submission: Submission, log: MessageLog) -> Receipt:
        raw, envelope, account = submission.raw, submission.envelope, submission.account
        deadline = log.began + self.settings.submit_timeout_seconds
        work = self.offload.message(len(raw), account.id, deadline)
        inline_images, limit = self.settings.inline_images, self.settings.request_limit_bytes
        is_null = not envelope.reverse_path
        with log.stage("parse"):
            mail = work(lambda: parser.parse(raw, inline_images, null_sender=is_null, limit_bytes=limit))
        submission.reserve(max(len(raw), mail.content_bytes))
        log.message(mail)
        mapping = self.mappings.account(account.id)
        options = work(lambda: interpreter.read(mail, envelope.recipients, mapping))
        log.options(options)
        with log.stage("sender"):
            sender_id, list_id = self._sender_and_list(submission, mail, options, deadline)
        log.sender(sender_id)
        with log.stage("translate"):
            how = self.settings.default_type, self.settings.bulk_headers, limit
            request = work(lambda: translation.translate(mail, options, sender_id, list_id, *how))
        # The content is in the request now, and must not be in memory twice.
        mail = mail.without_content()
        submission.reserve(max(len(raw), len(request.template)))
        log.request(request)
        if options.discard:
            return Receipt(replies.DISCARDED.filled(header=options.discard))
        scope = account.id, request.account_id
        key = work(lambda: message_key(scope, mail.message_id, raw, request.template, options.idempotency_key))
        # A message that is interrupted after its POST would be sent again and arrive twice.
        if self.is_closing:
            raise SMTPError(replies.SHUTTING_DOWN)
        with log.stage("api"):
            log.outcomes = self.delivery.send(request, envelope.recipients, account, key, deadline)
            reply = final_reply(submission.id, log.outcomes)
            if self.settings.notices != "off":
                sent = SubmittedMessage(submission, mail, sender_id, list_id, request.account_id, key, deadline)
                log.bounce = self.bounces.send(sent, log.outcomes)
                log.notes += tuple(sent.notes)
        return Receipt(reply, partial(self._forget, key, log.outcomes, log.bounce))

    def _sender_and_list(
        self, submission: Submission, mail: Message, options: interpreter.Options, deadline: float
    ) -> tuple[str, int | None]:
        account, sub_account = submission.account, options.account_id
        address = mail.author.address if mail.author else submission.envelope.reverse_path
        try:
            if mail.is_bounce and not options.sender_id:
                sender = self.directories.bounce_sender(account, sub_account, address, deadline)
            else:
                sender = self.directories.sender(account, sub_account, options.sender_id, address, deadline)
            list_id = options.list_id or self.directories.default_list(account, sub_account, deadline)
        except Rejected as problem:
            if sub_account is not None:
                raise SMTPError(replies.ACCOUNT_REFUSED.filled(id=sub_account)) from problem
            # A failed lookup does not mean that the sender is unknown.
            raise SMTPError(replies.API_FAILED) from problem
        except ApiError as problem:
            self.breaker.record(problem)
            raise SMTPError(reply_for(problem)) from problem
        return sender.id, list_id


def final_reply(submission_id: str, outcomes: Sequence[Outcome]) -> Reply:
    """Return the reply to a message, given the outcomes of its recipients.

    A 250 reply promises that Cakemail has accepted the message for every recipient, or that the sender is notified.

    Raises:
        SMTPError: 451 when a retry may succeed for a recipient, 550 when every recipient was rejected.
    """
    for outcome in outcomes:
        if outcome.is_deferred:
            raise SMTPError(outcome.reply)
    accepted = [o for o in outcomes if o.is_accepted]
    if not accepted:
        raise SMTPError(outcomes[0].reply)
    return replies.QUEUED.filled(id=(len(outcomes) == 1 and accepted[0].uuid) or submission_id)
