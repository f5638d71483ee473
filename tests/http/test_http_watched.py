"""What a server says of itself: alive, fit for work, figures, log lines; and that none of it names anybody."""

from __future__ import annotations

import asyncio
import importlib
import io
import json
import logging
import pkgutil
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from house import House, sign_in
from hypothesis import given
from hypothesis import strategies as st
from oauth_house import OAuthHouse
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette
from starlette.types import ASGIApp, Scope

from api_house import Program
from clients import GUARD, api_key, client_stage
from leasehold import decide
from leasehold.assemble import MEMORY, open_authority
from leasehold.authority import Authority
from leasehold.decide.clients import ClientVoice, ForDoor
from leasehold.decide.probe import Probe
from leasehold.errors import ConfigError, Denied
from leasehold.http.api import create_api
from leasehold.http.exchanges import Exchange, Observed, trace_id_of
from leasehold.http.health import Health, Readiness
from leasehold.http.logs import LogFormat, RequestLog, logging_to
from leasehold.http.metrics import Metrics, inner_of, metrics_app
from leasehold.http.server import Wiring
from leasehold.http.site import Site
from leasehold.ledger.entry import EntryKind
from leasehold.model.call import OutcomeStatus
from leasehold.model.decision import Reason
from leasehold.policy.client_rule import DoorRight
from leasehold.store.protocol import TreeHead
from leasehold.testing.clock import FrozenSystem
from meddling import MeddledStore
from served import Browser, served, wired
from stage import ANA, BEN, ERASE, POLICY, UPDATE, Stage

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


class Keeper:
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.open = 0
        self.exchanges: list[Exchange] = []

    def began(self) -> None:
        self.open += 1

    def ended(self, exchange: Exchange) -> None:
        self.open -= 1
        self.exchanges.append(exchange)


@contextmanager
def watched(
    authority: Authority,
    *,
    broken_keys: Sequence[Exception] = (),
    stopping: Sequence[bool] = (),
    patience_seconds: float = 60.0,
) -> Iterator[Browser]:
    """A server that answers nothing but whether it is well."""

    def check_keys() -> None:
        if broken_keys:
            raise broken_keys[-1]

    def build(site: Site) -> ASGIApp:
        readiness = Readiness(
            authority,
            keys=check_keys,
            is_stopping=lambda: bool(stopping),
            patience_seconds=patience_seconds,
            kept_seconds=0.0,
        )
        return Health(Starlette(), readiness)

    with served(build) as port:
        yield Browser(port)


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    stage.close()


# alive and ready


def test_server_that_is_well_says_so_to_anybody_under_any_name(stage: Stage) -> None:
    with watched(stage.authority) as browser:
        for path in ("/healthz", "/readyz"):
            reply = browser.get(path, Host="10.0.0.7:8470")
            assert (reply.status, reply.text) == (200, "ok\n")
            assert reply.headers["cache-control"] == "no-store"
            assert browser.send("HEAD", path, b"", {}).status == 200
    assert len(stage.entries()) == 1


def test_store_that_does_not_answer_makes_it_unready_but_not_dead(stage: Stage) -> None:
    store = stage.meddle()
    with watched(stage.authority) as browser:
        store.lose(Probe, persisted=False)
        reply = browser.get("/readyz")
        assert (reply.status, reply.text) == (503, "not ready: store\n")
        assert browser.get("/healthz").status == 200
        assert browser.get("/readyz").status == 200


def test_store_that_is_slow_is_not_waited_for(stage: Stage) -> None:
    class Silent(MeddledStore):
        def submit(self, step: object) -> object:
            from concurrent.futures import Future

            return Future()

    inner = stage.authority.engine.store
    stage.authority.engine.store = Silent(inner)
    with watched(stage.authority, patience_seconds=0.01) as browser:
        assert browser.get("/readyz").text == "not ready: store\n"
    stage.authority.engine.store = inner


