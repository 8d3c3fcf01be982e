"""Ledger of the outcomes that a client may not know, so that a retry does not send a message twice.

A client sends a message again after a 4xx reply, or when it did not receive the 250 reply (RFC 1047). In this case only
the recipients without an outcome are submitted. A message with another Message-ID or another content is another
message. A message that comes again while it is being submitted gets the outcomes of the first submission. An entry is
removed when the session confirms that the client has read the reply, so a message that is sent twice on purpose is
delivered twice, unless it has an idempotency key. Entries without a confirmation expire.

A submission that was sent and not answered has an unknown outcome. A retry for this recipient is answered 451 and not
submitted, until the entry expires. Then it is submitted, since losing a message is worse than duplicating it. The
accepted recipients of a message that was answered 451 are kept for longer than that, counted from its last retry.
Otherwise their entries would expire just when the recipients of unknown outcome are submitted again.

The ledger is in the memory of this process and bounded. Beyond its bound, the oldest entries are removed and counted.
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
# Clients retry at intervals of up to about an hour, so the first retry after an unknown outcome has expired falls into
# this time.
RETRIED_SECONDS = 2 * UNKNOWN_SECONDS
# Recipients over all messages.
MAX_RECIPIENTS = 200_000
MAX_UNKNOWN = 50_000


@dataclass(frozen=True, slots=True)
class MessageKey:
    """Key of a message: two submissions with the same key are the same message.

    Attributes:
        content: digest of the content, for a message with an idempotency key; see `message_key`.
        may_double: an unknown outcome does not prevent the next submission.
    """

    digest: bytes
    content: bytes = b""
    may_double: bool = False

    def of_bounce(self) -> "MessageKey":
        """Return the key of the bounce about this message."""
        return MessageKey(digest_of(b"notice", self.digest), self.content, may_double=True)


def message_key(
    account: tuple[int, int | None], message_id: str, raw: bytes, content: bytes, key: str = ""
) -> MessageKey:
    """Return the key of a message.

    Two messages are the same when they have the same Message-ID and become the same email. Their octets may differ,
    since a client that composes a message again changes its Date and its boundaries.

    Args:
        account: ids of the account and the sub-account.
        message_id: without a Message-ID, every octet of the message counts.
        raw: the message as received.
        content: the request that it becomes.
        key: idempotency key (Resend-Idempotency-Key, idempotencyKey). It replaces the Message-ID, and is valid for one
            content: as with Resend, another content with the same key is an error.
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


# Digest of a message, and one of its recipients.
RecipientKey = tuple[bytes, str]


class Entry(NamedTuple):
    """Outcome for a recipient, how long it is kept, and the content of a message with an idempotency key."""

    content: bytes
    outcome: Outcome
    seconds: float


class BoundedCache(TLRUCache[RecipientKey, Entry]):
    """Cache that counts the entries removed before they expire, since a retry would then send the message twice."""

    def __init__(self, max_entries: int, clock: Callable[[], float]) -> None:
        super().__init__(max_entries, lambda _, entry, now: now + entry.seconds, clock)

    def popitem(self) -> tuple[RecipientKey, Entry]:
        """Remove the oldest entry. cachetools calls this when the cache is full."""
        metrics.LIMITS.labels("remembered").inc()
        return super().popitem()


class Ledger:
    """Recipients of messages in progress, and of messages that a client may send again."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self.running: dict[RecipientKey, tuple[bytes, AsyncResult[Outcome]]] = {}
        self.kept = BoundedCache(MAX_RECIPIENTS, clock)
        # A separate cache, so that an API that does not answer cannot displace the accepted recipients.
        self.unknown = BoundedCache(MAX_UNKNOWN, clock)

    def submit_once(
        self, message: MessageKey, recipient: str, submit: Callable[[], Outcome], deadline: float
    ) -> Outcome:
        """Submit a message to one recipient, unless this is done or in progress. Return the outcome.

        The outcome is stored as soon as it is known, whatever happens to the other recipients and to the client.

        Raises:
            SMTPError: 451 when a submission in progress has no outcome at the deadline, a monotonic time; 550 when the
                idempotency key was used for another content.
        """
        key = message.digest, recipient
        if known := self._known_outcome(key, message):
            return known
        if key in self.running:
            content, running = self.running[key]
            check_content(content, message)
            return await_outcome(running, deadline)
        result: AsyncResult[Outcome] = AsyncResult()
        self.running[key] = message.content, result
        # The outcome is unknown if the greenlet is killed.
        outcome = Outcome(recipient, reply=replies.OUTCOME_UNKNOWN, is_unknown=True)
        try:
            outcome = submit()
            return outcome
        except Exception:
            outcome = Outcome(recipient, reply=replies.INTERNAL_ERROR)
            raise
        finally:
            self._keep(key, message, outcome)
            del self.running[key]
            result.set(outcome)

    def _keep(self, key: RecipientKey, message: MessageKey, outcome: Outcome) -> None:
        if outcome.is_accepted:
            self.kept[key] = Entry(message.content, outcome, KEPT_SECONDS)
        elif outcome.is_unknown and not message.may_double:
            self.unknown[key] = Entry(message.content, outcome, UNKNOWN_SECONDS)

    def _known_outcome(self, key: RecipientKey, message: MessageKey) -> Outcome | None:
        """Return the outcome of an earlier submission; None when the recipient has to be submitted."""
        entry = self.kept.get(key) or self.unknown.get(key)
        if not entry:
            return None
        check_content(entry.content, message)
        return replace(entry.outcome, reply=replies.STILL_UNKNOWN) if entry.outcome.is_unknown else entry.outcome

    def await_retry(self, message: MessageKey, outcomes: Iterable[Outcome]) -> None:
        """Extend the entries of the accepted recipients of a message that is answered 451, until its client retries."""
        for outcome in outcomes:
            if outcome.is_accepted:
                self.kept[message.digest, outcome.recipient] = Entry(message.content, outcome, RETRIED_SECONDS)

    def forget(self, message: MessageKey, outcomes: Iterable[Outcome]) -> None:
        """Remove the entries whose outcomes the client knows. If the message comes again, it is sent again.

        Only these outcomes are removed: the same message may have been sent again meanwhile, with outcomes that its
        client does not know yet.
        """
        # A message with an idempotency key is sent once until its entry expires, even if the client knows the outcome.
        if message.content:
            return
        for outcome in outcomes:
            key = message.digest, outcome.recipient
            entry = self.kept.get(key)
            if entry and (entry.content, entry.outcome) == (message.content, outcome):
                del self.kept[key]


def check_content(content: bytes, message: MessageKey) -> None:
    """Raise SMTPError (550) when an idempotency key was used for another content."""
    if content != message.content:
        raise SMTPError(replies.KEY_REUSED)


def await_outcome(running: "AsyncResult[Outcome]", deadline: float) -> Outcome:
    """Wait for the outcome of a submission in progress. Raises SMTPError (451) at the deadline."""
    outcome: Outcome | None = running.wait(max(0.0, deadline - monotonic()))
    if outcome is None:
        metrics.LIMITS.labels("same_message").inc()
        raise SMTPError(replies.API_BUSY)
    return outcome
