"""Edit, then let somebody else approve: judged anew, the original beside it, the editor no approver, the agent told."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator

import pytest

from leasehold.authority.receipts import checkpoint_keys
from leasehold.decide import answer
from leasehold.errors import ApprovalNeeded, Denied, Edited, InvalidError
from leasehold.guard import Capability, Guard, Toolbox
from leasehold.ledger.entry import EntryKind
from leasehold.ledger.history import check_history
from leasehold.ledger.receipt import verify_receipt
from leasehold.model.card import Card, Change
from leasehold.model.decision import Reason
from leasehold.model.lease import HeldLease
from leasehold.model.request import Request
from meddling import raw
from previewed import PREVIEWED, Desk
from stage import ANA, BEN, CLOSE, ERASE, EVA, KIM, POLICY, Stage, changed, reason_of

pytestmark = [pytest.mark.requirement("P11", "P12"), pytest.mark.invariant("I4")]
EXACT = {"ticket.close": {"ticket": ["T-1", "T-2"]}}
SHOWN = {"ticket_id": "T-1", "note": "fixed", "count": 3}


@pytest.fixture
def lease(stage: Stage) -> HeldLease:
    return stage.lease(CLOSE)


def waiting(stage: Stage, lease: HeldLease) -> Request:
    """A call that waits for people."""
    return stage.authority.find_request(stage.ask(lease, "ticket.close", key="a", **SHOWN))


def card(stage: Stage, request: Request) -> Card:
    return stage.desk.card(request)


def edit(stage: Stage, request: Request, person: str = BEN, **arguments: object) -> Request:
    return stage.desk.edit(request, stage.people.signatory(person), arguments=arguments)


# calls


def test_an_edited_call_takes_the_place_of_the_original_and_its_card_says_what_changed(
    stage: Stage, lease: HeldLease
) -> None:
    original = waiting(stage, lease)
    edited = edit(stage, original, note="fixed in 1.2", count=4)
    shown = card(stage, edited)
    assert shown.edits == (Change("count", "3", "4"), Change("note", "fixed", "fixed in 1.2"))
    assert (shown.edited_from, shown.editors) == (original.request_id, (BEN,))
    assert shown.arguments == {"count": "4", "note": "fixed in 1.2", "ticket_id": "T-1"}
    assert (edited.key, edited.lease_request) == ("a", original.lease_request)
    assert stage.desk.request_row(original).state == "superseded"
    assert card(stage, original).arguments["note"] == "fixed"  # kept beside it
    assert [request.request_id for request in stage.desk.pending()] == [edited.request_id]
    made, superseded = stage.entries()[-2:]
    assert (made.kind, made.detail["edited_by"], made.detail["edited_from"]) == (
        EntryKind.REQUEST_MADE,
        (BEN,),
        original.request_id,
    )
    assert (superseded.kind, superseded.person, superseded.detail["successor"]) == (
        EntryKind.REQUEST_SUPERSEDED,
        BEN,
        edited.request_id,
    )
    assert check_history(stage.entries()) == []


def test_the_edited_call_is_made_by_the_same_loop_once_others_approved_it(stage: Stage, lease: HeldLease) -> None:
    original = waiting(stage, lease)
    edited = edit(stage, original, note="fixed in 1.2")
    with pytest.raises(Edited) as told:
        stage.admit(lease, "ticket.close", key="a", **SHOWN)
    assert told.value.request == edited.request_id
    assert told.value.arguments == {**SHOWN, "note": "fixed in 1.2"}
    assert '"note":"fixed in 1.2"' in str(told.value)
    assert stage.ask(lease, "ticket.close", key="a", **told.value.arguments) == edited.request_id
    stage.people.approve(edited, EVA)
    admitted = stage.admit(lease, "ticket.close", key="a", **told.value.arguments)
    assert (admitted.approval, admitted.approved_by) == (edited.request_id, (EVA,))
    assert check_history(stage.entries()) == []


@pytest.mark.case(80)
@pytest.mark.parametrize("how", ["another lease", "a later attempt", "another key"])
def test_who_edited_a_call_approves_it_under_no_other_lease_attempt_or_key(
    stage: Stage, lease: HeldLease, how: str
) -> None:
    original = waiting(stage, lease)
    edit(stage, edit(stage, original, note="x"), EVA, note="fixed in 1.2")
    run = stage.authority.run(lease.lease.run_id)
    run = stage.authority.runs.retry(run) if how == "a later attempt" else run
    other = lease if how == "another key" else stage.lease(CLOSE, run=run)
    shown, key = {**SHOWN, "note": "fixed in 1.2"}, "b" if how == "another key" else "a"
    again = stage.authority.find_request(stage.ask(other, "ticket.close", key=key, **shown))
    assert set(again.editors) == set(card(stage, again).editors) == {BEN, EVA}
    for person in (BEN, EVA):
        assert reason_of(lambda person=person: stage.people.approve(again, person)) is Reason.OWN_REQUEST
    unedited = stage.authority.find_request(stage.ask(stage.lease(CLOSE), "ticket.close", key="c", **shown))
    assert unedited.editors == ()  # of another run, whose agent asked so by itself


def test_waiting_on_the_original_tells_of_the_edit_too(stage: Stage, lease: HeldLease) -> None:
    original = waiting(stage, lease)
    edited = edit(stage, original, note="x")
    for wait in (lambda: stage.authority.wait(original, 5), lambda: stage.authority.wait(original.request_id, 5)):
        with pytest.raises(Edited) as told:
            wait()
        assert (told.value.request, told.value.arguments) == (edited.request_id, {**SHOWN, "note": "x"})


def test_the_original_stays_refused_whatever_becomes_of_the_edited_one(stage: Stage, lease: HeldLease) -> None:
    edited = edit(stage, waiting(stage, lease), note="x")
    stage.people.deny(edited, EVA)
    with pytest.raises(Edited):
        stage.admit(lease, "ticket.close", key="a", **SHOWN)
    assert reason_of(lambda: stage.authority.wait(edited, 5)) is Reason.APPROVAL_DENIED


@pytest.mark.case(80)
def test_who_edited_may_not_approve_nor_count(stage: Stage) -> None:
    lease = stage.lease(ERASE)
    request = stage.authority.find_request(stage.ask(lease, "ticket.erase", key="a", ticket_id="T-1"))
    edited = edit(stage, request, ticket_id="T-2")
    assert stage.desk.footer(edited).may_approve == (EVA,)
    assert reason_of(lambda: stage.people.approve(edited, BEN)) is Reason.OWN_REQUEST
    assert stage.people.approve(edited, EVA).approvals_missing == 1
    again = edit(stage, edited, EVA, ticket_id="T-3")
    assert card(stage, again).editors == (BEN, EVA)
    for person in (BEN, EVA, ANA):
        assert reason_of(lambda person=person: stage.people.approve(again, person)) is Reason.OWN_REQUEST


@pytest.mark.case(80)
def test_an_editors_word_counts_no_more_at_the_use_than_at_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Should an answer of the editor ever come to stand in the row, the use does not count it, and auditors see it."""
    stage = Stage()
    lease = stage.lease(CLOSE)
    edited = edit(stage, waiting(stage, lease), note="x")
    monkeypatch.setattr(answer, "refuse_person", lambda *_, **__: None)
    stage.people.approve(edited, BEN)
    assert stage.refusal(lease, "ticket.close", key="a", **{**SHOWN, "note": "x"}) is Reason.APPROVAL_NEEDED
    (fault,) = check_history(stage.entries())
    assert "approved what they edited themselves" in fault.message
    stage.close()


