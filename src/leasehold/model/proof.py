"""How a person proved who they are when they answered. Stands in every answer, in the ledger and in the receipt.

A signature, of a key or of a passkey, is a person's own word, which anybody can verify later. A session is the
authority's word that the person was signed in here: it counts for answers, but nothing may show it as a signature.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TypeAlias

import msgspec

from leasehold.errors import InvalidError
from leasehold.model.ids import check_id

__all__ = ["KeyProof", "PasskeyProof", "Proof", "SessionProof", "SignIn", "SignInMethod", "vouched_by"]

MAX_CREDENTIAL = 1400
"""The longest credential id of WebAuthn, 1023 bytes, as base64url."""


class SignInMethod(StrEnum):
    """By what a person signs in."""

    PASSWORD = "password"  # noqa: S105 - the method's name
    PASSKEY = "passkey"


class SignIn(msgspec.Struct, frozen=True, kw_only=True):
    """One way by which one person signs in, under an id of its own. Time in Unix seconds.

    `secret` is the salted hash of a password. Of a passkey, `credential` is the id that its authenticator gave it and
    `public_key` its SubjectPublicKeyInfo, both base64url; `count` is how often it said it had signed.
    """

    sign_in: str
    method: SignInMethod
    added_at: int
    secret: str = ""
    credential: str = ""
    public_key: str = ""
    count: int = 0

    def __post_init__(self) -> None:
        check_id(self.sign_in, "signin")
        if self.method is SignInMethod.PASSWORD and not self.secret.startswith("$argon2id$"):
            raise InvalidError("of a password only its argon2id hash is kept")
        if self.method is SignInMethod.PASSKEY and not (self.credential and self.public_key):
            raise InvalidError("a passkey has a credential id and a public key")
        if len(self.credential) > MAX_CREDENTIAL:
            raise InvalidError("this credential id is longer than WebAuthn allows")

    def __repr__(self) -> str:
        """Without the secret."""
        return f"SignIn({self.sign_in}, {self.method})"


class KeyProof(msgspec.Struct, frozen=True, kw_only=True, tag="key", tag_field="proof"):
    """The signature of the person's own key over what they were shown. `key_id` is the key's thumbprint."""

    key_id: str
    signature: str


class SessionProof(msgspec.Struct, frozen=True, kw_only=True, tag="session", tag_field="proof"):
    """The person was signed in here, by this sign-in, since this time (Unix seconds)."""

    sign_in: str
    method: SignInMethod
    authenticated_at: int

    def __post_init__(self) -> None:
        check_id(self.sign_in, "signin")


class PasskeyProof(msgspec.Struct, frozen=True, kw_only=True, tag="passkey", tag_field="proof"):
    """What the person's passkey signed: an assertion whose challenge is made of what they were shown and said.

    The three parts are those of WebAuthn, whole, as base64url; `count` is how often the passkey said it had signed.
    """

    sign_in: str
    authenticator_data: str
    client_data: str
    signature: str
    count: int = 0

    def __post_init__(self) -> None:
        check_id(self.sign_in, "signin")


Proof: TypeAlias = KeyProof | SessionProof | PasskeyProof


def vouched_by(proof: Proof) -> str:
    """What vouched for the person: a key's thumbprint or a sign-in's id. Each belongs to one person."""
    return proof.key_id if isinstance(proof, KeyProof) else proof.sign_in
