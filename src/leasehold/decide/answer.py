"""A person answers a request, or the requester takes it back. Submitted by the Desk and Runs faces.

A signature over request id, card digest, verdict and time was verified before the step; here the key that verified it
must still be the person's, the session in which they answered still open, the user of a chat still theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import msgspec

from leasehold.decide.approvals import (
    answers_of,
    approver_needs,
    approvers_of,
    encode_answers,
    refuse_newcomer,
    refuse_person,
    refuse_proof,
)
from leasehold.decide.bond import bond_of
from leasehold.decide.chain import refuse_run, run_needs
from leasehold.decide.entries import proof_detail, request_entry
from leasehold.decide.facts import Changes, Facts, Need, Ref, StepAnswer
from leasehold.decide.lifecycles import REQUEST_TABLE, RequestEvent, advance
from leasehold.decide.proven import as_proven
from leasehold.decide.request import lease_need
from leasehold.decide.rows import AUTHORITY_WIDE, PersonRow, RequestRow
from leasehold.decide.voices import (
    ChatVoice,
    KeyVoice,
    Voice,
    counted,
    is_answer_vouched,
    is_of_voice,
    refuse_count,
    refuse_voice,
    sign_in_of,
    voice_needs,
)
from leasehold.ledger.entry import Entry, EntryKind
from leasehold.model.decision import Decision, Reason, allow, deny
from leasehold.model.instant import Instant
from leasehold.model.proof import PasskeyProof, SignIn
from leasehold.model.request import Answer, Request, RequestKind, RequestState, Verdict
from leasehold.model.run import Run
from leasehold.policy.document import Policy
from leasehold.policy.evaluate import ApprovalNeed, need_for_call

__all__ = ["CALL_USE_SECONDS", "AnswerRequest", "Answered", "Withdraw", "refuse_row", "request_need"]

CALL_USE_SECONDS = 900
"""How long an approved call may wait for its use: the hard maximum of a lease."""


class Answered(msgspec.Struct, frozen=True):
    """Where a request stands after an answer, and how many approvals it still needs."""

    state: RequestState
    approvals_missing: int


class AnswerRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Record one person's answer. `voice` is who gave it: of a key, the one that verified the signature."""

    policy_document: Policy
    run: Run
    request: Request
    answer: Answer
    card_digest: str
    voice: Voice | ChatVoice

    needs_clock: ClassVar[bool] = True

    @property
    def policy(self) -> str:
        return self.policy_document.hash

    def keys(self) -> Sequence[Need]:
        return [
            *run_needs(self.run),
            Ref(RequestRow, (self.run.tenant, self.request.request_id)),
            *voice_needs(self.voice),
            *approver_needs(self.policy_document, self.run.route, self.run.requested_by),
        ]

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[Answered], Changes]:
        row = facts.get(RequestRow, self.run.tenant, self.request.request_id)
        need = request_need(self.policy_document, self.run, self.request)
        refusal = self._refuse(facts, row, need, now)
        if refusal is not None or row is None:
            refusal = refusal or deny(Reason.NOT_FOUND, f"{self.request.request_id} is not in this ledger")
            return StepAnswer(refusal), Changes(entries=(self._entry(refusal, row.state if row else ""),))
        given = answers_of(row)
        if any(self._is_same_voice(earlier) for earlier in given):
            return StepAnswer(allow(), self._answered(facts, row, need)), Changes()
        row = msgspec.structs.replace(row, answers=encode_answers((*given, self.answer)))
        row = self._advance(facts, row, need, now)
        entry = self._entry(None, row.state, public_key=self._public_key(facts))
        return StepAnswer(allow(), self._answered(facts, row, need)), Changes(
            rows=(row, *self._count(facts)), entries=(entry,)
        )

    def _person(self, facts: Facts) -> PersonRow | None:
        return facts.get(PersonRow, AUTHORITY_WIDE, self.voice.person)

    def _passkey(self, facts: Facts) -> tuple[PersonRow, SignIn, PasskeyProof] | None:
        """The person with the passkey that they answered with; None where they answered with something else."""
        person = facts.get(PersonRow, AUTHORITY_WIDE, self.answer.person)
        proof = self.answer.proof
        known = sign_in_of(person, proof.sign_in) if isinstance(proof, PasskeyProof) else None
        return (person, known, proof) if person and known and isinstance(proof, PasskeyProof) else None

    def _count(self, facts: Facts) -> tuple[PersonRow, ...]:
        """The person's row, where their passkey counted on."""
        used = self._passkey(facts)
        return (counted(used[0], used[1], used[2].count),) if used is not None and used[2].count else ()

    def _public_key(self, facts: Facts) -> str:
        """What verifies the signature of the answer, if it has one."""
        used = self._passkey(facts)
        if used is not None:
            return used[1].public_key
        return self.voice.public_key.hex() if isinstance(self.voice, KeyVoice) else ""

    def _refuse(self, facts: Facts, row: RequestRow | None, need: ApprovalNeed, now: Instant) -> Decision | None:
        return (
            refuse_row(row, self.request, now)
            or self._refuse_card()
            or self._refuse_voice(facts, now)
            or refuse_person(
                as_proven(self.policy_document, self._person(facts), now),
                self.answer.person,
                route=self.run.route,
                requested_by=self.run.requested_by,
                effect=need.effect,
                editors=self.request.editors,
            )
            or refuse_proof(self.policy_document, self.answer, need.effect)
            or refuse_newcomer(self._person(facts), self.answer.proof, row)
            or refuse_run(facts, self.run, self.request.attempt, now)
            or self._refuse_second_thought(row)
            or self._refuse_unseen(row)
            or self._refuse_count(facts, row)
        )

    def _refuse_card(self) -> Decision | None:
        if self.card_digest == self.request.card_digest:
            return None
        return deny(Reason.CARD_CHANGED, "the answer names another card than the request has", check="same card digest")

    def _refuse_voice(self, facts: Facts, now: Instant) -> Decision | None:
        refusal = refuse_voice(facts, self.voice, now)
        person = self._person(facts)
        if refusal is not None:
            return refusal
        is_own = self.voice.person == self.answer.person and is_answer_vouched(
            self.policy_document, person, self.answer.proof
        )
        if is_own and is_of_voice(facts, self.voice, self.answer.proof):
            return None
        return deny(Reason.BAD_SIGNATURE, f"what vouches for this answer is not of {self.answer.person}")

    def _refuse_unseen(self, row: RequestRow | None) -> Decision | None:
        """An edited call has no preview before the agent takes it up; nobody says yes to what nobody has seen."""
        action = next(iter(self.request.allow))
        wanted = self.policy_document.action(action).preview if self.request.kind is RequestKind.CALL else ""
        if not wanted or row is None or self.answer.verdict is Verdict.DENY or bond_of(row).preview:
            return None
        return deny(
            Reason.PREVIEW_NEEDED,
            f"nobody has seen yet what {action} would change",
            rule=f'actions."{action}".preview',
            check="the card has a preview",
            enough="the agent makes the edited call, which shows it on a new card",
        )

    def _refuse_count(self, facts: Facts, row: RequestRow | None) -> Decision | None:
        used = self._passkey(facts)
        if used is None or any(self._is_same_voice(earlier) for earlier in (answers_of(row) if row else ())):
            return None
        return refuse_count(used[1], used[2].count)

    def _is_same_voice(self, earlier: Answer) -> bool:
        return (earlier.person, earlier.vouched_by) == (self.answer.person, self.answer.vouched_by)

    def _refuse_second_thought(self, row: RequestRow | None) -> Decision | None:
        """An answer is immutable: saying it twice is harmless, saying the opposite must not look as if it counted."""
        for earlier in answers_of(row) if row is not None else ():
            if self._is_same_voice(earlier) and earlier.verdict is not self.answer.verdict:
                return deny(
                    Reason.CONFLICT,
                    f"{self.answer.person} said {earlier.verdict} already",
                    check=f"{self.answer.verdict} == {earlier.verdict}",
                    enough=f"leasehold revoke request:{self.request.request_id}",
                )
        return None

    def _advance(self, facts: Facts, row: RequestRow, need: ApprovalNeed, now: Instant) -> RequestRow:
        state = RequestState(row.state)
        if self.answer.verdict is Verdict.DENY:
            return msgspec.structs.replace(row, state=advance(REQUEST_TABLE, state, RequestEvent.DENY))
        if self._missing(facts, row, need) > 0:
            return row
        use_by = self.run.expires_at
        if self.request.kind is RequestKind.CALL:
            use_by = min(use_by, now.seconds + CALL_USE_SECONDS)
        return msgspec.structs.replace(row, state=advance(REQUEST_TABLE, state, RequestEvent.APPROVE), use_by=use_by)

    def _missing(self, facts: Facts, row: RequestRow, need: ApprovalNeed) -> int:
        counted = approvers_of(
            facts,
            self.policy_document,
            row,
            route=self.run.route,
            requested_by=self.run.requested_by,
            effect=need.effect,
        )
        return max(0, need.quorum - len(counted))

    def _answered(self, facts: Facts, row: RequestRow, need: ApprovalNeed) -> Answered:
        missing = self._missing(facts, row, need) if row.state == RequestState.PENDING else 0
        return Answered(RequestState(row.state), missing)

    def _entry(self, refusal: Decision | None, outcome: str, *, public_key: str = "") -> Entry:
        return request_entry(
            EntryKind.REQUEST_ANSWERED,
            self.request,
            self.run,
            decision=refusal or allow(),
            policy=self.policy,
            person=self.answer.person,
            outcome=outcome,
            approval=self.request.request_id,
            detail={
                "verdict": self.answer.verdict,
                "card": self.card_digest,
                **proof_detail(self.answer.proof, public_key),
                "answered_at": self.answer.answered_at,
                **({"same_account": "yes"} if self.answer.same_account else {}),
                **({"own_request": "yes"} if self.answer.person == self.run.requested_by else {}),
                **({"words": self.answer.reason} if self.answer.reason else {}),
            },
        )


