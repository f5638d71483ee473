"""Policies that wait for a second person, on the desk of somebody who is signed in: seen, confirmed, refused, late."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from msgspec.structs import replace

from authenticator import Authenticator
from governed import NARROWER, NEW, OLD, TWO, governed, propose
from leasehold.authority.governing import Governing
from leasehold.authority.proofs import check_answers
from leasehold.authority.sign_ins import SignedIn
from leasehold.decide import proposals
from leasehold.decide.proposals import PROPOSAL_SECONDS, AnswerProposal, ExpireProposal
from leasehold.decide.provider_sign_ins import Account
from leasehold.decide.proving import Word
from leasehold.decide.voices import SessionVoice
from leasehold.errors import Denied, NotFoundError, VerificationError
from leasehold.ledger.entry import EntryKind
from leasehold.ledger.history import check_history
from leasehold.model.decision import Reason
from leasehold.model.proof import KeyProof
from leasehold.model.proposal import PolicyVerdict, ProposalState
from leasehold.token.passkey import Assertion, policy_challenge
from stage import ANA, BEN, EVA, KIM, POLICY, Stage, changed, policy, reason_of

ORIGIN = "https://lease.acme.example"
HASHED = "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2g"
BY_PASSKEY = changed("[people]", "[defaults]\ndestructive_by_passkey = true\n\n[people]", TWO)


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage(TWO)
    yield stage
    assert check_history(stage.entries()) == []
    stage.close()


def signed_in(stage: Stage, person: str) -> SignedIn:
    sign_ins = stage.authority.sign_ins
    known = [one.sign_in for one in sign_ins.of(person) if one.secret]
    sign_in = known[0] if known else sign_ins.set_password(person, HASHED, by="op")
    return sign_ins.begin(person, sign_in, address="here")[1]


def desk(stage: Stage, person: str = BEN) -> Governing:
    return stage.authority.person_desk(signed_in(stage, person), origin=ORIGIN).governing


def answer(
    governing: Governing,
    verdict: PolicyVerdict = PolicyVerdict.CONFIRM,
    *,
    digest: str = NEW.hash,
    assertion: Assertion | None = None,
) -> ProposalState:
    shown = governing.look(digest)
    return governing.answer(digest, verdict, seen=(shown.proposal.row.replaces, shown.widening), assertion=assertion)


def active(stage: Stage) -> str:
    return stage.authority.engine.active_policy().hash


@pytest.mark.requirement("P7")
def test_second_person_confirms_in_a_session_and_the_ledger_says_that_nothing_was_signed(stage: Stage) -> None:
    propose(stage)
    ben = desk(stage)
    assert [row.policy for row in ben.open()] == [NEW.hash]
    shown = ben.look(NEW.hash)
    assert (shown.refusal, shown.proof, shown.is_theirs) == (None, None, False)
    assert [change.subject for change in shown.changes] == ["budget.calls"]
    assert answer(ben) is ProposalState.CONFIRMED
    assert active(stage) == NEW.hash
    said = stage.entries(EntryKind.POLICY_ANSWERED)[-1]
    assert (said.person, said.detail["proof"], said.detail["method"]) == (BEN, "session", "password")
    assert "signature" not in said.detail
    assert ben.open() == ()
    assert check_answers(stage.entries()).session == 1


@pytest.mark.requirement("P7", "P11")
def test_passkey_signs_the_confirmation_and_anybody_can_verify_it(stage: Stage) -> None:
    propose(stage)
    passkey = passkey_of(stage, BEN)
    ben = desk(stage)
    challenge = policy_challenge(ben.statement(NEW.hash, PolicyVerdict.CONFIRM))
    assert answer(ben, assertion=passkey.sign(challenge)) is ProposalState.CONFIRMED
    entries = stage.entries()
    proven = check_answers(entries)
    assert (proven.key, proven.passkey) == (1, 1)
    place = next(place for place, entry in enumerate(entries) if entry.kind is EntryKind.POLICY_ANSWERED)
    for name, value in (("widening", OLD.hash), ("verdict", "refuse"), ("proposal", "prop_01JZ8Q5X0M3V7K2N9B4C6D8E0F")):
        bent = replace(entries[place], detail={**entries[place].detail, name: value})
        with pytest.raises(VerificationError):
            check_answers([*entries[:place], bent])


def passkey_of(stage: Stage, person: str) -> Authenticator:
    passkey = Authenticator(ORIGIN)
    credential = passkey.sign(b"").credential
    stage.authority.sign_ins.add_passkey(person, credential, passkey.public_key, count=1, by=person)
    return passkey


@pytest.mark.requirement("P7")
@pytest.mark.case(75, 80, 81)
def test_what_a_passkey_signed_about_something_else_confirms_nothing(stage: Stage) -> None:
    propose(stage)
    his, ben = passkey_of(stage, BEN), desk(stage)
    no, yes = (ben.statement(NEW.hash, verdict) for verdict in (PolicyVerdict.REFUSE, PolicyVerdict.CONFIRM))
    elsewhere = Authenticator("https://evil.example", key=his.key, count=9)
    stranger = Authenticator(ORIGIN, count=9)
    for assertion in (
        his.sign(policy_challenge(no)),
        his.sign(policy_challenge(replace(yes, person=EVA))),
        his.sign(policy_challenge(replace(yes, replaces=NEW.hash))),
        elsewhere.sign(policy_challenge(yes)),
        stranger.sign(policy_challenge(yes)),
    ):
        assert reason_of(lambda one=assertion: answer(ben, assertion=one)) is Reason.BAD_SIGNATURE
    counted = his.sign(policy_challenge(yes))
    assert answer(ben, assertion=counted) is ProposalState.CONFIRMED


def test_copy_of_a_passkey_confirms_nothing(stage: Stage) -> None:
    propose(stage)
    his, ben = passkey_of(stage, BEN), desk(stage)
    challenge = policy_challenge(ben.statement(NEW.hash, PolicyVerdict.CONFIRM))
    his.count = 0  # says that it signs for the first time, as a copy from before would
    assert reason_of(lambda: answer(ben, assertion=his.sign(challenge))) is Reason.BAD_SIGNATURE
    assert active(stage) == OLD.hash


@pytest.mark.requirement("P7")
@pytest.mark.case(80)
def test_confirmation_takes_a_recent_sign_in_and_a_refusal_none(stage: Stage) -> None:
    propose(stage)
    ben = desk(stage)
    stage.pass_time(301)
    shown = ben.look(NEW.hash)
    assert shown.proof is not None
    assert shown.proof.reason is Reason.SIGN_IN_TOO_OLD
    assert reason_of(lambda: answer(ben)) is Reason.SIGN_IN_TOO_OLD
    assert answer(ben, PolicyVerdict.REFUSE) is ProposalState.REFUSED
    assert active(stage) == OLD.hash


def test_policy_says_how_recent_and_whether_it_takes_a_passkey(stage: Stage) -> None:
    later = changed("[people]", '[defaults]\ndestructive_sign_in_within = "20m"\n\n[people]', TWO)
    stage.accept(later)
    wider = changed("calls = 20", "calls = 21", later)
    propose(stage, text=wider, replaces=later)
    ben = desk(stage)
    stage.pass_time(301)
    assert ben.look(policy(wider).hash).proof is None
    assert answer(ben, PolicyVerdict.REFUSE, digest=policy(wider).hash) is ProposalState.REFUSED
    stage.people.signatory(EVA)
    strict, widest = BY_PASSKEY, changed("calls = 20", "calls = 21", BY_PASSKEY)
    propose(stage, text=strict, replaces=later)
    stage.authority.proposals.answer(
        stage.authority.proposals.find(policy(strict).hash), PolicyVerdict.CONFIRM, stage.people.signatory(BEN)
    )
    propose(stage, text=widest, replaces=strict)
    assert reason_of(lambda: answer(desk(stage), digest=policy(widest).hash)) is Reason.PASSKEY_NEEDED
    by_key = stage.authority.proposals
    proposal = by_key.find(policy(widest).hash)
    assert by_key.answer(proposal, PolicyVerdict.CONFIRM, stage.people.signatory(BEN)) is ProposalState.CONFIRMED


@pytest.mark.requirement("P7")
@pytest.mark.case(80)
def test_nobody_confirms_their_own_in_a_session_and_they_may_take_it_back(stage: Stage) -> None:
    propose(stage)
    eva = desk(stage, EVA)
    shown = eva.look(NEW.hash)
    assert shown.is_theirs
    assert shown.refusal is not None
    assert shown.refusal.reason is Reason.OWN_REQUEST
    assert reason_of(lambda: answer(eva)) is Reason.OWN_REQUEST
    assert answer(eva, PolicyVerdict.REFUSE) is ProposalState.REFUSED


@pytest.mark.requirement("P7")
def test_those_without_a_say_see_it_only_if_they_can_query_everywhere(stage: Stage) -> None:
    everywhere = changed('tenants = ["acme"]', 'tenants = ["*"]', governed(changed("calls = 20", "calls = 18")))
    propose(stage)
    for person in (ANA, KIM):
        assert (desk(stage, person).open(), desk(stage, person).all()) == ((), ())
        with pytest.raises(NotFoundError):
            desk(stage, person).look(NEW.hash)
    stage = Stage(everywhere)
    propose(stage, text=changed("calls = 18", "calls = 19", everywhere), replaces=everywhere)
    kim = desk(stage, KIM)
    [row] = kim.open()
    assert kim.look(row.policy).refusal is not None
    assert reason_of(lambda: answer(kim, digest=row.policy)) is Reason.NOT_ENTITLED
    stage.close()


@pytest.mark.requirement("P7")
@pytest.mark.case(79)
def test_proposal_is_void_once_another_policy_is_active_or_something_else_was_shown(stage: Stage) -> None:
    propose(stage)
    ben = desk(stage)
    for seen in ((NEW.hash, ben.look(NEW.hash).widening), (OLD.hash, NEW.hash)):
        assert reason_of(lambda was=seen: ben.answer(NEW.hash, PolicyVerdict.CONFIRM, seen=was)) is Reason.CARD_CHANGED
    stage.accept(NARROWER)
    shown = ben.look(NEW.hash)
    assert (ben.open(), shown.refusal and shown.refusal.reason) == ((), Reason.CONFLICT)
    assert reason_of(lambda: answer(ben)) is Reason.CONFLICT


@pytest.mark.requirement("P7")
def test_proposal_that_nobody_answers_expires_and_may_be_made_again(stage: Stage) -> None:
    propose(stage)
    stage.pass_time(PROPOSAL_SECONDS - 1)
    assert stage.authority.sweep.run_once() == 0
    stage.pass_time(1)
    ben = desk(stage)
    assert (ben.open(), ben.look(NEW.hash).state) == ((), ProposalState.EXPIRED)
    shown = ben.look(NEW.hash)
    assert (shown.state, shown.refusal and shown.refusal.reason) == (ProposalState.EXPIRED, Reason.NOT_PENDING)
    with pytest.raises(Denied, match="expired unanswered"):
        answer(ben)
    assert stage.authority.sweep.run_once() == 1
    assert stage.authority.sweep.run_once() == 0
    [over] = stage.entries(EntryKind.POLICY_EXPIRED)
    assert (over.person, over.policy, over.outcome) == (EVA, NEW.hash, "expired")
    assert reason_of(lambda: answer(ben)) is Reason.NOT_PENDING
    propose(stage)
    assert answer(desk(stage)) is ProposalState.CONFIRMED
    assert [row.state for row in desk(stage).all()] == ["confirmed"]


def test_another_may_propose_it_the_moment_it_has_expired_though_nobody_wrote_that_down(stage: Stage) -> None:
    propose(stage)
    stage.pass_time(PROPOSAL_SECONDS)
    propose(stage, BEN)
    assert answer(desk(stage, EVA)) is ProposalState.CONFIRMED


@pytest.mark.case(80, 81)
@pytest.mark.parametrize("bend", ["ended", "another's", "unlike its row", "a key's", "of another's statement"])
def test_word_that_is_not_vouched_for_in_the_step_confirms_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, bend: str
) -> None:
    propose(stage)
    session, ben = signed_in(stage, BEN), desk(stage)
    other = signed_in(stage, EVA)
    engine = stage.authority.engine

    def bent(step: AnswerProposal) -> AnswerProposal:
        said, word = step.word, step.word.word
        match bend:
            case "ended":
                word = replace(word, voice=SessionVoice(person=BEN, session="0" * 64))
            case "another's":
                word = replace(word, voice=other.voice)
            case "unlike its row":
                word = replace(word, proof=replace(session.proof, authenticated_at=session.authenticated_at + 1))
            case "a key's":
                word = replace(word, proof=KeyProof(key_id="0" * 43, signature="x"))
            case _:
                return replace(step, word=replace(said, statement=replace(said.statement, person=ANA)))
        return replace(step, word=replace(said, word=word))

    ask = engine.ask
    monkeypatch.setattr(engine, "ask", lambda build: ask(lambda active: bent(build(active))))
    assert reason_of(lambda: answer(ben)) in (Reason.BAD_SIGNATURE, Reason.NOT_SIGNED_IN)
    assert active(stage) == OLD.hash


def test_person_with_a_password_and_no_key_cannot_sign_at_a_terminal(stage: Stage) -> None:
    propose(stage)
    ben = stage.people.signatory(BEN)
    stage.desk.remove_person(BEN, by="op")
    signed_in(stage, BEN)
    by_key = stage.authority.proposals
    found = by_key.find(NEW.hash)
    assert reason_of(lambda: by_key.answer(found, PolicyVerdict.CONFIRM, ben)) is Reason.BAD_SIGNATURE


def test_first_policy_of_an_authority_has_no_proposals(stage: Stage) -> None:
    assert desk(stage).all() == ()
    with pytest.raises(NotFoundError):
        desk(stage).look(policy(POLICY).hash)


@pytest.mark.requirement("P11")
@pytest.mark.parametrize(("name", "value"), [("widening", OLD.hash), ("key", "x"), ("public_key", "00" * 32)])
def test_signature_of_who_proposed_is_verified_offline(stage: Stage, name: str, value: str) -> None:
    propose(stage)
    [made] = stage.entries(EntryKind.POLICY_PROPOSED)
    assert check_answers([made]).key == 1
    with pytest.raises(VerificationError, match=f"the answer of {EVA}"):
        check_answers([replace(made, detail={**made.detail, name: value})])
    with pytest.raises(VerificationError, match="no known proof"):
        check_answers([replace(made, detail={**made.detail, "proof": "word of mouth"})])


def test_proposal_that_was_answered_meanwhile_does_not_expire(stage: Stage) -> None:
    propose(stage)
    late = ExpireProposal(policy_hash=NEW.hash)
    assert not stage.authority.engine.ask(lambda _: late)
    answer(desk(stage), PolicyVerdict.REFUSE)
    stage.pass_time(PROPOSAL_SECONDS)
    assert not stage.authority.engine.ask(lambda _: late)
    assert not stage.authority.engine.ask(lambda _: ExpireProposal(policy_hash=OLD.hash))


@pytest.mark.parametrize(
    ("place", "guard", "test"),
    [
        (Word, "refuse", test_copy_of_a_passkey_confirms_nothing),
        (proposals, "refuse_weak", test_confirmation_takes_a_recent_sign_in_and_a_refusal_none),
        (proposals, "_refuse_powerless", test_those_without_a_say_see_it_only_if_they_can_query_everywhere),
        (AnswerProposal, "_refuse_own", test_nobody_confirms_their_own_in_a_session_and_they_may_take_it_back),
    ],
)
def test_guard_that_is_taken_away_is_missed(
    monkeypatch: pytest.MonkeyPatch, place: object, guard: str, test: Callable[[Stage], None]
) -> None:
    stage = Stage(TWO)
    monkeypatch.setattr(place, guard, lambda *_: None)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        test(stage)
    stage.close()


@pytest.mark.requirement("P7")
def test_groups_of_a_provider_let_people_look_and_give_no_say(stage: Stage) -> None:
    table = """
