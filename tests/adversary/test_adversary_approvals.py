"""An approval is for exactly what was shown, once, by somebody who may: attempts to stretch it."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from leasehold.authority.desk import Signatory
from leasehold.model.decision import Reason
from leasehold.model.grant import grants_from_json
from leasehold.model.request import RequestState, Verdict
from leasehold.testing.fixtures import key_of_person
from leasehold.token.person import AnswerStatement
from stage import ANA, AUDIT, BEN, CLOSE, ERASE, EVA, Stage, changed, reason_of

pytestmark = [pytest.mark.requirement("P11", "P12"), pytest.mark.invariant("I4")]


@pytest.mark.case(74)
@pytest.mark.parametrize(
    "given",
    [
        {"ticket_id": "T-1", "note": "fixee"},
        {"ticket_id": "T-1", "note": "fixed "},
        {"ticket_id": "T-1", "note": "fixed", "force": False},
        {"ticket_id": "T-1"},
        {"ticket_id": "T-2", "note": "fixed"},
    ],
)
def test_arguments_that_changed_after_the_approval_need_a_new_one(stage: Stage, given: dict[str, object]) -> None:
    lease = stage.lease(CLOSE)
    shown = {"ticket_id": "T-1", "note": "fixed"}
    request = stage.ask(lease, "ticket.close", key="a", **shown)
    stage.people.approve(request, BEN)
    other = stage.ask(lease, "ticket.close", key="a", **given)
    assert other != request
    assert stage.admit(lease, "ticket.close", key="a", **shown).approval == request


@pytest.mark.case(74)
def test_an_approval_is_for_one_key_one_run_and_one_attempt(stage: Stage) -> None:
    run = stage.start()
    lease = stage.lease(CLOSE, run=run)
    request = stage.ask(lease, "ticket.close", key="a")
    stage.people.approve(request, BEN)
    assert stage.ask(lease, "ticket.close", key="b") != request
    assert stage.ask(stage.lease(CLOSE), "ticket.close", key="a") != request
    assert stage.ask(stage.lease(CLOSE, run=run), "ticket.close", key="a") != request
    newer = stage.lease(CLOSE, run=stage.authority.retry(run))
    assert stage.ask(newer, "ticket.close", key="a") != request


@pytest.mark.requirement("L15")
def test_an_approval_survives_the_renewal_of_the_lease_that_it_was_asked_under(stage: Stage) -> None:
    lease = stage.lease(CLOSE)
    request = stage.ask(lease, "ticket.close", key="a")
    stage.people.approve(request, BEN)
    stage.pass_time(299)
    assert stage.admit(stage.authority.renew(lease), "ticket.close", key="a").approval == request


@pytest.mark.case(79)
def test_an_action_that_became_destructive_after_the_approval_needs_a_second_person(stage: Stage) -> None:
    lease = stage.lease(CLOSE)
    request = stage.ask(lease, "ticket.close", key="a")
    stage.people.approve(request, BEN)
    rule = '"ticket.close"   = { effect = "write",'
    stage.accept(changed(rule, rule.replace("write", "destructive")))
    assert stage.ask(lease, "ticket.close", key="a") != request


@pytest.mark.case(79)
def test_a_route_that_came_to_want_more_people_is_not_content_with_fewer(stage: Stage) -> None:
    lease = stage.lease(AUDIT)
    request = stage.ask(lease, "ticket.audit")
    stage.people.approve(request, BEN)
    stage.accept(changed('approvers = ["lead"]', 'approvers = ["lead"]\nquorum = 2'))
    again = stage.ask(lease, "ticket.audit")
    assert stage.people.approve(again, BEN).approvals_missing == 1
    stage.people.approve(again, EVA)
    assert stage.admit(lease, "ticket.audit").approved_by == (BEN, EVA)


@pytest.mark.case(76)
def test_one_approval_is_used_by_one_of_many_equal_calls(stage: Stage) -> None:
    lease = stage.lease(AUDIT)
    request = stage.ask(lease, "ticket.audit")
    stage.people.approve(request, BEN)
    calls = [stage.call("ticket.audit") for _ in range(8)]
    door, token = stage.door(), lease.token_for("ticket")
    futures = [door.submit_admit(token, call) for call in calls]
    told = [reason_of(future.result) if future.exception() else "ok" for future in futures]
    assert sorted(told) == ["approval_needed"] * 7 + ["ok"]


@pytest.mark.case(80)
def test_an_alias_of_the_requester_has_no_key_to_approve_with(stage: Stage) -> None:
    """The same person under a second name would have to bring a second key, which an operator has to add."""
    stage.accept(changed('"user:kim" = ["watcher"]', '"user:kim" = ["lead"]'))
    request = stage.authority.find_request(stage.ask(stage.lease(CLOSE), "ticket.close", key="a"))
    stage.people.signatory(ANA)
    hers = key_of_person(ANA)
    assert reason_of(lambda: stage.desk.add_person("user:kim", hers.public(), by="op")) is Reason.CONFLICT
    alias = Signatory(person="user:kim", key=hers)
    assert reason_of(lambda: stage.desk.answer(request, Verdict.APPROVE, alias)) is Reason.NOT_ENTITLED
    twin = Signatory(person=BEN, key=hers)
    stage.people.signatory(BEN)
    assert reason_of(lambda: stage.desk.answer(request, Verdict.APPROVE, twin)) is Reason.BAD_SIGNATURE


@pytest.mark.case(80)
def test_names_are_people_only_letter_by_letter(stage: Stage) -> None:
    request = stage.ask(stage.lease(CLOSE), "ticket.close", key="a")
    for name in ("User:ben", "user:Ben", "user:ben.", "user:be"):
        assert reason_of(lambda name=name: stage.people.approve(request, name)) is Reason.NOT_ENTITLED


@pytest.mark.case(74, 81)
def test_a_request_that_was_edited_by_who_holds_it_asks_for_what_was_stored(stage: Stage) -> None:
    request = stage.authority.request(stage.start(), {"ticket.close": {"ticket": ["T-1"]}}, reason="fixed")
    stage.people.approve(request, BEN)
    wide = replace(request, allow=grants_from_json(ERASE), budget={"calls": 10**12}, ttl_seconds=900)
    lease = stage.authority.wait(wide, 5).lease
    assert lease.allow == request.allow
    assert (lease.budget, lease.expires_at - lease.issued_at) == (request.budget, 300)


@pytest.mark.requirement("F1")
@pytest.mark.case(77, 88)
def test_an_approval_that_came_too_late_starts_nothing_when_it_comes(stage: Stage) -> None:
    lease = stage.lease(AUDIT, ttl_seconds=900)
    request = stage.ask(lease, "ticket.audit")
    stage.pass_time(600)
    assert reason_of(lambda: stage.people.approve(request, BEN)) is Reason.NOT_PENDING
    stage.sweep()
    assert stage.authority.runs.request_state(stage.authority.find_request(request)) is RequestState.EXPIRED
    assert stage.ask(lease, "ticket.audit") != request


@pytest.mark.requirement("P8")
@pytest.mark.case(81, 89)
def test_nothing_that_an_agent_holds_signs_an_answer(stage: Stage) -> None:
    lease = stage.lease(CLOSE)
    request = stage.authority.find_request(stage.ask(lease, "ticket.close", key="a"))
    stage.people.signatory(BEN)
    statement = AnswerStatement(
        request_id=request.request_id,
        card_digest=request.card_digest,
        verdict=Verdict.APPROVE,
        answered_at=1,
        person=BEN,
    )
    for words in (lease.token_for("ticket"), "yes", ""):
        refused = reason_of(
            lambda said=words: stage.desk.record_answer(request, statement, said, reason="yes", same_account=False)
        )
        assert refused is Reason.BAD_SIGNATURE
