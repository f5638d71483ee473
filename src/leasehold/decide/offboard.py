"""A person leaves: all that was started for them ends, and their word counts no more. One step, submitted by the Desk.

Nothing can be left half done by a crash: the revoke, the end of key, sign-ins and sessions, and the entry that ties
them together are written in one commit. What remains, closing the runs that died with it, the sweep does too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import msgspec
from msgspec.structs import replace

from leasehold.decide.facts import Changes, Facts, Need, StepAnswer
from leasehold.decide.govern import RemovePerson
from leasehold.decide.lifecycles import PersonState
from leasehold.decide.rows import AUTHORITY_WIDE, PersonRow, Row
from leasehold.decide.stop import Stop, Stopped
from leasehold.ledger.entry import Entry, EntryKind
from leasehold.model.decision import allow
from leasehold.model.instant import Instant
from leasehold.model.scope import Scope, ScopeKind, StopKind
from leasehold.policy.document import Policy

__all__ = ["Offboard", "Offboarded"]


class Offboarded(msgspec.Struct, frozen=True):
    """What letting a person go came to.

    `entry` is the ledger index of the entry that ties it together: an earlier one where `is_repeat` says that all of it
    was done before. `had_access` says that a key or sign-ins were taken from them now.
    """

    stopped: Stopped
    entry: int
    had_access: bool = False
    is_repeat: bool = False


class Offboard(msgspec.Struct, frozen=True, kw_only=True):
    """Let a person go: revoke their scope in every tenant, take key and sign-ins, let nothing start for them any more.

    Who never had a key is written down as gone all the same. Adding them again brings them back.
    """

    policy_document: Policy
    person: str
    by: str
    reason: str

    needs_clock: ClassVar[bool] = False

    @property
    def policy(self) -> str:
        return self.policy_document.hash

    def keys(self) -> Sequence[Need]:
        return [*self._stop.keys(), *self._remove.keys()]

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[Offboarded], Changes]:
        row = facts.get(PersonRow, AUTHORITY_WIDE, self.person)
        if row is not None and row.state == PersonState.LEFT:
            known = Offboarded(self._stop.stopped(facts), row.recorded, is_repeat=True)
            return StepAnswer(allow(), known), Changes()
        _, stop = self._stop.decide(facts, now)
        _, removal = self._remove.decide(facts, now)
        entries = (*stop.entries, *removal.entries)
        index = facts.next_index + len(entries)
        done = Offboarded(self._stop.stopped(facts), index, had_access=bool(removal.entries))
        left = self._left(removal.rows, row, done.entry)
        return StepAnswer(allow(), done), Changes(
            rows=(*stop.rows, *removal.rows, left), entries=(*entries, self._entry(facts, done))
        )

    @property
    def _stop(self) -> Stop:
        return Stop(
            policy_document=self.policy_document,
            tenant=AUTHORITY_WIDE,
            scope=Scope(ScopeKind.PERSON, self.person),
            kind=StopKind.REVOKE,
            by=self.by,
            reason=self.reason,
        )

    @property
    def _remove(self) -> RemovePerson:
        return RemovePerson(person=self.person, by=self.by)

    def _left(self, removed: Sequence[Row], row: PersonRow | None, index: int) -> PersonRow:
        """Their row as it stands from here on; a removal may have emptied it already."""
        rows = [each for each in removed if isinstance(each, PersonRow) and each.person == self.person]
        found = rows[-1] if rows else row
        if found is not None:
            return replace(found, state=PersonState.LEFT, recorded=index)
        return PersonRow(
            tenant=AUTHORITY_WIDE, person=self.person, public_key=b"", state=PersonState.LEFT, recorded=index
        )

    def _entry(self, facts: Facts, done: Offboarded) -> Entry:
        calls = (*(call.admission_id for call in done.stopped.in_flight), *done.stopped.unreadable)
        return Entry(
            kind=EntryKind.PERSON_OFFBOARDED,
            person=self.person,
            policy=self.policy,
            detail={
                "by": self.by,
                "reason": self.reason,
                "revoked_at": facts.next_index,
                "access": "removed" if done.had_access else "none",
                "in_flight": calls,
                "roles": self.policy_document.people.get(self.person, ()),
            },
        )
