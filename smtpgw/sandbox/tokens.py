"""Access and refresh tokens: issued, expiring, revoked."""

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from smtpgw.sandbox.accounts import Account

LIFETIME_SECONDS = 3600
MAX_TOKENS = 20_000  # the oldest go first


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token is good for. `expires_at` is a time of the clock, None for never."""

    account_id: int
    kind: str  # "access", "refresh" or "long_lived"
    expires_at: float | None = None


class Tokens:
    """The tokens there are. `lifetime_seconds`, when set, is the life of every access token issued from then on."""

    def __init__(self, accounts: Iterable[Account], clock: Callable[[], float] = time.monotonic) -> None:
        self._accounts = tuple(accounts)
        self._clock = clock
        self._issued: OrderedDict[str, Grant] = OrderedDict()
        self.restore()

    def restore(self) -> None:
        """Undo what tests did: the usual lifetime, and every long-lived token valid. Issued tokens stay."""
        self.lifetime_seconds: float | None = None
        self._long_lived = {a.access_token: Grant(a.id, "long_lived") for a in self._accounts if a.access_token}

    def issue(self, account_id: int, asked_seconds: int | None = None) -> tuple[str, str, float]:
        """A new access token, its refresh token, and the seconds the access token lives."""
        lives = self.lifetime_seconds if self.lifetime_seconds is not None else asked_seconds or LIFETIME_SECONDS
        access, refresh = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        self._issued[access] = Grant(account_id, "access", self._clock() + lives)
        self._issued[refresh] = Grant(account_id, "refresh")
        while len(self._issued) > MAX_TOKENS:
            self._issued.popitem(last=False)
        return access, refresh, lives

    def account_of(self, token: str, *kinds: str) -> int | None:
        """The account a token of one of these kinds stands for; None when it is unknown, expired or revoked."""
        grant = self._issued.get(token) or self._long_lived.get(token)
        if not grant or grant.kind not in kinds:
            return None
        if grant.expires_at is not None and grant.expires_at <= self._clock():
            return None
        return grant.account_id

    def revoke(self, account_id: int | None = None, kind: str | None = None) -> int:
        """Revoke the tokens of an account, or of all; of a kind, or of every kind. Returns how many there were."""
        revoked = 0
        for tokens in (self._issued, self._long_lived):
            for token, grant in list(tokens.items()):
                if account_id in (None, grant.account_id) and kind in (None, grant.kind):
                    del tokens[token]
                    revoked += 1
        return revoked