[sign_in.acme]
issuer = "https://login.acme.example"
client_id = "leasehold"
person = "name"
people = "groups"
groups = "groups"
roles = { ops = ["operator"], rulers = ["governor"] }
groups_for = "1h"
"""
    old = TWO + table
    stage = Stage(old)
    new = changed("calls = 20", "calls = 21", old)
    propose(stage, text=new, replaces=old)

    def come(person: str, group: str) -> Governing:
        account = Account(
            provider="acme",
            issuer="https://login.acme.example",
            subject=person,
            person=person,
            groups=(group,),
            authenticated_at=stage.system.now().seconds,
        )
        session = stage.authority.sign_ins.begin_by_provider(account, address="here")[1]
        return stage.authority.person_desk(session, origin=ORIGIN).governing

    assert come("user:lou", "rulers").all() == ()
    joe = come("user:joe", "ops")
    refusal = joe.look(policy(new).hash).refusal
    assert refusal is not None
    assert refusal.reason is Reason.NOT_ENTITLED
    assert reason_of(lambda: answer(joe, digest=policy(new).hash)) is Reason.NOT_ENTITLED
    assert reason_of(lambda: answer(joe, PolicyVerdict.REFUSE, digest=policy(new).hash)) is Reason.NOT_ENTITLED
    stage.close()
