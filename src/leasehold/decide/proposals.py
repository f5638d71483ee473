"""A policy that widens waits for a second person, where the active policy says so.

One person proposes it at a terminal, signed with their key. Another confirms it there or in the console, and each has
the power by the policy that is active now. So a policy that would do away with the second person needs one itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import msgspec
from msgspec.structs import replace

from leasehold.decide.facts import Changes, Facts, Need, Ref, StepAnswer
from leasehold.decide.lifecycles import PersonState
from leasehold.decide.notices import begin_noticing, cursor_need
from leasehold.decide.proving import Word, refuse_weak
from leasehold.decide.rows import AUTHORITY_WIDE, ControlRow, DocumentRow, PersonRow, ProposalRow, Row
from leasehold.ledger.entry import Entry, EntryKind
from leasehold.model.decision import Decision, Reason, allow, deny
from leasehold.model.instant import Instant
from leasehold.model.proposal import PolicyVerdict, ProposalState
from leasehold.policy.document import Policy, Power
from leasehold.policy.evaluate import has_power
from leasehold.policy.widening import widened_keys, widening_digest
from leasehold.token.keys import raw_thumbprint
from leasehold.token.proposal import PolicyStatement

__all__ = [
    "OTHER_WIDENING",
    "POLICY_MOVED",
    "PROPOSAL_SECONDS",
    "AnswerProposal",
    "ExpireProposal",
    "PolicyWord",
    "ProposePolicy",
    "is_waiting",
]

PROPOSAL_SECONDS = 3 * 86_400
"""How long a proposal waits for its second person: over a weekend."""


class PolicyWord(msgspec.Struct, frozen=True, kw_only=True):
    """What a person says about a policy, and what vouches for it."""

    statement: PolicyStatement
    word: Word

    def needs(self) -> list[Need]:
        """The facts that `refuse` asks for."""
        return self.word.needs()

    def refuse(self, facts: Facts, active: Policy, now: Instant) -> Decision | None:
        """Why this word does not count: it is not theirs, not proven well enough, or they have no say over policies.

        A no needs only the voice: it makes nothing possible.
        """
        if self.word.person != self.statement.person:
            return deny(Reason.BAD_SIGNATURE, f"what vouches for this is not of {self.statement.person}")
        if facts.control.may_be_forgotten(self.statement.said_at, ahead=0):
            return deny(Reason.STALE_EPOCH, "this was said before a restore", enough="say it again")
        refusal = self.word.refuse(facts, active, now) or _refuse_powerless(active, self.word.person)
        if refusal is not None or self.statement.verdict is PolicyVerdict.REFUSE:
            return refusal
        return refuse_weak(active, self.word.proof, now)

    def detail(self, facts: Facts) -> dict[str, str | int | tuple[str, ...]]:
        """What an entry keeps of it."""
        return {
            "proposal": self.statement.proposal_id,
            "replaces": self.statement.replaces,
            "widening": self.statement.widening,
            "verdict": self.statement.verdict,
            "said_at": self.statement.said_at,
            **self.word.detail(facts),
        }


class ProposePolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Put a policy that widens before a second person."""

    policy_document: Policy
    active: Policy
    word: PolicyWord

    needs_clock: ClassVar[bool] = True

    @property
    def policy(self) -> str:
        return self.active.hash

    def keys(self) -> Sequence[Need]:
        digest = self.policy_document.hash
        return [
            Ref(ProposalRow, (AUTHORITY_WIDE, digest)),
            Ref(DocumentRow, (AUTHORITY_WIDE, digest)),
            *self.word.needs(),
        ]

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[str], Changes]:
        statement, digest = self.word.statement, self.policy_document.hash
        refusal = self._refuse(facts, now)
        if refusal is not None:
            return StepAnswer(refusal), Changes()
        row = ProposalRow(
            tenant=AUTHORITY_WIDE,
            policy=digest,
            proposal_id=statement.proposal_id,
            state=ProposalState.PENDING,
            replaces=statement.replaces,
            widening=statement.widening,
            person=statement.person,
            key_id=self.word.word.vouched_by,
            proposed_at=now.seconds,
            answer_by=now.seconds + PROPOSAL_SECONDS,
            recorded=facts.next_index,
        )
        document = DocumentRow(
            tenant=AUTHORITY_WIDE, id=digest, body=msgspec.json.encode(self.policy_document.to_json())
        )
        detail = {**self.word.detail(facts), "answer_by": row.answer_by}
        entry = Entry(kind=EntryKind.POLICY_PROPOSED, policy=digest, person=statement.person, detail=detail)
        return StepAnswer(allow(), statement.proposal_id), Changes(rows=(document, row), entries=(entry,))

    def _refuse(self, facts: Facts, now: Instant) -> Decision | None:
        statement, digest = self.word.statement, self.policy_document.hash
        if statement.policy != digest or statement.replaces != facts.control.policy:
            return POLICY_MOVED
        if not widened_keys(self.active, self.policy_document):
            return deny(Reason.CONFLICT, "this policy widens nothing", enough="one person: leasehold policy accept")
        if statement.widening != widening_digest(self.active, self.policy_document):
            return OTHER_WIDENING
        earlier = facts.get(ProposalRow, AUTHORITY_WIDE, digest)
        if earlier is not None and is_waiting(earlier, facts.control, now):
            return deny(
                Reason.CONFLICT,
                f"{earlier.person} has proposed this policy already",
                check=f"no proposal of {digest} is pending",
                enough=f"another person: leasehold policy confirm {digest}",
            )
        return self.word.refuse(facts, self.active, now)


