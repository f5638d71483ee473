"""Sign-ins and sessions as the steps decide them, and what a session's voice is worth in every other step."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from authenticator import Authenticator
from leasehold.authority.proofs import check_answers
from leasehold.authority.sign_ins import SignedIn
from leasehold.decide import answer, approvals, powers, sign_ins, voices
from leasehold.decide.answer import AnswerRequest
from leasehold.decide.facts import Facts, Ref, Step
from leasehold.decide.powers import Empowered
from leasehold.decide.rows import AUTHORITY_WIDE, PersonRow, SessionRow
from leasehold.decide.sign_ins import (
    MAX_SIGN_INS,
    SESSION_SECONDS,
    AddSignIn,
    BeginSession,
    EndSession,
    ForgetSessions,
    TouchSession,
)
from leasehold.decide.stop import Lift, Stop
from leasehold.decide.voices import KeyVoice, SessionVoice, refuse_stale, sign_ins_of
from leasehold.errors import InvalidError
from leasehold.ledger.entry import EntryKind
from leasehold.model.decision import Reason
from leasehold.model.proof import KeyProof, SessionProof, SignIn, SignInMethod
from leasehold.model.request import Answer, RequestState, Verdict
from leasehold.model.scope import Scope, StopKind
from leasehold.policy.document import Policy, Power
from leasehold.token import base64url
from leasehold.token.passkey import answer_challenge
from stage import AUDIT, BEN, ERASE, EVA, KIM, Stage, changed, reason_of

HASH = "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaA"


def signed_in(stage: Stage, person: str) -> SignedIn:
    """Somebody with a password, signed in."""
    sign_ins = stage.authority.sign_ins
    known = sign_ins.of(person)
    used = known[0].sign_in if known else sign_ins.set_password(person, HASH, by="op")
    return sign_ins.begin(person, used, address="127.0.0.1")[1]


def answered(stage: Stage, request: str, who: SignedIn, verdict: Verdict = Verdict.APPROVE) -> RequestState:
    asked = stage.authority.find_request(request)
    return stage.desk.answer_signed_in(asked, verdict, who, card_digest=asked.card_digest).state


def ask(stage: Stage, step: object) -> object:
    return stage.authority.engine.ask(lambda _: step)  # type: ignore[arg-type, return-value]


# what people sign in with


def test_only_the_hash_of_a_password_is_kept_and_never_shown() -> None:
    sign_in = SignIn(sign_in="signin_01JZ8Q5X0M3V7K2N9B4C6D8E0F", method=SignInMethod.PASSWORD, added_at=1, secret=HASH)
    assert "argon2id" not in repr(sign_in)
    with pytest.raises(InvalidError):
        replace(sign_in, secret="hunter2hunter2")
    with pytest.raises(InvalidError):
        replace(sign_in, sign_in="run_01JZ8Q5X0M3V7K2N9B4C6D8E0F")
    for wrong in (
        {"method": SignInMethod.PASSKEY, "secret": ""},
        {"method": SignInMethod.PASSKEY, "credential": "x" * 1401, "public_key": "k"},
    ):
        with pytest.raises(InvalidError):
            replace(sign_in, **wrong)
    with pytest.raises(InvalidError):
        SessionProof(sign_in="x", method=SignInMethod.PASSWORD, authenticated_at=1)


def test_new_password_takes_the_place_of_the_old(stage: Stage) -> None:
    sign_ins = stage.authority.sign_ins
    first = sign_ins.set_password(BEN, HASH, by="op")
    second = sign_ins.set_password(BEN, HASH, by="op")
    assert [known.sign_in for known in sign_ins.of(BEN)] == [second]
    assert stage.entries(EntryKind.SIGN_IN_ADDED)[1].detail["replaced"] == (first,)
    assert "argon2" not in str(stage.entries())
    assert reason_of(lambda: sign_ins.remove(BEN, first, by="op")) is Reason.NOT_FOUND
    [known] = sign_ins.of(BEN)
    sign_ins.renew(BEN, known, HASH)
    assert reason_of(lambda: sign_ins.renew(BEN, replace(known, secret=f"{HASH}x"), HASH)) is Reason.NOT_FOUND
    assert reason_of(lambda: sign_ins.renew(EVA, known, HASH)) is Reason.NOT_FOUND
    sign_ins.remove(BEN, second, by="op")
    assert sign_ins.of(BEN) == ()
    assert reason_of(lambda: sign_ins.remove(EVA, second, by="op")) is Reason.NOT_FOUND


def test_key_and_password_of_a_person_stand_beside_each_other(stage: Stage) -> None:
    sign_in = stage.authority.sign_ins.set_password(BEN, HASH, by="op")
    stage.people.signatory(BEN)
    assert [known.sign_in for known in stage.authority.sign_ins.of(BEN)] == [sign_in]
    stage.people.signatory(EVA)
    stage.authority.sign_ins.set_password(EVA, HASH, by="op")
    assert all(row.public_key for row in stage.desk.people())


def test_removing_a_person_removes_how_they_sign_in(stage: Stage) -> None:
    who = signed_in(stage, BEN)
    stage.desk.remove_person(BEN, by="op")
    row = stage.authority.engine.row(PersonRow, AUTHORITY_WIDE, BEN)
    assert row is not None
    assert sign_ins_of(row) == ()
    assert not stage.authority.sign_ins.is_open(who)
    stage.authority.sign_ins.set_password(BEN, HASH, by="op")
    assert not stage.authority.sign_ins.is_open(who)


def test_who_was_let_go_gets_no_password_and_a_key_is_nobody(stage: Stage) -> None:
    key = stage.people.signatory(EVA).key.public()
    stage.desk.offboard(BEN, by="op", reason="left")
    for name in (BEN, f"key:{key.kid}"):
        act = stage.authority.sign_ins.set_password
        assert reason_of(lambda name=name, act=act: act(name, HASH, by="op")) is Reason.CONFLICT


def test_ways_to_sign_in_are_bounded(stage: Stage) -> None:
    sign_in = SignIn(sign_in=stage.system.new_id("signin"), method=SignInMethod.PASSWORD, added_at=1, secret=HASH)
    many = tuple(replace(sign_in, sign_in=stage.system.new_id("signin")) for _ in range(MAX_SIGN_INS))
    stage.authority.sign_ins.set_password(BEN, HASH, by="op")
    row = stage.authority.engine.row(PersonRow, AUTHORITY_WIDE, BEN)
    assert row is not None
    facts = _facts_with(stage, replace(row, sign_ins=voices.encode_sign_ins(many)))
    step = _Other(person=BEN, sign_in=sign_in, by="op")
    answer, changes = step.decide(facts, stage.system.now())
    assert answer.decision.reason is Reason.CONFLICT
    assert changes.rows == ()


class _Other(AddSignIn, frozen=True, kw_only=True):
    """A way to sign in of which a person may have several."""

    def _replaces(self, known: SignIn) -> bool:
        return False


def _facts_with(stage: Stage, row: PersonRow) -> Facts:
    facts = Facts(stage.authority.engine.store.queries.control())
    facts.load(Ref(PersonRow, (AUTHORITY_WIDE, row.person)), row)
    return facts


# sessions


def test_session_is_begun_by_a_sign_in_that_stands(stage: Stage) -> None:
    sign_in = stage.authority.sign_ins.set_password(BEN, HASH, by="op")
    for person, used in ((EVA, sign_in), (BEN, "signin_01JZ8Q5X0M3V7K2N9B4C6D8E0F")):
        begin = BeginSession(person=person, sign_in=used, session="s", address="")
        assert reason_of(lambda begin=begin: ask(stage, begin)) is Reason.NOT_SIGNED_IN
    begin = BeginSession(person=BEN, sign_in=sign_in, session="s", address="", ends="none")
    ask(stage, begin)
    assert reason_of(lambda: ask(stage, begin)) is Reason.NOT_SIGNED_IN, "an id is used once"


def test_session_of_nobody_and_one_that_ended_are_ended_without_a_word(stage: Stage) -> None:
    who = signed_in(stage, BEN)
    for name in ("none", who.session, who.session):
        ask(stage, EndSession(session=name))
    assert len(stage.entries(EntryKind.SIGNED_OUT)) == 1
    assert reason_of(lambda: ask(stage, TouchSession(person=BEN, session=who.session))) is Reason.NOT_SIGNED_IN
    assert reason_of(lambda: ask(stage, TouchSession(person=BEN, session="none"))) is Reason.NOT_SIGNED_IN


def test_session_is_marked_as_used_once_a_minute(stage: Stage) -> None:
    sign_ins = stage.authority.sign_ins
    sign_in = sign_ins.set_password(BEN, HASH, by="op")
    session_id, who = sign_ins.begin(BEN, sign_in, address="")

    def seen() -> int:
        row = stage.authority.engine.row(SessionRow, AUTHORITY_WIDE, who.session)
        assert row is not None
        return row.seen_at

    begun = seen()
    stage.pass_time(59)
    assert sign_ins.find(session_id) == who
    assert seen() == begun
    stage.pass_time(1)
    assert sign_ins.find(session_id) == who
    assert seen() == begun + 60


def test_session_that_ends_between_the_look_and_the_mark_is_over(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    sign_ins = stage.authority.sign_ins
    session_id, who = sign_ins.begin(BEN, sign_ins.set_password(BEN, HASH, by="op"), address="")
    stage.pass_time(90)
    engine = stage.authority.engine
    real, calls = engine.ask, []

    def late(build: Callable[[Policy], Step[object]]) -> object:
        if not calls:
            calls.append(build)
            real(lambda _: EndSession(session=who.session))
        return real(build)

    monkeypatch.setattr(engine, "ask", late)
    assert sign_ins.find(session_id) is None
    assert calls


def test_session_outlives_a_clock_that_stepped_back(stage: Stage) -> None:
    sign_ins = stage.authority.sign_ins
    session_id, who = sign_ins.begin(BEN, sign_ins.set_password(BEN, HASH, by="op"), address="")
    stage.pass_time(120)
    assert sign_ins.find(session_id) == who
    stage.pass_time(120)
    stage.start()
    stage.system.jump(seconds=-60)
    assert sign_ins.find(session_id) == who, "nothing can be written now, but who was signed in still is"


# what a session says


@pytest.mark.requirement("F3", "P11")
def test_answer_of_a_signed_in_person_counts_and_claims_no_signature(stage: Stage) -> None:
    request = stage.ask(stage.lease(AUDIT), "ticket.audit")
    assert answered(stage, request, signed_in(stage, BEN)) is RequestState.APPROVED
    [entry] = stage.entries(EntryKind.REQUEST_ANSWERED)
    assert (entry.detail["proof"], entry.detail["method"]) == ("session", "password")
    assert "signature" not in entry.detail
    assert "key" not in entry.detail
    assert check_answers(stage.entries()).session == 1


@pytest.mark.invariant("I4")
@pytest.mark.case(80)
def test_one_person_is_one_voice_by_whatever_they_prove_it(stage: Stage) -> None:
    request = stage.ask(stage.lease(ERASE), "ticket.erase", key="a")
    stage.people.approve(request, BEN)
    assert answered(stage, request, signed_in(stage, BEN)) is RequestState.PENDING
    assert answered(stage, request, signed_in(stage, BEN)) is RequestState.PENDING
    assert len(stage.entries(EntryKind.REQUEST_ANSWERED)) == 2
    assert answered(stage, request, signed_in(stage, EVA)) is RequestState.APPROVED


@pytest.mark.invariant("I4")
@pytest.mark.case(79, 80)
@pytest.mark.parametrize("change", ["new password", "removed", "person removed"])
def test_answer_counts_no_more_once_what_vouched_for_it_is_gone(stage: Stage, change: str) -> None:
    lease = stage.lease(AUDIT)
    request = stage.ask(lease, "ticket.audit")
    who = signed_in(stage, BEN)
    answered(stage, request, who)
    match change:
        case "new password":
            stage.authority.sign_ins.set_password(BEN, HASH, by="op")
        case "removed":
            stage.authority.sign_ins.remove(BEN, who.sign_in, by="op")
        case _:
            stage.desk.remove_person(BEN, by="op")
    assert stage.refusal(lease, "ticket.audit") is Reason.APPROVAL_NEEDED


def test_session_that_is_over_says_nothing(stage: Stage) -> None:
    request = stage.ask(stage.lease(AUDIT), "ticket.audit")
    who = signed_in(stage, BEN)
    ask(stage, EndSession(session=who.session))
    assert reason_of(lambda: answered(stage, request, who)) is Reason.NOT_SIGNED_IN


@pytest.mark.case(80, 81)
def test_nobody_speaks_through_the_session_of_another(stage: Stage) -> None:
    request = stage.ask(stage.lease(AUDIT), "ticket.audit")
    ben, kim = signed_in(stage, BEN), signed_in(stage, KIM)
    assert reason_of(lambda: answered(stage, request, replace(kim, person=BEN))) is Reason.NOT_SIGNED_IN
    assert reason_of(lambda: answered(stage, request, replace(ben, sign_in=kim.sign_in))) is Reason.BAD_SIGNATURE
    stolen = stage.authority.find_request(request)
    run = stage.authority.engine.run("acme", stolen.run_id)
    key, ben_since = stage.people.signatory(EVA).key.public(), ben.authenticated_at
    bens_key = stage.people.signatory(BEN).voice
    for voice, proof in (
        (kim.voice, SessionProof(sign_in=ben.sign_in, method=SignInMethod.PASSWORD, authenticated_at=1)),
        (ben.voice, SessionProof(sign_in=ben.sign_in, method=SignInMethod.PASSWORD, authenticated_at=1)),
        (ben.voice, SessionProof(sign_in=ben.sign_in, method=SignInMethod.PASSKEY, authenticated_at=ben_since)),
        (bens_key, SessionProof(sign_in=ben.sign_in, method=SignInMethod.PASSWORD, authenticated_at=ben_since)),
        (ben.voice, KeyProof(key_id=key.kid, signature="x")),
    ):
        said = Answer(person=BEN, verdict=Verdict.APPROVE, answered_at=1, proof=proof)
        step = AnswerRequest(
            policy_document=stage.authority.engine.active_policy(),
            run=run,
            request=stolen,
            answer=said,
            card_digest=stolen.card_digest,
            voice=voice,
        )
        assert reason_of(lambda step=step: ask(stage, step)) is Reason.BAD_SIGNATURE


@pytest.mark.case(74)
def test_signed_in_person_answers_the_card_that_they_were_shown(stage: Stage) -> None:
    asked = stage.authority.find_request(stage.ask(stage.lease(AUDIT), "ticket.audit"))
    who = signed_in(stage, BEN)
    other = "sha256:" + "0" * 64
    for digest in (other, ""):
        act = stage.desk.answer_signed_in
        refused = reason_of(lambda digest=digest, act=act: act(asked, Verdict.APPROVE, who, card_digest=digest))
        assert refused is Reason.CARD_CHANGED


# powers


@pytest.mark.requirement("P8", "F3")
def test_step_behind_a_power_is_decided_for_who_has_it_and_is_there(stage: Stage) -> None:
    eva, kim = signed_in(stage, EVA), signed_in(stage, KIM)

    def stop(voice: SessionVoice, power: Power = Power.HOLD, tenant: str = "acme") -> Empowered[object]:
        policy = stage.authority.engine.active_policy()
        hold = Stop(
            policy_document=policy,
            tenant=tenant,
            scope=Scope.parse("agent:bot"),
            kind=StopKind.HOLD,
            by="x",
            reason="y",
        )
        return Empowered(step=hold, policy_document=policy, voice=voice, power=power, tenant=tenant)

    assert reason_of(lambda: ask(stage, stop(kim.voice))) is Reason.NOT_ENTITLED
    assert reason_of(lambda: ask(stage, stop(kim.voice, tenant=""))) is Reason.NOT_ENTITLED
    assert not stage.entries(EntryKind.HELD)
    assert stop(eva.voice).policy == stage.authority.engine.active_policy().hash
    assert not stop(eva.voice).needs_clock
    ask(stage, stop(eva.voice))
    ask(stage, EndSession(session=eva.session))
    assert reason_of(lambda: ask(stage, stop(eva.voice))) is Reason.NOT_SIGNED_IN
    assert len(stage.entries(EntryKind.HELD)) == 1


def test_what_is_critical_takes_a_sign_in_of_a_moment_ago(stage: Stage) -> None:
    who = signed_in(stage, EVA)
    key = KeyVoice(person=EVA, public_key=b"x" * 32)
    facts = Facts(stage.authority.engine.store.queries.control())
    session = Ref(SessionRow, (AUTHORITY_WIDE, who.session))
    facts.load(session, stage.authority.engine.row(SessionRow, AUTHORITY_WIDE, who.session))

    def refused(voice: KeyVoice | SessionVoice) -> Reason | None:
        refusal = refuse_stale(facts, voice, stage.system.now(), 60)
        return refusal.reason if refusal is not None else None

    stage.pass_time(60)
    assert (refused(who.voice), refused(key)) == (None, None)
    stage.pass_time(1)
    assert (refused(who.voice), refused(key)) == (Reason.SIGN_IN_TOO_OLD, None)
    facts.load(session, None)
    assert refused(who.voice) is Reason.SIGN_IN_TOO_OLD


# passkeys


ORIGIN = "http://localhost:8470"


def passkey_of(stage: Stage, person: str, *, count: int | None = 0) -> Authenticator:
    """A passkey that somebody has."""
    made = Authenticator(ORIGIN, credential=f"passkey of {person}".encode(), count=count)
    name = base64url.encode(made.credential)
    stage.authority.sign_ins.add_passkey(person, name, made.public_key, count=count or 0, by=person)
    return made


def signs(stage: Stage, request: str, who: SignedIn, passkey: Authenticator) -> RequestState:
    """Somebody approves with their passkey."""
    asked = stage.authority.find_request(request)
    challenge = answer_challenge(asked.request_id, asked.card_digest, Verdict.APPROVE, who.person)
    desk = stage.authority.person_desk(who, origin=ORIGIN)
    used = passkey.sign(challenge)
    return desk.answer(request, Verdict.APPROVE, card_digest=asked.card_digest, assertion=used).state


@pytest.mark.case(80)
def test_passkey_whose_count_does_not_grow_is_a_copy(stage: Stage) -> None:
    lease = stage.lease(AUDIT)
    one, two = stage.ask(lease, "ticket.audit"), stage.ask(lease, "ticket.audit", "T-2")
    who = signed_in(stage, BEN)
    passkey = passkey_of(stage, BEN)
    assert signs(stage, one, who, passkey) is RequestState.APPROVED
    passkey.count = 0
    assert reason_of(lambda: signs(stage, two, who, passkey)) is Reason.BAD_SIGNATURE
    [known] = [one for one in stage.authority.sign_ins.of(BEN) if one.credential]
    begin = stage.authority.sign_ins.begin
    assert reason_of(lambda: begin(BEN, known.sign_in, address="", count=1)) is Reason.BAD_SIGNATURE
    begin(BEN, known.sign_in, address="", count=7)
    assert reason_of(lambda: begin(BEN, known.sign_in, address="", count=7)) is Reason.BAD_SIGNATURE


@pytest.mark.invariant("I4")
@pytest.mark.requirement("P12")
def test_demand_for_a_passkey_is_met_by_a_passkey_alone(stage: Stage) -> None:
    stage.accept(changed("[people]", "[defaults]\ndestructive_by_passkey = true\n\n[people]"))
    lease = stage.lease(ERASE)
    request = stage.ask(lease, "ticket.erase", key="a")
    ben, eva = signed_in(stage, BEN), signed_in(stage, EVA)
    his, hers = passkey_of(stage, BEN), passkey_of(stage, EVA, count=None)
    assert reason_of(lambda: answered(stage, request, ben)) is Reason.PASSKEY_NEEDED
    assert reason_of(lambda: stage.people.approve(request, BEN)) is Reason.PASSKEY_NEEDED
    assert signs(stage, request, ben, his) is RequestState.PENDING
    assert signs(stage, request, eva, hers) is RequestState.APPROVED
    stage.admit(lease, "ticket.erase", key="a")


def test_passkey_counts_on_pages_of_this_server_alone(stage: Stage) -> None:
    request = stage.ask(stage.lease(AUDIT), "ticket.audit")
    asked = stage.authority.find_request(request)
    who, passkey = signed_in(stage, BEN), passkey_of(stage, BEN)
    used = passkey.sign(answer_challenge(asked.request_id, asked.card_digest, Verdict.APPROVE, BEN))
    desk = stage.authority.person_desk(who)
    act = desk.answer
    digest = asked.card_digest
    assert reason_of(lambda: act(request, Verdict.APPROVE, card_digest=digest, assertion=used)) is Reason.BAD_SIGNATURE


# each guard, taken away: the tests above must notice


@pytest.mark.parametrize(
    ("place", "guard", "test"),
    [
        (
            approvals,
            "is_answer_vouched",
            lambda stage: test_answer_counts_no_more_once_what_vouched_for_it_is_gone(stage, "removed"),
        ),
        (voices, "refuse_session", test_session_that_is_over_says_nothing),
        (answer, "refuse_count", test_passkey_whose_count_does_not_grow_is_a_copy),
        (sign_ins, "refuse_count", test_passkey_whose_count_does_not_grow_is_a_copy),
        (answer, "refuse_proof", test_demand_for_a_passkey_is_met_by_a_passkey_alone),
        (powers, "refuse_voice", test_step_behind_a_power_is_decided_for_who_has_it_and_is_there),
        (powers, "refuse_power", test_step_behind_a_power_is_decided_for_who_has_it_and_is_there),
    ],
)
def test_guard_that_is_taken_away_is_missed(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, place: object, guard: str, test: object
) -> None:
    monkeypatch.setattr(place, guard, lambda *_: True if guard == "is_answer_vouched" else None)
    with pytest.raises(AssertionError):
        test(stage)  # type: ignore[operator]


def test_key_voice_of_somebody_without_a_key_says_nothing(stage: Stage) -> None:
    """Who has only a password has an empty key; an empty key in hand is not that person."""
    stage.authority.sign_ins.set_password(EVA, HASH, by="op")
    stage.hold("all")
    policy = stage.authority.engine.active_policy()
    lift = Lift(
        policy_document=policy,
        tenant="",
        scope=Scope.parse("all"),
        voice=KeyVoice(person=EVA, public_key=b""),
        reason="",
    )
    assert reason_of(lambda: ask(stage, lift)) is Reason.BAD_SIGNATURE
    stage.desk.lift(Scope.parse("all"), signed_in(stage, EVA), reason="fine")


def test_session_whose_time_is_over_is_forgotten_and_no_sooner(stage: Stage) -> None:
    over, ended = signed_in(stage, BEN), signed_in(stage, EVA)
    begun = len(stage.entries())
    early = ForgetSessions(sessions=(over.session, ended.session, "0" * 64))
    assert ask(stage, early) == 0
    stage.pass_time(SESSION_SECONDS - 1)
    later = signed_in(stage, BEN)
    assert stage.authority.sweep.run_once() == 0
    stage.pass_time(1)
    assert stage.authority.sweep.run_once() == 2
    assert stage.authority.sweep.run_once() == 0
    engine = stage.authority.engine
    rows = [engine.row(SessionRow, AUTHORITY_WIDE, each.session) for each in (over, ended, later)]
    assert [row is not None for row in rows] == [False, False, True]
    assert not stage.authority.sign_ins.is_open(over)
    assert stage.authority.sign_ins.is_open(later)
    assert len(stage.entries()) == begun + 1  # beginnings stay in the ledger; forgetting says nothing
