"""Whether a person's word is proven, where more hangs on it than on a session that somebody left open.

Asked by the steps by which a policy widens and break-glass is opened. A signature, of a key or a passkey, was verified
before the step; here it is judged whether what vouched is still that person's, and was shown recently enough.
"""

from __future__ import annotations

import msgspec

from leasehold.decide.entries import proof_detail
from leasehold.decide.facts import Facts, Need
from leasehold.decide.rows import AUTHORITY_WIDE, PersonRow
from leasehold.decide.voices import (
    KeyVoice,
    Voice,
    counted,
    is_answer_vouched,
    is_of_session,
    refuse_count,
    refuse_voice,
    sign_in_of,
    voice_needs,
)
from leasehold.model.decision import Decision, Reason, deny
from leasehold.model.instant import Instant
from leasehold.model.proof import PasskeyProof, Proof, SessionProof, SignIn, vouched_by
from leasehold.policy.document import Policy

__all__ = ["RECENT_SECONDS", "Word", "refuse_weak"]

RECENT_SECONDS = 300
"""How long after signing in a session alone is proof enough, where the policy says nothing of it."""


class Word(msgspec.Struct, frozen=True, kw_only=True):
    """Who says something, through what, and what vouches for it. `same_account`: at the authority's own account."""

    voice: Voice
    proof: Proof
    same_account: bool = False

    @property
    def person(self) -> str:
        """Whose word it is."""
        return self.voice.person

    @property
    def vouched_by(self) -> str:
        """The thumbprint of their key, or the id of their sign-in."""
        return vouched_by(self.proof)

    def needs(self) -> list[Need]:
        """The facts that the other methods ask for."""
        return voice_needs(self.voice)

    def refuse(self, facts: Facts, policy: Policy, now: Instant) -> Decision | None:
        """Why this is not, by the live policy, the word of the person whom it names."""
        if refusal := refuse_voice(facts, self.voice, now):
            return refusal
        person = facts.get(PersonRow, AUTHORITY_WIDE, self.person)
        if not is_answer_vouched(policy, person, self.proof) or not is_of_session(facts, self.voice, self.proof):
            return deny(Reason.BAD_SIGNATURE, f"what vouches for this is not of {self.person}")
        used = self._passkey(facts)
        return refuse_count(used[1], used[2].count) if used is not None else None

    def rows(self, facts: Facts) -> tuple[PersonRow, ...]:
        """The person's row, where a passkey of theirs counted on."""
        used = self._passkey(facts)
        return (counted(used[0], used[1], used[2].count),) if used is not None and used[2].count else ()

    def detail(self, facts: Facts) -> dict[str, str | int | tuple[str, ...]]:
        """What an entry keeps of it, with what its signature is verified by."""
        used = self._passkey(facts)
        key = self.voice.public_key.hex() if isinstance(self.voice, KeyVoice) else ""
        return {
            **proof_detail(self.proof, used[1].public_key if used is not None else key),
            **({"same_account": "yes"} if self.same_account else {}),
        }

    def _passkey(self, facts: Facts) -> tuple[PersonRow, SignIn, PasskeyProof] | None:
        """The person, the passkey of theirs that signed, and what it signed; None where something else vouches."""
        person = facts.get(PersonRow, AUTHORITY_WIDE, self.person)
        known = sign_in_of(person, self.proof.sign_in) if isinstance(self.proof, PasskeyProof) else None
        if person is None or known is None or not isinstance(self.proof, PasskeyProof):
            return None
        return person, known, self.proof


def refuse_weak(policy: Policy, proof: Proof, now: Instant) -> Decision | None:
    """Why a word would have to be proven better, by the live policy: as for an approval of what is destructive, but
    that some recent proof is always asked for. A signature over exactly what is said is the best there is."""
    if not isinstance(proof, SessionProof):
        return None
    if policy.defaults.destructive_by_passkey:
        return deny(
            Reason.PASSKEY_NEEDED,
            "this is said with a passkey or a key, and a session is neither",
            rule="defaults.destructive_by_passkey",
            check="proof != session",
            enough="the same, signed with a passkey in the console",
        )
    longest = policy.defaults.destructive_sign_in_seconds
    seconds = RECENT_SECONDS if longest is None else longest
    if now.seconds - proof.authenticated_at <= seconds:
        return None
    return deny(
        Reason.SIGN_IN_TOO_OLD,
        f"this takes a sign-in of the last {seconds} s",
        rule="defaults.destructive_sign_in_within",
        check=f"now - authenticated_at <= {seconds}",
        enough="sign in again, then say it",
    )
