"""Log lines, as JSON on standard output: one function for each event.

Events are `session`, `auth`, `message`, `limit`, `tls`, `lifecycle` and `error`. Lines of libraries have the event
`lifecycle` or, from the level warning on, `error`. Callers never pass a password, a token or the content of a message.
They pass mail addresses through `address`, or `text` for a sentence, which redact them as the operator has configured.

Every message has a line, so a line is one dictionary and one call of orjson: the standard library's logging is much
slower (see docs/performance.md). Gunicorn's master imports this module, so it imports nothing heavy.
"""

import json
import logging
import logging.config
import time
import traceback
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

import orjson
from pythonjsonlogger.orjson import OrjsonFormatter

from smtpgw.telemetry import redaction
from smtpgw.telemetry.log_bounds import MAX_LINE_BYTES, shorten, shorten_text
from smtpgw.telemetry.log_writer import LogWriter

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
# In UTF-8 a character has at most four octets, so this keeps a line below MAX_LINE_BYTES.
MAX_CONSOLE_CHARACTERS = 4000
# The time that a process that ends gives a slow reader of its log.
FLUSH_TIMEOUT_SECONDS = 2.0


def json_line(fields: Mapping[str, object]) -> bytes:
    """Return an event as one line of JSON with at most MAX_LINE_BYTES octets."""
    try:
        line = orjson.dumps(fields, default=str, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:
        line = lenient_json_line(fields)
    return line if len(line) <= MAX_LINE_BYTES else shorten(fields)


def lenient_json_line(fields: Mapping[str, object]) -> bytes:
    """Return a line for fields that orjson rejects, such as lone surrogates from octets that are not UTF-8."""
    dated = {**fields, "time": f"{datetime.now(UTC):%FT%T.%f+00:00}"}
    try:
        return json.dumps(dated, default=str, separators=(",", ":"), allow_nan=False).encode() + b"\n"
    except Exception:  # noqa: BLE001  the line must be written, even if an object cannot be printed
        return shorten(fields)


def console_line(fields: Mapping[str, object]) -> bytes:
    """Return an event as one short line for a person at a terminal, followed by its traceback if it has one."""
    rest = {k: v for k, v in fields.items() if k not in ("time", "level", "event", "trace") and v not in ("", None)}
    pairs = " ".join(f"{name}={value}" for name, value in rest.items())
    line = f"{time.strftime('%H:%M:%S')} {fields['event']:<9} {pairs}\n"
    if "trace" in fields:
        line += f"{fields['trace']}\n"
    octets = line.encode("utf-8", "replace")
    if len(octets) > MAX_LINE_BYTES:
        octets = shorten_text(line.rstrip(), MAX_CONSOLE_CHARACTERS).encode("utf-8", "replace") + b"\n"
    return octets


class Log:
    """The log of this process. Until `configure` is called it writes warnings as text to standard error."""

    def __init__(self) -> None:
        self.min_level = logging.WARNING
        self.format: Callable[[Mapping[str, object]], bytes] = console_line
        self.redact: Callable[[str], str] = redaction.mask
        self.writer = LogWriter(2, self.format_dropped)

    def write(self, level: str, event: str, fields: Mapping[str, object]) -> None:
        """Write a line with the current time, or with the field `time` when the event is an earlier one."""
        if LEVELS[level] >= self.min_level:
            self.writer.put(self.format({"time": datetime.now(UTC), "level": level, "event": event, **fields}))

    def format_dropped(self, lines: int) -> bytes:
        """Return the line that reports this number of dropped lines."""
        what = "log lines dropped, standard output is too slow"
        return self.format(
            {"time": datetime.now(UTC), "level": "error", "event": "error", "what": what, "lines": lines}
        )


LOG = Log()


class LibraryFormatter(OrjsonFormatter):
    """Formatter that gives the lines of libraries the field names of the gateway."""

    def __init__(self) -> None:
        super().__init__(
            "%(name)s %(message)s", rename_fields={"name": "logger", "message": "what", "exc_info": "trace"}
        )

    def add_fields(self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        log_data["time"] = datetime.fromtimestamp(record.created, UTC)
        log_data["level"] = record.levelname.lower().replace("critical", "error")
        log_data["event"] = "error" if record.levelno >= logging.WARNING else "lifecycle"
        super().add_fields(log_data, record, message_dict)

    def jsonify_log_record(self, log_data: dict[str, Any]) -> str:
        return LOG.format(log_data).decode()


class LibraryHandler(logging.Handler):
    """Handler that writes the lines of libraries to the log of the gateway."""

    def emit(self, record: logging.LogRecord) -> None:
        LOG.writer.put(self.format(record).encode())


def configuration(level: str) -> dict[str, Any]:
    """Return the `logging.config` dictionary for the lines of libraries."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"library": {"()": LibraryFormatter}},
        "handlers": {"out": {"()": LibraryHandler, "formatter": "library"}},
        "root": {"level": "WARNING", "handlers": ["out"]},
        "loggers": {
            "gunicorn.error": {"level": level.upper(), "handlers": [], "propagate": True},
            # urllib3 logs every retry and every full pool as a warning. The metrics of the gateway count both.
            "urllib3": {"level": "ERROR"},
        },
    }


def configure(level: str, style: str, addresses: str, hash_key: str = "") -> None:
    """Log to standard output, according to SMTPGW_LOG_LEVEL, _FORMAT, _ADDRESSES and _HASH_KEY."""
    LOG.min_level = LEVELS[level]
    LOG.format = json_line if style == "json" else console_line
    LOG.redact = redaction.redactor(addresses, hash_key)
    LOG.writer = LogWriter(1, LOG.format_dropped)
    logging.config.dictConfig(configuration(level))
    logging.captureWarnings(True)


def start() -> None:
    """Write from a thread from now on. Call it in each worker, after the fork."""
    LOG.writer.start()


def flush() -> None:
    """Write the lines that wait. Call it at the end of a process."""
    LOG.writer.flush(FLUSH_TIMEOUT_SECONDS)


def address(mailbox: str) -> str:
    """Return a mail address as the log shows it: masked, hashed or in full."""
    return LOG.redact(mailbox)


def text(sentence: str) -> str:
    """Return a sentence, such as a reply, with its mail addresses redacted."""
    return redaction.MAILBOX.sub(lambda found: LOG.redact(found[0]), sentence) if "@" in sentence else sentence


def session(*, quiet: bool = False, **fields: object) -> None:
    """Log the end of a session. With `quiet`, such as for a health check, the level is debug."""
    LOG.write("debug" if quiet else "info", "session", fields)


def auth(**fields: object) -> None:
    """Log a login, accepted or rejected."""
    LOG.write("info", "auth", fields)


def message(fields: Mapping[str, object]) -> None:
    """Log a message. The fields are one dictionary because that is faster than many keyword arguments."""
    LOG.write("info", "message", fields)


def limit(**fields: object) -> None:
    """Log that a client has reached a limit."""
    LOG.write("warning", "limit", fields)


def tls(*, failed: bool = False, **fields: object) -> None:
    """Log the reload of the certificate. The line of the session reports a handshake that fails."""
    LOG.write("warning" if failed else "info", "tls", fields)


def lifecycle(**fields: object) -> None:
    """Log the start, the drain or the end of a process."""
    LOG.write("info", "lifecycle", fields)


def error(*, trace: bool = False, **fields: object) -> None:
    """Log something that an operator should look at, with the current traceback if `trace`."""
    LOG.write("error", "error", {**fields, "trace": traceback.format_exc()} if trace else fields)


def uncaught(
    context: object, kind: type[BaseException], problem: BaseException | None, trace: TracebackType | None
) -> None:
    """Log an exception that ended a greenlet. Has the signature of gevent's `Hub.print_exception`."""
    formatted = "".join(traceback.format_exception(kind, problem, trace))
    LOG.write("error", "error", {"what": f"uncaught in {context!r}", "trace": formatted})


def debug(event: str, **fields: object) -> None:
    """Log a detail for developers."""
    LOG.write("debug", event, fields)
