"""What became of a message for one recipient."""

from dataclasses import dataclass

from smtpgw.core import replies
from smtpgw.core.replies import Reply


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one recipient: Cakemail's uuid, or the reply that says why not."""

    recipient: str
    uuid: str = ""
    reply: Reply = replies.QUEUED
    is_unknown: bool = False  # submitted, but whether it was accepted cannot be said

    @property
    def is_accepted(self) -> bool:
        return not self.reply.is_error

    @property
    def is_deferred(self) -> bool:
        return self.reply.is_temporary
