"""Who speaks in a step, and whether they still may: a person with their key, one who is signed in, a chat's user.

Asked by every step that a person submits. What vouched for them must stand at that very moment: a removed key, an
ended session, a changed password, a user whom the policy does not name any more say nothing (invariant I4).
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec
from msgspec.structs import replace

from leasehold.decide.facts import Facts, Need, Ref
from leasehold.decide.lifecycles import PersonState, SessionState
from leasehold.decide.rows import AUTHORITY_WIDE, ControlRow, PersonRow, SessionRow
from leasehold.model.decision import Decision, Reason, deny
from leasehold.model.instant import Instant
from leasehold.model.proof import (
    AnswerProof,
    ChatProof,
    KeyProof,
    Proof,
    SessionProof,
    SignIn,
    SignInMethod,
    vouched_by,
)
from leasehold.policy.document import Policy
from leasehold.token.keys import raw_thumbprint

__all__ = [
    "IDLE_SECONDS",
    "ChatVoice",
    "KeyVoice",
    "SessionVoice",
    "Voice",
    "counted",
    "encode_sign_ins",
    "is_answer_vouched",
    "is_of_provider",
    "is_of_session",
    "is_of_voice",
    "refuse_count",
    "refuse_session",
    "refuse_stale",
    "refuse_voice",
    "sign_in_of",
    "sign_ins_of",
    "voice_needs",
]

IDLE_SECONDS = 1800
"""A session that nobody used for so long is over."""

_DECODER = msgspec.json.Decoder(tuple[SignIn, ...])


class KeyVoice(msgspec.Struct, frozen=True, kw_only=True):
    """A person whose key signed what they say, or is in hand."""

    person: str
    public_key: bytes


class SessionVoice(msgspec.Struct, frozen=True, kw_only=True):
    """A person who is signed in. `session` is the digest under which the session is kept."""

    person: str
    session: str


Voice: TypeAlias = KeyVoice | SessionVoice


class ChatVoice(msgspec.Struct, frozen=True, kw_only=True):
    """A person as a chat's user: only ever good for an answer, whose proof says which user, heard by which channel."""

    person: str


def sign_ins_of(row: PersonRow) -> tuple[SignIn, ...]:
    """By what a person can sign in, oldest first."""
    return _DECODER.decode(row.sign_ins)


def encode_sign_ins(sign_ins: tuple[SignIn, ...]) -> bytes:
    """The bytes that a person's row keeps."""
    return msgspec.json.encode(sign_ins)


def _is_vouched(row: PersonRow | None, proof: Proof) -> bool:
    """Whether what vouched for a word is still that person's."""
    if row is None or row.state != PersonState.ACTIVE:
        return False
    if isinstance(proof, KeyProof):
        return row.public_key != b"" and raw_thumbprint(row.public_key) == proof.key_id
    return vouched_by(proof) in {known.sign_in for known in sign_ins_of(row)}


def is_of_provider(policy: Policy, known: SignIn) -> bool:
    """Whether the policy still names the provider by which somebody signs in; of other ways to sign in always."""
    if known.method is not SignInMethod.OIDC:
        return True
    rule = policy.sign_in.get(known.provider)
    return rule is not None and rule.issuer == known.issuer


def is_answer_vouched(policy: Policy, row: PersonRow | None, proof: AnswerProof) -> bool:
    """The same of an answer by the live policy: it still names the provider, or says whose a chat's user is."""
    if not isinstance(proof, ChatProof):
        known = sign_in_of(row, vouched_by(proof))
        return _is_vouched(row, proof) and (known is None or is_of_provider(policy, known))
    is_known = row is not None and row.state == PersonState.ACTIVE
    return row is not None and is_known and policy.reviewer(proof.channel, proof.speaker) == row.person


def is_of_voice(facts: Facts, voice: Voice | ChatVoice, proof: AnswerProof) -> bool:
    """Whether an answer's proof is one that such a voice gives: a chat's of a chat, any other as `is_of_session`."""
    if isinstance(voice, ChatVoice) or isinstance(proof, ChatProof):
        return isinstance(voice, ChatVoice) and isinstance(proof, ChatProof)
    return is_of_session(facts, voice, proof)


def is_of_session(facts: Facts, voice: Voice, proof: Proof) -> bool:
    """Whether a proof by session says of the session what its row says. Other proofs say nothing of one.

    Ask `refuse_voice` first: this is about a voice that counts.
    """
    if not isinstance(proof, SessionProof):
        return True
    session = facts.get(SessionRow, AUTHORITY_WIDE, voice.session) if isinstance(voice, SessionVoice) else None
    told = (proof.sign_in, proof.method, proof.authenticated_at)
    return session is not None and told == (session.sign_in, session.method, session.authenticated_at)