def request_need(policy: Policy, run: Run, request: Request) -> ApprovalNeed:
    """Who has to agree to a request, by the live policy."""
    if request.kind is RequestKind.LEASE:
        return lease_need(policy, run.route, request.allow)
    return need_for_call(policy, run.route, next(iter(request.allow)), [request.allow])


def refuse_row(row: RequestRow | None, request: Request, now: Instant) -> Decision | None:
    """Why a request waits for nobody: it is not there, stopped, answered, or too late."""
    if row is None:
        return deny(Reason.NOT_FOUND, f"{request.request_id} is not in this ledger")
    if row.revoked or row.held:
        return deny(Reason.REVOKED if row.revoked else Reason.HELD, f"{request.request_id} is stopped")
    if row.state != RequestState.PENDING:
        return deny(Reason.NOT_PENDING, f"{request.request_id} is {row.state}", check="state == pending")
    if now.reached(row.answer_by):
        return deny(Reason.NOT_PENDING, f"{request.request_id} expired unanswered", check="now < answer_by")
    return None


class Withdraw(msgspec.Struct, frozen=True, kw_only=True):
    """The requester takes a pending request back."""

    run: Run
    request: Request

    policy: ClassVar[None] = None
    needs_clock: ClassVar[bool] = True

    def keys(self) -> Sequence[Need]:
        return [Ref(RequestRow, (self.run.tenant, self.request.request_id))]

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[RequestState], Changes]:
        row = facts.get(RequestRow, self.run.tenant, self.request.request_id)
        refusal = refuse_row(row, self.request, now)
        if refusal is not None or row is None:
            return StepAnswer(refusal or deny(Reason.NOT_FOUND, "no such request")), Changes()
        state = advance(REQUEST_TABLE, RequestState(row.state), RequestEvent.WITHDRAW)
        entry = request_entry(EntryKind.REQUEST_WITHDRAWN, self.request, self.run, outcome=state)
        return StepAnswer(allow(), state), Changes(rows=(msgspec.structs.replace(row, state=state),), entries=(entry,))
