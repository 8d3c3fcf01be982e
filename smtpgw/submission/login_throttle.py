"""Rate limiter for guessed passwords that locks nobody out.

What is counted is guesses: logins that failed, with credentials that the address has not tried lately. The same wrong
password again is an app with an old one, which must not shut out its neighbours; it is answered from memory for a
while, so that it costs no call of the API.

Each guess of an address waits longer for its answer. An address with too many is not refused, since it may be the exit
of a whole company or cloud: its logins are admitted to the API one at a time, with a few seconds between them, so that
guessing stays slow and a right password gets through. Logins wait for that in turn for a moment, then hear 454. A user
name that this address has guessed at is admitted more rarely still, so that whoever guesses at one account takes no
turns from its neighbours; one that has logged in from this address lately has turns of its own.

An account that is guessed at from many addresses is refused to none of them, since its owner may be at any: it slows
those from which nobody has logged in to it. Credentials that were accepted lately are no guess: they pass at once,
whatever their address has done.

Credentials are compared by looking up their digest, made with a key of this process: how long that takes says
nothing of them, and no password is kept.
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

FIRST_DELAY_SECONDS = 0.1  # after an address's first guess; doubled with each, up to a setting
ACCEPTED_SECONDS = 86_400  # for so long are accepted credentials no guess, and their address known to their account
RECHECK_SECONDS = 30.0  # a wrong password may have become right; the API is asked again after this
# Of an address with too many guesses: one login in so many seconds is admitted, and one of a user name that it has
# guessed at.
ADMITTED_SECONDS = 3
ADMITTED_NAME_SECONDS = 30
MAX_REMEMBERED = 20_000  # credentials accepted, and as many refused, a process
STORAGE_TIMEOUT_SECONDS = 1.0
STORAGE_AWAY_SECONDS = 30.0  # a shared storage that failed is left alone for so long
# What is counted in the storage.
ADDRESS, ACCOUNT, KNOWN, NAME, TURN, NAME_TURN = "address", "account", "known", "name", "turn", "name_turn"

T = TypeVar("T")


class FailureCounts:
    """Counts in windows of time, kept in a storage that all pods share; while that fails, in this process."""

    def __init__(self, storage_url: str, clock: Callable[[], float] = monotonic) -> None:
        self.own = FixedWindowRateLimiter(MemoryStorage())
        self.shared = None if storage_url == "memory://" else shared_limiter(storage_url)
        self.clock = clock
        self.away_until = 0.0

    def add(self, item: RateLimitItemPerSecond, *key: str) -> bool:
        """Count once more; whether that was within the limit."""
        return self._ask(lambda limiter: limiter.hit(item, *key))

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


class LoginThrottle:
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
        self.counts = FailureCounts(settings.throttle_storage, clock)
        self.guesses = RateLimitItemPerSecond(settings.throttle_failures, settings.throttle_seconds)
        # At one account, and more than one address can make: so it is guessed at from elsewhere, too.
        self.siege = RateLimitItemPerSecond(2 * settings.throttle_failures, settings.throttle_seconds)
        self.success = RateLimitItemPerSecond(1, ACCEPTED_SECONDS)
        self.guessed_at = RateLimitItemPerSecond(1, settings.throttle_seconds)
        self.turn = RateLimitItemPerSecond(1, ADMITTED_SECONDS)
        self.name_turn = RateLimitItemPerSecond(1, ADMITTED_NAME_SECONDS)
        self.key = secrets.token_bytes(32)
        self.accepted: TTLCache[bytes, bool] = TTLCache(MAX_REMEMBERED, ACCEPTED_SECONDS, clock)
        self.refused: TTLCache[tuple[str, bytes], tuple[Reply, float]] = TTLCache(
            MAX_REMEMBERED, settings.throttle_seconds, clock
        )
        # Of the addresses, and their user names, that wait now: an entry goes when nobody uses it any more.
        self.turns: WeakValueDictionary[str, BoundedSemaphore] = WeakValueDictionary()
        self.lines: WeakValueDictionary[tuple[str, ...], BoundedSemaphore] = WeakValueDictionary()

    def login(self, address: str, credentials: Credentials, login: Callable[[Credentials], Account]) -> Account:
        """Log in by `login`; a failure takes its time, and so does any login where there were too many guesses.

        Raises:
            SMTPError: 454 where the turn of this login has not come, or what `login` raises.
        """
        if is_in(address, self.settings.trusted_cidrs):
            return login(credentials)
        place, began = client_key(address), self.clock()
        try:
            return self._login(place, address, credentials, login)
        except SMTPError:
            self.sleep(max(0.0, self._delay_seconds(place) - (self.clock() - began)))
            raise

    def _login(
        self, place: str, address: str, credentials: Credentials, login: Callable[[Credentials], Account]
    ) -> Account:
        digest = credentials.digest(self.key)
        if digest in self.accepted:
            return self._try(place, digest, credentials, login)
        self._slow_if_attacked(place, address, credentials)
        self._answer_from_memory(place, digest)
        with self._turn(place):
            is_free = bool(self.counts.look(self.guesses, ADDRESS, place).remaining)
            if is_free:
                self._answer_from_memory(place, digest)  # others may have tried the same meanwhile
                account = self._try(place, digest, credentials, login)
        if not is_free:
            with self._admitted(place, address, credentials, digest):
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
        except SMTPError as refusal:
            if refusal.reply.code == 535:
                self.accepted.pop(digest, None)
                self._failed(place, digest, credentials, refusal.reply)
            raise

    def _failed(self, place: str, digest: bytes, credentials: Credentials, reply: Reply) -> None:
        if (place, digest) not in self.refused:
            self.counts.add(self.guesses, ADDRESS, place)
            self.counts.add(self.siege, ACCOUNT, name_of(credentials))
            self.counts.add(self.guessed_at, NAME, place, name_of(credentials))
            self.counts.add(self.name_turn, NAME_TURN, place, name_of(credentials))
        self.refused[place, digest] = reply, self.clock()

    @contextmanager
    def _turn(self, place: str) -> Iterator[None]:
        """Keep an address from making many guesses at once, none of them counted yet.

        Raises:
            SMTPError: 454 when the turn does not come in time.
        """
        turn = self.turns.setdefault(place, BoundedSemaphore(self.settings.throttle_failures))
        if not turn.acquire(timeout=self.settings.api_wait_seconds):
            metrics.LIMITS.labels("auth_turn").inc()
            raise SMTPError(replies.LOGIN_UNAVAILABLE)
        try:
            yield
        finally:
            turn.release()

    @contextmanager
    def _admitted(self, place: str, address: str, credentials: Credentials, digest: bytes) -> Iterator[None]:
        """Wait until a login of an address with too many guesses may go on; first those of one user name in turn.

        Raises:
            SMTPError: 454 when that takes too long.
        """
        deadline = self.clock() + self.settings.throttle_delay_seconds
        name = name_of(credentials)
        own_line = self.lines.setdefault((place, name), BoundedSemaphore(1))
        with self._in_line(own_line, deadline, address):
            if digest not in self.accepted:  # by one that was before us in the line
                self._answer_from_memory(place, digest)
                is_guessed_at = not self.counts.look(self.guessed_at, NAME, place, name).remaining
                if is_guessed_at and not self.counts.look(self.name_turn, NAME_TURN, place, name).remaining:
                    raise self._too_many(address, self.counts.look(self.name_turn, NAME_TURN, place, name))
                is_known = not self.counts.look(self.success, KNOWN, name, place).remaining
                key = (place, name) if is_known else (place,)
                with self._in_line(self.lines.setdefault(("", *key), BoundedSemaphore(1)), deadline, address):
                    self._await_turn(key, deadline, address)
                if is_guessed_at:
                    self.counts.add(self.name_turn, NAME_TURN, place, name)
            yield

    @contextmanager
    def _in_line(self, line: BoundedSemaphore, deadline: float, address: str) -> Iterator[None]:
        if not line.acquire(timeout=max(0.0, deadline - self.clock())):
            raise self._too_many(address, None)
        try:
            yield
        finally:
            line.release()

    def _await_turn(self, key: tuple[str, ...], deadline: float, address: str) -> None:
        left = deadline - self.clock()
        while not self.counts.add(self.turn, TURN, *key):
            stats = self.counts.look(self.turn, TURN, *key)
            wait = max(0.05, stats.reset_time - time())
            if wait > left:
                raise self._too_many(address, stats)
            self.sleep(wait)
            left -= wait

    def _too_many(self, address: str, stats: WindowStats | None) -> SMTPError:
        """The refusal of a login whose turn has not come; `stats` know when it would."""
        metrics.LIMITS.labels("auth_address").inc()
        seconds = max(1, math.ceil(stats.reset_time - time())) if stats else ADMITTED_SECONDS
        reply = replies.LOGIN_THROTTLED.filled(seconds=seconds)
        logs.limit(client=address, reply=reply.text)
        return SMTPError(reply)

    def _answer_from_memory(self, place: str, digest: bytes) -> None:
        reply, checked_at = self.refused.get((place, digest), (None, 0.0))
        if reply and self.clock() - checked_at < RECHECK_SECONDS:
            metrics.CACHE.count("refused_login", "hit")
            raise SMTPError(reply)

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
