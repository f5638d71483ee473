"""Calls that were admitted: finding them again, whether they may go on, and waiting for their end. For doors.

What is asked here is read, not decided, and starts nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import NamedTuple

from leasehold.authority.engine import Engine, refusal_error
from leasehold.authority.looking import find_end, look_at_chain
from leasehold.authority.waiting import Waiters
from leasehold.decide.chain import Chain
from leasehold.decide.documents import decode_admission
from leasehold.decide.rows import CallRow
from leasehold.errors import LeaseholdError, NotFoundError
from leasehold.model.call import Admission, CallState
from leasehold.model.decision import Decision
from leasehold.model.ids import AdmissionId, check_id

__all__ = ["CallLook", "CallsUnderWay"]


class CallLook(NamedTuple):
    """Where an admitted call stands: why it would not be let go on now, holds included, and what is over for good."""

    state: CallState
    refusal: Decision | None
    end: Decision | None


class CallsUnderWay:
    """The calls of one client's guard, or with None of every guard. Threads may share it."""

    def __init__(self, engine: Engine, waiters: Waiters, client: str | None) -> None:
        self._engine = engine
        self._waiters = waiters
        self._client = client

    def keep(self, admission: Admission) -> None:
        """Remember an admission, which never changes, so that it need not be read for what is asked about it next."""
        self._engine.admissions.put(self._key(admission.admission_id), admission)

    def is_kept(self, admission_id: AdmissionId) -> bool:
        """Whether an admission is remembered."""
        return self._engine.admissions.get(self._key(admission_id)) is not None

    def find(self, admission_id: AdmissionId) -> Admission:
        """An admission by its id.

        Raises:
            NotFoundError: it was never admitted, or by another client's guard.
        """
        check_id(admission_id, "adm")
        kept = self._engine.admissions.get(self._key(admission_id))
        if kept is not None:
            return kept
        for tenant in self._engine.store.queries.tenants():
            row = self._engine.row(CallRow, tenant, admission_id)
            admission = decode_admission(row.body) if row is not None else None
            if admission is not None and self._client in (None, admission.client):
                return admission
        raise NotFoundError(f"{admission_id} was never admitted")

    def look(self, admission_id: AdmissionId) -> CallLook:
        """Where a call stands, as read now.

        Raises:
            NotFoundError: as `find`.
        """
        admission = self.find(admission_id)
        chain, row = self._chain(admission), self._engine.row(CallRow, admission.tenant, admission_id)
        return CallLook(
            state=CallState(row.state) if row is not None else CallState.UNKNOWN,
            refusal=look_at_chain(self._engine, chain, admission),
            end=find_end(self._engine, chain, admission),
        )

    def check(self, admission_id: AdmissionId) -> None:
        """Return if a call may go on.

        Raises:
            Denied: its lease or anything above it ended, or is held.
            NotFoundError: as `find`.
        """
        admission = self.find(admission_id)
        if (refusal := look_at_chain(self._engine, self._chain(admission), admission)) is not None:
            raise refusal_error(refusal)

    def submit_settled(self, admission_id: AdmissionId, within_ms: int) -> Future[bool]:
        """A Future of whether a call has ended, once it has or so many ms have passed.

        Raises:
            NotFoundError: as `find`.
        """
        ended: Future[bool] = Future()
        until_ms = self._engine.system.boot_milliseconds() + within_ms
        tenant = self.find(admission_id).tenant
        self._waiters.add(lambda: self._has_ended(tenant, admission_id, until_ms, ended), until_ms=until_ms)
        return ended

    def _has_ended(self, tenant: str, admission_id: AdmissionId, until_ms: int, ended: Future[bool]) -> bool:
        """Look once; answers the Future where there is something to say. A waiter that left is looked for no more."""
        failure = None
        try:
            row = self._engine.row(CallRow, tenant, admission_id)
        except LeaseholdError as error:
            row, failure = None, error
        is_open = row is not None and row.state == CallState.ADMITTED
        if is_open and self._engine.system.boot_milliseconds() < until_ms:
            return False
        if not ended.set_running_or_notify_cancel():
            return True
        if failure is not None:
            ended.set_exception(failure)
        else:
            ended.set_result(not is_open)
        return True

    def watch(self, admission_id: AdmissionId, ended: Callable[[Decision], None]) -> Callable[[], None]:
        """Have `ended` called once when a call or anything above it has ended; returns what stops watching.

        Raises:
            NotFoundError: as `find`.
        """
        admission = self.find(admission_id)
        return self._waiters.add(lambda: self._is_over(admission, ended))

    def _is_over(self, admission: Admission, ended: Callable[[Decision], None]) -> bool:
        try:
            decision = find_end(self._engine, self._chain(admission), admission)
        except LeaseholdError:
            return False  # nobody can tell now; what runs is not ended on a guess, and the next commit asks again
        if decision is not None:
            ended(decision)
        return decision is not None

    def _chain(self, admission: Admission) -> Chain:
        return self._engine.chain(admission.tenant, admission.lease_id)

    def _key(self, admission_id: AdmissionId) -> tuple[str, str]:
        return (self._client or "", admission_id)
