"""File descriptors: as many as the system allows, fewer sessions where these are too few, and one kept to say 421 with.

Each connection takes one. Gunicorn's master imports this module before gevent patches the standard library.
"""

import _socket  # gevent gives descriptors back later, also by its os.close: these have to be there at once
import contextlib
import errno
import resource
from collections.abc import Callable
from typing import Any, cast

from gevent.server import StreamServer

from smtpgw.config.settings import Settings

HTTP_CONNECTIONS = 100
SPARE_CONNECTIONS = 100  # above the limit of sessions, so that there is room to say 421: a full pool accepts nobody
RESERVE = 64  # listeners, the event loop, the log, files of the certificate and of metrics, Redis, traces
NONE_LEFT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
HOW_TO_RAISE = "raise the hard limit (LimitNOFILE= of systemd, --ulimit nofile= of Docker, ulimit -Hn of a shell)"


def raise_limit(settings: Settings) -> int:
    """Raise this process's soft limit, which its children inherit, to the hard one; the limit there is now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in (hard, needed(settings)):  # some systems name a hard limit that they do not allow
        if soft != resource.RLIM_INFINITY and (soft < wanted or wanted == resource.RLIM_INFINITY):
            with contextlib.suppress(ValueError, OSError):
                resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
                break
    return limit()


def limit() -> int:
    """How many descriptors this process may have."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2**31 if soft == resource.RLIM_INFINITY else soft


def beside_sessions(settings: Settings) -> int:
    """How many a worker needs for all else."""
    return SPARE_CONNECTIONS + HTTP_CONNECTIONS + settings.api_connections + RESERVE


def needed(settings: Settings) -> int:
    """How many a worker needs, with all the sessions that it may have."""
    return settings.max_sessions + beside_sessions(settings)


def max_sessions(settings: Settings) -> int:
    """How many sessions a worker may have: what the settings say, or fewer where it has too few descriptors."""
    return max(0, min(settings.max_sessions, limit() - beside_sessions(settings)))


def mistake(settings: Settings) -> str:
    """Why a worker cannot serve anybody, and what to do; "" where it can."""
    if max_sessions(settings) > 0:
        return ""
    return (
        f"file descriptors: a process may have {limit()}, and a worker needs more than {beside_sessions(settings)};"
        f" {HOW_TO_RAISE}, or lower SMTPGW_API_CONNECTIONS"
    )


def warning(settings: Settings) -> str:
    """What an operator should know about the limit; "" where it is high enough."""
    if max_sessions(settings) == settings.max_sessions:
        return ""
    return (
        f"file descriptors: a process may have {limit()}, and a worker needs {needed(settings)} for"
        f" SMTPGW_MAX_SESSIONS={settings.max_sessions}, so it takes no more than {max_sessions(settings)} sessions;"
        f" {HOW_TO_RAISE}, or lower SMTPGW_MAX_SESSIONS"
    )


class GuardedServer(StreamServer):
    """A StreamServer that says no, and does not go deaf, when its process has no descriptor left.

    The kernel gives no connection to a process without one. So one is kept: closed, the connection accepted in its
    place, refused and closed, and the kept one opened again.
    """

    def __init__(
        self, *arguments: Any, refusal: bytes = b"", refused: Callable[[Any], object] = bool, **options: Any
    ) -> None:
        """`refusal` is what a client hears then; `refused` is called with its address."""
        self.refusal = refusal
        self.refused = refused
        self.kept = keep_one()
        super().__init__(*arguments, **options)

    def do_read(self) -> Any:
        """Accept a connection, or refuse it."""
        try:
            return super().do_read()
        except OSError as problem:
            self.kept = self.kept or keep_one()
            if problem.errno not in NONE_LEFT or not self.kept:
                raise  # gevent logs it, and tries again in a moment
        self.refuse(self.kept)
        return None

    def refuse(self, kept: _socket.socket) -> None:
        """Take a connection with the descriptor that was kept for it, say no, and hang up."""
        kept.close()
        self.kept = None
        try:
            descriptor, address = cast(Any, self.socket)._accept()  # gevent's, which does not wait
            client = _socket.socket(fileno=descriptor)
            client.setblocking(False)
            with contextlib.suppress(OSError):  # the client is told if it can be
                client.send(self.refusal)
                client.recv(4096)  # what is not read, such as a PROXY header, would reset the connection
            client.close()
        except BlockingIOError:
            return  # another worker has taken it
        finally:
            self.kept = keep_one()
        self.refused(address)


def keep_one() -> _socket.socket | None:
    """A descriptor, of a socket that is not used; None where there is none left."""
    try:
        return _socket.socket()
    except OSError:
        return None
