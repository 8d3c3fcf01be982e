"""The environment variables of the gateway: name, type, default and meaning.

`Settings.from_environ` checks all of them before anything starts and reports every mistake at once. It uses the
standard library alone: gunicorn's master imports this module before gevent patches anything, and settings libraries
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
    """What the gateway has been told. Passed to whatever needs it; never changed."""

    api_url: str = setting(
        "CAKEMAIL_API_URL", "https://api.cakemail.dev", api_url, "Cakemail's API; `http://` only on loopback"
    )
    smtp_bind: Bind = setting("SMTPGW_SMTP_BIND", "0.0.0.0:2587", bind, "SMTP with STARTTLS")
    smtps_bind: Bind | None = setting(
        "SMTPGW_SMTPS_BIND", "", optional_bind, "SMTP with TLS from the first byte; none when empty"
    )
    internal_bind: Bind | None = setting(
        "SMTPGW_INTERNAL_BIND",
        "",
        optional_bind,
        "SMTP with STARTTLS for those who do not come by the load balancer: no PROXY protocol; none when empty",
    )
    http_bind: Bind = setting("SMTPGW_HTTP_BIND", "0.0.0.0:8080", bind, "probes and metrics; keep it private")
    proxy_protocol: bool = setting("SMTPGW_PROXY_PROTOCOL", "off", switch, "the load balancer names each client")
    proxy_cidrs: tuple[Network, ...] = setting(
        "SMTPGW_PROXY_CIDRS", "", networks, "the load balancer's networks; then nobody else is let in"
    )
    tls_cert: str = setting("SMTPGW_TLS_CERT", "", readable_file, "the certificate and its chain, PEM; required")
    tls_key: str = setting("SMTPGW_TLS_KEY", "", readable_file, "the key of the certificate, PEM; required")
    tls_check_seconds: float = setting(
        "SMTPGW_TLS_CHECK_SECONDS", "30", seconds(0.1, 3600), "look whether the files of the certificate have changed"
    )
    hostname: str = setting(
        "SMTPGW_HOSTNAME", socket.gethostname(), hostname, "our name in the greeting; the name clients connect to"
    )
    workers: int = setting("SMTPGW_WORKERS", "1", whole(1, 64), "processes; one a core, on Kubernetes one a pod")

    max_sessions: int = setting(
        "SMTPGW_MAX_SESSIONS", "4000", whole(1, 100_000), "sessions a worker; above it 421 4.3.2"
    )
    max_sessions_per_address: int = setting(
        "SMTPGW_MAX_SESSIONS_PER_ADDRESS", "500", whole(1, 100_000), "those of a client (IPv6: /64); above it 421 4.7.0"
    )
    trusted_cidrs: tuple[Network, ...] = setting(
        "SMTPGW_TRUSTED_CIDRS", "", networks, "clients that no limit or throttle by address applies to"
    )
    max_command_bytes: int = setting(
        "SMTPGW_MAX_COMMAND_BYTES", "12288", whole(512, 65_536), "a command line; above it 500 5.5.2"
    )
    max_message_bytes: int = setting(
        "SMTPGW_MAX_MESSAGE_BYTES", "26214400", whole(1024, 100 * MIB), "a message, as SIZE says; above it 552 5.3.4"
    )
    max_request_bytes: int = setting(
        "SMTPGW_MAX_REQUEST_BYTES",
        "0",
        whole(0, 400 * MIB),
        "a message as the JSON for one recipient, and its text in memory; above it 552 5.3.4; 0: twice a message",
    )
    max_recipients: int = setting(
        "SMTPGW_MAX_RECIPIENTS", "1000", whole(1, 1000), "recipients a message; above it 452 4.5.3"
    )
    max_errors: int = setting("SMTPGW_MAX_ERRORS", "10", whole(1, 1000), "mistakes a session; above it 421 4.7.0")
    max_auth_failures: int = setting(
        "SMTPGW_MAX_AUTH_FAILURES", "3", whole(1, 100), "failed logins a session; at that many 421 4.7.0"
    )
    max_commands_before_login: int = setting(
        "SMTPGW_MAX_COMMANDS_BEFORE_LOGIN", "50", whole(10, 10_000), "commands of a session without login; then 421"
    )
    throttle_failures: int = setting(
        "SMTPGW_THROTTLE_FAILURES",
        "20",
        whole(1, 10_000),
        "failed logins a client (IPv6: /64); after them its logins are checked one by one, others 454 4.7.0",
    )
    throttle_seconds: int = setting("SMTPGW_THROTTLE_SECONDS", "900", whole(1, 86_400), "the time in which they count")
    throttle_delay_seconds: float = setting(
        "SMTPGW_THROTTLE_DELAY_SECONDS", "5", seconds(0, 30), "the longest wait for the answer to a failed login"
    )
    throttle_storage: str = setting(
        "SMTPGW_THROTTLE_STORAGE",
        "memory://",
        storage_url,
        "where they are counted: `memory://` in each worker, `redis://` or `rediss://` for all of them",
        secret=True,
    )
    max_bytes_in_flight: int = setting(
        "SMTPGW_MAX_BYTES_IN_FLIGHT",
        str(128 * MIB),
        whole(1024, 64 * 1024 * MIB),
        "octets of messages a worker holds, a client or account at most twice what it leaves free; above it 452 4.3.1",
    )
    idle_timeout_seconds: float = setting(
        "SMTPGW_IDLE_TIMEOUT_SECONDS", "300", seconds(1, 86_400), "wait for a command; after it 421 4.4.2"
    )
    login_idle_timeout_seconds: float = setting(
        "SMTPGW_LOGIN_IDLE_TIMEOUT_SECONDS", "30", seconds(1, 86_400), "the same before login, where it is shorter"
    )
    login_timeout_seconds: float = setting(
        "SMTPGW_LOGIN_TIMEOUT_SECONDS", "120", seconds(1, 86_400), "a session without login; after it 421 4.4.2"
    )
    data_timeout_seconds: float = setting(
        "SMTPGW_DATA_TIMEOUT_SECONDS",
        "180",
        seconds(1, 3600),
        "how far message data may fall behind the least rate, and so the longest that it may stop; after it 421 4.4.2",
    )
    data_min_bytes_per_second: int = setting(
        "SMTPGW_DATA_MIN_BYTES_PER_SECOND", "1000", whole(1, 10 * MIB), "the least rate of message data, at all times"
    )
    handshake_timeout_seconds: float = setting(
        "SMTPGW_HANDSHAKE_TIMEOUT_SECONDS", "10", seconds(0.1, 300), "a TLS handshake; after it the connection ends"
    )
    session_timeout_seconds: float = setting(
        "SMTPGW_SESSION_TIMEOUT_SECONDS",
        "14400",
        seconds(1, 86_400 * 7),
        "a session in all; after it 421 4.4.2 between two messages",
    )

    api_connections: int = setting(
        "SMTPGW_API_CONNECTIONS", "256", whole(1, 10_000), "calls to the API at a time, a worker"
    )
    api_wait_seconds: float = setting(
        "SMTPGW_API_WAIT_SECONDS", "5", seconds(0.1, 60), "wait for one of these; after it 451 4.4.5"
    )
    api_connect_timeout_seconds: float = setting(
        "SMTPGW_API_CONNECT_TIMEOUT_SECONDS", "3", seconds(0.1, 60), "connecting to the API"
    )
    api_idle_timeout_seconds: float = setting(
        "SMTPGW_API_IDLE_TIMEOUT_SECONDS", "55", seconds(0, 3600), "a connection to the API waiting for its next call"
    )
    api_timeout_seconds: float = setting(
        "SMTPGW_API_TIMEOUT_SECONDS", "20", seconds(0.1, 300), "one call to the API, from request to answer"
    )
    api_retry_seconds: float = setting(
        "SMTPGW_API_RETRY_SECONDS", "5", seconds(0, 60), "trying again what the API surely did not accept"
    )
    submit_timeout_seconds: float = setting(
        "SMTPGW_SUBMIT_TIMEOUT_SECONDS",
        "25",
        seconds(1, 300),
        "one message, to all its recipients; many clients give up after 30",
    )
    breaker_failures: int = setting(
        "SMTPGW_BREAKER_FAILURES", "10", whole(1, 10**6), "API calls failed in a row: MAIL is answered 451 4.4.1"
    )
    breaker_seconds: float = setting(
        "SMTPGW_BREAKER_SECONDS", "15", seconds(0, 3600), "the least time that they failed for, before it is"
    )
    recipients_in_parallel: int = setting(
        "SMTPGW_RECIPIENTS_IN_PARALLEL", "10", whole(1, 100), "calls to the API at a time, a message"
    )
    drain_timeout_seconds: float = setting(
        "SMTPGW_DRAIN_TIMEOUT_SECONDS", "100", seconds(2, 3600), "finishing what is under way before the process ends"
    )

    default_type: str = setting(
        "SMTPGW_DEFAULT_TYPE",
        "transactional",
        one_of("transactional", "marketing"),
        "of a message that does not say which it is",
    )
    bulk_headers: tuple[str, ...] = setting(
        "SMTPGW_BULK_HEADERS",
        "list-unsubscribe",
        header_names,
        "headers that make a message marketing, unless it says its type or has `Auto-Submitted`; `precedence` counts"
        " as bulk, list or junk; empty or `none`: no header does",
        can_be_empty=True,
    )
    inline_images: str = setting(
        "SMTPGW_INLINE_IMAGES",
        "embed",
        one_of("embed", "refuse"),
        "`embed` rewrites `cid:` images as `data:` addresses, `refuse` answers 554 5.6.1",
    )
    notices: str = setting(
        "SMTPGW_NOTICES",
        "on",
        one_of("on", "senders", "off"),
        "mail MAIL FROM a list of the refused recipients of a message that others got: `on` where it is the address of"
        " a confirmed sender or in the domain of one, `senders` only where it is such an address",
    )
    mappings_file: str = setting(
        "SMTPGW_MAPPINGS_FILE",
        "",
        optional_file,
        "YAML: what template ids, groups and sub-accounts of other providers are in Cakemail; none when empty",
    )
    log_level: str = setting(
        "SMTPGW_LOG_LEVEL", "info", one_of("debug", "info", "warning", "error"), "the least that is logged"
    )
    log_format: str = setting("SMTPGW_LOG_FORMAT", "json", one_of("json", "console"), "`console` is for people")
    log_addresses: str = setting(
        "SMTPGW_LOG_ADDRESSES",
        "masked",
        one_of("masked", "full", "hashed"),
        "mail addresses in logs: `j***@example.com`, whole, or a digest that can be searched for",
    )
    log_hash_key: str = setting(
        "SMTPGW_LOG_HASH_KEY",
        "",
        key,
        "the key of these digests, 16 characters at least; the same in every pod",
        secret=True,
    )
    tracing_url: str = setting(
        "SMTPGW_TRACING_URL",
        "",
        optional_url,
        "OpenTelemetry collector that takes OTLP over HTTP, such as `http://collector:4318`; no tracing when empty",
    )
    tracing_ratio: float = setting(
        "SMTPGW_TRACING_RATIO", "0.01", ratio, "the share of messages that are traced, from 0 to 1"
    )

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] = os.environ) -> "Settings":
        """Read and check every variable.

        Raises:
            SettingsError: with all the mistakes there are.
        """
        values, mistakes = {}, []
        for field in dataclasses.fields(cls):
            name, default, read = (field.metadata[key] for key in ("name", "default", "read"))
            text = environ.get(name, default).strip() or ("" if field.metadata["can_be_empty"] else default)
            try:
                values[field.name] = read(text)
            except ValueError as wanted:
                given = name if field.metadata["secret"] else f"{name}={text!r}"
                mistakes.append(f"{given}: must be {wanted}" if text else f"{name} is not set: {wanted}")
        if mistakes:
            raise SettingsError(mistakes)
        settings = cls(**values)
        mistakes = contradictions(settings)
        if mistakes:
            raise SettingsError(mistakes)
        return settings

    @property
    def binds(self) -> dict[str, Bind]:
        """The listeners there are, by name: smtp, smtps, internal, http. No two have the same port."""
        every = {"smtp": self.smtp_bind, "smtps": self.smtps_bind, "internal": self.internal_bind}
        return {name: bound for name, bound in {**every, "http": self.http_bind}.items() if bound}

    @property
    def request_limit_bytes(self) -> int:  # never more than a worker may hold
        return self.max_request_bytes or min(2 * self.max_message_bytes, self.max_bytes_in_flight)

    @property
    def graceful_timeout_seconds(self) -> int:
        """How long gunicorn lets a worker finish: later than any drain, so that its SIGKILL cuts no submission."""
        return int(self.drain_timeout_seconds) + 10

    def described(self) -> list[tuple[str, str, str, str]]:
        """Name, value, default and meaning of each setting, for people; of a secret one only whether it is set."""
        described = []
        for field in dataclasses.fields(self):
            value = as_text(getattr(self, field.name))
            shown = "(secret)" if value and field.metadata["secret"] else value
            described.append((field.metadata["name"], shown, field.metadata["default"], field.metadata["meaning"]))
        return described
