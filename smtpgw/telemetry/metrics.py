"""All metrics, their labels and the values of these labels.

The values of labels come from fixed sets and never from a client. A worker imports this module after the fork, because
prometheus_client chooses between one process and several (`PROMETHEUS_MULTIPROC_DIR`) when it is imported. Events that
every message causes are counted with the buffered `count` and `add`, rare ones with `labels(…).inc()`.
"""

from collections.abc import Callable, Iterable
from itertools import product
from math import prod
from typing import NamedTuple, TypeVar

from prometheus_client import Gauge, disable_created_metrics
from prometheus_client.metrics import MetricWrapperBase

from smtpgw import __version__
from smtpgw.core import replies
from smtpgw.core.replies import Reply
from smtpgw.telemetry import logs
from smtpgw.telemetry.buffered import Counter, Histogram
from smtpgw.telemetry.top_share import TopShare

# Buckets are dense around the latency objectives: overhead without the API, and the whole duration of a message.
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 25.0)
OVERHEAD_BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5)
SHORT_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
SESSION_LENGTHS = (0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0)
OCTETS = tuple(1024 * 4**n for n in range(8))  # 1 KiB to 16 MiB

ALL_REPLIES = [reply for reply in vars(replies).values() if isinstance(reply, Reply)]
CODES = sorted({str(reply.code) for reply in ALL_REPLIES})
ERROR_REPLIES = [reply.name for reply in ALL_REPLIES if reply.is_error]
VERBS = (
    "connect", "none",  # none: the line was not a command, or no command came
    "ehlo", "helo", "starttls", "auth", "mail", "rcpt", "data", "rset", "noop", "vrfy", "help", "quit",
)  # fmt: skip
REASONS = (
    "age", "auth_failures", "check", "commands", "data_rate", "drain", "error", "errors", "idle", "lost", "not_smtp",
    "other", "quit",
)  # fmt: skip
LIMIT_NAMES = (
    "api_connections", "auth_account", "auth_address", "auth_failures", "auth_turn", "bytes_in_flight",
    "bytes_per_client", "command_bytes", "commands", "data_rate", "descriptors", "errors", "idle", "large_messages",
    "login", "message_bytes", "proxy_header", "proxy_only", "recipients", "remembered", "same_message", "session",
    "sessions",
    "sessions_per_address",
)  # fmt: skip
DIALECT_NAMES = (
    "brevo", "cakemail", "frameworks", "mailgun", "mailjet", "mandrill", "postmark", "resend", "sendgrid", "ses",
    "sparkpost",
)  # fmt: skip
ENDPOINTS = ("token", "account", "senders", "lists", "emails")
STATUSES = (
    "200", "201", "400", "401", "403", "404", "408", "409", "413", "422", "429", "500", "502", "503", "504",
    "1xx", "2xx", "3xx", "4xx", "5xx",  # any other status of the class
    "unreached",  # no connection could be opened
    "unanswered",  # the request was sent, but no complete answer came in time
)  # fmt: skip

SHARED = (
    "messages by account",
    "refused messages by account",
    "deferred messages by account",
    "sessions by client",
    "limits by client",
)

# A metric with at most this many series creates all of them at 0, so that Prometheus sees the first event as an
# increase. More series would make each scrape large.
MAX_INITIAL_SERIES = 80


class Described(NamedTuple):
    """Description of a metric for the documentation and the tests: name, type, values by label, and meaning."""

    name: str
    type: str
    labels: dict[str, frozenset[str]]
    meaning: str


CATALOG: list[Described] = []

M = TypeVar("M", bound=MetricWrapperBase)


def labelled(make: Callable[..., M], name: str, meaning: str, options: dict[str, object], **values: Iterable[str]) -> M:
    """Create a metric whose labels have these values and no others."""
    metric = make(name, meaning, list(values), **options)
    labels = {label: frozenset(allowed) for label, allowed in values.items()}
    CATALOG.append(Described(name, make.__name__.lower(), labels, meaning))
    if values and prod(map(len, labels.values())) <= MAX_INITIAL_SERIES:
        for combination in product(*values.values()):
            metric.labels(*combination)
    return metric


