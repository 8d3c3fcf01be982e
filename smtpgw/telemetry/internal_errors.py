"""What is told of our own bugs: the counter, and the traceback in the log."""

from contextlib import suppress

from smtpgw.telemetry import logs, metrics


def told(**fields: object) -> None:
    """Count and log the exception that is being handled.

    Raises nothing: it may be the log or a counter that is broken, and a client must not hear that its message failed
    because of it.
    """
    with suppress(Exception):
        metrics.INTERNAL_ERRORS.inc()
    with suppress(Exception):
        logs.error(**fields, trace=True)
