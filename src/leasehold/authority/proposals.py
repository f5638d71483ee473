"""Policies that wait for a second person: propose one, look at it, say yes or no. Used by command line and console.

Part of the embedded authority like the desk: a word is signed with the person's own key or passkey, over exactly what
was shown, or says in which session it was given.
"""

from __future__ import annotations

import msgspec

from leasehold.authority.desk import Signatory
from leasehold.authority.engine import Engine
from leasehold.authority.sign_ins import SignedIn, passkey_proof
from leasehold.decide.lifecycles import PersonState
from leasehold.decide.proposals import AnswerProposal, PolicyWord, ProposePolicy
from leasehold.decide.proving import Word
from leasehold.decide.rows import AUTHORITY_WIDE, PersonRow, ProposalRow
from leasehold.errors import Denied, NotFoundError
from leasehold.model.decision import Reason, deny
from leasehold.model.proof import KeyProof, Proof
from leasehold.model.proposal import PolicyVerdict, ProposalState
from leasehold.policy.document import Policy
from leasehold.policy.widening import widening_digest
from leasehold.token.keys import PublicKey
from leasehold.token.passkey import Assertion, policy_challenge
from leasehold.token.proposal import PolicyStatement

__all__ = ["Proposal", "Proposals"]


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """A proposal as it stands: its row, the policy that it would make active, and the one that it was compared with."""

    row: ProposalRow
    policy: Policy
    replaces: Policy

    @property
    def widening(self) -> str:
        """The digest of all that widens, and of everything that becomes reachable."""
        return widening_digest(self.replaces, self.policy)

    def statement(self, verdict: PolicyVerdict, person: str, said_at: int) -> PolicyStatement:
        """What a person says who answers it."""
        return PolicyStatement(
            proposal_id=self.row.proposal_id,
            policy=self.policy.hash,
            replaces=self.replaces.hash,
            widening=self.widening,
            verdict=verdict,
            said_at=said_at,
            person=person,
        )


class Proposals:
    """Proposals of one authority. Threads may share it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def all(self) -> tuple[ProposalRow, ...]:
        """Every policy that was proposed, with its newest proposal, the newest first."""
        return self._engine.store.queries.proposals()

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
        """Confirm a proposal, which makes its policy the active one, or refuse it; signed with the person's key.

        Raises:
            Denied: it is not pending, it is the person's own, another policy became active, a key was removed, or this
                person has no say.
        """
        statement = proposal.statement(verdict, signatory.person, self._engine.system.now().seconds)
        return self._record(proposal, self._signed(statement, signatory))

    def answer_signed_in(
        self,
        proposal: Proposal,
        verdict: PolicyVerdict,
        signed_in: SignedIn,
        *,
        assertion: Assertion | None = None,
        origin: str = "",
    ) -> ProposalState:
        """The same for a person who is signed in. `assertion` is what a passkey of theirs signed on a page of `origin`;
        without it the session vouches.

        Raises:
            Denied: as for `answer`; or the session is over, or a confirmation takes a newer one, or a passkey.
        """
        statement = proposal.statement(verdict, signed_in.person, self._engine.system.now().seconds)
        proof: Proof = signed_in.proof
        if assertion is not None:
            row = self._engine.row(PersonRow, AUTHORITY_WIDE, signed_in.person)
            proof = passkey_proof(row, assertion, policy_challenge(statement), origin)
        word = Word(voice=signed_in.voice, proof=proof)
        return self._record(proposal, PolicyWord(statement=statement, word=word))

    def _record(self, proposal: Proposal, word: PolicyWord) -> ProposalState:
        return self._engine.ask(
            lambda active: AnswerProposal(
                policy_document=proposal.policy, active=active, word=word, proposer=proposal.row.person
            )
        )

    def _signed(self, statement: PolicyStatement, signatory: Signatory) -> PolicyWord:
        """The word with its signature, which has to be that of the key that the authority knows as theirs."""
        row = self._engine.row(PersonRow, AUTHORITY_WIDE, statement.person)
        signature = statement.sign(signatory.key)
        known = (
            PublicKey.from_bytes(row.public_key)
            if row is not None and row.state == PersonState.ACTIVE and row.public_key
            else None
        )
        if known is None or not statement.is_signed_by(known, signature):
            raise Denied(
                deny(
                    Reason.BAD_SIGNATURE,
                    f"this is not the key of {statement.person}",
                    enough="leasehold person add " + statement.person,
                )
            )
        proof = KeyProof(key_id=known.kid, signature=signature)
        word = Word(voice=signatory.voice, proof=proof, same_account=signatory.same_account)
        return PolicyWord(statement=statement, word=word)