def counter(name: str, meaning: str, **values: Iterable[str]) -> Counter:
    """Create a counter."""
    return labelled(Counter, name, meaning, {}, **values)


def histogram(name: str, meaning: str, buckets: tuple[float, ...], **values: Iterable[str]) -> Histogram:
    """Create a histogram."""
    return labelled(Histogram, name, meaning, {"buckets": buckets}, **values)


def gauge(name: str, meaning: str, aggregation: str, **values: Iterable[str]) -> Gauge:
    """Create a gauge.

    Args:
        name: the name of the metric.
        meaning: its help text.
        aggregation: how the values of several workers are combined: livesum, livemin or livemax.
        values: the values of each label.
    """
    return labelled(Gauge, name, meaning, {"multiprocess_mode": aggregation}, **values)


# Prometheus has no use for the creation time of each series, and it would double the size of a scrape.
disable_created_metrics()  # type: ignore[no-untyped-call]

# --- Sessions

SESSIONS_ACTIVE = gauge("smtpgw_sessions_active", "Open SMTP sessions", "livesum")
SESSIONS_OPENED = counter(
    "smtpgw_sessions_opened_total", "SMTP sessions opened, by listener", listener=("smtp", "smtps", "internal")
)
SESSIONS_CLOSED = counter("smtpgw_sessions_closed_total", "SMTP sessions closed, by reason", reason=REASONS)
SESSION_SECONDS = histogram("smtpgw_session_duration_seconds", "Duration of SMTP sessions", SESSION_LENGTHS)
CONNECTIONS_LOST = counter(
    "smtpgw_connections_lost_total", "Connections the client closed without QUIT, by its last command", verb=VERBS
)
COMMANDS = counter("smtpgw_commands_total", "SMTP commands answered, by verb and reply code", verb=VERBS, code=CODES)
REFUSALS = counter("smtpgw_refusals_total", "Error replies, by name", reply=ERROR_REPLIES)
AUTH = counter(
    "smtpgw_auth_total",
    "Logins, by result",
    result=("done", "refused", "throttled", "unavailable", "malformed"),
)
LIMITS = counter("smtpgw_limits_hit_total", "Limits reached, by name", limit=LIMIT_NAMES)
TLS_HANDSHAKES = counter(
    "smtpgw_tls_handshakes_total", "TLS handshakes, by version or failed", version=("TLSv1.2", "TLSv1.3", "failed")
)
CERTIFICATE_EXPIRY = gauge("smtpgw_certificate_expiry_timestamp_seconds", "Expiry of the certificate in use", "livemin")
CERTIFICATE_RELOADS = counter(
    "smtpgw_certificate_reloads_total", "Certificate reloads, by result", result=("done", "failed")
)

# --- Messages

OBJECTIVE = counter(
    "smtpgw_objective_total",
    "Messages that meet the availability objective, and failures caused by the gateway or by Cakemail",
    outcome=("met", "failed"),
)
MESSAGES = counter(
    "smtpgw_messages_total",
    "Messages, by result",
    result=("accepted", "refused", "deferred", "partial", "discarded"),
)
RECIPIENTS = counter(
    "smtpgw_recipients_total",
    "Recipients of messages, by result",
    result=("accepted", "refused", "deferred", "discarded"),
)
NOTICES = counter(
    "smtpgw_notices_total",
    "Non-delivery notices to senders, by result",
    result=("sent", "refused", "none", "no_address", "foreign_address"),
)
MESSAGE_BYTES = histogram("smtpgw_message_size_bytes", "Size of messages received", OCTETS)
MESSAGE_SECONDS = histogram("smtpgw_message_duration_seconds", "Time from the end of the data to the reply", SECONDS)
OVERHEAD_SECONDS = histogram(
    "smtpgw_message_overhead_seconds",
    "Time from the end of the data to the reply, without the wait for the API",
    OVERHEAD_BOUNDS,
)
STAGE_SECONDS = histogram(
    "smtpgw_message_stage_duration_seconds",
    "Time to parse and to translate a message",
    SHORT_SECONDS,
    stage=("parse", "translate"),
)
DIALECTS = counter(
    "smtpgw_dialect_headers_total",
    "Control headers found, by dialect and verdict",
    dialect=DIALECT_NAMES,
    verdict=("map", "strip", "strip_warn", "refuse", "discard"),
)
LARGEST_SHARE = gauge(
    "smtpgw_largest_share_ratio",
    "Share of the busiest account or client in the last 15 s; 0 with fewer than ten events",
    "livemax",
    of=SHARED,
)
MESSAGES_BY_ACCOUNT, REFUSED_BY_ACCOUNT, DEFERRED_BY_ACCOUNT, SESSIONS_BY_CLIENT, LIMITS_BY_CLIENT = SHARES = tuple(
    TopShare(LARGEST_SHARE.labels(of)) for of in SHARED
)

