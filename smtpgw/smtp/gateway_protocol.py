"""The interface between the SMTP session and the submission of messages, which the session does not import."""

from typing import Protocol

from smtpgw.core.models import Account, Credentials, Receipt, Submission


class GatewayProtocol(Protocol):
    """The interface between the session and the submission of messages."""

    def login(self, credentials: Credentials, client: str) -> Account:
        """Log a client in from its address. Raises SMTPError: 535, or 454 when that is not possible now."""

    def check_available(self) -> None:
        """Check that a message can be submitted now. Raises SMTPError."""

    def submit(self, submission: Submission) -> Receipt:
        """Submit a message and return its receipt. Raises SMTPError."""
