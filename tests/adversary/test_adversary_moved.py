"""What people approved is what happens, also when the ground moves or the process dies in between."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from leasehold.assemble import open_authority
from leasehold.decide import call_approval
from leasehold.errors import ApprovalNeeded, Denied
from leasehold.ledger.entry import EntryKind
from leasehold.ledger.history import check_history
from leasehold.model.decision import Reason
from leasehold.model.lease import HeldLease
from leasehold.model.preview import Preview, PreviewMade
from leasehold.testing.clock import FrozenSystem
from previewed import PREVIEWED, Desk, erase_by_hand, look_by_hand
from stage import BEN, ERASE, EVA, Stage, changed

pytestmark = [pytest.mark.requirement("F1", "P9", "P11"), pytest.mark.invariant("I4")]


def _moved(stage: Stage, lease: HeldLease) -> str:
    """Approved while the ticket was open, carried out while it is something else."""
    token = lease.token_for("ticket")
    try:
        stage.door().admit(token, erase_by_hand(stage, look_by_hand(stage, lease)))
    except ApprovalNeeded as needed:
        stage.people.approve(needed.request, BEN, EVA)
    return _try(stage, lease, look_by_hand(stage, lease, state="v2"))


def _made_up(stage: Stage, lease: HeldLease) -> str:
    """A preview that no read made, as a tool that lies about what it looked at would send it."""
    made = PreviewMade(admission_id=stage.door().new_admission_id(), preview=Preview.of({}, state="v1"))
    return _try(stage, lease, made)


def _reworded(stage: Stage, lease: HeldLease) -> str:
    """Approved as `Erase T-1`, carried out as what another policy calls a mere tidying up."""
    token = lease.token_for("ticket")
    try:
        stage.door().admit(token, erase_by_hand(stage, look_by_hand(stage, lease)))
    except ApprovalNeeded as needed:
        stage.people.approve(needed.request, BEN, EVA)
    stage.accept(changed('headline = "Erase', 'headline = "Tidy', PREVIEWED))
    return _try(stage, lease, look_by_hand(stage, lease))


def _unseen(stage: Stage, lease: HeldLease) -> str:
    """Approved with a preview, carried out without a look."""
    token = lease.token_for("ticket")
    try:
        stage.door().admit(token, erase_by_hand(stage, look_by_hand(stage, lease)))
    except ApprovalNeeded as needed:
        stage.people.approve(needed.request, BEN, EVA)
    return _try(stage, lease, None)


def _try(stage: Stage, lease: HeldLease, made: PreviewMade | None) -> str:
    try:
        stage.door().admit(lease.token_for("ticket"), erase_by_hand(stage, made))
    except Denied as denied:
        return denied.decision.reason
    return "admitted"


def _nothing(*_: object) -> None:
    return None


ATTACKS: dict[str, tuple[Callable[[Stage, HeldLease], str], Reason, str, str]] = {
    "moved": (_moved, Reason.STATE_MOVED, "_what_changed", "admitted"),
    "reworded": (_reworded, Reason.TERMS_CHANGED, "_what_changed", "admitted"),
    "unseen": (_unseen, Reason.PREVIEW_NEEDED, "_refuse_unseen", "admitted"),
    "made up": (_made_up, Reason.PREVIEW_NEEDED, "refuse_preview", Reason.APPROVAL_NEEDED),
}


@pytest.mark.case(78, 79, 86)
@pytest.mark.parametrize("name", ATTACKS)
def test_what_is_not_as_it_was_approved_does_not_start(name: str) -> None:
    attack, refused, _, _ = ATTACKS[name]
    stage = Stage(PREVIEWED)
    assert attack(stage, stage.lease(ERASE)) == refused
    assert [entry.action for entry in stage.entries(EntryKind.CALL_ADMITTED)].count("ticket.erase") == 0
    assert check_history(stage.entries()) == []
    stage.close()


@pytest.mark.parametrize("name", ATTACKS)
def test_each_of_these_attacks_is_stopped_by_the_guard_that_is_meant_to(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    attack, _, guard, then = ATTACKS[name]
    monkeypatch.setattr(call_approval, guard, _nothing)
    stage = Stage(PREVIEWED)
    assert attack(stage, stage.lease(ERASE)) == then
    stage.close()


# restarts


class Machine:
    """A machine whose authority may stop and come back at any moment; the tickets and the clock stay."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.system = FrozenSystem()
        (folder / "leasehold.toml").write_text(PREVIEWED)
        self.tickets = {"T-1": "open"}
        self.erased: list[str] = []

    @contextmanager
    def up(self) -> Iterator[Desk]:
        with open_authority(
            self.folder / "leasehold.toml", state=self.folder / "state", system=self.system, sweep=False
        ) as authority:
            desk = Desk(Stage(authority=authority, system=self.system))
            desk.tickets = self.tickets
            yield desk


