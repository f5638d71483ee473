"""The closed JOSE header of a lease: `alg`, `kid`, `typ`, nothing else, in one spelling. Called by codec and verify.

Since the header of a key's tokens is one exact text, a verifier compares texts; `read_header` says what is wrong with
any other. It looks no key up and follows nothing (threat cases 1-4).
"""

from __future__ import annotations

from leasehold.errors import InvalidError, TokenError
from leasehold.model import canonical
from leasehold.model.text import visible
from leasehold.token import base64url
from leasehold.token.codes import TokenCode
from leasehold.token.keys import DocumentType

__all__ = ["ALGORITHM", "read_header", "write_header"]

ALGORITHM = "Ed25519"
"""The fully specified name of RFC 9864; the older `EdDSA` could mean two curves."""

_MEMBERS = frozenset({"alg", "kid", "typ"})


def write_header(kid: str) -> str:
    """Return the header segment of every lease that the key `kid` signs."""
    return base64url.encode(
        canonical.encode({"alg": ALGORITHM, "kid": kid, "typ": DocumentType.LEASE.typ}),
    )


def read_header(segment: str) -> str:
    """Return the `kid` of a header segment.

    Raises:
        TokenError: `encoding`, `header` or `type`.
    """
    try:
        text = base64url.decode(segment)
    except InvalidError as error:
        raise TokenError(TokenCode.ENCODING, f"the header is not readable: {error}") from None
    try:
        members = canonical.decode(text)
    except InvalidError as error:
        raise _refusal(str(error)) from None
    if not isinstance(members, dict) or members.keys() != _MEMBERS:
        raise _refusal(_wrong_members(members))
    if members["alg"] != ALGORITHM:
        raise _refusal(f"alg is {visible(repr(members['alg'])[:40])}")
    typ, kid = members["typ"], members["kid"]
    if not isinstance(typ, str) or not isinstance(kid, str):
        raise _refusal("typ and kid are strings")
    if typ != DocumentType.LEASE.typ:
        message = f"this is a {visible(typ[:40])!r}, not a lease ({DocumentType.LEASE.typ}); send the lease's token"
        raise TokenError(TokenCode.TYPE, message)
    if canonical.encode(members) != text:
        raise _refusal("it is not in its one spelling (RFC 8785)")
    return kid


def _wrong_members(members: canonical.Json) -> str:
    if not isinstance(members, dict):
        return "it is not an object"
    extra, missing = sorted(members.keys() - _MEMBERS), sorted(_MEMBERS - members.keys())
    if extra:
        return f"it has the member {visible(extra[0][:40])!r}"
    return f"it lacks the member {missing[0]!r}"


def _refusal(why: str) -> TokenError:
    return TokenError(TokenCode.HEADER, f"a lease's header is alg {ALGORITHM}, kid and typ, and nothing else: {why}")
