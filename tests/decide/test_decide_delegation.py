"""Child runs: strictly narrower, dead with their parents, drawing on their budgets (invariant I6, requirement B9)."""

from __future__ import annotations

import pytest

from leasehold.errors import InvalidError
from leasehold.ledger.entry import EntryKind
from leasehold.model.decision import Reason
from leasehold.model.grant import grants_to_json
from stage import AUDIT, BEN, CLOSE, ERASE, EVA, GET, POLICY, UPDATE, Stage, changed, reason_of

pytestmark = [pytest.mark.requirement("B9"), pytest.mark.invariant("I6")]

ALL = GET | UPDATE | AUDIT | CLOSE
DELEGATION = next(line for line in POLICY.splitlines() if line.startswith("delegation = "))


@pytest.mark.requirement("B3", "B4")
def test_a_child_has_its_parents_envelope_and_names_its_own_task(stage: Stage) -> None:
    parent = stage.lease()
    child = stage.child(parent).run
    assert (child.tenant, child.environment, child.requested_by, child.route) == ("acme", "prod", "user:ana", "desk")
    assert (child.agent, child.purpose, child.parent_run) == ("helper", "look it up", parent.lease.run_id)
    entry = stage.entries(EntryKind.RUN_STARTED)[1]
    assert (entry.parent_run, entry.lease) == (parent.lease.run_id, parent.lease.lease_id)
    lease = stage.lease(run=stage.authority.run(child.run_id))
    assert lease.lease.parents == (parent.lease.lease_id,)
    stage.use(lease, "ticket.update", key="a")
    used = stage.entries(EntryKind.CALL_ADMITTED)[0]
    assert (used.run, used.parent_run, used.parents) == (child.run_id, parent.lease.run_id, (parent.lease.lease_id,))


@pytest.mark.case(39)
@pytest.mark.parametrize(
    "named", [{"tenant": "globex"}, {"environment": "dev"}, {"route": "solo"}, {"requested_by": BEN}]
)
def test_a_child_cannot_name_another_envelope(stage: Stage, named: dict[str, str]) -> None:
    parent = stage.lease()
    with pytest.raises(InvalidError, match="name none"):
        stage.authority.start(agent="helper", purpose="x", parent=parent, **named)
    same = {name: getattr(parent.lease, name) for name in named}
    stage.authority.start(agent="helper", purpose="x", parent=parent, **same)


@pytest.mark.requirement("L8")
def test_a_lease_may_not_be_delegated_unless_its_route_says_so(stage: Stage) -> None:
    lease = stage.lease(GET, run=stage.start(route="staging", environment="staging"))
    assert lease.lease.delegation_depth == 0
    assert reason_of(lambda: stage.child(lease)) is Reason.NO_DELEGATION
    assert stage.entries(EntryKind.START_DENIED)[0].reason == "no_delegation"


@pytest.mark.requirement("L8")
def test_a_request_may_give_up_delegation(stage: Stage) -> None:
    assert reason_of(lambda: stage.child(stage.lease(delegation_depth=0))) is Reason.NO_DELEGATION


@pytest.mark.case(39)
@pytest.mark.parametrize(
    ("allow", "reason"),
    [
        ({"ticket.update": {"ticket": ["T-1*"]}}, Reason.WIDER_THAN_PARENT),
        ({"ticket.get": {"ticket": ["T-1"]}}, Reason.WIDER_THAN_PARENT),
        ({"ticket.tag": {"ticket": ["T-1"]}}, Reason.NO_DELEGATION),
        ({"mail.send": {"ticket": ["T-1"]}}, Reason.NO_DELEGATION),
    ],
)
def test_a_child_gets_nothing_that_its_parent_lacks_or_may_not_delegate(
    stage: Stage, allow: dict[str, dict[str, object]], reason: Reason
) -> None:
    parent = stage.lease({"ticket.update": {"ticket": ["T-1"]}, "ticket.tag": {"ticket": ["T-*"]}})
    child = stage.child(parent)
    assert reason_of(lambda: stage.lease(allow, run=child)) is reason
    narrower = stage.lease({"ticket.update": {"ticket": ["T-1"]}}, run=child)
    assert grants_to_json(narrower.lease.allow) == {"ticket.update": {"ticket": ["T-1"]}}


