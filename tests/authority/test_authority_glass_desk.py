"""Break-glass from two browsers: proposed by one person, opened by the other, used with a key at a terminal alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from msgspec.structs import replace

from authenticator import Authenticator
from glass import TABLE, WITH_GLASS, break_glass, glass_id, signatory, wish
from leasehold.authority.glass_desk import GlassDesk
from leasehold.authority.proofs import check_answers
from leasehold.authority.sign_ins import SignedIn
from leasehold.decide import glass as decide_glass
from leasehold.decide import glass_opening, glass_use, glass_wish
from leasehold.decide.glass_opening import Making
from leasehold.decide.glass_wish import ConfirmGlass, DeclineGlass, LapseGlass, ProposeGlass
from leasehold.decide.lifecycles import GlassState
from leasehold.decide.provider_sign_ins import Account
from leasehold.decide.proving import Word
from leasehold.decide.rows import GlassRow
from leasehold.decide.voices import SessionVoice
from leasehold.errors import Denied, InvalidError, LeaseholdError, NotFoundError, StoreError, VerificationError
from leasehold.guard import Capability, Guard
from leasehold.ledger.entry import Entry, EntryKind
from leasehold.ledger.history import check_history
from leasehold.model.decision import Reason
from leasehold.model.lease import HeldLease
from leasehold.model.proof import KeyProof
from leasehold.token.glass import VouchedGlass, Voucher
from leasehold.token.passkey import opening_challenge
from stage import ANA, BEN, EVA, KIM, Stage, changed, reason_of

pytestmark = [pytest.mark.requirement("P16"), pytest.mark.case(117)]

ORIGIN = "https://lease.acme.example"
HASHED = "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2g"
BY_PASSKEY = changed("[people]", "[defaults]\ndestructive_by_passkey = true\n\n[people]", WITH_GLASS)


@pytest.fixture
def stage() -> Iterator[Stage]:
    """A stage whose policy lets Ana break glass, and whoever leads confirm it. Ana has a key."""
    stage = Stage(WITH_GLASS)
    signatory(stage, ANA)
    yield stage
    assert check_history(stage.entries()) == []
    stage.close()


def signed_in(stage: Stage, person: str) -> SignedIn:
    sign_ins = stage.authority.sign_ins
    known = [one.sign_in for one in sign_ins.of(person) if one.secret]
    sign_in = known[0] if known else sign_ins.set_password(person, HASHED, by="op")
    return sign_ins.begin(person, sign_in, address="here")[1]


def desk(stage: Stage, person: str) -> GlassDesk:
    return stage.authority.person_desk(signed_in(stage, person), origin=ORIGIN).glass


def passkey_of(stage: Stage, person: str) -> Authenticator:
    passkey = Authenticator(ORIGIN, credential=f"credential-{person}".encode())
    credential = passkey.sign(b"").credential
    stage.authority.sign_ins.add_passkey(person, credential, passkey.public_key, count=1, by=person)
    return passkey


def proposed(stage: Stage, **fields: object) -> str:
    """Ana asks Ben, unless it says otherwise; answers the id of what she asks for."""
    wanted = wish(**fields)
    for person in (wanted.opener, wanted.second):
        signed_in(stage, person)
    ana = desk(stage, wanted.opener)
    return ana.propose(ana.draft(wanted)).glass_id


def opened(stage: Stage, **fields: object) -> HeldLease:
    name = proposed(stage, **fields)
    desk(stage, BEN).confirm(name)
    return stage.authority.break_glass.held(name)


def alarms(stage: Stage) -> list[Entry]:
    return [entry for entry in stage.entries() if entry.detail.get("alarm") == "break_glass"]


def row(stage: Stage, name: str) -> GlassRow:
    [found] = [each for each in desk(stage, ANA).all() if each.glass_id == name]
    return found


# Opening


def test_two_people_in_two_sessions_open_it_and_the_opener_uses_it_with_their_key(stage: Stage) -> None:
    name = proposed(stage)
    assert alarms(stage) == []
    [said] = stage.entries(EntryKind.GLASS_PROPOSED)
    assert (said.person, said.detail["second"], said.detail["proof"]) == (ANA, BEN, "session")
    ben = desk(stage, BEN)
    assert [each.glass_id for each in ben.waiting()] == [name]
    assert desk(stage, ANA).waiting() == ()
    seen = ben.look(name)
    assert (seen.may_confirm, seen.proof, seen.entries) == (True, None, ())
    assert (seen.opening.skips, seen.opening.reason) == (("approve",), wish().reason)
    ben.confirm(name)
    (alarm,) = alarms(stage)
    assert (alarm.kind, alarm.person, alarm.approvals) == (EntryKind.GLASS_OPENED, ANA, (ANA, BEN))
    assert isinstance(stage.authority.break_glass.token(name), VouchedGlass)
    held = stage.authority.break_glass.held(name)
    assert held.lease.expires_at == stage.system.now().seconds + 300

    @Guard("ticket", stage.authority.break_glass.doors(signatory(stage, ANA)), environment="prod").action("erase")
    def erase(capability: Capability, ticket_id: str) -> str:
        return f"{capability.requested_by} erased {ticket_id}"

    assert erase(held.once("k"), "T-1") == f"{ANA} erased T-1"
    [admitted] = stage.entries(EntryKind.CALL_ADMITTED)
    assert (admitted.detail["alarm"], admitted.detail["skipped"]) == ("break_glass", ("approve",))
    assert admitted.detail["signature"]
    assert [entry.kind for entry in ben.look(name).entries][:2] == [EntryKind.RUN_STARTED, EntryKind.GLASS_OPENED]
    assert [each.glass_id for each in ben.open()] == [name]


@pytest.mark.requirement("P11")
def test_passkeys_of_both_sign_the_opening_and_a_receipt_proves_it_alone(stage: Stage) -> None:
    stage.accept(BY_PASSKEY)
    hers, his = passkey_of(stage, ANA), passkey_of(stage, BEN)
    ana, ben = desk(stage, ANA), desk(stage, BEN)
    opening = ana.draft(wish())
    assert reason_of(lambda: ana.propose(opening)) is Reason.PASSKEY_NEEDED
    name = ana.propose(opening, hers.sign(opening_challenge(opening, ANA))).glass_id
    assert reason_of(lambda: ben.confirm(name)) is Reason.PASSKEY_NEEDED
    for wrong in (
        his.sign(opening_challenge(opening, ANA)),
        his.sign(opening_challenge(replace(opening, minutes=9), BEN)),
        hers.sign(opening_challenge(opening, BEN)),
        Authenticator("https://evil.example", key=his.key, credential=his.credential, count=9).sign(
            opening_challenge(opening, BEN)
        ),
    ):
        assert reason_of(lambda one=wrong: ben.confirm(name, one)) is Reason.BAD_SIGNATURE
    ben.confirm(name, his.sign(opening_challenge(opening, BEN)))
    [entry] = stage.entries(EntryKind.GLASS_OPENED)
    assert check_answers([entry]).passkey == 2
    token = VouchedGlass.parse(str(entry.detail["token"]))
    for bent in (
        replace(token, opening=replace(opening, minutes=9)),
        replace(token, opener=token.second, second=token.opener),
        replace(token, second=replace(token.second, public_key=hers.public_key)),
    ):
        with pytest.raises(VerificationError):
            check_answers([replace(entry, detail={**entry.detail, "token": str(bent)})])


def test_copy_of_a_passkey_opens_nothing(stage: Stage) -> None:
    his, name = passkey_of(stage, BEN), proposed(stage)
    opening = desk(stage, BEN).look(name).opening
    his.count = 0
    late = his.sign(opening_challenge(opening, BEN))
    assert reason_of(lambda: desk(stage, BEN).confirm(name, late)) is Reason.BAD_SIGNATURE


@pytest.mark.case(80)
def test_each_has_to_have_proven_who_they_are_a_moment_ago(stage: Stage) -> None:
    ana, ben = desk(stage, ANA), desk(stage, BEN)
    stage.pass_time(301)
    assert reason_of(lambda: ana.propose(ana.draft(wish()))) is Reason.SIGN_IN_TOO_OLD
    name = proposed(stage)
    proof = ben.look(name).proof
    assert proof is not None
    assert proof.reason is Reason.SIGN_IN_TOO_OLD
    assert reason_of(lambda: ben.confirm(name)) is Reason.SIGN_IN_TOO_OLD
    assert [entry.kind for entry in alarms(stage)] == [EntryKind.GLASS_REFUSED, EntryKind.GLASS_REFUSED]
    ben.decline(name)  # a no needs the session only
    assert row(stage, name).state == "declined"


WRONG: dict[str, tuple[dict[str, object], Reason]] = {
    "a route without it": ({"route": "solo", "actions": ("ticket.update",)}, Reason.NOT_ENTITLED),
    "an action that is not listed": ({"actions": ("ticket.erase", "ticket.pay")}, Reason.POLICY_DENIES),
    "more minutes than listed": ({"minutes": 11}, Reason.TTL_TOO_LONG),
    "another tenant": ({"tenant": "initech"}, Reason.POLICY_DENIES),
    "another environment": ({"environment": "staging"}, Reason.POLICY_DENIES),
    "a second without the role": ({"second": KIM}, Reason.NOT_ENTITLED),
}


@pytest.mark.invariant("I4", "I10")
@pytest.mark.parametrize("what", WRONG)
def test_what_the_policy_does_not_list_is_not_even_proposed_and_alarms(stage: Stage, what: str) -> None:
    fields, reason = WRONG[what]
    assert reason_of(lambda: proposed(stage, **fields)) is reason
    assert [entry.kind for entry in alarms(stage)] == [EntryKind.GLASS_REFUSED]
    assert desk(stage, ANA).all() == ()


def test_who_has_no_key_or_no_role_or_asks_for_somebody_else_proposes_nothing(stage: Stage) -> None:
    ben, eva = desk(stage, BEN), desk(stage, EVA)
    assert reason_of(lambda: ben.propose(ben.draft(wish()))) is Reason.NOT_ENTITLED  # it is Ana's to say
    assert reason_of(lambda: eva.propose(eva.draft(wish(opener=EVA)))) is Reason.NOT_ENTITLED  # nor a role
    assert reason_of(lambda: proposed(stage, second="user:nobody-here")) is Reason.NOT_ENTITLED
    stage.people.signatory(BEN)
    assert reason_of(lambda: ben.propose(ben.draft(wish(opener=BEN, second=EVA)))) is Reason.NOT_ENTITLED
    with pytest.raises(InvalidError):
        ben.draft(wish(second=ANA))


def test_opener_without_a_key_could_not_use_it_and_proposes_nothing(stage: Stage) -> None:
    stage.desk.remove_person(ANA, by="op")
    with pytest.raises(Denied) as refused:
        proposed(stage)
    assert refused.value.decision.check == "the opener has a key"


def test_second_person_has_to_be_somebody_who_is_known_here(stage: Stage) -> None:
    ana = desk(stage, ANA)
    assert reason_of(lambda: ana.propose(ana.draft(wish()))) is Reason.NOT_ENTITLED


@pytest.mark.case(80)
def test_nobody_else_confirms_declines_or_sees_it(stage: Stage) -> None:
    name = proposed(stage)
    ana, eva, kim = (desk(stage, person) for person in (ANA, EVA, KIM))
    assert reason_of(lambda: ana.confirm(name)) is Reason.NOT_ENTITLED
    assert reason_of(lambda: eva.confirm(name)) is Reason.NOT_ENTITLED
    assert reason_of(lambda: eva.decline(name)) is Reason.NOT_ENTITLED
    assert not eva.look(name).may_confirm
    assert kim.look(name).row.state == "proposed"  # she can query in that tenant
    stage.accept(changed('can = ["query"]', 'can = ["hold"]', WITH_GLASS))
    for act in (kim.look, kim.confirm, kim.decline, kim.close):
        with pytest.raises(NotFoundError):
            act(name)
    assert kim.all() == ()
    with pytest.raises(InvalidError):
        kim.look("lease_x")


@pytest.mark.case(79)
def test_proposal_is_confirmed_once_and_in_time(stage: Stage) -> None:
    name = proposed(stage)
    desk(stage, BEN).confirm(name)
    assert reason_of(lambda: desk(stage, BEN).confirm(name)) is Reason.NOT_PENDING
    assert reason_of(lambda: desk(stage, BEN).decline(name)) is Reason.NOT_PENDING
    late = proposed(stage)
    stage.pass_time(300)
    ben = desk(stage, BEN)
    assert (ben.waiting(), ben.look(late).state) == ((), GlassState.LAPSED)
    assert reason_of(lambda: ben.confirm(late)) is Reason.EXPIRED
    stage.sweep()
    assert row(stage, late).state == "lapsed"
    [lapsed] = stage.entries(EntryKind.GLASS_LAPSED)
    assert (lapsed.person, lapsed.detail["glass"]) == (ANA, late)
    assert reason_of(lambda: ben.confirm(late)) is Reason.NOT_PENDING
    with pytest.raises(NotFoundError):
        ben.close(late)


@pytest.mark.case(87)
def test_nobody_keeps_others_busy_with_break_glass(stage: Stage) -> None:
    stage.pass_time(-stage.system.now().seconds % 900)
    for person in (ANA, BEN):
        signed_in(stage, person)
    ana, before = desk(stage, ANA), len(stage.entries())
    drafts = [ana.draft(wish(minutes=minutes)) for minutes in (5, 5, 11)]
    ana.propose(drafts[0])
    for _ in range(4):
        assert reason_of(lambda: ana.propose(drafts[0])) is Reason.CONFLICT
        assert reason_of(lambda: ana.propose(drafts[2])) is Reason.TTL_TOO_LONG
    name = ana.propose(drafts[1]).glass_id
    told = len(stage.entries())
    assert told == before + 10
    for _ in range(50):
        assert reason_of(lambda: ana.propose(drafts[0])) is Reason.TOO_MANY_PENDING
    assert len(stage.entries()) == told
    desk(stage, BEN).confirm(name)
    for _ in range(9):
        assert reason_of(lambda: desk(stage, BEN).confirm(name)) is Reason.NOT_PENDING
    told = len(stage.entries())
    ben = desk(stage, BEN)
    assert reason_of(lambda: ben.confirm(name)) is Reason.TOO_MANY_PENDING
    assert len(stage.entries()) == told + 1  # that Ben signed in
    break_glass(stage)  # at a terminal, where both are
    stage.pass_time(900)
    assert proposed(stage)


def test_opener_takes_it_back(stage: Stage) -> None:
    name = proposed(stage)
    desk(stage, ANA).decline(name)
    assert reason_of(lambda: desk(stage, BEN).confirm(name)) is Reason.NOT_PENDING
    [said] = stage.entries(EntryKind.GLASS_DECLINED)
    assert (said.person, said.detail["glass"]) == (ANA, name)
    opening = desk(stage, ANA).look(name).opening
    again = desk(stage, ANA)
    assert reason_of(lambda: again.propose(opening)) is Reason.CONFLICT


@pytest.mark.invariant("I1")
@pytest.mark.parametrize("scope", ["all", "tenant:acme", "route:desk", f"person:{ANA}", "agent:break-glass"])
def test_hold_and_revoke_in_between_keep_it_shut(stage: Stage, scope: str) -> None:
    name = proposed(stage)
    stage.hold(scope)
    assert reason_of(lambda: desk(stage, BEN).confirm(name)) is Reason.HELD
    stage.lift(scope)
    stage.revoke(scope)
    stage.sweep()  # which retires revokes that nothing is old enough for
    assert reason_of(lambda: desk(stage, BEN).confirm(name)) is Reason.REVOKED
    opened(stage)  # what is proposed after it is not what was revoked


@pytest.mark.invariant("I4")
def test_policy_people_and_sign_ins_are_asked_again_when_it_is_confirmed(stage: Stage) -> None:
    for old, new, reason in (
        ('openers = ["oncall"]', 'openers = ["dba"]', Reason.NOT_ENTITLED),
        ("minutes = 10", "minutes = 1", Reason.TTL_TOO_LONG),
        (TABLE, "", Reason.NOT_ENTITLED),
    ):
        stage.accept(WITH_GLASS)
        name = proposed(stage)
        stage.accept(WITH_GLASS.replace(old, new))
        session = signed_in(stage, BEN)
        ben = stage.authority.person_desk(session, origin=ORIGIN).glass
        assert reason_of(lambda name=name, ben=ben: ben.confirm(name)) is reason
    stage.accept(WITH_GLASS)
    name = proposed(stage)
    sign_ins = stage.authority.sign_ins
    sign_ins.remove(ANA, sign_ins.of(ANA)[0].sign_in, by="op")
    assert reason_of(lambda: desk(stage, BEN).confirm(name)) is Reason.BAD_SIGNATURE


@pytest.mark.case(52, 94)
def test_with_the_ledger_down_it_does_not_open(stage: Stage) -> None:
    name = proposed(stage)
    ben = desk(stage, BEN)
    store = stage.meddle()
    store.lose(ConfirmGlass, persisted=False)
    with pytest.raises(StoreError):
        ben.confirm(name)
    assert row(stage, name).state == "proposed"
    store.lose(ProposeGlass, persisted=False)
    ana = desk(stage, ANA)
    with pytest.raises(StoreError):
        ana.propose(ana.draft(wish()))
    assert len(ana.all()) == 1


def test_route_that_is_gone_opens_nothing(stage: Stage) -> None:
    stage.people.signatory(BEN)
    name = proposed(stage)
    without = WITH_GLASS[: WITH_GLASS.index('[routes."desk"]')] + WITH_GLASS[WITH_GLASS.index('[routes."solo"]') :]
    stage.accept(without.replace(TABLE, ""))
    session = signed_in(stage, BEN)
    assert reason_of(lambda: stage.authority.person_desk(session).glass.confirm(name)) is Reason.NOT_ENTITLED


# Using, closing, reviewing


@pytest.mark.invariant("I4")
def test_each_use_takes_the_openers_key_and_what_vouched_for_both(stage: Stage) -> None:
    held = opened(stage)
    guarded = stage.authority.break_glass.doors

    def refusal(person: str = ANA, key: str = "k") -> Reason:
        door = guarded(signatory(stage, person)).door("ticket", "prod")
        return reason_of(lambda: door.admit(held.token_for("ticket"), stage.call("ticket.erase", key=key)))

    assert refusal(BEN) is Reason.NOT_ENTITLED
    assert reason_of(lambda: stage.door().admit(held.token_for("ticket"), stage.call("ticket.erase", key="k"))) is (
        Reason.BAD_TOKEN
    )
    forged = VouchedGlass.parse(str(held.token_for("ticket")))
    other = str(replace(forged, opener=forged.second))
    door = guarded(signatory(stage, ANA)).door("ticket", "prod")
    assert reason_of(lambda: door.admit(other, stage.call("ticket.erase", key="k"))) is Reason.BAD_TOKEN  # type: ignore[arg-type]
    stage.accept(WITH_GLASS.replace('confirmers = ["lead"]', 'confirmers = ["operator"]'))
    assert refusal() is Reason.NOT_ENTITLED
    stage.accept(WITH_GLASS)
    thief = replace(signatory(stage, ANA), key=signatory(stage, BEN).key)
    stolen = guarded(thief).door("ticket", "prod")
    call = stage.call("ticket.erase", key="k")
    assert reason_of(lambda: stolen.admit(held.token_for("ticket"), call)) is Reason.BAD_SIGNATURE
    sign_ins = stage.authority.sign_ins
    sign_ins.remove(BEN, next(one.sign_in for one in sign_ins.of(BEN)), by="op")
    assert refusal() is Reason.BAD_SIGNATURE


def test_it_is_closed_early_by_either_or_who_can_revoke_and_reviewed_by_another(stage: Stage) -> None:
    for closer in (ANA, BEN, EVA):
        name = proposed(stage)
        desk(stage, BEN).confirm(name)
        kim = desk(stage, KIM)
        assert not kim.look(name).may_close
        assert reason_of(lambda name=name, kim=kim: kim.close(name)) is Reason.NOT_ENTITLED
        assert desk(stage, closer).look(name).may_close
        desk(stage, closer).close(name)
        assert alarms(stage)[-1].kind is EntryKind.GLASS_CLOSED
        seen = desk(stage, EVA).look(name)
        assert (seen.state, seen.may_review, seen.may_close) == (GlassState.CLOSED, True, False)
    ana = desk(stage, ANA)
    assert not ana.look(name).may_review
    assert reason_of(lambda: ana.review(name, "mine was right")) is Reason.OWN_REQUEST
    ben = desk(stage, BEN)
    assert not ben.look(name).may_review
    assert reason_of(lambda: ben.review(name, "we were right")) is Reason.OWN_REQUEST
    desk(stage, EVA).review(name, "it was needed")
    assert row(stage, name).reviewed_by == EVA


def test_who_confirmed_it_reviews_it_where_the_policy_names_nobody_else(stage: Stage) -> None:
    name = opened(stage).lease.run_id.replace("run_", "glass_")
    desk(stage, BEN).close(name)
    assert not desk(stage, BEN).look(name).may_review
    stage.accept(changed('"user:eva" = ["lead", "dba", "operator"]', '"user:eva" = ["dba"]', WITH_GLASS))
    assert desk(stage, BEN).look(name).may_review
    desk(stage, BEN).review(name, "there is nobody else")
    assert row(stage, name).reviewed_by == BEN


def test_it_is_over_with_its_minutes_whether_or_not_anybody_wrote_that_down(stage: Stage) -> None:
    name = opened(stage).lease.run_id.replace("run_", "glass_")
    stage.pass_time(300)
    eva = desk(stage, EVA)
    assert (eva.open(), eva.look(name).state, eva.look(name).may_review) == ((), GlassState.CLOSED, False)
    stage.sweep()
    assert eva.look(name).may_review


def test_stranger_to_the_routes_is_offered_none_to_open(stage: Stage) -> None:
    [one] = desk(stage, ANA).openable()
    assert (one.route.name, one.seconds) == ("desk", (BEN, EVA))
    assert desk(stage, KIM).openable() == ()


# Words that were not vouched for, handed to the steps themselves


@pytest.mark.case(80, 81)
@pytest.mark.parametrize("bend", ["ended", "another's", "unlike its row", "one for both"])
def test_word_that_is_not_vouched_for_in_the_step_opens_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, bend: str
) -> None:
    name = proposed(stage)
    ben, other, engine = desk(stage, BEN), signed_in(stage, EVA), stage.authority.engine

    def bent(step: ConfirmGlass) -> ConfirmGlass:
        word = step.word
        match bend:
            case "ended":
                return replace(step, word=replace(word, voice=SessionVoice(person=BEN, session="0" * 64)))
            case "another's":
                return replace(step, word=replace(word, voice=replace(other.voice, person=BEN)))
            case "unlike its row":
                proof = replace(other.proof, authenticated_at=other.authenticated_at + 1)
                return replace(step, word=replace(word, proof=proof))
            case _:
                voucher = replace(step.wish.voucher, proof=word.proof)
                return replace(step, wish=replace(step.wish, voucher=voucher))

    ask = engine.ask
    monkeypatch.setattr(engine, "ask", lambda build: ask(lambda policy: bent(build(policy))))
    assert reason_of(lambda: ben.confirm(name)) in (Reason.BAD_SIGNATURE, Reason.NOT_SIGNED_IN)


def test_proposal_that_is_confirmed_meanwhile_does_not_lapse(stage: Stage) -> None:
    name = proposed(stage)
    opening = desk(stage, BEN).look(name).opening
    late, engine = LapseGlass(opening=opening), stage.authority.engine
    assert not engine.ask(lambda _: late)
    desk(stage, BEN).confirm(name)
    stage.pass_time(300)
    assert not engine.ask(lambda _: late)
    assert not engine.ask(lambda _: LapseGlass(opening=replace(opening, tenant="globex")))


@pytest.mark.case(52)
def test_while_the_clock_is_wrong_nothing_of_it_goes_on_but_its_end(stage: Stage) -> None:
    name, late = proposed(stage), proposed(stage)
    ana, ben = desk(stage, ANA), desk(stage, BEN)
    ben.confirm(name)
    opening = ana.draft(wish())
    stage.system.jump(seconds=-60)
    for act in (lambda: ana.propose(opening), lambda: ben.confirm(late), lambda: ben.decline(late)):
        assert reason_of(act) is Reason.CLOCK
    ana.close(name)
    assert stage.authority.break_glass.row(name).state == "closed"


def test_one_that_was_opened_at_a_terminal_is_seen_and_not_confirmed_here(stage: Stage) -> None:
    name = glass_id(break_glass(stage))
    ben = desk(stage, BEN)
    assert ben.look(name).state is GlassState.OPEN
    with pytest.raises(NotFoundError, match="not proposed in the console"):
        ben.confirm(name)


@pytest.mark.case(61)
def test_damaged_wish_hinders_nobody_else(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    proposed(stage)
    queries = stage.authority.engine.store.queries
    document = queries.document
    monkeypatch.setattr(queries, "document", lambda tenant, name: b"{" if "wish" in name else document(tenant, name))
    with pytest.raises(StoreError, match="what was proposed is damaged"):
        stage.sweep()


# What an auditor makes of it


@pytest.mark.requirement("P11")
def test_signatures_of_both_at_a_terminal_are_verified_offline(stage: Stage) -> None:
    break_glass(stage)
    [entry] = stage.entries(EntryKind.GLASS_OPENED)
    assert check_answers([entry]).key == 2
    for bent in (
        replace(entry, detail={**entry.detail, "second_key": entry.detail["opener_key"]}),
        replace(entry, detail={**entry.detail, "minutes": 15}),
        replace(entry, detail={**entry.detail, "token": "glass1.x"}),
        replace(entry, person=EVA),
        replace(entry, tenant="globex"),
    ):
        with pytest.raises(VerificationError):
            check_answers([bent])
    stolen = Entry(
        kind=EntryKind.PERSON_ADDED, person=EVA, detail={"public_key": str(entry.detail["second_key"]), "key": "x"}
    )
    with pytest.raises(VerificationError, match="is of somebody else"):
        check_answers([stolen, entry])


@pytest.mark.requirement("P11")
def test_sessions_of_both_are_counted_as_such_and_a_key_vouches_at_a_terminal_only(stage: Stage) -> None:
    opened(stage)
    [entry] = stage.entries(EntryKind.GLASS_OPENED)
    assert check_answers([entry]).session == 2
    token = VouchedGlass.parse(str(entry.detail["token"]))
    keyed = replace(token, second=Voucher(proof=KeyProof(key_id="x", signature="y")))
    with pytest.raises(VerificationError, match="at a terminal"):
        check_answers([replace(entry, detail={**entry.detail, "token": str(keyed)})])


# Each guard, taken away: the tests above must notice


@pytest.mark.parametrize(
    ("place", "guard", "test"),
    [
        (Word, "refuse", test_copy_of_a_passkey_opens_nothing),
        (glass_wish, "refuse_weak", test_each_has_to_have_proven_who_they_are_a_moment_ago),
        (glass_wish, "_refuse_other", test_nobody_else_confirms_declines_or_sees_it),
        (glass_wish, "_refuse_keyless", test_opener_without_a_key_could_not_use_it_and_proposes_nothing),
        (glass_wish, "_refuse_absent", test_second_person_has_to_be_somebody_who_is_known_here),
        (
            glass_wish,
            "refuse_glass_roles",
            lambda stage: test_what_the_policy_does_not_list_is_not_even_proposed_and_alarms(
                stage, "a second without the role"
            ),
        ),
        (glass_wish, "refuse_vouchers", test_policy_people_and_sign_ins_are_asked_again_when_it_is_confirmed),
        (glass_wish, "_refuse_over", test_proposal_is_confirmed_once_and_in_time),
        (glass_wish, "_refuse_repeat", test_opener_takes_it_back),
        (glass_wish, "refuse_power", test_it_is_closed_early_by_either_or_who_can_revoke_and_reviewed_by_another),
        (
            decide_glass,
            "refuse_reviewer",
            test_it_is_closed_early_by_either_or_who_can_revoke_and_reviewed_by_another,
        ),
        (glass_wish, "refuse_tries", test_nobody_keeps_others_busy_with_break_glass),
        (DeclineGlass, "_refuse_stranger", test_nobody_else_confirms_declines_or_sees_it),
        (Making, "refuse_stale", test_proposal_is_confirmed_once_and_in_time),
        (glass_opening, "refuse_new_run", lambda stage: test_hold_and_revoke_in_between_keep_it_shut(stage, "all")),
        (glass_use, "refuse_vouchers", test_each_use_takes_the_openers_key_and_what_vouched_for_both),
        (glass_use, "_refuse_key", test_each_use_takes_the_openers_key_and_what_vouched_for_both),
    ],
)
def test_guard_that_is_taken_away_is_missed(
    monkeypatch: pytest.MonkeyPatch, place: object, guard: str, test: Callable[[Stage], None]
) -> None:
    stage = Stage(WITH_GLASS)
    signatory(stage, ANA)
    monkeypatch.setattr(place, guard, lambda *_, **__: None)
    with pytest.raises((AssertionError, LeaseholdError, pytest.fail.Exception)):
        test(stage)
    stage.close()


def test_groups_of_a_provider_let_people_look_and_close_and_open_nothing() -> None:
    table = """