def test_clock_that_is_behind_makes_it_unready(stage: Stage) -> None:
    stage.start()
    with watched(stage.authority) as browser:
        stage.system.jump(seconds=-60)
        assert browser.get("/readyz").text == "not ready: clock\n"
        stage.system.jump(seconds=60)
        assert browser.get("/readyz").text == "ok\n"


def test_keys_that_cannot_be_read_make_it_unready_and_are_not_described(stage: Stage) -> None:
    broken: list[Exception] = [ConfigError("a key", path="/secret/place")]
    with watched(stage.authority, broken_keys=broken) as browser:
        assert browser.get("/readyz").text == "not ready: keys\n"
        broken[:] = [PermissionError("/secret/place")]
        assert browser.get("/readyz").text == "not ready: keys\n"


def test_server_that_stops_is_unready_at_once(stage: Stage) -> None:
    with watched(stage.authority, stopping=[True]) as browser:
        assert browser.get("/readyz").text == "not ready: stopping\n"
        assert browser.get("/healthz").text == "ok\n"


def test_other_paths_go_on_to_the_application_and_other_methods_get_a_problem_document(house: House) -> None:
    with served(
        lambda site: Health(
            house.build(site), Readiness(house.stage.authority, keys=lambda: None, is_stopping=lambda: False)
        )
    ) as port:
        assert Browser(port).get("/sign-in").status == 200
        for path in ("/healthz", "/readyz"):
            reply = Browser(port).post(path, {})
            assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD")
            assert reply.headers["content-type"] == "application/problem+json"
            assert json.loads(reply.text)["type"] == "urn:leasehold:problem:method_not_allowed"


# exchanges


@contextmanager
def observed(house: House, kept: Keeper) -> Iterator[Browser]:
    """A server that somebody observes. Ask the keeper once it has ended: an exchange is told of after its answer."""
    with served(lambda site: Observed(house.build(site), [kept])) as port:
        house.port = port
        yield Browser(port)


def test_exchange_names_the_template_of_its_route_never_the_path(house: House) -> None:
    asked, kept = house.stage.authority.request(house.stage.start(), UPDATE, reason="customer asked"), Keeper()
    house.person(BEN)
    with observed(house, kept) as browser:
        for path in ("/sign-in?next=/secret", "/static/console.css", "/nowhere/secret"):
            browser.get(path)
        sign_in(browser, BEN)
        browser.get(f"/request/{asked.request_id}")
        browser.get("/nowhere/secret")
        browser.send("PROPFIND", "/", b"", {})
    assert [(each.method, each.route, each.status) for each in kept.exchanges] == [
        ("GET", "/sign-in", 200),
        ("GET", "/static", 200),
        ("GET", "unmatched", 303),
        ("GET", "/sign-in", 200),
        ("POST", "/sign-in", 303),
        ("GET", "/request/{request_id}", 200),
        ("GET", "unmatched", 404),
        ("other", "unmatched", 403),
    ]
    assert kept.open == 0
    assert all(each.seconds > 0 and each.address == "127.0.0.1" for each in kept.exchanges)


def test_exchange_with_the_consent_page_is_named_like_every_page(oauth: OAuthHouse) -> None:
    oauth.person(ANA)
    kept = Keeper()
    with observed(oauth, kept) as browser:
        sign_in(browser, ANA)
        browser.get("/oauth/authorize?state=secret")
    assert [each.route for each in kept.exchanges] == ["/sign-in", "/sign-in", "/oauth/authorize"]


def test_exchange_has_the_id_of_its_answer_and_the_trace_of_its_caller(house: House) -> None:
    kept = Keeper()
    with observed(house, kept) as browser:
        reply = browser.get("/sign-in", traceparent=PARENT)
        browser.get("/sign-in")
    assert kept.exchanges[0].request_id == reply.headers["x-request-id"]
    assert [each.trace_id for each in kept.exchanges] == [TRACE, ""]


