"""Slows who guesses passwords, then refuses them for a while; and nobody for what others try elsewhere.

What is counted is guesses: logins that failed, with credentials that the address has not tried lately. The same wrong
password again is an app with an old one, which must not shut out its neighbours; it is answered from memory for a
while, so that it costs no call of the API.

An address with too many guesses is refused, 454, until the time that counts is over; each one before has to wait
longer for its answer. An account that is guessed at from many addresses is refused to none of them, since its owner
may be at any: it slows those from which nobody has logged in to it. Credentials that were accepted lately are no
guess: they pass at once, whatever their address has done.

Credentials are compared by looking up their digest, made with a key of this process: how long that takes says
nothing of them, and no password is kept.
"""

import hashlib
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

from smtpgw import logs, metrics, replies
from smtpgw.envelope import Account, Credentials, place_of
from smtpgw.readers import is_in
from smtpgw.replies import Refused, Reply
from smtpgw.settings import Settings

FIRST_DELAY_SECONDS = 0.1  # after an address's first guess; doubled with each, up to a setting
ACCEPTED_SECONDS = 86_400  # for so long are accepted credentials no guess, and their address known to their account
RECHECK_SECONDS = 30.0  # a wrong password may have become right; the API is asked again after this
MOST_REMEMBERED = 20_000  # credentials accepted, and as many refused, a process
STORAGE_TIMEOUT_SECONDS = 1.0
STORAGE_AWAY_SECONDS = 30.0  # a shared storage that failed is left alone for so long
ADDRESS, ACCOUNT, KNOWN = "address", "account", "known"  # what is counted in the storage

T = TypeVar("T")


class Counts:
    """Counts in windows of time, kept in a storage that all pods share; while that fails, in this process."""

    def __init__(self, storage_url: str, clock: Callable[[], float] = monotonic) -> None:
        self.own = FixedWindowRateLimiter(MemoryStorage())
        self.shared = None if storage_url == "memory://" else shared_limiter(storage_url)
        self.clock = clock
        self.away_until = 0.0

    def add(self, item: RateLimitItemPerSecond, *key: str) -> None:
        self._ask(lambda limiter: limiter.hit(item, *key))

    def look(self, item: RateLimitItemPerSecond, *key: str) -> WindowStats:
        return self._ask(lambda limiter: limiter.get_window_stats(item, *key))

    def _ask(self, question: Callable[[FixedWindowRateLimiter], T]) -> T:
        if self.shared and self.clock() >= self.away_until:
            try:
                return question(self.shared)
            except StorageError as problem:
                self.away_until = self.clock() + STORAGE_AWAY_SECONDS
                logs.error(what="the throttle's storage fails; counting in this process", reason=type(problem).__name__)
        return question(self.own)


def shared_limiter(storage_url: str) -> FixedWindowRateLimiter:
    options = {"socket_timeout": STORAGE_TIMEOUT_SECONDS, "socket_connect_timeout": STORAGE_TIMEOUT_SECONDS}
    storage = storage_from_string(storage_url, wrap_exceptions=True, **options)
    return FixedWindowRateLimiter(storage)


