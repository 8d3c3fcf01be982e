"""Remembers what Cakemail has accepted and the client may not know, so that a retry doubles nothing.

A client sends a message again when it was answered 4xx, or when it did not hear our 250 (RFC 1047). Then only the
recipients that are still open are submitted. A message with another Message-ID or another content is another message.
The same one that comes again while it is still being submitted takes the first's results. What the client has heard is
forgotten when its session confirms that, so that a message meant twice is sent twice; with an idempotency key of its
own, nothing is. What nobody confirms is forgotten after an hour.

A submission that was sent and not answered has an unknown outcome. It is remembered, too: for an hour, a retry for this
recipient is answered 451 and not submitted. After the hour it is submitted, since losing a message is worse than
doubling it. The accepted recipients of a message that is answered 451 are remembered for longer than that, from the
last time that it came: else they would be forgotten just when those of unknown outcome are submitted again.

In memory, of this process only, and bounded. Beyond the bound, the oldest are forgotten and counted.
"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from time import monotonic
from typing import NamedTuple

from cachetools import TLRUCache
from gevent.event import AsyncResult

from smtpgw.core import replies
from smtpgw.core.outcomes import Outcome
from smtpgw.core.replies import SMTPError
from smtpgw.telemetry import metrics

KEPT_SECONDS = UNKNOWN_SECONDS = 3600.0
# Clients come again at intervals of up to an hour or so; the next retry after an unknown outcome's hour falls into it.
RETRIED_SECONDS = 2 * UNKNOWN_SECONDS
MAX_RECIPIENTS = 200_000  # over all messages kept, some 600 octets each
MAX_UNKNOWN = 50_000  # recipients over all messages


@dataclass(frozen=True, slots=True)
class MessageKey:
    """What makes two submissions the same message. `content` only where the client's own key does: see `identity`."""

    digest: bytes
    content: bytes = b""
    may_double: bool = False  # better two than none: an unknown outcome does not stop the next submission

    def of_notice(self) -> "MessageKey":
        """The identity of the notice about this message."""
        return MessageKey(digest_of(b"notice", self.digest), self.content, may_double=True)


def identity(account: tuple[int, int | None], message_id: str, raw: bytes, content: bytes, key: str = "") -> MessageKey:
    """The identity of a message of this account (and sub-account).

    It is the same message when it has the same Message-ID and becomes the same email: a client that writes it anew
    changes its Date and its boundaries. Without a Message-ID every octet counts. A `key` (Resend-Idempotency-Key,
    idempotencyKey) is all that counts where there is one, but is good for one content: as with Resend, where another
    one under the same key is an error, and not taken for sent.
    """
    scope = repr(account).encode()
    if key:
        return MessageKey(digest_of(b"key", scope, key.encode()), digest_of(content))
    if message_id:
        return MessageKey(digest_of(b"id", scope, message_id.encode("utf-8", "replace"), content))
    return MessageKey(digest_of(b"raw", scope, raw))


def digest_of(*parts: bytes) -> bytes:
    found = hashlib.blake2b(digest_size=16)
    for part in parts:
        found.update(b"%d " % len(part))
        found.update(part)
    return found.digest()


Place = tuple[bytes, str]  # a message, and one of its recipients


class Kept(NamedTuple):
    """What became of a recipient, for how long it is kept, and the content, where the client has a key for it."""

    content: bytes
    outcome: Outcome
    seconds: float


class Bounded(TLRUCache[Place, Kept]):
    """A cache that counts what it forgets before its time: a retry of that doubles."""

    def __init__(self, most: int, clock: Callable[[], float]) -> None:
        super().__init__(most, lambda _, kept, now: now + kept.seconds, clock)

    def popitem(self) -> tuple[Place, Kept]:
        """Forget the oldest; called where there is no room for another."""
        metrics.LIMITS.labels("remembered").inc()
        return super().popitem()


class Ledger:
    """The recipients of messages under way, and those whose client may come again."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self.running: dict[Place, tuple[bytes, AsyncResult[Outcome]]] = {}
        self.kept = Bounded(MAX_RECIPIENTS, clock)
        # Apart, so that an API that answers nobody does not push out what it has accepted before.
        self.unknown = Bounded(MAX_UNKNOWN, clock)

    def once(self, message: MessageKey, recipient: str, submit: Callable[[], Outcome], deadline: float) -> Outcome:
        """Submit a message to one recipient, unless that is done or under way: then the outcome of that.

        Kept as soon as it is accepted, whatever happens to the message's other recipients and to who has sent it.

        Raises:
            SMTPError: 451 when what is under way has no outcome by the deadline, a monotonic time; 550 when its key was
                used for another content.
        """
        place = message.digest, recipient
        if known := self._known(place, message):
            return known
        if place in self.running:
            content, running = self.running[place]
            refuse_other(content, message)
            return waited_for(running, deadline)
        result: AsyncResult[Outcome] = AsyncResult()
        self.running[place] = message.content, result
        outcome = Outcome(recipient, reply=replies.OUTCOME_UNKNOWN, is_unknown=True)  # where the greenlet is killed
        try:
            outcome = submit()
            return outcome
        except Exception:
            outcome = Outcome(recipient, reply=replies.INTERNAL_ERROR)
            raise
        finally:
            self._keep(place, message, outcome)
            del self.running[place]
            result.set(outcome)

    def _keep(self, place: Place, message: MessageKey, outcome: Outcome) -> None:
        if outcome.is_accepted:
            self.kept[place] = Kept(message.content, outcome, KEPT_SECONDS)
        elif outcome.is_unknown and not message.may_double:
            self.unknown[place] = Kept(message.content, outcome, UNKNOWN_SECONDS)

    def _known(self, place: Place, message: MessageKey) -> Outcome | None:
        """What became of a recipient when the message came before; None where it is to be submitted."""
        kept = self.kept.get(place) or self.unknown.get(place)
        if not kept:
            return None
        refuse_other(kept.content, message)
        return replace(kept.outcome, reply=replies.STILL_UNKNOWN) if kept.outcome.is_unknown else kept.outcome

    def await_retry(self, message: MessageKey, outcomes: Iterable[Outcome]) -> None:
        """Keep what was accepted of a message that is answered 451 until its client has come again."""
        for outcome in outcomes:
            if outcome.is_accepted:
                self.kept[message.digest, outcome.recipient] = Kept(message.content, outcome, RETRIED_SECONDS)

    def forget(self, message: MessageKey, outcomes: Iterable[Outcome]) -> None:
        """Forget what the client knows of; should the message come again, it is meant.

        Only these outcomes are: the same message may have been sent again meanwhile, and that one's not be known.
        """
        if message.content:  # sent once in its hour, whether the client knows or not: that is what its key is for
            return
        for outcome in outcomes:
            place = message.digest, outcome.recipient
            kept = self.kept.get(place)
            if kept and (kept.content, kept.outcome) == (message.content, outcome):
                del self.kept[place]


def refuse_other(content: bytes, message: MessageKey) -> None:
    if content != message.content:
        raise SMTPError(replies.KEY_REUSED)


def waited_for(running: "AsyncResult[Outcome]", deadline: float) -> Outcome:
    outcome: Outcome | None = running.wait(max(0.0, deadline - monotonic()))
    if outcome is None:
        metrics.LIMITS.labels("same_message").inc()
        raise SMTPError(replies.API_BUSY)
    return outcome
