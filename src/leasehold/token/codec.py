"""A lease as JWT claims and back (RFC 9068, `authorization_details` of RFC 9396). Called by the authority and verify.

The payload is canonical JSON (RFC 8785). The reader decodes it into closed types, writes it again and compares: what
survives has no duplicate member, no foreign spelling and no float, because the writer can produce none.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from leasehold.errors import InvalidError, TokenError
from leasehold.model import canonical
from leasehold.model.budget import amounts_from_json, amounts_to_json
from leasehold.model.grant import Grant, parse_constraint, split_action
from leasehold.model.ids import check_id
from leasehold.model.instant import Instant
from leasehold.model.lease import HARD_MAX_TTL_SECONDS, Lease, Token
from leasehold.token import base64url
from leasehold.token.codes import TokenCode
from leasehold.token.header import write_header
from leasehold.token.keys import DocumentType, KeyRing

__all__ = [
    "GRANT_TYPE",
    "MAX_TOKEN_CHARACTERS",
    "Claims",
    "claims_to_budget",
    "claims_to_grants",
    "lease_to_claims",
    "parse_claims",
    "sign_lease",
    "token_characters",
]

GRANT_TYPE = "urn:leasehold:grant:1"
"""The `type` of each authorization detail. `actions` names one action in full; `constraints` bounds its attributes."""

MAX_TOKEN_CHARACTERS = 8192

_Count = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
_Ordinal = Annotated[int, msgspec.Meta(ge=1, le=2**53 - 1)]


class _Detail(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One grant as an RFC 9396 authorization detail."""

    type: Literal["urn:leasehold:grant:1"]
    actions: tuple[str]
    constraints: dict[str, list[str | int | bool] | dict[str, str | int]]


class _Confirmation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The thumbprint of the key that the presenter must prove to hold (RFC 7800, RFC 9449)."""

    jkt: Annotated[str, msgspec.Meta(pattern="^[A-Za-z0-9_-]{43}$", max_length=43)]


class Claims(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The closed claims of one lease for one audience, typed but not yet judged. Times are Unix seconds."""

    iss: str
    sub: str
    aud: str
    client_id: str
    jti: str
    iat: _Count
    nbf: _Count
    exp: _Count
    authorization_details: tuple[_Detail, ...]
    tenant: str
    environment: str
    attempt: _Ordinal
    request_id: str
    requested_by: str
    approved_by: tuple[str, ...]
    route: str
    deny: tuple[str, ...]
    budget: dict[str, str | int]
    ends_on: tuple[str, ...]
    delegation_depth: _Count
    parents: tuple[str, ...]
    reason: str
    policy: str
    epoch: _Ordinal
    receipt: bool
    cnf: _Confirmation | msgspec.UnsetType = msgspec.UNSET


_DECODER = msgspec.json.Decoder(Claims)
_ENCODER = msgspec.json.Encoder(order="sorted")
_ESCAPED_NUL = b"\\u0000"


def lease_to_claims(lease: Lease, audience: str, issuer: str, holder: str | None = None) -> dict[str, object]:
    """Return the claims of a lease's token for one tool: that tool's grants, and everything else of the lease.

    `issuer` is the authority's id, `holder` the RFC 7638 thumbprint of the key the token is bound to, if any.

    Raises:
        InvalidError: the lease grants nothing at that tool.
    """
    grants = lease.grants_for(audience)
    if not grants:
        raise InvalidError(f"{lease.lease_id} grants nothing at {audience!r}; it grants {', '.join(lease.audiences)}")
    claims: dict[str, object] = {
        "iss": issuer,
        "sub": lease.run_id,
        "aud": audience,
        "client_id": lease.agent,
        "jti": lease.lease_id,
        "iat": lease.issued_at,
        "nbf": lease.issued_at,
        "exp": lease.expires_at,
        "authorization_details": [_detail(grant) for _, grant in sorted(grants.items())],
        "budget": amounts_to_json(lease.budget),
        "receipt": lease.receipt,
    }
    for name in (
        "tenant",
        "environment",
        "attempt",
        "request_id",
        "requested_by",
        "route",
        "reason",
        "policy",
        "epoch",
    ):
        claims[name] = getattr(lease, name)
    for name in ("approved_by", "deny", "ends_on", "parents"):
        claims[name] = list(getattr(lease, name))
    claims["delegation_depth"] = lease.delegation_depth
    return claims if holder is None else claims | {"cnf": {"jkt": holder}}


def _detail(grant: Grant) -> dict[str, object]:
    constraints = {name: constraint.to_json() for name, constraint in grant.attributes.items()}
    return {"type": GRANT_TYPE, "actions": [grant.action], "constraints": constraints}


