"""OpenTelemetry traces: one span for each message, with its stages and its API calls as children.

Unless SMTPGW_TRACING_URL is set, OpenTelemetry is not imported and no call is changed. The spans are exported as OTLP
over HTTP; gRPC would need an event loop of its own beside gevent's. Call `start` after the fork, because a greenlet of
the worker exports the spans. Spans contain ids and numbers, never an address.
"""

import contextvars
import importlib.metadata
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from smtpgw.config.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer

# Encoding an export blocks the event loop, so each export is small.
MAX_EXPORT_BATCH_SPANS = 128
FLUSH_TIMEOUT_MILLISECONDS = 2000

NOTHING: AbstractContextManager[None] = nullcontext()


class HasStatusCode(Protocol):
    """The answer to an API call."""

    @property
    def status_code(self) -> int: ...


A = TypeVar("A")
R = TypeVar("R")
Answer = TypeVar("Answer", bound=HasStatusCode)
Exchange = Callable[[str, str, dict[str, str], bytes, float], Answer]


class Tracing:
    """The tracer of this process; None until `start`, and when tracing is off."""

    tracer: "Tracer | None" = None
    provider: "TracerProvider | None" = None


def is_installed() -> bool:
    """Return whether the packages of requirements-tracing.txt are installed. Imports none of them."""
    try:
        return bool(importlib.metadata.version("opentelemetry-exporter-otlp-proto-http"))
    except importlib.metadata.PackageNotFoundError:
        return False


def start(settings: Settings, version: str) -> None:
    """Trace the messages of this process if SMTPGW_TRACING_URL is set. Call it once, after the fork."""
    if not settings.tracing_url:
        return
    # OpenTelemetry is optional, so it is imported only where tracing is on; the same holds below.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio

    resource = Resource.create({"service.name": "smtpgw", "service.version": version})
    Tracing.provider = TracerProvider(ParentBasedTraceIdRatio(settings.tracing_ratio), resource)
    exporter = OTLPSpanExporter(f"{settings.tracing_url}/v1/traces")
    Tracing.provider.add_span_processor(BatchSpanProcessor(exporter, max_export_batch_size=MAX_EXPORT_BATCH_SPANS))
    Tracing.tracer = Tracing.provider.get_tracer("smtpgw", version)


def stop() -> None:
    """Export the spans that wait, and stop tracing."""
    if Tracing.provider:
        Tracing.provider.force_flush(FLUSH_TIMEOUT_MILLISECONDS)
        Tracing.provider.shutdown()
        Tracing.provider = Tracing.tracer = None


def span(name: str) -> "AbstractContextManager[Span | None]":
    """Return a span for a part of the work of the current greenlet, as a child of its current span."""
    return Tracing.tracer.start_as_current_span(name) if Tracing.tracer else NOTHING


def message(message_id: str, session_id: str, account_id: int) -> "AbstractContextManager[Span | None]":
    """Return the span of a message, from the end of its data to the reply."""
    if not Tracing.tracer:
        return NOTHING
    from opentelemetry.trace import SpanKind

    attributes: dict[str, Any] = {
        "smtpgw.message.id": message_id,
        "smtpgw.session.id": session_id,
        "smtpgw.account.id": account_id,
    }
    return Tracing.tracer.start_as_current_span("message", kind=SpanKind.SERVER, attributes=attributes)


def ids(span: "Span") -> dict[str, str]:
    """Return the W3C ids of a span, as fields of the log."""
    context = span.get_span_context()
    return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}


def mark_failed(span: "Span", description: str) -> None:
    """Set the status of a span to error."""
    from opentelemetry.trace import StatusCode

    span.set_status(StatusCode.ERROR, description)


def propagate(work: Callable[[A], R]) -> Callable[[A], R]:
    """Return the function for use in other greenlets, where its spans become children of the current span."""
    if not Tracing.tracer:
        return work
    context = contextvars.copy_context()
    return lambda argument: context.copy().run(work, argument)


def trace_exchange(exchange: Exchange[Answer]) -> Exchange[Answer]:
    """Return a function that calls the API with a span for each call and the header `traceparent`."""
    tracer = Tracing.tracer
    if not tracer:
        return exchange
    from opentelemetry.trace import SpanKind
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    propagator = TraceContextTextMapPropagator()

    def traced(method: str, target: str, headers: dict[str, str], body: bytes, seconds: float) -> Answer:
        path = target.partition("?")[0]
        attributes: dict[str, Any] = {"http.request.method": method, "url.path": path}
        with tracer.start_as_current_span(f"{method} {path}", kind=SpanKind.CLIENT, attributes=attributes) as call:
            propagator.inject(headers)
            answer = exchange(method, target, headers, body, seconds)
            call.set_attribute("http.response.status_code", answer.status_code)
            if answer.status_code >= 400:
                mark_failed(call, str(answer.status_code))
            return answer

    return traced
