"""How people sign in at this authority: what they sign in with, and who is signed in now.

Called by the server and the command line. Verifying a password is theirs; what was verified comes here by its id.
"""

from __future__ import annotations

import hashlib
import threading
from collections import Counter

import msgspec

from leasehold.authority.engine import Engine
from leasehold.decide.lifecycles import PersonState
from leasehold.decide.own_sign_ins import RemoveOwnSignIn, SetOwnSignIn
from leasehold.decide.proven import proven_roles
from leasehold.decide.provider_sign_ins import Account, SignInByProvider
from leasehold.decide.rows import AUTHORITY_WIDE, PersonRow, SessionRow
from leasehold.decide.sign_ins import (
    AddSignIn,
    BeginSession,
    EndSession,
    RemoveSignIn,
    RenewSecret,
    TouchSession,
)
from leasehold.decide.voices import SessionVoice, is_of_provider, refuse_session, sign_in_of, sign_ins_of
from leasehold.errors import Denied, VerificationError
from leasehold.model.decision import Reason, deny
from leasehold.model.instant import Instant
from leasehold.model.proof import PasskeyProof, SessionProof, SignIn, SignInMethod
from leasehold.model.text import check_identifier
from leasehold.token import base64url
from leasehold.token.passkey import Assertion, check_passkey_key, verify_assertion

__all__ = [
    "SESSION_ID_BYTES",
    "FailedSignIns",
    "SignIns",
    "SignedIn",
    "check_passkey",
    "digest_of_session",
    "passkey_of",
    "passkey_proof",
]

SESSION_ID_BYTES = 32
TOUCH_SECONDS = 60
"""A session in use is written down at most so often."""


class SignedIn(msgspec.Struct, frozen=True, kw_only=True):
    """A person who is signed in, how, and since when they proved it. Times in Unix seconds."""

    person: str
    session: str
    sign_in: str
    method: SignInMethod
    authenticated_at: int
    expires_at: int

    @property
    def voice(self) -> SessionVoice:
        """Who speaks, for a step."""
        return SessionVoice(person=self.person, session=self.session)

    @property
    def proof(self) -> SessionProof:
        """What vouches for what they say, where nothing is signed."""
        return SessionProof(sign_in=self.sign_in, method=self.method, authenticated_at=self.authenticated_at)


