"""The plain data that travels between the session and the gateway."""

import hashlib
import ipaddress
from collections.abc import Callable
from dataclasses import dataclass, field

from smtpgw.core.replies import Reply


@dataclass(frozen=True, slots=True)
class Peer:
    """The client at the other end of the connection."""

    address: str
    port: int
    is_check: bool = False  # the load balancer itself, to see whether we are here

    @classmethod
    def of(cls, address: str, port: int, *, is_check: bool = False) -> "Peer":
        """A peer; an IPv4 address that a listener for both kinds gives as IPv6 (::ffff:192.0.2.1) is one of IPv4."""
        if ":" in address:
            found = ipaddress.IPv6Address(address)
            address = str(found.ipv4_mapped or found)
        return cls(address, port, is_check)


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client gave to AUTH. The password is in no representation of it."""

    username: str
    password: str = field(repr=False)

    def digest(self, key: bytes) -> bytes:
        """What stands for them in a cache: made with a key of the process, so that no password is in it."""
        text = f"{self.username}\0{self.password}"
        return hashlib.blake2b(text.encode(), key=key, digest_size=32).digest()


@dataclass(frozen=True, slots=True)
class Account:
    """Who has logged in: a Cakemail account, and what logging in again would take.

    Lives as long as its session does. The credentials are here and not in any cache, so that a revoked token can
    be replaced within a session (architecture: "a 401 while submitting: log in again once").
    """

    id: int
    credentials: Credentials = field(repr=False)


# Characters of all recipients of a message: a session holds them before DATA, where nothing else counts them. A hundred
# recipients of any length have room (RFC 5321 §4.5.3.1.8).
MAX_ADDRESS_CHARS = 64 * 1024


@dataclass(slots=True)
class Envelope:
    """A mail transaction (RFC 5321 §3.3): the arguments of MAIL and RCPT."""

    reverse_path: str  # "" is the null reverse-path of notifications
    recipients: list[str] = field(default_factory=list)
    rejected: int = 0  # recipients that were answered 553
    address_chars: int = field(default=0, compare=False)

    def add(self, recipient: str, max_recipients: int) -> bool:
        """Add a recipient; return whether it is within the limits. Those that were rejected count."""
        self.address_chars += len(recipient)
        if len(self.recipients) + self.rejected >= max_recipients or self.address_chars > MAX_ADDRESS_CHARS:
            return False
        self.recipients.append(recipient)
        return True


def nothing_reserved(octets: int) -> None:
    """Count nothing: of a message that no session holds."""


@dataclass(frozen=True, slots=True)
class Submission:
    """One message, whole, on its way from a session to the gateway."""

    id: str  # the gateway's own, unique; in the logs and, for several recipients, in the 250
    session_id: str
    account: Account
    envelope: Envelope
    raw: bytes = field(repr=False)
    client: str = ""  # the address it came from
    # Counts it as so many octets of those that the worker holds. Raises SMTPError where there is no room for more.
    reserve: Callable[[int], None] = field(default=nothing_reserved, repr=False)


def nothing() -> None:
    """Do nothing: what there is to confirm of a message that nobody remembers."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """The gateway's answer to a submission: the reply that accepts it, and the confirmation that the client read it.

    `confirm` is called at most once, when the client has shown that it read the reply. Until then a retry of the same
    message is answered from memory (RFC 1047).
    """

    reply: Reply
    confirm: Callable[[], None] = nothing
