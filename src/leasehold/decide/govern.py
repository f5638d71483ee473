"""The authority's own affairs: which policy is active, who the people are, what the time is, which epoch it is.

Submitted by operators at a terminal, never by an agent's protocol.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import msgspec
from msgspec.structs import replace

from leasehold.decide.facts import Changes, Facts, Need, Ref, StepAnswer
from leasehold.decide.lifecycles import PersonState
from leasehold.decide.notices import begin_noticing, cursor_need
from leasehold.decide.proposals import POLICY_MOVED
from leasehold.decide.rows import AUTHORITY_WIDE, CursorRow, DocumentRow, PersonRow, Row
from leasehold.ledger.entry import Entry, EntryKind
from leasehold.model.decision import Reason, allow, deny
from leasehold.model.instant import Instant
from leasehold.policy.document import Acceptance, Policy
from leasehold.policy.widening import widened_keys

__all__ = [
    "REVOCATIONS",
    "AcceptPolicy",
    "AddPerson",
    "ConfirmClock",
    "ConfirmRevocations",
    "CountForgeries",
    "RaiseEpoch",
    "RemovePerson",
    "revocations_need",
]

REVOCATIONS = "source-revocations"
"""The cursor of whoever revokes credentials at their sources. While it is parked, nothing is revoked there."""


def revocations_need() -> Ref:
    """The row that says whether credentials may be revoked at their sources, and from which entry on."""
    return Ref(CursorRow, (AUTHORITY_WIDE, REVOCATIONS))


class AcceptPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Make a policy the active one. `widened` lists what became reachable; a widening alarms.

    `active` is the policy that it replaces, None in a fresh state: what widens it takes two people where it says so.
    `replaces` is the hash of the policy that it was compared with, empty in a fresh state: where another became active
    in between, nobody has seen what this one would change. None where nobody compared.
    """

    policy_document: Policy
    by: str
    active: Policy | None = None
    widened: tuple[str, ...] = ()
    replaces: str | None = None

    needs_clock: ClassVar[bool] = True

    @property
    def policy(self) -> str | None:
        return None if self.active is None else self.active.hash

    def keys(self) -> Sequence[Need]:
        return [Ref(DocumentRow, (AUTHORITY_WIDE, self.policy_document.hash)), cursor_need()]

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[str], Changes]:
        digest = self.policy_document.hash
        if facts.control.policy == digest:
            return StepAnswer(allow(), digest), Changes()
        if self.replaces not in (None, facts.control.policy) or (self.active is None and facts.control.policy):
            return StepAnswer(POLICY_MOVED), Changes()
        widened = widened_keys(self.active, self.policy_document) if self.active is not None else ()
        if widened and self.active is not None and self.active.accept is Acceptance.TWO:
            return StepAnswer(_SECOND_PERSON), Changes()
        entry = Entry(
            kind=EntryKind.POLICY_ACCEPTED,
            policy=digest,
            person=self.by,
            detail={
                "before": facts.control.policy,
                **({"alarm": "widened", "widened": self.widened or widened} if widened else {}),
            },
        )
        document = DocumentRow(
            tenant=AUTHORITY_WIDE, id=digest, body=msgspec.json.encode(self.policy_document.to_json())
        )
        rows: tuple[Row, ...] = (
            document,
            replace(facts.control, policy=digest, policy_since=facts.next_index),
            *begin_noticing(facts, self.policy_document),
        )
        return StepAnswer(allow(), digest), Changes(rows=rows, entries=(entry,))


class AddPerson(msgspec.Struct, frozen=True, kw_only=True):
    """Add a person's public key. A person has one key; a key belongs to one person."""

    person: str
    public_key: bytes
    key_id: str
    by: str

    policy: ClassVar[None] = None
    needs_clock: ClassVar[bool] = True

    def keys(self) -> Sequence[Need]:
        return [Ref(PersonRow, (AUTHORITY_WIDE, self.person)), Ref(PersonRow, (AUTHORITY_WIDE, self._key_name))]

    @property
    def _key_name(self) -> str:
        """The row that says whose key this is, so that no second person can bring the same one (threat case 80)."""
        return f"key:{self.key_id}"

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[str], Changes]:
        row = facts.get(PersonRow, AUTHORITY_WIDE, self.person)
        is_known = row is not None and row.state == PersonState.ACTIVE
        if row is not None and is_known and row.public_key:
            same = row.public_key == self.public_key
            refusal = deny(Reason.CONFLICT, f"{self.person} has a key already", enough="person remove, then add")
            return StepAnswer(allow() if same else refusal, self.person if same else None), Changes()
        if facts.get(PersonRow, AUTHORITY_WIDE, self._key_name) is not None:
            return StepAnswer(deny(Reason.CONFLICT, "this key was brought before; make a new one")), Changes()
        rows = tuple(
            PersonRow(
                tenant=AUTHORITY_WIDE,
                person=name,
                public_key=self.public_key,
                state=PersonState.ACTIVE if name == self.person else PersonState.KEY,
                recorded=facts.next_index,
                sign_ins=row.sign_ins if row is not None and is_known and name == self.person else b"[]",
            )
            for name in (self.person, self._key_name)
        )
        entry = Entry(
            kind=EntryKind.PERSON_ADDED,
            person=self.person,
            detail={"key": self.key_id, "public_key": self.public_key.hex(), "by": self.by},
        )
        return StepAnswer(allow(), self.person), Changes(rows=rows, entries=(entry,))


