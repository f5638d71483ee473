"""A database that was put back from a backup, or a clock that was set back, revives nothing (invariant I8)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from glass import WITH_GLASS, opening, sign_and_open, signatory, wish
from governed import NEW, OLD, TWO, propose
from leasehold.assemble import back_up_state, open_authority, restore_state
from leasehold.authority.glass_desk import GlassDesk
from leasehold.authority.sign_ins import SignedIn
from leasehold.config import open_state
from leasehold.decide.lifecycles import GlassState
from leasehold.decide.once import WINDOW_SECONDS, UseOnce
from leasehold.decide.proposals import PolicyWord, ProposePolicy
from leasehold.decide.proving import Word
from leasehold.decide.rows import ControlRow
from leasehold.errors import Denied
from leasehold.model.decision import Reason
from leasehold.model.glass import Opening
from leasehold.model.proof import KeyProof
from leasehold.model.proposal import PolicyVerdict
from leasehold.model.request import Verdict
from leasehold.policy.widening import widening_digest
from leasehold.testing.clock import FrozenSystem
from leasehold.token.proposal import PolicyStatement
from stage import ANA, AUDIT, BEN, ERASE, EVA, POLICY, UPDATE, Stage, reason_of

HASHED = "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2g"

pytestmark = [pytest.mark.invariant("I8"), pytest.mark.case(62)]


def test_a_lease_of_an_earlier_epoch_opens_no_door(stage: Stage) -> None:
    lease = stage.lease()
    stage.desk.raise_epoch(by="op", reason="restored")
    assert stage.refusal(lease, "ticket.update", key="a") is Reason.STALE_EPOCH
    assert stage.denials() == ["stale_epoch"]


def test_no_lease_is_drawn_from_a_request_of_an_earlier_epoch(stage: Stage) -> None:
    request = stage.authority.request(stage.start(), UPDATE, reason="customer asked")
    lease = stage.authority.wait(request, 5)
    stage.desk.raise_epoch(by="op", reason="restored")
    assert reason_of(lambda: stage.authority.wait(request, 5)) is Reason.STALE_EPOCH
    assert reason_of(lambda: stage.authority.renew(lease)) is Reason.STALE_EPOCH


def test_a_run_of_an_earlier_epoch_asks_retries_and_delegates_no_more(stage: Stage) -> None:
    run = stage.start()
    lease = stage.lease(run=run)
    stage.desk.raise_epoch(by="op", reason="restored")
    assert reason_of(lambda: stage.authority.request(run, UPDATE, reason="again")) is Reason.STALE_EPOCH
    assert reason_of(lambda: stage.authority.retry(run)) is Reason.STALE_EPOCH
    assert reason_of(lambda: stage.child(lease)) is Reason.STALE_EPOCH
    assert stage.use(stage.lease(), "ticket.update", key="a").charged


def test_a_request_of_an_earlier_epoch_cannot_be_approved_any_more(stage: Stage) -> None:
    lease = stage.lease(ERASE)
    request = stage.ask(lease, "ticket.erase", key="a")
    stage.people.approve(request, BEN)
    stage.desk.raise_epoch(by="op", reason="restored")
    assert reason_of(lambda: stage.people.approve(request, EVA)) is Reason.STALE_EPOCH


@pytest.mark.requirement("L7")
@pytest.mark.case(47, 52)
def test_confirming_a_clock_that_went_back_voids_what_was_issued_under_the_later_time(stage: Stage) -> None:
    lease = stage.lease()
    stage.system.jump(seconds=-3600)
    assert stage.refusal(lease, "ticket.update", key="a") is Reason.CLOCK
    assert reason_of(stage.start) is Reason.CLOCK
    epoch = stage.desk.confirm_clock(by="op")
    assert epoch == 2
    assert stage.refusal(lease, "ticket.update", key="a") is Reason.BAD_TOKEN  # issued in the future, for all we know
    assert reason_of(lambda: stage.authority.renew(lease)) is Reason.STALE_EPOCH
    assert stage.use(stage.lease(), "ticket.update", key="a").charged
    stage.pass_time(3600)
    assert stage.refusal(lease, "ticket.update", key="a") is Reason.STALE_EPOCH
    assert stage.denials() == ["clock", "stale_epoch"]


def test_an_epoch_is_raised_at_least_to_what_stands_outside(stage: Stage) -> None:
    assert stage.desk.raise_epoch(by="op", reason="restored", at_least=7) == 7
    assert stage.desk.raise_epoch(by="op", reason="restored", at_least=3) == 8


def sessions_of(stage: Stage, person: str) -> tuple[bytes, SignedIn]:
    """A session of a person's, by the password that they have or get."""
    sign_ins = stage.authority.sign_ins
    known = [one.sign_in for one in sign_ins.of(person)]
    return sign_ins.begin(person, known[0] if known else sign_ins.set_password(person, HASHED, by="op"), address="here")


