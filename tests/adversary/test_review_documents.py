"""Documents that a caller holds are names, not words: what counts is what the ledger's own store has under that id."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from leasehold.errors import NotFoundError
from leasehold.ledger.entry import EntryKind
from leasehold.model.decision import Reason
from leasehold.model.grant import grants_from_json
from leasehold.model.request import RequestState
from stage import ANA, BEN, CLOSE, ERASE, EVA, UPDATE, Stage

ONE = {"ticket.close": {"ticket": ["T-1"]}}
TWO = grants_from_json({"ticket.close": {"ticket": ["T-2"]}})


@pytest.mark.invariant("I4")
@pytest.mark.case(74)
def test_an_approved_request_whose_grants_were_edited_draws_what_was_approved(stage: Stage) -> None:
    request = stage.authority.request(stage.start(), ONE, reason="customer asked")
    stage.people.approve(request, BEN)
    lease = stage.authority.wait(replace(request, allow=TWO, ends_on=(), ttl_seconds=900), 5)
    assert lease.lease.allow == request.allow
    assert (lease.lease.ends_on, lease.lease.expires_at) == (request.ends_on, stage.system.now().seconds + 300)
    assert stage.refusal(lease, "ticket.close", "T-2", key="a") is Reason.OUT_OF_RANGE


@pytest.mark.invariant("I10")
@pytest.mark.case(57)
def test_a_request_relabelled_with_another_tenant_is_not_found(stage: Stage) -> None:
    request = stage.authority.request(stage.start(), UPDATE, reason="customer asked")
    stage.start(tenant="globex")
    with pytest.raises(NotFoundError):
        stage.authority.wait(replace(request, tenant="globex"), 5)
    with pytest.raises(NotFoundError):
        stage.authority.runs.withdraw(replace(request, tenant="globex"))


@pytest.mark.invariant("I4")
@pytest.mark.case(74, 75)
def test_an_answer_is_bound_to_the_card_of_the_request_that_it_names(stage: Stage) -> None:
    lease = stage.lease(ERASE)
    harmless = stage.authority.request(stage.start(), CLOSE, reason="customer asked")
    asked = stage.authority.find_request(stage.ask(lease, "ticket.erase", key="a"))
    mixed = replace(asked, card_digest=harmless.card_digest, kind=harmless.kind, allow=harmless.allow)
    assert stage.desk.card(mixed).lines == stage.desk.card(asked).lines
    answered = stage.people.approve(mixed, BEN)
    assert (answered.state, answered.approvals_missing) == (RequestState.PENDING, 1)
    assert stage.entries(EntryKind.REQUEST_ANSWERED)[-1].detail["card"] == asked.card_digest
    stage.people.approve(asked, EVA)
    assert stage.admit(lease, "ticket.erase", key="a").approved_by == (BEN, EVA)


@pytest.mark.requirement("L10")
@pytest.mark.case(86)
def test_a_card_tells_of_the_run_as_it_was_started(stage: Stage) -> None:
    attempt = stage.start()
    run = replace(attempt.run, requested_by=EVA, environment="staging", purpose="something harmless", agent="other")
    request = stage.authority.request(replace(attempt, run=run), ONE, reason="customer asked")
    card = stage.desk.card(request)
    assert (card.requested_by, card.environment, card.agent) == (ANA, "prod", "bot")
    assert card.purpose == attempt.run.purpose
    stage.authority.finish(replace(attempt, run=run))
    assert stage.entries(EntryKind.RUN_FINISHED)[-1].requested_by == ANA