class RemovePerson(msgspec.Struct, frozen=True, kw_only=True):
    """Remove a person's key and sign-ins: sessions end, and their answers count no more from here on."""

    person: str
    by: str

    policy: ClassVar[None] = None
    needs_clock: ClassVar[bool] = False

    def keys(self) -> Sequence[Need]:
        return [Ref(PersonRow, (AUTHORITY_WIDE, self.person))]

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[str], Changes]:
        row = facts.get(PersonRow, AUTHORITY_WIDE, self.person)
        if row is None or row.state != PersonState.ACTIVE:
            return StepAnswer(deny(Reason.NOT_FOUND, f"{self.person} is not known here")), Changes()
        entry = Entry(kind=EntryKind.PERSON_REMOVED, person=self.person, detail={"by": self.by})
        removed = replace(row, state=PersonState.REMOVED, sign_ins=b"[]")
        return StepAnswer(allow(), self.person), Changes(rows=(removed,), entries=(entry,))


class ConfirmClock(msgspec.Struct, frozen=True, kw_only=True):
    """An operator says that the clock, though it reads earlier than the last recorded time, is right."""

    clock_ms: int
    by: str

    policy: ClassVar[None] = None
    needs_clock: ClassVar[bool] = False

    def keys(self) -> Sequence[Need]:
        return []

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[int], Changes]:
        entry = Entry(
            kind=EntryKind.CLOCK_CONFIRMED,
            person=self.by,
            detail={"last_recorded_ms": facts.control.last_time_ms, "confirmed_ms": self.clock_ms},
        )
        control = replace(
            facts.control,
            last_time_ms=self.clock_ms,
            epoch=facts.control.epoch + 1,
            epoch_since=facts.next_index,
            epoch_at=self.clock_ms // 1000,
        )
        return StepAnswer(allow(), control.epoch), Changes(rows=(control,), entries=(entry,))


class RaiseEpoch(msgspec.Struct, frozen=True, kw_only=True):
    """Begin a new epoch after a restore: leases, requests, runs, sessions and all that waits for people from before are
    void (invariant I8), and so is what was signed before and counts once, whose use the copy may have missed. People,
    their keys and passwords, and the keys of clients are those of the copy.

    What a restored database believes of credentials at their sources is old, and a source may have given the same name
    to somebody else since. So revocations there are paused until an operator confirms (threat case 62).
    """

    by: str
    reason: str
    at_least: int = 0

    policy: ClassVar[None] = None
    needs_clock: ClassVar[bool] = False

    def keys(self) -> Sequence[Need]:
        return []

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[int], Changes]:
        epoch = max(facts.control.epoch + 1, self.at_least)
        entry = Entry(kind=EntryKind.EPOCH_RAISED, person=self.by, detail={"epoch": epoch, "reason": self.reason})
        pause = CursorRow(
            tenant=AUTHORITY_WIDE,
            name=REVOCATIONS,
            position=facts.next_index,
            policy=facts.control.policy,
            is_parked=1,
        )
        control = replace(facts.control, epoch=epoch, epoch_since=facts.next_index, epoch_at=now.seconds)
        return StepAnswer(allow(), epoch), Changes(rows=(control, pause), entries=(entry,))


class ConfirmRevocations(msgspec.Struct, frozen=True, kw_only=True):
    """An operator says that what a restored database would revoke at sources was looked at. Answers from which entry
    on revocations are done again: that of the restore, since all before it is of another time."""

    by: str
    reason: str

    policy: ClassVar[None] = None
    needs_clock: ClassVar[bool] = True

    def keys(self) -> Sequence[Need]:
        return [revocations_need()]

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[int], Changes]:
        row = facts.get(CursorRow, AUTHORITY_WIDE, REVOCATIONS)
        if row is None or not row.is_parked:
            return StepAnswer(deny(Reason.NOT_FOUND, "no revocations are paused")), Changes()
        entry = Entry(
            kind=EntryKind.REVOCATIONS_CONFIRMED,
            person=self.by,
            detail={"since": row.position, "reason": self.reason},
        )
        return StepAnswer(allow(), row.position), Changes(rows=(replace(row, is_parked=0),), entries=(entry,))


class CountForgeries(msgspec.Struct, frozen=True, kw_only=True):
    """Record how many tokens that were not authentic a door turned away in one minute."""

    tool: str
    environment: str
    minute: int
    count: int

    policy: ClassVar[None] = None
    needs_clock: ClassVar[bool] = True

    def keys(self) -> Sequence[Need]:
        return []

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[int], Changes]:
        entry = Entry(
            kind=EntryKind.FORGERIES_COUNTED,
            environment=self.environment,
            detail={"tool": self.tool, "minute": self.minute, "count": self.count},
        )
        return StepAnswer(allow(), self.count), Changes(entries=(entry,))


_SECOND_PERSON = deny(
    Reason.APPROVAL_NEEDED,
    "this policy widens what may be done, and the active one wants a second person for that",
    rule="policy.accept",
    check="two people agree, or nothing widens",
    enough="leasehold policy accept --as PERSON, then another person: leasehold policy confirm",
)
