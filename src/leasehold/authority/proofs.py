"""Whether answers in a receipt or export were given by whom they name: each signature, verified with nothing else.

Called by `receipt verify` and `ledger verify`, for answers to requests and for words on policies that widen. A key's or
passkey's public half stands in the entry; that it belongs to the person is the authority's word, in the entry that
added it. What was said in a session has no signature. Of what was said in a chat only the authority could check the
signature, under a secret; what can be checked is that it claims no more, that it was fresh, and that one user spoke for
one person under one policy.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from leasehold.decide.chat import HEARD_SECONDS
from leasehold.errors import InvalidError, VerificationError
from leasehold.ledger import detail
from leasehold.ledger.entry import Entry, EntryKind
from leasehold.model.ids import RequestId
from leasehold.model.proof import ChatProof
from leasehold.model.proposal import PolicyVerdict
from leasehold.model.request import Verdict
from leasehold.token.keys import PublicKey
from leasehold.token.passkey import Assertion, answer_challenge, policy_challenge, verify_assertion
from leasehold.token.person import AnswerStatement
from leasehold.token.proposal import PolicyStatement

__all__ = ["AnswersProven", "check_answers"]


class AnswersProven(msgspec.Struct, frozen=True, kw_only=True):
    """How many answers counted by what vouched for them: signed with a key, a passkey, or not for others."""

    key: int = 0
    passkey: int = 0
    session: int = 0
    chat: int = 0

    def describe(self) -> str:
        """The counts in words."""
        heard = f", {self.chat} in a chat" if self.chat else ""
        return (
            f"{self.key} signed with a key, {self.passkey} with a passkey, each verified; "
            f"{self.session} given by people who were signed in{heard}, which nobody can verify"
        )


def check_answers(entries: Iterable[Entry]) -> AnswersProven:
    """Verify the signature of every answer that was taken; refused ones prove nothing and are passed over.

    Raises:
        VerificationError: one is not that of the key or passkey in its entry, over exactly this answer, or the ledger
            gave what signed to somebody else; `index` names the entry.
    """
    counts = {"key": 0, "passkey": 0, "session": 0, "chat": 0}
    speakers: dict[tuple[str, str], str] = {}
    owners: dict[str, str] = {}
    for entry in entries:
        if entry.kind in (EntryKind.PERSON_ADDED, EntryKind.SIGN_IN_ADDED) and detail.text(entry, "public_key"):
            owners[detail.text(entry, "public_key")] = entry.person
        if entry.kind not in _CHECKS or entry.decision == "deny":
            continue
        proof = detail.text(entry, "proof")
        if proof not in _CHECKS[entry.kind]:
            raise VerificationError(f"the answer of {entry.person} has no known proof", index=entry.index)
        try:
            _CHECKS[entry.kind][proof](entry)
        except (InvalidError, VerificationError, ValueError) as error:
            raise VerificationError(f"the answer of {entry.person}: {error}", index=entry.index) from None
        if owners.get(detail.text(entry, "public_key"), entry.person) != entry.person:
            raise VerificationError(f"what signed as {entry.person} is of somebody else", index=entry.index)
        if proof == "chat" and speakers.setdefault(_speaker(entry), entry.person) != entry.person:
            raise VerificationError(f"the user who spoke for {entry.person} spoke for somebody else", index=entry.index)
        counts[proof] += 1
    return AnswersProven(**counts)


def _check_key(entry: Entry) -> None:
    statement = AnswerStatement(
        request_id=RequestId(entry.request),
        card_digest=detail.text(entry, "card"),
        verdict=Verdict(detail.text(entry, "verdict")),
        answered_at=detail.number(entry, "answered_at"),
        person=entry.person,
    )
    key = _key_of(entry)
    if not statement.is_signed_by(key, detail.text(entry, "signature")):
        raise VerificationError("this is not the signature of the key that it names")


def _check_passkey(entry: Entry) -> None:
    verdict = Verdict(detail.text(entry, "verdict"))
    challenge = answer_challenge(RequestId(entry.request), detail.text(entry, "card"), verdict, entry.person)
    _check_assertion(entry, challenge)


def _check_policy_key(entry: Entry) -> None:
    if not _policy_statement(entry).is_signed_by(_key_of(entry), detail.text(entry, "signature")):
        raise VerificationError("this is not the signature of the key that it names")


def _check_policy_passkey(entry: Entry) -> None:
    _check_assertion(entry, policy_challenge(_policy_statement(entry)))


def _check_session(entry: Entry) -> None:
    if detail.text(entry, "signature"):
        raise VerificationError("what was said in a session is not signed")


def _check_chat(entry: Entry) -> None:
    if detail.text(entry, "signature") or detail.text(entry, "public_key"):
        raise VerificationError("what was said in a chat is signed for nobody else")
    proof = ChatProof(
        channel=detail.text(entry, "channel"),
        speaker=detail.text(entry, "speaker"),
        signed_at=detail.number(entry, "signed_at"),
        delivery=detail.text(entry, "delivery"),
    )
    if abs(detail.number(entry, "answered_at") - proof.signed_at) > HEARD_SECONDS:
        raise VerificationError(f"it was heard more than {HEARD_SECONDS} s before or after it was said")


def _speaker(entry: Entry) -> tuple[str, str]:
    """A user of a chat under one policy: policies may map them anew."""
    return entry.policy, detail.text(entry, "speaker")


def _policy_statement(entry: Entry) -> PolicyStatement:
    return PolicyStatement(
        proposal_id=detail.text(entry, "proposal"),
        policy=entry.policy,
        replaces=detail.text(entry, "replaces"),
        widening=detail.text(entry, "widening"),
        verdict=PolicyVerdict(detail.text(entry, "verdict")),
        said_at=detail.number(entry, "said_at"),
        person=entry.person,
    )


def _key_of(entry: Entry) -> PublicKey:
    """The key in an entry, which has to be the one whose thumbprint stands there."""
    key = PublicKey.from_bytes(bytes.fromhex(detail.text(entry, "public_key")))
    if key.kid != detail.text(entry, "key"):
        raise VerificationError("this is not the key that it names")
    return key


def _check_assertion(entry: Entry, challenge: bytes) -> None:
    assertion = Assertion(
        credential="",
        authenticator_data=detail.text(entry, "authenticator_data"),
        client_data=detail.text(entry, "client_data"),
        signature=detail.text(entry, "signature"),
    )
    verify_assertion(assertion, detail.text(entry, "public_key"), challenge, origin=None)


_ON_POLICIES = {"key": _check_policy_key, "passkey": _check_policy_passkey, "session": _check_session}
_CHECKS = {
    EntryKind.REQUEST_ANSWERED: {
        "key": _check_key,
        "passkey": _check_passkey,
        "session": _check_session,
        "chat": _check_chat,
    },
    EntryKind.POLICY_PROPOSED: _ON_POLICIES,
    EntryKind.POLICY_ANSWERED: _ON_POLICIES,
}
