"""Errors of the API client: each answer of Cakemail that is not a success, by what the caller can do about it."""


class ApiError(Exception):
    """A call did not succeed; the text is fit for people."""


class NotAuthorized(ApiError):
    """401: the password or token is not, or no longer, good."""


class ChallengeRequired(ApiError):
    """The account has multi-factor authentication, which SMTP cannot answer."""


class Rejected(ApiError):
    """Cakemail has read it and says no, for good. `about_recipient`: the address is what it does not like."""

    def __init__(self, words: str, status: int, *, about_recipient: bool = False) -> None:
        super().__init__(words)
        self.status = status
        self.about_recipient = about_recipient


class TryLater(ApiError):
    """Cakemail did not take it this time, and said so. `retry_after`: the delay it named, in seconds."""

    def __init__(self, words: str, status: int, retry_after: float | None = None) -> None:
        super().__init__(words)
        self.status = status
        self.retry_after = retry_after

    @property
    def may_be_retried(self) -> bool:
        """Whether it surely was not accepted, so that sending it again cannot double it."""
        return self.status == 429 or (self.status == 503 and self.retry_after is not None)


class NotReached(ApiError):
    """No connection came about: surely not accepted."""


class Busy(ApiError):
    """Too many calls are under way here; nothing was sent."""


class OutcomeUnknown(ApiError):
    """The request was sent and no answer came. It may have been accepted, so no call that submits is repeated."""
