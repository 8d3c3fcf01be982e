"""What the bodies of good answers say: tokens, senders, lists, emails. Nothing in them is taken on trust.

What a body lacks of what the API's schema promises raises one of LookupError, TypeError, ValueError, ArithmeticError
and AttributeError; see `MALFORMED`.
"""

import re
from dataclasses import dataclass
from typing import Any

MALFORMED = (LookupError, TypeError, ValueError, ArithmeticError, AttributeError)
MAX_ID_CHARS = 100
MAX_ADDRESS_CHARS = 320
MAX_LIFETIME_SECONDS = 86_400.0  # of an access token, whatever the API says
BEARER = re.compile(r"[\x21-\x7e]{1,8192}")  # what a header field can hold


@dataclass(frozen=True, slots=True)
class Token:
    """What `/token` answers."""

    access: str
    refresh: str
    lifetime_seconds: float
    accounts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Sender:
    """A sender of an account."""

    id: str
    email: str
    confirmed: bool


def token(body: Any) -> Token:
    """Return the token of a login."""
    access, refresh = body["access_token"], body.get("refresh_token") or ""
    # Without a token the next call would be answered 401, as if the password were wrong.
    if not BEARER.fullmatch(access) or (refresh and not BEARER.fullmatch(refresh)):
        raise ValueError("no token")
    lifetime = min(float(body["expires_in"]), MAX_LIFETIME_SECONDS)
    if not lifetime > 0:  # NaN is not, either
        raise ValueError("no lifetime")
    accounts = body.get("accounts") or []
    if not isinstance(accounts, list) or any(type(account) is not int for account in accounts):
        raise TypeError("no accounts")
    return Token(access, refresh, lifetime, tuple(accounts))


def senders(body: Any, per_page: int) -> tuple[list[Sender], bool]:
    """Return a page's senders, and whether it is the last one; an entry without an id and an address is no sender."""
    entries = body["data"]
    if not isinstance(entries, list):
        raise TypeError("no list of senders")
    found = [
        Sender(str(entry["id"]), entry["email"], entry["confirmed"] is True) for entry in entries if is_sender(entry)
    ]
    given_per_page = int(body["pagination"].get("per_page", per_page))
    return found, not entries or len(entries) < given_per_page


def is_sender(entry: Any) -> bool:
    """Whether an entry has an id and an address, and they are not so long that a list of them takes much memory."""
    email, id_ = entry["email"], entry["id"]
    return isinstance(email, str) and len(email) <= MAX_ADDRESS_CHARS and len(str(id_)) <= MAX_ID_CHARS


def email(body: Any) -> tuple[str, str]:
    """Return an email's status and its uuid, "" without one: it is accepted all the same, and must not be doubled."""
    status, uuid = body["data"]["status"], str(body["data"].get("id") or "")[:MAX_ID_CHARS]
    if not isinstance(status, str):
        raise TypeError("no status")
    return status, uuid
