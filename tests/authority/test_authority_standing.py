"""What is held or revoked now: every kind of stop, with who did it and why, and nothing that is over."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from leasehold.authority.standing import Standing
from leasehold.decide.facts import Changes, StepAnswer
from leasehold.decide.rows import RunRow
from leasehold.model.decision import allow
from leasehold.model.scope import StopKind
from leasehold.store import queries
from leasehold.testing.store_steps import ScriptedStep
from stage import Stage

pytestmark = pytest.mark.requirement("P15", "L13")


def listed(stage: Stage) -> list[tuple[str, str, str]]:
    return [(stop.tenant, stop.scope, stop.kind) for stop in stage.desk.standing()]


def test_holds_of_every_kind_are_listed_with_who_and_why(stage: Stage) -> None:
    lease = stage.lease()
    at = stage.system.now().seconds
    for scope in (f"run:{lease.lease.run_id}", f"request:{lease.lease.request_id}", "tool:ticket"):
        stage.hold(scope)
    stage.hold("agent:bot", tenant="acme")
    said = {"kind": StopKind.HOLD, "at": at, "by": "op", "reason": "look"}
    assert set(stage.desk.standing()) == {
        Standing(tenant="acme", scope=f"run:{lease.lease.run_id}", **said),
        Standing(tenant="acme", scope=f"request:{lease.lease.request_id}", **said),
        Standing(tenant="", scope="tool:ticket", **said),
        Standing(tenant="acme", scope="agent:bot", **said),
    }
    for scope in (f"run:{lease.lease.run_id}", f"request:{lease.lease.request_id}", "tool:ticket"):
        stage.lift(scope)
    stage.lift("agent:bot", tenant="acme")
    assert listed(stage) == []


def test_stops_over_a_tenant_in_which_nothing_ever_ran_are_listed_too(stage: Stage) -> None:
    stage.hold("tool:ticket", tenant="globex")
    stage.revoke("agent:bot", tenant="globex")
    assert sorted(listed(stage)) == [("globex", "agent:bot", "revoke"), ("globex", "tool:ticket", "hold")]
    stage.lift("tool:ticket", tenant="globex")
    stage.sweep()
    assert listed(stage) == []


def test_a_held_lease_stands_there_with_the_request_it_was_drawn_from(stage: Stage) -> None:
    lease = stage.lease().lease
    stage.hold(f"lease:{lease.lease_id}")
    assert listed(stage) == [
        ("acme", f"lease:{lease.lease_id}", "hold"),
        ("acme", f"request:{lease.request_id}", "hold"),
    ]


def test_the_last_word_on_a_hold_counts(stage: Stage) -> None:
    scope = f"run:{stage.lease().lease.run_id}"
    stage.hold(scope)
    stage.pass_time(5)
    stage.lift(scope)
    stage.hold(scope)
    (stop,) = stage.desk.standing()
    assert stop.at == stage.system.now().seconds


def test_what_is_over_is_not_listed(stage: Stage) -> None:
    run = stage.start()
    lease = stage.lease(run=run)
    for scope in (f"run:{run.run_id}", f"request:{lease.lease.request_id}", f"lease:{lease.lease.lease_id}"):
        stage.hold(scope)
    stage.authority.finish(run)
    assert listed(stage) == []


def test_a_wide_revoke_is_listed_until_nothing_is_old_enough_for_it(stage: Stage) -> None:
    stage.lease()
    stage.revoke("action:ticket.update")
    assert listed(stage) == [("", "action:ticket.update", "revoke")]
    stage.pass_time(3600)
    for _ in range(2):
        stage.sweep()
    assert listed(stage) == []


def test_the_newest_stop_stands_first(stage: Stage) -> None:
    stage.lease()
    stage.hold("agent:bot")
    stage.pass_time(1)
    stage.hold("agent:helper")
    assert [scope for _, scope, _ in listed(stage)] == ["agent:helper", "agent:bot"]


def test_a_hold_far_back_in_a_busy_run_is_found(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("leasehold.authority.standing.MAX_LISTED", 2)
    lease = stage.lease()
    stage.hold(f"request:{lease.lease.request_id}")
    for key in "abc":
        stage.refusal(lease, "ticket.update", key=key)
    (stop,) = stage.desk.standing()
    assert (stop.by, stop.reason) == ("op", "look")
    assert queries.MAX_LISTED == 1000


def test_a_mark_that_the_ledger_does_not_tell_of_is_listed_all_the_same(stage: Stage) -> None:
    run = stage.start()
    engine = stage.authority.engine
    row = engine.row(RunRow, "acme", run.run_id)
    assert row is not None
    marked = Changes(rows=(replace(row, held=1),))
    engine.store.submit(ScriptedStep([], lambda _, __: (StepAnswer(allow()), marked))).result()
    said = {"kind": StopKind.HOLD, "at": 0, "by": "", "reason": ""}
    assert stage.desk.standing() == (Standing(tenant="acme", scope=f"run:{run.run_id}", **said),)
