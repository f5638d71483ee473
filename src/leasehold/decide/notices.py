"""Telling people, without anything depending on it: what is to be told, who is telling it, how it went.

Submitted by `leasehold.authority.outbox`. A notice is enqueued in the step that moves the cursor over its ledger entry,
so none is lost and none doubled, whoever dies when. It is claimed in a step before it is sent, so that two processes
never both send it; a claim that nobody ended is void after a while, and the notice is sent again under the same id.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import msgspec
from msgspec.structs import replace

from leasehold.decide.facts import Changes, Facts, Need, Ref, StepAnswer
from leasehold.decide.lifecycles import DELIVERY_TABLE, DeliveryEvent, DeliveryState, advance
from leasehold.decide.rows import AUTHORITY_WIDE, CursorRow, DeliveryRow
from leasehold.ledger.entry import Entry, EntryKind
from leasehold.model.decision import Reason, allow, deny
from leasehold.model.instant import Instant
from leasehold.policy.document import Policy

__all__ = [
    "CLAIM_MS",
    "CURSOR",
    "MAX_ATTEMPTS",
    "BeginDelivery",
    "EndDelivery",
    "Enqueue",
    "RetryDelivery",
    "begin_noticing",
    "cursor_need",
    "retry_delay_ms",
]

CURSOR = "notices"
CLAIM_MS = 60_000
"""How long a claim holds: longer than any try can take."""
MAX_ATTEMPTS = 8
_FIRST_DELAY_MS = 5_000
_GROWTH = 4
_LONGEST_DELAY_MS = 6 * 3_600_000


def retry_delay_ms(attempts: int, chance: float) -> int:
    """How long to wait after so many failed tries: 5 s, then four times as long each time, at most 6 h; of that, by
    `chance` from 0 to 1, between half and all, so that many notices do not come back at once."""
    longest = min(_LONGEST_DELAY_MS, _FIRST_DELAY_MS * _GROWTH ** (max(1, attempts) - 1))
    return int(longest * (0.5 + chance / 2))


def cursor_need() -> Ref:
    """The row that says how far the notices have come."""
    return Ref(CursorRow, (AUTHORITY_WIDE, CURSOR))


def begin_noticing(facts: Facts, policy: Policy) -> tuple[CursorRow, ...]:
    """The cursor of an authority whose policy begins to name channels: it stands before the entry that says so.

    For the step that accepts the policy. While channels were named all along, the cursor stays where it is.
    """
    row = facts.get(CursorRow, AUTHORITY_WIDE, CURSOR)
    if not policy.notices or (row is not None and not row.is_parked):
        return ()
    before = facts.control.policy
    return (CursorRow(tenant=AUTHORITY_WIDE, name=CURSOR, position=facts.next_index, policy=before, is_parked=0),)


class Enqueue(msgspec.Struct, frozen=True, kw_only=True):
    """Move the cursor from `base` to `position`, past entries that were read, and put down what they tell.

    `policy_there` is the policy in force at `position`. Where another process moved the cursor first, nothing happens:
    it has put the same down. Where that policy names no channel and the ledger ends there, the cursor is parked.
    """

    base: int
    position: int
    policy_there: Policy | None
    deliveries: tuple[DeliveryRow, ...] = ()

    policy: ClassVar[None] = None
    needs_clock: ClassVar[bool] = False

    def keys(self) -> Sequence[Need]:
        return [cursor_need(), *(_ref(row) for row in self.deliveries)]

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[bool], Changes]:
        row = facts.get(CursorRow, AUTHORITY_WIDE, CURSOR)
        if row is None or row.is_parked or row.position != self.base:
            return StepAnswer(allow(), False), Changes()
        is_over = self.position == facts.next_index and not (self.policy_there and self.policy_there.notices)
        there = self.policy_there.hash if self.policy_there else row.policy
        moved = replace(row, position=self.position, policy=there, is_parked=int(is_over))
        new = [made for made in self.deliveries if facts.get(DeliveryRow, made.tenant, made.delivery_id) is None]
        return StepAnswer(allow(), True), Changes(rows=(moved, *new))


class BeginDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """Claim a notice that is due, for one try. Answers the claimed row; None where it is not due or not waiting."""

    tenant: str
    delivery_id: str
    claim: str

    policy: ClassVar[None] = None
    needs_clock: ClassVar[bool] = False

    def keys(self) -> Sequence[Need]:
        return [Ref(DeliveryRow, (self.tenant, self.delivery_id))]

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[DeliveryRow | None], Changes]:
        row = facts.get(DeliveryRow, self.tenant, self.delivery_id)
        if row is None or row.state != DeliveryState.WAITING or row.due_ms > now:
            return StepAnswer(allow(), None), Changes()
        claimed = replace(row, claim=self.claim, due_ms=int(now) + CLAIM_MS, attempts=row.attempts + 1)
        return StepAnswer(allow(), claimed), Changes(rows=(claimed,))


class EndDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """Write down how a claimed try went: `event` is `deliver`, `overtake`, or `give_up` where it failed.

    A failed try is repeated while `may_repeat` and tries are left: after `chance` of the usual delay, but not before
    `not_before_ms` where the receiver asked for that. Giving up alarms. A claim that is void by now ends nothing.
    """

    tenant: str
    delivery_id: str
    claim: str
    event: DeliveryEvent
    reference: str = ""
    fault: str = ""
    may_repeat: bool = False
    not_before_ms: int = 0
    chance: float = 0.0

    policy: ClassVar[None] = None
    needs_clock: ClassVar[bool] = False

    def keys(self) -> Sequence[Need]:
        return [Ref(DeliveryRow, (self.tenant, self.delivery_id))]

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[DeliveryState | None], Changes]:
        row = facts.get(DeliveryRow, self.tenant, self.delivery_id)
        if row is None or row.state != DeliveryState.WAITING or row.claim != self.claim:
            return StepAnswer(allow(), None), Changes()
        if self.event is DeliveryEvent.GIVE_UP and self.may_repeat and row.attempts < MAX_ATTEMPTS:
            due = max(int(now) + retry_delay_ms(row.attempts, self.chance), self.not_before_ms)
            waiting = replace(row, claim="", due_ms=due, fault=self.fault)
            return StepAnswer(allow(), DeliveryState.WAITING), Changes(rows=(waiting,))
        state = advance(DELIVERY_TABLE, DeliveryState(row.state), self.event)
        ended = replace(
            row, state=state, claim="", due_ms=int(now), reference=self.reference or row.reference, fault=self.fault
        )
        entries = (_alarm(ended),) if state is DeliveryState.GIVEN_UP else ()
        return StepAnswer(allow(), state), Changes(rows=(ended,), entries=entries)


class RetryDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """An operator has a notice that was given up tried again, from the first try on."""

    tenant: str
    delivery_id: str

    policy: ClassVar[None] = None
    needs_clock: ClassVar[bool] = False

    def keys(self) -> Sequence[Need]:
        return [Ref(DeliveryRow, (self.tenant, self.delivery_id))]

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[DeliveryRow], Changes]:
        row = facts.get(DeliveryRow, self.tenant, self.delivery_id)
        if row is None:
            return StepAnswer(deny(Reason.NOT_FOUND, f"{self.delivery_id} is no notice here")), Changes()
        if row.state != DeliveryState.GIVEN_UP:
            refusal = deny(Reason.NOT_PENDING, f"{self.delivery_id} is {row.state}", check=f"{row.state} == given_up")
            return StepAnswer(refusal), Changes()
        state = advance(DELIVERY_TABLE, DeliveryState(row.state), DeliveryEvent.RETRY)
        again = replace(row, state=state, attempts=0, due_ms=int(now))
        return StepAnswer(allow(), again), Changes(rows=(again,))


def _ref(row: DeliveryRow) -> Ref:
    return Ref(DeliveryRow, (row.tenant, row.delivery_id))


def _alarm(row: DeliveryRow) -> Entry:
    return Entry(
        kind=EntryKind.NOTICE_FAILED,
        tenant=row.tenant,
        detail={
            "alarm": "notice",
            "channel": row.channel,
            "event": row.event,
            "notice": row.delivery_id,
            "about": row.entry,
            "attempts": row.attempts,
            "fault": row.fault,
        },
    )
