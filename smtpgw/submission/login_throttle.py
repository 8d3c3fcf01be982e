"""Rate limiter for failed logins that does not lock any owner out.

It counts guesses: failed logins with credentials that the client has not tried recently. A repeated wrong password
comes from an application with an old one, which must not affect its neighbours. It is answered from a cache for a
while, so it costs no API call.

The reply to each guess of a client is delayed, and each delay is longer than the one before. A client with too many
guesses is not rejected, since its address may be shared by a company or a cloud. Its logins are admitted to the API one
at a time, with a few seconds between them, so guessing is slow and a correct password is accepted. A login waits for
its turn for a limited time, and is then answered 454. A user name that this client has guessed at is admitted even more
rarely, so an attack on one account takes no turns from its neighbours. A user name that has logged in from this client
recently has its own turns.

An account that is attacked from many clients is not closed to any of them, since its owner may be among them. Logins
from clients that have not logged in to it before are delayed. Credentials that were accepted recently are no guess and
are never delayed.

Credentials are compared by looking up their keyed digest. The time this takes does not depend on the password, and no
password is stored.
"""

import hashlib
import math
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic, time
from typing import TypeVar
from weakref import WeakValueDictionary

import gevent
from cachetools import TTLCache
from gevent.lock import BoundedSemaphore
from limits import RateLimitItemPerSecond, WindowStats
from limits.errors import StorageError
from limits.storage import MemoryStorage, storage_from_string
from limits.strategies import FixedWindowRateLimiter

from smtpgw.config.settings import Settings
from smtpgw.core import replies
from smtpgw.core.models import Account, Credentials
from smtpgw.core.networks import client_key, is_in
from smtpgw.core.replies import Reply, SMTPError
from smtpgw.telemetry import logs, metrics

# Delay after the first guess of a client. It doubles with each guess, up to a setting.
MIN_DELAY_SECONDS = 0.1
# Accepted credentials are no guess, and their client is known to their account, for this time.
ACCEPTED_SECONDS = 86_400
# A rejected password is checked again after this time, since it may have been changed in the account.
RECHECK_SECONDS = 30.0
# Interval between admitted logins of a client with too many guesses; and of a user name that it has guessed at.
ADMISSION_SECONDS = 3
ADMISSION_NAME_SECONDS = 30
# Limit in each process for accepted credentials, and the same limit for rejected ones.
MAX_CREDENTIALS = 20_000
STORAGE_TIMEOUT_SECONDS = 1.0
# A shared storage that failed is not used for this time.
STORAGE_AWAY_SECONDS = 30.0
# Names of the counters in the storage.
ADDRESS, ACCOUNT, KNOWN, NAME, TURN, NAME_TURN = "address", "account", "known", "name", "turn", "name_turn"

T = TypeVar("T")


class FailureCounts:
    """Counters with time windows, in a storage shared by all pods or, while it fails, in this process."""

    def __init__(self, storage_url: str, clock: Callable[[], float] = monotonic) -> None:
        self.own = FixedWindowRateLimiter(MemoryStorage())
        self.shared = None if storage_url == "memory://" else shared_limiter(storage_url)
        self.clock = clock
        self.away_until = 0.0

    def add(self, item: RateLimitItemPerSecond, *key: str) -> bool:
        """Increase a counter and return whether it was within its limit."""
        return self._with_fallback(lambda limiter: limiter.hit(item, *key))

    def stats(self, item: RateLimitItemPerSecond, *key: str) -> WindowStats:
        return self._with_fallback(lambda limiter: limiter.get_window_stats(item, *key))

    def _with_fallback(self, operation: Callable[[FixedWindowRateLimiter], T]) -> T:
        if self.shared and self.clock() >= self.away_until:
            try:
                return operation(self.shared)
            except StorageError as problem:
                self.away_until = self.clock() + STORAGE_AWAY_SECONDS
                logs.error(what="the throttle's storage fails; counting in this process", reason=type(problem).__name__)
        return operation(self.own)


def shared_limiter(storage_url: str) -> FixedWindowRateLimiter:
    options = {"socket_timeout": STORAGE_TIMEOUT_SECONDS, "socket_connect_timeout": STORAGE_TIMEOUT_SECONDS}
    storage = storage_from_string(storage_url, wrap_exceptions=True, **options)
    return FixedWindowRateLimiter(storage)


