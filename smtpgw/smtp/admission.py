"""Limits on the resources of one worker: open sessions, sessions of one client, octets of message data."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from smtpgw.config.parsers import Network
from smtpgw.core import replies
from smtpgw.core.networks import client_key, is_in
from smtpgw.core.replies import Reply, SMTPError
from smtpgw.telemetry import metrics

# With this factor, one greedy client leaves a third of the budget free. At the default settings, another client can
# then still send the largest message.
SHARE_OF_FREE = 2
# One part in RESERVED_PART of the budget is reserved for clients that hold at most SMALL_BYTES.
RESERVED_PART = 16
SMALL_BYTES = 256 * 1024

# A client, as its rate-limit key, or an account, as its id.
Owner = str | int


class Reservation:
    """The octets that one message takes of the budget, counted for its owners."""

    __slots__ = ("budget", "octets", "owners", "refusal")

    def __init__(self, budget: "ByteBudget", owners: tuple[Owner, ...] = ()) -> None:
        self.budget = budget
        self.owners = owners
        self.octets = 0
        # The reply that rejects the message, valid once `grow` has returned False.
        self.refusal = replies.NO_ROOM_NOW

    def grow(self, octets: int) -> bool:
        """Reserve more octets. Return False, and reserve nothing, when they are not available."""
        refusal = self.budget.refusal(self.owners, self.octets, octets)
        if refusal:
            self.refusal = refusal
            return False
        self.budget.take(self.owners, octets)
        self.octets += octets
        return True

    def resize(self, octets: int) -> None:
        """Set the size of the reservation, after the message has become larger or smaller.

        Raises:
            SMTPError: 452 4.3.1 when the budget does not allow the larger size.
        """
        if octets <= self.octets:
            self.budget.take(self.owners, octets - self.octets)
            self.octets = octets
        elif not self.grow(octets - self.octets):
            count_refusal(self.refusal)
            raise SMTPError(self.refusal)

    def release(self) -> None:
        """Return all octets to the budget."""
        self.budget.take(self.owners, -self.octets)
        self.octets = 0


class ByteBudget:
    """The octets of message data that a worker may hold over all its sessions, shared fairly.

    Each client and each account may hold at most SHARE_OF_FREE times the octets that remain free. The more an owner
    holds, the less it may still take, so one owner can never exhaust the budget. This is the dynamic threshold of
    switches with shared memory (Choudhury and Hahne, 1998). The last part of the budget is reserved for clients that
    hold little. A message that is alone in the worker may take the whole budget.
    """

    def __init__(self, limit_bytes: int, trusted: tuple[Network, ...] = ()) -> None:
        """Create an empty budget.

        Args:
            limit_bytes: the number of octets to share.
            trusted: networks of clients that are counted by account only, not by address.
        """
        self.limit_bytes = limit_bytes
        self.trusted = trusted
        self.held = 0
        self.by_owner: Counter[Owner] = Counter()

    @contextmanager
    def reserve(self, expected_bytes: int, client: str = "", account_id: int | None = None) -> Iterator[Reservation]:
        """Return a context manager for the reservation of one message. It begins empty and is released on exit.

        Args:
            expected_bytes: the size that the client declared, checked on entry.
            client: the client's address.
            account_id: the account that the client has logged in to.

        Raises:
            SMTPError: 452 4.3.1 on entry when the budget does not allow a message of this size now.
        """
        reservation = Reservation(self, self.owners(client, account_id))
        refusal = self.refusal(reservation.owners, 0, expected_bytes)
        if refusal:
            count_refusal(refusal)
            raise SMTPError(refusal)
        try:
            yield reservation
        finally:
            reservation.release()

    def owners(self, client: str, account_id: int | None) -> tuple[Owner, ...]:
        """Return the owners that the octets of a message are counted for."""
        accounts: tuple[Owner, ...] = () if account_id is None else (account_id,)
        return accounts if not client or is_in(client, self.trusted) else (client_key(client), *accounts)

    def refusal(self, owners: tuple[Owner, ...], held_by_message: int, octets: int) -> Reply | None:
        """Return the reply that rejects a message which needs more octets, or None when it may take them."""
        held = self.held + octets
        is_alone = self.held == held_by_message
        if is_alone and held <= self.limit_bytes:
            return None
        is_small = max([held_by_message, *(self.by_owner[owner] for owner in owners)]) + octets <= SMALL_BYTES
        limit = self.limit_bytes if is_small else self.limit_bytes - self.limit_bytes // RESERVED_PART
        found = replies.NO_ROOM_NOW if held > limit else None
        share = SHARE_OF_FREE * (limit - held)
        for owner in owners:
            of_owner = self.by_owner[owner] + octets
            if of_owner > share:
                # The client itself is the cause when its other messages are most of what the worker holds.
                is_own = self.by_owner[owner] > held_by_message and 2 * of_owner > held
                found = replies.SHARE_OF_ROOM_TAKEN if is_own else found or replies.NO_ROOM_NOW
        return found

    def take(self, owners: tuple[Owner, ...], octets: int) -> None:
        """Count octets that `refusal` has allowed. A negative number returns octets."""
        self.held += octets
        for owner in owners:
            self.by_owner[owner] += octets
            if not self.by_owner[owner]:
                del self.by_owner[owner]


def count_refusal(refusal: Reply) -> None:
    """Count the rejection of a message that exceeds the budget or the size limit."""
    if refusal is replies.NO_ROOM_NOW:
        metrics.LIMITS.labels("bytes_in_flight").inc()
    elif refusal is replies.SHARE_OF_ROOM_TAKEN:
        metrics.LIMITS.labels("bytes_per_client").inc()
    else:
        metrics.LIMITS.labels("message_bytes").inc()


class SessionLimiter:
    """Limiter of the open sessions of a worker, in total and of each client."""

    def __init__(self, limit: int, limit_per_client: int, trusted: tuple[Network, ...]) -> None:
        """Create a limiter. Clients in the `trusted` networks have no limit of their own, only the worker's."""
        self.limit = limit
        self.limit_per_client = limit_per_client
        self.trusted = trusted
        self.open = 0
        self.by_client: Counter[str] = Counter()

    def admit(self, address: str) -> "Admission":
        """Return a context manager that counts one open session.

        Raises:
            SMTPError: 421 on entry when the worker or the client is at its limit.
        """
        return Admission(self, address)

    def enter(self, address: str) -> str:
        """Count one session and return the key that it is counted for. Raises SMTPError."""
        if self.open >= self.limit:
            metrics.LIMITS.labels("sessions").inc()
            raise SMTPError(replies.TOO_MANY_SESSIONS)
        # A trusted client is counted by its own address, so it takes nothing from the other clients of its network.
        is_trusted = is_in(address, self.trusted)
        key = address if is_trusted else client_key(address)
        if not is_trusted and self.by_client[key] >= self.limit_per_client:
            metrics.LIMITS.labels("sessions_per_address").inc()
            raise SMTPError(replies.TOO_MANY_SESSIONS_FROM_ADDRESS)
        self.open += 1
        self.by_client[key] += 1
        return key

    def leave(self, key: str) -> None:
        """Count out one session that was counted for this key."""
        self.open -= 1
        self.by_client[key] -= 1
        if not self.by_client[key]:
            del self.by_client[key]


class Admission:
    """Context manager for one session. It is a class because a generator takes much more memory for each session."""

    __slots__ = ("key", "limiter")

    def __init__(self, limiter: SessionLimiter, address: str) -> None:
        self.limiter = limiter
        # The client's address until entry, then the key that the session is counted for.
        self.key = address

    def __enter__(self) -> None:
        self.key = self.limiter.enter(self.key)

    def __exit__(self, *_: object) -> None:
        self.limiter.leave(self.key)
