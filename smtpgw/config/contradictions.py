"""Check of combinations: settings that are valid alone but contradict each other."""

from collections.abc import Mapping
from typing import Protocol

from smtpgw.config.parsers import Bind, Network


class Combination(Protocol):
    """The settings that are compared with each other."""

    @property
    def api_retry_seconds(self) -> float: ...

    @property
    def api_timeout_seconds(self) -> float: ...

    @property
    def binds(self) -> Mapping[str, Bind]: ...

    @property
    def drain_timeout_seconds(self) -> float: ...

    @property
    def log_addresses(self) -> str: ...

    @property
    def log_hash_key(self) -> str: ...

    @property
    def max_bytes_in_flight(self) -> int: ...

    @property
    def max_message_bytes(self) -> int: ...

    @property
    def max_request_bytes(self) -> int: ...

    @property
    def proxy_cidrs(self) -> tuple[Network, ...]: ...

    @property
    def proxy_protocol(self) -> bool: ...

    @property
    def submit_timeout_seconds(self) -> float: ...


def contradictions(settings: Combination) -> list[str]:
    """Return one line for each contradiction between settings."""
    found = []
    if len({b.port for b in settings.binds.values()}) < len(settings.binds):
        names = ", ".join(f"SMTPGW_{listener.upper()}_BIND" for listener in settings.binds)
        found.append(f"{names}: must have different ports")
    if settings.max_bytes_in_flight < settings.max_message_bytes:
        found.append("SMTPGW_MAX_BYTES_IN_FLIGHT: must be at least SMTPGW_MAX_MESSAGE_BYTES")
    if settings.max_bytes_in_flight < settings.max_request_bytes:
        found.append("SMTPGW_MAX_BYTES_IN_FLIGHT: must be at least SMTPGW_MAX_REQUEST_BYTES")
    # A submission that is cut after its POST would be sent again by the client and arrive twice.
    if max(settings.api_timeout_seconds, settings.api_retry_seconds) > settings.submit_timeout_seconds:
        names = "SMTPGW_API_TIMEOUT_SECONDS and SMTPGW_API_RETRY_SECONDS"
        found.append(f"SMTPGW_SUBMIT_TIMEOUT_SECONDS: must be no less than {names}")
    if settings.drain_timeout_seconds <= settings.submit_timeout_seconds:
        found.append("SMTPGW_DRAIN_TIMEOUT_SECONDS: must be more than SMTPGW_SUBMIT_TIMEOUT_SECONDS")
    if settings.proxy_protocol and (not settings.proxy_cidrs or any(n.prefixlen == 0 for n in settings.proxy_cidrs)):
        # A client that may send the header can claim any address.
        found.append("SMTPGW_PROXY_CIDRS: must name the load balancer's networks, and not everybody's")
    if settings.log_addresses == "hashed" and not settings.log_hash_key:
        found.append("SMTPGW_LOG_HASH_KEY: must be set, since SMTPGW_LOG_ADDRESSES is hashed")
    return found
