"""Limits of file descriptors. The process raises its limit, adapts the number of sessions, and keeps one in reserve.

Each connection takes one descriptor. The one in reserve serves to reply 421 when no other is left. Gunicorn's master
imports this module before gevent patches the standard library.
"""

# gevent closes descriptors later, even in its os.close. The reserve has to be available at once.
import _socket
import contextlib
import errno
import resource
from collections.abc import Callable
from typing import Any, cast

from gevent.server import StreamServer

from smtpgw.config.settings import Settings

HTTP_CONNECTIONS = 100
# Connections above the limit of sessions that are accepted to reply 421. A server whose pool is full accepts nothing.
SPARE_CONNECTIONS = 100
# Listeners, the event loop, the log, files of the certificate and of metrics, Redis, traces.
OTHER_DESCRIPTORS = 64
NONE_LEFT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
HOW_TO_RAISE = "raise the hard limit (LimitNOFILE= of systemd, --ulimit nofile= of Docker, ulimit -Hn of a shell)"


def raise_limit(settings: Settings) -> int:
    """Raise the soft limit, which child processes inherit, to the hard one. Return the limit that is now in force."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Some systems report a hard limit that they do not allow.
    for wanted in (hard, needed(settings)):
        if soft != resource.RLIM_INFINITY and (soft < wanted or wanted == resource.RLIM_INFINITY):
            with contextlib.suppress(ValueError, OSError):
                resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
                break
    return limit()


def limit() -> int:
    """Return how many descriptors this process may have."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2**31 if soft == resource.RLIM_INFINITY else soft


def beside_sessions(settings: Settings) -> int:
    """Return how many descriptors a worker needs for everything but sessions."""
    return SPARE_CONNECTIONS + HTTP_CONNECTIONS + settings.api_connections + OTHER_DESCRIPTORS


def needed(settings: Settings) -> int:
    """Return how many descriptors a worker needs at its limit of sessions."""
    return settings.max_sessions + beside_sessions(settings)


def max_sessions(settings: Settings) -> int:
    """Return the limit of sessions of a worker: the setting, or less when there are too few descriptors."""
    return max(0, min(settings.max_sessions, limit() - beside_sessions(settings)))


def mistake(settings: Settings) -> str:
    """Return why a worker cannot serve any session and what to do, or "" when it can."""
    if max_sessions(settings) > 0:
        return ""
    return (
        f"file descriptors: a process may have {limit()}, and a worker needs more than {beside_sessions(settings)};"
        f" {HOW_TO_RAISE}, or lower SMTPGW_API_CONNECTIONS"
    )


def warning(settings: Settings) -> str:
    """Return a warning about the limit, or "" when it is high enough."""
    if max_sessions(settings) == settings.max_sessions:
        return ""
    return (
        f"file descriptors: a process may have {limit()}, and a worker needs {needed(settings)} for"
        f" SMTPGW_MAX_SESSIONS={settings.max_sessions}, so it takes no more than {max_sessions(settings)} sessions;"
        f" {HOW_TO_RAISE}, or lower SMTPGW_MAX_SESSIONS"
    )


class GuardedServer(StreamServer):
    """A StreamServer that rejects connections when its process has no descriptor left, instead of ignoring them.

    The kernel passes no connection to a process without a free descriptor. Therefore one is kept in reserve. When it is
    needed, it is closed, the connection is accepted in its place, rejected and closed, and the reserve is opened
    again.
    """

    def __init__(
        self, *arguments: Any, refusal: bytes = b"", refused: Callable[[Any], object] = bool, **options: Any
    ) -> None:
        """Create a server. `refusal` is sent to a rejected client, and `refused` is called with its address."""
        self.refusal = refusal
        self.refused = refused
        self.reserve = open_reserve()
        super().__init__(*arguments, **options)

    def do_read(self) -> Any:
        """Accept a connection, or reject it when no descriptor is left. Raises OSError."""
        try:
            return super().do_read()
        except OSError as problem:
            self.reserve = self.reserve or open_reserve()
            if problem.errno not in NONE_LEFT or not self.reserve:
                # gevent logs the error and tries again after a delay.
                raise
        self.refuse(self.reserve)
        return None

    def refuse(self, reserve: _socket.socket) -> None:
        """Accept a connection with the descriptor in reserve, send the refusal, and close it."""
        reserve.close()
        self.reserve = None
        try:
            # This method of gevent's socket does not wait.
            descriptor, address = cast(Any, self.socket)._accept()
            client = _socket.socket(fileno=descriptor)
            client.setblocking(False)
            # The client may already be gone.
            with contextlib.suppress(OSError):
                client.send(self.refusal)
                # Unread octets, such as a PROXY header, would reset the connection before the client reads the reply.
                client.recv(4096)
            client.close()
        except BlockingIOError:
            # Another worker has accepted the connection.
            return
        finally:
            self.reserve = open_reserve()
        self.refused(address)


def open_reserve() -> _socket.socket | None:
    """Return an unused socket, which occupies a descriptor, or None when none is left."""
    try:
        return _socket.socket()
    except OSError:
        return None
