"""The gunicorn worker, which serves SMTP and HTTP binds in one gevent loop.

Gunicorn's master forks, supervises and ends it, and each connection has a greenlet of its own. A probe therefore
measures the same loop that serves SMTP. Gunicorn's master imports this module before gevent patches the standard
library. So the module imports only gunicorn, gevent, the settings and the like, and functions import the rest.
"""

import signal
import time
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol, cast

import gevent
from gevent.event import Event
from gevent.pool import Pool
from gevent.server import StreamServer
from gunicorn.workers.ggevent import GeventWorker

from smtpgw.config.settings import Settings
from smtpgw.core.networks import is_in
from smtpgw.server import descriptors
from smtpgw.server.balancing import BalancedServer, ConnectionShare
from smtpgw.server.descriptors import GuardedServer

if TYPE_CHECKING:
    from smtpgw.core.models import Peer
    from smtpgw.net.tls import Certificate
    from smtpgw.smtp.admission import ByteBudget, SessionLimiter
    from smtpgw.smtp.connection import Connection
    from smtpgw.submission.gateway import Gateway

# The interval of the heartbeat to the master.
TICK_SECONDS = 0.5
END_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGQUIT})


class HasSettings(Protocol):
    """The part of the gunicorn application that the worker uses."""

    settings: Settings