@pytest.mark.parametrize(("person", "reason"), [(ANA, Reason.OWN_REQUEST), (KIM, Reason.NOT_ENTITLED)])
def test_only_who_could_answer_may_edit(stage: Stage, lease: HeldLease, person: str, reason: Reason) -> None:
    request = waiting(stage, lease)
    assert reason_of(lambda: edit(stage, request, person, note="x")) is reason
    refused = stage.entries(EntryKind.REQUEST_SUPERSEDED)[-1]
    assert (refused.decision, refused.reason, refused.person) == ("deny", reason, person)
    assert stage.desk.request_row(request).state == "pending"


def test_a_removed_key_edits_nothing(stage: Stage, lease: HeldLease) -> None:
    request, ben = waiting(stage, lease), stage.people.signatory(BEN)
    stage.desk.remove_person(BEN, by="op")
    assert reason_of(lambda: stage.desk.edit(request, ben, arguments={"note": "x"})) is Reason.BAD_SIGNATURE


def test_what_does_not_wait_any_more_cannot_be_edited(stage: Stage, lease: HeldLease) -> None:
    request = waiting(stage, lease)
    stage.people.approve(request, BEN)
    assert reason_of(lambda: edit(stage, request, EVA, note="x")) is Reason.NOT_PENDING
    late = stage.authority.find_request(stage.ask(lease, "ticket.close", "T-2", key="b"))
    stage.pass_time(600)
    assert reason_of(lambda: edit(stage, late, EVA, note="x")) is Reason.NOT_PENDING


