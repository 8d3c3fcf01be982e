"""What is behind the dialogue: logs in, and takes a message through parsing and translation to Cakemail.

The way of a message is one function, `_submit`; the table "outcomes → reply" is another, `answer`.
"""

from collections.abc import Sequence
from functools import partial

from smtpgw.cakemail.circuit_breaker import Breaker
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
from smtpgw.submission import ledger, translation
from smtpgw.submission.bounces import Bounces, Sent
from smtpgw.submission.delivery import Delivery, reply_to
from smtpgw.submission.directory import Directories
from smtpgw.submission.ledger import Ledger, MessageKey
from smtpgw.submission.login_throttle import LoginThrottle
from smtpgw.submission.logins import Logins
from smtpgw.submission.message_log import MessageLog
from smtpgw.submission.offload import Offload


class Gateway:
    """The session's `Gateway`, on Cakemail's API."""

    def __init__(self, settings: Settings, mappings: ProviderMap) -> None:
        self.settings = settings
        self.mappings = mappings
        api = Cakemail(settings)
        self.logins = Logins(api)
        self.directories = Directories(self.logins)
        self.throttle = LoginThrottle(settings)
        self.breaker = Breaker(settings)
        self.memory = Ledger()
        self.offload = Offload()
        self.delivery = Delivery(api, self.logins, self.breaker, self.memory, settings)
        self.notices = Bounces(self.delivery, self.directories, domains=settings.notices == "on")
        self.is_closing = False  # the process ends within the time that a submission may take

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
        """Take a message to Cakemail, for all its recipients.

        Returns the reply that accepts it, to be confirmed once the client has read it.

        Raises:
            SMTPError: 5xx when it cannot be sent so, 4xx when it may be sent again.
        """
        with MessageLog(submission) as story:
            receipt = self._submit(submission, story)
            story.reply = receipt.reply
        return receipt

    def check_available(self) -> None:
        """Check that a message can be submitted now. Raises SMTPError: 451 while the API keeps failing."""
        self.breaker.check()

    def _forget(self, identity: MessageKey, outcomes: Sequence[Outcome], notice: Outcome | None) -> None:
        """Forget a message whose acceptance the client knows of: should it come again, it is meant."""
        self.memory.forget(identity, outcomes)
        if notice:
            self.memory.forget(identity.of_notice(), [notice])

    def _submit(self, submission: Submission, story: MessageLog) -> Receipt:
        raw, envelope, account = submission.raw, submission.envelope, submission.account
        deadline = story.began + self.settings.submit_timeout_seconds
        work = self.offload.message(len(raw), account.id, deadline)
        inline_images, limit = self.settings.inline_images, self.settings.request_limit_bytes
        is_null = not envelope.reverse_path
        with story.stage("parse"):
            mail = work(lambda: parser.parse(raw, inline_images, null_sender=is_null, limit_bytes=limit))
        submission.reserve(max(len(raw), mail.content_bytes))
        story.message(mail)
        mapping = self.mappings.account(account.id)
        options = work(lambda: interpreter.read(mail, envelope.recipients, mapping))
        story.options(options)
        with story.stage("sender"):
            sender_id, list_id = self._sender_and_list(submission, mail, options, deadline)
        story.sender(sender_id)
        with story.stage("translate"):
            how = self.settings.default_type, self.settings.bulk_headers, limit
            request = work(lambda: translation.translate(mail, options, sender_id, list_id, *how))
        mail = mail.without_content()  # all of it is in the request
        submission.reserve(max(len(raw), len(request.template)))
        story.request(request)
        if options.discard:
            return Receipt(replies.DISCARDED.filled(header=options.discard))
        scope = account.id, request.account_id
        key = options.idempotency_key
        identity = work(lambda: ledger.identity(scope, mail.message_id, raw, request.template, key))
        if self.is_closing:  # cut after its POST, the message would come again and arrive twice
            raise SMTPError(replies.SHUTTING_DOWN)
        with story.stage("api"):
            story.outcomes = self.delivery.send(request, envelope.recipients, account, identity, deadline)
            reply = answer(submission.id, story.outcomes)
            if self.settings.notices != "off":
                sent = Sent(submission, mail, sender_id, list_id, request.account_id, identity, deadline)
                story.notice = self.notices.send(sent, story.outcomes)
                story.notes += tuple(sent.notes)
        return Receipt(reply, partial(self._forget, identity, story.outcomes, story.notice))

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
            raise SMTPError(replies.API_FAILED) from problem  # trouble with a look-up is never "unknown sender"
        except ApiError as problem:
            self.breaker.record(problem)
            raise SMTPError(reply_to(problem)) from problem
        return sender.id, list_id


def answer(submission_id: str, outcomes: Sequence[Outcome]) -> Reply:
    """What the client is told, of what became of each recipient. 250 is a promise (architecture of the replies).

    Raises:
        SMTPError: 451 when something is left to try, 550 when there is nothing.
    """
    for outcome in outcomes:
        if outcome.is_deferred:
            raise SMTPError(outcome.reply)
    accepted = [o for o in outcomes if o.is_accepted]
    if not accepted:
        raise SMTPError(outcomes[0].reply)
    return replies.QUEUED.filled(id=(len(outcomes) == 1 and accepted[0].uuid) or submission_id)
