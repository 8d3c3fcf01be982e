"""Logins and their access tokens: verified once, cached in memory.

The key of the cache is a keyed digest of the credentials, so the cache contains no password. A login is valid for its
exact credentials, from any client. Concurrent requests for the same login share one call to the API, which goes on when
one of the callers leaves or reaches its deadline.
"""

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from cachetools import LRUCache

from smtpgw.cakemail.bodies import Token
from smtpgw.cakemail.client import Cakemail
from smtpgw.cakemail.errors import ApiError, ChallengeRequired, NotAuthorized, OutcomeUnknown, Rejected
from smtpgw.core import replies
from smtpgw.core.models import Account, Credentials
from smtpgw.core.replies import SMTPError
from smtpgw.submission.single_flight import SingleFlight
from smtpgw.telemetry import metrics

# Apps that come from SendGrid are configured with the user name `apikey`.
TOKEN_USERNAMES = frozenset({"apikey", "token"})
# RFC 6750 §2.1. A password of another form is no token, and could end the header field that a token is sent in.
TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
# Cached in each process.
MAX_LOGINS = 20_000
# A bare access token is checked again after this time.
ACCESS_TOKEN_SECONDS = 600.0
# A password is checked again at the first AUTH after this time: a refreshed token does not show that it has changed.
PASSWORD_SECONDS = 3600.0
# A token is refreshed this long before it expires, or at nine tenths of a shorter lifetime.
EARLY_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Login:
    """Credentials that Cakemail has accepted, and their token. Times are those of the cache's clock.

    Attributes:
        refresh: the refresh token; "" for a bare access token.
        checked_at: when Cakemail accepted the password, or the access token.
    """

    account_id: int
    access: str
    refresh: str
    good_until: float
    checked_at: float


class Logins:
    """Cache of the logins of all accounts that use this process."""

    def __init__(self, api: Cakemail, clock: Callable[[], float] = monotonic) -> None:
        self.api = api
        self.clock = clock
        self.key = secrets.token_bytes(32)
        self.cache: LRUCache[bytes, Login] = LRUCache(MAX_LOGINS)
        self.flight = SingleFlight()

    def login(self, credentials: Credentials) -> Account:
        """Return the account that these credentials belong to.

        Raises:
            SMTPError: 535 when the credentials are wrong, 454 when Cakemail cannot verify them now.
        """
        digest = credentials.digest(self.key)
        cached = self.cache.get(digest)
        if cached and cached.refresh and self.clock() - cached.checked_at >= PASSWORD_SECONDS:
            self.cache.pop(digest, None)
        try:
            return Account(self._valid_login(digest, credentials, None).account_id, credentials)
        except ChallengeRequired:
            raise SMTPError(replies.CHALLENGE_REQUIRED) from None
        except (NotAuthorized, Rejected):
            raise SMTPError(replies.BAD_CREDENTIALS) from None
        except ApiError as problem:
            raise SMTPError(replies.LOGIN_UNAVAILABLE) from problem

    def token(self, account: Account, deadline: float | None = None, stale: str = "") -> str:
        """Return an access token of the account.

        Args:
            account: the account, with its credentials.
            deadline: a monotonic time; by default, the time that a submission may take.
            stale: a token that the API has just rejected, and that is replaced.

        Raises:
            ApiError: NotAuthorized when the credentials are no longer valid.
        """
        digest = account.credentials.digest(self.key)
        cached = self.cache.get(digest)
        if stale and cached and cached.access == stale:
            self.cache.pop(digest, None)
        try:
            return self._valid_login(digest, account.credentials, deadline).access
        except (ChallengeRequired, Rejected) as problem:
            # The API rejects the credentials here, and not a message.
            raise NotAuthorized(str(problem)) from problem

    def default_deadline(self) -> float:
        """Return the monotonic time at which to give up a call that no message waits for."""
        return monotonic() + self.api.settings.submit_timeout_seconds

    def _valid_login(self, digest: bytes, credentials: Credentials, deadline: float | None) -> Login:
        cached = self.cache.get(digest)
        if cached and self.clock() < cached.good_until:
            metrics.CACHE.count("login", "hit")
            return cached
        metrics.CACHE.count("login", "miss")
        deadline = deadline or self.default_deadline()
        return self.flight.do(digest, lambda: self._new_login(digest, credentials, cached), deadline)

    def _new_login(self, digest: bytes, credentials: Credentials, cached: Login | None) -> Login:
        if credentials.username.lower() in TOKEN_USERNAMES:
            # A token is often pasted with a line end.
            login = self._checked_token(credentials.password.strip())
        else:
            self.cache.pop(digest, None)
            login = self._refreshed(cached) or self._password_login(credentials)
        self.cache[digest] = login
        return login

    def _checked_token(self, token: str) -> Login:
        if not TOKEN.fullmatch(token):
            raise NotAuthorized("not the form of a token")
        now = self.clock()
        return Login(self.api.own_account(token), token, "", now + ACCESS_TOKEN_SECONDS, now)

    def _refreshed(self, cached: Login | None) -> Login | None:
        """Return the login with a new token; None without a refresh token, or when it has expired."""
        if not cached or not cached.refresh:
            return None
        try:
            token = self.api.refreshed_token(cached.refresh)
        except (NotAuthorized, Rejected):
            return None
        return Login(cached.account_id, token.access, token.refresh, self._good_until(token), cached.checked_at)

    def _password_login(self, credentials: Credentials) -> Login:
        token = self.api.password_token(credentials.username, credentials.password)
        try:
            account_id = token.accounts[0] if len(token.accounts) == 1 else self.api.own_account(token.access)
        # The password was accepted a moment ago, so this answer does not mean that it is wrong.
        except NotAuthorized as problem:
            raise OutcomeUnknown("a new token is not good") from problem
        return Login(account_id, token.access, token.refresh, self._good_until(token), self.clock())

    def _good_until(self, token: Token) -> float:
        return self.clock() + token.lifetime_seconds - min(EARLY_SECONDS, token.lifetime_seconds / 10)
