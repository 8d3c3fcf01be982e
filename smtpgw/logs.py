"""Log lines, as JSON on standard output: the vocabulary of events, and what never gets into them.

Events are `session`, `auth`, `message`, `limit`, `tls`, `lifecycle` and `error`. A password, a token or a message's
content is never given to these functions. Mail addresses go through `address`, which masks them unless the operator
asks for whole ones. Imported by gunicorn's master too: nothing heavy here.
"""

import logging
import logging.config
import time
from typing import Any

from pythonjsonlogger.orjson import OrjsonFormatter

LOGGER = logging.getLogger("smtpgw")


class ConsoleFormatter(logging.Formatter):
    """One short line an event, for a person at a terminal."""

    KNOWN = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}

    def format(self, record: logging.LogRecord) -> str:
        fields = " ".join(f"{k}={v}" for k, v in record.__dict__.items() if k not in self.KNOWN and v not in ("", None))
        line = f"{time.strftime('%H:%M:%S', time.localtime(record.created))} {record.getMessage():<9} {fields}"
        return line + (f"\n{self.formatException(record.exc_info)}" if record.exc_info else "")


def json_formatter() -> logging.Formatter:
    return OrjsonFormatter(
        "%(levelname)s %(name)s %(message)s",
        rename_fields={"levelname": "level", "name": "logger", "message": "event"},
        timestamp="time",
    )


def configuration(level: str, style: str) -> dict[str, Any]:
    """The `logging.config` dictionary for this process: our events and the libraries' lines on one stream."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": json_formatter}, "console": {"()": ConsoleFormatter}},
        "handlers": {"out": {"class": "logging.StreamHandler", "formatter": style, "stream": "ext://sys.stdout"}},
        "root": {"level": "WARNING", "handlers": ["out"]},
        "loggers": {
            "smtpgw": {"level": level.upper()},
            "gunicorn.error": {"level": level.upper(), "handlers": [], "propagate": True},
            # urllib3 tells every retry and full pool at this level; ours are in the metrics.
            "urllib3": {"level": "ERROR"},
        },
    }


class Addresses:
    """How mail addresses are written to the log; set once when a process starts."""

    whole = False


def configure(level: str, style: str, addresses: str) -> None:
    logging.config.dictConfig(configuration(level, style))
    Addresses.whole = addresses == "full"


def address(mailbox: str) -> str:
    """A mail address as the log has it: `j***@example.com`, or whole."""
    if Addresses.whole or not mailbox:
        return mailbox
    local, at, domain = mailbox.rpartition("@")
    return f"{local[:1]}***{at}{domain}" if at else f"{mailbox[:1]}***"


def session(**fields: object) -> None:
    """The end of a session: who, how long, what it did, why it ended."""
    LOGGER.info("session", extra=fields)


def auth(**fields: object) -> None:
    """A login, done or refused."""
    LOGGER.info("auth", extra=fields)


def message(**fields: object) -> None:
    """A message's whole story: one line each."""
    LOGGER.info("message", extra=fields)


def limit(**fields: object) -> None:
    """Somebody ran into a limit."""
    LOGGER.warning("limit", extra=fields)


def tls(*, failed: bool = False, **fields: object) -> None:
    """Handshakes that failed, and the certificate."""
    LOGGER.log(logging.WARNING if failed else logging.INFO, "tls", extra=fields)


def lifecycle(**fields: object) -> None:
    """Starting, draining, ending."""
    LOGGER.info("lifecycle", extra=fields)


def error(*, trace: bool = False, **fields: object) -> None:
    """Something that an operator should look at; with the traceback of the exception being handled."""
    LOGGER.error("error", extra=fields, exc_info=trace)


def debug(event: str, **fields: object) -> None:
    """Detail for a developer."""
    LOGGER.debug(event, extra=fields)