@pytest.mark.case(39, 43)
def test_depth_shrinks_with_each_generation_and_ends(stage: Stage) -> None:
    parent = stage.lease()
    child = stage.lease(run=stage.child(parent))
    grandchild = stage.lease(run=stage.child(child))
    depths = [held.lease.delegation_depth for held in (parent, child, grandchild)]
    assert depths == [2, 1, 0]
    assert reason_of(lambda: stage.child(grandchild)) is Reason.NO_DELEGATION


@pytest.mark.case(39)
def test_a_child_delegates_no_deeper_than_its_parent_was_granted(stage: Stage) -> None:
    parent = stage.lease(delegation_depth=1)
    child = stage.lease(run=stage.child(parent))
    assert child.lease.delegation_depth == 0
    assert reason_of(lambda: stage.child(child)) is Reason.NO_DELEGATION


@pytest.mark.requirement("B8")
@pytest.mark.case(43)
def test_a_tree_has_only_so_many_children_finished_ones_included(stage: Stage) -> None:
    parent = stage.lease()
    first = stage.child(parent)
    stage.authority.runs.end(first.run, "done")
    stage.accept(changed("children = 2", "children = 1"))
    assert reason_of(lambda: stage.child(parent)) is Reason.BUDGET, "the live policy gives no more"
    stage.accept(POLICY)
    second = stage.lease(run=stage.child(parent))
    assert reason_of(lambda: stage.child(parent)) is Reason.BUDGET
    assert reason_of(lambda: stage.child(second)) is Reason.BUDGET
    assert [entry.reason for entry in stage.entries(EntryKind.START_DENIED)] == ["budget"] * 3


@pytest.mark.requirement("L6", "B2")
@pytest.mark.case(45)
@pytest.mark.parametrize("end", ["expiry", "revoke", "finish", "attempt", "hold", "completed"])
def test_a_child_is_dead_the_moment_its_parent_is(stage: Stage, end: str) -> None:
    run = stage.start()
    parent = stage.lease(ALL, run=run, ttl_seconds=60)
    child_run = stage.child(parent)
    child = stage.lease(run=child_run)
    assert child.lease.expires_at == parent.lease.expires_at
    stage.use(child, "ticket.update", key="a")
    expected = {
        "expiry": {Reason.EXPIRED},
        "revoke": {Reason.REVOKED},
        "finish": {Reason.RUN_FINISHED, Reason.COMPLETED},
        "attempt": {Reason.STALE_ATTEMPT},
        "hold": {Reason.HELD},
        "completed": {Reason.COMPLETED},
    }[end]
    match end:
        case "expiry":
            stage.pass_time(60)
        case "revoke":
            stage.revoke(f"request:{parent.lease.request_id}")
        case "finish":
            stage.authority.runs.end(run.run, "done")
        case "attempt":
            stage.authority.retry(run)
        case "hold":
            stage.hold(f"run:{run.run_id}")
        case _:
            stage.people.approve(stage.ask(parent, "ticket.close", key="c"), BEN)
            stage.use(parent, "ticket.close", key="c")
    assert stage.refusal(child, "ticket.update", key="b") in expected
    assert reason_of(lambda: stage.authority.renew(child)) in expected
    assert reason_of(lambda: stage.child(child)) in expected
    if end != "expiry":
        assert reason_of(lambda: stage.authority.request(child_run, UPDATE, reason="x")) in expected


@pytest.mark.requirement("L15")
def test_a_child_renews_under_the_newest_lease_of_its_parent(stage: Stage) -> None:
    parent = stage.lease(ttl_seconds=60)
    child = stage.lease(run=stage.child(parent))
    stage.pass_time(59)
    newer = stage.authority.renew(parent)
    stage.pass_time(1)
    assert stage.refusal(child, "ticket.update", key="a") is Reason.EXPIRED
    renewed = stage.authority.renew(child)
    assert renewed.lease.parents == (newer.lease.lease_id,)
    assert renewed.lease.expires_at == newer.lease.expires_at
    stage.use(renewed, "ticket.update", key="a")


