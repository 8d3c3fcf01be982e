"""The gateway's own way of a message, in this process and apart from Cakemail: all senders are confirmed."""

import os
from collections.abc import Sequence

from smtpgw.cakemail.bodies import Sender
from smtpgw.commands.explanation import BOUNCE_SENDER, UNKNOWN_LIST
from smtpgw.config.provider_map import ProviderMap
from smtpgw.config.settings import Settings
from smtpgw.core.models import Account, Credentials, Envelope, Submission
from smtpgw.core.outcomes import Outcome
from smtpgw.core.replies import SENDER_NOT_CONFIRMED, SMTPError
from smtpgw.submission.delivery import Delivery
from smtpgw.submission.directory import Directories
from smtpgw.submission.gateway import Gateway
from smtpgw.submission.ledger import MessageKey
from smtpgw.submission.logins import Logins
from smtpgw.submission.translation import EmailRequest

SETTINGS = Settings.from_environ({"SMTPGW_TLS_CERT": os.devnull, "SMTPGW_TLS_KEY": os.devnull})


class AnyDirectory(Directories):
    """Ids are those that explanations have."""

    def sender(
        self, account: Account, account_id: int | None, sender_id: str | None, address: str, deadline: float
    ) -> Sender:
        if not address and not sender_id:
            raise SMTPError(SENDER_NOT_CONFIRMED.filled(address="<>"))
        return Sender(sender_id or f"<id of {address}>", address, True)

    def bounce_sender(
        self, account: Account, account_id: int | None, address: str, deadline: float | None = None
    ) -> Sender:
        return Sender(BOUNCE_SENDER, address, True)

    def default_list(self, account: Account, account_id: int | None, deadline: float | None = None) -> int | None:
        return UNKNOWN_LIST  # type: ignore[return-value]


class AnyLogin(Logins):
    """Every account has the same token."""

    def token(self, account: Account, deadline: float | None = None, stale: str = "") -> str:
        return "token"


class NotSent(Delivery):
    """Keeps the bodies of requests, and accepts every recipient."""

    bodies: list[bytes]

    def send(
        self, request: EmailRequest, recipients: Sequence[str], account: Account, message: MessageKey, deadline: float
    ) -> list[Outcome]:
        self.bodies = [request.body_for(recipient) for recipient in recipients]
        return [Outcome(recipient, "<Cakemail's id>") for recipient in recipients]


class GatewayApart:
    """A gateway; also a context manager."""

    def __init__(self, mappings: ProviderMap = ProviderMap.EMPTY) -> None:
        self.gateway = Gateway(SETTINGS, mappings)
        api = self.gateway.delivery.api
        self.gateway.logins = AnyLogin(api)
        self.gateway.directories = AnyDirectory(self.gateway.logins)
        self.gateway.delivery = self.delivery = NotSent(
            api, self.gateway.logins, self.gateway.breaker, self.gateway.ledger, SETTINGS
        )

    def submitted(self, envelope: Envelope, raw: bytes) -> tuple[str, list[bytes]]:
        """What the gateway answers, and the bodies it would send."""
        self.delivery.bodies = []
        account = Account(1, Credentials("user", "x"))
        submission = Submission("<the gateway's id>", "session", account, envelope, raw)
        try:
            receipt = self.gateway.submit(submission)
            receipt.confirm()  # so that it takes the next one for another message
            reply = receipt.reply
        except SMTPError as refusal:
            reply = refusal.reply
        return f"{reply.code} {reply.status} {reply.text}", self.delivery.bodies

    def __enter__(self) -> "GatewayApart":
        return self

    def __exit__(self, *_: object) -> None:
        self.gateway.close()
