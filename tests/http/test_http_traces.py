"""Spans of requests and steps, as OpenTelemetry's own SDK keeps them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from leasehold.assemble import MEMORY, open_authority
from leasehold.decide.probe import Probe
from leasehold.http.exchanges import Exchange, Observed, templates_of
from leasehold.http.site import Site
from leasehold.http.traces import StepSpans, Traced, export_spans
from leasehold.model.call import Call
from leasehold.testing.clock import FrozenSystem
from served import Browser, served
from stage import POLICY, UPDATE, Stage

TRACE, PARENT_SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{PARENT_SPAN}-01"


class Tracing:
    """An authority behind a server whose spans are kept in memory."""

    def __init__(self, folder: Path) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        path = folder / "leasehold.toml"
        path.write_text(POLICY)
        system = FrozenSystem()
        watcher = StepSpans(self.provider)
        authority = open_authority(path, state=MEMORY, system=system, sweep=False, watcher=watcher)
        self.stage = Stage(authority=authority, system=system)
        self.exchanges: list[Exchange] = []

    def began(self) -> None:
        """As an observer."""

    def ended(self, exchange: Exchange) -> None:
        self.exchanges.append(exchange)

    def build(self, site: Site) -> ASGIApp:
        lease = self.stage.lease()

        def call(request: Request) -> Response:
            request.state.client = "ticket-door"
            door = self.stage.door()
            arguments = b'{"ticket_id":"%s"}' % request.path_params["ticket"].encode()
            made = Call(
                action="ticket.update",
                arguments=arguments,
                admission_id=door.new_admission_id(),
                key="k",
                trace_id=request.state.trace_id,
            )
            return PlainTextResponse(door.admit(lease.token_for("ticket"), made).admission_id)

        async def probe(request: Request) -> Response:
            await run_in_threadpool(lambda: self.stage.authority.engine.store.submit(Probe()).result())
            return PlainTextResponse("ok")

        def broken(request: Request) -> Response:
            self.stage.authority.engine.store.submit(Probe()).result()
            return PlainTextResponse("no", status_code=503)

        routes = [Route("/call/{ticket}", call), Route("/probe", probe), Route("/broken", broken)]
        app = Starlette(routes=routes)
        app.state.templates = templates_of(routes)
        return Traced(Observed(app, [self]), self.provider)

    def spans(self) -> dict[str, ReadableSpan]:
        """The spans by name, once the server has ended."""
        return {span.name: span for span in self.exporter.get_finished_spans()}


@pytest.fixture
def tracing(tmp_path: Path) -> Iterator[Tracing]:
    tracing = Tracing(tmp_path)
    yield tracing
    tracing.stage.close()
    tracing.provider.shutdown()


def test_trace_of_the_caller_goes_through_the_request_to_the_step_and_into_the_ledger(tracing: Tracing) -> None:
    with served(tracing.build) as port:
        reply = Browser(port).get("/call/T-18421", traceparent=PARENT, tracestate="vendor=secret")
        assert reply.status == 200
    spans = tracing.spans()
    request, step = spans["GET /call/{ticket}"], spans["step Admit"]
    assert f"{request.context.trace_id:032x}" == f"{step.context.trace_id:032x}" == TRACE
    assert request.parent is not None
    assert f"{request.parent.span_id:016x}" == PARENT_SPAN
    assert step.parent is not None
    assert step.parent.span_id == request.context.span_id
    assert request.kind is SpanKind.SERVER
    assert dict(request.attributes or {}) == {
        "http.request.method": "GET",
        "http.route": "/call/{ticket}",
        "http.response.status_code": 200,
        "leasehold.request_id": "",
        "leasehold.client": "ticket-door",
    }
    assert dict(step.attributes or {}) == {"leasehold.reason": "allowed"}
    assert [exchange.trace_id for exchange in tracing.exchanges] == [TRACE]
    assert tracing.stage.entries()[-1].trace == TRACE


def test_request_without_a_trace_begins_one_that_its_log_line_names(tracing: Tracing) -> None:
    with served(tracing.build) as port:
        Browser(port).get("/probe")
        Browser(port).get("/probe", traceparent="00-nonsense")
    spans = [span for span in tracing.exporter.get_finished_spans() if span.name == "GET /probe"]
    assert [span.parent for span in spans] == [None, None]
    assert [f"{span.context.trace_id:032x}" for span in spans] == [each.trace_id for each in tracing.exchanges]
    steps = [span for span in tracing.exporter.get_finished_spans() if span.name == "step Probe"]
    assert [step.parent.span_id for step in steps if step.parent] == [span.context.span_id for span in spans]


def test_refused_step_says_why_and_a_failed_one_is_an_error(tracing: Tracing) -> None:
    lease = tracing.stage.lease(UPDATE)
    tracing.stage.refusal(lease, "ticket.update", "X-1", key="k")
    refused = tracing.exporter.get_finished_spans()[-1]
    assert (refused.name, dict(refused.attributes or {})) == ("step Admit", {"leasehold.reason": "out_of_range"})
    tracing.stage.authority.engine.store.close()
    tracing.stage.authority.engine.store.submit(Probe()).exception()
    failed = tracing.exporter.get_finished_spans()[-1]
    assert (failed.name, dict(failed.attributes or {})) == ("step Probe", {"error.type": "UnavailableError"})
    assert failed.status.status_code is StatusCode.ERROR


def test_server_error_is_an_error_of_its_span_and_no_path_is_in_any(tracing: Tracing) -> None:
    with served(tracing.build) as port:
        Browser(port).get("/broken?token=secret")
        Browser(port).get("/nowhere/secret")
    spans = tracing.spans()
    assert spans["GET /broken"].status.status_code is StatusCode.ERROR
    assert spans["GET unmatched"].status.status_code is StatusCode.UNSET
    assert "secret" not in "".join(span.to_json() for span in tracing.exporter.get_finished_spans())


def test_spans_go_out_under_our_name_unless_the_environment_has_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_SERVICE_NAME", raising=False)
    ours = export_spans()
    monkeypatch.setenv("OTEL_SERVICE_NAME", "lease-desk")
    theirs = export_spans()
    assert ours.resource.attributes["service.name"] == "leasehold"
    assert theirs.resource.attributes["service.name"] == "lease-desk"
    for provider in (ours, theirs):
        provider.shutdown()
