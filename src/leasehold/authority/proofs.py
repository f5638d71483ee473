"""Whether answers in a receipt or export were given by whom they name: each signature, verified with nothing else.

Called by `receipt verify` and `ledger verify`, for answers to requests, words on policies that widen, and the words of
both who opened a break-glass. The public half of a key or passkey stands in the entry; that it belongs to the person is
the authority's word, in the entry that added it. What was said in a session has no signature. Of what was said in a
chat only the authority could check the signature, under a secret; what can be checked is that it claims no more, that
it was fresh, and that one user spoke for one person under one policy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import assert_never

import msgspec

from leasehold.decide.chat import HEARD_SECONDS
from leasehold.decide.glass_opening import describe_opening
from leasehold.errors import LeaseholdError, VerificationError
from leasehold.ledger import detail
from leasehold.ledger.entry import Entry, EntryKind
from leasehold.model.glass import Opening
from leasehold.model.ids import RequestId
from leasehold.model.proof import ChatProof, KeyProof, PasskeyProof, SessionProof
from leasehold.model.proposal import PolicyVerdict
from leasehold.model.request import Verdict
from leasehold.token.glass import VouchedGlass, Voucher, parse_glass
from leasehold.token.keys import PublicKey
from leasehold.token.passkey import Assertion, answer_challenge, opening_challenge, policy_challenge, verify_assertion
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


class _Said(msgspec.Struct, frozen=True, kw_only=True):
    """One person's word in an entry, once it was verified: what vouched, and the public key that verified it."""

    person: str
    proof: str
    public_key: str


def check_answers(entries: Iterable[Entry]) -> AnswersProven:
    """Verify every signature under what people said that was taken; what was refused proves nothing and is passed over.

    Raises:
        VerificationError: one is not that of the key or passkey in its entry, over exactly what stands there, or the
            ledger gave what signed to somebody else; `index` names the entry.
    """
    counts = {"key": 0, "passkey": 0, "session": 0, "chat": 0}
    speakers: dict[tuple[str, str], str] = {}
    owners: dict[str, str] = {}
    for entry in entries:
        if entry.kind in (EntryKind.PERSON_ADDED, EntryKind.SIGN_IN_ADDED) and detail.text(entry, "public_key"):
            owners[detail.text(entry, "public_key")] = entry.person
        for said in _verified(entry):
            if owners.get(said.public_key, said.person) != said.person:
                raise VerificationError(f"what signed as {said.person} is of somebody else", index=entry.index)
            if said.proof == "chat" and speakers.setdefault(_speaker(entry), said.person) != said.person:
                words = f"the user who spoke for {said.person} spoke for somebody else"
                raise VerificationError(words, index=entry.index)
            counts[said.proof] += 1
    return AnswersProven(**counts)


def _verified(entry: Entry) -> list[_Said]:
    """What people said in an entry, each verified."""
    if entry.kind not in _READERS or entry.decision == "deny":
        return []
    try:
        return list(_READERS[entry.kind](entry))
    except (LeaseholdError, ValueError) as error:
        raise VerificationError(f"the answer of {entry.person}: {error}", index=entry.index) from None


def _read_answer(entry: Entry) -> Iterator[_Said]:
    """One answer to a request, or one word on a policy."""
    proof = detail.text(entry, "proof")
    checks = _CHECKS[entry.kind]
    if proof not in checks:
        raise VerificationError("it has no known proof")
    checks[proof](entry)
    yield _Said(person=entry.person, proof=proof, public_key=detail.text(entry, "public_key"))


def _read_opening(entry: Entry) -> Iterator[_Said]:
    """The words of both who opened a break-glass."""
    glass = parse_glass(detail.text(entry, "token"))
    opening = glass.opening
    told = (entry.tenant, entry.environment, entry.route, entry.person, detail.text(entry, "second"))
    if told != (opening.tenant, opening.environment, opening.route, opening.opener, opening.second):
        raise VerificationError("the entry says something else than what was agreed")
    if describe_opening(opening).items() - entry.detail.items():
        raise VerificationError("the entry says something else than what was agreed")
    if isinstance(glass, VouchedGlass):
        for person, voucher in ((opening.opener, glass.opener), (opening.second, glass.second)):
            proof = _check_voucher(opening, person, voucher)
            yield _Said(person=person, proof=proof, public_key=voucher.public_key)
        return
    keys = [detail.text(entry, name) for name in ("opener_key", "second_key")]
    if not glass.is_signed_by(*(PublicKey.from_bytes(bytes.fromhex(key)) for key in keys)):
        raise VerificationError("these are not the signatures of the keys that it names")
    for person, key in zip((opening.opener, opening.second), keys, strict=True):
        yield _Said(person=person, proof="key", public_key=key)


def _check_voucher(opening: Opening, person: str, voucher: Voucher) -> str:
    """Verify what vouched for one of them in the console; answers its kind."""
    match voucher.proof:
        case SessionProof():
            return "session"
        case PasskeyProof() as proof:
            assertion = Assertion(
                credential="",
                authenticator_data=proof.authenticator_data,
                client_data=proof.client_data,
                signature=proof.signature,
            )
            verify_assertion(assertion, voucher.public_key, opening_challenge(opening, person), origin=None)
            return "passkey"
        case KeyProof():
            raise VerificationError("a key opens it at a terminal, where its signature stands by itself")
        case _:
            assert_never(voucher.proof)


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
_READERS: dict[EntryKind, Callable[[Entry], Iterator[_Said]]] = {
    **dict.fromkeys(_CHECKS, _read_answer),
    EntryKind.GLASS_OPENED: _read_opening,
}