def test_an_edit_is_judged_by_policy_and_lease_as_if_it_had_been_asked_like_that(stage: Stage) -> None:
    request = waiting(stage, stage.lease({"ticket.close": {"ticket": ["T-1*"]}}))
    assert reason_of(lambda: edit(stage, request, ticket_id="T-2")) is Reason.OUT_OF_RANGE
    assert reason_of(lambda: edit(stage, request, ticket_id="X-1")) is Reason.OUT_OF_RANGE
    stage.accept(changed('deny = ["mail.purge"]', 'deny = ["mail.purge", "ticket.close"]'))
    assert reason_of(lambda: edit(stage, request, note="x")) is Reason.ACTION_DENIED


def test_an_edit_of_what_nobody_has_to_agree_to_any_more_is_refused(stage: Stage, lease: HeldLease) -> None:
    request = waiting(stage, lease)
    stage.accept(changed('approve."ticket.audit"', 'approve."ticket.close" = "none"\napprove."ticket.audit"'))
    assert reason_of(lambda: edit(stage, request, note="x")) is Reason.NOT_PENDING
    stage.accept(POLICY.replace('[routes."desk"]', '[routes."moved"]'))
    assert reason_of(lambda: edit(stage, request, note="x")) is Reason.NOT_ENTITLED  # nobody is, without the route


def test_an_edit_that_changes_nothing_or_cannot_be_read_is_no_edit(stage: Stage, lease: HeldLease) -> None:
    request, ben = waiting(stage, lease), stage.people.signatory(BEN)
    for arguments in ({"note": "fixed"}, {}, {"ticket_id": None}, {"note": float("nan")}):
        with pytest.raises(InvalidError):
            stage.desk.edit(request, ben, arguments=arguments)
    with pytest.raises(InvalidError, match="one of them"):
        stage.desk.edit(request, ben)
    with pytest.raises(InvalidError, match="edit its arguments"):
        stage.desk.edit(request, ben, allow=CLOSE)


@pytest.mark.case(101)
def test_what_nobody_sees_nobody_edits(stage: Stage) -> None:
    rule = '"ticket.erase"   = { effect = "destructive", args = { ticket = "ticket_id" } }'
    stage.accept(changed(rule, rule.replace("} }", '}, redact = ["why"] }')))
    request = stage.ask(stage.lease(ERASE), "ticket.erase", key="a", ticket_id="T-1", why="s3cret")
    with pytest.raises(Denied) as denied:
        edit(stage, stage.authority.find_request(request), ticket_id="T-2")
    assert denied.value.decision.reason is Reason.POLICY_DENIES
    assert stage.desk.card(stage.authority.find_request(request)).exact_arguments == ""


@pytest.mark.case(52)
def test_nothing_is_edited_while_the_clock_is_behind(stage: Stage, lease: HeldLease) -> None:
    call, ben = waiting(stage, lease), stage.people.signatory(BEN)
    asked = stage.authority.request(stage.start(), EXACT, reason="tidy")
    stage.system.jump(seconds=-60)
    assert reason_of(lambda: stage.desk.edit(call, ben, arguments={"note": "x"})) is Reason.CLOCK
    assert reason_of(lambda: stage.desk.edit(asked, ben, allow={"ticket.close": {"ticket": ["T-1"]}})) is Reason.CLOCK


