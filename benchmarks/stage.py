"""An authority in a folder of its own, with a policy that lets a bot update tickets. Called by the benchmarks.

It is put together like the real one (a database file, WAL, synchronous=FULL), with one difference: the clock that the
lane reads once a batch counts, so that a benchmark knows how large the batches were.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter, sleep

import apsw

from leasehold.aio import AsyncDoor
from leasehold.authority.embedded import Authority
from leasehold.authority.engine import Engine, Identity
from leasehold.authority.followed_ring import FollowedRing
from leasehold.model.call import Admission, Call, Outcome, OutcomeStatus
from leasehold.model.canonical import encode
from leasehold.model.instant import Instant
from leasehold.model.lease import HeldLease
from leasehold.model.run import RunAttempt
from leasehold.policy.load import Source, load_policy
from leasehold.store.protocol import Clock, Store
from leasehold.store.sqlite import open_sqlite
from leasehold.system import RealSystem
from leasehold.token.keys import DocumentType, KeyRing, SigningKey

DEEPEST = 8

POLICY = f"""
version = 1
authority = "benchmark"

[actions]
"ticket.update" = {{ effect = "write", args = {{ ticket = "ticket_id" }} }}

[routes."support/update"]
for = {{ agents = ["support-bot"], tenants = ["acme"], environments = ["prod"] }}
allow."ticket.update" = {{ ticket = ["T-*"] }}
approve."ticket.update" = "none"
approvers = ["nobody"]
budget = {{ calls = 1000000000, tool_seconds = 1000000000 }}
delegation = {{ depth = {DEEPEST}, children = 100, actions = ["ticket.update"] }}
"""

UPDATES: Mapping[str, Mapping[str, object]] = {"ticket.update": {"ticket": ["T-*"]}}
_TTL_SECONDS = 900
_DONE = Outcome(status=OutcomeStatus.DONE, duration_micros=1500)


class CountingClock:
    """The wall clock, counting how often the lane looked at it: once a batch."""

    def __init__(self, system: RealSystem) -> None:
        self._system = system
        self.batches = 0  # written by the lane's thread alone

    def now(self) -> Instant:
        """The wall clock."""
        self.batches += 1
        return self._system.now()


class Stage:
    """An open authority and what a benchmark does with it. Close it when done.

    Several with the same `secret` of 32 bytes, from which the keys are made, are one authority over one database.
    """

    def __init__(
        self,
        database: Path,
        open_store: Callable[[Clock, str], Store] | None = None,
        *,
        policy: str = POLICY,
        secret: bytes = b"",
    ) -> None:
        system = RealSystem()
        self._open_store = open_store or (lambda clock, issuer: open_sqlite(database, clock=clock, issuer=issuer))
        secret = secret or system.random_bytes(32)
        key = SigningKey.generate(secret, created_at=system.now().seconds)

        def ring(document_type: DocumentType) -> FollowedRing:
            return FollowedRing(KeyRing(document_type, (key,)), system)

        self.identity = Identity(
            issuer=f"urn:leasehold:{key.kid}",
            lease_ring=ring(DocumentType.LEASE),
            receipt_ring=ring(DocumentType.RECEIPT),
            checkpoint_ring=ring(DocumentType.CHECKPOINT),
            digest_key=secret,
        )
        self.database = database
        self._system = system
        self._numbers = iter(range(2**63))
        self._open()
        if not self.authority.engine.store.queries.control().policy:
            self.authority.desk.accept_policy(load_policy([Source("benchmark.toml", policy)]), by="benchmark")

    def _open(self) -> None:
        self.clock = CountingClock(self._system)
        store = self._open_store(self.clock, self.identity.issuer)
        self.authority = Authority(Engine(store, self._system, self.identity))
        self.door = self.authority.door("ticket", "prod")
        self._async_door = AsyncDoor(self.door)

    @contextmanager
    def closed(self) -> Iterator[apsw.Connection]:
        """Close the authority, lend a bare connection to its database, and open it again."""
        self.authority.close()
        connection = apsw.Connection(str(self.database))
        connection.execute("PRAGMA journal_mode = wal; PRAGMA synchronous = off; PRAGMA cache_size = -1000000")
        try:
            yield connection
        finally:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.close()
        self._open()

    def start(self, parent: HeldLease | None = None) -> RunAttempt:
        """A run, or a child run under a lease."""
        if parent is not None:
            return self.authority.start(agent="support-bot", purpose="benchmark", parent=parent)
        return self.authority.start(
            agent="support-bot",
            route="support/update",
            tenant="acme",
            environment="prod",
            requested_by="user:ana",
            purpose="benchmark",
        )

    def lease(self, run: RunAttempt | None = None) -> HeldLease:
        """A live lease that updates any ticket and may be delegated."""
        request = self.authority.request(run or self.start(), UPDATES, reason="benchmark", ttl_seconds=_TTL_SECONDS)
        return self.authority.wait(request, 10)

    def pair(self, token: str) -> Admission:
        """One call: admitted, then settled as done."""
        admission = self.door.admit(token, self._call())
        self.door.settle(admission.admission_id, _DONE)
        return admission

    async def pair_awaited(self, token: str) -> None:
        """One call, as a task of an event loop makes it."""
        admission = await self._async_door.admit(token, self._call())
        await self._async_door.settle(admission.admission_id, _DONE)

    def _call(self) -> Call:
        number = next(self._numbers)
        return Call(
            action="ticket.update",
            arguments=encode({"ticket_id": f"T-{number}", "note": "looked at it, nothing to do"}),
            admission_id=self.door.new_admission_id(),
            key=f"T-{number}:update",
        )

    def close(self) -> None:
        """Close the authority."""
        self.authority.close()


def in_threads(callers: int, count: int, work: Callable[[], None]) -> float:
    """Have each of some threads do the work some times at once; the seconds per piece of work, over all of them."""
    ready = threading.Barrier(callers + 1)

    def caller() -> None:
        ready.wait()
        for _ in range(count):
            work()

    threads = [threading.Thread(target=caller) for _ in range(callers)]
    for thread in threads:
        thread.start()
    ready.wait()
    began = perf_counter()
    for thread in threads:
        thread.join()
    return (perf_counter() - began) / (callers * count)


def in_tasks(callers: int, count: int, work: Callable[[], Coroutine[object, object, None]]) -> float:
    """Have each of some tasks of one event loop do the work some times; the seconds per piece of work, over all."""

    async def caller() -> None:
        for _ in range(count):
            await work()

    async def everyone() -> float:
        began = perf_counter()
        await asyncio.gather(*(caller() for _ in range(callers)))
        return (perf_counter() - began) / (callers * count)

    return asyncio.run(everyone())


@contextmanager
def memory_folder(otherwise: Path) -> Iterator[Path]:
    """A scratch folder whose files are in memory, so that a simulated sync is the only one; else the folder given."""
    shared = Path("/dev/shm")
    if not os.access(shared, os.W_OK):
        yield otherwise
        return
    with tempfile.TemporaryDirectory(prefix="leasehold-bench-", dir=shared) as folder:
        yield Path(folder)


@contextmanager
def slow_disk(seconds: float) -> Iterator[None]:
    """Make each commit of each connection that is opened inside wait so long, as a disk with a slow sync would.

    The wait stands in SQLite's commit hook and lets go of the interpreter's lock, as a real sync does. A Python VFS
    would do it in the sync itself, but then every page written would call into Python, which no disk does.
    """
    if not seconds:
        yield
        return

    def wait() -> bool:
        sleep(seconds)
        return False

    def slow(connection: apsw.Connection) -> None:
        connection.set_commit_hook(wait)

    apsw.connection_hooks.append(slow)
    try:
        yield
    finally:
        apsw.connection_hooks.remove(slow)
