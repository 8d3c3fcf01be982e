"""Every metric, its labels and the values they may have.

Label values come from fixed sets: nothing that a client sends becomes one. Imported by a worker after the fork,
since prometheus_client chooses between one process and several (`PROMETHEUS_MULTIPROC_DIR`) when it is imported.
"""

from prometheus_client import Counter, Gauge, Histogram

# The objectives are 100 ms on top of the API's own time, and 2 s for the whole: buckets are dense around both.
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 1.5, 2.0, 5.0, 10.0, 25.0)
OCTETS = tuple(1024 * 4**n for n in range(8))  # 1 KiB to 16 MiB

SESSIONS_ACTIVE = Gauge("smtpgw_sessions_active", "Open SMTP sessions", multiprocess_mode="livesum")
SESSIONS_OPENED = Counter("smtpgw_sessions_opened_total", "SMTP sessions opened, by listener", ["listener"])
SESSIONS_CLOSED = Counter("smtpgw_sessions_closed_total", "SMTP sessions closed, by reason", ["reason"])
COMMANDS = Counter("smtpgw_commands_total", "SMTP commands answered, by verb and reply code", ["verb", "code"])
TLS_HANDSHAKES = Counter("smtpgw_tls_handshakes_total", "TLS handshakes, by version or failed", ["version"])
CERTIFICATE_EXPIRY = Gauge(
    "smtpgw_certificate_expiry_timestamp_seconds", "When the served certificate expires", multiprocess_mode="livemin"
)
CERTIFICATE_RELOADS = Counter("smtpgw_certificate_reloads_total", "Certificate reloads, by result", ["result"])
AUTH = Counter("smtpgw_auth_total", "Logins, by result", ["result"])
LIMITS = Counter("smtpgw_limits_hit_total", "Limits hit, by name", ["limit"])
MESSAGES = Counter("smtpgw_messages_total", "Messages answered, by result", ["result"])
RECIPIENTS = Counter("smtpgw_recipients_total", "Recipients of messages answered, by result", ["result"])
NOTICES = Counter("smtpgw_notices_total", "Non-delivery notices to senders, by result", ["result"])
MESSAGE_BYTES = Histogram("smtpgw_message_size_bytes", "Size of messages received", buckets=OCTETS)
MESSAGE_SECONDS = Histogram("smtpgw_message_duration_seconds", "From the end of data to the reply", buckets=SECONDS)
API_SECONDS = Histogram(
    "smtpgw_api_request_duration_seconds", "Calls to Cakemail's API", ["endpoint", "status"], buckets=SECONDS
)
API_IN_FLIGHT = Gauge("smtpgw_api_requests_in_flight", "Calls to Cakemail's API under way", multiprocess_mode="livesum")
CACHE = Counter("smtpgw_cache_lookups_total", "Look-ups of logins, senders and lists", ["cache", "result"])
DIALECTS = Counter(
    "smtpgw_dialect_headers_total", "Control headers found, by dialect and verdict", ["dialect", "verdict"]
)
INTERNAL_ERRORS = Counter("smtpgw_internal_errors_total", "Our own bugs, answered 451 4.3.0")
DRAINING = Gauge("smtpgw_draining", "Workers that finish and take no more sessions", multiprocess_mode="livesum")
LOOP_LAG = Histogram("smtpgw_loop_lag_seconds", "How late greenlets run", buckets=SECONDS)
BUILD = Gauge("smtpgw_build_info", "The version that runs", ["version"], multiprocess_mode="livemax")
