"""The desk's own affairs: people and their keys, policies, epochs, and looking things up."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from leasehold.authority.desk import Signatory
from leasehold.errors import Denied
from leasehold.ledger.entry import EntryKind
from leasehold.model.decision import Reason
from leasehold.model.request import RequestState, Verdict
from leasehold.store.queries import LedgerQuery
from leasehold.testing.fixtures import key_of_person
from leasehold.token.keys import SigningKey
from leasehold.token.person import AnswerStatement
from stage import ANA, AUDIT, BEN, ERASE, EVA, Stage, changed, policy, reason_of

# People


@pytest.mark.requirement("F3", "P12")
@pytest.mark.case(80)
def test_a_person_has_one_key_and_a_key_belongs_to_one_person_for_ever(stage: Stage) -> None:
    key = key_of_person(BEN).public()
    assert stage.desk.add_person(BEN, key, by="op") == BEN
    assert stage.desk.add_person(BEN, key, by="op") == BEN  # twice is harmless
    assert reason_of(lambda: stage.desk.add_person(BEN, key_of_person(EVA).public(), by="op")) is Reason.CONFLICT
    assert reason_of(lambda: stage.desk.add_person(EVA, key, by="op")) is Reason.CONFLICT
    stage.desk.remove_person(BEN, by="op")
    assert reason_of(lambda: stage.desk.add_person(EVA, key, by="op")) is Reason.CONFLICT
    assert reason_of(lambda: stage.desk.add_person(BEN, key, by="op")) is Reason.CONFLICT
    stage.desk.add_person(BEN, SigningKey.generate(b"b" * 32).public(), by="op")
    assert [entry.person for entry in stage.entries(EntryKind.PERSON_ADDED)] == [BEN, BEN]


def test_a_person_who_is_not_there_cannot_be_removed(stage: Stage) -> None:
    assert reason_of(lambda: stage.desk.remove_person(BEN, by="op")) is Reason.NOT_FOUND
    stage.people.signatory(BEN)
    stage.desk.remove_person(BEN, by="op")
    assert reason_of(lambda: stage.desk.remove_person(BEN, by="op")) is Reason.NOT_FOUND
    entry = stage.entries(EntryKind.PERSON_REMOVED)[0]
    assert (entry.person, entry.detail["by"]) == (BEN, "op")
    assert [(row.person, row.state) for row in stage.desk.people()] == [(BEN, "removed")]


# Answers that were signed elsewhere


@pytest.mark.requirement("P11", "F3")
@pytest.mark.invariant("I4")
@pytest.mark.case(74, 75, 81)
def test_a_signature_counts_for_the_card_request_and_person_that_it_names(stage: Stage) -> None:
    lease = stage.lease(AUDIT)
    one = stage.authority.find_request(stage.ask(lease, "ticket.audit"))
    two = stage.authority.find_request(stage.ask(lease, "ticket.audit", "T-2"))
    for person in (BEN, EVA):
        stage.people.signatory(person)
    statement = AnswerStatement(
        request_id=one.request_id, card_digest=one.card_digest, verdict=Verdict.APPROVE, answered_at=1, person=BEN
    )
    signature = statement.sign(key_of_person(BEN))

    def record(request: object, said: AnswerStatement, text: str = signature) -> Reason:
        return reason_of(lambda: stage.desk.record_answer(request, said, text, reason="", same_account=False))

    assert record(two, statement) is Reason.BAD_SIGNATURE
    assert record(two, replace(statement, request_id=two.request_id)) is Reason.BAD_SIGNATURE
    assert record(one, replace(statement, verdict=Verdict.DENY)) is Reason.BAD_SIGNATURE
    assert record(one, replace(statement, person=EVA)) is Reason.BAD_SIGNATURE
    assert record(one, replace(statement, answered_at=2)) is Reason.BAD_SIGNATURE
    assert record(one, statement, signature + "A") is Reason.BAD_SIGNATURE
    other_card = replace(statement, card_digest=two.card_digest)
    assert record(one, other_card, other_card.sign(key_of_person(BEN))) is Reason.CARD_CHANGED
    stage.desk.record_answer(one, statement, signature, reason="looks right", same_account=True)
    entry = stage.entries(EntryKind.REQUEST_ANSWERED)[-1]
    assert (entry.detail["words"], entry.detail["same_account"]) == ("looks right", "yes")
    assert entry.detail["signature"] == signature


def test_somebody_under_the_authoritys_own_account_is_said_to_be(stage: Stage) -> None:
    request = stage.authority.find_request(stage.ask(stage.lease(AUDIT), "ticket.audit"))
    stage.people.signatory(BEN)
    me = Signatory(person=BEN, key=key_of_person(BEN), same_account=True)
    stage.desk.answer(request, Verdict.APPROVE, me)
    assert stage.entries(EntryKind.REQUEST_ANSWERED)[0].detail["same_account"] == "yes"


# Policies


@pytest.mark.requirement("P7")
def test_a_policy_is_not_accepted_over_one_that_nobody_compared_it_with(stage: Stage) -> None:
    first = stage.authority.engine.active_policy()
    second = policy(changed('deny = ["mail.purge"]', 'deny = ["ticket.update"]'))
    third = policy(changed('deny = ["mail.purge"]', 'deny = ["ticket.get"]'))
    stage.desk.accept_policy(second, by="user:op", replaces=first.hash)
    for compared_with in (first.hash, ""):
        with pytest.raises(Denied) as refused:
            stage.desk.accept_policy(third, by="user:op", replaces=compared_with)
        assert refused.value.decision.reason is Reason.CONFLICT
    assert stage.authority.engine.active_policy().hash == second.hash


@pytest.mark.requirement("P7", "P8")
def test_an_accepted_policy_counts_from_the_next_step_on_and_is_written_down(stage: Stage) -> None:
    lease = stage.lease()
    first = stage.authority.engine.active_policy()
    second = policy(changed('deny = ["mail.purge"]', 'deny = ["ticket.update"]'))
    assert stage.desk.accept_policy(second, by="user:op", widened=("x",)) == second.hash
    assert stage.refusal(lease, "ticket.update", key="a") is Reason.ACTION_DENIED
    entry = stage.entries(EntryKind.POLICY_ACCEPTED)[-1]
    assert (entry.policy, entry.person, entry.detail["before"]) == (second.hash, "user:op", first.hash)
    assert (entry.detail["alarm"], entry.detail["widened"]) == ("widened", ("x",))
    stage.desk.accept_policy(second, by="again")
    assert len(stage.entries(EntryKind.POLICY_ACCEPTED)) == 2
    stage.desk.accept_policy(first, by="back")
    stage.use(lease, "ticket.update", key="a")
    assert stage.entries(EntryKind.CALL_ADMITTED)[0].policy == first.hash


@pytest.mark.case(52)
def test_a_policy_is_not_accepted_while_the_clock_is_wrong(stage: Stage) -> None:
    stage.lease()
    stage.system.jump(seconds=-60)
    assert reason_of(lambda: stage.accept(changed("calls = 20", "calls = 21"))) is Reason.CLOCK
    assert reason_of(lambda: stage.people.signatory(BEN)) is Reason.CLOCK


@pytest.mark.requirement("P4")
@pytest.mark.case(79)
def test_a_policy_that_changed_between_approval_and_use_is_asked_anew(stage: Stage) -> None:
    lease = stage.lease(AUDIT)
    stage.people.approve(stage.ask(lease, "ticket.audit"), BEN)
    stage.accept(changed('"ticket.audit"   = { effect = "read",', '"ticket.audit"   = { effect = "destructive",'))
    request = stage.ask(lease, "ticket.audit", key="a")
    assert stage.desk.card(stage.authority.find_request(request)).quorum == 2


# Looking


@pytest.mark.requirement("C8", "B4", "L13")
def test_the_ledger_answers_who_did_what_under_which_capability(stage: Stage) -> None:
    hers = stage.lease()
    his = stage.lease(run=stage.start(by=BEN))
    stage.use(hers, "ticket.update", key="a")
    stage.use(his, "ticket.update", "T-2", key="b")
    found = stage.desk.search(LedgerQuery(tenants=["acme"], person=ANA, action="ticket.update"))
    assert {entry.requested_by for entry in found} == {ANA}
    assert [entry.kind for entry in found] == [EntryKind.CALL_SETTLED, EntryKind.CALL_ADMITTED]
    one = stage.desk.search(LedgerQuery(tenants=["acme"], attribute=("ticket", "T-2")))
    assert {entry.lease for entry in one} == {his.lease.lease_id}
    assert stage.desk.search(LedgerQuery(tenants=["globex"])) == ()


@pytest.mark.invariant("I10")
@pytest.mark.case(57)
def test_tenants_share_nothing_but_the_policy(stage: Stage) -> None:
    acme, globex = stage.lease(), stage.lease(run=stage.start(tenant="globex"))
    stage.use(acme, "ticket.update", key="a")
    stage.use(globex, "ticket.update", key="a")
    engine = stage.authority.engine
    digests = {entry.arguments_digest for entry in stage.entries(EntryKind.CALL_ADMITTED)}
    assert len(digests) == 2  # the same arguments look different in each tenant
    queries = engine.store.queries
    assert queries.document("globex", acme.lease.lease_id) is None
    assert queries.locate(acme.lease.lease_id, ["globex"]) is None
    assert queries.accounts("globex", acme.lease.request_id) == ()
    assert {entry.tenant for entry in stage.desk.search(LedgerQuery(tenants=["globex"]))} == {"globex"}


@pytest.mark.requirement("L10", "P12")
def test_a_footer_says_who_has_approved_and_who_may_without_the_requester(stage: Stage) -> None:
    request = stage.authority.find_request(stage.ask(stage.lease(ERASE), "ticket.erase", key="a", ticket_id="T-1"))
    before = stage.desk.footer(request)
    assert (before.state, before.quorum, before.approved_by) == (RequestState.PENDING, 2, ())
    assert before.may_approve == (BEN, EVA)  # Ana has the role as well, but it is her request
    assert before.card_digest == request.card_digest
    stage.people.approve(request, EVA)
    assert stage.desk.footer(request).approved_by == (EVA,)
    stage.pass_time(request.answer_by - stage.system.now().seconds)
    assert stage.desk.footer(request).state is RequestState.EXPIRED
