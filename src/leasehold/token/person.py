"""A person's signed answer to a request. Made by the CLI and the desk with the person's key; checked by the authority.

The signature covers the request's id, the digest of the card that was shown, the verdict, the time and the person:
an answer to one card is worth nothing for another (threat cases 74, 75).
"""

from __future__ import annotations

import msgspec

from leasehold.errors import InvalidError
from leasehold.model import canonical
from leasehold.model.ids import RequestId, check_id
from leasehold.model.request import Verdict
from leasehold.model.text import check_identifier
from leasehold.token import base64url
from leasehold.token.digest import check_digest
from leasehold.token.keys import DocumentType, PublicKey, SigningKey

__all__ = ["AnswerStatement"]

_HEADER = DocumentType.ANSWER.typ.encode("ascii") + b"\n"


class AnswerStatement(msgspec.Struct, frozen=True, kw_only=True):
    """What a person says, exactly. `answered_at` is in Unix seconds.

    Raises:
        InvalidError: a member cannot be what it claims to be.
    """

    request_id: RequestId
    card_digest: str
    verdict: Verdict
    answered_at: int
    person: str

    def __post_init__(self) -> None:
        check_id(self.request_id, "req")
        check_digest(self.card_digest, "card digest")
        check_identifier(self.person, "person")
        if self.verdict not in list(Verdict):
            raise InvalidError(f"a verdict is {' or '.join(Verdict)}, not {self.verdict!r}")
        if type(self.answered_at) is not int or not 0 <= self.answered_at <= 2**53 - 1:
            raise InvalidError("an answer is given at a whole number of Unix seconds")

    def to_bytes(self) -> bytes:
        """The signed bytes: the header line `leasehold answer v1`, then the canonical JSON of the members."""
        return _HEADER + canonical.encode(msgspec.to_builtins(self))

    def sign(self, key: SigningKey) -> str:
        """Return the person's signature as base64url text."""
        return base64url.encode(key.sign(self.to_bytes()))

    def is_signed_by(self, key: PublicKey, signature: str) -> bool:
        """Whether `signature` is this person's key's signature over exactly this statement, in its one spelling."""
        return key.is_signature_text(signature, self.to_bytes())