def sign_lease(lease: Lease, audience: str, issuer: str, ring: KeyRing, holder: str | None = None) -> Token:
    """Return a lease's token for one tool, signed by the key of the ring that signed when the lease was issued.

    Raises:
        InvalidError: the lease grants nothing there, lives longer than the hard maximum, does not fit a token of
            8 KiB, or the ring is for other documents.
    """
    if ring.document_type is not DocumentType.LEASE:
        raise InvalidError(f"a lease is signed by a ring for leases, not by one for a {ring.document_type}")
    ttl_seconds = lease.expires_at - lease.issued_at
    if ttl_seconds > HARD_MAX_TTL_SECONDS:
        raise InvalidError(f"a lease lives at most {HARD_MAX_TTL_SECONDS} s, not {ttl_seconds}; renew it instead")
    payload = canonical.encode(lease_to_claims(lease, audience, issuer, holder))
    signer = ring.signer(Instant(lease.issued_at * 1000))
    signing_input = f"{write_header(signer.kid)}.{base64url.encode(payload)}"
    token = f"{signing_input}.{base64url.encode(signer.sign(signing_input.encode('ascii')))}"
    if len(token) > MAX_TOKEN_CHARACTERS:
        raise InvalidError(
            f"the token for {audience} takes {len(token)} characters of {MAX_TOKEN_CHARACTERS}; grant less"
        )
    return Token(token)


def token_characters(lease: Lease, audience: str, issuer: str) -> int:
    """How long the token of a lease for one tool is at the most: bound to a key; of every key of every ring the same.

    Raises:
        InvalidError: the lease grants nothing there.
    """
    payload = base64url.encode(canonical.encode(lease_to_claims(lease, audience, issuer, _ANY_KEY_ID)))
    return len(f"{_ANY_HEADER}.{payload}.{_ANY_SIGNATURE}")


# A key id is a thumbprint and a signature 64 bytes, so these are as long as all others.
_ANY_KEY_ID = "k" * len(base64url.encode(bytes(32)))
_ANY_HEADER = write_header(_ANY_KEY_ID)
_ANY_SIGNATURE = base64url.encode(bytes(64))


def parse_claims(payload: bytes) -> Claims:
    """Return the claims of payload bytes that `sign_lease` could have signed.

    Raises:
        TokenError: `claims`: one is missing, unknown, twice, of another type, out of range, or not canonical.
    """
    try:
        claims = _DECODER.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _refusal(str(error)) from None
    if _ENCODER.encode(claims) != payload:
        raise _refusal("the payload is not in its one spelling (RFC 8785)")
    _check_members(claims, payload)
    return claims


def _check_members(claims: Claims, payload: bytes) -> None:
    if claims.nbf != claims.iat:
        raise _refusal("nbf is the time of issue")
    try:
        if _ESCAPED_NUL in payload:
            canonical.decode(payload)  # refuses NUL, and tells it from a backslash before "u0000"
        for text, prefix in ((claims.jti, "lease"), (claims.sub, "run"), (claims.request_id, "req")):
            check_id(text, prefix)
        for parent in claims.parents:
            check_id(parent, "lease")
    except InvalidError as error:
        raise _refusal(str(error)) from None


def claims_to_grants(claims: Claims) -> dict[str, Grant]:
    """Return the grants of the claims, by action, each attribute bounded exactly as in the lease.

    Raises:
        TokenError: `claims`: none, an action twice, one of another tool than the audience, or no valid constraint.
    """
    grants: dict[str, Grant] = {}
    try:
        for detail in claims.authorization_details:
            (action,) = detail.actions
            constraints = detail.constraints.items()
            grants[action] = Grant(action, {name: parse_constraint(value, name) for name, value in constraints})
    except InvalidError as error:
        raise _refusal(str(error)) from None
    if not grants or len(grants) != len(claims.authorization_details):
        raise _refusal("a token grants at least one action, and each once")
    if any(split_action(action)[0] != claims.aud for action in grants):
        raise _refusal("a token carries its audience's grants only")
    return grants


def claims_to_budget(claims: Claims) -> dict[str, int]:
    """Return the budget of the claims, in millionths by unit.

    Raises:
        TokenError: `claims`: a unit or amount is not valid.
    """
    try:
        return amounts_from_json(claims.budget)
    except InvalidError as error:
        raise _refusal(str(error)) from None


def _refusal(why: str) -> TokenError:
    return TokenError(TokenCode.CLAIMS, f"these are not the claims of a lease: {why}")