class AnswerProposal(msgspec.Struct, frozen=True, kw_only=True):
    """The second person's word: with their confirmation the policy becomes the active one, with a no it never does.

    `proposer` is who the proposal's row names, read before the step.
    """

    policy_document: Policy
    active: Policy
    word: PolicyWord
    proposer: str

    needs_clock: ClassVar[bool] = True

    @property
    def policy(self) -> str:
        return self.active.hash

    def keys(self) -> Sequence[Need]:
        return [
            Ref(ProposalRow, (AUTHORITY_WIDE, self.policy_document.hash)),
            Ref(PersonRow, (AUTHORITY_WIDE, self.proposer)),
            *self.word.needs(),
            cursor_need(),
        ]

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[ProposalState], Changes]:
        row = facts.get(ProposalRow, AUTHORITY_WIDE, self.policy_document.hash)
        refusal = self._refuse(facts, row, now)
        if refusal is not None or row is None:
            refusal = refusal or _no_proposal(self.policy_document.hash)
            return StepAnswer(refusal), Changes(entries=(self._entry(facts, refusal),))
        counted, said = self.word.word.rows(facts), self._entry(facts, None)
        if self.word.statement.verdict is not PolicyVerdict.CONFIRM:
            rows: tuple[Row, ...] = (replace(row, state=ProposalState.REFUSED), *counted)
            return StepAnswer(allow(), ProposalState.REFUSED), Changes(rows=rows, entries=(said,))
        rows = (
            replace(row, state=ProposalState.CONFIRMED),
            replace(facts.control, policy=row.policy, policy_since=facts.next_index),
            *counted,
            *begin_noticing(facts, self.policy_document),
        )
        accepted = Entry(
            kind=EntryKind.POLICY_ACCEPTED,
            policy=row.policy,
            person=self.word.statement.person,
            detail={
                "before": row.replaces,
                "alarm": "widened",
                "widened": widened_keys(self.active, self.policy_document),
                "proposal": row.proposal_id,
                "proposed_by": row.person,
            },
        )
        return StepAnswer(allow(), ProposalState.CONFIRMED), Changes(rows=rows, entries=(said, accepted))

    def _refuse(self, facts: Facts, row: ProposalRow | None, now: Instant) -> Decision | None:
        statement = self.word.statement
        if row is None or row.proposal_id != statement.proposal_id:
            return _no_proposal(statement.policy)
        if row.state != ProposalState.PENDING:
            return deny(Reason.NOT_PENDING, f"this proposal is {row.state}", check="state == pending")
        if now.reached(row.answer_by):
            return deny(Reason.NOT_PENDING, "this proposal expired unanswered", check="now < answer_by")
        if not facts.control.is_of_this_policy(row.recorded):
            return POLICY_MOVED
        if statement.widening != row.widening or statement.replaces != row.replaces:
            return OTHER_WIDENING
        return self.word.refuse(facts, self.active, now) or self._refuse_own(row) or self._refuse_proposer(facts, row)

    def _refuse_own(self, row: ProposalRow) -> Decision | None:
        """Who proposed may take it back, and nothing else, under whichever name that key goes."""
        is_own = self.word.statement.person == row.person or self.word.word.vouched_by == row.key_id
        if not is_own or self.word.statement.verdict is not PolicyVerdict.CONFIRM:
            return None
        return deny(
            Reason.OWN_REQUEST,
            f"{row.person} proposed this policy; nobody confirms their own",
            rule="policy.accept",
            check="who confirms != who proposed",
            enough="the word of another person with the power policy",
        )

    def _refuse_proposer(self, facts: Facts, row: ProposalRow) -> Decision | None:
        """A proposal is worth as much as the word of who made it is now."""
        person = facts.get(PersonRow, AUTHORITY_WIDE, row.person) if row.person == self.proposer else None
        is_theirs = person is not None and raw_thumbprint(person.public_key) == row.key_id
        if self.word.statement.verdict is not PolicyVerdict.CONFIRM:
            return None
        if person is None or person.state != PersonState.ACTIVE or not is_theirs:
            return deny(
                Reason.NOT_ENTITLED,
                f"the key by which {row.person} proposed this policy was removed",
                enough="a new proposal: leasehold policy accept --as PERSON",
            )
        return _refuse_powerless(self.active, row.person)

    def _entry(self, facts: Facts, refusal: Decision | None) -> Entry:
        return Entry(
            kind=EntryKind.POLICY_ANSWERED,
            policy=self.policy_document.hash,
            person=self.word.statement.person,
            decision="allow" if refusal is None else "deny",
            reason="" if refusal is None else str(refusal.reason),
            detail=self.word.detail(facts),
        )


