"""Step 0 of admit, before the step: is what was presented authentic, of this type, and for this door? For doors.

What is not, or is of a lease that this ledger never had, reaches no step; it is counted. Whether the lease is in time
and alive is not asked here: that the step decides, on the facts of its own batch.
"""

from __future__ import annotations

from typing import NamedTuple

from leasehold.authority.engine import Engine, refusal_error
from leasehold.authority.forgeries import ForgeryCounter
from leasehold.authority.opening import read_opening
from leasehold.decide.chain import Chain
from leasehold.errors import Denied, InvalidError, NotFoundError, TokenError
from leasehold.model.call import HolderProof
from leasehold.model.decision import Reason, deny
from leasehold.model.instant import Instant
from leasehold.token.codes import TokenCode
from leasehold.token.dpop import Proof, Proven, check_proof
from leasehold.token.glass import GLASS_PREFIXES, GlassToken, VouchedGlass
from leasehold.token.verify import VerifiedToken

__all__ = ["Authenticator", "Presented"]

_REASONS = {
    TokenCode.AUDIENCE: Reason.WRONG_TOOL,
    TokenCode.ENVIRONMENT: Reason.WRONG_ENVIRONMENT,
}

_SIGNATURE_CHARACTERS = 86
"""Of an Ed25519 signature in base64url, with which a token ends."""


class Presented(NamedTuple):
    """What an authentic token stands for, and what its presenter proved to hold; None where it came with no proof."""

    chain: Chain
    proven: Proven | None


class Authenticator:
    """Takes what is presented at one tool in one environment. Threads may share it."""

    def __init__(self, engine: Engine, tool: str, environment: str, forgeries: ForgeryCounter) -> None:
        self._engine = engine
        self._tool = tool
        self._environment = environment
        self._forgeries = forgeries

    def authenticate(self, token: str, proof: HolderProof | None) -> Presented:
        """The documents of the lease that a token is of. A bound token demands the proof that came with it.

        Raises:
            Denied: it is not authentic, not for this door, or of no lease in this ledger.
        """
        try:
            proven = self._proven(token, proof)
            chain = self._chain(token, proven.holder if proven is not None else None)
        except TokenError as error:
            raise self._turned_away(error) from None
        except NotFoundError as error:
            self._count()
            raise refusal_error(deny(Reason.NOT_FOUND, str(error), check="the lease is in this ledger")) from None
        self._engine.tokens_seen.put(_mark(token), True)
        return Presented(chain, proven)

    def read_opening(self, text: str) -> GlassToken | VouchedGlass:
        """The break-glass that was opened with this text.

        Raises:
            Denied: none was.
        """
        try:
            return read_opening(self._engine, text)
        except TokenError as error:
            raise self._turned_away(error) from None

    def is_seen(self, token: str) -> bool:
        """Whether a token that ends like this was authentic before. A guess that decides nothing."""
        return self._engine.tokens_seen.get(_mark(token)) is not None

    def _proven(self, token: str, given: HolderProof | None) -> Proven | None:
        """What the presenter proved to hold, None where nothing came with the token."""
        if given is None:
            return None
        proof = Proof(text=given.jwt, method=given.method, url=given.url, token=token)
        try:
            return check_proof(proof, now=self._engine.system.now())
        except InvalidError as error:
            raise TokenError(TokenCode.HOLDER, str(error)) from None

    def _chain(self, token: str, holder: str | None) -> Chain:
        """What the token stands for. A break-glass that is really one goes on to the step, which refuses and alarms."""
        if token.startswith(GLASS_PREFIXES):
            opening = read_opening(self._engine, token).opening
            return self._engine.chain(opening.tenant, opening.lease_id)
        verified = self._verified(token, holder)
        if holder is not None and verified.cnf_jkt is None:
            raise TokenError(TokenCode.HOLDER, "a proof came with a token that is bound to no key")
        return self._engine.chain(verified.tenant, verified.lease_id)

    def _verified(self, token: str, holder: str | None) -> VerifiedToken:
        """Where this clock reads earlier than the token's issue, the recorded time counts, as it does in the step."""
        now = self._engine.system.now()
        try:
            return self._verified_at(now, token, holder)
        except TokenError as error:
            recorded = Instant(self._engine.store.queries.control().last_time_ms)
            if error.code != TokenCode.NOT_YET or recorded <= now:
                raise
            return self._verified_at(recorded, token, holder)

    def _verified_at(self, now: Instant, token: str, holder: str | None) -> VerifiedToken:
        return self._engine.lease_keys.authenticate(
            token, audience=self._tool, environment=self._environment, now=now, holder=holder
        )

    def _turned_away(self, error: TokenError) -> Denied:
        self._count()
        reason = _REASONS.get(TokenCode(error.code), Reason.BAD_TOKEN)
        return refusal_error(deny(reason, str(error), check=f"token: {error.code}"))

    def _count(self) -> None:
        self._forgeries.add(self._tool, self._environment, self._engine.system.now().seconds // 60)


def _mark(token: str) -> tuple[str]:
    return (token[-_SIGNATURE_CHARACTERS:],)
