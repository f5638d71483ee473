"""How people sign in: the ways a person has, and the sessions that come of them.

Passwords and the like were verified before the step, by whoever knows how; here what was verified must still be the
person's. A session is kept under the digest of an id that only the browser has.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import msgspec
from msgspec.structs import replace

from leasehold.decide.facts import Changes, Facts, Need, Ref, StepAnswer
from leasehold.decide.lifecycles import PersonState, SessionState
from leasehold.decide.rows import AUTHORITY_WIDE, PersonRow, SessionRow
from leasehold.decide.voices import counted, encode_sign_ins, refuse_count, refuse_session, sign_in_of, sign_ins_of
from leasehold.ledger.entry import Entry, EntryKind
from leasehold.model.decision import Decision, Reason, allow, deny
from leasehold.model.instant import Instant
from leasehold.model.proof import SignIn, SignInMethod

__all__ = [
    "MAX_SIGN_INS",
    "SESSION_SECONDS",
    "AddSignIn",
    "BeginSession",
    "CountFailedSignIns",
    "EndSession",
    "ForgetSessions",
    "RemoveSignIn",
    "RenewSecret",
    "TouchSession",
    "begin_session",
    "ended",
    "session_needs",
]

SESSION_SECONDS = 12 * 3600
"""No session is longer than a working day."""

MAX_SIGN_INS = 20


class AddSignIn(msgspec.Struct, frozen=True, kw_only=True):
    """Give a person a way to sign in. A new password takes the place of the old one, whose sessions and answers end; a
    passkey stands beside others, and belongs to one person for ever (threat case 80).
    """

    person: str
    sign_in: SignIn
    by: str

    policy: ClassVar[None] = None
    needs_clock: ClassVar[bool] = True

    def keys(self) -> Sequence[Need]:
        names = (self.person, *([self._marker] if self.sign_in.credential else []))
        return [Ref(PersonRow, (AUTHORITY_WIDE, name)) for name in names]

    @property
    def _marker(self) -> str:
        """The row that says that a credential was brought, so that nobody else can bring it."""
        return f"passkey:{self.sign_in.credential}"

    def _refuse(self, facts: Facts, row: PersonRow | None) -> Decision | None:
        if row is not None and row.state == PersonState.KEY:
            return deny(Reason.CONFLICT, f"{self.person} is the name of a key, not of a person")
        if row is not None and row.state == PersonState.LEFT:
            return deny(Reason.CONFLICT, f"{self.person} was let go", enough=f"leasehold person add {self.person}")
        if self.sign_in.credential and facts.get(PersonRow, AUTHORITY_WIDE, self._marker) is not None:
            return deny(Reason.CONFLICT, "this passkey was brought before; make a new one")
        return None

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[str], Changes]:
        row = facts.get(PersonRow, AUTHORITY_WIDE, self.person)
        if (refusal := self._refuse(facts, row)) is not None:
            return StepAnswer(refusal), Changes()
        if row is None or row.state != PersonState.ACTIVE:
            row = PersonRow(
                tenant=AUTHORITY_WIDE,
                person=self.person,
                public_key=b"",
                state=PersonState.ACTIVE,
                recorded=facts.next_index,
            )
        kept = tuple(known for known in sign_ins_of(row) if not self._replaces(known))
        if len(kept) >= MAX_SIGN_INS:
            return StepAnswer(deny(Reason.CONFLICT, f"{self.person} has {MAX_SIGN_INS} ways to sign in")), Changes()
        gone = tuple(known.sign_in for known in sign_ins_of(row) if self._replaces(known))
        entry = Entry(
            kind=EntryKind.SIGN_IN_ADDED,
            person=self.person,
            detail={
                "sign_in": self.sign_in.sign_in,
                "method": self.sign_in.method,
                "by": self.by,
                **({"replaced": gone} if gone else {}),
                **self._passkey_detail(),
            },
        )
        changed = replace(row, sign_ins=encode_sign_ins((*kept, self.sign_in)))
        marker = replace(row, person=self._marker, public_key=b"", state=PersonState.KEY, sign_ins=b"[]")
        rows = (changed, marker) if self.sign_in.credential else (changed,)
        return StepAnswer(allow(), self.sign_in.sign_in), Changes(rows=rows, entries=(entry,))

    def _passkey_detail(self) -> dict[str, str]:
        if not self.sign_in.credential:
            return {}
        return {"credential": self.sign_in.credential, "public_key": self.sign_in.public_key}

    def _replaces(self, known: SignIn) -> bool:
        return self.sign_in.method is SignInMethod.PASSWORD and known.method is SignInMethod.PASSWORD


class RemoveSignIn(msgspec.Struct, frozen=True, kw_only=True):
    """Take a way to sign in away: its sessions end, and answers that it vouched for count no more."""

    person: str
    sign_in: str
    by: str

    policy: ClassVar[None] = None
    needs_clock: ClassVar[bool] = False

    def keys(self) -> Sequence[Need]:
        return [Ref(PersonRow, (AUTHORITY_WIDE, self.person))]

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[str], Changes]:
        row = facts.get(PersonRow, AUTHORITY_WIDE, self.person)
        known = sign_ins_of(row) if row is not None and row.state == PersonState.ACTIVE else ()
        kept = tuple(other for other in known if other.sign_in != self.sign_in)
        if row is None or len(kept) == len(known):
            return StepAnswer(deny(Reason.NOT_FOUND, f"{self.person} has no sign-in {self.sign_in}")), Changes()
        entry = Entry(
            kind=EntryKind.SIGN_IN_REMOVED, person=self.person, detail={"sign_in": self.sign_in, "by": self.by}
        )
        return StepAnswer(allow(), self.sign_in), Changes(
            rows=(replace(row, sign_ins=encode_sign_ins(kept)),), entries=(entry,)
        )


class RenewSecret(msgspec.Struct, frozen=True, kw_only=True):
    """Keep the same password under a hash of today's cost. It stays the same sign-in, so nothing ends."""

    person: str
    sign_in: str
    before: str
    secret: str

    policy: ClassVar[None] = None
    needs_clock: ClassVar[bool] = False

    def keys(self) -> Sequence[Need]:
        return [Ref(PersonRow, (AUTHORITY_WIDE, self.person))]

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[str], Changes]:
        row = facts.get(PersonRow, AUTHORITY_WIDE, self.person)
        known = sign_ins_of(row) if row is not None and row.state == PersonState.ACTIVE else ()
        found = next((one for one in known if (one.sign_in, one.secret) == (self.sign_in, self.before)), None)
        if row is None or found is None:
            return StepAnswer(deny(Reason.NOT_FOUND, f"{self.person} has no sign-in {self.sign_in}")), Changes()
        renewed = tuple(replace(one, secret=self.secret) if one is found else one for one in known)
        return StepAnswer(allow(), self.sign_in), Changes(rows=(replace(row, sign_ins=encode_sign_ins(renewed)),))


