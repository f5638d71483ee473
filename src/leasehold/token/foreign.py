"""Tokens that others sign: JWTs of issuers that the policy trusts, judged by their keys and one reference time.

Called by `leasehold.http` with keys that it fetched, for workloads and for people who sign in with OpenID Connect. Our
own tokens are read elsewhere and more strictly (`token.verify`): what others write has no single spelling. Signatures
are asymmetric only, so a public key is never taken for a shared secret, and `none` is no algorithm (threat case 1); a
header brings no keys along (threat case 3).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, assert_never

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512, HashAlgorithm

from leasehold.errors import InvalidError, TokenError
from leasehold.model import canonical
from leasehold.model.canonical import Json
from leasehold.model.instant import Instant
from leasehold.token import base64url
from leasehold.token.codes import TokenCode

__all__ = [
    "ALGORITHMS",
    "MAX_FOREIGN_CHARACTERS",
    "SKEW_SECONDS",
    "ForeignHeader",
    "ForeignKey",
    "IssuerClaims",
    "read_foreign_keys",
    "unverified_header",
    "unverified_issuer",
    "verify_foreign",
]

MAX_FOREIGN_CHARACTERS = 16_384
MAX_KEYS = 64
SKEW_SECONDS = 30
"""How far ahead of ours an issuer's clock may be. One that is behind gets nothing: expired is expired."""
LONGEST_SECONDS = 86_400
"""A token that is valid for longer than a day is a static secret."""

_MIN_RSA_BITS, _MAX_RSA_BITS = 2048, 8192
_MAX_KID = 512
_MAX_SUBJECT = 2048
_MAX_TIME = 2**53
_HASHES: Mapping[str, HashAlgorithm] = {"256": SHA256(), "384": SHA384(), "512": SHA512()}
_OF_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_OF_EDWARDS = ("EdDSA", "Ed25519")
_OF_CURVE: Mapping[str, tuple[str, ec.EllipticCurve]] = {
    "P-256": ("ES256", ec.SECP256R1()),
    "P-384": ("ES384", ec.SECP384R1()),
    "P-521": ("ES512", ec.SECP521R1()),
}
ALGORITHMS = frozenset({*_OF_RSA, *_OF_EDWARDS, *(name for name, _ in _OF_CURVE.values())})
"""Every signature algorithm that is taken. The key decides which of them fit, never the token."""

_TYPES = ("jwt", "jose")
_USES = ("sig", "jwt-svid")
_PRIVATE = ("d", "p", "q", "dp", "dq", "qi", "oth", "k")
_BROUGHT_ALONG = ("jwk", "jku", "x5u", "x5c", "crit", "b64")

_Key: TypeAlias = "RSAPublicKey | ec.EllipticCurvePublicKey | Ed25519PublicKey"


@dataclass(frozen=True)
class ForeignKey:
    """A public key of an issuer, its id (empty where it has none), and the algorithms that it may verify."""

    kid: str
    algorithms: frozenset[str]
    key: _Key


class IssuerClaims(msgspec.Struct, frozen=True, kw_only=True):
    """What a verified token says: who issued it, about whom, until when (Unix seconds), and all of its claims."""

    issuer: str
    subject: str
    expires_at: int
    claims: Mapping[str, Json]


@dataclass(frozen=True)
class ForeignHeader:
    """How a token says that it is signed; `kid` is None where it names no key."""

    algorithm: str
    kid: str | None


@dataclass(frozen=True)
class _Unverified:
    """A token taken apart, of which nothing has been checked but its form."""

    header: Mapping[str, Json]
    claims: Mapping[str, Json]
    signed: bytes
    signature: bytes


def read_foreign_keys(document: bytes) -> tuple[ForeignKey, ...]:
    """Return the keys of a JSON Web Key set that can verify signatures; others in it are passed over (RFC 7517 §5).

    Raises:
        InvalidError: it is no such set, holds no key that can be used, or shows private keys.
    """
    value = canonical.decode(document)
    listed = value.get("keys") if isinstance(value, dict) else None
    if not isinstance(listed, list) or not all(isinstance(each, dict) for each in listed):
        raise InvalidError("this is no JSON Web Key set")
    if len(listed) > MAX_KEYS:
        raise InvalidError(f"this key set holds {len(listed)} keys; {MAX_KEYS} are allowed")
    if any(name in each for each in listed if isinstance(each, dict) and each.get("kty") != "oct" for name in _PRIVATE):
        raise InvalidError("this key set shows a private key, which everybody could sign with")
    found = tuple(key for each in listed if isinstance(each, dict) and (key := _read_key(each)) is not None)
    if not found:
        raise InvalidError("this key set holds no RSA, EC or Ed25519 key for signatures")
    return found


