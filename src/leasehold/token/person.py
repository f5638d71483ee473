"""A person's signed answer to a request. Made by the CLI and the desk with the person's key; checked by the authority.

The signature covers the request's id, the digest of the card that was shown, the verdict, the time and the person:
an answer to one card is worth nothing for another (threat cases 74, 75).
"""

from __future__ import annotations

from typing import ClassVar

from leasehold.errors import InvalidError
from leasehold.model.ids import RequestId, check_id
from leasehold.model.request import Verdict
from leasehold.model.text import check_identifier
from leasehold.token.digest import check_digest
from leasehold.token.keys import DocumentType
from leasehold.token.statement import Statement

__all__ = ["AnswerStatement"]


class AnswerStatement(Statement, frozen=True, kw_only=True):
    """What a person answers to a request. `answered_at` is in Unix seconds.

    Raises:
        InvalidError: a member cannot be what it claims to be.
    """

    MARK: ClassVar[bytes] = DocumentType.ANSWER.typ.encode("ascii") + b"\n"

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
