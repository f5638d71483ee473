"""What is counted and timed, as Prometheus reads it. Made by `leasehold serve`, told by the store and the server.

Every label is one of a closed set: kinds of steps, reasons, templates of routes, states. Nothing names a tenant, a
person, an agent, a run, a lease or an address. What stands in the database is read when the figures are asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from leasehold.authority import Authority
from leasehold.decide.breaker import BY_RULE
from leasehold.decide.chat import Heard
from leasehold.decide.clients import ForDoor, ForRun, RememberSent
from leasehold.decide.facts import Step, StepAnswer
from leasehold.decide.notices import EndDelivery
from leasehold.decide.powers import Empowered
from leasehold.errors import LeaseholdError, StoreError, UnavailableError
from leasehold.http.connections import Ending
from leasehold.http.exchanges import Exchange
from leasehold.model.call import Settlement
from leasehold.store.lane import FullError
from leasehold.store.observed import Answered
from leasehold.store.protocol import TreeHead
from leasehold.system import System

__all__ = ["Metrics", "ServerFigures", "StoreFigures", "inner_of", "metrics_app", "reason_of"]

_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 60.0)
_STEPS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_AROUND = (Empowered, ForDoor, ForRun, Heard, RememberSent)
"""Steps that other steps stand behind. What is counted and traced is what was asked for, whoever asked."""


@dataclass(frozen=True)
class _Maker:
    """Makes the figures of one registry."""

    registry: CollectorRegistry

    def counter(self, name: str, words: str, *labels: str) -> Counter:
        return Counter(f"leasehold_{name}", words, labels, registry=self.registry)

    def gauge(self, name: str, words: str) -> Gauge:
        return Gauge(f"leasehold_{name}", words, registry=self.registry)

    def histogram(self, name: str, words: str, *labels: str, buckets: Sequence[float] = _SECONDS) -> Histogram:
        return Histogram(f"leasehold_{name}", words, labels, buckets=buckets, registry=self.registry)


class StoreFigures:
    """What the store does. As `leasehold.store.observed.Watcher`; threads may share it."""

    def __init__(self, make: _Maker, system: System) -> None:
        self._system = system
        self._steps = make.counter("steps", "Steps decided, by kind and reason.", "step", "reason")
        self._step_seconds = make.histogram("step_seconds", "From handing a step in to its answer.", "step")
        self._step_errors = make.counter("step_errors", "Steps without an answer, by what failed.", "step", "error")
        self._waiting = make.gauge("steps_waiting", "Steps handed in and not answered yet.")
        self._batch_steps = make.histogram("batch_steps", "Steps that were committed together.", buckets=_STEPS)
        self._batch_seconds = make.histogram("batch_seconds", "Loading, deciding and committing a batch.")
        self._settled = make.counter("settlements", "Calls settled, by state.", "state")
        self._notices = make.counter("notices", "Tries to tell people, by outcome.", "outcome")
        self._kept = make.gauge("checkpoint_entries", "Ledger size that was kept outside the database last.")
        self._kept_at = make.gauge("checkpoint_timestamp_seconds", "When a head was kept outside the database last.")
        self._unkept = make.counter("checkpoint_failures", "Heads that could not be kept outside the database.")

    def submitted(self, step: Step[object]) -> Answered:
        """A step is handed in."""
        self._waiting.inc()
        return partial(self._answered, inner_of(step))

    def _answered(self, inner: object, answer: StepAnswer[object] | Exception, seconds: float) -> None:
        self._waiting.dec()
        kind = type(inner).__name__
        self._step_seconds.labels(kind).observe(seconds)
        if isinstance(answer, Exception):
            self._step_errors.labels(kind, _fault(answer)).inc()
            return
        self._steps.labels(kind, reason_of(answer)).inc()
        if isinstance(answer.value, Settlement):
            self._settled.labels(answer.value.state).inc()
        if isinstance(inner, EndDelivery) and answer.value is not None:
            self._notices.labels(str(answer.value)).inc()

    def batch(self, steps: int, seconds: float) -> None:
        """The lane ran a batch."""
        self._batch_steps.observe(steps)
        self._batch_seconds.observe(seconds)

    def anchored(self, head: TreeHead | None) -> None:
        """A head was kept outside the database, or could not be."""
        if head is None:
            self._unkept.inc()
            return
        self._kept.set(head.size)
        self._kept_at.set(int(self._system.now()) / 1000)


class ServerFigures:
    """What the server does. As `leasehold.http.exchanges.Observer`."""

    def __init__(self, make: _Maker) -> None:
        self._requests = make.counter("http_requests", "Requests answered.", "route", "method", "status")
        self._seconds = make.histogram("http_request_seconds", "Until an answer was handed over.", "route")
        self._open = make.gauge("http_requests_open", "Requests under way.")
        # Finding a child by its labels costs more than counting in it. The event loop's alone.
        self._children: dict[tuple[str, str, str], tuple[Counter, Histogram]] = {}
        self._endings = make.counter("http_connections_ended", "Connections that the server ended, by why.", "why")

    def began(self) -> None:
        """A request came."""
        self._open.inc()

    def ended(self, exchange: Exchange) -> None:
        """It was answered."""
        self._open.dec()
        place = (exchange.route, exchange.method, str(exchange.status))
        child = self._children.get(place)
        if child is None:
            child = self._children[place] = (self._requests.labels(*place), self._seconds.labels(exchange.route))
        child[0].inc()
        child[1].observe(exchange.seconds)

    def let_go(self, why: Ending) -> None:
        """The server ended a connection by itself."""
        self._endings.labels(why).inc()


class Metrics:
    """All figures of one process."""

    def __init__(self, system: System) -> None:
        self.registry = CollectorRegistry()
        make = _Maker(self.registry)
        self._system = system
        self.store = StoreFigures(make, system)
        self.server = ServerFigures(make)

    def read(self, authority: Authority) -> None:
        """Have what stands in this authority's database read whenever the figures are asked for."""
        self.registry.register(_Standing(authority, self._system))