class FailedSignIns:
    """How many tries to sign in failed, by person and minute. Owns its lock; emptied by the sweep."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, int]] = Counter()
        self._lock = threading.Lock()

    def add(self, person: str, minute: int) -> None:
        """Count one; `person` is empty for a name that nobody has."""
        with self._lock:
            self._counts[(person, minute)] += 1

    def take(self) -> dict[tuple[str, int], int]:
        """What was counted since the last time, and start again."""
        with self._lock:
            counts, self._counts = self._counts, Counter()
        return dict(counts)


class SignIns:
    """What people sign in with, and their sessions. Threads may share it."""

    def __init__(self, engine: Engine, failed: FailedSignIns) -> None:
        self._engine = engine
        self._failed = failed

    # what people sign in with

    def set_password(self, person: str, hashed: str, *, by: str) -> str:
        """Give a person a password, in the place of the one that they had; answers the id of the new sign-in.

        Raises:
            InvalidError: this is no person's name, or no argon2id hash.
            Denied: the person has too many ways to sign in.
        """
        check_identifier(person, "person")
        sign_in = self._password(hashed)
        return self._engine.ask(lambda _: AddSignIn(person=person, sign_in=sign_in, by=by))

    def set_own_password(self, who: SignedIn, hashed: str) -> str:
        """Give a signed-in person a password, in the place of the one that they had, whose sessions end; others stay.

        Raises:
            InvalidError: this is no argon2id hash.
            Denied: their session is over, they proved too long ago who they are, or have too many ways to sign in.
        """
        step = SetOwnSignIn(voice=who.voice, sign_in=self._password(hashed))
        return self._engine.ask(lambda _: step)

    def _password(self, hashed: str) -> SignIn:
        system = self._engine.system
        return SignIn(
            sign_in=system.new_id("signin"),
            method=SignInMethod.PASSWORD,
            added_at=system.now().seconds,
            secret=hashed,
        )

    def add_passkey(self, person: str, credential: str, public_key: str, *, count: int, by: str) -> str:
        """Give a person a passkey beside what they have: the id that its authenticator gave it, and its public key as
        base64url of its SubjectPublicKeyInfo.

        Raises:
            InvalidError: it is no public key that a passkey can have.
            Denied: it was brought before, or the person has too many ways to sign in.
        """
        check_identifier(person, "person")
        sign_in = self._passkey(credential, public_key, count)
        return self._engine.ask(lambda _: AddSignIn(person=person, sign_in=sign_in, by=by))

    def add_own_passkey(self, who: SignedIn, credential: str, public_key: str, *, count: int) -> str:
        """Give a signed-in person a passkey beside what they have, as `add_passkey` does.

        Raises:
            InvalidError: it is no public key that a passkey can have.
            Denied: their session is over, they proved too long ago who they are, it was brought before, or they have
                too many ways to sign in.
        """
        step = SetOwnSignIn(voice=who.voice, sign_in=self._passkey(credential, public_key, count))
        return self._engine.ask(lambda _: step)

    def _passkey(self, credential: str, public_key: str, count: int) -> SignIn:
        check_passkey_key(base64url.decode(public_key))
        system = self._engine.system
        return SignIn(
            sign_in=system.new_id("signin"),
            method=SignInMethod.PASSKEY,
            added_at=system.now().seconds,
            credential=credential,
            public_key=public_key,
            count=count,
        )

    def person_of_passkey(self, credential: str) -> str:
        """Whose passkey this is; empty if it is nobody's."""
        rows = self._engine.store.queries.people([AUTHORITY_WIDE])
        named = (row.person for row in rows if any(known.credential == credential for known in _sign_ins(row)))
        return next(named, "") if credential else ""

    def renew(self, person: str, sign_in: SignIn, hashed: str) -> str:
        """Keep a password as it is, under a hash of today's cost.

        Raises:
            Denied: the sign-in was taken away or changed meanwhile.
        """
        step = RenewSecret(person=person, sign_in=sign_in.sign_in, before=sign_in.secret, secret=hashed)
        return self._engine.ask(lambda _: step)

    def remove(self, person: str, sign_in: str, *, by: str) -> str:
        """Take a way to sign in away.

        Raises:
            Denied: the person has no such sign-in.
        """
        return self._engine.ask(lambda _: RemoveSignIn(person=person, sign_in=sign_in, by=by))

    def remove_own(self, who: SignedIn, sign_in: str) -> str:
        """Take one of a signed-in person's own ways to sign in away.

        Raises:
            Denied: their session is over, they proved too long ago who they are, or have no such sign-in.
        """
        step = RemoveOwnSignIn(voice=who.voice, sign_in=sign_in)
        return self._engine.ask(lambda _: step)

    def of(self, person: str) -> tuple[SignIn, ...]:
        """By what a person can sign in; of one who is not known here, nothing."""
        row = self._engine.row(PersonRow, AUTHORITY_WIDE, person)
        return _sign_ins(row)

    # sessions

    def begin(
        self, person: str, sign_in: str, *, address: str, ends: bytes = b"", count: int = 0
    ) -> tuple[bytes, SignedIn]:
        """Sign a person in who was verified by this sign-in; answers the session's id, for their browser alone.

        `ends` is the id that the browser had before, which is worth nothing from here on; `count` how often a passkey
        says it has signed.

        Raises:
            Denied: the sign-in was taken away meanwhile.
        """
        session_id = self._engine.system.random_bytes(SESSION_ID_BYTES)
        step = BeginSession(
            person=person,
            sign_in=sign_in,
            session=digest_of_session(session_id),
            address=address,
            ends=digest_of_session(ends) if ends else "",
            count=count,
        )
        return session_id, _signed_in(self._engine.ask(lambda _: step))

    def begin_by_provider(self, account: Account, *, address: str, ends: bytes = b"") -> tuple[bytes, SignedIn]:
        """Sign in whoever a provider has proven somebody to be; answers as `begin` does. Groups count from here on.

        Raises:
            Denied: nobody here, somebody else, or the provider is not the policy's any more.
        """
        session_id = self._engine.system.random_bytes(SESSION_ID_BYTES)
        sign_in = self._engine.system.new_id("signin")
        row = self._engine.ask(
            lambda policy: SignInByProvider(
                policy_document=policy,
                account=account,
                sign_in=sign_in,
                session=digest_of_session(session_id),
                address=address,
                ends=digest_of_session(ends) if ends else "",
            )
        )
        return session_id, _signed_in(row)

    def roles_of(self, person: str) -> tuple[str, ...]:
        """The roles that groups of a provider prove of a person now."""
        row = self._engine.row(PersonRow, AUTHORITY_WIDE, person)
        return proven_roles(self._engine.active_policy(), row, self._engine.system.now())

    def find(self, session_id: bytes) -> SignedIn | None:
        """Who is signed in under this id now; None if nobody is. Marks the session as used."""
        name = digest_of_session(session_id)
        signed_in, seen_at = self._look(name)
        if signed_in is None:
            return None
        if self._engine.system.now().seconds - seen_at >= TOUCH_SECONDS:
            try:
                self._engine.ask(lambda _: TouchSession(person=signed_in.person, session=name))
            except Denied as refusal:
                if refusal.decision.reason is Reason.NOT_SIGNED_IN:
                    return None
        return signed_in

    def is_open(self, signed_in: SignedIn) -> bool:
        """Whether this session still is one. Does not mark it as used."""
        return self._look(signed_in.session)[0] is not None

    def end(self, session_id: bytes) -> None:
        """Sign out. Of a session that is over already this is harmless."""
        name = digest_of_session(session_id)
        self._engine.ask(lambda _: EndSession(session=name))

    def count_failure(self, person: str) -> None:
        """Remember that a try to sign in as somebody failed, for the ledger."""
        self._failed.add(person if self.of(person) else "", self._engine.system.now().seconds // 60)

    def _look(self, name: str) -> tuple[SignedIn | None, int]:
        """The session by committed state, and when it was last marked as used."""
        session = self._engine.row(SessionRow, AUTHORITY_WIDE, name)
        if session is None:
            return None, 0
        queries = self._engine.store.queries
        person = self._engine.row(PersonRow, AUTHORITY_WIDE, session.person)
        control = queries.control()
        now = max(self._engine.system.now(), Instant(control.last_time_ms))
        used = sign_in_of(person, session.sign_in)
        is_over = refuse_session(control, session, person, now) is not None
        if is_over or (used is not None and not is_of_provider(self._engine.active_policy(), used)):
            return None, session.seen_at
        return _signed_in(session), session.seen_at


def passkey_of(row: PersonRow | None, credential: str) -> SignIn:
    """The passkey of a person that has this credential id.

    Raises:
        Denied: they have none such.
    """
    found = next((known for known in _sign_ins(row) if credential and known.credential == credential), None)
    if found is None:
        raise Denied(deny(Reason.BAD_SIGNATURE, "this passkey is not one of this person's", enough="add it first"))
    return found


def check_passkey(assertion: Assertion, known: SignIn, challenge: bytes, origin: str) -> int:
    """How often a passkey says it has signed, if this is what it signed on a page of `origin`.

    Raises:
        Denied: it is not.
    """
    try:
        return verify_assertion(assertion, known.public_key, challenge, origin=origin)
    except VerificationError as error:
        raise Denied(deny(Reason.BAD_SIGNATURE, str(error))) from None


def passkey_proof(row: PersonRow | None, assertion: Assertion, challenge: bytes, origin: str) -> PasskeyProof:
    """What vouches for a person whose passkey signed this challenge on a page of `origin`.

    Raises:
        Denied: it is none of theirs, or did not.
    """
    known = passkey_of(row, assertion.credential)
    return PasskeyProof(
        sign_in=known.sign_in,
        authenticator_data=assertion.authenticator_data,
        client_data=assertion.client_data,
        signature=assertion.signature,
        count=check_passkey(assertion, known, challenge, origin),
    )


def _sign_ins(row: PersonRow | None) -> tuple[SignIn, ...]:
    return sign_ins_of(row) if row is not None and row.state == PersonState.ACTIVE else ()


def digest_of_session(session_id: bytes) -> str:
    """The name under which a session is kept: who reads the database cannot make the cookie of it."""
    return hashlib.sha256(b"leasehold session v1\0" + session_id).hexdigest()


def _signed_in(row: SessionRow) -> SignedIn:
    return SignedIn(
        person=row.person,
        session=row.session,
        sign_in=row.sign_in,
        method=SignInMethod(row.method),
        authenticated_at=row.authenticated_at,
        expires_at=row.expires_at,
    )
