"""The emails that were submitted, as they were received: the last of them, within a bound of number and size."""

import time
from binascii import a2b_base64
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b, sha256
from typing import Any
from uuid import uuid4

from pydantic_core import from_json

from smtpgw.config.parsers import MIB
from smtpgw.sandbox.accounts import Account, Sender
from smtpgw.sandbox.models import SubmitEmail, unknown_fields

MAX_EMAILS = 50_000
MAX_BYTES = 256 * MIB  # of bodies


@dataclass(frozen=True, slots=True)
class Attached:
    """What is known of an attachment without its content."""

    filename: str
    type: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Email:
    """One email. `body` is the request as it was received; the other fields are what is looked for."""

    id: str
    account_id: int
    received_at: float  # seconds since 1970
    status: str  # "queued", "rejected" or "error"
    email: str
    sender: Sender  # with the name that this email gives it
    subject: str
    tags: tuple[str, ...]
    message_id: str  # of the additional header Message-ID, "" without one
    attachments: tuple[Attached, ...]
    content_digest: str  # of html and text
    unknown_fields: tuple[str, ...]
    body: bytes = field(repr=False)

    def request(self) -> dict[str, Any]:
        """The body, read. By the parser that took it: another one may refuse what this one took."""
        body: dict[str, Any] = from_json(self.body)
        return body


def received(account: Account, sender: Sender, mail: SubmitEmail, body: bytes, status: str) -> Email:
    """An email just submitted, with a new id."""
    content = blake2b(mail.content.html.encode(), digest_size=16)
    content.update(b"\0" + mail.content.text.encode())
    return Email(
        id=str(uuid4()),
        account_id=account.id,
        received_at=time.time(),
        status=status,
        email=mail.email,
        sender=Sender(sender.id, mail.sender.name or sender.name, sender.email),
        subject=mail.content.subject,
        tags=tuple(mail.tags),
        message_id=next((h.value for h in mail.additional_headers if h.name.casefold() == "message-id"), ""),
        attachments=tuple(attached(a.filename, a.type, a2b_base64(a.content)) for a in mail.attachment),
        content_digest=content.hexdigest(),
        unknown_fields=tuple(unknown_fields(mail)),
        body=body,
    )


def attached(filename: str, type_: str, content: bytes) -> Attached:
    return Attached(filename, type_, len(content), sha256(content).hexdigest())


class Emails:
    """The last emails; when there are too many, or their bodies are too big together, the oldest go."""

    def __init__(self, most: int = MAX_EMAILS, most_bytes: int = MAX_BYTES) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._kept: OrderedDict[str, Email] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[Email]:
        """Newest first."""
        return reversed(self._kept.values())

    def add(self, email: Email) -> None:
        self._kept[email.id] = email
        self.bytes += len(email.body)
        while len(self._kept) > self._most or self.bytes > self._most_bytes:
            _, oldest = self._kept.popitem(last=False)
            self.bytes -= len(oldest.body)

    def get(self, email_id: str) -> Email | None:
        return self._kept.get(email_id)

    def clear(self) -> None:
        self._kept.clear()
        self.bytes = 0