class GatewayWorker(GeventWorker):
    """A gunicorn worker that serves SMTP and HTTP."""

    settings: Settings
    gateway: "Gateway"
    certificate: "Certificate"
    limiter: "SessionLimiter"
    budget: "ByteBudget"
    # Set by the master: the worker's share of the connections, and the signals that arrived before this process had
    # installed its own handlers.
    share: ConnectionShare
    early_signals: "SimpleQueue[int]"

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.end_requested = Event()

    def load_wsgi(self) -> None:
        """Create the parts of the worker, after the fork and the patch of the standard library."""
        from smtpgw import __version__
        from smtpgw.config.provider_map import ProviderMap
        from smtpgw.net.tls import Certificate
        from smtpgw.server import health
        from smtpgw.smtp.admission import ByteBudget, SessionLimiter
        from smtpgw.submission.gateway import Gateway
        from smtpgw.telemetry import deferred, logs, metrics, tracing

        settings = self.settings = cast(HasSettings, self.app).settings
        logs.start()
        deferred.start()
        gevent.get_hub().print_exception = logs.uncaught  # type: ignore[method-assign, assignment]
        tracing.start(settings, __version__)
        mappings = ProviderMap.load(settings.mappings_file) if settings.mappings_file else ProviderMap.EMPTY
        self.gateway = Gateway(settings, mappings)
        self.certificate = Certificate(settings.tls_cert, settings.tls_key)
        sessions = descriptors.max_sessions(settings)
        self.limiter = SessionLimiter(sessions, settings.max_sessions_per_address, settings.trusted_cidrs)
        metrics.SAMPLED[metrics.SESSIONS_ACTIVE] = lambda: self.limiter.open
        self.budget = ByteBudget(settings.max_bytes_in_flight, settings.trusted_cidrs)
        self.wsgi = cast(Any, health.create_app(self.why_not_ready, several_workers=settings.workers > 1))
        metrics.BUILD.labels(__version__).set(1)
        metrics.WORKERS.set(1)
        logs.lifecycle(what="worker started", worker=self.pid)

    def why_not_ready(self) -> str:
        """Return why the worker accepts no sessions, or "" when it does."""
        if self.stopping():
            return "draining"
        return "the certificate has expired" if self.certificate.is_expired else ""

    def stopping(self) -> bool:
        """Return whether the worker drains."""
        return not self.alive

    # --- Life

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Handle TERM, without waiting for the next tick."""
        super().handle_exit(sig, frame)
        self.end_requested.set()

    def run(self) -> None:
        """Serve until a signal, then drain.

        This replaces GeventWorker.run, which closes the probes' listener with the others and drains until gunicorn's
        graceful_timeout. The gateway's drain is shorter, so that the master never kills a submission.
        """
        from smtpgw.telemetry import metrics, tracing

        smtp: list[StreamServer] = []
        http: list[StreamServer] = []
        for listener in self.sockets:
            name = self.name_of(listener)
            server = self.server(name, listener)
            server.start()
            (http if name == "http" else smtp).append(server)
        gevent.spawn(self.certificate.watch, self.settings.tls_check_seconds)
        while not self.early_signals.empty():
            self.alive &= self.early_signals.get() not in END_SIGNALS
        while self.alive:
            self.tick()
        self.drain(smtp)
        for server in http:
            server.stop(timeout=TICK_SECONDS)
        self.gateway.close()
        metrics.flush()
        tracing.stop()

    def server(self, name: str, listener: Any) -> StreamServer:
        """Return the server that accepts the connections of a listening socket."""
        from smtpgw.core import replies

        listener.setblocking(True)
        refused = partial(self.record_no_descriptor, name)
        if name == "http":
            pool = Pool(descriptors.HTTP_CONNECTIONS)
            return GuardedServer(listener, partial(self.handle, listener), spawn=pool, refused=refused)
        pool = Pool(self.limiter.limit + descriptors.SPARE_CONNECTIONS)
        handle = partial(self.serve_smtp, name)
        reply = replies.TOO_MANY_SESSIONS.filled(hostname=self.settings.hostname)
        refusal = b"" if name == "smtps" else reply.encode()
        if self.cfg.workers > 1:
            return BalancedServer(listener, handle, spawn=pool, share=self.share, refusal=refusal, refused=refused)
        return GuardedServer(listener, handle, spawn=pool, refusal=refusal, refused=refused)

    def tick(self) -> None:
        """Send the heartbeat to the master, and measure the delay of the event loop."""
        from smtpgw.telemetry import metrics

        self.notify()
        began = time.monotonic()
        wait = gevent.sleep if self.stopping() else self.end_requested.wait
        wait(TICK_SECONDS)
        metrics.LOOP_LAG.add(max(0.0, time.monotonic() - began - TICK_SECONDS))
        metrics.flush()

    def drain(self, servers: list[StreamServer]) -> None:
        """Accept no more connections and wait for the sessions. A session sends 421 by itself when it is idle."""
        from smtpgw.telemetry import deferred, logs, metrics

        began = time.monotonic()
        self.share.leave()
        for server in servers:
            server.close()
        metrics.DRAINING.set(1)
        open_at_first = self.limiter.open
        while self.limiter.open and (passed := time.monotonic() - began) < self.settings.drain_timeout_seconds:
            left = self.settings.drain_timeout_seconds - passed
            self.gateway.is_closing = left < self.settings.submit_timeout_seconds + 2 * TICK_SECONDS
            self.tick()
        cut = self.limiter.open
        for server in servers:
            server.stop(timeout=TICK_SECONDS)
        deferred.flush()
        logs.lifecycle(
            what="worker drained", worker=self.pid, sessions=open_at_first, cut=cut, seconds=time.monotonic() - began
        )

    # --- Connections

    def name_of(self, listener: Any) -> str:
        """Return the name in `Settings.binds` of a listening socket."""
        port = listener.getsockname()[1]
        return next(name for name, bound in self.settings.binds.items() if bound.port == port)

    def serve_smtp(self, listener: str, client: Any, addr: Any) -> None:
        """Serve one connection until it ends, in a greenlet of its own."""
        from smtpgw.core import replies
        from smtpgw.core.models import Peer
        from smtpgw.core.networks import client_key
        from smtpgw.net.stream import Stream
        from smtpgw.smtp import session_log
        from smtpgw.smtp.connection import Connection, ConnectionLost
        from smtpgw.smtp.session import Session
        from smtpgw.telemetry import logs, metrics

        peer = Peer.of(*addr[:2])
        connection = Connection(Stream(client), self.settings, self.stopping)
        tls_first = listener == "smtps"
        try:
            if self.settings.proxy_protocol and listener != "internal":
                peer = self.read_proxy_header(peer, connection)
            with self.limiter.admit(peer.address):
                metrics.SESSIONS_OPENED.count(listener)
                metrics.SESSIONS_BY_CLIENT.count(client_key(peer.address))
                session = Session(connection, peer, self.gateway, self.settings, self.certificate, self.budget)
                session.run(tls_first=tls_first)
        except replies.SMTPError as refusal:
            reply = refusal.reply.filled(hostname=self.settings.hostname)
            session_log.record_rejection(peer, reply, reason=str(refusal.__cause__ or ""))
            if not tls_first:
                connection.write(reply.encode())
            connection.close()
        except ConnectionLost as lost:
            # A connection that ends before its PROXY header is a health check of the load balancer.
            logs.debug("session", client=peer.address, reason="check", detail=str(lost))
            connection.close()

    def record_no_descriptor(self, listener: str, addr: Any) -> None:
        """Record that a connection was rejected because this process has no descriptor left."""
        from smtpgw.core import replies
        from smtpgw.core.models import Peer
        from smtpgw.smtp import session_log
        from smtpgw.telemetry import metrics

        metrics.LIMITS.labels("descriptors").inc()
        reply = replies.TOO_MANY_SESSIONS.filled(hostname=self.settings.hostname)
        session_log.record_rejection(
            Peer.of(*addr[:2]), reply, reason=f"no file descriptor is left, listener {listener}"
        )

    def read_proxy_header(self, balancer: "Peer", connection: "Connection") -> "Peer":
        """Read the PROXY header and return the client that it names, or the load balancer when it names none.

        Raises:
            SMTPError: 421 when the peer is not a load balancer, or the header is missing or malformed.
            ConnectionLost
        """
        from smtpgw.core import replies
        from smtpgw.core.models import Peer
        from smtpgw.net import proxy_protocol
        from smtpgw.telemetry import metrics

        if not is_in(balancer.address, self.settings.proxy_cidrs):
            metrics.LIMITS.labels("proxy_only").inc()
            raise replies.SMTPError(replies.PROXY_ONLY)
        try:
            head = connection.read_head(proxy_protocol.missing_bytes, self.settings.handshake_timeout_seconds)
            named = proxy_protocol.parse_client(head)
        except proxy_protocol.ProxyError as problem:
            metrics.LIMITS.labels("proxy_header").inc()
            raise replies.SMTPError(replies.PROXY_HEADER_MISSING) from problem
        return Peer.of(*named) if named else Peer(balancer.address, balancer.port, is_check=True)
