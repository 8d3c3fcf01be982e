"""What the gateway adds to a message: by the sandbox's clock, or else by the gateway's own metrics."""

import logging
import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import gevent
import requests
from gevent.lock import BoundedSemaphore

POLL_INTERVAL_SECONDS = 1.0
TIMEOUT_SECONDS = 10.0
OVERHEAD, GATEWAY = "overhead", "gateway"  # name and type in locust's tables
METRIC = re.compile(r'^smtpgw_message_overhead_seconds_bucket\{(?:[^}]*,)?le="([^"]+)"[^}]*\} (\S+)', re.MULTILINE)

logger = logging.getLogger(__name__)


def new_session() -> requests.Session:
    session = requests.Session()
    session.trust_env = False  # no proxy stands between
    return session


class SandboxClock:
    """DATA→reply less the time that the API had the message, of each message that is accepted.

    In every process that has users: it asks the sandbox once a second about the messages of that second. A worker hears
    from its master only when a test starts whether there is a sandbox.
    """

    def __init__(self, environment: Any) -> None:
        self.environment = environment
        self.session = new_session()
        self.heard: list[tuple[tuple[str, ...], float]] = []  # recipients, and milliseconds from data to reply
        self.turn = BoundedSemaphore(1)  # the last look waits for the one before, whose messages count, too
        environment.events.request.add_listener(self.on_request)
        environment.events.test_stop.add_listener(lambda **_: self.look())
        gevent.spawn(self.look_on)

    def on_request(self, response_time: float, exception: object, context: dict[str, Any], **_: object) -> None:
        if exception is None and "recipients" in context and self.environment.parsed_options.sandbox_url:
            self.heard.append((context["recipients"], response_time))

    def look_on(self) -> None:
        while True:
            gevent.sleep(POLL_INTERVAL_SECONDS)
            self.look()

    def look(self) -> None:
        with self.turn:
            heard, self.heard = self.heard, []
            if heard:
                self.ask(heard)

    def ask(self, heard: list[tuple[tuple[str, ...], float]]) -> None:
        """Ask the sandbox about these messages, and put the overhead of each into locust's table."""
        try:
            asked = {"recipients": [recipients for recipients, _ in heard]}
            url = f"{self.environment.parsed_options.sandbox_url.rstrip('/')}/_sandbox/times"
            answer = self.session.post(url, json=asked, timeout=TIMEOUT_SECONDS)
            answer.raise_for_status()
        except requests.RequestException as problem:
            logger.error("The sandbox does not tell its times: %s", problem)
            return
        line = self.environment.stats.get(OVERHEAD, GATEWAY)
        for (_, milliseconds), of_api in zip(heard, answer.json(), strict=True):
            if of_api is not None:
                line.log(max(0.0, milliseconds - of_api), 0)


class GatewayMetrics:
    """The gateway's histogram of its own overhead, between two moments, of all pods together."""

    def __init__(self, urls: Sequence[str]) -> None:
        self.urls = urls
        self.session = new_session()
        self.before = self.read()

    def since_begin(self, share: float) -> tuple[float | None, int]:
        """What this share of messages did not exceed, in milliseconds, and how many messages they were."""
        now = self.read()
        grown = {bound: count - self.before.get(bound, 0.0) for bound, count in now.items()}
        return quantile(grown, share), round(max(grown.values(), default=0))

    def read(self) -> dict[float, float]:
        """The buckets: upper bound in seconds → how many messages took no longer."""
        buckets: dict[float, float] = defaultdict(float)
        for url in self.urls:
            try:
                answer = self.session.get(url, timeout=TIMEOUT_SECONDS)
                answer.raise_for_status()
            except requests.RequestException as problem:
                logger.error("The gateway does not tell its overhead: %s", problem)
                return {}
            for bound, count in METRIC.findall(answer.text):
                buckets[float(bound)] += float(count)
        return buckets


def quantile(buckets: dict[float, float], share: float) -> float | None:
    """In milliseconds, as Prometheus' histogram_quantile: between the bounds of a bucket it is a straight line."""
    ordered = sorted(buckets.items())
    if not ordered or ordered[-1][1] <= 0:
        return None
    rank, floor, below = share * ordered[-1][1], 0.0, 0.0
    for bound, count in ordered:
        if count >= rank:
            top = floor if bound == float("inf") else bound
            return 1000 * (floor + (top - floor) * (rank - below) / (count - below))
        floor, below = bound, count
    return None
