"""A person's signed call of the authority over HTTP: one JWT for one request, signed by their own key.

Made by whatever holds the key, checked by `leasehold.http.people`. It says which authority is meant, which request,
with which body, and for a minute at most; the authority takes each once. An answer in the body is signed besides, as
everywhere: this only says who asks.
"""

from __future__ import annotations

import hashlib
import re

import msgspec

from leasehold.errors import InvalidError, TokenError
from leasehold.model import canonical
from leasehold.model.instant import Instant
from leasehold.model.text import check_identifier
from leasehold.token import base64url
from leasehold.token.codes import TokenCode
from leasehold.token.header import ALGORITHM
from leasehold.token.keys import PublicKey, SigningKey

__all__ = ["MAX_CALL_SECONDS", "PERSON_CALL_TYPE", "PersonCall", "SignedCall", "body_digest"]

PERSON_CALL_TYPE = "leasehold-person+jwt"
MAX_CALL_SECONDS = 60
"""How long one counts, and how far its time may be from ours, either way."""

_MAX_CHARACTERS = 8192
_JTI = re.compile(r"[A-Za-z0-9_-]{16,64}")
_MEMBERS = {"iss", "sub", "aud", "iat", "exp", "jti", "htm", "htu", "body"}


class PersonCall(msgspec.Struct, frozen=True, kw_only=True):
    """What one call says. `target` is the path and query as sent; `body` its digest. Times in Unix seconds.

    Raises:
        InvalidError: a member cannot be what it claims to be.
    """

    person: str
    authority: str
    issued_at: int
    expires_at: int
    jti: str
    method: str
    target: str
    body: str

    def __post_init__(self) -> None:
        check_identifier(self.person, "person")
        if not _JTI.fullmatch(self.jti):
            raise InvalidError("jti is 16 to 64 of A-Z a-z 0-9 - _, random")
        if not 0 < self.expires_at - self.issued_at <= MAX_CALL_SECONDS:
            raise InvalidError(f"a call counts for 1 to {MAX_CALL_SECONDS} seconds")

    def sign(self, key: SigningKey) -> str:
        """The JWT, signed by the person's key."""
        header = {"alg": ALGORITHM, "kid": key.public().kid, "typ": PERSON_CALL_TYPE}
        claims = {
            "iss": self.person,
            "sub": self.person,
            "aud": self.authority,
            "iat": self.issued_at,
            "exp": self.expires_at,
            "jti": self.jti,
            "htm": self.method,
            "htu": self.target,
            "body": self.body,
        }
        signed = ".".join(base64url.encode(canonical.encode(part)) for part in (header, claims))
        return f"{signed}.{base64url.encode(key.sign(signed.encode('ascii')))}"

    def refuse(self, *, authority: str, method: str, target: str, now: Instant) -> TokenError | None:
        """Why this is no call of this authority, of this request, now; the body is compared when it has come."""
        if self.authority != authority:
            return TokenError(TokenCode.AUDIENCE, "it is for another authority")
        if (self.method, self.target) != (method, target):
            return TokenError(TokenCode.CLAIMS, "it is for another request")
        if abs(now.seconds - self.issued_at) > MAX_CALL_SECONDS:
            return TokenError(TokenCode.NOT_YET, "it was made too long ago, or is not made yet")
        if now.reached(self.expires_at):
            return TokenError(TokenCode.EXPIRED, "it counts no more")
        return None


class SignedCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call with its signature, read and not verified: `call` says who somebody claims to be."""

    call: PersonCall
    kid: str
    signed: bytes
    signature: bytes

    @classmethod
    def parse(cls, token: str) -> SignedCall:
        """Read a JWT of this type.

        Raises:
            TokenError: it is none.
        """
        parts = token.split(".") if len(token) <= _MAX_CHARACTERS and token.isascii() else []
        if len(parts) != 3:
            raise TokenError(TokenCode.SHAPE, "this is no JWT")
        try:
            header, claims = (canonical.decode(base64url.decode(part)) for part in parts[:2])
            signature = base64url.decode(parts[2])
        except InvalidError as error:
            raise TokenError(TokenCode.ENCODING, f"this JWT cannot be read: {error}") from None
        if not isinstance(header, dict) or header.keys() != {"alg", "kid", "typ"}:
            raise TokenError(TokenCode.HEADER, "its header is alg, kid and typ, and nothing else")
        if (header["alg"], header["typ"]) != (ALGORITHM, PERSON_CALL_TYPE) or not isinstance(header["kid"], str):
            raise TokenError(TokenCode.TYPE, f"its alg is {ALGORITHM}, its typ {PERSON_CALL_TYPE}")
        signed = f"{parts[0]}.{parts[1]}".encode("ascii")
        return cls(call=_call(claims), kid=header["kid"], signed=signed, signature=signature)

    def is_signed_by(self, key: PublicKey) -> bool:
        """Whether this key signed it."""
        return self.kid == key.kid and key.is_signature(self.signature, self.signed)


def body_digest(body: bytes) -> str:
    """The digest of a body, empty or not: base64url of its SHA-256."""
    return base64url.encode(hashlib.sha256(body).digest())


def _call(claims: canonical.Json) -> PersonCall:
    if not isinstance(claims, dict) or claims.keys() != _MEMBERS:
        raise TokenError(TokenCode.CLAIMS, f"its claims are {', '.join(sorted(_MEMBERS))}, and nothing else")
    if claims["iss"] != claims["sub"]:
        raise TokenError(TokenCode.CLAIMS, "iss and sub are the same person")
    values = {
        "person": claims["sub"],
        "authority": claims["aud"],
        "issued_at": claims["iat"],
        "expires_at": claims["exp"],
        "jti": claims["jti"],
        "method": claims["htm"],
        "target": claims["htu"],
        "body": claims["body"],
    }
    try:
        return msgspec.convert(values, PersonCall)
    except msgspec.ValidationError as error:
        raise TokenError(TokenCode.CLAIMS, f"its claims make no sense: {error}") from None


canonical.prepare(PersonCall)
