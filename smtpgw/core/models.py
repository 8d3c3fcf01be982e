"""Plain data that the session and the gateway exchange."""

import hashlib
import ipaddress
from collections.abc import Callable
from dataclasses import dataclass, field

from smtpgw.core.replies import Reply


@dataclass(frozen=True, slots=True)
class Peer:
    """Client at the other end of the connection.

    Attributes:
        is_check: the connection is a health check of the load balancer.
    """

    address: str
    port: int
    is_check: bool = False

    @classmethod
    def of(cls, address: str, port: int, *, is_check: bool = False) -> "Peer":
        """Return a peer. An IPv4 address that a dual-stack listener reports as IPv6 (::ffff:192.0.2.1) becomes IPv4."""
        if ":" in address:
            found = ipaddress.IPv6Address(address)
            address = str(found.ipv4_mapped or found)
        return cls(address, port, is_check)


@dataclass(frozen=True, slots=True)
class Credentials:
    """User name and password that a client gave to AUTH. The password does not appear in the representation."""

    username: str
    password: str = field(repr=False)

    def digest(self, key: bytes) -> bytes:
        """Return a keyed digest for use in caches. The key belongs to the process, so no password can be derived."""
        text = f"{self.username}\0{self.password}"
        return hashlib.blake2b(text.encode(), key=key, digest_size=32).digest()


@dataclass(frozen=True, slots=True)
class Account:
    """Cakemail account that a client has logged in to.

    It lives as long as its session. It holds the credentials, which no cache does, so that a revoked token can be
    replaced within the session.
    """

    id: int
    credentials: Credentials = field(repr=False)


# Limit for the characters of all recipients of a message. A session holds them before DATA, when no other limit counts
# them. There is room for a hundred recipients of any length (RFC 5321 §4.5.3.1.8).
MAX_ADDRESS_CHARS = 64 * 1024


@dataclass(slots=True)
class Envelope:
    """Mail transaction (RFC 5321 §3.3): the addresses of MAIL and RCPT.

    Attributes:
        reverse_path: the address of MAIL; "" is the null reverse-path of notifications.
        rejected: number of recipients that were answered 553.
        address_chars: characters of all recipients.
    """

    reverse_path: str
    recipients: list[str] = field(default_factory=list)
    rejected: int = 0
    address_chars: int = field(default=0, compare=False)

    def add(self, recipient: str, max_recipients: int) -> bool:
        """Add a recipient and return whether it is within the limits. Rejected recipients count, too."""
        self.address_chars += len(recipient)
        if len(self.recipients) + self.rejected >= max_recipients or self.address_chars > MAX_ADDRESS_CHARS:
            return False
        self.recipients.append(recipient)
        return True


def reserve_nothing(octets: int) -> None:
    """Reserve nothing: the default for a message that no session holds."""


@dataclass(frozen=True, slots=True)
class Submission:
    """One complete message on its way from a session to the gateway.

    Attributes:
        id: unique id given by the gateway. It is in the logs and, for several recipients, in the 250 reply.
        client: address of the client.
        reserve: changes the number of octets that this message counts for among those that the worker holds. Raises
            SMTPError when there is no room.
    """

    id: str
    session_id: str
    account: Account
    envelope: Envelope
    raw: bytes = field(repr=False)
    client: str = ""
    reserve: Callable[[int], None] = field(default=reserve_nothing, repr=False)


def confirm_nothing() -> None:
    """Do nothing: the default for a message that the ledger does not contain."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """Result of a submission: the reply that accepts it, and the confirmation that the client has read this reply.

    `confirm` is called at most once, when the client has shown that it read the reply. Until then a retry of the same
    message is answered from the ledger (RFC 1047).
    """

    reply: Reply
    confirm: Callable[[], None] = confirm_nothing
