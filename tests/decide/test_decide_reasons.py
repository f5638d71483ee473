"""Every reason of the closed list: who gives it, and that the ledger has it where an authentic lease was refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from leasehold.decide.finish import FinishRun
from leasehold.errors import ApprovalNeeded, Denied
from leasehold.ledger.entry import EntryKind
from leasehold.model.call import ParentCall
from leasehold.model.decision import Reason
from leasehold.model.lease import HeldLease
from leasehold.model.preview import Preview, PreviewMade
from meddling import raw
from previewed import PREVIEWED, erase_by_hand, look_by_hand
from stage import AUDIT, BEN, CLOSE, ERASE, EVA, GET, POLICY, UPDATE, Stage, changed

TO_THE_DESK = {
    Reason.NOT_PENDING,
    Reason.NOT_ENTITLED,
    Reason.OWN_REQUEST,
    Reason.BAD_SIGNATURE,
    Reason.CARD_CHANGED,
    Reason.NOT_SIGNED_IN,
    Reason.PASSKEY_NEEDED,
    Reason.SIGN_IN_TOO_OLD,
}
TO_WHO_ASKS = {
    Reason.UNKNOWN_ROUTE,
    Reason.WIDER_THAN_PARENT,
    Reason.TTL_TOO_LONG,
    Reason.TOO_LARGE,
    Reason.APPROVAL_EXPIRED,
}
BEFORE_THE_STEP = {Reason.BAD_TOKEN, Reason.WRONG_ENVIRONMENT, Reason.REPLAYED}
BY_THE_GUARD = {Reason.NOT_STARTED_IN_TIME, Reason.ENDED}
MUCH = GET | UPDATE | AUDIT | CLOSE | {"ticket.unlock": {"ticket": ["T-*"]}, "mail.send": {"ticket": ["T-*"]}}


def _again(stage: Stage, lease: HeldLease) -> None:
    admitted = stage.admit(lease, "ticket.update", key="a")
    stage.settle(admitted)
    stage.admit(lease, "ticket.update", key="a", admission_id=admitted.admission_id)


def _lost(stage: Stage, lease: HeldLease) -> None:
    stage.admit(lease, "ticket.update", key="a")
    stage.pass_time(60)
    stage.sweep()
    stage.admit(lease, "ticket.update", key="a")


def _clock(stage: Stage, lease: HeldLease) -> None:
    stage.system.jump(seconds=-60)
    stage.admit(lease, "ticket.update", key="a")


def _wrong_tool(stage: Stage, lease: HeldLease) -> None:
    stage.door("mail").admit(lease.token_for("mail"), stage.call("ticket.get"))


def _gone(stage: Stage, lease: HeldLease) -> None:
    raw(stage.authority.engine.store).execute("DELETE FROM leases")
    stage.admit(lease, "ticket.get")


def _late(seconds: int) -> Callable[[Stage, HeldLease], object]:
    def act(stage: Stage, lease: HeldLease) -> None:
        stage.pass_time(seconds)
        stage.admit(lease, "ticket.unlock", key="a")

    return act


def _stopped(kind: str) -> Callable[[Stage, HeldLease], object]:
    def act(stage: Stage, lease: HeldLease) -> None:
        getattr(stage, kind)("tool:ticket")
        stage.admit(lease, "ticket.get")

    return act


def _finished(stage: Stage, lease: HeldLease) -> None:
    """A lease that was drawn in the moment in which its run was finished."""
    run = stage.authority.run(lease.lease.run_id).run
    stage.authority.engine.ask(lambda _: FinishRun(run=run, why="done"))
    stage.admit(lease, "ticket.get")


def _retried(stage: Stage, lease: HeldLease) -> None:
    stage.authority.retry(stage.authority.run(lease.lease.run_id))
    stage.admit(lease, "ticket.get")


def _restored(stage: Stage, lease: HeldLease) -> None:
    stage.desk.raise_epoch(by="op", reason="restored")
    stage.admit(lease, "ticket.get")


def _closing(stage: Stage, lease: HeldLease) -> None:
    stage.people.approve(stage.ask(lease, "ticket.close", key="c"), BEN)
    stage.admit(lease, "ticket.close", key="c")
    stage.admit(lease, "ticket.get")


def _closed(stage: Stage, lease: HeldLease) -> None:
    stage.people.approve(stage.ask(lease, "ticket.close", key="c"), BEN)
    stage.use(lease, "ticket.close", key="c")
    stage.admit(lease, "ticket.get")


def _orphan(stage: Stage, lease: HeldLease) -> None:
    parent = ParentCall(admission_id=stage.door().new_admission_id(), allow={})
    stage.admit(lease, "mail.send", key="a", parent=parent)


def _under(text: str) -> Callable[[Stage, HeldLease], object]:
    def act(stage: Stage, lease: HeldLease) -> None:
        stage.accept(text)
        stage.admit(lease, "ticket.get")

    return act


def _too_early(stage: Stage, lease: HeldLease) -> None:
    stage.accept(changed("run_ttl", 'after."ticket.get" = ["ticket.update"]\nrun_ttl'))
    stage.admit(lease, "ticket.update", key="a")
    stage.admit(lease, "ticket.get")


def _undelegated(stage: Stage, lease: HeldLease) -> None:
    child = stage.lease(GET, run=stage.child(lease))
    stage.accept(changed("depth = 2", "depth = 0"))
    stage.admit(child, "ticket.get")


def _unseen(stage: Stage, lease: HeldLease) -> None:
    stage.accept(PREVIEWED)
    made = PreviewMade(admission_id=stage.door().new_admission_id(), preview=Preview())
    erasing = stage.lease(ERASE)
    stage.door().admit(erasing.token_for("ticket"), erase_by_hand(stage, made))


def _moved(stage: Stage, lease: HeldLease) -> None:
    stage.accept(PREVIEWED)
    erasing = stage.lease(ERASE)
    token = erasing.token_for("ticket")
    try:
        stage.door().admit(token, erase_by_hand(stage, look_by_hand(stage, erasing)))
    except ApprovalNeeded as needed:
        stage.people.approve(needed.request, BEN, EVA)
    stage.door().admit(token, erase_by_hand(stage, look_by_hand(stage, erasing, state="v2")))


def _said_otherwise(stage: Stage, lease: HeldLease) -> None:
    stage.people.approve(stage.ask(lease, "ticket.audit"), BEN)
    stage.accept(changed('approvers = ["lead"]', 'approvers = ["lead", "dba"]'))
    stage.admit(lease, "ticket.audit")


def _asked_too_much(stage: Stage, lease: HeldLease) -> None:
    stage.accept(POLICY + "[defaults]\npending_per_run = 2\n")
    for number in range(3):
        try:
            stage.admit(lease, "ticket.audit", f"T-{number}")
        except ApprovalNeeded:
            continue


def _asked_twice(stage: Stage, lease: HeldLease) -> None:
    stage.ask(lease, "ticket.audit")
    stage.admit(lease, "ticket.audit")


def _said_no(stage: Stage, lease: HeldLease) -> None:
    stage.people.deny(stage.ask(lease, "ticket.audit"), BEN)
    stage.admit(lease, "ticket.audit")


def _spent(stage: Stage, lease: HeldLease) -> None:
    for _ in range(21):
        stage.admit(lease, "ticket.get")


def _used(key: str, ticket: str) -> Callable[[Stage, HeldLease], object]:
    def act(stage: Stage, lease: HeldLease) -> None:
        stage.use(lease, "ticket.update", key="a")
        stage.admit(lease, "ticket.update", ticket, key=key)

    return act


def _in_flight(stage: Stage, lease: HeldLease) -> None:
    for _ in range(2):
        stage.admit(lease, "ticket.update", key="a")


AT_THE_DOOR: dict[Reason, Callable[[Stage, HeldLease], object]] = {
    Reason.WRONG_TOOL: _wrong_tool,
    Reason.CONFLICT: _used("a", "T-2"),
    Reason.IN_FLIGHT: _in_flight,
    Reason.OUTCOME_UNKNOWN: _lost,
    Reason.ALREADY_DONE: _used("a", "T-1"),
    Reason.ALREADY_SETTLED: _again,
    Reason.CLOCK: _clock,
    Reason.NOT_FOUND: _gone,
    Reason.EXPIRED: _late(300),
    Reason.REVOKED: _stopped("revoke"),
    Reason.HELD: _stopped("hold"),
    Reason.RUN_FINISHED: _finished,
    Reason.STALE_ATTEMPT: _retried,
    Reason.STALE_EPOCH: _restored,
    Reason.NOT_FRESH: _late(20),
    Reason.COMPLETED: _closed,
    Reason.ENDING: _closing,
    Reason.PARENT_CALL_OVER: _orphan,
    Reason.NOT_GRANTED: lambda stage, lease: stage.admit(lease, "ticket.tag", key="a"),
    Reason.OUT_OF_RANGE: lambda stage, lease: stage.admit(lease, "ticket.get", "X-1"),
    Reason.ACTION_DENIED: _under(changed('deny = ["mail.purge"]', 'deny = ["ticket.*"]')),
    Reason.POLICY_DENIES: _under(
        changed('allow."ticket.get"    = { ticket = ["T-*"] }', 'allow."ticket.get" = { ticket = ["T-9"] }')
    ),
    Reason.OUTSIDE_HOURS: _under(
        changed("run_ttl", 'hours = { days = ["wed"], from = "13:00", to = "14:00", zone = "UTC" }\nrun_ttl')
    ),
    Reason.FROZEN: _under(
        changed(
            "run_ttl",
            "freeze = [{ from = 2026-05-06T00:00:00Z, until = 2026-05-07T00:00:00Z, reason = 'fair' }]\nrun_ttl",
        )
    ),
    Reason.OUT_OF_ORDER: _under(changed("run_ttl", 'after."ticket.get" = ["ticket.update"]\nrun_ttl')),
    Reason.PREREQUISITE_OPEN: _too_early,
    Reason.UNKNOWN_ACTION: lambda stage, lease: stage.admit(lease, "ticket.nuke", key="a"),
    Reason.BAD_ATTRIBUTE: lambda stage, lease: stage.admit(lease, "ticket.get", None),
    Reason.NO_DELEGATION: _undelegated,
    Reason.KEY_NEEDED: lambda stage, lease: stage.admit(lease, "ticket.update"),
    Reason.APPROVAL_NEEDED: _asked_twice,
    Reason.APPROVAL_DENIED: _said_no,
    Reason.PREVIEW_NEEDED: _unseen,
    Reason.TOO_MANY_PENDING: _asked_too_much,
    Reason.BUDGET: _spent,
}
BY_A_PERSON = {Reason.EDITED, Reason.NOT_IN_BATCH, Reason.NOT_IN_CHAT}
TO_CLIENTS = {Reason.CLIENT_MAY_NOT, Reason.UNKNOWN_CLIENT}
ASKED_AGAIN: dict[Reason, Callable[[Stage, HeldLease], object]] = {
    Reason.STATE_MOVED: _moved,
    Reason.TERMS_CHANGED: _said_otherwise,
}


def test_every_reason_is_given_by_somebody() -> None:
    given = {
        Reason.OK,
        *AT_THE_DOOR,
        *ASKED_AGAIN,
        *BY_A_PERSON,
        *TO_THE_DESK,
        *TO_WHO_ASKS,
        *BEFORE_THE_STEP,
        *BY_THE_GUARD,
        *TO_CLIENTS,
    }
    assert given == set(Reason)


@pytest.mark.requirement("L11", "P19")
@pytest.mark.parametrize("reason", AT_THE_DOOR)
def test_a_refused_call_of_an_authentic_lease_is_in_the_ledger_with_its_reason(stage: Stage, reason: Reason) -> None:
    lease = stage.lease(MUCH)
    with pytest.raises(Denied) as denied:
        AT_THE_DOOR[reason](stage, lease)
    assert denied.value.decision.reason is reason
    assert denied.value.decision.message
    assert stage.denials()[-1] == reason


@pytest.mark.requirement("L11")
@pytest.mark.parametrize("reason", ASKED_AGAIN)
def test_an_approval_that_counts_no_more_is_in_the_ledger_with_the_reason_and_the_new_request(
    stage: Stage, reason: Reason
) -> None:
    with pytest.raises(ApprovalNeeded) as needed:
        ASKED_AGAIN[reason](stage, stage.lease(MUCH))
    assert needed.value.decision.reason is reason
    lapsed, made = stage.entries()[-2:]
    assert (lapsed.kind, lapsed.detail["why"]) == (EntryKind.REQUEST_LAPSED, reason)
    assert (made.kind, made.request) == (EntryKind.REQUEST_MADE, needed.value.request)
