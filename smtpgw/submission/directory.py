"""Confirmed senders and default lists of the accounts, cached in memory."""

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from cachetools import LRUCache

from smtpgw.cakemail.bodies import Sender
from smtpgw.cakemail.client import PER_PAGE
from smtpgw.cakemail.errors import NotAuthorized
from smtpgw.core import replies
from smtpgw.core.models import Account
from smtpgw.core.replies import SMTPError
from smtpgw.submission.logins import MAX_LOGINS, Logins
from smtpgw.submission.single_flight import SingleFlight
from smtpgw.telemetry import metrics

# Over all cached accounts.
MAX_SENDERS = 200_000
# Senders and lists are read again after this time.
MAX_AGE_SECONDS = 300.0
# A sender that is not found makes the gateway read the directory again, but no more often than this.
MAX_AGE_ON_MISS_SECONDS = 1.0
# An account with many pages of senders is read again less often, so that an application with a wrong From cannot
# spend the calls of the worker.
MAX_MISS_CALLS_PER_MINUTE = 20


@dataclass(frozen=True, slots=True)
class Directory:
    """Confirmed senders of an account and its default list.

    Attributes:
        read_at: time of the cache's clock at which it was read.
        calls: number of API calls that reading it took.
    """

    by_id: dict[str, Sender]
    by_address: dict[str, Sender]
    list_id: int | None
    read_at: float
    calls: int

    def size(self) -> int:
        """Return the weight of this entry in a cache that is bounded by the number of senders."""
        return 1 + len(self.by_id)


class Directories:
    """Cache of the directories of all accounts that use this process."""

    def __init__(self, logins: Logins, clock: Callable[[], float] = monotonic) -> None:
        self.logins = logins
        self.api = logins.api
        self.clock = clock
        self.cache: LRUCache[tuple[int, int | None], Directory] = LRUCache(MAX_SENDERS, Directory.size)
        # Time until which the calls caused by unknown senders use up the account's allowance.
        self.misses_paid_at: LRUCache[tuple[int, int | None], float] = LRUCache(MAX_LOGINS)
        self.flight = SingleFlight()

    def sender(
        self, account: Account, account_id: int | None, sender_id: str | None, address: str, deadline: float
    ) -> Sender:
        """Return the confirmed sender with this id or, without an id, with this address.

        Args:
            account: the client's account.
            account_id: the sub-account to look in; None for the account itself.
            sender_id: the id that a control header names.
            address: the address of the author.
            deadline: a monotonic time.

        Raises:
            SMTPError: 550 when there is no such sender.
            ApiError: the directory could not be read.
        """

        def find(directory: Directory) -> Sender | None:
            if sender_id is not None:
                return directory.by_id.get(sender_id)
            return directory.by_address.get(address.lower())

        directory = self._directory(account, account_id, MAX_AGE_SECONDS, deadline)
        found = find(directory)
        if not found and self._may_read_again(account, account_id, directory):
            found = find(self._directory(account, account_id, MAX_AGE_ON_MISS_SECONDS, deadline))
        if found:
            return found
        if sender_id is not None:
            raise SMTPError(replies.SENDER_ID_UNKNOWN.filled(id=sender_id))
        raise SMTPError(replies.SENDER_NOT_CONFIRMED.filled(address=address or "<>"))

    def bounce_sender(
        self, account: Account, account_id: int | None, address: str, deadline: float | None = None
    ) -> Sender:
        """Return the confirmed sender for a bounce from this address: the address's own, or the account's first.

        Raises:
            SMTPError: 550 when the account has no confirmed sender.
            ApiError: the directory could not be read.
        """
        directory = self.directory(account, account_id, deadline)
        found = directory.by_address.get(address.lower()) or next(iter(directory.by_id.values()), None)
        if not found:
            raise SMTPError(replies.SENDER_NOT_CONFIRMED.filled(address=address or "<>"))
        return found

    def directory(self, account: Account, account_id: int | None, deadline: float | None = None) -> Directory:
        """Return the confirmed senders and the default list of an account. Raises ApiError."""
        return self._directory(account, account_id, MAX_AGE_SECONDS, deadline)

    def default_list(self, account: Account, account_id: int | None, deadline: float | None = None) -> int | None:
        """Return the id of the account's first active list, or None. Raises ApiError."""
        return self._directory(account, account_id, MAX_AGE_SECONDS, deadline).list_id

    def _directory(
        self, account: Account, account_id: int | None, max_age_seconds: float, deadline: float | None
    ) -> Directory:
        cached = self.cache.get((account.id, account_id))
        if cached and self.clock() - cached.read_at < max_age_seconds:
            metrics.CACHE.count("directory", "hit")
            return cached
        metrics.CACHE.count("directory", "miss")
        key = self._flight_key(account, account_id)
        deadline = deadline or self.logins.default_deadline()
        return self.flight.do(key, lambda: self._read(account, account_id), deadline)

    def _flight_key(self, account: Account, account_id: int | None) -> tuple[bytes, int | None]:
        """Return the key of a read in flight.

        It contains the credentials and not the account, since a failure may be caused by the credentials.
        """
        return account.credentials.digest(self.logins.key), account_id

    def _may_read_again(self, account: Account, account_id: int | None, directory: Directory) -> bool:
        """Return whether to read the directory again for an unknown sender, and charge the calls that this takes."""
        now = self.clock()
        if now - directory.read_at < MAX_AGE_ON_MISS_SECONDS:
            return False
        # A read in flight costs no further call.
        if self._flight_key(account, account_id) in self.flight.running:
            return True
        key = account.id, account_id
        paid_at = max(now, self.misses_paid_at.get(key, now))
        if paid_at - now >= 60:
            return False
        self.misses_paid_at[key] = paid_at + 60 / MAX_MISS_CALLS_PER_MINUTE * directory.calls
        return True

    def _read(self, account: Account, account_id: int | None) -> Directory:
        token = self.logins.token(account)
        try:
            senders, list_id = self._senders_and_list(account, token, account_id)
        except NotAuthorized:
            token = self.logins.token(account, stale=token)
            senders, list_id = self._senders_and_list(account, token, account_id)
        confirmed = [s for s in senders if s.confirmed]
        # Of two senders with the same address, the first one counts.
        by_address = {s.email.lower(): s for s in reversed(confirmed)}
        calls = 2 + len(senders) // PER_PAGE
        directory = Directory({s.id: s for s in confirmed}, by_address, list_id, self.clock(), calls)
        self.cache[account.id, account_id] = directory
        return directory

    def _senders_and_list(
        self, account: Account, token: str, account_id: int | None
    ) -> tuple[list[Sender], int | None]:
        owner = str(account.id)
        return list(self.api.senders(token, account_id, owner)), self.api.first_active_list(token, account_id, owner)