class Throttle:
    """The failed logins of a worker, or of all of them."""

    def __init__(
        self,
        settings: Settings,
        clock: Callable[[], float] = monotonic,
        sleep: Callable[[float], object] = gevent.sleep,
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.sleep = sleep
        self.counts = Counts(settings.throttle_storage, clock)
        self.guesses = RateLimitItemPerSecond(settings.throttle_failures, settings.throttle_seconds)
        # At one account, and more than one address can make: so it is guessed at from elsewhere, too.
        self.siege = RateLimitItemPerSecond(2 * settings.throttle_failures, settings.throttle_seconds)
        self.success = RateLimitItemPerSecond(1, ACCEPTED_SECONDS)
        self.key = secrets.token_bytes(32)
        self.accepted: TTLCache[bytes, bool] = TTLCache(MOST_REMEMBERED, ACCEPTED_SECONDS, clock)
        self.refused: TTLCache[tuple[str, bytes], tuple[Reply, float]] = TTLCache(
            MOST_REMEMBERED, settings.throttle_seconds, clock
        )
        # Of the addresses that wait for the API now: an entry goes when nobody uses it any more.
        self.turns: WeakValueDictionary[str, BoundedSemaphore] = WeakValueDictionary()

    def login(self, address: str, credentials: Credentials, login: Callable[[Credentials], Account]) -> Account:
        """Log in by `login`, unless the client at this address has guessed too often; a failure takes its time.

        Raises:
            Refused: 454 after too many guesses, or what `login` raises.
        """
        if is_in(address, self.settings.trusted_cidrs):
            return login(credentials)
        place = place_of(address)
        try:
            return self._login(place, address, credentials, login)
        except Refused:
            self.sleep(self._delay_seconds(place))
            raise

    def _login(
        self, place: str, address: str, credentials: Credentials, login: Callable[[Credentials], Account]
    ) -> Account:
        digest = credentials.digest(self.key)
        if digest in self.accepted:
            return self._try(place, digest, credentials, login)
        self._slow_if_attacked(place, address, credentials)
        with self._turn(place):
            self._refuse_if_too_many(place, address)
            self._answer_from_memory(place, digest)
            account = self._try(place, digest, credentials, login)
        self.accepted[digest] = True
        self.refused.pop((place, digest), None)
        self.counts.add(self.success, KNOWN, name_of(credentials), place)
        return account

    def _try(
        self, place: str, digest: bytes, credentials: Credentials, login: Callable[[Credentials], Account]
    ) -> Account:
        try:
            return login(credentials)
        except Refused as refusal:
            if refusal.reply.code == 535:
                self.accepted.pop(digest, None)
                self._failed(place, digest, credentials, refusal.reply)
            raise

    def _failed(self, place: str, digest: bytes, credentials: Credentials, reply: Reply) -> None:
        if (place, digest) not in self.refused:
            self.counts.add(self.guesses, ADDRESS, place)
            self.counts.add(self.siege, ACCOUNT, name_of(credentials))
        self.refused[place, digest] = reply, self.clock()

    @contextmanager
    def _turn(self, place: str) -> Iterator[None]:
        """Keep an address from making many guesses at once, none of them counted yet.

        Raises:
            Refused: 454 when the turn does not come in time.
        """
        turn = self.turns.setdefault(place, BoundedSemaphore(self.settings.throttle_failures))
        if not turn.acquire(timeout=self.settings.api_wait_seconds):
            metrics.LIMITS.labels("auth_turn").inc()
            raise Refused(replies.LOGIN_UNAVAILABLE)
        try:
            yield
        finally:
            turn.release()

    def _refuse_if_too_many(self, place: str, address: str) -> None:
        stats = self.counts.look(self.guesses, ADDRESS, place)
        if stats.remaining:
            return
        metrics.LIMITS.labels("auth_address").inc()
        reply = replies.LOGIN_THROTTLED.filled(seconds=max(1, round(stats.reset_time - time())))
        logs.limit(client=address, reply=reply.text)
        raise Refused(reply)

    def _answer_from_memory(self, place: str, digest: bytes) -> None:
        reply, checked_at = self.refused.get((place, digest), (None, 0.0))
        if reply and self.clock() - checked_at < RECHECK_SECONDS:
            metrics.CACHE.count("refused_login", "hit")
            raise Refused(reply)

    def _slow_if_attacked(self, place: str, address: str, credentials: Credentials) -> None:
        name = name_of(credentials)
        if self.counts.look(self.siege, ACCOUNT, name).remaining:
            return
        if not self.counts.look(self.success, KNOWN, name, place).remaining:
            return
        metrics.LIMITS.labels("auth_account").inc()
        logs.limit(
            client=address, username=logs.address(credentials.username), what="slowed: guessed at from elsewhere"
        )
        self.sleep(self.settings.throttle_delay_seconds)

    def _delay_seconds(self, place: str) -> float:
        guesses = self.settings.throttle_failures - self.counts.look(self.guesses, ADDRESS, place).remaining
        delay: float = FIRST_DELAY_SECONDS * 2 ** min(guesses - 1, 20) if guesses else 0.0
        return min(delay, self.settings.throttle_delay_seconds)


def name_of(credentials: Credentials) -> str:
    """A username as a storage may have it, the same in each pod: mail addresses do not leave this process."""
    return hashlib.blake2b(credentials.username.lower().encode(), digest_size=16, person=b"smtpgw").hexdigest()