# --- Cakemail's API

API_SECONDS = histogram(
    "smtpgw_api_request_duration_seconds",
    "Duration of calls to Cakemail's API, by endpoint and status",
    SECONDS,
    endpoint=ENDPOINTS,
    status=STATUSES,
)
API_IN_FLIGHT = gauge("smtpgw_api_requests_in_flight", "Calls to Cakemail's API in progress", "livesum")
API_WAITING = gauge("smtpgw_api_requests_waiting", "Calls to Cakemail's API that wait for a connection", "livesum")
API_WAIT_SECONDS = histogram(
    "smtpgw_api_wait_seconds", "Time that calls to Cakemail's API waited for a connection, if they had to", SECONDS
)
BREAKER_OPEN = gauge(
    "smtpgw_breaker_open", "Workers that reject new messages because Cakemail's API keeps failing", "livesum"
)
CACHE = counter(
    "smtpgw_cache_lookups_total",
    "Cache lookups of logins, senders and lists, by result",
    cache=("login", "directory", "refused_login"),
    result=("hit", "miss"),
)

# --- The process

INTERNAL_ERRORS = counter("smtpgw_internal_errors_total", "Unexpected exceptions, which are bugs of the gateway")
LOG_LINES_DROPPED = counter(
    "smtpgw_log_lines_dropped_total", "Log lines dropped because the reader of standard output was too slow"
)
WORKERS = gauge("smtpgw_workers", "Worker processes", "livesum")
DRAINING = gauge("smtpgw_draining", "Workers that accept no new sessions and finish the open ones", "livesum")
LOOP_LAG = histogram("smtpgw_loop_lag_seconds", "Delay of the event loop", SHORT_SECONDS)
BUILD = gauge("smtpgw_build_info", "Version of the gateway", "livemax", version=(__version__,))

# Created by prometheus-flask-exporter for the requests to the port of the probes.
HTTP_LABELS = {"method": frozenset({"GET", "HEAD"}), "status": frozenset({"200", "404", "500", "503"})}
CATALOG += [
    Described(
        "smtpgw_http_request_duration_seconds",
        "histogram",
        {**HTTP_LABELS, "endpoint": frozenset({"live", "ready", "prometheus_metrics", "None"})},
        "Duration of requests to the port of the probes",
    ),
    Described("smtpgw_http_request_total", "counter", HTTP_LABELS, "Requests to the port of the probes, by status"),
    Described(
        "smtpgw_http_request_exceptions_total",
        "counter",
        HTTP_LABELS,
        "Requests to the port of the probes that raised an exception",
    ),
]

SAMPLED: dict[Gauge, Callable[[], float]] = {}  # gauges whose value is read at each flush


def status_label(code: int) -> str:
    """Return an HTTP status as the value of a label."""
    return str(code) if str(code) in STATUSES else f"{code // 100}xx"


def flush() -> None:
    """Publish the buffered values. Runs twice a second, before each scrape and at the end of the process."""
    for metric in BUFFERED:
        metric.flush()
    for share in SHARES:
        share.flush()
    for sampled, read in SAMPLED.items():
        sampled.set(read())
    LOG_LINES_DROPPED.inc(logs.LOG.writer.newly_dropped())


BUFFERED = [metric for metric in vars().values() if isinstance(metric, (Counter, Histogram))]
