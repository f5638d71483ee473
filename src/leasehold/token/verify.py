"""Is this text an authentic lease for this door, now? Pure: keys and time are arguments. Called by guards and gateways.

It answers step 0 of admit and nothing more. What the lease allows, and whether it still lives, is judged in the step
by the authority; a verified token alone opens nothing.
"""

from __future__ import annotations

import msgspec

from leasehold.errors import InvalidError, TokenError
from leasehold.model.grant import Grant
from leasehold.model.ids import LeaseId, RequestId, RunId
from leasehold.model.instant import Instant
from leasehold.model.lease import HARD_MAX_TTL_SECONDS
from leasehold.model.text import visible
from leasehold.token import base64url
from leasehold.token.cache import VerifiedCache
from leasehold.token.codec import (
    MAX_TOKEN_CHARACTERS,
    Claims,
    claims_to_budget,
    claims_to_grants,
    parse_claims,
)
from leasehold.token.codes import TokenCode
from leasehold.token.header import read_header, write_header
from leasehold.token.keys import DocumentType, PublicKeys, Trust

__all__ = ["SIGNATURE_SIZE", "SKEW_SECONDS", "TokenCode", "UnverifiedToken", "VerifiedToken", "Verifier"]

SIGNATURE_SIZE = 64
_CODE_OF_TRUST = {Trust.RETIRED: TokenCode.KEY_RETIRED, Trust.UNKNOWN: TokenCode.UNKNOWN_KEY}

SKEW_SECONDS = 2
"""How far a verifier's clock may lag the authority's before a fresh token is `not_yet`. Expiry has no such grace."""


class UnverifiedToken(msgspec.Struct, frozen=True, kw_only=True):
    """The three parts of a token's text, decoded. Nothing in it may be believed."""

    header: str
    signing_input: bytes
    payload: bytes
    signature: bytes

    @classmethod
    def parse(cls, text: str) -> UnverifiedToken:
        """Return the parts of a token.

        Raises:
            TokenError: `size`, `shape` or `encoding`.
        """
        if len(text) > MAX_TOKEN_CHARACTERS:
            raise TokenError(TokenCode.SIZE, f"a token has at most {MAX_TOKEN_CHARACTERS} characters, not {len(text)}")
        parts = text.split(".")
        if len(parts) != 3 or not text.isascii():
            raise TokenError(TokenCode.SHAPE, "a token is three parts of ASCII text with dots between")
        header, payload, signature = parts
        try:
            decoded = base64url.decode(payload), base64url.decode(signature)
        except InvalidError as error:
            raise TokenError(TokenCode.ENCODING, f"this token is not readable: {error}") from None
        if len(decoded[1]) != SIGNATURE_SIZE:
            raise TokenError(TokenCode.ENCODING, f"a signature has {SIGNATURE_SIZE} bytes, not {len(decoded[1])}")
        signing_input = text[: len(header) + 1 + len(payload)].encode("ascii")
        return cls(header=header, signing_input=signing_input, payload=decoded[0], signature=decoded[1])


class VerifiedToken(msgspec.Struct, frozen=True, kw_only=True):
    """What the authority said, for this door. Only `Verifier.verify` makes one from text.

    Members are those of `Lease`, with this audience's grants only; times in Unix seconds, amounts in millionths. `kid`
    is the thumbprint of the key that signed; `cnf_jkt` of the key that the holder must prove, None for a bearer token.
    """

    issuer: str
    audience: str
    kid: str
    lease_id: LeaseId
    run_id: RunId
    attempt: int
    request_id: RequestId
    agent: str
    requested_by: str
    approved_by: tuple[str, ...]
    tenant: str
    environment: str
    route: str
    allow: dict[str, Grant]
    deny: tuple[str, ...]
    budget: dict[str, int]
    ends_on: tuple[str, ...]
    delegation_depth: int
    parents: tuple[LeaseId, ...]
    issued_at: int
    expires_at: int
    reason: str
    policy: str
    epoch: int
    receipt: bool
    cnf_jkt: str | None = None


