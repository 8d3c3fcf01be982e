"""Outcome of a message for one recipient."""

from dataclasses import dataclass

from smtpgw.core import replies
from smtpgw.core.replies import Reply


@dataclass(frozen=True, slots=True)
class Outcome:
    """Outcome for one recipient: Cakemail's uuid, or the reply that says why there is none.

    Attributes:
        is_unknown: the message was submitted, but it is not known whether Cakemail accepted it.
    """

    recipient: str
    uuid: str = ""
    reply: Reply = replies.QUEUED
    is_unknown: bool = False

    @property
    def is_accepted(self) -> bool:
        return not self.reply.is_error

    @property
    def is_deferred(self) -> bool:
        return self.reply.is_temporary
