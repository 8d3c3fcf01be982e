"""Validate the bodies of successful answers: tokens, senders, lists, emails.

A body that does not match the API's schema raises LookupError, TypeError, ValueError, ArithmeticError or
AttributeError; see `MALFORMED`.
"""

import re
from dataclasses import dataclass
from typing import Any

MALFORMED = (LookupError, TypeError, ValueError, ArithmeticError, AttributeError)
MAX_ID_CHARACTERS = 100
MAX_ADDRESS_CHARACTERS = 320
# An access token is not used for longer than this, even if the API allows it.
MAX_LIFETIME_SECONDS = 86_400.0
# Characters that a header field can hold.
BEARER = re.compile(r"[\x21-\x7e]{1,8192}")


@dataclass(frozen=True, slots=True)
class Token:
    """Answer of `/token`."""

    access: str
    refresh: str
    lifetime_seconds: float
    accounts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Sender:
    """Sender of an account."""

    id: str
    email: str
    confirmed: bool


def token(body: Any) -> Token:
    """Return the token of a login."""
    access, refresh = body["access_token"], body.get("refresh_token") or ""
    # An empty token would make the API answer 401 to the next call, as if the password were wrong.
    if not BEARER.fullmatch(access) or (refresh and not BEARER.fullmatch(refresh)):
        raise ValueError("no token")
    lifetime = min(float(body["expires_in"]), MAX_LIFETIME_SECONDS)
    # The comparison also rejects NaN.
    if not lifetime > 0:
        raise ValueError("no lifetime")
    accounts = body.get("accounts") or []
    if not isinstance(accounts, list) or any(type(account) is not int for account in accounts):
        raise TypeError("no accounts")
    return Token(access, refresh, lifetime, tuple(accounts))


def senders(body: Any, per_page: int) -> tuple[list[Sender], bool]:
    """Return the senders of a page, and whether it is the last one. Entries without id and address are skipped."""
    entries = body["data"]
    if not isinstance(entries, list):
        raise TypeError("no list of senders")
    found = [
        Sender(str(entry["id"]), entry["email"], entry["confirmed"] is True) for entry in entries if is_sender(entry)
    ]
    given_per_page = int(body["pagination"].get("per_page", per_page))
    return found, not entries or len(entries) < given_per_page


def is_sender(entry: Any) -> bool:
    """Return whether an entry has an id and an address of limited length, so that a list is limited in memory."""
    email, id_ = entry["email"], entry["id"]
    return isinstance(email, str) and len(email) <= MAX_ADDRESS_CHARACTERS and len(str(id_)) <= MAX_ID_CHARACTERS


def email(body: Any) -> tuple[str, str]:
    """Return the status and the uuid of an email.

    The uuid is "" when the body has none: an email without an id is accepted, too, and must not be sent again.
    """
    status, uuid = body["data"]["status"], str(body["data"].get("id") or "")[:MAX_ID_CHARACTERS]
    if not isinstance(status, str):
        raise TypeError("no status")
    return status, uuid