@pytest.mark.requirement("B2")
def test_finishing_a_run_finishes_its_children_root_first(stage: Stage) -> None:
    run = stage.start()
    child = stage.child(stage.lease(run=run))
    grandchild = stage.child(stage.lease(run=child))
    stage.authority.runs.end(run.run, "done")
    ended = [(entry.run, entry.outcome) for entry in stage.entries(EntryKind.RUN_FINISHED)]
    assert ended == [(run.run_id, "done"), (child.run_id, "parent"), (grandchild.run_id, "parent")]


@pytest.mark.requirement("P12")
@pytest.mark.invariant("I4")
def test_what_needs_approval_needs_it_afresh_inside_the_child(stage: Stage) -> None:
    parent = stage.lease(AUDIT)
    child = stage.lease(AUDIT, run=stage.child(parent))
    stage.people.approve(stage.ask(parent, "ticket.audit"), BEN)
    request = stage.ask(child, "ticket.audit")
    stage.people.approve(request, EVA)
    assert stage.admit(child, "ticket.audit").approval == request


@pytest.mark.requirement("B8")
@pytest.mark.invariant("I2")
@pytest.mark.case(66)
def test_children_draw_on_the_accounts_of_everything_above_them(stage: Stage) -> None:
    run = stage.start()
    parent = stage.lease(run=run, budget={"calls": 3})
    child = stage.lease(run=stage.child(parent))
    stage.use(child, "ticket.update", key="a")
    admitted = stage.admit(child, "ticket.update", key="b")
    for account in (run.run_id, parent.lease.request_id, child.lease.request_id):
        assert stage.spent(account) == (1_000_000, 1_000_000, 0)
    stage.use(parent, "ticket.update", key="c")
    assert stage.refusal(child, "ticket.update", key="d") is Reason.BUDGET
    assert stage.refusal(parent, "ticket.update", key="e") is Reason.BUDGET
    stage.settle(admitted)
    other = stage.lease(run=run)
    stage.use(other, "ticket.update", key="f")
    assert stage.spent(run.run_id) == (4_000_000, 0, 0)


# When the policy narrows


@pytest.mark.requirement("P4")
def test_a_policy_that_narrows_mid_run_holds_from_the_next_call_on(stage: Stage) -> None:
    parent = stage.lease()
    child = stage.lease(run=stage.child(parent))
    stage.accept(
        changed('allow."ticket.update" = { ticket = ["T-*"] }', 'allow."ticket.update" = { ticket = ["T-2"] }')
    )
    for held in (parent, child):
        assert stage.refusal(held, "ticket.update", key="a") is Reason.POLICY_DENIES
    stage.use(child, "ticket.update", "T-2", key="a")


@pytest.mark.requirement("L8")
@pytest.mark.parametrize(
    "delegation", ["", DELEGATION.replace('"ticket.update", ', ""), DELEGATION.replace("depth = 2", "depth = 0")]
)
def test_a_policy_that_takes_delegation_back_ends_what_was_delegated(stage: Stage, delegation: str) -> None:
    parent = stage.lease()
    child_run = stage.child(parent)
    child = stage.lease(run=child_run)
    stage.accept(changed(DELEGATION, delegation))
    assert stage.refusal(child, "ticket.update", key="a") is Reason.NO_DELEGATION
    assert reason_of(lambda: stage.authority.renew(child)) is Reason.NO_DELEGATION
    assert reason_of(lambda: stage.lease(run=child_run)) is Reason.NO_DELEGATION
    stage.use(parent, "ticket.update", key="a")
    if "depth = 2" not in delegation:
        assert reason_of(lambda: stage.child(parent)) is Reason.NO_DELEGATION


def test_destructive_actions_need_two_people_inside_a_child_too() -> None:
    text = changed('"ticket.audit", "ticket.close"] }', '"ticket.audit", "ticket.close", "ticket.erase"] }')
    stage = Stage(text)
    child = stage.lease(ERASE, run=stage.child(stage.lease(ERASE)))
    request = stage.ask(child, "ticket.erase", key="a")
    assert stage.people.approve(request, BEN).approvals_missing == 1
    assert stage.refusal(child, "ticket.erase", key="a") is Reason.APPROVAL_NEEDED
    stage.close()