class _Standing(Collector):
    """What has not ended, how large the ledger is, how far the clocks are apart."""

    def __init__(self, authority: Authority, system: System) -> None:
        self._engine = authority.engine
        self._system = system  # of this machine, where the engine's goes by the database's clock

    def describe(self) -> Iterator[Metric]:
        """Nothing: what there is depends on the database, which is not asked before it has to be."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Read it now."""
        try:
            figures = [*self._read()]
        except LeaseholdError:
            figures = [_figure("leasehold_database_readable", "Whether these figures could be read.", 0)]
        yield from figures

    def _read(self) -> Iterator[Metric]:
        queries = self._engine.store.queries
        tally = queries.tally()
        yield _figure("leasehold_database_readable", "Whether these figures could be read.", 1)
        yield _figure("leasehold_open_runs", "Runs that are not finished.", tally.open_runs)
        yield _figure("leasehold_pending_requests", "Requests that wait for people.", tally.pending_requests)
        yield _figure("leasehold_active_leases", "Leases that have not ended.", tally.active_leases)
        yield _figure("leasehold_open_calls", "Calls admitted and not settled.", tally.open_calls)
        yield _figure("leasehold_waiting_notices", "Notices not delivered yet.", tally.waiting_notices)
        stops = [row for row in queries.stops(None) if row.is_active]
        tripped = [row for row in stops if row.by.startswith(BY_RULE)]
        yield _figure("leasehold_breakers_tripped", "Routes that a breaker holds.", len(tripped))
        in_force = GaugeMetricFamily("leasehold_stops_in_force", "Wide holds and revokes in force.", labels=["kind"])
        for kind in ("hold", "revoke"):
            in_force.add_metric([kind], sum(row.kind == kind for row in stops))
        yield in_force
        yield from self._times()

    def _times(self) -> Iterator[Metric]:
        control = self._engine.store.queries.control()
        yield _figure("leasehold_ledger_entries", "Entries of the ledger.", control.size)
        yield _figure("leasehold_epoch", "The authority's epoch.", control.epoch)
        before = int(self._system.now())
        database = self._engine.store.clock()
        here = (before + int(self._system.now())) // 2
        counts = here if database is None else int(database)
        yield _figure(
            "leasehold_clock_behind_seconds",
            "How far the clock that counts reads before the last recorded time; above 2 nothing but stops works.",
            max(0, control.last_time_ms - counts) / 1000,
        )
        yield _figure(
            "leasehold_clock_difference_seconds",
            "This machine's clock less the database's, which counts; 0 where the machine's is the only one.",
            (here - counts) / 1000,
        )


def _figure(name: str, words: str, value: float) -> Metric:
    return GaugeMetricFamily(name, words, value=value)


def _fault(error: Exception) -> str:
    if isinstance(error, FullError):
        return "full"
    if isinstance(error, UnavailableError):
        return "unavailable"
    return "store" if isinstance(error, StoreError) else "other"


def inner_of(step: Step[object]) -> object:
    """The step itself, where it stands behind a person's power, a client's right, or what must not be done twice."""
    inner: object = step
    while isinstance(inner, _AROUND):
        inner = inner.step
    return inner


def reason_of(answer: StepAnswer[object]) -> str:
    """Why a step was refused, in one word; `allowed` where it was not."""
    if answer.active_policy:
        return "policy_changed"
    return "allowed" if answer.decision.is_allowed else str(answer.decision.reason)


def metrics_app(metrics: Metrics, host: str) -> ASGIApp:
    """What answers `/metrics` at a listener of its own, under an address or under a name that no page elsewhere has.

    A browser can be made to ask a server on loopback under any name (threat case 116), and figures are not for pages.
    """

    def show(request: Request) -> Response:
        if not _is_harmless(request.url.hostname or "", host):
            return PlainTextResponse("not under that name; use the address, or --metrics NAME:PORT\n", status_code=421)
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    return Starlette(routes=[Route("/metrics", show, methods=["GET"])])


def _is_harmless(name: str, host: str) -> bool:
    """Whether a name is one that nobody elsewhere can make lead here."""
    try:
        ip_address(name)
    except ValueError:
        return name != "" and (name == host or "." not in name)
    return True
