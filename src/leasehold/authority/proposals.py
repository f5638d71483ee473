"""Policies that wait for a second person: propose one, look at it, say yes or no. Used by the command line.

Part of the embedded authority like the desk: a word is signed with the person's own key, over exactly what was shown.
"""

from __future__ import annotations

import msgspec

from leasehold.authority.desk import Signatory
from leasehold.authority.engine import Engine
from leasehold.decide.lifecycles import PersonState
from leasehold.decide.proposals import AnswerProposal, ProposePolicy, SignedWord
from leasehold.decide.rows import AUTHORITY_WIDE, PersonRow, ProposalRow
from leasehold.errors import Denied, NotFoundError
from leasehold.model.decision import Reason, deny
from leasehold.model.proposal import PolicyVerdict, ProposalState
from leasehold.policy.document import Policy
from leasehold.policy.widening import widening_digest
from leasehold.token.keys import PublicKey
from leasehold.token.proposal import PolicyStatement

__all__ = ["Proposal", "Proposals"]


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """A proposal as it stands: its row, the policy that it would make active, and the one that it was compared with."""

    row: ProposalRow
    policy: Policy
    replaces: Policy


class Proposals:
    """Proposals of one authority. Threads may share it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def find(self, digest: str) -> Proposal:
        """The newest proposal of the policy with this hash.

        Raises:
            NotFoundError: nobody has proposed it.
        """
        row = self._engine.row(ProposalRow, AUTHORITY_WIDE, digest)
        if row is None:
            raise NotFoundError(f"nobody has proposed {digest}; leasehold policy accept --as PERSON does")
        return Proposal(row=row, policy=self._engine.policy(digest), replaces=self._engine.policy(row.replaces))

    def propose(self, policy: Policy, replaces: Policy, signatory: Signatory) -> str:
        """Put a policy that widens before a second person; answers the proposal's id.

        Raises:
            Denied: it was proposed before, it widens nothing, another policy became active, or this person has no say.
        """
        statement = PolicyStatement(
            proposal_id=self._engine.system.new_id("prop"),
            policy=policy.hash,
            replaces=replaces.hash,
            widening=widening_digest(replaces, policy),
            verdict=PolicyVerdict.PROPOSE,
            said_at=self._engine.system.now().seconds,
            person=signatory.person,
        )
        word = self._signed(statement, signatory)
        return self._engine.ask(lambda active: ProposePolicy(policy_document=policy, active=active, word=word))

    def answer(self, proposal: Proposal, verdict: PolicyVerdict, signatory: Signatory) -> ProposalState:
        """Confirm a proposal, which makes its policy the active one, or refuse it.

        Raises:
            Denied: it is not pending, it is the person's own, another policy became active, a key was removed, or this
                person has no say.
        """
        statement = PolicyStatement(
            proposal_id=proposal.row.proposal_id,
            policy=proposal.policy.hash,
            replaces=proposal.replaces.hash,
            widening=widening_digest(proposal.replaces, proposal.policy),
            verdict=verdict,
            said_at=self._engine.system.now().seconds,
            person=signatory.person,
        )
        word = self._signed(statement, signatory)
        return self._engine.ask(
            lambda active: AnswerProposal(
                policy_document=proposal.policy, active=active, word=word, proposer=proposal.row.person
            )
        )

    def _signed(self, statement: PolicyStatement, signatory: Signatory) -> SignedWord:
        """The word with its signature, which has to be that of the key that the authority knows as theirs."""
        row = self._engine.row(PersonRow, AUTHORITY_WIDE, statement.person)
        signature = statement.sign(signatory.key)
        known = PublicKey.from_bytes(row.public_key) if row is not None and row.state == PersonState.ACTIVE else None
        if known is None or not statement.is_signed_by(known, signature):
            raise Denied(
                deny(
                    Reason.BAD_SIGNATURE,
                    f"this is not the key of {statement.person}",
                    enough="leasehold person add " + statement.person,
                )
            )
        return SignedWord(
            statement=statement,
            signature=signature,
            public_key=known.to_bytes(),
            same_account=signatory.same_account,
        )
