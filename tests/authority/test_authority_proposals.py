"""A policy that widens, where the active one wants two people for that: proposed by one, confirmed by another."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from msgspec.structs import replace

from governed import NARROWER, NEW, OLD, TWO, WIDER, propose
from leasehold.authority.desk import Signatory
from leasehold.decide.proposals import AnswerProposal, PolicyWord, ProposePolicy
from leasehold.decide.rows import AUTHORITY_WIDE, ProposalRow
from leasehold.decide.voices import KeyVoice
from leasehold.errors import Denied, NotFoundError
from leasehold.ledger.entry import EntryKind
from leasehold.model.decision import Reason
from leasehold.model.proposal import PolicyVerdict, ProposalState
from leasehold.policy.document import Acceptance
from leasehold.policy.widening import widening_digest
from leasehold.testing.fixtures import key_of_person
from stage import BEN, EVA, KIM, POLICY, Stage, changed, policy, reason_of


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage(TWO)
    yield stage
    stage.close()


def confirm(stage: Stage, person: str = BEN, verdict: PolicyVerdict = PolicyVerdict.CONFIRM) -> ProposalState:
    proposal = stage.authority.proposals.find(NEW.hash)
    return stage.authority.proposals.answer(proposal, verdict, stage.people.signatory(person))


def active(stage: Stage) -> str:
    return stage.authority.engine.active_policy().hash


@pytest.mark.requirement("P7")
def test_a_widening_waits_for_a_second_person_and_alarms_when_it_counts(stage: Stage) -> None:
    assert reason_of(lambda: stage.accept(WIDER)) is Reason.APPROVAL_NEEDED
    proposal = propose(stage)
    assert active(stage) == OLD.hash
    row = stage.authority.engine.row(ProposalRow, AUTHORITY_WIDE, NEW.hash)
    assert row is not None
    assert (row.proposal_id, row.state, row.replaces, row.person) == (proposal, "pending", OLD.hash, EVA)
    assert row.widening == widening_digest(OLD, NEW)
    assert confirm(stage) is ProposalState.CONFIRMED
    assert active(stage) == NEW.hash
    proposed, answered = stage.entries(EntryKind.POLICY_PROPOSED)[0], stage.entries(EntryKind.POLICY_ANSWERED)[0]
    assert (proposed.person, proposed.policy, proposed.detail["widening"]) == (EVA, NEW.hash, row.widening)
    assert (answered.person, answered.detail["verdict"], answered.decision) == (BEN, "confirm", "allow")
    accepted = stage.entries(EntryKind.POLICY_ACCEPTED)[-1]
    assert accepted.detail["alarm"] == "widened"
    assert accepted.detail["widened"] == ("desk budget.calls",)
    assert (accepted.detail["proposed_by"], accepted.person) == (EVA, BEN)


@pytest.mark.requirement("P7")
def test_what_widens_nothing_takes_one_person(stage: Stage) -> None:
    stage.accept(NARROWER)
    assert active(stage) == policy(NARROWER).hash
    assert "alarm" not in stage.entries(EntryKind.POLICY_ACCEPTED)[-1].detail
    assert reason_of(lambda: propose(stage, text=changed("calls = 20", "calls = 18", TWO), replaces=NARROWER)) is (
        Reason.CONFLICT
    )


@pytest.mark.requirement("P7", "P8")
def test_a_policy_without_the_second_person_needs_the_second_person(stage: Stage) -> None:
    alone = changed('accept = "two"', 'accept = "one"', TWO)
    assert reason_of(lambda: stage.accept(alone)) is Reason.APPROVAL_NEEDED
    assert reason_of(lambda: stage.accept(POLICY)) is Reason.APPROVAL_NEEDED
    propose(stage, text=alone)
    proposal = stage.authority.proposals.find(policy(alone).hash)
    stage.authority.proposals.answer(proposal, PolicyVerdict.CONFIRM, stage.people.signatory(BEN))
    assert stage.authority.engine.active_policy().accept is Acceptance.ONE
    stage.accept(changed("calls = 20", "calls = 30", alone))


@pytest.mark.requirement("P7")
@pytest.mark.case(80)
def test_nobody_confirms_their_own_proposal_under_any_name(stage: Stage) -> None:
    propose(stage)
    assert reason_of(lambda: confirm(stage, EVA)) is Reason.OWN_REQUEST
    answered = stage.entries(EntryKind.POLICY_ANSWERED)[-1]
    assert (answered.decision, answered.reason) == ("deny", "own_request")
    assert active(stage) == OLD.hash


@pytest.mark.requirement("P7")
def test_a_policy_is_proposed_once_at_a_time(stage: Stage) -> None:
    propose(stage)
    with pytest.raises(Denied) as refused:
        propose(stage, BEN)
    assert refused.value.decision.reason is Reason.CONFLICT
    assert "user:eva has proposed" in refused.value.decision.message
    assert confirm(stage, EVA, PolicyVerdict.REFUSE) is ProposalState.REFUSED
    assert reason_of(lambda: confirm(stage)) is Reason.NOT_PENDING
    propose(stage, BEN)
    assert confirm(stage, EVA) is ProposalState.CONFIRMED
    assert reason_of(lambda: confirm(stage, EVA)) is Reason.NOT_PENDING


@pytest.mark.requirement("P7")
@pytest.mark.case(79)
def test_a_proposal_is_void_once_another_policy_is_active(stage: Stage) -> None:
    propose(stage)
    stage.accept(NARROWER)
    assert reason_of(lambda: confirm(stage)) is Reason.CONFLICT
    assert reason_of(lambda: propose(stage)) is Reason.CONFLICT
    propose(stage, replaces=NARROWER)
    assert confirm(stage) is ProposalState.CONFIRMED


@pytest.mark.requirement("P7")
@pytest.mark.case(79)
def test_a_void_proposal_stays_void_though_the_policy_that_it_was_compared_with_is_active_again(stage: Stage) -> None:
    propose(stage)
    stage.accept(NARROWER)
    propose(stage, text=TWO, replaces=NARROWER)
    back = stage.authority.proposals.find(OLD.hash)
    stage.authority.proposals.answer(back, PolicyVerdict.CONFIRM, stage.people.signatory(BEN))
    assert active(stage) == OLD.hash
    assert reason_of(lambda: confirm(stage)) is Reason.CONFLICT
    propose(stage)
    assert confirm(stage) is ProposalState.CONFIRMED


@pytest.mark.requirement("P7")
@pytest.mark.parametrize("person", [KIM, "user:ana", "user:nobody"])
def test_only_people_with_the_power_propose_and_confirm(stage: Stage, person: str) -> None:
    assert reason_of(lambda: propose(stage, person)) is Reason.NOT_ENTITLED
    propose(stage)
    assert reason_of(lambda: confirm(stage, person)) is Reason.NOT_ENTITLED
    assert reason_of(lambda: confirm(stage, person, PolicyVerdict.REFUSE)) is Reason.NOT_ENTITLED
    assert active(stage) == OLD.hash


def test_a_removed_key_neither_proposes_nor_confirms(stage: Stage) -> None:
    eva, ben = stage.people.signatory(EVA), stage.people.signatory(BEN)
    stage.desk.remove_person(EVA, by="op")
    assert reason_of(lambda: stage.authority.proposals.propose(NEW, OLD, eva)) is Reason.BAD_SIGNATURE
    thief = Signatory(person=BEN, key=key_of_person("user:thief"))
    assert reason_of(lambda: stage.authority.proposals.propose(NEW, OLD, thief)) is Reason.BAD_SIGNATURE
    stage.authority.proposals.propose(NEW, OLD, ben)
    stage.desk.remove_person(BEN, by="op")
    proposal = stage.authority.proposals.find(NEW.hash)
    assert reason_of(lambda: stage.authority.proposals.answer(proposal, PolicyVerdict.CONFIRM, ben)) is (
        Reason.BAD_SIGNATURE
    )


@pytest.mark.requirement("P7")
def test_a_proposal_dies_with_the_key_or_the_power_of_who_made_it(stage: Stage) -> None:
    propose(stage, BEN)
    stage.people.signatory(EVA)
    stage.desk.remove_person(BEN, by="op")
    with pytest.raises(Denied) as refused:
        confirm(stage, EVA)
    assert refused.value.decision.reason is Reason.NOT_ENTITLED
    assert "was removed" in refused.value.decision.message
    new_key = key_of_person("user:ben again")
    stage.desk.add_person(BEN, new_key.public(), by="op")
    assert reason_of(lambda: confirm(stage, EVA)) is Reason.NOT_ENTITLED
    assert confirm(stage, EVA, PolicyVerdict.REFUSE) is ProposalState.REFUSED


@pytest.mark.requirement("L7")
def test_nobody_proposes_or_confirms_while_the_clock_is_behind(stage: Stage) -> None:
    propose(stage)
    ben, proposals = stage.people.signatory(BEN), stage.authority.proposals
    other = policy(changed("calls = 20", "calls = 22", TWO))
    stage.system.jump(seconds=-60)
    assert reason_of(lambda: proposals.propose(other, OLD, ben)) is Reason.CLOCK
    assert reason_of(lambda: proposals.answer(proposals.find(NEW.hash), PolicyVerdict.CONFIRM, ben)) is Reason.CLOCK


def test_what_nobody_proposed_cannot_be_looked_at(stage: Stage) -> None:
    with pytest.raises(NotFoundError, match="policy accept --as PERSON"):
        stage.authority.proposals.find(NEW.hash)


# Words that were meant for something else, handed to the step itself


Bend = Callable[[ProposePolicy | AnswerProposal], ProposePolicy | AnswerProposal]


def bent(**fields: object) -> Bend:
    """The step with another statement, as if its signature had been checked."""

    def bend(step: ProposePolicy | AnswerProposal) -> ProposePolicy | AnswerProposal:
        statement = replace(step.word.statement, **fields)
        return replace(step, word=replace(step.word, statement=statement))

    return bend


def submitted(stage: Stage, monkeypatch: pytest.MonkeyPatch, bend: Bend) -> None:
    """Have the engine submit bent steps."""
    engine = stage.authority.engine
    ask = engine.ask
    monkeypatch.setattr(engine, "ask", lambda build: ask(lambda active: bend(build(active))))


def forged(said: PolicyWord) -> PolicyWord:
    """The same word with another key, as if that had signed it."""
    voice = KeyVoice(person=said.word.person, public_key=bytes(32))
    return replace(said, word=replace(said.word, voice=voice))


OTHER = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("bend", "reason"),
    [
        (bent(policy=OTHER), Reason.CONFLICT),
        (bent(replaces=OTHER), Reason.CONFLICT),
        (bent(widening=OTHER), Reason.CARD_CHANGED),
        (lambda step: replace(step, word=forged(step.word)), Reason.BAD_SIGNATURE),
    ],
)
def test_a_word_on_another_policy_proposes_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, bend: Bend, reason: Reason
) -> None:
    eva = stage.people.signatory(EVA)
    submitted(stage, monkeypatch, bend)
    assert reason_of(lambda: stage.authority.proposals.propose(NEW, OLD, eva)) is reason


@pytest.mark.parametrize(
    ("bend", "reason"),
    [
        (bent(proposal_id="prop_01JZ8Q5X0M3V7K2N9B4C6D8E0F"), Reason.NOT_FOUND),
        (bent(replaces=OTHER), Reason.CARD_CHANGED),
        (bent(widening=OTHER), Reason.CARD_CHANGED),
        (lambda step: replace(step, proposer=KIM), Reason.NOT_ENTITLED),
        (lambda step: replace(step, policy_document=OLD), Reason.NOT_FOUND),
    ],
)
def test_a_word_on_another_proposal_confirms_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, bend: Bend, reason: Reason
) -> None:
    propose(stage)
    ben = stage.people.signatory(BEN)
    stage.people.signatory(KIM)
    proposal = stage.authority.proposals.find(NEW.hash)
    submitted(stage, monkeypatch, bend)
    assert reason_of(lambda: stage.authority.proposals.answer(proposal, PolicyVerdict.CONFIRM, ben)) is reason
    assert active(stage) == OLD.hash


def test_a_proposer_without_the_power_any_more_is_worth_nothing(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The active policy cannot lose a governor without another becoming active; a step must not rely on that."""
    propose(stage)
    ben = stage.people.signatory(BEN)
    powerless = policy(
        changed(
            '"operator", "governor"]',
            '"operator"]',
            changed('"user:kim" = ["watcher"]', '"user:kim" = ["watcher", "governor"]', TWO),
        )
    )

    def bend(step: AnswerProposal) -> AnswerProposal:
        return replace(step, active=powerless)

    proposal = stage.authority.proposals.find(NEW.hash)
    engine = stage.authority.engine
    ask = engine.ask
    monkeypatch.setattr(AnswerProposal, "policy", property(lambda step: OLD.hash))
    monkeypatch.setattr(engine, "ask", lambda build: ask(lambda active: bend(build(active))))
    assert reason_of(lambda: stage.authority.proposals.answer(proposal, PolicyVerdict.CONFIRM, ben)) is (
        Reason.NOT_ENTITLED
    )
