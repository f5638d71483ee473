"""What a lease token is worth at this moment, for whoever asks about it instead of opening a door with it.

Called by introspection, revocation and token exchange. The answer is true of one moment and starts nothing; it is made
of the facts that admit reads, so that a lease revoked a moment ago is worth nothing here either.
"""

from __future__ import annotations

import msgspec

from leasehold.authority.engine import Engine
from leasehold.authority.looking import look_at_chain, look_at_grants
from leasehold.decide.chain import Chain
from leasehold.errors import NotFoundError, TokenError
from leasehold.model.decision import Decision, Reason, deny
from leasehold.model.grant import Grants
from leasehold.policy.evaluate import check_grants
from leasehold.token.verify import VerifiedToken

__all__ = ["LiveToken", "Tokens"]


class LiveToken(msgspec.Struct, frozen=True, kw_only=True):
    """An authentic token of a lease in this ledger, and what is alive of it.

    `grants` are those of its audience that neither a stop nor the live policy takes away; `refusal` says why there are
    none. `left` is what its request and all above it may still spend, in millionths by unit.
    """

    verified: VerifiedToken
    chain: Chain
    grants: Grants
    refusal: Decision | None
    left: dict[str, int]

    @property
    def is_active(self) -> bool:
        """Whether anything may be done with it now."""
        return self.refusal is None

    @property
    def actors(self) -> tuple[str, ...]:
        """Who acts, and on whose behalf, the outermost first: the agent that holds it, then each that delegated."""
        return tuple(reversed(self.chain.agents))


class Tokens:
    """Reads tokens of this authority, whatever door they are for. Threads may share it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def read(self, text: str) -> LiveToken | None:
        """What a token is worth now; None if it is not authentic or of no lease that this ledger knows."""
        try:
            verified = self._engine.lease_keys.inspect(text, now=self._engine.system.now())
            chain = self._engine.chain(verified.tenant, verified.lease_id)
        except (TokenError, NotFoundError):
            return None
        grants, refusal = self._alive(verified, chain)
        return LiveToken(verified=verified, chain=chain, grants=grants, refusal=refusal, left=self._left(chain))

    def _alive(self, verified: VerifiedToken, chain: Chain) -> tuple[Grants, Decision | None]:
        if (refusal := look_at_chain(self._engine, chain)) is not None:
            return {}, refusal
        policy, route = self._engine.active_policy(), chain[-1].run.route
        above = tuple(link.lease.allow for link in chain[:-1])
        alive = look_at_grants(self._engine, chain, tuple(verified.allow))
        grants = {
            action: grant
            for action, grant in verified.allow.items()
            if action in alive and check_grants(policy, route, {action: grant}, above).is_allowed
        }
        if not grants:
            return {}, deny(Reason.POLICY_DENIES, f"nothing that {verified.lease_id} grants may be done any more")
        return grants, None

    def _left(self, chain: Chain) -> dict[str, int]:
        """What is left on each account that a call would draw on; the smallest counts."""
        tenant, left = chain[-1].run.tenant, dict[str, int]()
        for account in chain.accounts:
            for row in self._engine.store.queries.accounts(tenant, account):
                if row.unit in chain[-1].lease.budget:
                    free = max(0, row.limit - row.settled - row.reserved - row.unknown)
                    left[row.unit] = min(free, left.get(row.unit, free))
        return left