def test_application_of_another_make_names_its_route_itself() -> None:
    kept = Keeper()

    async def plain(scope: Scope, receive: object, send: object) -> None:
        scope["state"]["route"] = "/v1/admissions"

    scope: Scope = {"type": "http", "method": "POST", "path": "/v1/admissions", "headers": []}
    asyncio.run(Observed(plain, [kept])(scope, None, None))  # type: ignore[arg-type]
    assert [(each.route, each.status) for each in kept.exchanges] == [("/v1/admissions", 0)]


def test_admission_over_http_has_its_callers_trace_in_the_ledger_and_in_the_log() -> None:
    stage, kept = client_stage(), Keeper()
    token = stage.lease(UPDATE).token_for("ticket")
    admission = stage.door().new_admission_id()
    asked = {"action": "ticket.update", "arguments": {"ticket_id": "T-1"}, "admission_id": admission, "key": "k1"}
    with wired(lambda site: Observed(create_api(stage.authority), [kept]), Wiring()) as port:
        guard = Program(port, api_key(stage, GUARD))
        told = guard.post("/v1/admissions", {"token": token, "call": asked}, traceparent=PARENT)
        settled = guard.post(f"/v1/admissions/{admission}/settle", {"status": "done"})
    assert (told.status, settled.status) == (200, 200), (told.body, settled.body)
    assert [(each.route, each.client, each.status, each.trace_id) for each in kept.exchanges] == [
        ("/v1/admissions", GUARD, 200, TRACE),
        ("/v1/admissions/{admission_id}/settle", GUARD, 200, ""),
    ]
    assert [
        entry.trace for entry in stage.entries() if entry.kind in (EntryKind.CALL_ADMITTED, EntryKind.CALL_SETTLED)
    ] == [
        TRACE,
        TRACE,
    ]
    stage.close()


def test_exchange_that_fails_is_told_of_as_an_error() -> None:
    kept = Keeper()

    async def broken(scope: object, receive: object, send: object) -> None:
        raise RuntimeError("a bug")

    async def ask() -> None:
        scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
        await Observed(broken, [kept])(scope, None, None)  # type: ignore[arg-type]

    with pytest.raises(RuntimeError):
        asyncio.run(ask())
    assert [(each.status, each.route) for each in kept.exchanges] == [(500, "unmatched")]


@pytest.mark.parametrize(
    "said",
    [
        "",
        f"00-{TRACE.upper()}-00f067aa0ba902b7-01",
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-00f067aa0ba902b7-01",
        f"00-{TRACE}-00f067aa0ba902b7",
        f"{PARENT}-more",
        f"{PARENT}\n",
        f" {PARENT}",
    ],
)
def test_trace_that_is_said_wrong_is_none(said: str) -> None:
    assert trace_id_of({"headers": [(b"traceparent", said.encode())]}) == ""


def test_trace_of_a_later_version_counts_and_two_do_not() -> None:
    later = f"01-{TRACE}-00f067aa0ba902b7-01-more".encode()
    assert trace_id_of({"headers": [(b"traceparent", later)]}) == TRACE
    twice = [(b"traceparent", PARENT.encode())] * 2
    assert trace_id_of({"headers": twice}) == ""


@given(st.text(alphabet="0123456789abcdef-", max_size=60))
def test_whatever_is_said_a_trace_is_32_digits_or_none(said: str) -> None:
    assert re.fullmatch("[0-9a-f]{32}|", trace_id_of({"headers": [(b"traceparent", said.encode())]}))


# log lines


@contextmanager
def log_lines(log_format: LogFormat) -> Iterator[io.StringIO]:
    """Log as the server does, and as before afterwards."""
    stream = io.StringIO()
    with logging_to(log_format, stream):
        yield stream


def exchange(**changes: object) -> Exchange:
    usual: dict[str, object] = {
        "method": "GET",
        "route": "/runs/{run_id}",
        "status": 200,
        "seconds": 0.01234,
        "request_id": "ab12",
        "trace_id": TRACE,
        "client": "ci-launcher",
        "address": "203.0.113.9",
        "user_id": None,
    }
    return Exchange(**{**usual, **changes})  # type: ignore[arg-type]