def _read_key(jwk: Mapping[str, Json]) -> ForeignKey | None:
    """A key that can verify signatures here; None for any other."""
    kid, operations = jwk.get("kid", ""), jwk.get("key_ops", ["verify"])
    if jwk.get("use", "sig") not in _USES or not isinstance(operations, list) or "verify" not in operations:
        return None
    try:
        key, algorithms = _public_key(jwk)
    except (InvalidError, ValueError, UnsupportedAlgorithm):
        return None
    if "alg" in jwk:
        algorithms = tuple(name for name in algorithms if name == jwk["alg"])
    if not isinstance(kid, str) or not algorithms:
        return None
    return ForeignKey(kid, frozenset(algorithms), key)


def _public_key(jwk: Mapping[str, Json]) -> tuple[_Key, tuple[str, ...]]:
    match jwk.get("kty"), jwk.get("crv"):
        case "RSA", _:
            key = RSAPublicNumbers(_number(jwk, "e"), _number(jwk, "n")).public_key()
            if not _MIN_RSA_BITS <= key.key_size <= _MAX_RSA_BITS:
                raise InvalidError("this RSA key is too short, or too long")
            return key, _OF_RSA
        case "EC", str() as name if name in _OF_CURVE:
            algorithm, curve = _OF_CURVE[name]
            point = ec.EllipticCurvePublicNumbers(_number(jwk, "x"), _number(jwk, "y"), curve)
            return point.public_key(), (algorithm,)
        case "OKP", "Ed25519":
            return Ed25519PublicKey.from_public_bytes(_member(jwk, "x")), _OF_EDWARDS
        case _:
            raise InvalidError("this is no kind of key that is known here")


def _number(jwk: Mapping[str, Json], name: str) -> int:
    return int.from_bytes(_member(jwk, name), "big")


def _member(jwk: Mapping[str, Json], name: str) -> bytes:
    value = jwk.get(name)
    if not isinstance(value, str):
        raise InvalidError(f"this key has no {name}")
    return base64url.decode(value)


def unverified_issuer(token: str) -> str:
    """Return whose token this says it is, so that the keys to verify it with can be found.

    Raises:
        TokenError: it is no token, or does not say.
    """
    issuer = _take_apart(token).claims.get("iss")
    if not isinstance(issuer, str) or not issuer:
        raise TokenError(TokenCode.ISSUER, "this token does not say who issued it")
    return issuer


def unverified_header(token: str) -> ForeignHeader:
    """Return which key a token names, so that newer keys can be asked for, and its algorithm, which is one of ours.

    Raises:
        TokenError: it is no token, or its header is one that is refused.
    """
    header = _take_apart(token).header
    algorithm, kid = _check_header(header), header.get("kid")
    return ForeignHeader(algorithm, kid if isinstance(kid, str) else None)


def verify_foreign(token: str, keys: Sequence[ForeignKey], *, issuer: str, audience: str, now: Instant) -> IssuerClaims:
    """Return what a token says, if one of these keys signed it, for this audience, and it counts now.

    Raises:
        TokenError: whatever it is that does not hold; `unknown_key` where the issuer may have newer keys.
    """
    parts = _take_apart(token)
    algorithm = _check_header(parts.header)
    _check_signature(_choose(parts.header, algorithm, keys).key, algorithm, parts)
    if parts.claims.get("iss") != issuer:
        raise TokenError(TokenCode.ISSUER, "this token is another issuer's; names of issuers are compared exactly")
    if "events" in parts.claims:
        raise TokenError(
            TokenCode.TYPE, "this says that something happened (RFC 8417), a sign-out perhaps; it proves nobody"
        )
    _check_audience(parts.claims, audience)
    expires_at = _check_times(parts.claims, now)
    subject = parts.claims.get("sub")
    if not isinstance(subject, str) or not 1 <= len(subject) <= _MAX_SUBJECT:
        raise TokenError(TokenCode.CLAIMS, "this token does not say whom it is about")
    return IssuerClaims(issuer=issuer, subject=subject, expires_at=expires_at, claims=parts.claims)


def _take_apart(token: str) -> _Unverified:
    if len(token) > MAX_FOREIGN_CHARACTERS:
        raise TokenError(TokenCode.SIZE, f"a token has at most {MAX_FOREIGN_CHARACTERS} characters")
    parts = token.split(".")
    if len(parts) != 3 or not token.isascii() or not all(parts):
        raise TokenError(TokenCode.SHAPE, "this is no signed token: three parts with dots between")
    try:
        header, payload, signature = map(base64url.decode, parts)
        head, claims = canonical.decode(header), canonical.decode(payload)
    except InvalidError as error:
        raise TokenError(TokenCode.ENCODING, f"this token cannot be read: {error}") from None
    if not isinstance(head, dict) or not isinstance(claims, dict):
        raise TokenError(TokenCode.SHAPE, "header and claims of a token are JSON objects")
    return _Unverified(head, claims, f"{parts[0]}.{parts[1]}".encode("ascii"), signature)


