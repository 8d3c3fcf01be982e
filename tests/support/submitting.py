"""A gateway in this process, without SMTP before it: gives messages to an API and tells what a client would hear."""

from collections.abc import Sequence
from itertools import count
from types import TracebackType
from typing import Self

from smtpgw.config.provider_map import ProviderMap
from smtpgw.core.models import Account, Credentials, Envelope, Submission
from smtpgw.core.replies import Reply, SMTPError
from smtpgw.submission.gateway import Gateway
from tests.support.gateway import PASSWORD, SENDER, USERNAME
from tests.support.recorder import settings

GOOD = Credentials(USERNAME, PASSWORD)


def message(message_id: str = "", text: str = "x", headers: str = "") -> bytes:
    """A message, CRLF and all; `headers` end with CRLF, too."""
    if message_id:
        headers = f"Message-ID: <{message_id}@client.example>\r\n{headers}"
    return f"From: {SENDER}\r\nSubject: Submitting\r\n{headers}\r\n{text}\r\n".encode()


class Submitting:
    """A gateway in front of the API at `url`; also a context manager. `variables` are settings."""

    def __init__(self, url: str, **variables: str) -> None:
        self.gateway = Gateway(settings(CAKEMAIL_API_URL=url, **variables), ProviderMap.EMPTY)
        self.numbers = count(1)

    def send(
        self,
        recipients: Sequence[str] = ("ann@example.com",),
        raw: bytes = message(),
        *,
        reverse_path: str = SENDER,
        account: Account | None = None,
        heard: bool = True,
    ) -> Reply:
        """Submit a message, log in before if there is no account; the reply. `heard`: the client does hear it."""
        try:
            account = account or self.gateway.logins.login(GOOD)
            envelope = Envelope(reverse_path, list(recipients))
            submission = Submission(f"test.{next(self.numbers)}", "test", account, envelope, raw)
            receipt = self.gateway.submit(submission)
        except SMTPError as refusal:
            return refusal.reply
        if heard:
            receipt.confirm()
        return receipt.reply

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.gateway.close()
