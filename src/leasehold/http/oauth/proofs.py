"""The DPoP header of a request (RFC 9449): checked, counted once, answered with a nonce where it has none.

Called by the token endpoint. A proof needs this server's nonce, so that none is made in advance and kept for later.
"""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from leasehold.authority import Authority
from leasehold.decide.once import UseOnce
from leasehold.errors import Denied, InvalidError
from leasehold.http.oauth.answers import OAuthError
from leasehold.token.digest import derive_purpose_key
from leasehold.token.dpop import Nonces, Proof, Proven, check_proof

__all__ = ["DPOP_NONCE", "Proofs"]

DPOP_NONCE = "DPoP-Nonce"


class Proofs:
    """Takes proofs for requests to this server. Threads may share it."""

    def __init__(self, authority: Authority) -> None:
        self._engine = authority.engine
        self._nonces = Nonces(derive_purpose_key(self._engine.identity.digest_key, "dpop nonce"))

    async def holder(self, request: Request, url: str) -> str | None:
        """The thumbprint of the key that the request proves to hold, None where it brings no proof.

        Raises:
            OAuthError: what it brings proves nothing, was used before, or has no nonce of ours.
        """
        headers = request.headers.getlist("dpop")
        if not headers:
            return None
        if len(headers) > 1:
            raise self._refused("a request brings one proof")
        try:
            proof = Proof(text=headers[0], method=request.method, url=url)
            proven = check_proof(proof, now=self._engine.system.now())
        except InvalidError as error:
            raise self._refused(str(error)) from None
        if not self._nonces.is_valid(proven.nonce, self._engine.system.now()):
            raise OAuthError("use_dpop_nonce", "make the proof with the nonce of this answer", headers=self.nonce())
        await run_in_threadpool(self._use, proven)
        return proven.holder

    def nonce(self) -> dict[str, str]:
        """The header with the nonce of this moment."""
        return {DPOP_NONCE: self._nonces.make(self._engine.system.now())}

    def _use(self, proven: Proven) -> None:
        once = UseOnce(kind="dpop", value=proven.identity, at=proven.issued_at)
        try:
            self._engine.ask(lambda _: once)
        except Denied as denied:
            raise self._refused(denied.decision.message) from None

    def _refused(self, words: str) -> OAuthError:
        return OAuthError("invalid_dpop_proof", words, headers=self.nonce())
