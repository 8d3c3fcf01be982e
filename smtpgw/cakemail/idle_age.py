"""How long a connection to a server may be idle and still be used: less than the server waits before it closes it.

A server that closes an idle connection just as the next request is on its way leaves an outcome that nobody knows, and
a submission that may not be repeated. Where its wait is shorter than our setting, that would happen whenever requests
come at such intervals. A server may say how long it waits (`Keep-Alive: timeout=5`); of one that does not, the
connections that turn out to be closed tell how long it has waited at most.

No library: urllib3, httpx and aiohttp have one age for all connections, or none, and learn nothing.
"""

import re
from collections.abc import Callable, Mapping
from time import monotonic

TIMEOUT = re.compile(r"\btimeout\s*=\s*\"?(\d{1,6})\b", re.IGNORECASE | re.ASCII)
MAX_FIELD_CHARS = 200
# Of the server's wait: the rest is for the request's way to it, and for clocks that begin at other moments.
USED_PART = 0.8
# A connection that was closed sooner tells of a restart rather than of a wait.
MIN_LEARNT_SECONDS = 1.0
LEARNT_FOR_SECONDS = 86_400.0  # a server may be configured anew, and a restart closes connections of any age


class IdleAge:
    """The greatest age for the connections of one pool. Times are the clock's."""

    def __init__(self, configured_seconds: float, clock: Callable[[], float] = monotonic) -> None:
        self._configured_seconds = self._said_seconds = self._learnt_seconds = configured_seconds
        self._learnt_until = 0.0
        self._clock = clock

    def max_seconds(self) -> float:
        """Return the greatest age at which a connection may be used."""
        if self._clock() >= self._learnt_until:
            self._learnt_seconds = self._configured_seconds
        return min(self._configured_seconds, self._said_seconds, self._learnt_seconds)

    def read(self, headers: Mapping[str, str]) -> None:
        """Learn from an answer's Keep-Alive, if it has one. Names of headers are lower case."""
        field = headers.get("keep-alive")
        if field and (found := TIMEOUT.search(field[:MAX_FIELD_CHARS])):
            self._said_seconds = USED_PART * float(found[1])

    def closed_by_server(self, idle_seconds: float) -> None:
        """Learn that the server has closed a connection that was idle for so long, or for less."""
        learnt = max(MIN_LEARNT_SECONDS, USED_PART * idle_seconds)
        if learnt < self.max_seconds():
            self._learnt_seconds = learnt
            self._learnt_until = self._clock() + LEARNT_FOR_SECONDS