class Verifier:
    """Verifies the lease tokens of one authority. Immutable but for the cache, which its maker owns.

    `issuer` is the authority's id. `keys` are its public lease keys; when they change, make a new verifier (the cache
    may move along, since every use asks the current keys again).

    Raises:
        InvalidError: the keys are for another type of document.
    """

    __slots__ = ("_cache", "_issuer", "_keys", "_kid_of_header")

    def __init__(self, issuer: str, keys: PublicKeys, cache: VerifiedCache[VerifiedToken] | None = None) -> None:
        if keys.document_type is not DocumentType.LEASE:
            raise InvalidError(f"leases are verified with keys for leases, not with those for a {keys.document_type}")
        self._issuer = issuer
        self._keys = keys
        self._cache = cache
        self._kid_of_header = {write_header(kid): kid for kid in keys.keys}

    def verify(
        self, token: str, *, audience: str, environment: str, now: Instant, holder: str | None = None
    ) -> VerifiedToken:
        """Return what an authentic token for this door says, while it is in time.

        Takes and raises what `authenticate` does.

        Raises:
            TokenError: also `expired`.
        """
        verified = self.authenticate(token, audience=audience, environment=environment, now=now, holder=holder)
        if now.reached(verified.expires_at):
            raise TokenError(TokenCode.EXPIRED, f"the lease ended at {verified.expires_at}; renew it")
        return verified

    def authenticate(
        self, token: str, *, audience: str, environment: str, now: Instant, holder: str | None = None
    ) -> VerifiedToken:
        """Return what an authentic token for this door says, whether or not its time is over.

        For the authority alone, whose step judges the time by the database's clock and answers repeats of calls that
        were done even after their lease ended (DESIGN §3, step 0).

        `audience` is this door's tool id, `environment` what it serves. `holder` is the thumbprint of the key that the
        presenter has just proven to hold (RFC 9449), which a bound token demands.

        Raises:
            TokenError: with one of `TokenCode`; the first check that failed.
        """
        verified = self._read(token)
        if verified.issuer != self._issuer:
            raise _refusal(TokenCode.ISSUER, "another authority issued it", verified.issuer)
        if verified.audience != audience:
            raise _refusal(TokenCode.AUDIENCE, f"this door is {audience!r}; the token is for", verified.audience)
        if verified.environment != environment:
            raise _refusal(TokenCode.ENVIRONMENT, f"this door serves {environment!r}; it is for", verified.environment)
        if verified.cnf_jkt is not None and verified.cnf_jkt != holder:
            raise TokenError(TokenCode.HOLDER, "this token is bound to a key; prove to hold it with every call")
        code = _CODE_OF_TRUST.get(self._keys.trust(verified.kid, now))
        if code is not None:
            raise _refusal(code, "renew the lease; this authority no longer trusts its key", verified.kid)
        if not now.reached(verified.issued_at - SKEW_SECONDS):
            raise TokenError(
                TokenCode.NOT_YET, "this token is issued in the future: this clock or the authority's is wrong"
            )
        return verified

    def inspect(self, token: str, *, now: Instant) -> VerifiedToken:
        """Return what an authentic token says, whatever door it is for, whoever holds it, whether or not it is in time.

        For the authority alone, which is asked about tokens by doors and clients; it opens no door.

        Raises:
            TokenError: as `authenticate`, but for what concerns the door.
        """
        said = self._read(token)
        return self.authenticate(
            token, audience=said.audience, environment=said.environment, now=now, holder=said.cnf_jkt
        )

    def _read(self, token: str) -> VerifiedToken:
        """What the token says if its signature and claims are good: all that time and place do not change."""
        if self._cache is None or len(token) > MAX_TOKEN_CHARACTERS or not token.isascii():
            return self._authenticate(token)
        key = self._cache.key(token)
        verified = self._cache.get(key)
        if verified is None:
            verified = self._authenticate(token)
            self._cache.put(key, verified)
        return verified

    def _authenticate(self, text: str) -> VerifiedToken:
        token = UnverifiedToken.parse(text)
        kid = self._kid_of_header.get(token.header)
        key = None if kid is None else self._keys.get(kid)
        if key is None:
            kid = read_header(token.header)
            raise _refusal(TokenCode.UNKNOWN_KEY, "no key of this authority has the id", kid)
        if not key.is_signature(token.signature, token.signing_input):
            raise TokenError(TokenCode.SIGNATURE, "the signature does not fit: the token was altered or forged")
        return _verified(parse_claims(token.payload), key.kid)


def _verified(claims: Claims, kid: str) -> VerifiedToken:
    ttl_seconds = claims.exp - claims.iat
    if not 0 < ttl_seconds <= HARD_MAX_TTL_SECONDS:
        raise TokenError(TokenCode.LIFETIME, f"a lease lives 1 to {HARD_MAX_TTL_SECONDS} s, not {ttl_seconds}")
    return VerifiedToken(
        issuer=claims.iss,
        audience=claims.aud,
        kid=kid,
        lease_id=LeaseId(claims.jti),
        run_id=RunId(claims.sub),
        attempt=claims.attempt,
        request_id=RequestId(claims.request_id),
        agent=claims.client_id,
        requested_by=claims.requested_by,
        approved_by=claims.approved_by,
        tenant=claims.tenant,
        environment=claims.environment,
        route=claims.route,
        allow=claims_to_grants(claims),
        deny=claims.deny,
        budget=claims_to_budget(claims),
        ends_on=claims.ends_on,
        delegation_depth=claims.delegation_depth,
        parents=tuple(map(LeaseId, claims.parents)),
        issued_at=claims.iat,
        expires_at=claims.exp,
        reason=claims.reason,
        policy=claims.policy,
        epoch=claims.epoch,
        receipt=claims.receipt,
        cnf_jkt=None if claims.cnf is msgspec.UNSET else claims.cnf.jkt,
    )


def _refusal(code: TokenCode, why: str, shown: str) -> TokenError:
    return TokenError(code, f"{why} {visible(shown[:60])!r}")