def desk_of(stage: Stage, person: str) -> GlassDesk:
    """What a person may do with break-glass, freshly signed in."""
    return stage.authority.person_desk(sessions_of(stage, person)[1], origin="https://lease.acme.example").glass


@pytest.mark.parametrize("how", ["restored", "clock confirmed"])
def test_a_session_of_an_earlier_epoch_is_over_and_answers_nothing(stage: Stage, how: str) -> None:
    cookie, who = sessions_of(stage, BEN)
    begun: dict[str, Callable[[], int]] = {
        "restored": lambda: stage.desk.raise_epoch(by="op", reason="restored"),
        "clock confirmed": lambda: stage.desk.confirm_clock(by="op"),
    }
    begun[how]()
    assert stage.authority.sign_ins.find(cookie) is None
    assert not stage.authority.sign_ins.is_open(who)
    asked = stage.authority.find_request(stage.ask(stage.lease(AUDIT), "ticket.audit"))
    answer = stage.desk.answer_signed_in
    digest = asked.card_digest
    assert reason_of(lambda: answer(asked, Verdict.APPROVE, who, card_digest=digest)) is Reason.NOT_SIGNED_IN
    anew = sessions_of(stage, BEN)
    assert stage.authority.sign_ins.find(anew[0]) == anew[1]


def test_a_policy_that_was_proposed_in_an_earlier_epoch_is_not_confirmed() -> None:
    stage = Stage(TWO)
    propose(stage)
    stage.desk.raise_epoch(by="op", reason="restored")
    proposals, ben = stage.authority.proposals, stage.people.signatory(BEN)
    found = proposals.find(NEW.hash)
    assert reason_of(lambda: proposals.answer(found, PolicyVerdict.CONFIRM, ben)) is Reason.CONFLICT
    governing = stage.authority.person_desk(sessions_of(stage, BEN)[1]).governing
    assert governing.open() == ()
    refusal = governing.look(NEW.hash).refusal
    assert refusal is not None
    assert refusal.reason is Reason.CONFLICT
    stage.pass_time(1)
    propose(stage)
    proposals.answer(proposals.find(NEW.hash), PolicyVerdict.CONFIRM, ben)
    assert stage.authority.engine.active_policy().hash == NEW.hash
    stage.close()


def test_a_break_glass_that_was_proposed_in_an_earlier_epoch_is_not_opened() -> None:
    stage = Stage(WITH_GLASS)
    signatory(stage, ANA)
    sessions_of(stage, BEN)
    ana = desk_of(stage, ANA)
    name = ana.propose(ana.draft(wish())).glass_id
    stage.desk.raise_epoch(by="op", reason="restored")
    ben = desk_of(stage, BEN)
    assert reason_of(lambda: ben.confirm(name)) is Reason.STALE_EPOCH
    assert ben.waiting() == ()
    assert ben.look(name).state is GlassState.LAPSED
    stage.close()


# what counts once


class Restored:
    """An authority in files, put back from the backup that was made before something was used."""

    def __init__(self, folder: Path, text: str) -> None:
        self.policy, self.state, self.system = folder / "leasehold.toml", folder / "state", FrozenSystem()
        self.policy.write_text(text, encoding="utf-8")
        self._backup = folder / "backup.db"

    @contextmanager
    def up(self) -> Iterator[Stage]:
        with open_authority(self.policy, state=self.state, system=self.system, sweep=False) as authority:
            yield Stage(authority=authority, system=self.system)

    def attack(self, prepare: Callable[[Stage], object], use: Callable[[Stage], object]) -> Reason:
        """Use something, put back the database from before, use it again, and answer why it was refused."""
        with self.up() as stage:
            prepare(stage)
        back_up_state(open_state(self.state), self._backup)
        with self.up() as stage:
            use(stage)
        self.system.jump(seconds=1)
        restore_state(self.state, by="op", reason="disk lost", source=self._backup, system=self.system)
        with self.up() as stage:
            return reason_of(lambda: use(stage))


