"""Remembers what Cakemail has accepted and the client may not know, so that a retry doubles nothing.

A client sends a message again when it was answered 4xx, or when it did not hear our 250 (RFC 1047). Then only the
recipients that are still open are submitted. A message with another Message-ID or another content is another message.
It also makes the same message wait that comes a second time while the first is still being submitted. In memory, of
this process only, for an hour, and bounded.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from cachetools import TTLCache
from gevent.lock import BoundedSemaphore

from smtpgw import metrics, replies
from smtpgw.replies import Refused

KEPT_SECONDS = 3600.0
MOST_RECIPIENTS = 200_000  # over all messages kept, some 200 octets each

Key = tuple[int, str, bytes]


def key(account_id: int, message_id: str, raw: bytes, idempotency_key: str = "") -> Key:
    """What makes two submissions the same message: account, Message-ID and content, or the client's own key."""
    if idempotency_key:
        return account_id, f"key {idempotency_key}", b""
    return account_id, message_id, hashlib.blake2b(raw, digest_size=16).digest()


@dataclass(slots=True)
class Entry:
    """One message: which recipients it was accepted for, and under which uuid."""

    accepted: dict[str, str] = field(default_factory=dict)
    turn: BoundedSemaphore = field(default_factory=BoundedSemaphore)
    users: int = 0


class Memory:
    """The messages under way, and those whose client may come again."""

    def __init__(self, wait_seconds: float) -> None:
        self.wait_seconds = wait_seconds
        self.running: dict[Key, Entry] = {}
        self.kept: TTLCache[Key, dict[str, str]] = TTLCache(MOST_RECIPIENTS, KEPT_SECONDS, getsizeof=len)

    @contextmanager
    def submitting(self, message: Key) -> Iterator[dict[str, str]]:
        """The recipients already accepted, with their uuids, to be added to. The same message waits for its turn.

        Raises:
            Refused: 451 when the turn does not come in time.
        """
        entry = self.running.get(message)
        if not entry:
            entry = self.running[message] = Entry(self.kept.get(message, {}))
        entry.users += 1
        try:
            if not entry.turn.acquire(timeout=self.wait_seconds):
                metrics.LIMITS.labels("same_message").inc()
                raise Refused(replies.API_BUSY)
            try:
                yield entry.accepted
            finally:
                entry.turn.release()
        finally:
            entry.users -= 1
            if not entry.users:
                del self.running[message]
                if entry.accepted:
                    self.kept[message] = entry.accepted

    def forget(self, message: Key) -> None:
        """The client knows that this message is accepted; should it come again, it is meant."""
        self.kept.pop(message, None)
