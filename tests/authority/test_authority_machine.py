"""What people do with requests, in any order, over restarts: the real authority beside a model of thirty lines.

After every step each request stands where the model says, the same approvals count, and in the end an auditor finds the
ledger whole. The model knows no store, no steps, no rows: only the rules as the documents tell them.
"""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from leasehold.assemble import open_authority
from leasehold.authority import Authority
from leasehold.authority.batches import Item
from leasehold.authority.desk import Signatory
from leasehold.authority.proofs import check_answers
from leasehold.decide import answer as answer_module
from leasehold.decide.answer import AnswerRequest
from leasehold.decide.chat import Heard
from leasehold.decide.voices import ChatVoice
from leasehold.errors import Denied
from leasehold.ledger.history import check_history
from leasehold.model.call import Admission
from leasehold.model.decision import Reason
from leasehold.model.proof import ChatProof
from leasehold.model.request import Answer, RequestState, Verdict
from leasehold.testing.clock import FrozenSystem
from leasehold.testing.fixtures import key_of_person
from stage import ANA, BEN, EVA, KIM, Stage, changed

SPEAKERS = {"T024BE7LH/U0BEN": BEN, "T024BE7LH/U0BEN2": BEN, "T024BE7LH/U0EVA": EVA, "T024BE7LH/U0ANA": ANA}
LONGER = changed('answer_within = "10m"\nbudget = { calls = 20,', 'answer_within = "3m"\nbudget = { calls = 60,')
TEXT = f"""{LONGER}
[notices.desk]
kind = "slack"
channel = "C0123456"
events = ["request.waiting"]
tenants = ["acme"]
reviewers = {{ {", ".join(f'"{speaker}" = "{person}"' for speaker, person in SPEAKERS.items())} }}
"""
PEOPLE = (BEN, EVA, BEN, EVA, ANA, KIM)
VERDICTS = (Verdict.APPROVE, Verdict.APPROVE, Verdict.DENY)
TICKETS = ("T-1", "T-2", "X-1")
QUORUM = {"ticket.audit": 1, "ticket.erase": 2}
ANSWER_SECONDS, USE_SECONDS = 180, 900
BEGAN = FrozenSystem().now().seconds
RUN_ENDS = BEGAN + 1800


@dataclasses.dataclass
class Known:
    """What the model knows of one request. `said` maps what vouched to a person and their word."""

    number: int
    action: str
    ticket: str
    key: str | None
    made_at: int
    state: RequestState = RequestState.PENDING
    said: dict[str, tuple[str, Verdict]] = dataclasses.field(default_factory=dict)
    editors: tuple[str, ...] = ()
    use_by: int = 0
    successor: str = ""

    @property
    def call(self) -> tuple[str, str, str | None]:
        """Exactly what may be made if people agree: an edit changes the ticket and keeps the key."""
        return self.action, self.ticket, self.key


def outcome_of(act: Callable[[], object]) -> tuple[Reason, str]:
    """Why something was refused, or OK; and the request that the refusal names."""
    try:
        act()
    except Denied as denied:
        return denied.decision.reason, denied.decision.request_id
    return Reason.OK, ""


