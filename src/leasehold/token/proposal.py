"""A person's signed word on a policy that widens. Made at a terminal with the person's key, checked by the authority.

The signature covers which proposal, which policy replaces which, what was shown to widen, the word, time and person: a
word on one policy is worth nothing for another, and no word is an answer to a request.
"""

from __future__ import annotations

from typing import ClassVar

from leasehold.errors import InvalidError
from leasehold.model.ids import check_id
from leasehold.model.proposal import PolicyVerdict
from leasehold.model.text import check_identifier
from leasehold.token.digest import check_digest
from leasehold.token.statement import Statement

__all__ = ["PolicyStatement"]


class PolicyStatement(Statement, frozen=True, kw_only=True):
    """What a person says of a proposal. `said_at` is in Unix seconds, `widening` the digest of what was listed.

    Raises:
        InvalidError: a member cannot be what it claims to be.
    """

    MARK: ClassVar[bytes] = b"leasehold policy v1\n"

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
