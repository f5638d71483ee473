"""The door of a person who uses their own break-glass. It takes nothing else, and no other door takes that.

How does it know that a person is there? Each call carries, besides the opening that two people signed, the opener's
signature over exactly that call, made when it is made: the key in hand is the person, and no agent runtime has one.
"""

from __future__ import annotations

from collections.abc import Callable

from leasehold.authority.desk import Signatory
from leasehold.authority.door import EmbeddedDoor
from leasehold.authority.engine import Engine, refusal_error
from leasehold.authority.forgeries import ForgeryCounter
from leasehold.authority.waiting import Waiters
from leasehold.decide.chain import Chain
from leasehold.decide.facts import Step
from leasehold.decide.glass_use import GlassUse
from leasehold.decide.rows import AUTHORITY_WIDE, PersonRow
from leasehold.model.call import Admission, Call
from leasehold.model.decision import Reason, deny
from leasehold.policy.document import Policy
from leasehold.token.digest import sha256_digest
from leasehold.token.glass import GlassToken, UseStatement, VouchedGlass
from leasehold.token.keys import PublicKey

__all__ = ["HumanDoor", "person_key"]


class HumanDoor(EmbeddedDoor):
    """One tool in one environment, for one person with their key. What it admits uses no other tools."""

    def __init__(
        self,
        engine: Engine,
        tool: str,
        environment: str,
        forgeries: ForgeryCounter,
        waiters: Waiters,
        *,
        person: Signatory,
    ) -> None:
        super().__init__(engine, tool, environment, forgeries, waiters)
        self._person = person

    def _admit(self, token: str, call: Call) -> tuple[Callable[[Policy], Step[Admission]], Chain]:
        glass = self._authenticator.read_opening(token)
        opening = glass.opening
        if opening.environment != self.environment:
            refusal = deny(Reason.WRONG_ENVIRONMENT, f"{opening.glass_id} is for {opening.environment}")
            raise refusal_error(refusal)
        chain = self._engine.chain(opening.tenant, opening.lease_id)
        asked = self._asked(chain, call)
        return asked._replace(glass=self._use(glass, call)).step, chain

    def _use(self, glass: GlassToken | VouchedGlass, call: Call) -> GlassUse:
        """The opener's word for this call. Whether the keys are still theirs the step judges."""
        opening, key = glass.opening, self._person.key
        if self._person.person != opening.opener:
            refusal = deny(Reason.NOT_ENTITLED, f"{opening.glass_id} is {opening.opener}'s alone", check="opener")
            raise refusal_error(refusal)
        statement = UseStatement(
            glass_id=opening.glass_id,
            admission_id=call.admission_id,
            action=call.action,
            arguments=sha256_digest(call.arguments),
        )
        signature = statement.sign(key)
        opener = person_key(self._engine, opening.opener)
        is_theirs = opener is not None and statement.is_signed_by(opener, signature)
        own_key = opener.to_bytes() if opener is not None and is_theirs else b""
        if isinstance(glass, VouchedGlass):
            proofs = (glass.opener.proof, glass.second.proof)
            return GlassUse(opening=opening, opener_key=own_key, second_key=b"", signature=signature, proofs=proofs)
        second = person_key(self._engine, opening.second)
        is_signed = opener is not None and second is not None and glass.is_signed_by(opener, second)
        return GlassUse(
            opening=opening,
            opener_key=own_key if is_signed else b"",
            second_key=second.to_bytes() if second is not None and is_signed else b"?",
            signature=signature,
        )

    def _admitted(self, admission: Admission, chain: Chain) -> Admission:  # noqa: ARG002 - as the door it is one of
        """The admission alone: a person's capability is not handed on to other tools."""
        self._calls.keep(admission)
        return admission


def person_key(engine: Engine, person: str) -> PublicKey | None:
    """The public half of a person's key, if they have one."""
    row = engine.row(PersonRow, AUTHORITY_WIDE, person)
    return None if row is None or not row.public_key else PublicKey.from_bytes(row.public_key)
