"""Log lines, as JSON on standard output: the vocabulary of events, and what never gets into them.

Events are `session`, `auth`, `message`, `limit`, `tls`, `lifecycle` and `error`; lines of the libraries are `lifecycle`
or, from warnings on, `error`. A password, a token or a message's content is never given to these functions. Mail
addresses go through `address`, or `text` where they stand in a sentence, which mask them as the operator wants.

A line is one dictionary and one call of orjson: a record of the standard library's logging and its formatter cost ten
times that, some 20 µs, and every message has a line. Imported by gunicorn's master too: nothing heavy here.
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
from smtpgw.telemetry.log_bounds import MAX_LINE_BYTES, shortened, shortened_text
from smtpgw.telemetry.log_writer import LogWriter

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
MAX_CONSOLE_CHARACTERS = 4000  # of at most four octets
FLUSH_SECONDS = 2.0  # at the end of a process, for a reader that is slow


def json_line(fields: Mapping[str, object]) -> bytes:
    """An event as one line of JSON, of at most MAX_LINE_BYTES octets."""
    try:
        line = orjson.dumps(fields, default=str, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:
        line = lenient_json_line(fields)
    return line if len(line) <= MAX_LINE_BYTES else shortened(fields)


def lenient_json_line(fields: Mapping[str, object]) -> bytes:
    """What orjson does not take: half of a surrogate pair, of octets that are no UTF-8, which JSON can escape."""
    said = {**fields, "time": f"{datetime.now(UTC):%FT%T.%f+00:00}"}
    try:
        return json.dumps(said, default=str, separators=(",", ":"), allow_nan=False).encode() + b"\n"
    except Exception:  # noqa: BLE001  a line must be written, whatever an object in it does
        return shortened(fields)


def console_line(fields: Mapping[str, object]) -> bytes:
    """An event as one short line, for a person at a terminal; a traceback follows it."""
    rest = {k: v for k, v in fields.items() if k not in ("time", "level", "event", "trace") and v not in ("", None)}
    said = " ".join(f"{name}={value}" for name, value in rest.items())
    line = f"{time.strftime('%H:%M:%S')} {fields['event']:<9} {said}\n"
    if "trace" in fields:
        line += f"{fields['trace']}\n"
    octets = line.encode("utf-8", "replace")
    if len(octets) > MAX_LINE_BYTES:
        octets = shortened_text(line.rstrip(), MAX_CONSOLE_CHARACTERS).encode("utf-8", "replace") + b"\n"
    return octets


class Log:
    """How and where this process logs. Until `configure` has been called: warnings, for people, on standard error."""

    def __init__(self) -> None:
        self.least = logging.WARNING
        self.line: Callable[[Mapping[str, object]], bytes] = console_line
        self.address: Callable[[str], str] = redaction.masked
        self.outlet = LogWriter(2, self.dropped_line)

    def write(self, level: str, event: str, fields: Mapping[str, object]) -> None:
        """Write a line, of now; or of the fields' own `time`, when it tells of what was before."""
        if LEVELS[level] >= self.least:
            self.outlet.put(self.line({"time": datetime.now(UTC), "level": level, "event": event, **fields}))

    def dropped_line(self, lines: int) -> bytes:
        what = "log lines dropped, standard output is too slow"
        return self.line({"time": datetime.now(UTC), "level": "error", "event": "error", "what": what, "lines": lines})


LOG = Log()


class LibraryFormatter(OrjsonFormatter):
    """The lines of gunicorn and others, in our vocabulary."""

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
        return LOG.line(log_data).decode()


class LibraryHandler(logging.Handler):
    """Writes the libraries' lines where ours go."""

    def emit(self, record: logging.LogRecord) -> None:
        LOG.outlet.put(self.format(record).encode())


def configuration(level: str) -> dict[str, Any]:
    """The `logging.config` dictionary for the libraries' lines."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"library": {"()": LibraryFormatter}},
        "handlers": {"out": {"()": LibraryHandler, "formatter": "library"}},
        "root": {"level": "WARNING", "handlers": ["out"]},
        "loggers": {
            "gunicorn.error": {"level": level.upper(), "handlers": [], "propagate": True},
            # urllib3 tells every retry and full pool at this level; ours are in the metrics.
            "urllib3": {"level": "ERROR"},
        },
    }


def configure(level: str, style: str, addresses: str, hash_key: str = "") -> None:
    """Log from now on as the settings SMTPGW_LOG_LEVEL, _FORMAT, _ADDRESSES and _HASH_KEY say, on standard output."""
    LOG.least = LEVELS[level]
    LOG.line = json_line if style == "json" else console_line
    LOG.address = redaction.way(addresses, hash_key)
    LOG.outlet = LogWriter(1, LOG.dropped_line)
    logging.config.dictConfig(configuration(level))
    logging.captureWarnings(True)


def start() -> None:
    """From now on no line waits for standard output; to be called in a worker, after the fork."""
    LOG.outlet.start()


def flush() -> None:
    """Write what is waiting, at the end of a process."""
    LOG.outlet.flush(FLUSH_SECONDS)


def address(mailbox: str) -> str:
    """A mail address as the log has it: `j***@example.com`, a digest, or whole."""
    return LOG.address(mailbox)


def text(words: str) -> str:
    """A sentence, such as a reply, with the mail addresses in it as the log has them."""
    return redaction.MAILBOX.sub(lambda found: LOG.address(found[0]), words) if "@" in words else words


def session(*, quiet: bool = False, **fields: object) -> None:
    """The end of a session: who, how long, what it did, why it ended; `quiet` for one that is of no interest."""
    LOG.write("debug" if quiet else "info", "session", fields)


def auth(**fields: object) -> None:
    """A login, done or refused."""
    LOG.write("info", "auth", fields)


def message(fields: Mapping[str, object]) -> None:
    """A message's whole story: one line each. It has some twenty fields, which as keywords would cost 1 µs more."""
    LOG.write("info", "message", fields)


def limit(**fields: object) -> None:
    """Somebody ran into a limit."""
    LOG.write("warning", "limit", fields)


def tls(*, failed: bool = False, **fields: object) -> None:
    """The certificate: replaced, or kept. A handshake that failed is in the line of its session."""
    LOG.write("warning" if failed else "info", "tls", fields)


def lifecycle(**fields: object) -> None:
    """Starting, draining, ending."""
    LOG.write("info", "lifecycle", fields)


def error(*, trace: bool = False, **fields: object) -> None:
    """Something that an operator should look at; with the traceback of the exception being handled."""
    LOG.write("error", "error", {**fields, "trace": traceback.format_exc()} if trace else fields)


def uncaught(
    context: object, kind: type[BaseException], problem: BaseException | None, trace: TracebackType | None
) -> None:
    """An exception that ended a greenlet, as gevent's hub tells of it."""
    told = "".join(traceback.format_exception(kind, problem, trace))
    LOG.write("error", "error", {"what": f"uncaught in {context!r}", "trace": told})


def debug(event: str, **fields: object) -> None:
    """Detail for a developer."""
    LOG.write("debug", event, fields)
