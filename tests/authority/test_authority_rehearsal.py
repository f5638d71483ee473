"""A rehearsal answers what the step would, and leaves nothing behind."""

from __future__ import annotations

import pytest

from leasehold.authority.rehearsal import Rehearsal
from leasehold.decide.draw_first import DrawFirst
from leasehold.decide.facts import AllOpenCalls, Changes, Index, OpenCalls, PendingRequests, RequestsOfCall, StepAnswer
from leasehold.decide.issue import DrawLease
from leasehold.decide.rows import RequestRow
from leasehold.errors import TransitionError
from leasehold.model.decision import Reason, allow
from leasehold.model.ids import LeaseId
from stage import AUDIT, CLOSE, GET, UPDATE, Stage, reason_of


class Look:
    """A step that answers what an index holds."""

    policy = None
    needs_clock = False

    def __init__(self, index: Index) -> None:
        self._index = index

    def keys(self) -> list[Index]:
        return [self._index]

    def decide(self, facts, now) -> tuple[StepAnswer[object], Changes]:
        return StepAnswer(allow(), facts.find(self._index)), Changes()


def seen(rehearsal: Rehearsal, index: Index) -> int:
    return len(rehearsal.ask(Look(index))[0].value)


def test_a_rehearsal_sees_what_is_committed_and_what_it_did_itself_and_writes_nothing(stage: Stage) -> None:
    run = stage.start()
    request = stage.authority.request(run, UPDATE, reason="x")
    before = len(stage.entries())
    engine = stage.authority.engine
    rehearsal = Rehearsal(engine)
    draw = DrawLease(
        policy_document=engine.active_policy(),
        run=engine.run("acme", run.run_id),
        request=engine.request("acme", request.request_id),
        lease_id=LeaseId(engine.system.new_id("lease")),
    )
    assert rehearsal.ask(DrawFirst(draw=draw))[0].value is not None
    assert rehearsal.ask(DrawFirst(draw=draw))[0].decision.reason is Reason.REPLAYED
    assert (len(stage.entries()), engine.row(RequestRow, "acme", request.request_id).state) == (before, "approved")


@pytest.mark.case(110)
def test_the_first_lease_of_a_request_is_drawn_once(stage: Stage) -> None:
    run = stage.start()
    request, engine = stage.authority.request(run, UPDATE, reason="x"), stage.authority.engine
    stored = engine.run("acme", run.run_id)

    def drawn() -> object:
        lease_id = LeaseId(engine.system.new_id("lease"))
        return engine.ask(
            lambda policy: DrawFirst(
                draw=DrawLease(policy_document=policy, run=stored, request=request, lease_id=lease_id)
            )
        )

    assert drawn()
    assert reason_of(drawn) is Reason.REPLAYED
    assert reason_of(drawn) is Reason.REPLAYED


def test_every_index_can_be_looked_into(stage: Stage) -> None:
    lease = stage.lease(GET | AUDIT | CLOSE)
    stage.admit(lease, "ticket.get")
    request = stage.authority.find_request(stage.ask(lease, "ticket.audit"))
    digest = stage.authority.engine.request_row("acme", request.request_id).call_digest
    rehearsal = Rehearsal(stage.authority.engine, request.run_id)
    found = [
        seen(rehearsal, index)
        for index in (
            OpenCalls(("acme",)), AllOpenCalls(()), PendingRequests(("acme", request.run_id)),
            RequestsOfCall(("acme", digest)), OpenCalls(("globex",)),
        )
    ]  # fmt: skip
    assert found == [1, 1, 1, 1, 0]


def test_an_index_that_nobody_can_look_into_is_a_fault(stage: Stage) -> None:
    with pytest.raises(TransitionError, match="cannot be rehearsed"):
        seen(Rehearsal(stage.authority.engine), Index(("acme",)))


def test_who_holds_the_open_state_has_a_first_lease_once_too(stage: Stage) -> None:
    request = stage.authority.request(stage.start(), UPDATE, reason="x")
    assert stage.authority.runs.submit_first_draw(request).result().lease.request_id == request.request_id
    assert reason_of(lambda: stage.authority.runs.submit_first_draw(request).result()) is Reason.REPLAYED


def test_without_the_guard_a_code_would_be_good_for_two_leases(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DrawFirst, "decide", lambda step, facts, now: step.draw.decide(facts, now))
    with pytest.raises(AssertionError, match="not refused"):
        test_the_first_lease_of_a_request_is_drawn_once(stage)
