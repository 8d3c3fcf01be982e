"""Report unexpected exceptions, which are bugs of the gateway: a counter, and the traceback in the log."""

from contextlib import suppress

from smtpgw.telemetry import logs, metrics


def log_exception(**fields: object) -> None:
    """Count and log the exception that is being handled.

    Raises nothing, even when the log or the counter itself is broken: the failure of a report must not change the
    reply to the client.
    """
    with suppress(Exception):
        metrics.INTERNAL_ERRORS.inc()
    with suppress(Exception):
        logs.error(**fields, trace=True)
