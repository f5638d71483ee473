"""Lost answers, repeats, connections cut in the middle, a server that was restarted: one effect, and charges stay."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
from cutting import Cut, cutting
from far import CLIENTS, HOST, FarStage, Switch, key_of
from starlette.types import Receive, Scope, Send

from leasehold.client import worker
from leasehold.client.remote import RemoteAuthority, connect
from leasehold.errors import Denied, UnavailableError
from leasehold.guard import Capability, Guard
from leasehold.ledger.entry import EntryKind
from leasehold.ledger.history import check_history
from leasehold.model.call import Outcome, OutcomeStatus
from leasehold.model.decision import Reason
from leasehold.model.lease import KeyedLease
from leasehold.system import RealSystem
from leasehold.testing.fixtures import memory_authority
from served import served
from stage import ANA, BEN, GET, UPDATE, Stage, changed

MANY = changed("calls = 20", "calls = 2000") + CLIENTS
DOOR = "ticket@prod"


@pytest.fixture
def near() -> Iterator[Stage]:
    """The authority itself, with real clocks, because what is cut takes real time."""
    stage = Stage(authority=memory_authority(MANY, system=RealSystem()))
    yield stage
    assert check_history(stage.entries()) == []
    stage.close()


def far(near: Stage, port: int, client: str = HOST, seconds: float = 30.0) -> RemoteAuthority:
    return connect(f"http://127.0.0.1:{port}", key_of(near.authority, client), deadline_seconds=seconds)


def started(authority: RemoteAuthority) -> Any:
    return authority.start(
        agent="bot", route="desk", tenant="acme", environment="prod", requested_by=ANA, purpose="answer T-1"
    )


def until_started(update: Any, lease: KeyedLease, ticket: str) -> None:
    """Make the same call again where its answer was so late that it was not started."""
    while True:
        try:
            return update(lease, ticket_id=ticket)
        except Denied as denied:
            if denied.decision.reason is not Reason.NOT_STARTED_IN_TIME:
                raise


@pytest.mark.requirement("L9", "P14")
@pytest.mark.invariant("I2", "I3", "I7")
@pytest.mark.parametrize("seed", range(3))
def test_whatever_is_cut_each_call_runs_once_and_is_charged_once(
    near: Stage, port: int, switch: Switch, seed: int
) -> None:
    switch.serve(near.authority)
    ran: Counter[str] = Counter()
    with (
        cutting(port, seed=seed, cuts=(*Cut, Cut.NOTHING, Cut.NOTHING, Cut.NOTHING)) as proxy,
        far(near, proxy.port) as host,
        far(near, proxy.port, DOOR) as door,
    ):
        guard = Guard("ticket", door, environment="prod")

        @guard.action("update")
        def update(capability: Capability, ticket_id: str) -> None:
            ran[ticket_id] += 1

        run = started(host)
        lease = host.wait(host.request(run, UPDATE, reason="customer asked"), 30)
        numbers = range(40)
        with ThreadPoolExecutor(8) as threads:
            done = list(threads.map(lambda n: until_started(update, lease.once(f"k{n}"), f"T-{n}"), numbers))
        proxy.is_quiet = True
        receipt = host.finish(run)

    assert len(done) == 40
    assert ran == Counter({f"T-{number}": 1 for number in numbers})
    assert set(proxy.made) == set(Cut)
    assert near.spent(lease.lease.request_id) == (40_000_000, 0, 0)
    settled = [entry.outcome for entry in near.entries(EntryKind.CALL_SETTLED)]
    assert settled.count("done") == 40
    assert set(settled) <= {"done", "not_started"}
    assert len(near.entries(EntryKind.RUN_STARTED)) == len(near.entries(EntryKind.REQUEST_MADE)) == 1
    assert receipt


@pytest.mark.invariant("I7")
@pytest.mark.parametrize("cut", [Cut.AFTER, Cut.AMID, Cut.BLAMED_AFTER])
def test_call_whose_answer_never_comes_is_not_run_and_its_charge_is_not_forgotten(
    near: Stage, port: int, switch: Switch, cut: Cut
) -> None:
    switch.serve(near.authority)
    lease = near.lease(UPDATE)
    ran: list[str] = []
    with cutting(port, seed=0, cuts=(cut,)) as proxy, far(near, proxy.port, DOOR, 0.4) as door:
        guard = Guard("ticket", door, environment="prod")

        @guard.action("update")
        def update(capability: Capability, ticket_id: str) -> None:
            ran.append(ticket_id)

        with pytest.raises(UnavailableError) as raised:
            update(lease.once("k"), ticket_id="T-1")

    assert raised.value.maybe_persisted is True
    assert ran == []
    assert len(near.entries(EntryKind.CALL_ADMITTED)) == 1
    assert near.spent(lease.lease.request_id) in ((0, 1_000_000, 0), (0, 0, 0))  # given back if that word came through


def test_call_that_ran_and_whose_settle_never_comes_stays_charged(near: Stage, port: int, switch: Switch) -> None:
    switch.serve(near.authority)
    lease = near.lease(UPDATE)
    with cutting(port, seed=0, cuts=(Cut.BEFORE,)) as proxy, far(near, proxy.port, DOOR, 1.0) as door:
        guard = Guard("ticket", door, environment="prod")
        proxy.is_quiet = True
        with guard.call(lease.once("k"), "update", {"ticket_id": "T-1"}):
            proxy.is_quiet = False

    assert near.entries(EntryKind.CALL_SETTLED) == []
    assert near.spent(lease.lease.request_id) == (0, 1_000_000, 0)
    assert near.refusal(lease, "ticket.update", key="k") is Reason.IN_FLIGHT


def test_next_call_of_a_lease_is_judged_after_the_report_of_the_one_before(
    near: Stage, port: int, switch: Switch
) -> None:
    switch.serve(near.authority)
    at_once, heard = switch.app, asyncio.Event()
    assert at_once is not None
    order: list[str] = []

    async def overtaken(scope: Scope, receive: Receive, send: Send) -> None:
        """A report is held back until the next question comes, if it comes while the report is on its way."""
        is_report = scope["path"].endswith("/settle")
        if is_report:
            with suppress(TimeoutError):
                await asyncio.wait_for(heard.wait(), 0.2)
        elif order:
            heard.set()
        await at_once(scope, receive, send)
        order.append("report" if is_report else "question")

    switch.app = overtaken
    lease = near.lease(GET)
    with far(near, port, DOOR) as door:
        guard = Guard("ticket", door, environment="prod")
        for key in ("1", "2"):
            with guard.call(lease.once(key), "get", {"ticket_id": "T-1"}):
                pass
    assert order[:3] == ["question", "report", "question"]


def test_report_on_its_way_arrives_though_the_client_is_closed(near: Stage, port: int, switch: Switch) -> None:
    switch.serve(near.authority)
    at_once = switch.app
    assert at_once is not None

    async def late(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"].endswith("/settle"):
            await asyncio.sleep(0.1)
        await at_once(scope, receive, send)

    switch.app = late
    lease = near.lease(GET)
    with (
        far(near, port, DOOR) as door,
        Guard("ticket", door, environment="prod").call(lease, "get", {"ticket_id": "T-1"}),
    ):
        pass
    assert [entry.outcome for entry in near.entries(EntryKind.CALL_SETTLED)] == ["done"]


def test_closing_does_not_wait_forever_for_a_report(
    near: Stage, port: int, switch: Switch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "LAST_REPORTS_SECONDS", 0.05)
    switch.serve(near.authority)
    at_once = switch.app
    assert at_once is not None

    async def never(scope: Scope, receive: Receive, send: Send) -> None:
        if not scope["path"].endswith("/settle"):
            await at_once(scope, receive, send)
            return
        while (await receive())["type"] != "http.disconnect":
            pass

    switch.app = never
    lease = near.lease(GET)
    with far(near, port, DOOR) as door:
        admission = door.door("ticket", "prod").admit(lease.token_for("ticket"), near.call("ticket.get"))
        report = door.door("ticket", "prod").submit_settle(admission.admission_id, Outcome(status=OutcomeStatus.DONE))
    assert isinstance(report.exception(10), UnavailableError)


def test_same_words_sent_again_are_the_same_answer_and_other_words_are_a_conflict(stage: FarStage) -> None:
    lease = stage.lease()
    call = stage.call("ticket.update", key="k")
    door = stage.door()
    first = door.admit(lease.token_for("ticket"), call)

    assert door.admit(lease.token_for("ticket"), call).admission_id == first.admission_id
    done = Outcome(status=OutcomeStatus.DONE)
    assert door.settle(call.admission_id, done) == door.settle(call.admission_id, done)
    with pytest.raises(Denied) as denied:
        door.settle(call.admission_id, Outcome(status=OutcomeStatus.FAILED))
    assert denied.value.decision.reason is Reason.ALREADY_SETTLED


def test_client_goes_on_when_its_server_was_restarted(near: Stage) -> None:
    """The second server takes the first one's port; the client has connections to the first."""
    switch = Switch()
    streams = switch.serve(near.authority)
    with served(lambda _: switch, last_seconds=1) as port:
        host = far(near, port)
        run = started(host)
        request = host.request(run, {"ticket.close": {"ticket": ["T-1"]}}, reason="customer asked")
        waiting = host.runs.submit_wait(request)
        wait_for(switch, f"/v1/requests/{request.request_id}")
        streams.close()
    near.people.approve(request.request_id, BEN)
    switch.serve(near.authority)
    with host, served(lambda _: switch, port=port):
        assert waiting.result(30).lease.request_id == request.request_id
        assert host.run(run.run_id).attempt == 1


