"""The ledger of accepted emails: small, so that it still knows what a load test sent when the emails are gone.

Two submissions are the same when account, recipient, subject, tags, Message-ID, content and attachments are. What is
counted more than once was delivered more than once.
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b

from pydantic_core import from_json, to_json

from smtpgw.sandbox.emails import Email

MAX_ENTRIES = 1_000_000  # some 400 bytes each


@dataclass(frozen=True, slots=True)
class Entry:
    """What was accepted, and under which ids: more than one id is a duplicate."""

    email: str
    subject: str
    tags: list[str]
    message_id: str
    attachments: list[str]  # sha256 of each, in order
    ids: list[str]


class Ledger:
    """`total` and `duplicates` count everything accepted, also what is `forgotten` since."""

    def __init__(self, most: int = MAX_ENTRIES) -> None:
        self._most = most
        # Key → the entry's fields as JSON, which is a third of their size. Not orjson's: its results hold on to 4 KB.
        self._entries: OrderedDict[bytes, bytes] = OrderedDict()
        self.clear()

    def clear(self) -> None:
        self._entries.clear()
        self.total = self.duplicates = self.forgotten = 0

    def __len__(self) -> int:
        return len(self._entries)

    def accept(self, email: Email) -> None:
        what = [email.email, email.subject, email.tags, email.message_id, [a.sha256 for a in email.attachments]]
        key = blake2b(to_json([email.account_id, email.content_digest, *what]), digest_size=16).digest()
        known = self._entries.get(key)
        ids = from_json(known)[-1] if known else []
        self._entries[key] = to_json([*what, [*ids, email.id]])
        self.total += 1
        self.duplicates += bool(known)
        while len(self._entries) > self._most:
            self._entries.popitem(last=False)
            self.forgotten += 1

    def __iter__(self) -> Iterator[Entry]:
        """Oldest first."""
        return (Entry(*from_json(entry)) for entry in self._entries.values())
