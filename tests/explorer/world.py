"""One state of a small world: what the database holds, what the guards hold, and what really happened.

Everything is immutable, so that the search may keep every state. `submit` is the store's lane in miniature: it loads
facts from the rows, decides one batch with the real `decide_batch`, and writes what it says. `fingerprint` maps states
that can never be told apart to one value.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from enum import StrEnum
from itertools import chain
from typing import TypeAlias

import msgspec
from msgspec.structs import replace

from leasehold.decide.approvals import answers_of
from leasehold.decide.batch import decide_batch, effective_now
from leasehold.decide.facts import Facts, Index, Key, Need, Ref, Step, StepAnswer, key_of
from leasehold.decide.rows import CardRow, ControlRow, RequestRow, Row, RunRow, StopRow
from leasehold.ledger.entry import Entry, decode_entry
from leasehold.model.call import Admission
from leasehold.model.instant import Instant
from leasehold.model.scope import Scope

Rows: TypeAlias = Mapping[tuple[type[Row], Key], Row]


FRESH, WORN = 198, 201
"""Of refusals and questions of one run only the counts between these are told apart: nothing depends on others."""


class Phase(StrEnum):
    """Where the guard of one scripted call stands."""

    IDLE = "idle"
    LOST = "lost"
    """It asked; the answer was lost on the way."""
    HELD = "held"
    """It holds an admission and has not started."""
    RUNNING = "running"
    TOLD = "told"
    """It said how the call went; the answer was lost on the way."""
    GONE = "gone"
    """Its process died without settling."""
    OVER = "over"
    """It settled and knows so."""


class Slot(msgspec.Struct, frozen=True):
    """The guard's side of one scripted call. Times are true milliseconds; `outcome` is what it reported."""

    phase: Phase = Phase.IDLE
    tries: int = 1
    asked_ms: int = 0
    outcome: str = ""
    admission: Admission | None = None

    @property
    def start_by_ms(self) -> int:
        """The guard starts before this, counted from before it asked, or asked again for a lost answer."""
        return self.asked_ms + self.admission.start_within_ms if self.admission is not None else 0


class Ack(msgspec.Struct, frozen=True):
    """An answered stop: the calls that it listed, the runs and requests that there were, the policy that was active."""

    scope: Scope
    kind: str
    tenant: str
    listed: frozenset[str]
    existing: frozenset[str]
    policy: str


class Execution(msgspec.Struct, frozen=True):
    """One call that really started. `actual` is what its guard reported, None as long as it has not."""

    admission_id: str
    script: int
    run: str
    accounts: tuple[str, ...]
    reserved: tuple[tuple[str, int], ...]
    approval: str
    actual: tuple[tuple[str, int], ...] | None = None
    outcome: str = ""


class Ghosts(msgspec.Struct, frozen=True):
    """What really happened, whatever the database says.

    `intents` are (admission, action, arguments digest) of committed ledger entries; `words` the accepted (request,
    person, verdict); `shown` what call each call request was made for; `over` what was answered to be at an end:
    run, request and attempt names; `endings` which request an admission ends; `overruns` the (account, unit) pairs
    whose overrun was reported; `removed` the people whose key was taken away; `left` those who were let go;
    `vouched` are the (request, person, what vouched) of accepted approvals; `editors` who edited which call, and so
    every request made for it from then on; `heard` what a chat delivered; `gone` sign-ins that were taken away and
    sessions that were ended; `looks` the state of the world that each preview saw, `seen` the one that people were
    asked about, `moved` how often it moved;
    `proposed` the (policy, policy that it was compared with, person) of proposals;
    `started` are the (run, client) of programs, `sent` the (client and name, what it says, what it made) of requests;
    `went` how the newest calls went that the breaker of a scenario counts, true where it speaks against the route, and
    `is_tripped` whether they were too many and nobody has lifted the hold since.
    """

    intents: frozenset[tuple[str, str, str]] = frozenset()
    acks: frozenset[Ack] = frozenset()
    executions: tuple[Execution, ...] = ()
    words: frozenset[tuple[str, str, str]] = frozenset()
    shown: frozenset[tuple[str, tuple[object, ...]]] = frozenset()
    over: frozenset[str] = frozenset()
    endings: frozenset[tuple[str, str]] = frozenset()
    overruns: frozenset[tuple[str, str]] = frozenset()
    removed: frozenset[str] = frozenset()
    left: frozenset[str] = frozenset()
    vouched: frozenset[tuple[str, str, str]] = frozenset()
    editors: frozenset[tuple[object, str]] = frozenset()
    heard: frozenset[str] = frozenset()
    gone: frozenset[str] = frozenset()
    looks: frozenset[tuple[str, int]] = frozenset()
    seen: frozenset[tuple[str, int]] = frozenset()
    moved: int = 0
    proposed: frozenset[tuple[str, str, str]] = frozenset()
    started: frozenset[tuple[str, str]] = frozenset()
    sent: frozenset[tuple[str, str, str]] = frozenset()
    went: tuple[bool, ...] = ()
    is_tripped: bool = False


