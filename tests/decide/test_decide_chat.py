"""What a chat says counts once, only for answers, with its own kind of proof, and never for what is destructive."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from leasehold.authority.chat import chat_card
from leasehold.authority.proofs import check_answers
from leasehold.decide import answer as answer_module
from leasehold.decide import approvals, chat
from leasehold.decide.answer import AnswerRequest
from leasehold.decide.chat import HEARD_SECONDS, Heard, refuse_late
from leasehold.decide.facts import Changes, Facts, Need, Ref, StepAnswer
from leasehold.decide.rows import AUTHORITY_WIDE, ControlRow, SeenRow
from leasehold.decide.voices import ChatVoice, KeyVoice, Voice
from leasehold.errors import InvalidError, VerificationError
from leasehold.ledger.entry import EntryKind
from leasehold.model.decision import Reason, allow, deny
from leasehold.model.instant import Instant
from leasehold.model.proof import AnswerProof, ChatProof, KeyProof
from leasehold.model.request import Answer, RequestState, Verdict
from leasehold.testing.fixtures import key_of_person
from stage import AUDIT, BEN, ERASE, EVA, POLICY, Stage, changed, reason_of

SPEAKER, EVAS = "T024BE7LH/U0BEN", "T024BE7LH/U0EVA"
CHAT = f"""
[notices.desk]
kind = "slack"
channel = "C0123456"
events = ["request.waiting"]
tenants = ["*"]
reviewers = {{ "{SPEAKER}" = "user:ben", "{EVAS}" = "user:eva" }}
"""
START = 1_778_068_800
CONTROL = ControlRow(
    log="main", issuer="urn:x", epoch=1, epoch_since=0, policy="", policy_since=0, last_time_ms=0, size=0, frontier=b""
)


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage(POLICY + CHAT)
    for person in (BEN, EVA):
        stage.people.signatory(person)
    yield stage
    stage.close()


def proof(speaker: str = SPEAKER, *, channel: str = "desk", at: int = START, delivery: int = 1) -> ChatProof:
    return ChatProof(channel=channel, speaker=speaker, signed_at=at, delivery=f"sha256:{delivery:064x}")


def said(
    stage: Stage, request: str, given: AnswerProof, *, person: str = BEN, voice: Voice | ChatVoice | None = None
) -> RequestState:
    """Submit an answer as it is, past everything that stands before the step."""
    engine = stage.authority.engine
    asked = stage.authority.find_request(request)
    run = engine.run(asked.tenant, asked.run_id)
    answer = Answer(person=person, verdict=Verdict.APPROVE, answered_at=START, proof=given)
    return engine.ask(
        lambda policy: AnswerRequest(
            policy_document=policy,
            run=run,
            request=asked,
            answer=answer,
            card_digest=asked.card_digest,
            voice=voice or ChatVoice(person=person),
        )
    ).state


# who speaks


@pytest.mark.case(80, 89)
@pytest.mark.invariant("I4")
def test_a_chat_speaks_for_the_person_whom_the_policy_names_and_nobody_else(stage: Stage) -> None:
    request = stage.ask(stage.lease(AUDIT), "ticket.audit")
    for heard, person in (
        (proof(EVAS), BEN),
        (proof("T024BE7LH/U0OTHER"), BEN),
        (proof(channel="other"), BEN),
        (proof(), EVA),
    ):
        assert reason_of(lambda heard=heard, person=person: said(stage, request, heard, person=person)) is (
            Reason.BAD_SIGNATURE
        )
    assert reason_of(lambda: said(stage, request, proof(), voice=ChatVoice(person="user:zoe"))) is Reason.NOT_ENTITLED
    assert said(stage, request, proof()) is RequestState.APPROVED


@pytest.mark.case(89)
def test_a_chat_gives_no_other_proof_and_no_other_voice_gives_a_chats(stage: Stage) -> None:
    request = stage.ask(stage.lease(AUDIT), "ticket.audit")
    key = key_of_person(BEN).public()
    in_hand = KeyVoice(person=BEN, public_key=key.to_bytes())
    signed = KeyProof(key_id=key.kid, signature="never checked here")
    assert reason_of(lambda: said(stage, request, proof(), voice=in_hand)) is Reason.BAD_SIGNATURE
    assert reason_of(lambda: said(stage, request, signed)) is Reason.BAD_SIGNATURE


@pytest.mark.invariant("I4")
@pytest.mark.requirement("P12")
def test_what_is_destructive_is_refused_in_the_step_itself_whatever_stood_before_it(stage: Stage) -> None:
    request = stage.ask(stage.lease(ERASE), "ticket.erase", key="a")
    assert reason_of(lambda: said(stage, request, proof())) is Reason.NOT_IN_CHAT


@pytest.mark.invariant("I4")
def test_an_approval_in_a_chat_counts_no_more_once_it_is_for_something_destructive(stage: Stage) -> None:
    lease = stage.lease(AUDIT)
    request = stage.ask(lease, "ticket.audit", key="k")
    said(stage, request, proof())
    assert stage.desk.footer(stage.authority.find_request(request)).approved_by == (BEN,)
    worse = changed('"ticket.audit"   = { effect = "read"', '"ticket.audit"   = { effect = "destructive"')
    stage.accept(worse + CHAT)
    assert stage.desk.footer(stage.authority.find_request(request)).approved_by == ()


@pytest.mark.invariant("I4")
def test_an_answer_of_a_user_whom_the_policy_does_not_name_any_more_counts_no_more(stage: Stage) -> None:
    lease = stage.lease(AUDIT)
    request = stage.ask(lease, "ticket.audit", key="k")
    said(stage, request, proof())
    stage.accept(POLICY + CHAT.replace(f'"{SPEAKER}" = "user:ben", ', ""))
    assert stage.refusal(lease, "ticket.audit", key="k") is Reason.APPROVAL_NEEDED


@pytest.mark.parametrize(
    "change",
    [
        {"speaker": "ben@example.com"},
        {"speaker": "T024BE7LH/U0BEN\n"},
        {"speaker": "U0BEN"},
        {"delivery": "sha256:1"},
        {"delivery": "sha256:" + "A" * 64},
    ],
)
def test_a_proof_of_a_chat_names_a_user_and_a_delivery(change: dict[str, str]) -> None:
    with pytest.raises(InvalidError):
        replace(proof(), **change)


def test_a_channel_that_is_no_chat_or_has_no_reviewers_shows_no_card_to_answer(stage: Stage) -> None:
    request = stage.authority.find_request(stage.ask(stage.lease(AUDIT), "ticket.audit"))
    engine, card, row = stage.authority.engine, stage.desk.card(request), stage.desk.request_row(request)
    rule = engine.active_policy().notices["desk"]
    shown = chat_card(engine, rule, row, card)
    assert shown is not None
    assert (shown.request, shown.digest) == (request.request_id, request.card_digest)
    assert chat_card(engine, replace(rule, reviewers={}), row, card) is None
    assert chat_card(engine, replace(rule, kind="webhook"), row, card) is None


# once


class Counted:
    """A step that counts how often it was decided."""

    policy = None
    needs_clock = True

    def __init__(self) -> None:
        self.decided = 0

    def keys(self) -> list[Need]:
        return []

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[int], Changes]:
        self.decided += 1
        refusal = deny(Reason.HELD, "held just then")
        return StepAnswer(allow() if self.decided % 2 else refusal, self.decided), Changes()


def memory() -> Facts:
    """Facts in which every slot is known to be empty."""
    facts = Facts(CONTROL)
    for second in range(1024):
        facts.load(Ref(SeenRow, (AUTHORITY_WIDE, f"chat.{second:04d}")), None)
    return facts


@pytest.mark.case(89)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 2),
            st.integers(-HEARD_SECONDS - 2, HEARD_SECONDS + 2),
            st.sampled_from([0, 1, 299, 300, 301, 423, 424, 425, 724, 1023, 1024, 2048]),
        ),
        max_size=40,
    )
)
def test_no_delivery_is_decided_twice_or_late_however_time_passes(tried: list[tuple[int, int, int]]) -> None:
    facts, step, now, heard = memory(), Counted(), START, set()
    for delivery, offset, passed in tried:
        now += passed
        at = now + offset
        before = step.decided
        answer, changes = Heard(step=step, proof=proof(at=at, delivery=delivery)).decide(facts, Instant(now * 1000))
        facts.apply(changes)
        is_new = (delivery, at) not in heard and abs(offset) <= HEARD_SECONDS
        assert step.decided - before == is_new
        assert is_new or answer.decision.reason is Reason.REPLAYED
        if is_new:
            heard.add((delivery, at))
    for delivery, at in heard:  # and none of them ever again, refused or not
        for late in (0, HEARD_SECONDS):
            again = Heard(step=step, proof=proof(at=at, delivery=delivery))
            assert again.decide(facts, Instant(1000 * max(now, at + late)))[0].decision.reason is Reason.REPLAYED


def test_what_is_late_is_said_to_be_late() -> None:
    for offset in (-301, 301):
        refusal = refuse_late(START + offset, Instant(START * 1000))
        assert refusal is not None
        assert refusal.reason is Reason.REPLAYED
    assert refuse_late(START - 300, Instant(START * 1000 + 999)) is None
    assert Heard(step=Counted(), proof=proof()).needs_clock, "a clock that is wrong hears nothing"


# offline


@pytest.mark.invariant("I4")
def test_an_answer_of_a_chat_that_was_altered_afterwards_is_named(stage: Stage) -> None:
    lease = stage.lease(AUDIT)
    said(stage, stage.ask(lease, "ticket.audit", "T-1", key="a"), proof())
    said(stage, stage.ask(lease, "ticket.audit", "T-2", key="b"), proof(delivery=2))
    entries = stage.entries()
    assert check_answers(entries).chat == 2
    places = [place for place, entry in enumerate(entries) if entry.kind is EntryKind.REQUEST_ANSWERED]
    last = places[-1]
    entry = entries[last]
    for change in (
        {"person": EVA},
        {"detail": {**entry.detail, "signature": "aa"}},
        {"detail": {**entry.detail, "public_key": "aa"}},
        {"detail": {**entry.detail, "speaker": "ben"}},
        {"detail": {**entry.detail, "delivery": ""}},
        {"detail": {**entry.detail, "signed_at": START - 301}},
    ):
        forged = [*entries[:last], replace(entry, **change), *entries[last + 1 :]]
        with pytest.raises(VerificationError) as caught:
            check_answers(forged)
        assert caught.value.index == entry.index
    anew = replace(entry, person=EVA, policy="sha256:" + "0" * 64)
    assert check_answers([*entries[:last], anew]).chat == 2, "another policy may map the user anew"


# each guard, taken away: the tests above must notice


@pytest.mark.parametrize(
    ("place", "guard", "instead", "test"),
    [
        (
            answer_module,
            "is_answer_vouched",
            True,
            test_a_chat_speaks_for_the_person_whom_the_policy_names_and_nobody_else,
        ),
        (answer_module, "refuse_voice", None, test_a_chat_speaks_for_the_person_whom_the_policy_names_and_nobody_else),
        (answer_module, "is_of_voice", True, test_a_chat_gives_no_other_proof_and_no_other_voice_gives_a_chats),
        (
            answer_module,
            "refuse_proof",
            None,
            test_what_is_destructive_is_refused_in_the_step_itself_whatever_stood_before_it,
        ),
        (
            approvals,
            "refuse_proof",
            None,
            test_an_approval_in_a_chat_counts_no_more_once_it_is_for_something_destructive,
        ),
        (
            approvals,
            "is_answer_vouched",
            True,
            test_an_answer_of_a_user_whom_the_policy_does_not_name_any_more_counts_no_more,
        ),
        (chat, "refuse_late", None, lambda _: test_no_delivery_is_decided_twice_or_late_however_time_passes()),
        (chat, "_RING_SECONDS", 2, lambda _: test_no_delivery_is_decided_twice_or_late_however_time_passes()),
    ],
)
def test_guard_that_is_taken_away_is_missed(
    stage: Stage,
    monkeypatch: pytest.MonkeyPatch,
    place: object,
    guard: str,
    instead: object,
    test: Callable[[Stage], None],
) -> None:
    monkeypatch.setattr(place, guard, instead if isinstance(instead, int) and instead > 1 else lambda *_: instead)
    with pytest.raises((AssertionError, ExceptionGroup)):
        test(stage)
