"""A person's signed word on a policy that widens. Made at a terminal with the person's key, checked by the authority.

The signature covers which proposal, which policy replaces which, what was shown to widen, the word, time and person: a
word on one policy is worth nothing for another, and no word is an answer to a request.
"""

from __future__ import annotations

import msgspec

from leasehold.errors import InvalidError
from leasehold.model import canonical
from leasehold.model.ids import check_id
from leasehold.model.proposal import PolicyVerdict
from leasehold.model.text import check_identifier
from leasehold.token import base64url
from leasehold.token.digest import check_digest
from leasehold.token.keys import PublicKey, SigningKey

__all__ = ["PolicyStatement"]

_HEADER = b"leasehold policy v1\n"


class PolicyStatement(msgspec.Struct, frozen=True, kw_only=True):
    """What a person says, exactly. `said_at` is in Unix seconds, `widening` the digest of what was listed.

    Raises:
        InvalidError: a member cannot be what it claims to be.
    """

    proposal_id: str
    policy: str
    replaces: str
    widening: str
    verdict: PolicyVerdict
    said_at: int
    person: str

    def __post_init__(self) -> None:
        check_id(self.proposal_id, "prop")
        for digest, what in ((self.policy, "policy"), (self.replaces, "replaced policy"), (self.widening, "widening")):
            check_digest(digest, what)
        check_identifier(self.person, "person")
        if self.verdict not in list(PolicyVerdict):
            raise InvalidError(f"a word on a policy is {' or '.join(PolicyVerdict)}, not {self.verdict!r}")
        if type(self.said_at) is not int or not 0 <= self.said_at <= 2**53 - 1:
            raise InvalidError("a word is given at a whole number of Unix seconds")

    def to_bytes(self) -> bytes:
        """The signed bytes: the header line `leasehold policy v1`, then the canonical JSON of the members."""
        return _HEADER + canonical.encode(msgspec.to_builtins(self))

    def sign(self, key: SigningKey) -> str:
        """Return the person's signature as base64url text."""
        return base64url.encode(key.sign(self.to_bytes()))

    def is_signed_by(self, key: PublicKey, signature: str) -> bool:
        """Whether `signature` is this person's key's signature over exactly this statement, in its one spelling."""
        return key.is_signature_text(signature, self.to_bytes())