[sign_in.acme]
issuer = "https://login.acme.example"
client_id = "leasehold"
person = "name"
people = "groups"
groups = "groups"
roles = { ops = ["operator"], leads = ["lead", "oncall"] }
groups_for = "1h"
"""
    stage = Stage(WITH_GLASS + table)
    signatory(stage, ANA)

    def come(person: str, group: str) -> GlassDesk:
        account = Account(
            provider="acme",
            issuer="https://login.acme.example",
            subject=person,
            person=person,
            groups=(group,),
            authenticated_at=stage.system.now().seconds,
        )
        session = stage.authority.sign_ins.begin_by_provider(account, address="here")[1]
        return stage.authority.person_desk(session, origin=ORIGIN).glass

    lou = come("user:lou", "leads")
    assert lou.openable() == ()
    assert reason_of(lambda: lou.propose(lou.draft(wish(opener="user:lou")))) is Reason.NOT_ENTITLED
    assert reason_of(lambda: proposed_to(stage, "user:lou")) is Reason.NOT_ENTITLED
    name = opened(stage).lease.run_id.replace("run_", "glass_")
    joe = come("user:joe", "ops")
    assert joe.look(name).may_close
    joe.close(name)
    assert joe.look(name).state is GlassState.CLOSED
    stage.close()


PROVIDER = """
[sign_in.acme]
issuer = "https://login.acme.example"
client_id = "leasehold"
person = "name"
"""


def by_provider(stage: Stage, person: str) -> GlassDesk:
    """A person at the desk whom a provider has proven to be that."""
    account = Account(
        provider="acme",
        issuer="https://login.acme.example",
        subject=person,
        person=person,
        groups=(),
        authenticated_at=stage.system.now().seconds,
    )
    session = stage.authority.sign_ins.begin_by_provider(account, address="here")[1]
    return stage.authority.person_desk(session, origin=ORIGIN).glass


@pytest.fixture
def provided() -> Iterator[Stage]:
    """The same stage, where people also come by a provider."""
    stage = Stage(WITH_GLASS + PROVIDER)
    signatory(stage, ANA)
    yield stage
    stage.close()


def test_it_is_used_no_more_once_the_policy_drops_the_provider_that_vouched(provided: Stage) -> None:
    ana, ben = by_provider(provided, ANA), by_provider(provided, BEN)
    name = ana.propose(ana.draft(wish())).glass_id
    ben.confirm(name)
    held = provided.authority.break_glass.held(name)
    doors = provided.authority.break_glass.doors(signatory(provided, ANA))

    @Guard("ticket", doors, environment="prod").action("erase")
    def erase(capability: Capability, ticket_id: str) -> str:
        return f"{ticket_id} erased"

    assert erase(held.once("k1"), "T-1") == "T-1 erased"
    provided.accept(WITH_GLASS)
    assert reason_of(lambda: erase(held.once("k2"), "T-1")) is Reason.BAD_SIGNATURE


def test_nobody_proposes_or_confirms_it_by_a_provider_that_the_policy_drops(provided: Stage) -> None:
    ana, ben = by_provider(provided, ANA), by_provider(provided, BEN)
    name = ana.propose(ana.draft(wish())).glass_id
    draft = ana.draft(wish())
    provided.accept(WITH_GLASS)
    assert reason_of(lambda: ben.confirm(name)) is Reason.BAD_SIGNATURE
    assert reason_of(lambda: ana.propose(draft)) is Reason.BAD_SIGNATURE


def proposed_to(stage: Stage, second: str) -> str:
    """Ana asks somebody who is known here by a provider."""
    ana = desk(stage, ANA)
    return ana.propose(ana.draft(wish(second=second))).glass_id
