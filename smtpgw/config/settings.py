"""The environment variables of the gateway: name, type, default and meaning.

`Settings.from_environ` checks all of them before anything starts and reports every mistake at once. The module uses
only the standard library: gunicorn's master imports it before gevent patches anything, and libraries for settings
import asyncio and threading.
"""

import dataclasses
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from smtpgw.config.contradictions import contradictions
from smtpgw.config.parsers import (
    MIB,
    Bind,
    Network,
    SettingsError,
    api_url,
    as_text,
    bind,
    header_names,
    hostname,
    key,
    networks,
    one_of,
    optional_bind,
    optional_file,
    optional_url,
    parse_fields,
    ratio,
    readable_file,
    seconds,
    setting,
    storage_url,
    switch,
    whole,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The configuration of the gateway. Immutable; passed to every part that needs it."""

    api_url: str = setting(
        "CAKEMAIL_API_URL", "https://api.cakemail.dev", api_url, "address of Cakemail's API; `http://` only on loopback"
    )
    smtp_bind: Bind = setting("SMTPGW_SMTP_BIND", "0.0.0.0:2587", bind, "SMTP with STARTTLS")
    smtps_bind: Bind | None = setting(
        "SMTPGW_SMTPS_BIND", "", optional_bind, "SMTP with TLS from the first byte; none when empty"
    )
    internal_bind: Bind | None = setting(
        "SMTPGW_INTERNAL_BIND",
        "",
        optional_bind,
        "SMTP with STARTTLS for clients that bypass the load balancer, without PROXY protocol; none when empty",
    )
    http_bind: Bind = setting("SMTPGW_HTTP_BIND", "0.0.0.0:8080", bind, "probes and metrics; keep it private")
    proxy_protocol: bool = setting("SMTPGW_PROXY_PROTOCOL", "off", switch, "the load balancer sends client addresses")
    proxy_cidrs: tuple[Network, ...] = setting(
        "SMTPGW_PROXY_CIDRS", "", networks, "the load balancer's networks; other connections are rejected"
    )
    tls_cert: str = setting("SMTPGW_TLS_CERT", "", readable_file, "certificate chain file, PEM; required")
    tls_key: str = setting("SMTPGW_TLS_KEY", "", readable_file, "private key file, PEM; required")
    tls_check_seconds: float = setting(
        "SMTPGW_TLS_CHECK_SECONDS", "30", seconds(0.1, 3600), "interval between checks for a new certificate"
    )
    hostname: str = setting(
        "SMTPGW_HOSTNAME", socket.gethostname(), hostname, "name in the greeting; the name that clients connect to"
    )
    workers: int = setting("SMTPGW_WORKERS", "1", whole(1, 64), "processes; one per core, on Kubernetes one a pod")

    max_sessions: int = setting(
        "SMTPGW_MAX_SESSIONS", "4000", whole(1, 100_000), "sessions per worker; above it 421 4.3.2"
    )
    max_sessions_per_address: int = setting(
        "SMTPGW_MAX_SESSIONS_PER_ADDRESS", "500", whole(1, 100_000), "sessions per client (IPv6 /64); over it 421 4.7.0"
    )
    trusted_cidrs: tuple[Network, ...] = setting(
        "SMTPGW_TRUSTED_CIDRS", "", networks, "clients that are exempt from limits by address"
    )
    max_command_bytes: int = setting(
        "SMTPGW_MAX_COMMAND_BYTES", "12288", whole(512, 65_536), "length of a command line; above it 500 5.5.2"
    )
    max_message_bytes: int = setting(
        "SMTPGW_MAX_MESSAGE_BYTES", "26214400", whole(1024, 100 * MIB), "message size, sent as SIZE; above it 552 5.3.4"
    )
    max_request_bytes: int = setting(
        "SMTPGW_MAX_REQUEST_BYTES",
        "0",
        whole(0, 400 * MIB),
        "message as JSON for one recipient, and its decoded text; above it 552 5.3.4; 0: twice a message",
    )
    max_recipients: int = setting(
        "SMTPGW_MAX_RECIPIENTS", "1000", whole(1, 1000), "recipients per message; above it 452 4.5.3"
    )
    max_errors: int = setting("SMTPGW_MAX_ERRORS", "10", whole(1, 1000), "errors per session; above it 421 4.7.0")
    max_auth_failures: int = setting(
        "SMTPGW_MAX_AUTH_FAILURES", "3", whole(1, 100), "failed logins that end a session with 421 4.7.0"
    )
    max_commands_before_login: int = setting(
        "SMTPGW_MAX_COMMANDS_BEFORE_LOGIN", "50", whole(10, 10_000), "commands before login; above it 421 4.7.0"
    )
    throttle_failures: int = setting(
        "SMTPGW_THROTTLE_FAILURES",
        "20",
        whole(1, 10_000),
        "failed logins of a client (IPv6: /64), after which its logins are checked one at a time, others get 454 4.7.0",
    )
    throttle_seconds: int = setting("SMTPGW_THROTTLE_SECONDS", "900", whole(1, 86_400), "counting period for failures")
    throttle_delay_seconds: float = setting(
        "SMTPGW_THROTTLE_DELAY_SECONDS", "5", seconds(0, 30), "maximum delay of the reply to a failed login"
    )
    throttle_storage: str = setting(
        "SMTPGW_THROTTLE_STORAGE",
        "memory://",
        storage_url,
        "where failed logins are counted: `memory://` for each worker alone, `redis://` or `rediss://` for all workers",
        secret=True,
    )
    max_bytes_in_flight: int = setting(
        "SMTPGW_MAX_BYTES_IN_FLIGHT",
        str(128 * MIB),
        whole(1024, 64 * 1024 * MIB),
        "octets of messages per worker, per client or account at most twice what is free; above it 452 4.3.1",
    )
    idle_timeout_seconds: float = setting(
        "SMTPGW_IDLE_TIMEOUT_SECONDS", "300", seconds(1, 86_400), "maximum wait for a command; after it 421 4.4.2"
    )
    login_idle_timeout_seconds: float = setting(
        "SMTPGW_LOGIN_IDLE_TIMEOUT_SECONDS", "30", seconds(1, 86_400), "maximum wait before login, if it is shorter"
    )
    login_timeout_seconds: float = setting(
        "SMTPGW_LOGIN_TIMEOUT_SECONDS", "120", seconds(1, 86_400), "maximum time until login; after it 421 4.4.2"
    )
    data_timeout_seconds: float = setting(
        "SMTPGW_DATA_TIMEOUT_SECONDS",
        "180",
        seconds(1, 3600),
        "how far message data may fall behind its minimum rate, and so its longest pause; after it 421 4.4.2",
    )
    data_min_bytes_per_second: int = setting(
        "SMTPGW_DATA_MIN_BYTES_PER_SECOND", "1000", whole(1, 10 * MIB), "minimum rate of message data"
    )
    handshake_timeout_seconds: float = setting(
        "SMTPGW_HANDSHAKE_TIMEOUT_SECONDS", "10", seconds(0.1, 300), "TLS handshake; then the connection is closed"
    )
    session_timeout_seconds: float = setting(
        "SMTPGW_SESSION_TIMEOUT_SECONDS",
        "14400",
        seconds(1, 86_400 * 7),
        "maximum length of a session; after it 421 4.4.2 between two messages",
    )

    api_connections: int = setting(
        "SMTPGW_API_CONNECTIONS", "256", whole(1, 10_000), "maximum concurrent API calls of a worker; an account: 3/4"
    )
    api_wait_seconds: float = setting(
        "SMTPGW_API_WAIT_SECONDS", "5", seconds(0.1, 60), "maximum wait for a free API connection; after it 451 4.4.5"
    )
    api_connect_timeout_seconds: float = setting(
        "SMTPGW_API_CONNECT_TIMEOUT_SECONDS", "3", seconds(0.1, 60), "maximum time to connect to the API"
    )
    api_idle_timeout_seconds: float = setting(
        "SMTPGW_API_IDLE_TIMEOUT_SECONDS", "55", seconds(0, 3600), "maximum idle time of an API connection"
    )
    api_timeout_seconds: float = setting(
        "SMTPGW_API_TIMEOUT_SECONDS", "20", seconds(0.1, 300), "maximum time of one API call, from request to answer"
    )
    api_retry_seconds: float = setting(
        "SMTPGW_API_RETRY_SECONDS", "5", seconds(0, 60), "how long to retry calls that certainly failed"
    )
    submit_timeout_seconds: float = setting(
        "SMTPGW_SUBMIT_TIMEOUT_SECONDS",
        "25",
        seconds(1, 300),
        "maximum time to submit a message to all its recipients; many clients give up after 30 seconds",
    )
    breaker_failures: int = setting(
        "SMTPGW_BREAKER_FAILURES", "10", whole(1, 10**6), "failed API calls in a row after which MAIL gets 451 4.4.1"
    )
    breaker_seconds: float = setting(
        "SMTPGW_BREAKER_SECONDS", "15", seconds(0, 3600), "minimum time over which these calls failed"
    )
    recipients_in_parallel: int = setting(
        "SMTPGW_RECIPIENTS_IN_PARALLEL", "10", whole(1, 100), "maximum concurrent API calls of a message"
    )
    drain_timeout_seconds: float = setting(
        "SMTPGW_DRAIN_TIMEOUT_SECONDS", "100", seconds(2, 3600), "time to finish open sessions before the process ends"
    )

    default_type: str = setting(
        "SMTPGW_DEFAULT_TYPE",
        "transactional",
        one_of("transactional", "marketing"),
        "type of a message that does not specify one",
    )
    bulk_headers: tuple[str, ...] = setting(
        "SMTPGW_BULK_HEADERS",
        "list-unsubscribe",
        header_names,
        "headers that make a message marketing, unless it specifies its type or has `Auto-Submitted`; `precedence`"
        " only with the value bulk, list or junk; empty or `none`: no header",
        can_be_empty=True,
    )
    inline_images: str = setting(
        "SMTPGW_INLINE_IMAGES",
        "embed",
        one_of("embed", "refuse"),
        "`embed` rewrites `cid:` images as `data:` addresses, `refuse` rejects the message with 554 5.6.1",
    )
    notices: str = setting(
        "SMTPGW_NOTICES",
        "on",
        one_of("on", "senders", "off"),
        "non-delivery notices to MAIL FROM when a message was accepted for only some recipients: `on` if it is the"
        " address of a confirmed sender or in the domain of one, `senders` only if it is such an address",
    )
    mappings_file: str = setting(
        "SMTPGW_MAPPINGS_FILE",
        "",
        optional_file,
        "YAML file that maps template ids, groups and sub-accounts of other providers to Cakemail; none when empty",
    )
    log_level: str = setting(
        "SMTPGW_LOG_LEVEL", "info", one_of("debug", "info", "warning", "error"), "minimum log level"
    )
    log_format: str = setting("SMTPGW_LOG_FORMAT", "json", one_of("json", "console"), "`console` is for people")
    log_addresses: str = setting(
        "SMTPGW_LOG_ADDRESSES",
        "masked",
        one_of("masked", "full", "hashed"),
        "mail addresses in logs: `masked` as `j***@example.com`, in `full`, or `hashed`, which can be searched for",
    )
    log_hash_key: str = setting(
        "SMTPGW_LOG_HASH_KEY",
        "",
        key,
        "key for hashed addresses, at least 16 characters; the same in every pod",
        secret=True,
    )
    tracing_url: str = setting(
        "SMTPGW_TRACING_URL",
        "",
        optional_url,
        "OpenTelemetry collector for OTLP over HTTP, such as `http://collector:4318`; no tracing when empty",
    )
    tracing_ratio: float = setting(
        "SMTPGW_TRACING_RATIO", "0.01", ratio, "share of messages that are traced, from 0 to 1"
    )

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] = os.environ) -> "Settings":
        """Parse and check all variables.

        Raises:
            SettingsError: with all mistakes.
        """
        settings = cls(**parse_fields(dataclasses.fields(cls), environ))
        mistakes = contradictions(settings)
        if mistakes:
            raise SettingsError(mistakes)
        return settings

    @property
    def binds(self) -> dict[str, Bind]:
        """The configured listeners by name: smtp, smtps, internal, http."""
        listeners = {"smtp": self.smtp_bind, "smtps": self.smtps_bind, "internal": self.internal_bind}
        return {name: bound for name, bound in {**listeners, "http": self.http_bind}.items() if bound}

    @property
    def request_limit_bytes(self) -> int:
        """The value of SMTPGW_MAX_REQUEST_BYTES or, when it is 0, its default, which a worker can always hold."""
        return self.max_request_bytes or min(2 * self.max_message_bytes, self.max_bytes_in_flight)

    @property
    def graceful_timeout_seconds(self) -> int:
        """The time after which gunicorn kills a worker: longer than a drain, so that it never cuts a submission."""
        return int(self.drain_timeout_seconds) + 10

    def described(self) -> list[tuple[str, str, str, str]]:
        """Return name, value, default and meaning of each setting. The value of a secret one is not shown."""
        described = []
        for field in dataclasses.fields(self):
            value = as_text(getattr(self, field.name))
            shown = "(secret)" if value and field.metadata["secret"] else value
            described.append((field.metadata["name"], shown, field.metadata["default"], field.metadata["meaning"]))
        return described