def _twice(kind: str) -> Callable[[Restored], Reason]:
    def attack(machine: Restored) -> Reason:
        document = UseOnce(
            kind=kind, value="seen on the wire", at=machine.system.now().seconds + 20
        )  # its clock is fast
        return machine.attack(lambda _: None, lambda stage: stage.authority.engine.ask(lambda _: document))

    return attack


def _opened_again(machine: Restored) -> Reason:
    """The whole text of a break-glass stands in the ledger, where whoever may read it can take it from."""
    signed: list[Opening] = []
    return machine.attack(lambda stage: signed.append(opening(stage)), lambda stage: sign_and_open(stage, signed[0]))


def _said_again(machine: Restored) -> Reason:
    """So does every word on a policy, with its signature: one of them is said again, for who had said it."""
    words: list[PolicyWord] = []

    def sign(stage: Stage) -> None:
        eva = stage.people.signatory(EVA)
        statement = PolicyStatement(
            proposal_id=stage.system.new_id("prop"),
            policy=NEW.hash,
            replaces=OLD.hash,
            widening=widening_digest(OLD, NEW),
            verdict=PolicyVerdict.PROPOSE,
            said_at=stage.system.now().seconds,
            person=EVA,
        )
        proof = KeyProof(key_id=eva.key.public().kid, signature=statement.sign(eva.key))
        words.append(PolicyWord(statement=statement, word=Word(voice=eva.voice, proof=proof)))

    def say(stage: Stage) -> None:
        stage.authority.engine.ask(lambda _: ProposePolicy(policy_document=NEW, active=OLD, word=words[0]))

    return machine.attack(sign, say)


ONCE: dict[str, tuple[Callable[[Restored], Reason], str, Reason]] = {
    "a proof of possession": (_twice("dpop"), POLICY, Reason.REPLAYED),
    "a person's signed call": (_twice("person"), POLICY, Reason.REPLAYED),
    "a break-glass that two people signed": (_opened_again, WITH_GLASS, Reason.STALE_EPOCH),
    "a word on a policy": (_said_again, TWO, Reason.STALE_EPOCH),
}


@pytest.mark.parametrize("name", ONCE)
def test_what_was_used_after_the_backup_and_counts_once_does_not_count_again(name: str, tmp_path: Path) -> None:
    attack, text, reason = ONCE[name]
    assert attack(Restored(tmp_path, text)) is reason


@pytest.mark.parametrize("name", ONCE)
def test_it_would_but_for_the_time_at_which_the_epoch_began(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ControlRow, "may_be_forgotten", lambda *_, ahead: False)
    attack, text, _ = ONCE[name]
    with pytest.raises(AssertionError, match="it was not refused"):
        attack(Restored(tmp_path, text))


def test_a_minute_after_a_restore_new_documents_count_again(stage: Stage) -> None:
    def use(at: int) -> Reason | None:
        document = UseOnce(kind="dpop", value=str(at), at=at)
        try:
            stage.authority.engine.ask(lambda _: document)
        except Denied as denied:
            return denied.decision.reason
        return None

    assert use(stage.system.now().seconds) is None  # in the first epoch nothing was put back
    stage.desk.raise_epoch(by="op", reason="restored")
    assert use(stage.system.now().seconds + WINDOW_SECONDS) is Reason.REPLAYED
    stage.pass_time(WINDOW_SECONDS + 1)
    assert use(stage.system.now().seconds) is None


@pytest.mark.parametrize(
    ("guard", "test"),
    [
        (
            "is_of_this_epoch",
            lambda stage: test_a_session_of_an_earlier_epoch_is_over_and_answers_nothing(stage, "restored"),
        ),
        ("is_of_this_policy", lambda _: test_a_policy_that_was_proposed_in_an_earlier_epoch_is_not_confirmed()),
        ("is_of_this_epoch", lambda _: test_a_break_glass_that_was_proposed_in_an_earlier_epoch_is_not_opened()),
    ],
)
def test_guard_that_is_taken_away_is_missed(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, guard: str, test: Callable[[Stage], None]
) -> None:
    monkeypatch.setattr(ControlRow, guard, lambda *_: True)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        test(stage)
