"""Who speaks in a step, and whether they still may: a person with their key, or one who is signed in.

Asked by every step that a person submits. What vouched for them must stand at that very moment: a removed key, an
ended session, a changed password say nothing any more (invariant I4).
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec
from msgspec.structs import replace

from leasehold.decide.facts import Facts, Need, Ref
from leasehold.decide.lifecycles import PersonState, SessionState
from leasehold.decide.rows import AUTHORITY_WIDE, PersonRow, SessionRow
from leasehold.model.decision import Decision, Reason, deny
from leasehold.model.instant import Instant
from leasehold.model.proof import KeyProof, Proof, SessionProof, SignIn, vouched_by
from leasehold.token.keys import raw_thumbprint

__all__ = [
    "IDLE_SECONDS",
    "KeyVoice",
    "SessionVoice",
    "Voice",
    "counted",
    "encode_sign_ins",
    "is_of_session",
    "is_vouched",
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


def sign_ins_of(row: PersonRow) -> tuple[SignIn, ...]:
    """By what a person can sign in, oldest first."""
    return _DECODER.decode(row.sign_ins)


def encode_sign_ins(sign_ins: tuple[SignIn, ...]) -> bytes:
    """The bytes that a person's row keeps."""
    return msgspec.json.encode(sign_ins)


def is_vouched(row: PersonRow | None, proof: Proof) -> bool:
    """Whether what vouched for an answer is still that person's."""
    if row is None or row.state != PersonState.ACTIVE:
        return False
    if isinstance(proof, KeyProof):
        return row.public_key != b"" and raw_thumbprint(row.public_key) == proof.key_id
    return vouched_by(proof) in {known.sign_in for known in sign_ins_of(row)}


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


def voice_needs(voice: Voice) -> list[Need]:
    """The facts that `refuse_voice` asks for."""
    person = Ref(PersonRow, (AUTHORITY_WIDE, voice.person))
    if isinstance(voice, KeyVoice):
        return [person]
    return [person, Ref(SessionRow, (AUTHORITY_WIDE, voice.session))]


def refuse_voice(facts: Facts, voice: Voice, now: Instant) -> Decision | None:
    """Why this voice is not that of the person whom it names."""
    person = facts.get(PersonRow, AUTHORITY_WIDE, voice.person)
    if isinstance(voice, SessionVoice):
        session = facts.get(SessionRow, AUTHORITY_WIDE, voice.session)
        is_own = session is not None and session.person == voice.person
        return refuse_session(session if is_own else None, person, now)
    if person is not None and person.state == PersonState.ACTIVE and person.public_key == voice.public_key != b"":
        return None
    return deny(
        Reason.BAD_SIGNATURE,
        f"{voice.person} has no such key here",
        check="a person's own key",
        enough="a key added with: leasehold person add",
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


def refuse_session(session: SessionRow | None, person: PersonRow | None, now: Instant) -> Decision | None:
    """Why a session is over: ended, past its time, unused for too long, or its sign-in was taken away."""
    check = ""
    if session is None or session.state != SessionState.OPEN:
        check = "the session is open"
    elif now.reached(session.expires_at) or now.reached(session.seen_at + IDLE_SECONDS):
        check = f"used within {IDLE_SECONDS // 60} min, and not past its end"
    elif person is None or person.state != PersonState.ACTIVE:
        check = f"{session.person} is known here"
    elif session.sign_in not in {known.sign_in for known in sign_ins_of(person)}:
        check = "the sign-in that began it still stands"
    if not check:
        return None
    return deny(Reason.NOT_SIGNED_IN, "this session is over", check=check, enough="sign in again")
