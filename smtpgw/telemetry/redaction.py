"""Redaction of mail addresses in the log: masked, hashed or in full. See the command `redact`.

The name of a mailbox is personal data. Masked, it is still a hint for a reader who knows the customer:
`j***@example.com`. Hashed, with a key that only the operator has, it can be searched for but not read:
`4be1c0de81af9d02@example.com`.
"""

import hashlib
import re
from collections.abc import Callable

# Long enough that two addresses of one log hardly ever have the same digest.
DIGEST_BYTES = 8
# A match must begin at the start of a word. Otherwise each letter of a long word would start a scan of all of it.
MAILBOX = re.compile(
    r"(?<![^\s<>\"'`()\[\],:;@=])[^\s<>\"'`()\[\],:;@=]++@[^\s<>\"'`()\[\],:;@=]+[^\s<>\"'`()\[\],:;@=.]"
)


def keep(mailbox: str) -> str:
    """Return the address as it is."""
    return mailbox


def mask(mailbox: str) -> str:
    """Return the address with all but the first character of its name replaced."""
    local, at, domain = mailbox.rpartition("@")
    return f"{local[:1]}***{at}{domain}" if at else f"{mailbox[:1]}***" if mailbox else ""


def hasher(key: str) -> Callable[[str], str]:
    """Return a function that replaces the name of an address with a keyed digest of the address, ignoring case."""
    secret = key.encode()

    def digest(mailbox: str) -> str:
        if not mailbox:
            return ""
        octets = mailbox.lower().encode("utf-8", "surrogateescape")
        name = hashlib.blake2b(octets, key=secret, digest_size=DIGEST_BYTES).hexdigest()
        _, at, domain = mailbox.rpartition("@")
        return f"{name}@{domain.lower()}" if at else name

    return digest


def redactor(mode: str, key: str) -> Callable[[str], str]:
    """Return the function for a value of SMTPGW_LOG_ADDRESSES: full, masked, or hashed with this key."""
    return {"full": keep, "masked": mask}.get(mode) or hasher(key)
