"""What the store suite is played with: steps that are scripted, rows ready-made, a backend that fails, an anchor.

For tests of stores, ours and those of whoever writes another one. Everything is a real part that does what it is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from threading import Event, Lock
from typing import Protocol, TypeAlias

import msgspec

from leasehold.decide.facts import Changes, Facts, Need, Ref, Step, StepAnswer
from leasehold.decide.lifecycles import LeaseState, RunState
from leasehold.decide.rows import AccountRow, CallRow, DeliveryRow, LeaseRow, RequestRow, Row, RunRow, SessionRow
from leasehold.ledger.entry import Entry, EntryKind
from leasehold.model.call import CallState
from leasehold.model.decision import allow
from leasehold.model.instant import Instant
from leasehold.model.request import RequestKind, RequestState
from leasehold.store.lane import Backend
from leasehold.store.protocol import Anchor, Clock, Store, TreeHead

__all__ = [
    "TENANT",
    "Database",
    "FailingBackend",
    "MemoryAnchor",
    "ScriptedStep",
    "account",
    "call",
    "delivery",
    "lane_held",
    "lease",
    "request",
    "run",
    "session",
    "spend",
    "take_out",
    "write",
]

TENANT = "acme"

Script: TypeAlias = Callable[[Facts, Instant], tuple[StepAnswer[object], Changes]]


class Database(Protocol):
    """One database that a suite opens again and again. Each test gets a fresh one.

    `survives` says whether it outlives the store that is open; one in memory does not.
    """

    @property
    def survives(self) -> bool: ...

    def open(self, *, clock: Clock, anchor: Anchor | None = None) -> Store:
        """Open it, with so short pauses in the background that a test can wait for what happens there."""
        ...

    def backend(self, *, clock: Clock) -> AbstractContextManager[Backend]:
        """What its lane runs on, bare; the database exists and nobody else has it open."""
        ...


class ScriptedStep:
    """A step that names what it is told to name and decides what its script says."""

    def __init__(
        self, needs: Sequence[Need], script: Script, *, policy: str | None = None, needs_clock: bool = True
    ) -> None:
        self._needs = needs
        self._script = script
        self.policy = policy
        self.needs_clock = needs_clock

    def keys(self) -> Sequence[Need]:
        """The facts it was told to name."""
        return self._needs

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[object], Changes]:
        """What its script says."""
        return self._script(facts, now)


def write(*rows: Row, entries: int = 1) -> ScriptedStep:
    """A step that writes these rows and so many entries, and answers the index of the first entry."""

    def script(facts: Facts, _: Instant) -> tuple[StepAnswer[object], Changes]:
        entry = Entry(kind=EntryKind.CALL_DENIED, tenant=TENANT)
        return StepAnswer(allow(), facts.next_index), Changes(rows, (entry,) * entries)

    return ScriptedStep([], script)


def session(name: str, *, tenant: str = "", expires_at: int = 10) -> SessionRow:
    """A session."""
    return SessionRow(
        tenant=tenant,
        session=name,
        person="user:ana",
        sign_in="signin_1",
        method="password",
        state="open",
        authenticated_at=0,
        seen_at=0,
        expires_at=expires_at,
        recorded=0,
    )


def take_out(*rows: SessionRow) -> ScriptedStep:
    """A step that takes these rows out, and answers how many of them there were."""
    refs = [Ref(SessionRow, (row.tenant, row.session)) for row in rows]

    def script(facts: Facts, _: Instant) -> tuple[StepAnswer[object], Changes]:
        found = sum(facts.get(SessionRow, *ref.key) is not None for ref in refs)
        return StepAnswer(allow(), found), Changes(gone=tuple(refs))

    return ScriptedStep(refs, script)


def spend(
    amount: int = 1, *, account_id: str = "run_1", policy: str | None = None, needs_clock: bool = True
) -> ScriptedStep:
    """A step that settles `amount` on an account, records the new total in an entry, and answers it."""
    key = (TENANT, account_id, "calls")

    def script(facts: Facts, _: Instant) -> tuple[StepAnswer[object], Changes]:
        found = facts.get(AccountRow, *key)
        total = (found.settled if found is not None else 0) + amount
        entry = Entry(kind=EntryKind.CALL_SETTLED, tenant=TENANT, run=account_id, detail={"total": total})
        return StepAnswer(allow(), total), Changes((account(account_id, settled=total),), (entry,))

    return ScriptedStep([Ref(AccountRow, key)], script, policy=policy, needs_clock=needs_clock)


@contextmanager
def lane_held(store: Store) -> Iterator[None]:
    """Occupy the lane, so that what is submitted inside makes one batch afterwards."""
    entered, released = Event(), Event()

    def script(_: Facts, __: Instant) -> tuple[StepAnswer[object], Changes]:
        entered.set()
        released.wait()
        return StepAnswer(allow()), Changes()

    held = store.submit(ScriptedStep([], script))
    entered.wait()
    try:
        yield
    finally:
        released.set()
        held.result()


class FailingBackend:
    """A backend whose next run fails: `before` it does anything, or `after` it committed. Either error is used once."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.before: Exception | None = None
        self.after: Exception | None = None
        self.resting: Exception | None = None

    def run(self, steps: Sequence[Step[object]]) -> list[StepAnswer[object] | Exception]:
        """Run the batch, or fail."""
        before, self.before = self.before, None
        if before is not None:
            raise before
        answers = self._backend.run(steps)
        after, self.after = self.after, None
        if after is not None:
            raise after
        return answers

    def rest(self) -> None:
        """Rest, or fail."""
        resting, self.resting = self.resting, None
        if resting is not None:
            raise resting
        self._backend.rest()


