"""How a person proved who they are when they answered. Stands in every answer, in the ledger and in the receipt.

A signature, of a key or of a passkey, is a person's own word, which anybody can verify later. A session is the
authority's word that the person was signed in here; what a chat told is its operator's word to the authority, and the
authority's word that it was told. They count for answers, but nothing may show them as a signature.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TypeAlias, assert_never

import msgspec

from leasehold.errors import InvalidError
from leasehold.model.ids import check_id

__all__ = [
    "AnswerProof",
    "ChatProof",
    "KeyProof",
    "PasskeyProof",
    "Proof",
    "SessionProof",
    "SignIn",
    "SignInMethod",
    "check_speaker",
    "vouched_by",
]

MAX_CREDENTIAL = 1400
"""The longest credential id of WebAuthn, 1023 bytes, as base64url."""

_SPEAKER = re.compile(r"[TE][A-Z0-9]{2,20}/[UW][A-Z0-9]{2,20}")
_DELIVERY = re.compile(r"sha256:[0-9a-f]{64}")


def check_speaker(text: str) -> str:
    """Return the name of a user of a chat if it has the right form: Slack's ids of workspace and user.

    Raises:
        InvalidError: it has not.
    """
    if not _SPEAKER.fullmatch(text):
        raise InvalidError(f'{text!r} is no user of Slack; write the ids of workspace and user: "T024BE7LH/U061F7AUR"')
    return text


class SignInMethod(StrEnum):
    """By what a person signs in."""

    PASSWORD = "password"  # noqa: S105 - the method's name
    PASSKEY = "passkey"
    OIDC = "oidc"


class SignIn(msgspec.Struct, frozen=True, kw_only=True):
    """One way by which one person signs in, under an id of its own. Time in Unix seconds.

    `secret` is the salted hash of a password. Of a passkey, `credential` is the id that its authenticator gave it and
    `public_key` its SubjectPublicKeyInfo, both base64url; `count` is how often it said it had signed.

    Of an account at another provider (OpenID Connect), `provider` is its name in the policy, `issuer` and `subject` say
    which account; `groups` are those of the policy's that it was last proven to be in, which count before
    `groups_until`.
    """

    sign_in: str
    method: SignInMethod
    added_at: int
    secret: str = ""
    credential: str = ""
    public_key: str = ""
    count: int = 0
    provider: str = ""
    issuer: str = ""
    subject: str = ""
    groups: tuple[str, ...] = ()
    groups_until: int = 0

    def __post_init__(self) -> None:
        check_id(self.sign_in, "signin")
        if self.method is SignInMethod.OIDC and not (self.provider and self.issuer and self.subject):
            raise InvalidError("an account at another provider has a provider, an issuer and a subject")
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


class ChatProof(msgspec.Struct, frozen=True, kw_only=True, tag="chat", tag_field="proof"):
    """Slack said, under the signing secret of a notice channel, that one of its users pressed a button there.

    `speaker` is that user, whom the policy maps to the person; `signed_at` Slack's time stamp (Unix seconds),
    `delivery` the digest of exactly what Slack signed. Nobody without the secret can verify it.
    """

    channel: str
    speaker: str
    signed_at: int
    delivery: str

    def __post_init__(self) -> None:
        check_speaker(self.speaker)
        if not _DELIVERY.fullmatch(self.delivery):
            raise InvalidError("a delivery is named by its digest")


Proof: TypeAlias = KeyProof | SessionProof | PasskeyProof
AnswerProof: TypeAlias = Proof | ChatProof
"""What a chat says is good for answers to requests, and for nothing else that a person says."""


def vouched_by(proof: AnswerProof) -> str:
    """What vouched for the person: a key's thumbprint, a sign-in's id, a user of a chat. Each is of one person."""
    match proof:
        case KeyProof():
            return proof.key_id
        case SessionProof() | PasskeyProof():
            return proof.sign_in
        case ChatProof():
            return proof.speaker
        case _:
            assert_never(proof)
