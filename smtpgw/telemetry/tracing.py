"""Traces for OpenTelemetry: a span for each message, with its stages and its calls of the API as children.

Off unless SMTPGW_TRACING_URL is set, and then nothing of OpenTelemetry is imported and no call is changed. It goes out
as OTLP over HTTP, not gRPC, which would need a loop of its own beside gevent's. `start` belongs after the fork: what
sends the spans is a greenlet of the worker. Spans carry ids and numbers, never an address.
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

# Spans that one export encodes, which holds up the loop: 30 µs each.
MAX_AT_ONCE = 128
FLUSH_MILLISECONDS = 2000

NOTHING: AbstractContextManager[None] = nullcontext()


class Answered(Protocol):
    """What a call of the API returns."""

    @property
    def status_code(self) -> int: ...


A = TypeVar("A")
R = TypeVar("R")
Answer = TypeVar("Answer", bound=Answered)
Exchange = Callable[[str, str, dict[str, str], bytes, float], Answer]


class Tracing:
    """The tracer of this process, once it has one."""

    tracer: "Tracer | None" = None
    provider: "TracerProvider | None" = None


def is_installed() -> bool:
    """Whether the packages of requirements-tracing.txt are there. Imports none of them."""
    try:
        return bool(importlib.metadata.version("opentelemetry-exporter-otlp-proto-http"))
    except importlib.metadata.PackageNotFoundError:
        return False


def start(settings: Settings, version: str) -> None:
    """Trace the messages of this process, if the settings want it; once, after the fork."""
    if not settings.tracing_url:
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio

    resource = Resource.create({"service.name": "smtpgw", "service.version": version})
    Tracing.provider = TracerProvider(ParentBasedTraceIdRatio(settings.tracing_ratio), resource)
    exporter = OTLPSpanExporter(f"{settings.tracing_url}/v1/traces")
    Tracing.provider.add_span_processor(BatchSpanProcessor(exporter, max_export_batch_size=MAX_AT_ONCE))
    Tracing.tracer = Tracing.provider.get_tracer("smtpgw", version)


def stop() -> None:
    """Send the spans that wait, and end."""
    if Tracing.provider:
        Tracing.provider.force_flush(FLUSH_MILLISECONDS)
        Tracing.provider.shutdown()
        Tracing.provider = Tracing.tracer = None


def span(name: str) -> "AbstractContextManager[Span | None]":
    """A part of what the current greenlet does, as a child of what it is part of."""
    return Tracing.tracer.start_as_current_span(name) if Tracing.tracer else NOTHING


def message(message_id: str, session_id: str, account_id: int) -> "AbstractContextManager[Span | None]":
    """The way of a message, from the end of its data to the reply."""
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
    """For the log: the W3C ids of a span."""
    context = span.get_span_context()
    return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}


def failed(span: "Span", words: str) -> None:
    """Say that what this span is about did not succeed."""
    from opentelemetry.trace import StatusCode

    span.set_status(StatusCode.ERROR, words)


def carried(work: Callable[[A], R]) -> Callable[[A], R]:
    """The function, for other greenlets: what they do is part of what the current one does."""
    if not Tracing.tracer:
        return work
    context = contextvars.copy_context()
    return lambda argument: context.copy().run(work, argument)


def exchanges(exchange: Exchange[Answer]) -> Exchange[Answer]:
    """A function that calls the API, such that each call is a span and tells the API of it (`traceparent`)."""
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
                failed(call, str(answer.status_code))
            return answer

    return traced
