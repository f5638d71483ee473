"""Who approves what: quorum, entitlement at the answer and at the use, single use, and what a card says."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from leasehold.authority.desk import Signatory
from leasehold.decide.approvals import answers_of, approvers_of, encode_answers
from leasehold.decide.facts import Facts, Ref
from leasehold.decide.rows import PersonRow
from leasehold.decide.start import Start
from leasehold.errors import ApprovalNeeded, Denied, NotFoundError
from leasehold.ledger.entry import EntryKind
from leasehold.model.call import OutcomeStatus
from leasehold.model.decision import Reason
from leasehold.model.effect import Effect
from leasehold.model.request import RequestState, Verdict
from leasehold.testing.fixtures import key_of_person
from leasehold.token.keys import SigningKey
from meddling import raw
from stage import ANA, AUDIT, BEN, CLOSE, ERASE, EVA, KIM, UPDATE, Stage, changed, reason_of

pytestmark = pytest.mark.invariant("I4")

LEASE_ONLY = {"ticket.close": {"ticket": ["T-1"]}}
BY_LEASE = changed('approve."ticket.audit"  = "call"', 'approve."ticket.audit"  = "lease"')
PEOPLE = '"user:ben" = ["lead", "dba"]'


# Lease requests


@pytest.mark.requirement("P4", "P9")
def test_a_write_waits_for_one_person_unless_the_route_says_otherwise(stage: Stage) -> None:
    request = stage.authority.request(stage.start(), LEASE_ONLY, reason="fixed")
    answered = stage.people.approve(request, BEN)
    assert (answered.state, answered.approvals_missing) == (RequestState.APPROVED, 0)
    lease = stage.authority.wait(request, 5)
    assert lease.lease.approved_by == (BEN,)
    stage.use(lease, "ticket.close", key="a")
    entry = stage.entries(EntryKind.CALL_ADMITTED)[0]
    assert (entry.approvals, entry.detail["approval"], entry.detail["quorum"]) == ((BEN,), "lease", 1)


@pytest.mark.requirement("P12")
def test_a_destructive_lease_waits_for_two_different_people() -> None:
    stage = Stage(changed('approve."ticket.audit"', 'approve."ticket.erase" = "lease"\napprove."ticket.audit"'))
    request = stage.authority.request(stage.start(), ERASE, reason="gdpr")
    first = stage.people.approve(request, BEN)
    assert (first.state, first.approvals_missing) == (RequestState.PENDING, 1)
    again = stage.people.approve(request, BEN)
    assert (again.state, again.approvals_missing) == (RequestState.PENDING, 1)
    assert stage.people.approve(request, EVA).state is RequestState.APPROVED
    lease = stage.authority.wait(request, 5)
    assert lease.lease.approved_by == (BEN, EVA)
    stage.use(lease, "ticket.erase", key="a")
    stage.close()


def test_the_strictest_action_of_a_request_says_how_many_people_it_takes() -> None:
    stage = Stage(changed('approve."ticket.audit"', 'approve."ticket.erase" = "lease"\napprove."ticket.audit"'))
    request = stage.authority.request(stage.start(), {**ERASE, **LEASE_ONLY, **UPDATE}, reason="gdpr")
    card = stage.desk.card(request)
    assert (card.quorum, card.approvers) == (2, ("lead",))
    assert stage.people.approve(request, BEN).approvals_missing == 1
    stage.close()


@pytest.mark.case(80)
def test_requester_who_is_named_without_their_kind_has_to_be_named_whole(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.people.signatory("user:zoe")  # known by a key, though the policy does not name her
    for whole in (ANA, "user:zoe"):
        with pytest.raises(Denied, match=f"enough would be: requested_by {whole}"):
            stage.start(by=whole.removeprefix("user:"))
    assert stage.start(by="mallory").run.requested_by == "mallory"  # nobody here has that name
    monkeypatch.setattr(Start, "_refuse_short_name", lambda *_: None)
    request = stage.authority.request(stage.start(by="ana"), LEASE_ONLY, reason="fixed")
    assert stage.people.approve(request, ANA).approvals_missing == 0  # her own: what the refusal is for


@pytest.mark.requirement("P12", "F3")
@pytest.mark.case(80)
def test_nobody_approves_their_own_request_and_nobody_without_the_role(stage: Stage) -> None:
    request = stage.authority.request(stage.start(), LEASE_ONLY, reason="fixed")
    assert reason_of(lambda: stage.people.approve(request, ANA)) is Reason.OWN_REQUEST
    assert reason_of(lambda: stage.people.approve(request, KIM)) is Reason.NOT_ENTITLED
    assert reason_of(lambda: stage.people.approve(request, "user:nobody")) is Reason.NOT_ENTITLED
    assert [entry.reason for entry in stage.entries(EntryKind.REQUEST_ANSWERED)] == [
        "own_request",
        "not_entitled",
        "not_entitled",
    ]
    assert stage.desk.request_row(request).state == "pending"


@pytest.mark.requirement("P12")
def test_a_route_may_let_people_confirm_their_own_writes_and_says_so(stage: Stage) -> None:
    run = stage.start(route="solo")
    request = stage.authority.request(run, {"ticket.update": {"ticket": ["T-1"]}}, reason="mine")
    assert stage.desk.card(request).requester_may_approve
    assert reason_of(lambda: stage.people.approve(request, BEN)) is Reason.NOT_ENTITLED
    stage.people.approve(request, ANA)
    lease = stage.authority.wait(request, 5)
    assert lease.lease.approved_by == (ANA,)
    stage.use(lease, "ticket.update", key="a")
    assert stage.entries(EntryKind.REQUEST_ANSWERED)[-1].detail["own_request"] == "yes"


def test_only_actions_that_wait_for_the_lease_make_a_request_wait(stage: Stage) -> None:
    lease = stage.lease(ERASE | CLOSE | UPDATE)
    assert lease.lease.approved_by == ("policy",)
    stage.use(lease, "ticket.update", key="a")
    assert stage.refusal(lease, "ticket.erase", key="b") is Reason.APPROVAL_NEEDED


# Entitlement at the use


@pytest.mark.requirement("F3")
@pytest.mark.case(79)
def test_an_approver_who_lost_the_role_counts_neither_at_the_draw_nor_at_the_call(stage: Stage) -> None:
    request = stage.authority.request(stage.start(), LEASE_ONLY, reason="fixed")
    stage.people.approve(request, BEN)
    lease = stage.authority.wait(request, 5)
    stage.accept(changed(PEOPLE, '"user:ben" = ["dba"]'))
    assert reason_of(lambda: stage.authority.renew(lease)) is Reason.APPROVAL_NEEDED
    asked = stage.ask(lease, "ticket.close", key="a")
    stage.people.approve(asked, EVA)
    assert stage.admit(lease, "ticket.close", key="a").approved_by == (EVA,)


@pytest.mark.requirement("F3")
@pytest.mark.case(79)
def test_an_approved_call_is_asked_about_again_once_its_approver_lost_the_role(stage: Stage) -> None:
    lease = stage.lease(AUDIT)
    first = stage.ask(lease, "ticket.audit")
    stage.people.approve(first, BEN)
    stage.accept(changed(PEOPLE, '"user:ben" = ["dba"]'))
    second = stage.ask(lease, "ticket.audit")
    assert second != first
    assert reason_of(lambda: stage.people.approve(second, BEN)) is Reason.NOT_ENTITLED
    stage.people.approve(second, EVA)
    assert stage.admit(lease, "ticket.audit").approval == second


@pytest.mark.requirement("F3")
@pytest.mark.parametrize("is_replaced", [False, True])
def test_the_word_of_a_person_whose_key_is_gone_counts_no_more(stage: Stage, is_replaced: bool) -> None:
    lease = stage.lease(AUDIT)
    first = stage.ask(lease, "ticket.audit")
    stage.people.approve(first, BEN)
    stage.desk.remove_person(BEN, by="op")
    if is_replaced:
        stage.desk.add_person(BEN, SigningKey.generate(b"n" * 32).public(), by="op")
    assert stage.ask(lease, "ticket.audit") != first


def test_a_person_with_a_new_key_may_say_again_what_the_old_key_said(stage: Stage) -> None:
    request = stage.authority.find_request(stage.ask(stage.lease(ERASE), "ticket.erase", key="a"))
    stage.people.approve(request, BEN)
    stage.desk.remove_person(BEN, by="op")
    key = SigningKey.generate(b"n" * 32)
    stage.desk.add_person(BEN, key.public(), by="op")
    again = stage.desk.answer(request, Verdict.APPROVE, Signatory(person=BEN, key=key))
    assert (again.state, again.approvals_missing) == (RequestState.PENDING, 1)
    assert stage.people.approve(request, EVA).state is RequestState.APPROVED


@pytest.mark.case(80)
def test_two_names_with_one_key_are_one_voice(stage: Stage) -> None:
    """No store has them, since a key belongs to one person; nor would they count twice if one had."""
    request = stage.ask(stage.lease(ERASE), "ticket.erase", key="a")
    stage.people.approve(request, BEN)
    engine = stage.authority.engine
    row = stage.desk.request_row(stage.authority.find_request(request))
    [said] = answers_of(row)
    facts = Facts(engine.store.queries.control())
    person = PersonRow(
        tenant="", person=BEN, public_key=key_of_person(BEN).public().to_bytes(), state="active", recorded=0
    )
    for name in (BEN, EVA):
        facts.load(Ref(PersonRow, ("", name)), replace(person, person=name))
    row = replace(row, answers=encode_answers((said, replace(said, person=EVA))))
    rule = {"route": "desk", "requested_by": ANA, "effect": Effect.DESTRUCTIVE}
    assert approvers_of(facts, engine.active_policy(), row, **rule) == (BEN,)


# Denials and time


@pytest.mark.case(89)
def test_a_call_that_was_denied_stays_denied_for_the_attempt(stage: Stage) -> None:
    run = stage.start()
    lease = stage.lease(AUDIT, run=run)
    request = stage.ask(lease, "ticket.audit")
    stage.people.deny(request, EVA)
    assert stage.refusal(lease, "ticket.audit") is Reason.APPROVAL_DENIED
    assert stage.ask(lease, "ticket.audit", "T-2") != request
    newer = stage.authority.retry(run)
    assert stage.ask(stage.lease(AUDIT, run=newer), "ticket.audit") != request


@pytest.mark.requirement("F1")
@pytest.mark.case(77, 88)
def test_an_approved_call_has_to_be_used_in_time(stage: Stage) -> None:
    lease = stage.lease(AUDIT, ttl_seconds=900)
    request = stage.ask(lease, "ticket.audit")
    stage.people.approve(request, BEN)
    stage.pass_time(890)
    lease = stage.authority.renew(lease)
    stage.pass_time(10)
    assert stage.ask(lease, "ticket.audit") != request
    stage.sweep()
    assert stage.authority.runs.request_state(stage.authority.find_request(request)) is RequestState.LAPSED
    assert stage.entries(EntryKind.REQUEST_LAPSED)[0].request == request
    assert reason_of(lambda: stage.authority.wait(request, 5)) is Reason.APPROVAL_EXPIRED


@pytest.mark.requirement("F1")
def test_a_question_that_timed_out_is_asked_again(stage: Stage) -> None:
    lease = stage.lease(AUDIT, ttl_seconds=900)
    first = stage.ask(lease, "ticket.audit")
    stage.pass_time(600)
    second = stage.ask(lease, "ticket.audit")
    assert second != first
    assert reason_of(lambda: stage.people.approve(first, BEN)) is Reason.NOT_PENDING


@pytest.mark.requirement("F1")
@pytest.mark.case(75)
def test_answers_in_another_order_reach_the_request_they_name(stage: Stage) -> None:
    lease = stage.lease(AUDIT)
    one, two = stage.ask(lease, "ticket.audit"), stage.ask(lease, "ticket.audit", "T-2")
    stage.people.approve(two, BEN)
    stage.people.deny(one, BEN)
    assert stage.admit(lease, "ticket.audit", "T-2").approval == two
    assert stage.refusal(lease, "ticket.audit") is Reason.APPROVAL_DENIED


def test_a_person_answers_a_request_once(stage: Stage) -> None:
    request = stage.ask(stage.lease(ERASE), "ticket.erase", key="a")
    stage.people.approve(request, BEN)
    assert reason_of(lambda: stage.people.deny(request, BEN)) is Reason.CONFLICT
    assert stage.people.approve(request, BEN).approvals_missing == 1
    stage.people.approve(request, EVA)
    assert stage.desk.request_row(stage.authority.find_request(request)).state == "approved"


@pytest.mark.requirement("L4")
def test_a_request_of_an_older_attempt_or_a_finished_run_cannot_be_approved(stage: Stage) -> None:
    run = stage.start()
    request = stage.ask(stage.lease(AUDIT, run=run), "ticket.audit")
    newer = stage.authority.retry(run)
    assert reason_of(lambda: stage.people.approve(request, BEN)) is Reason.STALE_ATTEMPT
    other = stage.ask(stage.lease(AUDIT, run=newer), "ticket.audit")
    stage.authority.runs.end(run.run, "done")
    assert reason_of(lambda: stage.people.approve(other, BEN)) is Reason.NOT_PENDING


@pytest.mark.requirement("L6")
@pytest.mark.parametrize(("stop", "reason"), [("revoke", Reason.REVOKED), ("hold", Reason.HELD)])
def test_a_stopped_request_cannot_be_approved(stage: Stage, stop: str, reason: Reason) -> None:
    request = stage.ask(stage.lease(AUDIT), "ticket.audit")
    getattr(stage, stop)(f"request:{request}")
    assert reason_of(lambda: stage.people.approve(request, BEN)) is reason


# Calls that imply


@pytest.mark.requirement("P5")
def test_an_approval_is_not_dodged_through_an_action_with_the_same_effect() -> None:
    stage = Stage(changed('approve."ticket.update" = "none"', 'approve."ticket.update" = "call"\nquorum = 2'))
    lease = stage.lease({"ticket.bulk": {"ticket": ["T-*"]}})
    with pytest.raises(ApprovalNeeded) as needed:
        stage.admit(lease, "ticket.bulk", key="a", ticket_ids=["T-1"])
    stage.people.approve(needed.value.request, BEN)
    assert stage.refusal(lease, "ticket.bulk", key="a", ticket_ids=["T-1"]) is Reason.APPROVAL_NEEDED
    stage.people.approve(needed.value.request, EVA)
    assert stage.admit(lease, "ticket.bulk", key="a", ticket_ids=["T-1"]).approved_by == (BEN, EVA)
    stage.close()


# At the desk


@pytest.mark.case(80)
def test_a_person_without_a_key_here_says_nothing(stage: Stage) -> None:
    request = stage.authority.find_request(stage.ask(stage.lease(AUDIT), "ticket.audit"))
    me = Signatory(person=BEN, key=key_of_person(BEN))
    assert reason_of(lambda: stage.desk.answer(request, Verdict.APPROVE, me)) is Reason.NOT_ENTITLED
    stage.people.signatory(BEN)
    thief = Signatory(person=BEN, key=key_of_person(EVA))
    assert reason_of(lambda: stage.desk.answer(request, Verdict.APPROVE, thief)) is Reason.BAD_SIGNATURE


@pytest.mark.requirement("L10", "B6", "P10")
def test_a_card_says_what_is_asked_and_what_stays_forbidden(stage: Stage) -> None:
    run = stage.start()
    request = stage.authority.request(run, LEASE_ONLY, reason="customer confirmed", tried=("ticket.get",))
    card = stage.desk.card(request)
    assert card.headline == "ticket.close - acme / prod"
    line = card.lines[0]
    assert (line.action, line.effect, line.attributes) == ("ticket.close", "write", {"ticket": "T-1"})
    assert line.approval == "lease"
    assert card.not_allowed[0] == "mail.purge"
    assert "ticket.erase" in card.not_allowed
    assert card.budget == {"calls": "20", "tool_seconds": "600", "usd": "1"}
    assert (card.reason, card.tried, card.ttl_seconds) == ("customer confirmed", ("ticket.get",), 300)
    assert (card.window_until, card.ends_on) == (run.run.expires_at, ("ticket.close",))
    assert card.delegation.startswith("up to 2 sub-agents, 2 deep, only ticket.audit")
    assert card.receipt


@pytest.mark.requirement("L10")
@pytest.mark.case(74)
def test_the_card_of_a_call_shows_its_arguments_in_full(stage: Stage) -> None:
    request = stage.ask(stage.lease(ERASE), "ticket.erase", key="a", ticket_id="T-1", note="a\u202eb", days=3)
    card = stage.desk.card(stage.authority.find_request(request))
    assert card.headline == "ticket.erase ticket T-1 - acme / prod"
    assert card.arguments == {"days": "3", "note": "a\u202eb", "ticket_id": "T-1"}
    assert (card.key, card.quorum, card.delegation) == ("a", 2, "none")


def test_requests_that_wait_are_listed_oldest_first(stage: Stage) -> None:
    lease = stage.lease(AUDIT)
    asked = [stage.ask(lease, "ticket.audit", name) for name in ("T-1", "T-2")]
    assert [request.request_id for request in stage.desk.pending()] == asked
    stage.people.approve(asked[0], BEN)
    assert [request.request_id for request in stage.desk.pending()] == asked[1:]


def test_nobody_approves_a_card_that_was_erased(stage: Stage) -> None:
    request = stage.authority.find_request(stage.ask(stage.lease(AUDIT), "ticket.audit"))
    raw(stage.authority.engine.store).execute("DELETE FROM cards")
    with pytest.raises(NotFoundError, match="nobody can approve unseen"):
        stage.desk.card(request)
    with pytest.raises(NotFoundError):
        stage.desk.request_row(replace(request, request_id=request.request_id[:-1] + "0"))


@pytest.mark.requirement("P11")
@pytest.mark.case(76)
def test_two_reviewers_at_once_make_one_approval(stage: Stage) -> None:
    lease = stage.lease(AUDIT)
    request = stage.ask(lease, "ticket.audit")
    stage.people.approve(request, BEN)
    assert reason_of(lambda: stage.people.approve(request, EVA)) is Reason.NOT_PENDING
    stage.settle(stage.admit(lease, "ticket.audit"), OutcomeStatus.DONE)
    with pytest.raises(Denied):
        stage.admit(lease, "ticket.audit")