def test_an_edit_can_be_edited_back(stage: Stage, lease: HeldLease) -> None:
    original = waiting(stage, lease)
    back = edit(stage, edit(stage, original, note="x"), EVA, note="fixed")
    assert stage.ask(lease, "ticket.close", key="a", **SHOWN) == back.request_id


def test_an_edited_call_whose_card_was_erased_is_told_without_arguments(stage: Stage, lease: HeldLease) -> None:
    original = waiting(stage, lease)
    edited = edit(stage, original, note="x")
    raw(stage.authority.engine.store).execute("UPDATE cards SET body = x'' WHERE digest = ?", (edited.card_digest,))
    with pytest.raises(Edited) as told:
        stage.authority.wait(original, 5)
    assert (told.value.request, told.value.arguments) == (edited.request_id, None)


# leases


def test_an_edited_lease_request_is_judged_anew_and_the_agent_waits_on_the_new_one(stage: Stage) -> None:
    run = stage.start()
    original = stage.authority.request(run, EXACT | {"ticket.get": {"ticket": ["T-*"]}}, reason="tidy")
    edited = stage.desk.edit(
        original, stage.people.signatory(BEN), allow={"ticket.close": {"ticket": ["T-1"]}}, reason="one is enough"
    )
    shown = card(stage, edited)
    assert shown.edits == (
        Change("ticket.close ticket", "T-1, T-2", "T-1"),
        Change("ticket.get", "asked for", "-"),
        Change("ticket.get ticket", "T-*", "-"),
    )
    assert (shown.reason, shown.editors) == ("tidy", (BEN,))
    assert stage.entries(EntryKind.REQUEST_SUPERSEDED)[0].detail["words"] == "one is enough"
    with pytest.raises(Edited) as told:
        stage.authority.wait(original, 5)
    assert (told.value.request, told.value.arguments) == (edited.request_id, None)
    assert reason_of(lambda: stage.people.approve(edited, BEN)) is Reason.OWN_REQUEST
    stage.people.approve(edited, EVA)
    lease = stage.authority.wait(told.value.request, 5)
    assert lease.lease.allow["ticket.close"].attributes["ticket"].to_json() == ["T-1"]
    assert check_history(stage.entries()) == []


@pytest.mark.case(80)
def test_who_edited_a_lease_request_approves_it_in_no_other_words_either(stage: Stage) -> None:
    run, narrow = stage.start(), {"ticket.close": {"ticket": ["T-1"]}}
    edited = stage.desk.edit(
        stage.authority.request(run, EXACT, reason="tidy"), stage.people.signatory(BEN), allow=narrow
    )
    stage.people.deny(edited, EVA)
    again = stage.authority.request(stage.authority.run(run.run_id), narrow, reason="tidy up, please")
    assert (again.edited_from, again.editors) == (edited.request_id, (BEN,))
    assert reason_of(lambda: stage.people.approve(again, BEN)) is Reason.OWN_REQUEST
    assert card(stage, again).editors == (BEN,)
    assert stage.authority.request(run, EXACT, reason="tidy").editors == ()


def test_an_edit_of_a_lease_adds_no_action_and_goes_no_further_than_the_route(stage: Stage) -> None:
    original = stage.authority.request(stage.start(), EXACT, reason="tidy")
    ben = stage.people.signatory(BEN)
    for allow in (ERASE, {**EXACT, **ERASE}, EXACT):
        with pytest.raises(InvalidError):
            stage.desk.edit(original, ben, allow=allow)
    with pytest.raises(InvalidError, match="edit what its attributes may be"):
        stage.desk.edit(original, ben, arguments={"note": "x"})
    assert reason_of(lambda: stage.desk.edit(original, ben, allow={"ticket.close": {"ticket": ["X-1"]}})) is (
        Reason.OUT_OF_RANGE
    )
    ana = stage.people.signatory(ANA)
    assert reason_of(lambda: stage.desk.edit(original, ana, allow={"ticket.close": {"ticket": ["T-1"]}})) is (
        Reason.OWN_REQUEST
    )
    assert stage.desk.request_row(original).state == "pending"


