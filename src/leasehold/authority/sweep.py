"""Writing down what is over. Nothing depends on it: expiry is read off the clock at every use (requirement L3).

One pass asks the store what stands over and submits a step for each, which checks again. Assembled authorities run a
pass each second in a thread of their own; tests and embedded tools call `run_once`.
"""

from __future__ import annotations

import logging
import threading
from concurrent.futures import Future

from leasehold.authority.door import ForgeryCounter
from leasehold.authority.engine import Engine
from leasehold.authority.runs import Runs
from leasehold.decide.documents import decode_admission
from leasehold.decide.finish import CloseRequest, EndLease, RetireStop
from leasehold.decide.govern import CountForgeries
from leasehold.decide.rows import AUTHORITY_WIDE, RequestRow, RunRow
from leasehold.decide.settle import ConcludeUnknown
from leasehold.errors import LeaseholdError

__all__ = ["Sweep"]

_LOG = logging.getLogger("leasehold.sweep")


class Sweep:
    """The housekeeping of one authority. Owns its thread, if it was started."""

    def __init__(self, engine: Engine, runs: Runs, forgeries: ForgeryCounter) -> None:
        self._engine = engine
        self._runs = runs
        self._forgeries = forgeries
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, interval_seconds: float = 1.0) -> None:
        """Run a pass now and then in a background thread, until `close`."""
        self._thread = threading.Thread(
            target=self._main, args=(interval_seconds,), name="leasehold-sweep", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop the thread and wait for it."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def run_once(self) -> int:
        """One pass; answers how many things were found standing over.

        Raises:
            StoreError: the database cannot be used.
        """
        due = self._engine.store.queries.due(self._engine.system.now())
        waiting: list[Future[object]] = []
        for call in due.calls:
            admission = decode_admission(call.body)
            waiting.append(self._engine.submit(lambda _, admission=admission: ConcludeUnknown(admission=admission)))  # type: ignore[misc]  # the default binds the loop's value
        waiting += [self._close(row) for row in (*due.unanswered, *due.unused)]
        for lease in due.leases:
            link = self._engine.chain(lease.tenant, lease.lease_id)[-1]
            waiting.append(self._engine.submit(lambda _, link=link: EndLease(lease=link.lease, run=link.run)))  # type: ignore[misc]  # the same
        for future in waiting:
            future.result()
        for run in due.runs:
            self._runs.end(self._engine.run(run.tenant, run.run_id), "revoked" if run.revoked else "expired")
        return len(waiting) + len(due.runs) + self._count_forgeries() + self._retire_stops()

    def _close(self, row: RequestRow) -> Future[object]:
        run, request = self._engine.run(row.tenant, row.run_id), self._engine.request(row.tenant, row.request_id)
        return self._engine.submit(lambda _: CloseRequest(run=run, request=request))

    def _count_forgeries(self) -> int:
        counts = self._forgeries.take()
        for (tool, environment, minute), count in sorted(counts.items()):
            step = CountForgeries(tool=tool, environment=environment, minute=minute, count=count)
            self._engine.ask(lambda _, step=step: step)  # type: ignore[misc]  # the default binds the value
        return len(counts)

    def _retire_stops(self) -> int:
        """Revokes that nothing open is old enough for need not be read by every admission any more."""
        queries = self._engine.store.queries
        tenants = queries.tenants()
        stops = [row for row in queries.stops([AUTHORITY_WIDE, *tenants]) if row.is_active and row.kind == "revoke"]
        retired = 0
        for stop in stops:
            runs: tuple[RunRow, ...] = queries.open_runs([stop.tenant] if stop.tenant else tenants)
            oldest = min((run.recorded for run in runs), default=stop.recorded)
            step = RetireStop(tenant=stop.tenant, scope=stop.scope, oldest_open=oldest)
            retired += bool(self._engine.ask(lambda _, step=step: step))  # type: ignore[misc]  # the same
        return retired

    def _main(self, interval_seconds: float) -> None:
        while not self._stop.wait(interval_seconds):
            try:
                self.run_once()
            except LeaseholdError as error:
                _LOG.warning("the sweep could not finish a pass: %s", error)
