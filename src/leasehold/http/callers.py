"""Which client of the policy is calling: by an API key, or by a token of an issuer that the policy trusts.

Asked by the API before anything else, and by the token endpoint. What is found here is judged again in the step, where
a key that was removed or a rule that was narrowed in the meantime counts for nothing.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from enum import StrEnum
from typing import Protocol

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection

from leasehold.authority import Authority
from leasehold.authority.clients import KEY_PREFIX, PresentedKey
from leasehold.authority.engine import Kept
from leasehold.decide.clients import ClientVoice
from leasehold.errors import Denied, InvalidError, TokenError
from leasehold.http.provider_flow import person_named
from leasehold.model.canonical import Json
from leasehold.model.decision import Reason, deny
from leasehold.policy.client_rule import ClientRule
from leasehold.policy.identities import client_of

__all__ = ["Caller", "CallerProof", "Callers", "TokenClaims", "TokenVerifier", "bearer", "stranger"]

MAX_TOKEN_CHARACTERS = 16_384
_KEPT_KEYS = 10_000


class TokenClaims(Protocol):
    """What a verified token of an issuer says."""

    @property
    def issuer(self) -> str: ...

    @property
    def claims(self) -> Mapping[str, Json]: ...

    @property
    def expires_at(self) -> int: ...


class TokenVerifier(Protocol):
    """Verifies tokens of the issuers that the policy trusts."""

    async def verify(self, token: str) -> TokenClaims:
        """What an authentic token says.

        Raises:
            TokenError: it is not authentic, not for us, or of no issuer that is trusted.
            UnavailableError: the issuer's keys cannot be read.
        """
        ...


class CallerProof(StrEnum):
    """By what a client said who it is."""

    API_KEY = "api_key"
    WORKLOAD = "workload"


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """A client that has said who it is. `voice` is for steps, `rule` what the policy let it do a moment ago.

    `expires_at` is when its token is over, in Unix seconds; None of a key, whose row says it.
    """

    client: str
    proof: CallerProof
    rule: ClientRule
    voice: ClientVoice
    expires_at: int | None = None


def stranger(words: str = "send the API key of a client, or a token of an issuer that the policy trusts") -> Denied:
    """The refusal of who is nobody here: the same words for every way to be nobody."""
    return Denied(deny(Reason.UNKNOWN_CLIENT, words, check="Authorization: Bearer ..."))


def bearer(request: HTTPConnection) -> str:
    """The one bearer credential of a request (RFC 6750).

    Raises:
        Denied: there is none, or more than one, or it is of another scheme.
    """
    values = request.headers.getlist("authorization")
    scheme, _, credential = values[0].partition(" ") if len(values) == 1 else ("", "", "")
    if scheme.lower() != "bearer" or not 1 <= len(credential) <= MAX_TOKEN_CHARACTERS or not credential.isascii():
        raise stranger()
    return credential


class Callers:
    """Who calls. Belongs to one server; threads may share it."""

    def __init__(self, authority: Authority, tokens: TokenVerifier | None = None) -> None:
        self._authority = authority
        self._tokens = tokens
        self._known: Kept[tuple[str, bytes]] = Kept(_KEPT_KEYS)

    async def authenticate(self, request: HTTPConnection) -> Caller:
        """The client whose credential stands in `Authorization`.

        Raises:
            Denied: it is nobody's (`unknown_client`).
            StoreError: the database cannot be asked.
        """
        credential = bearer(request)
        if not credential.startswith(KEY_PREFIX):
            return await self.of_token(credential)
        presented = PresentedKey.parse(credential)
        if presented is None:
            raise stranger()
        if self._known.get((presented.key_id,)) is None:
            await run_in_threadpool(self._learn, presented)
        return self._of_presented(presented)

    def of_key(self, text: str) -> Caller:
        """The client of an API key, wherever it stood.

        Raises:
            Denied, StoreError: as `authenticate`.
        """
        presented = PresentedKey.parse(text)
        if presented is None:
            raise stranger()
        if self._known.get((presented.key_id,)) is None:
            self._learn(presented)
        return self._of_presented(presented)

    async def of_token(self, token: str) -> Caller:
        """The client whose identity a token of a trusted issuer has.

        Raises:
            Denied: it is not authentic, or of no client, or of more than one.
        """
        if self._tokens is None:
            raise stranger()
        try:
            verified = await self._tokens.verify(token)
        except TokenError:
            raise stranger() from None
        found = client_of(self._authority.engine.current_policy(), verified.issuer, verified.claims)
        if found is None:
            raise stranger()
        voice = ClientVoice(client=found.name, identity=found.identity)
        return Caller(
            client=found.name,
            proof=CallerProof.WORKLOAD,
            rule=found,
            voice=voice,
            expires_at=verified.expires_at,
        )

    async def of_subject(self, token: str) -> str:
        """The person whom a token proves, who asked for what its bearer is about to start.

        It is of an issuer that the policy trusts and lets name people: one at which they sign in.

        Raises:
            InvalidError: it is not authentic, or names nobody.
            StoreError: the database, or the issuer, cannot be asked.
        """
        no_proof = InvalidError("this subject token proves nobody here; its issuer has to be trusted, and name people")
        if self._tokens is None:
            raise no_proof
        try:
            verified = await self._tokens.verify(token)
        except TokenError:
            raise no_proof from None
        rules = self._authority.engine.current_policy().sign_in.values()
        names = {person_named(verified.claims, rule) for rule in rules if rule.issuer == verified.issuer}
        if len(names) != 1:
            raise no_proof
        return names.pop()

    def _learn(self, presented: PresentedKey) -> None:
        """Keep whose key it is and the digest of its secret, which never change; whether it counts is judged anew."""
        row = self._authority.clients.find_key(presented.key_id)
        if row is not None:
            self._known.put((presented.key_id,), (row.client, row.digest))

    def _of_presented(self, presented: PresentedKey) -> Caller:
        client, digest = self._known.get((presented.key_id,)) or ("", bytes(32))
        if not hmac.compare_digest(digest, presented.digest) or not client:
            raise stranger()
        engine = self._authority.engine
        rule = engine.current_policy().clients.get(client) or engine.active_policy().clients.get(client)
        if rule is None:
            raise stranger()
        voice = ClientVoice(client=client, key_id=presented.key_id, digest=presented.digest)
        return Caller(client=client, proof=CallerProof.API_KEY, rule=rule, voice=voice)