def _check_header(header: Mapping[str, Json]) -> str:
    """The algorithm, which is one of ours."""
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise TokenError(TokenCode.HEADER, "this token is not signed with an algorithm that is taken here")
    for name in _BROUGHT_ALONG:
        if name in header:
            raise TokenError(TokenCode.HEADER, f'the header of this token holds "{name}", which is refused')
    kind = header.get("typ", "JWT")
    if not isinstance(kind, str) or kind.lower() not in _TYPES:
        raise TokenError(TokenCode.TYPE, "this is another type of document than a plain JWT")
    kid = header.get("kid", "")
    if not isinstance(kid, str) or len(kid) > _MAX_KID:
        raise TokenError(TokenCode.HEADER, "the key id of this token is no plain text")
    return algorithm


def _choose(header: Mapping[str, Json], algorithm: str, keys: Sequence[ForeignKey]) -> ForeignKey:
    """The one key that the token means: by its id, or, where it names none, the only one that fits."""
    named = [key for key in keys if key.kid == header["kid"]] if "kid" in header else list(keys)
    if not named:
        raise TokenError(TokenCode.UNKNOWN_KEY, "the issuer has no key of this id")
    fitting = [key for key in named if algorithm in key.algorithms]
    if not fitting:
        raise TokenError(TokenCode.HEADER, "the key of this id is not for this algorithm")
    if len(fitting) > 1:
        raise TokenError(TokenCode.HEADER, "several keys of the issuer fit, and the token does not say which")
    return fitting[0]


def _check_signature(key: _Key, algorithm: str, parts: _Unverified) -> None:
    try:
        match key:
            case RSAPublicKey():
                scheme = _HASHES[algorithm[2:]]
                salted = padding.PSS(padding.MGF1(scheme), scheme.digest_size)
                filled = salted if algorithm.startswith("PS") else padding.PKCS1v15()
                key.verify(parts.signature, parts.signed, filled, scheme)
            case ec.EllipticCurvePublicKey():
                key.verify(_to_der(parts.signature, key), parts.signed, ec.ECDSA(_HASHES[algorithm[2:]]))
            case Ed25519PublicKey():
                key.verify(parts.signature, parts.signed)
            case _:
                assert_never(key)
    except InvalidSignature:
        raise TokenError(TokenCode.SIGNATURE, "the issuer's key did not sign this token") from None


def _to_der(signature: bytes, key: ec.EllipticCurvePublicKey) -> bytes:
    """The signature as the library takes it: JOSE has both numbers at full length (RFC 7518 §3.4)."""
    size = (key.key_size + 7) // 8
    if len(signature) != 2 * size:
        raise InvalidSignature
    return encode_dss_signature(int.from_bytes(signature[:size], "big"), int.from_bytes(signature[size:], "big"))


def _check_audience(claims: Mapping[str, Json], audience: str) -> None:
    """For us; where it is for others too, they could play it here, so it has to say that it was given to us (`azp`)."""
    named = claims.get("aud")
    audiences = [named] if isinstance(named, str) else named
    if (
        not isinstance(audiences, list)
        or audience not in audiences
        or not all(isinstance(one, str) for one in audiences)
    ):
        raise TokenError(TokenCode.AUDIENCE, "this token is for somebody else")
    if len(audiences) > 1 and claims.get("azp") != audience:
        raise TokenError(TokenCode.AUDIENCE, "this token is for several at once, and was not given to us")


def _check_times(claims: Mapping[str, Json], now: Instant) -> int:
    """When it expires, in whole Unix seconds."""
    times = {name: claims[name] for name in ("exp", "nbf", "iat") if name in claims}
    for name, value in times.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _MAX_TIME:
            raise TokenError(TokenCode.CLAIMS, f"{name} of this token is no time")
    seconds = {name: int(value) for name, value in times.items() if isinstance(value, int | float)}
    if "exp" not in seconds:
        raise TokenError(TokenCode.CLAIMS, "this token does not say when it expires")
    if max(seconds.get("nbf", 0), seconds.get("iat", 0)) > now.seconds + SKEW_SECONDS:
        raise TokenError(TokenCode.NOT_YET, f"this token is from the future by more than {SKEW_SECONDS} s")
    if now.reached(seconds["exp"]):
        raise TokenError(TokenCode.EXPIRED, "this token has expired")
    if seconds["exp"] - seconds.get("iat", now.seconds) > LONGEST_SECONDS:
        raise TokenError(TokenCode.LIFETIME, f"this token is valid for longer than {LONGEST_SECONDS // 3600} h")
    return seconds["exp"]
