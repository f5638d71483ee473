"""The forms of break-glass: the opening that two people agree on, and the opener's word for each use.

At a terminal both sign the opening with their keys; in the console what vouches for each stands beside it. Each signed
form begins with a mark of its own, so a signature under one is worth nothing as an answer, a lease or another (threat
case 9). What a door is shown is the opening with what both said, in one spelling.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from leasehold.errors import InvalidError, TokenError
from leasehold.model import canonical
from leasehold.model.glass import Opening
from leasehold.model.grant import check_action
from leasehold.model.ids import check_id
from leasehold.model.proof import Proof
from leasehold.token import base64url
from leasehold.token.codes import TokenCode
from leasehold.token.digest import check_digest
from leasehold.token.keys import PublicKey, SigningKey
from leasehold.token.statement import Statement

__all__ = [
    "GLASS_PREFIXES",
    "MAX_GLASS_CHARACTERS",
    "GlassToken",
    "UseStatement",
    "VouchedGlass",
    "Voucher",
    "opening_bytes",
    "parse_glass",
    "read_opening_bytes",
    "sign_opening",
]

MAX_GLASS_CHARACTERS = 65_536
_OPENING = b"leasehold break-glass v1\n"
_SIGNED = "glass1."
_VOUCHED = "glass2."
GLASS_PREFIXES = (_SIGNED, _VOUCHED)
"""What the text of a break-glass begins with, signed with two keys or vouched for otherwise; no lease can."""
_SIGNATURE_SIZE = 64


def opening_bytes(opening: Opening) -> bytes:
    """The bytes that both people sign: the line `leasehold break-glass v1`, then the canonical JSON of the members."""
    return _OPENING + canonical.encode(msgspec.to_builtins(opening))


def sign_opening(opening: Opening, key: SigningKey) -> str:
    """One person's signature, as base64url text."""
    return base64url.encode(key.sign(opening_bytes(opening)))


class GlassToken(msgspec.Struct, frozen=True, kw_only=True):
    """An opening with both signatures: the human-only capability. Its text is `glass1.opening.signature.signature`."""

    opening: Opening
    signature: str
    second_signature: str

    def __str__(self) -> str:
        body = base64url.encode(opening_bytes(self.opening))
        return f"{_SIGNED}{body}.{self.signature}.{self.second_signature}"

    @classmethod
    def parse(cls, text: str) -> GlassToken:
        """Return what such a text says. Nothing in it may be believed before `is_signed_by`.

        Raises:
            TokenError: `size`, `shape`, `type`, `encoding` or `claims`.
        """
        body, signature, second = _parts_of(text, _SIGNED)
        try:
            raw = base64url.decode(body)
            sizes = {len(base64url.decode(part)) for part in (signature, second)}
        except InvalidError as error:
            raise TokenError(TokenCode.ENCODING, f"this break-glass token is not readable: {error}") from None
        if sizes != {_SIGNATURE_SIZE}:
            raise TokenError(TokenCode.ENCODING, f"a signature has {_SIGNATURE_SIZE} bytes")
        return cls(opening=read_opening_bytes(raw), signature=signature, second_signature=second)

    def is_signed_by(self, opener: PublicKey, second: PublicKey) -> bool:
        """Whether these two keys signed exactly this opening, each for its own person."""
        message = opening_bytes(self.opening)
        return opener.is_signature_text(self.signature, message) and second.is_signature_text(
            self.second_signature, message
        )


class Voucher(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What vouches for one person, and the public key that verifies it: of a key its 32 bytes in hex, of a passkey its
    SubjectPublicKeyInfo as base64url, of a session none."""

    proof: Proof
    public_key: str = ""


class VouchedGlass(msgspec.Struct, frozen=True, kw_only=True):
    """An opening with what vouched for both people in the console. Its text is `glass2.opening.voucher.voucher`."""

    opening: Opening
    opener: Voucher
    second: Voucher

    def __str__(self) -> str:
        parts = (
            opening_bytes(self.opening),
            *(canonical.encode(msgspec.to_builtins(one)) for one in (self.opener, self.second)),
        )
        return _VOUCHED + ".".join(map(base64url.encode, parts))

    @classmethod
    def parse(cls, text: str) -> VouchedGlass:
        """Return what such a text says; it may be believed only where exactly it stands in the ledger.

        Raises:
            TokenError: `size`, `shape`, `type`, `encoding` or `claims`.
        """
        try:
            raw, *vouchers = (base64url.decode(part) for part in _parts_of(text, _VOUCHED))
        except InvalidError as error:
            raise TokenError(TokenCode.ENCODING, f"this break-glass token is not readable: {error}") from None
        opener, second = map(_read_voucher, vouchers)
        return cls(opening=read_opening_bytes(raw), opener=opener, second=second)


def parse_glass(text: str) -> GlassToken | VouchedGlass:
    """Return what the text of a break-glass says, of whichever form.

    Raises:
        TokenError: it is none.
    """
    return VouchedGlass.parse(text) if text.startswith(_VOUCHED) else GlassToken.parse(text)


def _parts_of(text: str, mark: str) -> list[str]:
    if len(text) > MAX_GLASS_CHARACTERS:
        raise TokenError(TokenCode.SIZE, f"a break-glass token has at most {MAX_GLASS_CHARACTERS} characters")
    if not text.startswith(mark):
        raise TokenError(TokenCode.TYPE, "this is no break-glass token; a lease does not open a door for people")
    parts = text.removeprefix(mark).split(".")
    if len(parts) != 3:
        raise TokenError(TokenCode.SHAPE, "a break-glass token is a mark and three parts with dots between")
    return parts


def _read_voucher(raw: bytes) -> Voucher:
    try:
        voucher = msgspec.convert(canonical.decode(raw), Voucher)
    except (InvalidError, msgspec.ValidationError) as error:
        raise TokenError(TokenCode.CLAIMS, f"this vouches for nobody: {error}") from None
    if canonical.encode(msgspec.to_builtins(voucher)) != raw:
        raise TokenError(TokenCode.CLAIMS, "what vouches for somebody is not in its one spelling (RFC 8785)")
    return voucher


def read_opening_bytes(raw: bytes) -> Opening:
    """The opening that stands in the bytes which people sign.

    Raises:
        TokenError: `type` or `claims`; there is none, or not in its one spelling.
    """
    if not raw.startswith(_OPENING):
        raise TokenError(TokenCode.TYPE, "this is not the opening of a break-glass")
    try:
        opening = msgspec.convert(canonical.decode(raw[len(_OPENING) :]), Opening)
    except (InvalidError, msgspec.ValidationError) as error:
        raise TokenError(TokenCode.CLAIMS, f"this is no opening of a break-glass: {error}") from None
    if opening_bytes(opening) != raw:
        raise TokenError(TokenCode.CLAIMS, "this opening is not in its one spelling (RFC 8785)")
    return opening


class UseStatement(Statement, frozen=True, kw_only=True):
    """The opener's word for one use: that they, with their key in hand, make exactly this call.

    `arguments` is the SHA-256 digest of the call's canonical bytes.

    Raises:
        InvalidError: a member cannot be what it claims to be.
    """

    MARK: ClassVar[bytes] = b"leasehold break-glass use v1\n"

    glass_id: str
    admission_id: str
    action: str
    arguments: str

    def __post_init__(self) -> None:
        check_id(self.glass_id, "glass")
        check_id(self.admission_id, "adm")
        check_action(self.action)
        check_digest(self.arguments, "arguments")
