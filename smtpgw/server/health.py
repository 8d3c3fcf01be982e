"""Probes and metrics over HTTP: `/health/live`, `/health/ready`, `/metrics`.

Ready means "this process accepts sessions", not "Cakemail answers": were it the latter, clients of an API that is down
would find no server at all where they must be told 451.
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
    """The Flask app of a worker. `why_not_ready` says what is in the way, "" when nothing is."""
    app = Flask("smtpgw", static_folder=None)
    exporter = GunicornInternalPrometheusMetrics if several_workers else PrometheusMetrics
    exporter(app, path="/metrics", group_by="endpoint", defaults_prefix="smtpgw")
    app.wsgi_app = only_reads(app.wsgi_app)  # type: ignore[method-assign, assignment]

    @app.before_request
    def count_to_the_end() -> None:
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


def only_reads(application: "WSGIApplication") -> "WSGIApplication":
    """The application, for those who read: whatever else stands for a method would be the label of a metric."""

    def guarded(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] in ("GET", "HEAD"):
            return application(environ, start_response)
        start_response("405 Method Not Allowed", [("Allow", "GET, HEAD"), ("Content-Length", "0")])
        return []

    return guarded