class ExpireProposal(msgspec.Struct, frozen=True, kw_only=True):
    """Write down that nobody answered a proposal in time. Answers whether this step did."""

    policy_hash: str

    policy: ClassVar[None] = None
    needs_clock: ClassVar[bool] = True

    def keys(self) -> Sequence[Need]:
        return [Ref(ProposalRow, (AUTHORITY_WIDE, self.policy_hash))]

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[bool], Changes]:
        row = facts.get(ProposalRow, AUTHORITY_WIDE, self.policy_hash)
        if row is None or row.state != ProposalState.PENDING or not now.reached(row.answer_by):
            return StepAnswer(allow(), False), Changes()
        entry = Entry(
            kind=EntryKind.POLICY_EXPIRED,
            policy=row.policy,
            person=row.person,
            outcome=ProposalState.EXPIRED,
            detail={"proposal": row.proposal_id, "replaces": row.replaces},
        )
        return StepAnswer(allow(), True), Changes(rows=(replace(row, state=ProposalState.EXPIRED),), entries=(entry,))


def is_waiting(row: ProposalRow, control: ControlRow, now: Instant) -> bool:
    """Whether somebody can still answer it: in time, and no policy became active and no epoch began since."""
    is_open = row.state == ProposalState.PENDING and not now.reached(row.answer_by)
    return is_open and control.is_of_this_policy(row.recorded)


def _refuse_powerless(active: Policy, person: str) -> Decision | None:
    if has_power(active, person, Power.POLICY, "*"):
        return None
    return deny(
        Reason.NOT_ENTITLED,
        f"{person} has no say over policies",
        rule="roles",
        check=f'a role of {person} has "{Power.POLICY}" in can and tenants = ["*"], in the active policy',
        enough="the word of a person with such a role",
    )


def _no_proposal(digest: str) -> Decision:
    return deny(
        Reason.NOT_FOUND, f"nobody has proposed {digest}", enough="a proposal: leasehold policy accept --as PERSON"
    )


POLICY_MOVED = deny(
    Reason.CONFLICT,
    "another policy became active in between",
    check="the active policy is the one that this was compared with",
    enough="look at what changes now: leasehold policy diff",
)
OTHER_WIDENING = deny(
    Reason.CARD_CHANGED,
    "this word is about another widening than the policy has",
    check="same digest of what widens",
    enough="look again: leasehold policy diff",
)
