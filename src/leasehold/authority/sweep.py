"""Writing down what is over. Nothing depends on it: expiry is read off the clock at every use (requirement L3).

One pass asks the store what stands over and submits a step for each, which checks again. Assembled authorities run a
pass each second in a thread of their own, which also looks after the keys; tests and embedded tools call `run_once`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import TypeVar

from leasehold.authority.engine import Engine
from leasehold.authority.forgeries import ForgeryCounter
from leasehold.authority.opening import read_wish
from leasehold.authority.runs import Runs
from leasehold.authority.sign_ins import FailedSignIns
from leasehold.authority.signing_keys import SigningKeys
from leasehold.authority.trouble import Trouble
from leasehold.decide.clients import ForgetSent
from leasehold.decide.documents import decode_admission
from leasehold.decide.finish import EXPIRED, CloseRequest, EndLease, RetireStop
from leasehold.decide.glass_wish import LapseGlass, answer_by
from leasehold.decide.govern import CountForgeries
from leasehold.decide.proposals import ExpireProposal
from leasehold.decide.rows import (
    AUTHORITY_WIDE,
    CallRow,
    LeaseRow,
    ProposalRow,
    RequestRow,
    RunRow,
    SentRow,
    SessionRow,
)
from leasehold.decide.settle import ConcludeUnknown
from leasehold.decide.sign_ins import CountFailedSignIns, ForgetSessions
from leasehold.errors import LeaseholdError
from leasehold.model.glass import Opening
from leasehold.model.scope import StopKind

__all__ = ["Sweep"]

T = TypeVar("T")

_LOG = logging.getLogger("leasehold.sweep")


class Sweep:
    """The housekeeping of one authority. Owns its thread, if it was started."""

    def __init__(self, engine: Engine, runs: Runs, forgeries: ForgeryCounter, failed: FailedSignIns) -> None:
        self._engine = engine
        self._runs = runs
        self._forgeries = forgeries
        self._failed = failed
        self._signing_keys = SigningKeys(engine)
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

        What one damaged row or document hinders is passed over, and raised once the rest of the pass is done.

        Raises:
            StoreError: the database cannot be used, or something in it is damaged.
        """
        clock = self._engine.store.clock()  # asked anew, for what is found to be over is over for everybody
        due = self._engine.store.queries.due(self._engine.system.now() if clock is None else clock)
        submissions: list[Callable[[], Future[object]]] = [
            *(partial(self._conclude, call) for call in due.calls),
            *(partial(self._close, row) for row in (*due.unanswered, *due.unused)),
            *(partial(self._end_lease, lease) for lease in due.leases),
            *(partial(self._expire_proposal, row) for row in due.proposals),
        ]
        faults: list[LeaseholdError] = []
        waiting = [future for submission in submissions if (future := _attempt(submission, faults)) is not None]
        for future in waiting:
            _attempt(future.result, faults)
        for run in due.runs:
            _attempt(partial(self._finish, run), faults)
        _attempt(self._signing_keys.compare, faults)
        found = (
            len(submissions)
            + len(due.runs)
            + self._lapse_wishes(faults)
            + self._forget_sessions(due.sessions)
            + self._forget_sent(due.sent)
            + self._count_forgeries()
            + self._count_failed()
            + self._retire_stops()
        )
        if faults:
            raise faults[0]
        return found

    def _conclude(self, call: CallRow) -> Future[object]:
        admission = decode_admission(call.body)
        return self._engine.submit(
            lambda policy: ConcludeUnknown(admission=admission, breaker=policy.breaker(admission.route))
        )

    def _close(self, row: RequestRow) -> Future[object]:
        run, request = self._engine.run(row.tenant, row.run_id), self._engine.request(row.tenant, row.request_id)
        return self._engine.submit(lambda _: CloseRequest(run=run, request=request))

    def _end_lease(self, row: LeaseRow) -> Future[object]:
        link = self._engine.chain(row.tenant, row.lease_id)[-1]
        return self._engine.submit(lambda _: EndLease(lease=link.lease, run=link.run))

    def _expire_proposal(self, row: ProposalRow) -> Future[object]:
        return self._engine.submit(lambda _: ExpireProposal(policy_hash=row.policy))

    def _finish(self, row: RunRow) -> RunRow:
        return self._runs.end(self._engine.run(row.tenant, row.run_id), "revoked" if row.revoked else EXPIRED)

    def _lapse_wishes(self, faults: list[LeaseholdError]) -> int:
        """Break-glass whose second person did not come in time."""
        now, lapsed = self._engine.system.now(), 0
        for row in self._engine.store.queries.wishes():
            wish = _attempt(partial(read_wish, self._engine, row), faults)
            if wish is not None and now.reached(answer_by(wish.opening)):
                lapsed += bool(_attempt(partial(self._lapse, wish.opening), faults))
        return lapsed

    def _lapse(self, opening: Opening) -> bool:
        step = LapseGlass(opening=opening)
        return self._engine.ask(lambda _: step)

    def _forget_sessions(self, rows: Sequence[SessionRow]) -> int:
        step = ForgetSessions(sessions=tuple(row.session for row in rows))
        return self._engine.ask(lambda _: step) if rows else 0

    def _forget_sent(self, rows: Sequence[SentRow]) -> int:
        step = ForgetSent(sent=tuple((row.client, row.key) for row in rows))
        return self._engine.ask(lambda _: step) if rows else 0

    def _count_forgeries(self) -> int:
        counts = self._forgeries.take()
        for (tool, environment, minute), count in sorted(counts.items()):
            step = CountForgeries(tool=tool, environment=environment, minute=minute, count=count)
            self._engine.ask(lambda _, step=step: step)  # type: ignore[misc]  # the default binds the value
        return len(counts)

    def _count_failed(self) -> int:
        counts = self._failed.take()
        for (person, minute), count in sorted(counts.items()):
            step = CountFailedSignIns(person=person, minute=minute, count=count)
            self._engine.ask(lambda _, step=step: step)  # type: ignore[misc]  # the default binds the value
        return len(counts)

    def _retire_stops(self) -> int:
        """Revokes that nothing open is old enough for need not be read by every admission any more.

        Runs, and break-glass that waits to become one, are looked for once the stop was read, in every tenant that has
        one by then: nothing older can come later.
        """
        queries = self._engine.store.queries
        stops = [row for row in queries.stops(None) if row.is_active and row.kind == StopKind.REVOKE]
        retired = 0
        for stop in stops:
            runs: tuple[RunRow, ...] = queries.open_runs([stop.tenant] if stop.tenant else queries.tenants())
            older = [run.recorded for run in runs]
            older += [wish.recorded for wish in queries.wishes() if stop.tenant in (AUTHORITY_WIDE, wish.tenant)]
            oldest = min(older, default=stop.recorded)
            step = RetireStop(tenant=stop.tenant, scope=stop.scope, oldest_open=oldest)
            retired += bool(self._engine.ask(lambda _, step=step: step))  # type: ignore[misc]  # the same
        return retired

    def _main(self, interval_seconds: float) -> None:
        trouble = Trouble(_LOG, "the sweep could not finish a pass", self._engine.system)
        while not self._stop.wait(interval_seconds):
            self._engine.identity.follow_keys()  # first of all: no database has to answer for that
            try:
                self.run_once()
            except LeaseholdError as error:
                trouble.met(error)
            else:
                trouble.over()


def _attempt(act: Callable[[], T], faults: list[LeaseholdError]) -> T | None:
    """What `act` answers; or None, with the fault put to the others."""
    try:
        return act()
    except LeaseholdError as error:
        faults.append(error)
        return None
