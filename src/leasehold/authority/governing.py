"""What a signed-in person sees of policies that wait for a second person, and their word on one. Part of their desk.

Whoever has a say over policies, or can query everywhere, sees them; for anybody else there are none (invariant I10).
"""

from __future__ import annotations

import msgspec

from leasehold.authority.engine import Engine
from leasehold.authority.proposals import Proposal, Proposals
from leasehold.authority.sign_ins import SignedIn
from leasehold.decide.proposals import OTHER_WIDENING, POLICY_MOVED, is_waiting
from leasehold.decide.proven import as_proven
from leasehold.decide.proving import refuse_weak
from leasehold.decide.rows import AUTHORITY_WIDE, PersonRow, ProposalRow
from leasehold.errors import Denied, NotFoundError
from leasehold.model.decision import Decision, Reason, deny
from leasehold.model.proposal import PolicyVerdict, ProposalState
from leasehold.policy.diff import Change, diff
from leasehold.policy.document import Policy, Power
from leasehold.policy.evaluate import has_power
from leasehold.policy.programs import ClientGain, client_gains
from leasehold.policy.reach import Reach, reach
from leasehold.token.passkey import Assertion
from leasehold.token.proposal import PolicyStatement

__all__ = ["Governing", "Proposed", "state_of"]


class Proposed(msgspec.Struct, frozen=True, kw_only=True):
    """A proposal as this person meets it: what it changes, and what that comes to.

    `refusal` says why they may not confirm it now, None that they may; `is_theirs` that they made it, and may take it
    back; `proof` what their confirmation needs besides the session as it is. `widening` is the digest of what is shown.
    """

    proposal: Proposal
    state: ProposalState
    changes: tuple[Change, ...]
    reached: tuple[Reach, ...]
    gained: tuple[ClientGain, ...]
    widening: str
    refusal: Decision | None
    is_theirs: bool
    proof: Decision | None


class Governing:
    """One person's part in policies that wait. Threads may share it."""

    def __init__(self, engine: Engine, session: SignedIn, origin: str) -> None:
        self._engine = engine
        self._proposals = Proposals(engine)
        self._session = session
        self._origin = origin

    def open(self) -> tuple[ProposalRow, ...]:
        """The proposals that can still be answered, the newest first."""
        if not self._may_see(self._engine.active_policy()):
            return ()
        control, now = self._engine.store.queries.control(), self._engine.system.now()
        return tuple(row for row in self._proposals.all() if is_waiting(row, control, now))

    def all(self) -> tuple[ProposalRow, ...]:
        """All proposals, the newest first."""
        return self._proposals.all() if self._may_see(self._engine.active_policy()) else ()

    def look(self, digest: str) -> Proposed:
        """One proposal, by the hash of the policy that it would make active.

        Raises:
            NotFoundError: there is none that this person may see.
        """
        active, now = self._engine.active_policy(), self._engine.system.now()
        proposal = self._find(digest)
        old, new = proposal.replaces, proposal.policy
        return Proposed(
            proposal=proposal,
            state=state_of(proposal.row, now.seconds),
            changes=tuple(diff(old, new)),
            reached=tuple(reach(old, new)),
            gained=tuple(client_gains(old, new)),
            widening=proposal.widening,
            refusal=self._refuse(proposal.row, active),
            is_theirs=proposal.row.person == self._session.person,
            proof=refuse_weak(active, self._session.proof, now),
        )

    def answer(
        self, digest: str, verdict: PolicyVerdict, *, seen: tuple[str, str], assertion: Assertion | None = None
    ) -> ProposalState:
        """Confirm or refuse the proposal of the policy with this hash.

        `seen` are the hash of the policy that it was shown to replace, and the digest of what was shown to widen.

        Raises:
            NotFoundError: there is none that this person may see.
            Denied: something else was shown than it is now, or as `Proposals.answer_signed_in`.
        """
        proposal = self._find(digest)
        if seen != (proposal.row.replaces, proposal.widening):
            raise Denied(OTHER_WIDENING)
        return self._proposals.answer_signed_in(
            proposal, verdict, self._session, assertion=assertion, origin=self._origin
        )

    def statement(self, digest: str, verdict: PolicyVerdict) -> PolicyStatement:
        """What this person would say about a proposal, for their passkey to sign.

        Raises:
            NotFoundError: there is none that this person may see.
        """
        return self._find(digest).statement(verdict, self._session.person, self._engine.system.now().seconds)

    def _find(self, digest: str) -> Proposal:
        if not self._may_see(self._engine.active_policy()):
            raise NotFoundError("there is no such proposal")
        return self._proposals.find(digest)

    def _refuse(self, row: ProposalRow, active: Policy) -> Decision | None:
        """Why a confirmation would be refused, as far as can be told before it is given."""
        state = state_of(row, self._engine.system.now().seconds)
        if state is not ProposalState.PENDING:
            return deny(Reason.NOT_PENDING, f"this proposal is {state}")
        if not self._engine.store.queries.control().is_of_this_policy(row.recorded):
            return POLICY_MOVED
        if row.person == self._session.person:
            return deny(Reason.OWN_REQUEST, "you proposed it; another person has to confirm it")
        if not has_power(active, self._session.person, Power.POLICY, "*"):
            return deny(Reason.NOT_ENTITLED, "no role of yours has a say over policies")
        return None

    def _may_see(self, active: Policy) -> bool:
        """Groups of a provider let people look, as everywhere; a say over policies they do not give."""
        person = self._session.person
        known = as_proven(active, self._engine.row(PersonRow, AUTHORITY_WIDE, person), self._engine.system.now())
        return has_power(active, person, Power.POLICY, "*") or has_power(known, person, Power.QUERY, AUTHORITY_WIDE)


def state_of(row: ProposalRow, now_seconds: int) -> ProposalState:
    """Where a proposal stands, also where no sweep has written it down yet."""
    state = ProposalState(row.state)
    is_late = state is ProposalState.PENDING and now_seconds >= row.answer_by
    return ProposalState.EXPIRED if is_late else state