def test_an_edit_that_widens_a_childs_request_beyond_its_parent_is_refused(stage: Stage) -> None:
    parent = stage.lease({"ticket.close": {"ticket": ["T-1*"]}})
    original = stage.authority.request(stage.child(parent), {"ticket.close": {"ticket": ["T-11"]}}, reason="tidy")
    ben = stage.people.signatory(BEN)
    assert reason_of(lambda: stage.desk.edit(original, ben, allow={"ticket.close": {"ticket": ["T-2"]}})) is (
        Reason.WIDER_THAN_PARENT
    )


def test_requesters_who_confirm_their_own_writes_may_edit_them_first(stage: Stage) -> None:
    run = stage.start(route="solo")
    request = stage.authority.request(run, {"ticket.update": {"ticket": ["T-1"]}}, reason="tidy")
    ana = stage.people.signatory(ANA)
    edited = stage.desk.edit(request, ana, allow={"ticket.update": {"ticket": ["T-2"]}})
    stage.people.approve(edited, ANA)
    assert stage.authority.wait(edited, 5).lease.approved_by == (ANA,)


# previews


@pytest.fixture
def desk() -> Iterator[Desk]:
    """A desk whose destructive action is previewed."""
    stage = Stage(PREVIEWED)
    yield Desk(stage)
    stage.close()


@pytest.mark.case(78)
def test_nobody_approves_an_edited_call_before_its_preview_was_seen(desk: Desk) -> None:
    stage, lease = desk.stage, desk.stage.lease(ERASE)
    original = desk.ask(lease)
    edited = edit(stage, stage.authority.find_request(original.request), ticket_id="T-2")
    assert reason_of(lambda: stage.people.approve(edited, EVA)) is Reason.PREVIEW_NEEDED
    with pytest.raises(Edited) as told:
        desk.erase(lease.once("a"), "T-1")
    assert told.value.arguments == {"ticket_id": "T-2"}
    seen = desk.ask(lease, "T-2")
    shown = desk.card(seen)
    assert (shown.preview != "", shown.editors, shown.edits) == (True, (BEN,), (Change("ticket_id", "T-1", "T-2"),))
    assert shown.edited_from == original.request
    assert reason_of(lambda: stage.people.approve(seen.request, BEN)) is Reason.OWN_REQUEST
    stage.accept(PREVIEWED.replace('"user:kim" = ["watcher"]', '"user:kim" = ["lead"]'))
    stage.people.approve(seen.request, EVA, KIM)
    assert desk.erase(lease.once("a"), "T-2") == "open"
    assert desk.tickets == {"T-1": "open"}
    assert check_history(stage.entries()) == []


@pytest.mark.case(78)
def test_who_edited_may_not_approve_what_moved_since_then_either(desk: Desk) -> None:
    stage, lease = desk.stage, desk.stage.lease(ERASE)
    stage.accept(PREVIEWED.replace('"user:kim" = ["watcher"]', '"user:kim" = ["lead"]'))
    edited = edit(stage, stage.authority.find_request(desk.ask(lease).request), ticket_id="T-2")
    seen = desk.ask(lease, "T-2")
    stage.people.approve(seen.request, EVA, KIM)
    desk.tickets["T-2"] = "reopened"
    again = desk.ask(lease, "T-2")
    assert again.decision.reason is Reason.STATE_MOVED
    assert desk.card(again).editors == (BEN,)
    assert reason_of(lambda: stage.people.approve(again.request, BEN)) is Reason.OWN_REQUEST
    assert stage.desk.request_row(edited).state == "superseded"


def test_an_edited_call_that_ran_out_is_asked_about_anew(desk: Desk) -> None:
    stage, lease = desk.stage, desk.stage.lease(ERASE)
    edit(stage, stage.authority.find_request(desk.ask(lease).request), ticket_id="T-2")
    seen = desk.ask(lease, "T-2")
    stage.pass_time(600)
    again = desk.ask(stage.authority.renew(lease), "T-2")
    assert again.request != seen.request


