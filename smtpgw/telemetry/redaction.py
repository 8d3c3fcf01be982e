"""How mail addresses are written to the log: masked, hashed or whole; and `python -m smtpgw logged`, which says how.

A mailbox name is personal information. Masked it is still a hint for who knows the customer: `j***@example.com`.
Hashed, with a key that only the operator has, it can be searched for, and not be read: `4be1c0de81af9d02@example.com`.
"""

import hashlib
import re
import sys
from argparse import ArgumentParser
from collections.abc import Callable

from smtpgw.config.parsers import SettingsError
from smtpgw.config.settings import Settings

DIGEST_BYTES = 8  # two of a billion addresses are the same in the log at a chance of some percent
# A match begins where a word does: a try at each letter of a long word would read all of it each time.
MAILBOX = re.compile(
    r"(?<![^\s<>\"'`()\[\],:;@=])[^\s<>\"'`()\[\],:;@=]++@[^\s<>\"'`()\[\],:;@=]+[^\s<>\"'`()\[\],:;@=.]"
)


def whole(mailbox: str) -> str:
    return mailbox


def masked(mailbox: str) -> str:
    local, at, domain = mailbox.rpartition("@")
    return f"{local[:1]}***{at}{domain}" if at else f"{mailbox[:1]}***" if mailbox else ""


def hashed(key: str) -> Callable[[str], str]:
    """The function that puts a keyed digest of a mailbox, in any case of letters, in the place of its name."""
    secret = key.encode()

    def digest(mailbox: str) -> str:
        if not mailbox:
            return ""
        octets = mailbox.lower().encode("utf-8", "surrogateescape")
        name = hashlib.blake2b(octets, key=secret, digest_size=DIGEST_BYTES).hexdigest()
        _, at, domain = mailbox.rpartition("@")
        return f"{name}@{domain.lower()}" if at else name

    return digest


def way(name: str, key: str) -> Callable[[str], str]:
    """The function for a value of SMTPGW_LOG_ADDRESSES: full, masked, or hashed with this key."""
    return {"full": whole, "masked": masked}.get(name) or hashed(key)


def main(arguments: list[str]) -> int:
    """`python -m smtpgw logged ADDRESS…`: the addresses as this environment's log has them, to search for."""
    parser = ArgumentParser(
        "python -m smtpgw logged", description="Print mail addresses as the log has them, to search for."
    )
    parser.add_argument("addresses", nargs="+", metavar="ADDRESS")
    given = parser.parse_args(arguments)
    try:
        settings = Settings.from_environ()
    except SettingsError as problem:
        print(*problem.mistakes, sep="\n", file=sys.stderr)  # noqa: T201
        return 2
    write = way(settings.log_addresses, settings.log_hash_key)
    print(*map(write, given.addresses), sep="\n")  # noqa: T201
    return 0