def tell(log: RequestLog, *exchanges: Exchange) -> None:
    """Have these requests end in one turn of an event loop."""

    async def turn() -> None:
        for each in exchanges:
            log.began()
            log.ended(each)
        await asyncio.sleep(0)

    asyncio.run(turn())


def test_each_request_is_one_json_line() -> None:
    with log_lines(LogFormat.JSON) as stream:
        other = exchange(status=503, client="", address="", user_id=65534, trace_id="")
        tell(RequestLog(LogFormat.JSON, stream), exchange(), other)
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", first.pop("time"))
    assert first == {
        "level": "info",
        "logger": "leasehold.requests",
        "request": "ab12",
        "trace": TRACE,
        "client": "ci-launcher",
        "address": "203.0.113.9",
        "method": "GET",
        "route": "/runs/{run_id}",
        "status": 200,
        "milliseconds": 12.34,
    }
    assert (second["level"], second["user_id"], second["status"]) == ("error", 65534, 503)
    assert "trace" not in second


def test_text_is_one_line_with_hidden_characters_shown() -> None:
    with log_lines(LogFormat.TEXT) as stream:
        tell(RequestLog(LogFormat.TEXT, stream), exchange(client="", request_id="ab\n12"))
        logging.getLogger("leasehold.sweep").warning("could not\x1b[31m finish")
    first, second = stream.getvalue().splitlines()
    assert first.endswith("GET /runs/{run_id} 200 in 12.3 ms for 203.0.113.9")
    assert "\x1b" not in second


def test_log_that_nobody_takes_any_more_hinders_nothing() -> None:
    stream = io.StringIO()
    stream.close()
    tell(RequestLog(LogFormat.JSON, stream), exchange())


def test_lines_of_requests_that_end_together_are_written_at_once() -> None:
    class Pieces(io.StringIO):
        def __init__(self) -> None:
            super().__init__()
            self.flushed: list[str] = []

        def flush(self) -> None:
            self.flushed.append(self.getvalue())

    stream = Pieces()
    log = RequestLog(LogFormat.TEXT, stream)
    tell(log, exchange(), exchange())
    tell(log, exchange())
    assert [text.count("\n") for text in stream.flushed] == [2, 3]


@pytest.mark.parametrize("log_format", LogFormat)
def test_fault_is_logged_with_its_traceback(log_format: LogFormat) -> None:
    with log_lines(log_format) as stream:
        try:
            raise ValueError("a bug")
        except ValueError:
            logging.getLogger("leasehold.http").exception("request ab12 failed")
    assert "ValueError: a bug" in stream.getvalue()
    if log_format is LogFormat.JSON:
        assert json.loads(stream.getvalue())["error"].startswith("Traceback")


def test_nothing_that_a_client_keeps_secret_is_logged(house: House) -> None:
    with (
        log_lines(LogFormat.JSON) as stream,
        served(lambda site: Observed(house.build(site), [RequestLog(LogFormat.JSON, stream)])) as port,
    ):
        house.port = port
        browser = Browser(port)
        house.person(BEN, "a password that is long")
        sign_in(browser, BEN, "a password that is long", to="/critical?x=query-secret")
        browser.get("/critical?token=query-secret", Authorization="Bearer header-secret")
        cookies = list(browser.cookies.values())
    logged = stream.getvalue()
    assert logged.count("\n") >= 3
    assert not [secret for secret in ("a password", "query-secret", "header-secret", *cookies) if secret in logged]


# figures


