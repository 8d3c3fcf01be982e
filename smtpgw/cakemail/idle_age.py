"""Maximum idle time of a connection: less than the time after which the server closes it.

When a server closes an idle connection while the next request is being sent, the outcome of this request is unknown,
and a submission must not be repeated. If the server's time-out is shorter than the configured one, this happens
whenever requests come at such intervals. A server may announce its time-out (`Keep-Alive: timeout=5`); otherwise it is
estimated from the connections that the server has closed.

urllib3, httpx and aiohttp have one fixed limit for all connections, or none, and do not adapt it.
"""

import re
from collections.abc import Callable, Mapping
from time import monotonic

TIMEOUT = re.compile(r"\btimeout\s*=\s*\"?(\d{1,6})\b", re.IGNORECASE | re.ASCII)
MAX_FIELD_CHARACTERS = 200
# Part of the server's time-out that is used. The rest allows for the latency of the request and for the server's timer.
USED_PART = 0.8
# A connection that was closed sooner indicates a restart of the server rather than a time-out.
MIN_ESTIMATE_SECONDS = 1.0
# An estimate expires, since the server may be reconfigured, and a restart closes connections of any age.
ESTIMATE_SECONDS = 86_400.0


class IdleAge:
    """Maximum idle time for the connections of one pool. Times are those of the clock."""

    def __init__(self, configured_seconds: float, clock: Callable[[], float] = monotonic) -> None:
        self._configured_seconds = self._announced_seconds = self._estimated_seconds = configured_seconds
        self._estimate_expires_at = 0.0
        self._clock = clock

    def max_seconds(self) -> float:
        """Return the idle time after which a connection must not be used."""
        if self._clock() >= self._estimate_expires_at:
            self._estimated_seconds = self._configured_seconds
        return min(self._configured_seconds, self._announced_seconds, self._estimated_seconds)

    def read(self, headers: Mapping[str, str]) -> None:
        """Use the Keep-Alive field of an answer, if there is one. Header names are in lower case."""
        field = headers.get("keep-alive")
        if field and (found := TIMEOUT.search(field[:MAX_FIELD_CHARACTERS])):
            self._announced_seconds = USED_PART * float(found[1])

    def closed_by_server(self, idle_seconds: float) -> None:
        """Record that the server closed a connection that was idle for at most this long."""
        estimate = max(MIN_ESTIMATE_SECONDS, USED_PART * idle_seconds)
        if estimate < self.max_seconds():
            self._estimated_seconds = estimate
            self._estimate_expires_at = self._clock() + ESTIMATE_SECONDS