class BeginSession(msgspec.Struct, frozen=True, kw_only=True):
    """Sign a person in. `session` is the digest of a fresh id, `ends` that of the browser's earlier session, if any.

    `address` is where the person came from, as far as the server knows; `count` what a passkey says it has signed.
    """

    person: str
    sign_in: str
    session: str
    address: str
    ends: str = ""
    count: int = 0

    policy: ClassVar[None] = None
    needs_clock: ClassVar[bool] = True

    def keys(self) -> Sequence[Need]:
        return [Ref(PersonRow, (AUTHORITY_WIDE, self.person)), *session_needs(self.session, self.ends)]

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[SessionRow], Changes]:
        row = facts.get(PersonRow, AUTHORITY_WIDE, self.person)
        used = sign_in_of(row, self.sign_in)
        if row is None or used is None or used.method is SignInMethod.OIDC:
            return StepAnswer(deny(Reason.NOT_SIGNED_IN, "this sign-in does not stand any more")), Changes()
        session = begin_session(facts, used, self.person, self.session, now.seconds)
        if session is None:
            return StepAnswer(deny(Reason.NOT_SIGNED_IN, "this session began before")), Changes()
        if used.method is SignInMethod.PASSKEY and (refusal := refuse_count(used, self.count)) is not None:
            return StepAnswer(refusal), Changes()
        detail: dict[str, str | int | tuple[str, ...]] = {
            "sign_in": used.sign_in,
            "method": used.method,
            "session": self.session,
            "address": self.address,
        }
        entry = Entry(kind=EntryKind.SIGNED_IN, person=self.person, detail=detail)
        people = (counted(row, used, self.count),) if self.count else ()
        rows = (*ended(facts, self.ends), *people, session)
        return StepAnswer(allow(), session), Changes(rows=rows, entries=(entry,))


def session_needs(session: str, ends: str) -> list[Need]:
    """The rows of a session that begins, and of the browser's earlier one, if any."""
    return [Ref(SessionRow, (AUTHORITY_WIDE, name)) for name in (session, ends) if name]