class Requests(RuleBasedStateMachine):
    """One run asks, people answer, edit and leave, time passes, and the process is started anew again and again."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="leasehold-machine-"))
        self.system = FrozenSystem()
        self.known: dict[str, Known] = {}
        self.removed: set[str] = set()
        self.delivered: dict[int, tuple[str, int]] = {}
        self.passed = 0

    # the real one

    @initialize()
    def begin(self) -> None:
        """A state on disk, a run with a lease to ask under, four people with keys."""
        (self.folder / "leasehold.toml").write_text(TEXT)
        self.stage = self._opened()
        for person in sorted(set(PEOPLE)):
            self.stage.desk.add_person(person, key_of_person(person).public(), by="test")
        self.run = self.stage.start().run_id
        allow = {action: {"ticket": ["T-*"]} for action in QUORUM}
        run = self.stage.authority.run(self.run)
        self.lease_request = self.stage.authority.request(run, allow, reason="customer asked").request_id
        for action in QUORUM:
            for ticket in TICKETS[:2]:
                self.call(action, ticket)

    def _opened(self) -> Stage:
        authority: Authority = open_authority(
            self.folder / "leasehold.toml", state=self.folder / "state", system=self.system, sweep=False
        )
        return Stage(authority=authority, system=self.system)

    @rule()
    def restart(self) -> None:
        """The process ends, and another one takes up what is on disk."""
        self.stage.close()
        self.stage = self._opened()

    def teardown(self) -> None:
        """An auditor, who has the entries alone, finds nothing."""
        if hasattr(self, "stage"):
            entries = self.stage.entries()
            assert check_history(entries) == []
            said = sum(len(known.said) for known in self.known.values())
            assert sum(getattr(check_answers(entries), name) for name in ("key", "chat")) == said
            self.stage.close()
        shutil.rmtree(self.folder)

    # the model

    @property
    def now(self) -> int:
        return self.system.now().seconds

    def late(self, known: Known) -> bool:
        return self.now >= known.made_at + ANSWER_SECONDS

    def counted(self, known: Known) -> set[str]:
        """Whose yes counts now."""
        yes = {person for person, verdict in known.said.values() if verdict is Verdict.APPROVE}
        return yes - self.removed

    def waiting(self, known: Known) -> Reason:
        """Why a request waits for nobody, or OK."""
        is_open = known.state is RequestState.PENDING and not self.late(known)
        return Reason.OK if is_open else Reason.NOT_PENDING

    def entitled(self, known: Known, person: str, editors: tuple[str, ...]) -> Reason:
        """Why a person's word does not count for a request of Ana's, or OK."""
        if person in (ANA, *editors):
            return Reason.OWN_REQUEST
        return Reason.NOT_ENTITLED if person == KIM else Reason.OK

    def take(self, known: Known, voucher: str, person: str, verdict: Verdict) -> Reason:
        """Take one answer into the model; answers why it is refused, or OK."""
        if (refused := self.waiting(known)) is not Reason.OK:
            return refused
        if person in self.removed:
            return Reason.NOT_ENTITLED
        if (refused := self.entitled(known, person, known.editors)) is not Reason.OK:
            return refused
        if "/" in voucher and known.action == "ticket.erase":
            return Reason.NOT_IN_CHAT
        if voucher in known.said:
            return Reason.OK if known.said[voucher][1] is verdict else Reason.CONFLICT
        known.said[voucher] = (person, verdict)
        if verdict is Verdict.DENY:
            known.state = RequestState.DENIED
        elif len(self.counted(known)) >= QUORUM[known.action]:
            known.state, known.use_by = RequestState.APPROVED, min(self.now + USE_SECONDS, RUN_ENDS)
        return Reason.OK

    def add(self, request_id: str, call: tuple[str, str, str | None], editors: tuple[str, ...]) -> None:
        self.known[request_id] = Known(len(self.known), *call, self.now, editors=editors)

    def foretold(self, call: tuple[str, str, str | None]) -> tuple[Reason, str]:
        """What becomes of a call now, and by which request: empty for a new one."""
        same = [(name, each) for name, each in self.known.items() if each.call == call]
        for name, each in sorted(same, key=lambda pair: -pair[1].number):
            if each.state is RequestState.DENIED:
                return Reason.APPROVAL_DENIED, name
            if each.state is RequestState.SUPERSEDED:
                return Reason.EDITED, each.successor
            if self.waiting(each) is Reason.OK:
                return Reason.APPROVAL_NEEDED, name
            is_yes = each.state is RequestState.APPROVED and self.now < each.use_by
            if is_yes and len(self.counted(each)) >= QUORUM[each.action]:
                return Reason.OK, name
        return Reason.APPROVAL_NEEDED, ""

    # what happens

    def pick(self, data: st.DataObject) -> str:
        """A request, most often one that waits."""
        names = sorted(self.known, key=lambda name: self.known[name].number)
        waiting = [name for name in names if self.waiting(self.known[name]) is Reason.OK]
        return data.draw(st.sampled_from([*waiting, *waiting, *waiting, *names]))

    @rule(action=st.sampled_from(sorted(QUORUM)), ticket=st.sampled_from(TICKETS[:2]))
    def call(self, action: str, ticket: str) -> None:
        """The agent makes a call: it is asked about, refused, or made and over."""
        used = sum((known.action, known.state) == (action, RequestState.USED) for known in self.known.values())
        key = None if action == "ticket.audit" else f"k{used}"  # a write's stays until a call was made with it
        same = [known for known in self.known.values() if known.call == (action, ticket, key)]
        reason, request = self.foretold((action, ticket, key))
        lease = self.stage.authority.wait(self.lease_request, 5)
        made: list[Admission] = []
        came, named = outcome_of(lambda: made.append(self.stage.admit(lease, action, ticket, key=key)))
        assert came is reason
        if made:
            assert made[0].approval == request
            self.known[request].state = RequestState.USED
            self.stage.settle(made[0])
        elif reason is Reason.APPROVAL_NEEDED and not request:
            editors = tuple(dict.fromkeys(person for known in same for person in known.editors))
            self.add(named, (action, ticket, key), editors)
        elif reason is not Reason.APPROVAL_DENIED:
            assert named == request

    @rule(data=st.data(), person=st.sampled_from(PEOPLE), verdict=st.sampled_from(VERDICTS))
    def answer(self, data: st.DataObject, person: str, verdict: Verdict) -> None:
        """A person answers with their key."""
        name = self.pick(data)
        key = key_of_person(person)
        expected = Reason.NOT_ENTITLED if person in self.removed else None
        expected = expected or self.take(self.known[name], key.public().kid, person, verdict)
        asked = self.stage.authority.find_request(name)
        signatory = Signatory(person=person, key=key)
        assert outcome_of(lambda: self.stage.desk.answer(asked, verdict, signatory))[0] is expected

    @rule(
        data=st.data(),
        speaker=st.sampled_from(sorted(SPEAKERS)),
        verdict=st.sampled_from(VERDICTS),
        is_again=st.sampled_from((False, False, False, True)),
    )
    def press(self, data: st.DataObject, speaker: str, verdict: Verdict, is_again: bool) -> None:
        """Somebody answers in the chat, or what the chat delivered is delivered once more, for whatever request."""
        name, person = self.pick(data), SPEAKERS[speaker]
        number, at = len(self.delivered), self.now
        earlier = [(known, when) for known, (by, when) in self.delivered.items() if by == speaker]
        if is_again and earlier:
            number, at = data.draw(st.sampled_from(earlier))
        proof = ChatProof(channel="desk", speaker=speaker, signed_at=at, delivery=f"sha256:{number:064x}")
        is_new = number not in self.delivered
        self.delivered[number] = (speaker, at)
        expected = self.take(self.known[name], speaker, person, verdict) if is_new else Reason.REPLAYED
        assert outcome_of(lambda: self._hear(name, person, verdict, proof))[0] is expected

    def _hear(self, name: str, person: str, verdict: Verdict, proof: ChatProof) -> None:
        engine = self.stage.authority.engine
        asked = self.stage.authority.find_request(name)
        given = Answer(person=person, verdict=verdict, answered_at=self.now, proof=proof)
        run = engine.run(asked.tenant, asked.run_id)
        engine.ask(
            lambda policy: Heard(
                step=AnswerRequest(
                    policy_document=policy,
                    run=run,
                    request=asked,
                    answer=given,
                    card_digest=asked.card_digest,
                    voice=ChatVoice(person=person),
                ),
                proof=proof,
            )
        )

    @rule(data=st.data(), person=st.sampled_from((BEN, EVA)))
    def approve_together(self, data: st.DataObject, person: str) -> None:
        """A person approves several at once: each by itself, and what is destructive stays out."""
        names = sorted({self.pick(data), self.pick(data)})
        items = [
            Item(request_id=name, card_digest=self.stage.authority.find_request(name).card_digest) for name in names
        ]
        signatory = Signatory(person=person, key=key_of_person(person))
        results = self.stage.desk.answer_many(items, Verdict.APPROVE, signatory)
        for result in results:
            known = self.known[result.request_id]
            if result.decision.reason is Reason.NOT_IN_BATCH:
                assert known.action == "ticket.erase"
                continue
            expected = Reason.NOT_ENTITLED if person in self.removed else None
            expected = expected or self.take(known, signatory.key.public().kid, person, Verdict.APPROVE)
            assert result.decision.reason is expected
            assert known.action != "ticket.erase" or not result.decision.is_allowed

    @rule(data=st.data(), person=st.sampled_from(PEOPLE), ticket=st.sampled_from(TICKETS))
    def edit(self, data: st.DataObject, person: str, ticket: str) -> None:
        """A person edits which ticket a call is about."""
        name = self.pick(data)
        known = self.known[name]
        if ticket == known.ticket:
            return
        expected = self.waiting(known)
        if expected is Reason.OK and person in self.removed:
            expected = Reason.BAD_SIGNATURE
        if expected is Reason.OK:
            expected = self.entitled(known, person, ())
        if expected is Reason.OK and ticket == "X-1":
            expected = Reason.OUT_OF_RANGE
        asked = self.stage.authority.find_request(name)
        signatory = Signatory(person=person, key=key_of_person(person))
        made: list[str] = []
        edited = {"ticket_id": ticket}
        came, _ = outcome_of(lambda: made.append(self.stage.desk.edit(asked, signatory, arguments=edited).request_id))
        assert came is expected
        if made:
            known.state, known.successor = RequestState.SUPERSEDED, made[0]
            editors = tuple(dict.fromkeys((*known.editors, person)))
            self.add(made[0], (known.action, ticket, known.key), editors)

    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        """The agent takes a question back."""
        name = self.pick(data)
        known = self.known[name]
        expected = self.waiting(known)
        asked = self.stage.authority.find_request(name)
        assert outcome_of(lambda: self.stage.authority.runs.withdraw(asked))[0] is expected
        if expected is Reason.OK:
            known.state = RequestState.WITHDRAWN

    @precondition(lambda self: not self.removed and sum(len(known.said) for known in self.known.values()) > 2)
    @rule(person=st.sampled_from((BEN, EVA)))
    def remove(self, person: str) -> None:
        """A person is removed: their earlier answers count no more."""
        self.stage.desk.remove_person(person, by="op")
        self.removed.add(person)

    @precondition(lambda self: self.passed < 1200)
    @rule(seconds=st.sampled_from((1, 10, 60, 179)))
    def pass_time(self, seconds: int) -> None:
        """Time passes, and now and then somebody sweeps."""
        self.stage.pass_time(seconds)
        self.passed += seconds

    @rule()
    def sweep(self) -> None:
        """What is too late is written down as that."""
        self.stage.sweep()
        for known in self.known.values():
            if known.state is RequestState.PENDING and self.late(known):
                known.state = RequestState.EXPIRED
            if known.state is RequestState.APPROVED and self.now >= known.use_by:
                known.state = RequestState.LAPSED

    @invariant()
    def every_request_stands_where_the_model_says(self) -> None:
        """State, editors, and whose approval counts."""
        for name, known in self.known.items():
            asked = self.stage.authority.find_request(name)
            assert self.stage.desk.request_row(asked).state == known.state, name
            assert asked.editors == known.editors
            if known.state in (RequestState.PENDING, RequestState.APPROVED):
                assert set(self.stage.desk.footer(asked).approved_by) == self.counted(known)


Requests.TestCase.settings = settings(max_examples=25, stateful_step_count=30)
TestRequests = pytest.mark.invariant("I4", "I8")(pytest.mark.requirement("F1", "P11", "P12")(Requests.TestCase))


# two guards, taken away: the machine must notice (the explorer has a mutant for each)


@pytest.mark.parametrize("guard", ["refuse_person", "refuse_proof"])
def test_a_guard_that_is_taken_away_is_missed(monkeypatch: pytest.MonkeyPatch, guard: str) -> None:
    monkeypatch.setattr(answer_module, guard, lambda *_, **__: None)
    once = settings(max_examples=100, stateful_step_count=30, phases=[Phase.generate], database=None, derandomize=True)
    with pytest.raises((AssertionError, ExceptionGroup)):
        run_state_machine_as_test(Requests, settings=once)
