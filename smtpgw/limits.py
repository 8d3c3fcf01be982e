"""What one worker holds at a time, counted: sessions, sessions of a client, octets of messages."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from smtpgw import metrics, replies
from smtpgw.envelope import place_of
from smtpgw.readers import Network, is_in
from smtpgw.replies import Refused


class Hold:
    """The octets that one message takes of the worker's room."""

    __slots__ = ("octets", "room")

    def __init__(self, room: "Room") -> None:
        self.room = room
        self.octets = 0

    def grow(self, octets: int) -> bool:
        """Take that much more; False when it is not to be had, and then nothing is taken."""
        if self.room.held + octets > self.room.limit_bytes:
            return False
        self.room.held += octets
        self.octets += octets
        return True

    def release(self) -> None:
        self.room.held -= self.octets
        self.octets = 0


class Room:
    """The octets of message data a worker may hold, over all its sessions."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.held = 0

    @contextmanager
    def hold(self, expected_bytes: int) -> Iterator[Hold]:
        """A hold that ends with the block.

        Raises:
            Refused: 452 4.3.1 where a message of this size has no room now.
        """
        if self.held + expected_bytes > self.limit_bytes:
            metrics.LIMITS.labels("bytes_in_flight").inc()
            raise Refused(replies.NO_ROOM_NOW)
        hold = Hold(self)
        try:
            yield hold
        finally:
            hold.release()


class Doorkeeper:
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
            Refused: as the block begins, 421 where the worker or the address has as many as it may.
        """
        return Admission(self, address)

    def let_in(self, address: str) -> str:
        """Count one more; the place that it is counted for. Raises Refused."""
        if self.open >= self.limit:
            metrics.LIMITS.labels("sessions").inc()
            raise Refused(replies.TOO_MANY_SESSIONS)
        is_trusted = is_in(address, self.trusted)
        place = address if is_trusted else place_of(address)  # who is trusted takes nothing from its neighbours
        if not is_trusted and self.by_place[place] >= self.limit_per_address:
            metrics.LIMITS.labels("sessions_per_address").inc()
            raise Refused(replies.TOO_MANY_SESSIONS_FROM_ADDRESS)
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

    def __init__(self, door: Doorkeeper, address: str) -> None:
        self.door = door
        self.place = address  # once it is in, what it is counted for

    def __enter__(self) -> None:
        self.place = self.door.let_in(self.place)

    def __exit__(self, *_: object) -> None:
        self.door.let_out(self.place)