def figures(metrics: Metrics) -> dict[str, float]:
    """All samples, by name and labels as they are written."""
    with served(lambda site: metrics_app(metrics, "127.0.0.1")) as port:
        reply = Browser(port).get("/metrics")
    assert reply.status == 200
    assert reply.headers["content-type"].startswith("text/plain; version=")
    return {
        sample.name + "".join(f" {value}" for _, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(reply.text)
        for sample in family.samples
    }


@pytest.fixture
def system() -> FrozenSystem:
    return FrozenSystem()


@pytest.fixture
def metrics(system: FrozenSystem) -> Metrics:
    return Metrics(system)


@pytest.fixture
def counted(metrics: Metrics, system: FrozenSystem, tmp_path: Path) -> Iterator[Stage]:
    """A stage whose store is watched."""
    path = tmp_path / "leasehold.toml"
    path.write_text(POLICY)
    authority = open_authority(path, state=MEMORY, system=system, sweep=False, watcher=metrics.store)
    metrics.read(authority)
    stage = Stage(authority=authority, system=system)
    yield stage
    stage.close()


def test_admissions_and_settlements_are_counted_by_their_reasons(metrics: Metrics, counted: Stage) -> None:
    lease = counted.lease()
    counted.use(lease, "ticket.update", key="k1")
    admission = counted.admit(lease, "ticket.update", key="k2")
    counted.settle(admission, OutcomeStatus.FAILED)
    counted.admit(lease, "ticket.update", key="k3")
    assert counted.refusal(lease, "ticket.update", "X-1", key="k4") is Reason.OUT_OF_RANGE
    found = figures(metrics)
    assert found["leasehold_steps_total allowed Admit"] == 3
    assert found["leasehold_steps_total out_of_range Admit"] == 1
    assert found["leasehold_settlements_total done"] == 1
    assert found["leasehold_settlements_total failed"] == 1
    assert found["leasehold_step_seconds_count Admit"] == 4
    assert found["leasehold_steps_waiting"] == 0
    assert found["leasehold_open_calls"] == 1
    assert found["leasehold_open_runs"] == 1
    assert found["leasehold_active_leases"] == 1
    assert found["leasehold_batch_steps_count"] == found["leasehold_batch_seconds_count"] > 5
    assert found["leasehold_ledger_entries"] == len(counted.entries())
    assert found["leasehold_database_readable"] == 1


def steps_around_others() -> list[type[msgspec.Struct]]:
    """Every step of the decision core that another one stands behind."""
    modules = [
        importlib.import_module(found.name) for found in pkgutil.iter_modules(decide.__path__, "leasehold.decide.")
    ]
    found = {
        value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, msgspec.Struct) and "step" in value.__struct_fields__
    }
    return sorted(found, key=lambda each: each.__name__)


@pytest.mark.parametrize("around", steps_around_others(), ids=lambda each: each.__name__)
def test_step_is_counted_by_its_own_name_whatever_it_stands_behind(around: type[msgspec.Struct]) -> None:
    probe, nothing = Probe(), dict.fromkeys(around.__struct_fields__)
    assert inner_of(around(**nothing | {"step": around(**nothing | {"step": probe})})) is probe


def test_what_is_asked_over_http_is_counted_as_what_it_is(counted: Stage, metrics: Metrics) -> None:
    engine, voice = counted.authority.engine, ClientVoice(client="nobody")
    with pytest.raises(Denied):
        engine.ask(
            lambda _: ForDoor(
                step=Probe(),
                policy_document=engine.active_policy(),
                voice=voice,
                door=DoorRight(tool="ticket", environment="prod"),
            )
        )
    assert figures(metrics)["leasehold_steps_total unknown_client Probe"] == 1


def test_stops_and_what_waits_for_people_are_shown(metrics: Metrics, counted: Stage) -> None:
    counted.authority.request(counted.start(), ERASE, reason="gone")
    counted.ask(counted.lease(ERASE), "ticket.erase", key="k")
    counted.hold("tool:mail")
    counted.revoke("tool:mail", tenant="acme")
    found = figures(metrics)
    assert found["leasehold_stops_in_force hold"] == 1
    assert found["leasehold_stops_in_force revoke"] == 1
    assert found["leasehold_breakers_tripped"] == 0
    assert found["leasehold_pending_requests"] == 1