# raw loops


@pytest.mark.requirement("F7")
def test_a_model_is_told_of_an_edit_and_its_next_call_is_the_edited_one(stage: Stage) -> None:
    guard = Guard("ticket", stage.authority, environment="prod")
    notes = []

    @guard.action("close")
    def close(capability: Capability, ticket_id: str, note: str) -> str:
        notes.append(note)
        return ticket_id

    toolbox = Toolbox(stage.lease(CLOSE), [close])
    with pytest.raises(ApprovalNeeded) as needed:
        toolbox.call("ticket_close", {"ticket_id": "T-1", "note": "a"}, "call_1")
    edited = edit(stage, stage.authority.find_request(needed.value.request), note="b")
    with pytest.raises(Edited, match=re.escape('its arguments are now {"note":"b","ticket_id":"T-1"}')) as told:
        toolbox.call("ticket_close", {"ticket_id": "T-1", "note": "a"}, "call_1")
    stage.people.approve(edited, EVA)
    assert toolbox.call("ticket_close", told.value.arguments, "call_2") == "T-1"
    assert notes == ["b"]
    with pytest.raises(Denied) as denied:
        toolbox.call("ticket_close", told.value.arguments, "call_3")
    assert denied.value.decision.reason is Reason.ALREADY_DONE


@pytest.mark.requirement("F7")
def test_a_model_is_told_of_an_edit_that_nobody_can_read_any_more(stage: Stage) -> None:
    guard = Guard("ticket", stage.authority, environment="prod")

    @guard.action("close")
    def close(capability: Capability, ticket_id: str, note: str) -> None: ...

    toolbox = Toolbox(stage.lease(CLOSE), [close])
    with pytest.raises(ApprovalNeeded) as needed:
        toolbox.call("ticket_close", {"ticket_id": "T-1", "note": "a"}, "call_1")
    edited = edit(stage, stage.authority.find_request(needed.value.request), note="b")
    raw(stage.authority.engine.store).execute("UPDATE cards SET body = x'' WHERE digest = ?", (edited.card_digest,))
    with pytest.raises(Edited) as told:
        toolbox.call("ticket_close", {"ticket_id": "T-1", "note": "a"}, "call_1")
    assert told.value.arguments is None
    assert edited.request_id in str(told.value)


@pytest.mark.requirement("F7")
def test_an_awaited_tool_tells_of_an_edit_as_well(stage: Stage) -> None:
    guard = Guard("ticket", stage.authority, environment="prod")

    @guard.action("close")
    async def close(capability: Capability, ticket_id: str, note: str) -> str:
        return note

    toolbox = Toolbox(stage.lease(CLOSE), [close])

    async def main() -> object:
        with pytest.raises(ApprovalNeeded) as needed:
            await toolbox.call("ticket_close", {"ticket_id": "T-1", "note": "a"}, "call_1")
        edited = edit(stage, stage.authority.find_request(needed.value.request), note="b")
        with pytest.raises(Edited):
            await toolbox.call("ticket_close", {"ticket_id": "T-1", "note": "a"}, "call_1")
        stage.people.approve(edited, EVA)
        return await toolbox.call("ticket_close", {"ticket_id": "T-1", "note": "b"}, "call_2")

    assert asyncio.run(main()) == "b"


def test_a_receipt_says_who_edited_what_was_asked(stage: Stage) -> None:
    run = stage.start()
    original = waiting(stage, stage.lease(CLOSE, run=run))
    edit(stage, original, note="x")
    identity = stage.authority.engine.identity
    keys = {key.keyid: key.public().public for key in identity.receipts.keys}
    receipt = verify_receipt(stage.authority.finish(run), keys, checkpoint_keys(identity.issuer, identity.checkpoints))
    asked = {each["request"]: each for each in receipt.predicate["asked"]}
    assert asked[original.request_id]["state"] == "superseded"
    (edited,) = [each for each in asked.values() if each["editedFrom"] == original.request_id]
    assert edited["editedBy"] == [BEN]
