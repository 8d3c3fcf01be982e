"""Errors of the API client: one class for each way in which a call can fail.

The classes differ in what the caller has to know: whether the request may be sent again, and what to reply to the
client.
"""


class ApiError(Exception):
    """A call did not succeed. The text of the exception may be shown to the client."""


class NotAuthorized(ApiError):
    """Cakemail answered 401: the password or the token is not valid, or no longer valid."""


class ChallengeRequired(ApiError):
    """The account uses multi-factor authentication, which an SMTP client cannot answer."""


class Rejected(ApiError):
    """Cakemail rejected the request permanently.

    Args:
        reason: Cakemail's explanation.
        status: status code of the answer.
        about_recipient: whether the recipient's address is the reason.
    """

    def __init__(self, reason: str, status: int, *, about_recipient: bool = False) -> None:
        super().__init__(reason)
        self.status = status
        self.about_recipient = about_recipient


class TryLater(ApiError):
    """Cakemail answered that it did not accept the request now.

    Args:
        reason: Cakemail's explanation.
        status: status code of the answer.
        retry_after: delay in seconds that the answer names.
    """

    def __init__(self, reason: str, status: int, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.retry_after = retry_after

    @property
    def may_be_retried(self) -> bool:
        """Return whether the request was certainly not accepted, so that a retry cannot duplicate it."""
        return self.status == 429 or (self.status == 503 and self.retry_after is not None)


class NotReached(ApiError):
    """No connection was established, so the request was certainly not accepted."""


class Busy(ApiError):
    """Too many calls of this worker are in progress; nothing was sent."""


class OutcomeUnknown(ApiError):
    """The request was sent and no answer came.

    It may have been accepted, so a call that submits a message is never repeated after this error.
    """