def begin_session(facts: Facts, used: SignIn, person: str, session: str, authenticated_at: int) -> SessionRow | None:
    """A fresh session by this sign-in; None if there is one of this name. `authenticated_at` is in Unix seconds."""
    if facts.get(SessionRow, AUTHORITY_WIDE, session) is not None:
        return None
    return SessionRow(
        tenant=AUTHORITY_WIDE,
        session=session,
        person=person,
        sign_in=used.sign_in,
        method=used.method,
        state=SessionState.OPEN,
        authenticated_at=authenticated_at,
        seen_at=facts.now.seconds,
        expires_at=facts.now.seconds + SESSION_SECONDS,
        recorded=facts.next_index,
    )


def ended(facts: Facts, session: str) -> tuple[SessionRow, ...]:
    """The row of a browser's earlier session, over; nothing where there is none that is open."""
    row = facts.get(SessionRow, AUTHORITY_WIDE, session) if session else None
    return (replace(row, state=SessionState.ENDED),) if row is not None and row.state == SessionState.OPEN else ()


class EndSession(msgspec.Struct, frozen=True, kw_only=True):
    """Sign out."""

    session: str

    policy: ClassVar[None] = None
    needs_clock: ClassVar[bool] = False

    def keys(self) -> Sequence[Need]:
        return [Ref(SessionRow, (AUTHORITY_WIDE, self.session))]

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[str], Changes]:
        row = facts.get(SessionRow, AUTHORITY_WIDE, self.session)
        if row is None or row.state != SessionState.OPEN:
            return StepAnswer(allow(), self.session), Changes()
        entry = Entry(kind=EntryKind.SIGNED_OUT, person=row.person, detail={"session": self.session})
        return StepAnswer(allow(), self.session), Changes(
            rows=(replace(row, state=SessionState.ENDED),), entries=(entry,)
        )


class TouchSession(msgspec.Struct, frozen=True, kw_only=True):
    """Write down that a session is in use, so that it does not end for want of it. Revives none that is over."""

    person: str
    session: str

    policy: ClassVar[None] = None
    needs_clock: ClassVar[bool] = True

    def keys(self) -> Sequence[Need]:
        return [Ref(SessionRow, (AUTHORITY_WIDE, self.session)), Ref(PersonRow, (AUTHORITY_WIDE, self.person))]

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[str], Changes]:
        row = facts.get(SessionRow, AUTHORITY_WIDE, self.session)
        refusal = refuse_session(facts.control, row, facts.get(PersonRow, AUTHORITY_WIDE, self.person), now)
        if refusal is not None or row is None:
            return StepAnswer(refusal or deny(Reason.NOT_SIGNED_IN, "there is no such session")), Changes()
        return StepAnswer(allow(), self.session), Changes(rows=(replace(row, seen_at=now.seconds),))


class ForgetSessions(msgspec.Struct, frozen=True, kw_only=True):
    """Take out sessions whose time is over, whoever ended them: beginnings and ends stand in the ledger. Answers how
    many. An id that is not known is no session, and ids are random, so none comes back."""

    sessions: tuple[str, ...]

    policy: ClassVar[None] = None
    needs_clock: ClassVar[bool] = True

    def keys(self) -> Sequence[Need]:
        return [Ref(SessionRow, (AUTHORITY_WIDE, name)) for name in self.sessions]

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[int], Changes]:
        rows = (facts.get(SessionRow, AUTHORITY_WIDE, name) for name in self.sessions)
        over = tuple(row for row in rows if row is not None and now.reached(row.expires_at))
        gone = tuple(Ref(SessionRow, (AUTHORITY_WIDE, row.session)) for row in over)
        return StepAnswer(allow(), len(over)), Changes(gone=gone)


class CountFailedSignIns(msgspec.Struct, frozen=True, kw_only=True):
    """Record how many tries to sign in as somebody failed in one minute. `person` is empty for names that nobody has:
    what people type there by mistake may be a password."""

    person: str
    minute: int
    count: int

    policy: ClassVar[None] = None
    needs_clock: ClassVar[bool] = True

    def keys(self) -> Sequence[Need]:
        return []

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[int], Changes]:
        entry = Entry(
            kind=EntryKind.SIGN_INS_FAILED,
            person=self.person,
            detail={"minute": self.minute, "count": self.count},
        )
        return StepAnswer(allow(), self.count), Changes(entries=(entry,))
