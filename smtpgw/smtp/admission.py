"""What one worker holds at a time, counted: sessions, sessions of a client, octets of messages."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from smtpgw.config.parsers import Network
from smtpgw.core import replies
from smtpgw.core.networks import client_key, is_in
from smtpgw.core.replies import Reply, SMTPError
from smtpgw.telemetry import metrics

# One greedy client leaves a third of the room free. At the defaults, another can still send the largest message then.
SHARE_OF_FREE = 2
PART_FOR_SMALL = 16  # one part of so many is only for clients that hold no more than SMALL_BYTES
SMALL_BYTES = 256 * 1024

Owner = str | int  # a client's address, as it is counted; an account


class Reservation:
    """The octets that one message takes of the worker's room, counted for its owners."""

    __slots__ = ("octets", "owners", "refusal", "room")

    def __init__(self, room: "ByteBudget", owners: tuple[Owner, ...] = ()) -> None:
        self.room = room
        self.owners = owners
        self.octets = 0
        self.refusal = replies.NO_ROOM_NOW  # the reply, once `grow` has returned False

    def grow(self, octets: int) -> bool:
        """Take that much more; False when it is not to be had, and then nothing is taken."""
        refusal = self.room.refusal(self.owners, self.octets, octets)
        if refusal:
            self.refusal = refusal
            return False
        self.room.take(self.owners, octets)
        self.octets += octets
        return True

    def resize(self, octets: int) -> None:
        """Count the message as so many octets from now on, since that is what it has become.

        Raises:
            SMTPError: 452 4.3.1 where there is no room for more of them.
        """
        if octets <= self.octets:
            self.room.take(self.owners, octets - self.octets)
            self.octets = octets
        elif not self.grow(octets - self.octets):
            count(self.refusal)
            raise SMTPError(self.refusal)

    def release(self) -> None:
        self.room.take(self.owners, -self.octets)
        self.octets = 0


class ByteBudget:
    """The octets of message data a worker may hold, over all its sessions, shared fairly.

    A client address and an account may each hold at most SHARE_OF_FREE times what is then left free. So nobody can
    fill the room: the more one holds, the less it may still take, and something is always left for the next one. This
    is the dynamic threshold of switches with shared memory (Choudhury and Hahne, 1998). The last part of the room is
    for clients that hold little. A message that is alone in the worker may take all of it.
    """

    def __init__(self, limit_bytes: int, trusted: tuple[Network, ...] = ()) -> None:
        """`trusted`: clients that have no share of their own, only that of their account."""
        self.limit_bytes = limit_bytes
        self.trusted = trusted
        self.held = 0
        self.by_owner: Counter[Owner] = Counter()

    @contextmanager
    def hold(self, expected_bytes: int, client: str = "", account_id: int | None = None) -> Iterator[Reservation]:
        """A hold that ends with the block, for a message of a client at this address and of this account.

        Raises:
            SMTPError: 452 4.3.1 where a message of this size has no room now.
        """
        hold = Reservation(self, self.owners(client, account_id))
        refusal = self.refusal(hold.owners, 0, expected_bytes)
        if refusal:
            count(refusal)
            raise SMTPError(refusal)
        try:
            yield hold
        finally:
            hold.release()

    def owners(self, client: str, account_id: int | None) -> tuple[Owner, ...]:
        """Who the octets of a message are counted for."""
        accounts: tuple[Owner, ...] = () if account_id is None else (account_id,)
        return accounts if not client or is_in(client, self.trusted) else (client_key(client), *accounts)

    def refusal(self, owners: tuple[Owner, ...], held_by_message: int, octets: int) -> Reply | None:
        """The reply to a message that wants to take that much more; None where it may."""
        held = self.held + octets
        if self.held == held_by_message and held <= self.limit_bytes:
            return None  # it is alone
        is_small = max([held_by_message, *(self.by_owner[owner] for owner in owners)]) + octets <= SMALL_BYTES
        limit = self.limit_bytes if is_small else self.limit_bytes - self.limit_bytes // PART_FOR_SMALL
        found = replies.NO_ROOM_NOW if held > limit else None
        share = SHARE_OF_FREE * (limit - held)
        for owner in owners:
            of_owner = self.by_owner[owner] + octets
            if of_owner > share:
                # It is the client's own doing when most of what is held is its other messages'.
                is_own = self.by_owner[owner] > held_by_message and 2 * of_owner > held
                found = replies.SHARE_OF_ROOM_TAKEN if is_own else found or replies.NO_ROOM_NOW
        return found

    def take(self, owners: tuple[Owner, ...], octets: int) -> None:
        """Count octets, which `refusal` has allowed, or give them back where there are less than none."""
        self.held += octets
        for owner in owners:
            self.by_owner[owner] += octets
            if not self.by_owner[owner]:
                del self.by_owner[owner]


def count(refusal: Reply) -> None:
    """Count the refusal of a message that has no room, or is larger than any may be."""
    if refusal is replies.NO_ROOM_NOW:
        metrics.LIMITS.labels("bytes_in_flight").inc()
    elif refusal is replies.SHARE_OF_ROOM_TAKEN:
        metrics.LIMITS.labels("bytes_per_client").inc()
    else:
        metrics.LIMITS.labels("message_bytes").inc()


class SessionLimiter:
    """Counts the open sessions of a worker and lets one more in, or not."""

    def __init__(self, limit: int, limit_per_address: int, trusted: tuple[Network, ...]) -> None:
        self.limit = limit
        self.limit_per_address = limit_per_address
        self.trusted = trusted
        self.open = 0
        self.by_place: Counter[str] = Counter()

    def admit(self, address: str) -> "Admission":
        """Count a session for as long as the block lasts that this is the context of.

        Raises:
            SMTPError: as the block begins, 421 where the worker or the address has as many as it may.
        """
        return Admission(self, address)

    def let_in(self, address: str) -> str:
        """Count one more; the place that it is counted for. Raises SMTPError."""
        if self.open >= self.limit:
            metrics.LIMITS.labels("sessions").inc()
            raise SMTPError(replies.TOO_MANY_SESSIONS)
        is_trusted = is_in(address, self.trusted)
        place = address if is_trusted else client_key(address)  # who is trusted takes nothing from its neighbours
        if not is_trusted and self.by_place[place] >= self.limit_per_address:
            metrics.LIMITS.labels("sessions_per_address").inc()
            raise SMTPError(replies.TOO_MANY_SESSIONS_FROM_ADDRESS)
        self.open += 1
        self.by_place[place] += 1
        return place

    def let_out(self, place: str) -> None:
        """One has gone that was counted for this place."""
        self.open -= 1
        self.by_place[place] -= 1
        if not self.by_place[place]:
            del self.by_place[place]


class Admission:
    """A session's being in; a generator made into a context would take half a kilobyte of each."""

    __slots__ = ("door", "place")

    def __init__(self, door: SessionLimiter, address: str) -> None:
        self.door = door
        self.place = address  # once it is in, what it is counted for

    def __enter__(self) -> None:
        self.place = self.door.let_in(self.place)

    def __exit__(self, *_: object) -> None:
        self.door.let_out(self.place)
