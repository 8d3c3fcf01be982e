"""Who has logged in, with which token, and which senders and lists they have: verified once, cached in memory.

The cache of logins is keyed by a digest with a key of this process: no password is in it. A login is good for its
credentials, wherever they come from, and for nobody else. Many callers that want the same thing at once cause one call
to the API, which goes on when one of them leaves or has no more time.
"""

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any, TypeVar, cast

import gevent
from cachetools import LRUCache
from gevent.event import AsyncResult

from smtpgw.cakemail.client import (
    PER_PAGE,
    ApiError,
    Cakemail,
    ChallengeRequired,
    NotAuthorized,
    OutcomeUnknown,
    Rejected,
    Sender,
    Token,
)
from smtpgw.core import replies
from smtpgw.core.models import Account, Credentials
from smtpgw.core.replies import SMTPError
from smtpgw.telemetry import metrics, tracing

TOKEN_USERNAMES = frozenset({"apikey", "token"})  # `apikey` is what an app that comes from SendGrid has configured
# RFC 6750 §2.1. What is not of this form is no token, and would end the header that it travels in.
TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
MAX_LOGINS = 20_000  # cached a process
MAX_SENDERS = 200_000  # over all accounts cached, some 300 octets each
ACCESS_TOKEN_SECONDS = 600.0  # a bare access token is checked again after this
PASSWORD_SECONDS = 3600.0  # so is a password, at the next AUTH: refreshing a token does not tell that it has changed
EARLY_SECONDS = 60.0  # a token is refreshed this long before it expires, or at 9/10 of a shorter life
DIRECTORY_SECONDS = 300.0  # senders and lists are read again after this
MISS_SECONDS = 1.0  # an unknown sender makes us look again at once, but no more often than this
# Nor with more calls than this, so that an application with a wrong From does not read 200 pages again and again.
MAX_MISS_CALLS_PER_MINUTE = 20

T = TypeVar("T")


class SingleFlight:
    """Does once what several greenlets ask for at the same time; all get its result, or its exception."""

    def __init__(self) -> None:
        self.running: dict[object, AsyncResult[Any]] = {}

    def do(self, key: object, work: Callable[[], T], deadline: float) -> T:
        """What the work returns or raises; OutcomeUnknown at the deadline, a monotonic time, and the work goes on."""
        if key not in self.running:
            self.running[key] = AsyncResult()
            gevent.spawn(tracing.propagate(lambda key: self._run(key, work)), key)
        result = self.running[key]
        if not result.ready():
            result.wait(max(0.0, deadline - monotonic()))
        if not result.ready():
            raise OutcomeUnknown("Cakemail did not answer in time")
        return cast(T, result.get())

    def _run(self, key: object, work: Callable[[], object]) -> None:
        """In a greenlet of its own: whoever asked first may be killed, or have less time than the others."""
        try:
            self.running[key].set(work())
        except Exception as problem:  # noqa: BLE001  raised again in those who wait
            self.running[key].set_exception(problem)
        finally:
            del self.running[key]


@dataclass(frozen=True, slots=True)
class Login:
    """Credentials that Cakemail has accepted, and what stands for them. Times are the clock's."""

    account_id: int
    access: str
    refresh: str  # "" for a bare access token
    good_until: float
    checked_at: float  # when it was the password that was accepted


@dataclass(frozen=True, slots=True)
class Directory:
    """The confirmed senders of an account and its default list, as read at a time of the clock."""

    by_id: dict[str, Sender]
    by_address: dict[str, Sender]
    list_id: int | None
    read_at: float
    calls: int  # to the API, that reading it took

    def size(self) -> int:
        """What it counts for in a cache that is bounded in senders."""
        return 1 + len(self.by_id)


