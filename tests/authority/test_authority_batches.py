"""Several requests, one yes: fixed before it is given, each answered by itself, and never what is looked at alone."""

from __future__ import annotations

from contextlib import closing

import pytest

from leasehold.authority import batches
from leasehold.authority.batches import MOST_ITEMS, Item
from leasehold.errors import InvalidError
from leasehold.model.decision import Reason
from leasehold.model.request import Request, RequestState, Verdict
from stage import ANA, BEN, ERASE, EVA, POLICY, Stage, changed

pytestmark = [pytest.mark.requirement("F2"), pytest.mark.case(75, 76)]


def asked(stage: Stage, ticket: str = "T-1", action: str = "ticket.close", **where: object) -> Request:
    """A lease request that one lead has to agree to, or a call of what is destructive."""
    if action == "ticket.erase":
        return stage.authority.find_request(stage.ask(stage.lease(ERASE), action, ticket, key="a"))
    run = stage.start(**where)
    return stage.authority.request(run, {action: {"ticket": [ticket]}}, reason="tidy")


def item(request: Request) -> Item:
    return Item(request_id=request.request_id, card_digest=request.card_digest)


def answer(
    stage: Stage, *requests: Request | Item, verdict: Verdict = Verdict.APPROVE, person: str = BEN
) -> list[object]:
    """The states, or reasons, of a batch."""
    items = [each if isinstance(each, Item) else item(each) for each in requests]
    results = stage.desk.answer_many(items, verdict, stage.people.signatory(person), reason="all fine")
    assert [result.request_id for result in results] == [each.request_id for each in items]
    return [result.state if result.decision.is_allowed else result.decision.reason for result in results]


def test_each_request_of_a_batch_is_answered_by_itself(stage: Stage) -> None:
    one, two, three = (asked(stage, ticket) for ticket in ("T-1", "T-2", "T-3"))
    stage.people.deny(two, EVA)
    told = answer(stage, one, two, three)
    assert told == [RequestState.APPROVED, Reason.NOT_PENDING, RequestState.APPROVED]
    states = [stage.authority.runs.request_state(request) for request in (one, two, three)]
    assert states == ["approved", "denied", "approved"]


def test_a_card_that_is_not_the_one_that_was_looked_at_is_not_answered(stage: Stage) -> None:
    one, two = asked(stage, "T-1"), asked(stage, "T-2")
    swapped = Item(request_id=one.request_id, card_digest=two.card_digest)
    assert answer(stage, swapped, two) == [Reason.CARD_CHANGED, RequestState.APPROVED]
    assert stage.authority.runs.request_state(one) == "pending"


def test_what_comes_after_the_batch_was_fixed_is_not_in_it(stage: Stage) -> None:
    one = asked(stage, "T-1")
    fixed = [item(one)]
    edited = stage.desk.edit(one, stage.people.signatory(EVA), allow={"ticket.close": {"ticket": ["T-9"]}})
    assert answer(stage, *fixed) == [Reason.NOT_PENDING]
    assert stage.authority.runs.request_state(edited) == "pending"


@pytest.mark.requirement("P12")
def test_what_is_destructive_or_takes_two_people_is_never_in_a_batch_and_keeps_nobody_out(stage: Stage) -> None:
    stage.accept(changed('[routes."solo"]', '[routes."two"]', POLICY) + _TWO)
    erase, close = asked(stage, action="ticket.erase"), asked(stage)
    two = asked(stage, action="ticket.update", route="pair")
    for request in (erase, two):
        told = stage.desk.batchable(request)
        assert (told.reason, bool(told.check)) == (Reason.NOT_IN_BATCH, True)
    assert stage.desk.batchable(close).is_allowed
    assert answer(stage, erase, close, two) == [Reason.NOT_IN_BATCH, RequestState.APPROVED, Reason.NOT_IN_BATCH]
    assert stage.authority.runs.request_state(erase) == "pending"


_TWO = """
[routes."pair"]
for = { agents = ["bot"], tenants = ["acme"], environments = ["prod"] }
allow."ticket.update" = { ticket = ["T-*"] }
approvers = ["lead"]
quorum = 2
"""


def test_a_no_may_be_given_to_anything_at_once(stage: Stage) -> None:
    erase, close = asked(stage, action="ticket.erase"), asked(stage)
    assert answer(stage, erase, close, verdict=Verdict.DENY) == [RequestState.DENIED, RequestState.DENIED]


def test_a_batch_is_about_one_tenant_environment_and_tool(stage: Stage) -> None:
    here, there = asked(stage), asked(stage, tenant="globex")
    assert answer(stage, here, there) == [RequestState.APPROVED, Reason.NOT_IN_BATCH]
    assert answer(stage, there) == [RequestState.APPROVED]


@pytest.mark.case(57)
def test_a_request_that_is_not_there_is_told_as_not_found_and_the_others_are_answered(stage: Stage) -> None:
    close = asked(stage)
    ghost = Item(request_id="req_01JZ8Q5X0M3V7K2N9B4C6D8E0F", card_digest="hmac-sha256:00")
    assert answer(stage, ghost, close) == [Reason.NOT_FOUND, RequestState.APPROVED]


@pytest.mark.requirement("P12")
def test_whose_word_does_not_count_for_one_is_refused_for_that_one(stage: Stage) -> None:
    hers, others = asked(stage, by=ANA), asked(stage, by="user:zoe")
    assert answer(stage, hers, others, person=ANA) == [Reason.OWN_REQUEST, RequestState.APPROVED]


GUARDS = {
    "refuse_in_batch": (
        lambda *_: None,
        test_what_is_destructive_or_takes_two_people_is_never_in_a_batch_and_keeps_nobody_out,
    ),
    "_place": (lambda *_: (), test_a_batch_is_about_one_tenant_environment_and_tool),
}


@pytest.mark.parametrize("name", GUARDS)
def test_guard_of_batches_that_is_taken_away_is_missed(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    lenient, missed = GUARDS[name]
    monkeypatch.setattr(batches, name, lenient)
    with closing(Stage()) as stage, pytest.raises(AssertionError):
        missed(stage)


def test_an_empty_a_huge_or_a_repeated_batch_is_none(stage: Stage) -> None:
    close, ben = asked(stage), stage.people.signatory(BEN)
    for items in ([], [item(close)] * 2, [item(close)] * (MOST_ITEMS + 1)):
        with pytest.raises(InvalidError):
            stage.desk.answer_many(items, Verdict.APPROVE, ben)
    assert stage.authority.runs.request_state(close) == "pending"


def test_a_batch_answered_twice_changes_nothing(stage: Stage) -> None:
    close = asked(stage)
    assert answer(stage, close) == [RequestState.APPROVED]
    assert answer(stage, close) == [Reason.NOT_PENDING]
