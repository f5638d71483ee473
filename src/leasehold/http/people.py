"""People at the API's Desk: each request carries a JWT that the person's own key signed for exactly this request.

Called by the API. Nothing is kept between two requests: no session, no cookie. What a person may see and do there is
what they may in the console, by the same desk.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool
from starlette.types import Scope

from leasehold.authority import Authority
from leasehold.authority.desk import KeyHolder
from leasehold.authority.person_desk import PersonDesk
from leasehold.decide.lifecycles import PersonState
from leasehold.decide.once import UseOnce
from leasehold.decide.rows import AUTHORITY_WIDE, PersonRow
from leasehold.decide.voices import KeyVoice
from leasehold.errors import TokenError
from leasehold.http.callers import stranger
from leasehold.token.keys import PublicKey
from leasehold.token.person_call import SignedCall, body_digest

__all__ = ["People", "Signed"]

_WORDS = "send a JWT that your own key signed for exactly this request (leasehold-person+jwt; docs/api.md)"


@dataclass(frozen=True, kw_only=True)
class Signed:
    """A person whose signature is good for this request, its body not yet compared."""

    signed: SignedCall
    key: PublicKey


class People:
    """Who the people are that call. Threads may share it."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority

    async def authenticate(self, token: str, scope: Scope) -> Signed:
        """The person whose key signed a token for this request.

        Raises:
            Denied: it is no such token.
            StoreError: the database cannot be asked.
        """
        try:
            signed = SignedCall.parse(token)
        except TokenError:
            raise stranger(_WORDS) from None
        return await run_in_threadpool(self._verify, signed, scope["method"], _target(scope))

    async def desk(self, signed: Signed, body: bytes) -> PersonDesk:
        """Their desk, once the body has come. The token counts no second time.

        Raises:
            Denied: it was made for another body, or used before.
            StoreError: the database cannot be asked.
        """
        call = signed.signed.call
        if not hmac.compare_digest(call.body, body_digest(body)):
            raise stranger(_WORDS)
        await run_in_threadpool(self._use, signed)
        holder = KeyHolder(person=call.person, voice=KeyVoice(person=call.person, public_key=signed.key.to_bytes()))
        return self._authority.person_desk(holder)

    def _verify(self, signed: SignedCall, method: str, target: str) -> Signed:
        engine = self._authority.engine
        row = engine.row(PersonRow, AUTHORITY_WIDE, signed.call.person)
        if row is None or row.state != PersonState.ACTIVE or not row.public_key:
            raise stranger(_WORDS)
        key = PublicKey.from_bytes(row.public_key)
        if not signed.is_signed_by(key):
            raise stranger(_WORDS)
        error = signed.call.refuse(
            authority=engine.identity.issuer, method=method, target=target, now=engine.system.now()
        )
        if error is not None:
            raise stranger(f"{error}; {_WORDS}")
        return Signed(signed=signed, key=key)

    def _use(self, signed: Signed) -> None:
        call = signed.signed.call
        once = UseOnce(kind="person", value=f"{call.person}\n{call.jti}", at=call.issued_at)
        self._authority.engine.ask(lambda _: once)


def _target(scope: Scope) -> str:
    """Path and query as they were sent."""
    path: bytes = scope.get("raw_path") or scope["path"].encode("utf-8", "surrogatepass")
    query: bytes = scope.get("query_string", b"")
    return (path + (b"?" + query if query else b"")).decode("latin-1")