class MemoryAnchor:
    """An anchor that remembers every head that it was offered and kept, newest last. Threads may share it."""

    def __init__(self) -> None:
        self._lock = Lock()  # guards heads
        self.heads: list[TreeHead] = []
        self.kept = Event()

    def read(self) -> TreeHead | None:
        """The head that was kept last."""
        with self._lock:
            return self.heads[-1] if self.heads else None

    def replace_if_larger(self, head: TreeHead) -> None:
        """Keep the head if it is ahead of the last one."""
        with self._lock:
            if not self.heads or head.is_ahead_of(self.heads[-1]):
                self.heads.append(head)
                self.kept.set()


def account(account_id: str = "run_1", **changes: object) -> AccountRow:
    """An account of calls with nothing spent."""
    row = AccountRow(tenant=TENANT, account=account_id, unit="calls", limit=10**9, settled=0, reserved=0, unknown=0)
    return msgspec.structs.replace(row, **changes)


def call(admission_id: str = "adm_1", **changes: object) -> CallRow:
    """An admitted call."""
    row = CallRow(
        tenant=TENANT,
        admission_id=admission_id,
        run_id="run_1",
        state=CallState.ADMITTED,
        finish_by=100,
        late="",
        body=b"{}",
    )
    return msgspec.structs.replace(row, **changes)


def delivery(delivery_id: str = "ntc_1", **changes: object) -> DeliveryRow:
    """A notice that waits to be sent."""
    row = DeliveryRow(
        tenant=TENANT,
        delivery_id=delivery_id,
        channel="hook",
        event="stop.set",
        subject="hold all",
        entry=1,
        policy="sha256:p",
        state="waiting",
        attempts=0,
        due_ms=10,
        claim="",
        reference="",
        fault="",
    )
    return msgspec.structs.replace(row, **changes)


def lease(lease_id: str = "lease_1", **changes: object) -> LeaseRow:
    """An active lease."""
    row = LeaseRow(
        tenant=TENANT,
        lease_id=lease_id,
        run_id="run_1",
        request_id="req_1",
        state=LeaseState.ACTIVE,
        issued_at=0,
        expires_at=100,
        recorded=0,
        revoked=0,
        held=0,
    )
    return msgspec.structs.replace(row, **changes)


def request(request_id: str = "req_1", **changes: object) -> RequestRow:
    """A pending request for one call."""
    row = RequestRow(
        tenant=TENANT,
        request_id=request_id,
        run_id="run_1",
        kind=RequestKind.CALL,
        state=RequestState.PENDING,
        attempt=1,
        answer_by=100,
        use_by=200,
        recorded=0,
        call_digest="sha256:call",
        card_digest="sha256:card",
        answers=b"[]",
        used_by="",
        ending="",
        bond=b"{}",
        revoked=0,
        held=0,
    )
    return msgspec.structs.replace(row, **changes)


def run(run_id: str = "run_1", **changes: object) -> RunRow:
    """An open run."""
    row = RunRow(
        tenant=TENANT,
        run_id=run_id,
        state=RunState.OPEN,
        attempt=1,
        expires_at=100,
        recorded=0,
        denials=0,
        revoked=0,
        held=0,
        agent="support-bot",
        requested_by="user:ana",
        environment="prod",
        route="support/close",
        parent_run="",
    )
    return msgspec.structs.replace(row, **changes)