class Accounts:
    """Logins, tokens, senders and lists of all accounts that use this process."""

    def __init__(self, api: Cakemail, clock: Callable[[], float] = monotonic) -> None:
        self.api = api
        self.clock = clock
        self.key = secrets.token_bytes(32)
        self.logins: LRUCache[bytes, Login] = LRUCache(MAX_LOGINS)
        self.directories: LRUCache[tuple[int, int | None], Directory] = LRUCache(MAX_SENDERS, Directory.size)
        # The time at which the calls that unknown senders have caused are paid for, one each so many seconds.
        self.misses_paid_at: LRUCache[tuple[int, int | None], float] = LRUCache(MAX_LOGINS)
        self.flight = SingleFlight()

    # --- Logins and tokens

    def login(self, credentials: Credentials) -> Account:
        """Who these credentials are.

        Raises:
            SMTPError: 535 when they are wrong, 454 when Cakemail cannot say now.
        """
        digest = credentials.digest(self.key)
        held = self.logins.get(digest)
        if held and held.refresh and self.clock() - held.checked_at >= PASSWORD_SECONDS:
            self.logins.pop(digest, None)
        try:
            return Account(self._valid_login(digest, credentials, None).account_id, credentials)
        except ChallengeRequired:
            raise SMTPError(replies.CHALLENGE_REQUIRED) from None
        except (NotAuthorized, Rejected):
            raise SMTPError(replies.BAD_CREDENTIALS) from None
        except ApiError as problem:
            raise SMTPError(replies.LOGIN_UNAVAILABLE) from problem

    def token(self, account: Account, deadline: float | None = None, stale: str = "") -> str:
        """An access token of the account; another one than `stale`, which the API has just refused.

        `deadline` is the monotonic time to have it by; without one it may take what a message may take.

        Raises:
            ApiError: NotAuthorized when the credentials are good no longer.
        """
        digest = account.credentials.digest(self.key)
        held = self.logins.get(digest)
        if stale and held and held.access == stale:
            self.logins.pop(digest, None)
        try:
            return self._valid_login(digest, account.credentials, deadline).access
        except (ChallengeRequired, Rejected) as problem:  # said of the credentials, and not of a message
            raise NotAuthorized(str(problem)) from problem

    def _deadline(self) -> float:
        """When to give up what nobody's message waits for."""
        return monotonic() + self.api.settings.submit_timeout_seconds

    def _valid_login(self, digest: bytes, credentials: Credentials, deadline: float | None) -> Login:
        held = self.logins.get(digest)
        if held and self.clock() < held.good_until:
            metrics.CACHE.count("login", "hit")
            return held
        metrics.CACHE.count("login", "miss")
        return self.flight.do(digest, lambda: self._new_login(digest, credentials, held), deadline or self._deadline())

    def _new_login(self, digest: bytes, credentials: Credentials, held: Login | None) -> Login:
        if credentials.username.lower() in TOKEN_USERNAMES:
            login = self._checked_token(credentials.password.strip())  # pasted with a newline more often than not
        else:
            self.logins.pop(digest, None)
            login = self._refreshed(held) or self._password_login(credentials)
        self.logins[digest] = login
        return login

    def _checked_token(self, token: str) -> Login:
        if not TOKEN.fullmatch(token):
            raise NotAuthorized("not the form of a token")
        now = self.clock()
        return Login(self.api.own_account(token), token, "", now + ACCESS_TOKEN_SECONDS, now)

    def _refreshed(self, held: Login | None) -> Login | None:
        """The login with a new token; None when there is none, or its refresh token has expired, too."""
        if not held or not held.refresh:
            return None
        try:
            token = self.api.refreshed_token(held.refresh)
        except (NotAuthorized, Rejected):
            return None
        return Login(held.account_id, token.access, token.refresh, self._good_until(token), held.checked_at)

    def _password_login(self, credentials: Credentials) -> Login:
        token = self.api.password_token(credentials.username, credentials.password)
        account_id = token.accounts[0] if len(token.accounts) == 1 else self.api.own_account(token.access)
        return Login(account_id, token.access, token.refresh, self._good_until(token), self.clock())

    def _good_until(self, token: Token) -> float:
        return self.clock() + token.lifetime_seconds - min(EARLY_SECONDS, token.lifetime_seconds / 10)

    # --- Senders and lists

    def sender(
        self, account: Account, account_id: int | None, sender_id: str | None, address: str, deadline: float
    ) -> Sender:
        """The confirmed sender of this id or, without one, of this address.

        `account_id` is a sub-account to look in, None the account's own; `deadline` a monotonic time.

        Raises:
            SMTPError: 550 where there is none.
            ApiError
        """

        def find(directory: Directory) -> Sender | None:
            if sender_id is not None:
                return directory.by_id.get(sender_id)
            return directory.by_address.get(address.lower())

        directory = self._directory(account, account_id, DIRECTORY_SECONDS, deadline)
        found = find(directory)
        if not found and self._may_read_again(account, account_id, directory):
            found = find(self._directory(account, account_id, MISS_SECONDS, deadline))
        if found:
            return found
        if sender_id is not None:
            raise SMTPError(replies.SENDER_ID_UNKNOWN.filled(id=sender_id))
        raise SMTPError(replies.SENDER_NOT_CONFIRMED.filled(address=address or "<>"))

    def bounce_sender(
        self, account: Account, account_id: int | None, address: str, deadline: float | None = None
    ) -> Sender:
        """Return the confirmed sender that a bounce from this address is sent by: itself, else the account's first.

        Raises:
            SMTPError: 550 where the account has none.
            ApiError
        """
        directory = self.directory(account, account_id, deadline)
        found = directory.by_address.get(address.lower()) or next(iter(directory.by_id.values()), None)
        if not found:
            raise SMTPError(replies.SENDER_NOT_CONFIRMED.filled(address=address or "<>"))
        return found

    def directory(self, account: Account, account_id: int | None, deadline: float | None = None) -> Directory:
        """Return the confirmed senders and the default list of an account. Raises ApiError."""
        return self._directory(account, account_id, DIRECTORY_SECONDS, deadline)

    def default_list(self, account: Account, account_id: int | None, deadline: float | None = None) -> int | None:
        """The account's first active list, or None. Raises ApiError."""
        return self._directory(account, account_id, DIRECTORY_SECONDS, deadline).list_id

    def _directory(
        self, account: Account, account_id: int | None, most_seconds: float, deadline: float | None
    ) -> Directory:
        held = self.directories.get((account.id, account_id))
        if held and self.clock() - held.read_at < most_seconds:
            metrics.CACHE.count("directory", "hit")
            return held
        metrics.CACHE.count("directory", "miss")
        key = self._reading(account, account_id)
        return self.flight.do(key, lambda: self._read_directory(account, account_id), deadline or self._deadline())

    def _reading(self, account: Account, account_id: int | None) -> tuple[bytes, int | None]:
        """Return the key of a read under way: its credentials, since a failure may be theirs and not the account's."""
        return account.credentials.digest(self.key), account_id

    def _may_read_again(self, account: Account, account_id: int | None, directory: Directory) -> bool:
        """Whether to look for a sender that is not in this directory, and count the calls that this takes."""
        now = self.clock()
        if now - directory.read_at < MISS_SECONDS:
            return False
        if self._reading(account, account_id) in self.flight.running:
            return True  # no call more
        key = account.id, account_id
        paid_at = max(now, self.misses_paid_at.get(key, now))
        if paid_at - now >= 60:
            return False
        self.misses_paid_at[key] = paid_at + 60 / MAX_MISS_CALLS_PER_MINUTE * directory.calls
        return True

    def _read_directory(self, account: Account, account_id: int | None) -> Directory:
        token = self.token(account)
        try:
            senders, list_id = self._senders_and_list(token, account_id)
        except NotAuthorized:
            token = self.token(account, stale=token)
            senders, list_id = self._senders_and_list(token, account_id)
        confirmed = [s for s in senders if s.confirmed]
        by_address = {s.email.lower(): s for s in reversed(confirmed)}  # of two with one address, the first
        calls = 2 + len(senders) // PER_PAGE
        directory = Directory({s.id: s for s in confirmed}, by_address, list_id, self.clock(), calls)
        self.directories[account.id, account_id] = directory
        return directory

    def _senders_and_list(self, token: str, account_id: int | None) -> tuple[list[Sender], int | None]:
        return list(self.api.senders(token, account_id)), self.api.first_active_list(token, account_id)