def test_clock_that_is_behind_is_shown_with_how_far(metrics: Metrics, counted: Stage) -> None:
    counted.start()
    counted.system.jump(seconds=-60)
    found = figures(metrics)
    assert found["leasehold_clock_behind_seconds"] == 60
    assert found["leasehold_clock_difference_seconds"] == 0


def test_clock_of_this_machine_is_compared_with_the_databases(metrics: Metrics, counted: Stage) -> None:
    class Elsewhere(MeddledStore):
        def clock(self) -> object:
            return type(counted.system.now())(int(counted.system.now()) + 3500)

    inner = counted.authority.engine.store
    counted.authority.engine.store = Elsewhere(inner)
    assert figures(metrics)["leasehold_clock_difference_seconds"] == -3.5
    counted.authority.engine.store = inner


def test_database_that_cannot_be_read_leaves_the_other_figures(metrics: Metrics, counted: Stage) -> None:
    counted.start()
    counted.authority.engine.store.close()
    found = figures(metrics)
    assert found["leasehold_database_readable"] == 0
    assert "leasehold_open_runs" not in found
    assert found["leasehold_steps_total allowed Start"] == 1


def test_steps_without_an_answer_are_counted_by_what_failed(metrics: Metrics, counted: Stage) -> None:
    counted.authority.engine.store.close()
    counted.authority.engine.store.submit(Probe()).exception()
    assert figures(metrics)["leasehold_step_errors_total unavailable Probe"] == 1


def test_heads_kept_outside_are_shown_with_their_time(metrics: Metrics) -> None:
    metrics.store.anchored(TreeHead(epoch=1, size=12, root=b""))
    metrics.store.anchored(None)
    found = figures(metrics)
    assert found["leasehold_checkpoint_entries"] == 12
    assert found["leasehold_checkpoint_timestamp_seconds"] == int(FrozenSystem().now()) / 1000
    assert found["leasehold_checkpoint_failures_total"] == 1


def test_requests_are_counted_by_template_and_status(metrics: Metrics, house: House) -> None:
    with served(lambda site: Observed(house.build(site), [metrics.server])) as port:
        browser = Browser(port)
        for path in ("/sign-in", "/sign-in?x=1", "/nowhere/1", "/nowhere/2"):
            browser.get(path)
    found = figures(metrics)
    assert found["leasehold_http_requests_total GET /sign-in 200"] == 2
    assert found["leasehold_http_requests_total GET unmatched 303"] == 2
    assert found["leasehold_http_requests_open"] == 0
    assert found["leasehold_http_request_seconds_count /sign-in"] == 2


def test_no_figure_names_a_tenant_a_person_an_agent_or_an_id(metrics: Metrics, counted: Stage) -> None:
    counted.people.approve(counted.ask(counted.lease(ERASE), "ticket.erase", key="k2"), BEN)
    lease = counted.lease()
    counted.use(lease, "ticket.update", "T-18421", key="k1")
    counted.hold("agent:bot")
    with served(lambda site: metrics_app(metrics, "127.0.0.1")) as port:
        shown = Browser(port).get("/metrics").text
    ids = (lease.lease.lease_id, lease.lease.run_id, lease.lease.request_id)
    assert not [word for word in ("acme", "ben", "bot", "T-18421", "desk", *ids) if re.search(rf"\b{word}\b", shown)]


@pytest.mark.case(116)
@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("127.0.0.1:9470", 200),
        ("[::1]:9470", 200),
        ("localhost:9470", 200),
        ("leasehold:9470", 200),
        ("metrics.acme.example:9470", 200),
        ("evil.example:9470", 421),
        ("127.0.0.1.evil.example", 421),
    ],
)
def test_figures_are_shown_under_no_name_that_others_can_point_here(metrics: Metrics, name: str, status: int) -> None:
    with served(lambda site: metrics_app(metrics, "metrics.acme.example")) as port:
        reply = Browser(port).get("/metrics", Host=name)
        assert reply.status == status
        assert ("leasehold_steps" in reply.text) == (status == 200)
