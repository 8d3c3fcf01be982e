"""HTTP endpoints for probes and metrics: `/health/live`, `/health/ready`, `/metrics`.

A worker is ready when it accepts sessions, whether or not Cakemail's API answers. Otherwise an outage of the API would
leave clients without a server, where they must receive a 451 reply.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from flask import Flask, request
from prometheus_flask_exporter import PrometheusMetrics
from prometheus_flask_exporter.multiprocess import GunicornInternalPrometheusMetrics

from smtpgw.telemetry import deferred, metrics

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


def create_app(why_not_ready: Callable[[], str], *, several_workers: bool) -> Flask:
    """Return the Flask app of a worker. `why_not_ready` returns the reason, or "" when the worker is ready."""
    app = Flask("smtpgw", static_folder=None)
    exporter = GunicornInternalPrometheusMetrics if several_workers else PrometheusMetrics
    exporter(app, path="/metrics", group_by="endpoint", defaults_prefix="smtpgw")
    app.wsgi_app = allow_only_reads(app.wsgi_app)  # type: ignore[method-assign, assignment]

    @app.before_request
    def flush_telemetry() -> None:
        if request.path == "/metrics":
            deferred.flush()
            metrics.flush()

    @app.get("/health/live")
    def live() -> tuple[str, int]:
        return "live\n", 200

    @app.get("/health/ready")
    def ready() -> tuple[str, int]:
        reason = why_not_ready()
        return (f"not ready: {reason}\n", 503) if reason else ("ready\n", 200)

    return app


def allow_only_reads(application: "WSGIApplication") -> "WSGIApplication":
    """Reject every method but GET and HEAD, so that a client cannot create metrics whose label is its method."""

    def guarded(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] in ("GET", "HEAD"):
            return application(environ, start_response)
        start_response("405 Method Not Allowed", [("Allow", "GET, HEAD"), ("Content-Length", "0")])
        return []

    return guarded