@pytest.mark.case(76, 77, 90)
def test_a_call_is_carried_out_once_however_often_the_machine_restarts_on_the_way(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    with machine.up() as desk:  # proposed
        run = desk.stage.start()
        request = desk.ask(desk.stage.lease(ERASE, run=run)).request
    with machine.up() as desk:  # approved by one, and by another after the next restart
        desk.stage.people.approve(request, BEN)
    with machine.up() as desk:
        desk.stage.people.approve(request, EVA)
    with machine.up() as desk:  # carried out
        lease = desk.stage.authority.wait(request, 5)
        assert desk.erase(lease.once("a"), "T-1") == "open"
    machine.tickets["T-1"] = "open"  # as if the tool had lost it: only the ledger still knows
    with machine.up() as desk:  # the agent resumes, and does it all again
        lease = desk.stage.authority.wait(request, 5)
        with pytest.raises(Denied) as denied:
            desk.erase(lease.once("a"), "T-1")
        assert denied.value.decision.reason is Reason.ALREADY_DONE
        entries = desk.stage.entries()
        assert check_history(entries) == []
        admitted = [entry.action for entry in entries if entry.kind is EntryKind.CALL_ADMITTED]
        assert admitted.count("ticket.erase") == 1
    assert machine.tickets == {"T-1": "open"}


@pytest.mark.case(77)
def test_a_call_that_was_admitted_before_the_crash_is_not_carried_out_after_it(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    with machine.up() as desk:
        lease = desk.stage.lease(ERASE)
        needed = desk.ask(lease)
        desk.approve(needed)
        made = look_by_hand(desk.stage, lease)
        card = desk.card(needed)
        preview = Preview(changes=card.changes, objects=1, external=card.external, undo=card.preview_undo)
        call = erase_by_hand(
            desk.stage, PreviewMade(admission_id=made.admission_id, preview=preview), schema=card.tool_schema
        )
        desk.stage.door().admit(lease.token_for("ticket"), call)  # and dies before it carries it out
    with machine.up() as desk:
        with pytest.raises(Denied) as denied:
            desk.erase(desk.stage.authority.wait(needed.request, 5).once("a"), "T-1")
        assert denied.value.decision.reason is Reason.IN_FLIGHT
        machine.system.advance(seconds=60)
        desk.stage.sweep()
        with pytest.raises(Denied) as denied:
            desk.erase(desk.stage.authority.wait(needed.request, 5).once("a"), "T-1")
        assert denied.value.decision.reason is Reason.OUTCOME_UNKNOWN
    assert machine.tickets == {"T-1": "open"}


@pytest.mark.case(77, 88)
def test_an_approval_runs_out_by_its_own_deadline_also_while_the_machine_is_down(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    with machine.up() as desk:
        needed = desk.ask(desk.stage.lease(ERASE))
        desk.approve(needed)
    machine.system.advance(seconds=901)
    with machine.up() as desk:
        lease = desk.stage.authority.wait(needed.request, 5)
        again = desk.ask(lease)
        assert again.request != needed.request
        assert again.decision.reason is Reason.APPROVAL_NEEDED
    assert machine.tickets == {"T-1": "open"}


@pytest.mark.case(77, 88)
def test_a_time_out_while_the_machine_is_down_is_a_time_out_and_no_denial(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    with machine.up() as desk:
        lease = desk.stage.lease(ERASE)
        needed = desk.ask(lease)
    machine.system.advance(seconds=601)
    with machine.up() as desk:
        with pytest.raises(Denied) as denied:
            desk.stage.authority.wait(needed.request, 5)
        assert denied.value.decision.reason is Reason.APPROVAL_EXPIRED
        desk.stage.sweep()
        assert [entry.request for entry in desk.stage.entries(EntryKind.REQUEST_EXPIRED)] == [needed.request]
        assert desk.stage.entries(EntryKind.REQUEST_ANSWERED) == []
