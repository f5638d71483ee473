"""Spans of OpenTelemetry: one a request, one a step under it. Imported only for `leasehold serve --traces`.

Where spans go is OpenTelemetry's own business: its exporter reads the `OTEL_*` variables of the environment. A span
names the route's template, a step's kind and why it was refused, and no tenant, person or argument.
"""

from __future__ import annotations

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, use_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from leasehold.decide.facts import Step, StepAnswer
from leasehold.http.exchanges import method_of, route_of, trace_id_of
from leasehold.http.metrics import inner_of, reason_of
from leasehold.store.observed import Answered
from leasehold.store.protocol import TreeHead

__all__ = ["StepSpans", "Traced", "export_spans"]

_NAME = "leasehold"
_SERVER_ERROR = 500


def export_spans() -> TracerProvider:
    """A source of spans that sends them by OTLP over HTTP, to where the environment says. Shut it down when done."""
    resource = Resource.create()
    if str(resource.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: _NAME}))
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


class Traced:
    """A span for each request, under its caller's if it names one; entries and log lines name the same trace."""

    def __init__(self, app: ASGIApp, provider: TracerProvider) -> None:
        self._app = app
        self._tracer = provider.get_tracer(_NAME)
        self._propagator = TraceContextTextMapPropagator()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_in_trace = trace_id_of(scope) != ""
        parent = self._propagator.extract({"traceparent": Headers(scope=scope)["traceparent"]}) if is_in_trace else None
        span = self._tracer.start_span(method_of(scope), context=parent, kind=SpanKind.SERVER)
        scope.setdefault("state", {})["trace_id"] = f"{span.get_span_context().trace_id:032x}"

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                span.set_attribute("http.response.status_code", message["status"])
                if message["status"] >= _SERVER_ERROR:
                    span.set_status(Status(StatusCode.ERROR))
            await send(message)

        with use_span(span, end_on_exit=True, record_exception=False):
            try:
                await self._app(scope, receive, noting)
            finally:
                _describe(span, scope)


def _describe(span: Span, scope: Scope) -> None:
    method, route, state = method_of(scope), route_of(scope), scope["state"]
    span.update_name(f"{method} {route}")
    span.set_attribute("http.request.method", method)
    span.set_attribute("http.route", route)
    span.set_attribute("leasehold.request_id", str(state.get("request_id", "")))
    if state.get("client"):
        span.set_attribute("leasehold.client", str(state["client"]))


class StepSpans:
    """A span for each step, from when it is handed in to its answer, under that of the request which asked.

    As `leasehold.store.observed.Watcher`.
    """

    def __init__(self, provider: TracerProvider) -> None:
        self._tracer = provider.get_tracer(_NAME)

    def submitted(self, step: Step[object]) -> Answered:
        """A step is handed in, in the context of whoever asks."""
        span = self._tracer.start_span(f"step {type(inner_of(step)).__name__}")

        def answered(answer: StepAnswer[object] | Exception, seconds: float) -> None:  # noqa: ARG001 - the span has its own
            if isinstance(answer, Exception):
                span.set_attribute("error.type", type(answer).__name__)
                span.set_status(Status(StatusCode.ERROR))
            else:
                span.set_attribute("leasehold.reason", reason_of(answer))
            span.end()

        return answered

    def batch(self, steps: int, seconds: float) -> None:
        """Nothing: a batch belongs to no one trace."""

    def anchored(self, head: TreeHead | None) -> None:
        """Nothing, for the same reason."""