class World(msgspec.Struct, frozen=True):
    """One state. `used` names the events that have happened; `backup` is a copy of the database made on the way.

    `ledger` holds the entries of the way by which the state was reached first.

    `clock_ms` is the true time, which guards count on; the database's clock reads `skew_ms` more.
    """

    rows: Rows
    control: ControlRow
    clock_ms: int
    slots: tuple[Slot, ...] = ()
    used: frozenset[str] = frozenset()
    ghosts: Ghosts = Ghosts()
    backup: tuple[Rows, ControlRow, tuple[Entry, ...]] | None = None
    ledger: tuple[Entry, ...] = ()
    skew_ms: int = 0

    @property
    def database_ms(self) -> int:
        """What the database's clock reads."""
        return self.clock_ms + self.skew_ms

    def row(self, row_type: type[Row], *key: str) -> Row | None:
        """One row of the database."""
        return self.rows.get((row_type, key))

    def with_slot(self, index: int, **changes: object) -> World:
        """This world with one guard changed."""
        slot = replace(self.slots[index], **changes)
        return replace(self, slots=(*self.slots[:index], slot, *self.slots[index + 1 :]))

    def with_ghosts(self, **changes: object) -> World:
        """This world with other ghost facts."""
        return replace(self, ghosts=replace(self.ghosts, **changes))


class Decided(msgspec.Struct, frozen=True):
    """What one batch came to: the world after it, the answers in order, the rows and the entries it wrote."""

    world: World
    answers: tuple[StepAnswer[object], ...]
    written: tuple[Row, ...]
    entries: tuple[Entry, ...]


def submit(world: World, steps: Sequence[Step[object]]) -> Decided:
    """Decide one batch as a store's lane would, and return the world with the batch committed.

    Raises:
        Exception: what a step raised; no step of a small world may.
    """
    now, is_behind = effective_now(Instant(world.database_ms), Instant(world.control.last_time_ms))
    facts = Facts(world.control, clock_behind=is_behind)
    facts.reader = lambda ref: world.rows.get((ref.row_type, ref.key))
    for need in chain.from_iterable(step.keys() for step in steps):
        _load(facts, world.rows, need)
    batch = decide_batch(steps, facts, now)
    for answer in batch.answers:
        if isinstance(answer, Exception):
            raise answer
    rows = dict(world.rows)
    rows.update(((type(row), key_of(row)), row) for row in batch.rows if type(row) is not ControlRow)
    control = replace(facts.control, size=facts.next_index)
    entries = tuple(map(decode_entry, batch.entries))
    return Decided(
        world=replace(world, rows=rows, control=control, ledger=world.ledger + entries),
        answers=tuple(answer for answer in batch.answers if not isinstance(answer, Exception)),
        written=tuple(batch.rows),
        entries=entries,
    )


def _load(facts: Facts, rows: Rows, need: Need) -> None:
    if isinstance(need, Ref):
        facts.load(need, rows.get((need.row_type, need.key)))
    else:
        facts.load_index(need, _bucket(rows, need))


def _bucket(rows: Rows, index: Index) -> list[Row]:
    return [
        row for (row_type, _), row in rows.items() if row_type is index.ROW and index.bucket_of(row) == index.bucket
    ]


def fingerprint(world: World) -> object:
    """A value that two worlds share only if nothing that can still happen tells them apart.

    Ledger indexes count only by their order relative to wide stops and call requests; denial counts only near their
    limit, cards and the time of an answer not at all.
    """
    marks = sorted(
        row.recorded
        for row in world.rows.values()
        if type(row) is StopRow or (type(row) is RequestRow and row.call_digest)
    )
    control = world.control
    return (
        frozenset(_normal(row, marks) for row in world.rows.values() if type(row) is not CardRow),
        (control.epoch, control.policy, max(control.last_time_ms, world.database_ms), world.clock_ms, world.skew_ms),
        tuple((slot.phase, slot.tries, slot.start_by_ms, slot.outcome) for slot in world.slots),
        world.used,
        world.ghosts,
        None if world.backup is None else world.backup[1].size,
    )


def _normal(row: Row, marks: Sequence[int]) -> object:
    if type(row) is RequestRow:
        answers = tuple((answer.person, answer.verdict, answer.vouched_by) for answer in answers_of(row))
        return replace(row, recorded=bisect_left(marks, row.recorded), answers=b""), answers
    if type(row) is RunRow:
        return replace(row, recorded=bisect_left(marks, row.recorded), denials=min(max(row.denials, FRESH), WORN))
    if hasattr(row, "recorded"):
        return replace(row, recorded=bisect_left(marks, row.recorded))
    return row