class LoginThrottle:
    """Limiter for the failed logins of a worker, or of all workers with a shared storage."""

    def __init__(
        self,
        settings: Settings,
        clock: Callable[[], float] = monotonic,
        sleep: Callable[[float], object] = gevent.sleep,
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.sleep = sleep
        self.counts = FailureCounts(settings.throttle_storage, clock)
        self.guesses = RateLimitItemPerSecond(settings.throttle_failures, settings.throttle_seconds)
        # The limit for one account is higher than one client can reach, so it means guesses from several clients.
        self.account_guesses = RateLimitItemPerSecond(2 * settings.throttle_failures, settings.throttle_seconds)
        self.success = RateLimitItemPerSecond(1, ACCEPTED_SECONDS)
        self.guessed_at = RateLimitItemPerSecond(1, settings.throttle_seconds)
        self.turn = RateLimitItemPerSecond(1, ADMISSION_SECONDS)
        self.name_turn = RateLimitItemPerSecond(1, ADMISSION_NAME_SECONDS)
        self.key = secrets.token_bytes(32)
        self.accepted: TTLCache[bytes, bool] = TTLCache(MAX_CREDENTIALS, ACCEPTED_SECONDS, clock)
        self.refused: TTLCache[tuple[str, bytes], tuple[Reply, float]] = TTLCache(
            MAX_CREDENTIALS, settings.throttle_seconds, clock
        )
        # Semaphores of the clients and user names that wait now. An entry disappears when it is no longer used.
        self.turns: WeakValueDictionary[str, BoundedSemaphore] = WeakValueDictionary()
        self.queues: WeakValueDictionary[tuple[str, ...], BoundedSemaphore] = WeakValueDictionary()

    def login(self, address: str, credentials: Credentials, login: Callable[[Credentials], Account]) -> Account:
        """Log in with `login`. Delay failures, and every login of a client with too many guesses.

        Raises:
            SMTPError: 454 when the turn of this login did not come in time; or what `login` raises.
        """
        if is_in(address, self.settings.trusted_cidrs):
            return login(credentials)
        client, began = client_key(address), self.clock()
        try:
            return self._login(client, address, credentials, login)
        except SMTPError:
            self.sleep(max(0.0, self._delay_seconds(client) - (self.clock() - began)))
            raise

    def _login(
        self, client: str, address: str, credentials: Credentials, login: Callable[[Credentials], Account]
    ) -> Account:
        digest = credentials.digest(self.key)
        if digest in self.accepted:
            return self._login_and_count(client, digest, credentials, login)
        self._slow_if_guessed_at(client, address, credentials)
        self._check_cached_rejection(client, digest)
        with self._turn(client):
            is_free = bool(self.counts.stats(self.guesses, ADDRESS, client).remaining)
            if is_free:
                # Another session may have tried the same credentials meanwhile.
                self._check_cached_rejection(client, digest)
                account = self._login_and_count(client, digest, credentials, login)
        if not is_free:
            with self._admitted(client, address, credentials, digest):
                account = self._login_and_count(client, digest, credentials, login)
        self.accepted[digest] = True
        self.refused.pop((client, digest), None)
        self.counts.add(self.success, KNOWN, name_digest(credentials), client)
        return account

    def _login_and_count(
        self, client: str, digest: bytes, credentials: Credentials, login: Callable[[Credentials], Account]
    ) -> Account:
        try:
            return login(credentials)
        except SMTPError as refusal:
            if refusal.reply.code == 535:
                self.accepted.pop(digest, None)
                self._failed(client, digest, credentials, refusal.reply)
            raise

    def _failed(self, client: str, digest: bytes, credentials: Credentials, reply: Reply) -> None:
        if (client, digest) not in self.refused:
            self.counts.add(self.guesses, ADDRESS, client)
            self.counts.add(self.account_guesses, ACCOUNT, name_digest(credentials))
            self.counts.add(self.guessed_at, NAME, client, name_digest(credentials))
            self.counts.add(self.name_turn, NAME_TURN, client, name_digest(credentials))
        self.refused[client, digest] = reply, self.clock()

    @contextmanager
    def _turn(self, client: str) -> Iterator[None]:
        """Limit the concurrent logins of a client, since guesses in progress are not counted yet.

        Raises:
            SMTPError: 454 when the turn does not come in time.
        """
        turn = self.turns.setdefault(client, BoundedSemaphore(self.settings.throttle_failures))
        if not turn.acquire(timeout=self.settings.api_wait_seconds):
            metrics.LIMITS.labels("auth_turn").inc()
            raise SMTPError(replies.LOGIN_UNAVAILABLE)
        try:
            yield
        finally:
            turn.release()

    @contextmanager
    def _admitted(self, client: str, address: str, credentials: Credentials, digest: bytes) -> Iterator[None]:
        """Wait until a login of a client with too many guesses is admitted. Logins of one user name wait in line.

        Raises:
            SMTPError: 454 when the wait takes too long.
        """
        deadline = self.clock() + self.settings.throttle_delay_seconds
        name = name_digest(credentials)
        name_queue = self.queues.setdefault((client, name), BoundedSemaphore(1))
        with self._in_queue(name_queue, deadline, address):
            # Another login in the queue may have been accepted with the same credentials.
            if digest not in self.accepted:
                self._check_cached_rejection(client, digest)
                is_guessed_at = not self.counts.stats(self.guessed_at, NAME, client, name).remaining
                if is_guessed_at and not self.counts.stats(self.name_turn, NAME_TURN, client, name).remaining:
                    raise self._throttled(address, self.counts.stats(self.name_turn, NAME_TURN, client, name))
                is_known = not self.counts.stats(self.success, KNOWN, name, client).remaining
                key = (client, name) if is_known else (client,)
                with self._in_queue(self.queues.setdefault(("", *key), BoundedSemaphore(1)), deadline, address):
                    self._await_turn(key, deadline, address)
                if is_guessed_at:
                    self.counts.add(self.name_turn, NAME_TURN, client, name)
            yield

    @contextmanager
    def _in_queue(self, queue: BoundedSemaphore, deadline: float, address: str) -> Iterator[None]:
        if not queue.acquire(timeout=max(0.0, deadline - self.clock())):
            raise self._throttled(address, None)
        try:
            yield
        finally:
            queue.release()

    def _await_turn(self, key: tuple[str, ...], deadline: float, address: str) -> None:
        left = deadline - self.clock()
        while not self.counts.add(self.turn, TURN, *key):
            stats = self.counts.stats(self.turn, TURN, *key)
            wait = max(0.05, stats.reset_time - time())
            if wait > left:
                raise self._throttled(address, stats)
            self.sleep(wait)
            left -= wait

    def _throttled(self, address: str, stats: WindowStats | None) -> SMTPError:
        """Count, log and return the rejection of a login. `stats` contain the time of its turn."""
        metrics.LIMITS.labels("auth_address").inc()
        seconds = max(1, math.ceil(stats.reset_time - time())) if stats else ADMISSION_SECONDS
        reply = replies.LOGIN_THROTTLED.filled(seconds=seconds)
        logs.limit(client=address, reply=reply.text)
        return SMTPError(reply)

    def _check_cached_rejection(self, client: str, digest: bytes) -> None:
        reply, checked_at = self.refused.get((client, digest), (None, 0.0))
        if reply and self.clock() - checked_at < RECHECK_SECONDS:
            metrics.CACHE.count("refused_login", "hit")
            raise SMTPError(reply)

    def _slow_if_guessed_at(self, client: str, address: str, credentials: Credentials) -> None:
        name = name_digest(credentials)
        if self.counts.stats(self.account_guesses, ACCOUNT, name).remaining:
            return
        if not self.counts.stats(self.success, KNOWN, name, client).remaining:
            return
        metrics.LIMITS.labels("auth_account").inc()
        logs.limit(
            client=address, username=logs.address(credentials.username), what="slowed: guessed at from elsewhere"
        )
        self.sleep(self.settings.throttle_delay_seconds)

    def _delay_seconds(self, client: str) -> float:
        guesses = self.settings.throttle_failures - self.counts.stats(self.guesses, ADDRESS, client).remaining
        delay: float = MIN_DELAY_SECONDS * 2 ** min(guesses - 1, 20) if guesses else 0.0
        return min(delay, self.settings.throttle_delay_seconds)


def name_digest(credentials: Credentials) -> str:
    """Return a digest of the user name for the storage, since email addresses must not leave this process."""
    return hashlib.blake2b(credentials.username.lower().encode(), digest_size=16, person=b"smtpgw").hexdigest()