def sign_in_of(row: PersonRow | None, sign_in: str) -> SignIn | None:
    """One of the ways by which a person can sign in now."""
    known = sign_ins_of(row) if row is not None and row.state == PersonState.ACTIVE else ()
    return next((one for one in known if one.sign_in == sign_in), None)


def refuse_count(known: SignIn, count: int) -> Decision | None:
    """Why a passkey's count of what it signed cannot be: one that does not grow comes of a copy (WebAuthn §6.1.1)."""
    if count > known.count or (count == known.count == 0):
        return None
    return deny(
        Reason.BAD_SIGNATURE,
        "this passkey has signed before what it says it signs now; there may be a copy of it",
        check=f"count > {known.count}",
        enough="remove this passkey, and add a new one",
    )


def counted(row: PersonRow, known: SignIn, count: int) -> PersonRow:
    """The person's row with what their passkey says it has signed by now."""
    renewed = tuple(replace(one, count=count) if one.sign_in == known.sign_in else one for one in sign_ins_of(row))
    return replace(row, sign_ins=encode_sign_ins(renewed))


def voice_needs(voice: Voice | ChatVoice) -> list[Need]:
    """The facts that `refuse_voice` asks for."""
    person = Ref(PersonRow, (AUTHORITY_WIDE, voice.person))
    if not isinstance(voice, SessionVoice):
        return [person]
    return [person, Ref(SessionRow, (AUTHORITY_WIDE, voice.session))]


def refuse_voice(facts: Facts, voice: Voice | ChatVoice, now: Instant) -> Decision | None:
    """Why this voice is not that of the person whom it names."""
    person = facts.get(PersonRow, AUTHORITY_WIDE, voice.person)
    if isinstance(voice, ChatVoice):
        return _refuse_unknown(person, voice.person)
    if isinstance(voice, SessionVoice):
        session = facts.get(SessionRow, AUTHORITY_WIDE, voice.session)
        is_own = session is not None and session.person == voice.person
        return refuse_session(facts.control, session if is_own else None, person, now)
    if person is not None and person.state == PersonState.ACTIVE and person.public_key == voice.public_key != b"":
        return None
    return deny(
        Reason.BAD_SIGNATURE,
        f"{voice.person} has no such key here",
        check="a person's own key",
        enough="a key added with: leasehold person add",
    )


def _refuse_unknown(row: PersonRow | None, person: str) -> Decision | None:
    """Why somebody whom a chat's user is said to be cannot answer: only people who are known here can be removed."""
    if row is not None and row.state == PersonState.ACTIVE:
        return None
    return deny(
        Reason.NOT_ENTITLED,
        f"{person} is not known here",
        check="a person with a key or a sign-in",
        enough=f"leasehold person add {person}, or: leasehold person password {person}",
    )


def refuse_stale(facts: Facts, voice: Voice, now: Instant, seconds: int) -> Decision | None:
    """Why a person has to prove once more who they are: they did so longer ago than this. A key in hand proves it now.

    Ask `refuse_voice` first: this is about a voice that counts.
    """
    if isinstance(voice, KeyVoice):
        return None
    session = facts.get(SessionRow, AUTHORITY_WIDE, voice.session)
    if session is not None and now.seconds - session.authenticated_at <= seconds:
        return None
    return deny(
        Reason.SIGN_IN_TOO_OLD,
        f"this takes a sign-in of the last {seconds} s",
        check=f"now - authenticated_at <= {seconds}",
        enough="sign in again, then do it",
    )


def refuse_session(
    control: ControlRow, session: SessionRow | None, person: PersonRow | None, now: Instant
) -> Decision | None:
    """Why a session is over: ended, of another epoch, past its time, unused too long, or its sign-in was taken away."""
    check = ""
    if session is None or session.state != SessionState.OPEN:
        check = "the session is open"
    elif not control.is_of_this_epoch(session.recorded):
        check = "it began in this epoch"
    elif now.reached(session.expires_at) or now.reached(session.seen_at + IDLE_SECONDS):
        check = f"used within {IDLE_SECONDS // 60} min, and not past its end"
    elif person is None or person.state != PersonState.ACTIVE:
        check = f"{session.person} is known here"
    elif session.sign_in not in {known.sign_in for known in sign_ins_of(person)}:
        check = "the sign-in that began it still stands"
    if not check:
        return None
    return deny(Reason.NOT_SIGNED_IN, "this session is over", check=check, enough="sign in again")