def test_watch_outlives_an_authority_that_cannot_be_reached(near: Stage) -> None:
    switch = Switch()
    streams = switch.serve(near.authority)
    told = threading.Event()
    with served(lambda _: switch, last_seconds=1) as port:
        host, door = far(near, port), far(near, port, DOOR, 1.0)
        run = started(host)
        lease = host.wait(host.request(run, UPDATE, reason="customer asked"), 30)
        admission = door.door("ticket", "prod").admit(lease.token_for("ticket"), near.call("ticket.update", key="k"))
        door.door("ticket", "prod").watch(admission.admission_id, lambda _: told.set())
        wait_for(switch, f"/v1/admissions/{admission.admission_id}")
        streams.close()
    near.revoke(f"lease:{lease.lease.lease_id}", tenant="acme")
    assert not told.is_set()
    switch.serve(near.authority)
    with host, door, served(lambda _: switch, port=port):
        assert told.wait(30)
        door.door("ticket", "prod").settle(admission.admission_id, Outcome(status=OutcomeStatus.DONE))


def test_watch_of_a_guard_that_counts_no_more_ends_its_call(
    near: Stage, switch: Switch, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody could tell it of a revoke any more, so what runs is not left to run on."""
    monkeypatch.setattr("leasehold.client.door._LOOK_MS", 0)
    told: queue.SimpleQueue[Reason] = queue.SimpleQueue()
    switch.serve(near.authority)
    with far(near, port) as host, far(near, port, DOOR) as guard:
        lease = host.wait(host.request(started(host), UPDATE, reason="customer asked"), 30)
        door = guard.door("ticket", "prod")
        admission = door.admit(lease.token_for("ticket"), near.call("ticket.update", key="k"))
        door.watch(door.new_admission_id(), lambda decision: told.put(decision.reason))
        assert told.get(timeout=10) is Reason.NOT_FOUND
        door.watch(admission.admission_id, lambda decision: told.put(decision.reason))
        keys = near.authority.clients.keys()
        for row in keys:
            near.authority.clients.remove_key(row.key_id, by="op")
        assert told.get(timeout=10) is Reason.UNKNOWN_CLIENT


def wait_for(switch: Switch, path: str) -> None:
    """Until something was asked; it is looked at often, because nobody tells."""
    while path not in switch.asked:
        threading.Event().wait(0.01)
