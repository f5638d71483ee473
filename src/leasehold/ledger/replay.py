"""What stands after each entry of a ledger, worked out from the entries alone. For the history checker.

Nothing here comes from `leasehold.decide`: it is a second, slower reading of DESIGN §3 and §4, so that a mistake
in one is caught by the other. Everything is looked up by tenant and id (invariant I10).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from leasehold.errors import VerificationError
from leasehold.ledger import detail
from leasehold.ledger.entry import Entry, EntryKind
from leasehold.ledger.reach import action_scopes, is_of_action, scopes_over
from leasehold.ledger.standing import Account, CallPast, LeasePast, RequestPast, RunPast
from leasehold.model.budget import CHILDREN, MICROS
from leasehold.model.call import CallState, OutcomeStatus
from leasehold.model.request import RequestKind, RequestState, Verdict

__all__ = ["Past", "overrun_of"]

Id: TypeAlias = tuple[str, str]
"""Tenant and id."""


class Past:
    """Everything that the entries so far leave behind. Mutable, owned by one check of one history."""

    def __init__(self) -> None:
        self.runs: dict[Id, RunPast] = {}
        self.requests: dict[Id, RequestPast] = {}
        self.leases: dict[Id, LeasePast] = {}
        self.calls: dict[Id, CallPast] = {}
        self.open_calls: dict[Id, CallPast] = {}
        self.by_key: dict[tuple[str, str, str, str], CallPast] = {}
        self.leases_void_before = 0
        self.all_void_before = 0
        self._accounts: dict[tuple[str, str, str], Account] = {}
        self._revoked: dict[Id, int] = {}
        self._held: set[Id] = set()
        self.left: set[str] = set()
        self.glasses: dict[Id, Entry] = {}

    def account(self, tenant: str, account: str, unit: str) -> Account:
        """One account; without an entry that gave it a budget, its limit is zero."""
        return self._accounts.setdefault((tenant, account, unit), Account())

    def chain(self, entry: Entry) -> list[LeasePast]:
        """The leases that an entry names, root first and its own last; those never issued are left out."""
        own = self.leases.get((entry.tenant, entry.lease))
        names = (*(own.issued.parents if own is not None else entry.parents), entry.lease)
        found = (self.leases.get((entry.tenant, name)) for name in names)
        return [lease for lease in found if lease is not None]

    def run_of(self, lease: LeasePast) -> RunPast | None:
        """The run that holds a lease."""
        return self.runs.get((lease.issued.tenant, lease.issued.run))

    def request_of(self, lease: LeasePast) -> RequestPast | None:
        """The request that a lease was drawn from."""
        return self.requests.get((lease.issued.tenant, lease.issued.request))

    def accounts_of(self, entry: Entry) -> tuple[str, ...]:
        """The accounts that a call draws on: the root run's and those of each request of the chain."""
        chain = self.chain(entry)
        root = chain[0].issued.run if chain else entry.run
        return tuple(dict.fromkeys((root, *(lease.issued.request for lease in chain))))

    def above(self, entry: Entry) -> dict[str, int]:
        """The scopes over what the entry starts, each with the index at which what it covers was recorded.

        A revoke kills what was recorded before it: of a wide scope the run, of an action or a tool the lease request. A
        call stands under the actions of those on whose behalf it is made, too.
        """
        chain = self.chain(entry)
        run = self.runs.get((entry.tenant, entry.run))
        over = dict.fromkeys(scopes_over(entry), run.started.index if run is not None else entry.index)
        for lease in chain:
            holder = self.run_of(lease)
            recorded = holder.started.index if holder is not None else -1
            for scope in scopes_over(lease.issued):
                over[scope] = min(recorded, over.get(scope, recorded))
        if entry.action:
            requests = [self.request_of(lease) for lease in chain]
            recorded = min((past.made.index for past in requests if past is not None), default=-1)
            over |= dict.fromkeys(action_scopes(entry.action, *detail.texts(entry, "implies")), recorded)
        if caller := self.calls.get((entry.tenant, detail.text(entry, "parent_call"))):
            over |= {scope: recorded for scope, recorded in caller.above.items() if is_of_action(scope)}
        return over

    def stops_over(self, entry: Entry) -> Iterator[str]:
        """What has stopped what the entry starts, in words."""
        for scope, recorded in sorted(self.above(entry).items()):
            for tenant in ("", entry.tenant):
                if recorded < self._revoked.get((tenant, scope), -1):
                    yield f"{scope} was revoked at {self._revoked[tenant, scope]}"
                if (tenant, scope) in self._held:
                    yield f"{scope} is held"

    def take(self, entry: Entry) -> None:
        """Take one more entry in; never judges it.

        Raises:
            VerificationError: its detail cannot be read.
        """
        step = _STEPS.get(entry.kind)
        if step is not None and entry.decision != "deny":
            step(self, entry)

    def _start_run(self, entry: Entry) -> None:
        self.runs[entry.tenant, entry.run] = RunPast(started=entry, expires_at=detail.number(entry, "expires_at"))
        self._open_accounts(entry, entry.run)
        if entry.lease:
            self.account(entry.tenant, self.accounts_of(entry)[0], CHILDREN).spent += MICROS

    def _retry_run(self, entry: Entry) -> None:
        if run := self.runs.get((entry.tenant, entry.run)):
            run.attempt = entry.attempt

    def _finish_run(self, entry: Entry) -> None:
        if run := self.runs.get((entry.tenant, entry.run)):
            run.is_finished = True

    def _make_request(self, entry: Entry) -> None:
        self.requests[entry.tenant, entry.request] = RequestPast(
            made=entry, allow=detail.grants(entry, "allow"), state=entry.outcome, answers={}
        )
        if detail.text(entry, "kind") == RequestKind.LEASE:
            self._open_accounts(entry, entry.request)

    def _open_accounts(self, entry: Entry, account: str) -> None:
        for unit, limit in detail.amounts(entry, "budget").items():
            self.account(entry.tenant, account, unit).limit = limit

    def _answer_request(self, entry: Entry) -> None:
        if request := self.requests.get((entry.tenant, entry.request)):
            request.state = entry.outcome
            if detail.text(entry, "verdict") == Verdict.APPROVE:
                request.answers.setdefault(entry.person, entry)

    def _close_request(self, entry: Entry) -> None:
        if request := self.requests.get((entry.tenant, entry.request)):
            request.state = _CLOSED[entry.kind]

    def _issue_lease(self, entry: Entry) -> None:
        self.leases[entry.tenant, entry.lease] = LeasePast(
            issued=entry, allow=detail.grants(entry, "allow"), expires_at=detail.number(entry, "expires_at")
        )
        if request := self.requests.get((entry.tenant, entry.request)):
            request.state = RequestState.USED

    def _end_lease(self, entry: Entry) -> None:
        if lease := self.leases.get((entry.tenant, entry.lease)):
            lease.is_ended = True

    def _admit_call(self, entry: Entry) -> None:
        call = CallPast(
            admitted=entry,
            reserved=detail.amounts(entry, "reserved"),
            accounts=self.accounts_of(entry),
            above=self.above(entry),
        )
        self.calls[entry.tenant, entry.admission] = self.open_calls[entry.tenant, entry.admission] = call
        if entry.key:
            self.by_key[entry.tenant, entry.run, entry.action, entry.key] = call
        for account in call.accounts:
            for unit, amount in call.reserved.items():
                self.account(entry.tenant, account, unit).reserved += amount
        if approval := self.requests.get((entry.tenant, entry.approval)):
            approval.state, approval.used_by = RequestState.USED, entry.admission
        for name in detail.texts(entry, "ending"):
            if request := self.requests.get((entry.tenant, name)):
                request.ending = request.ending or entry.admission

    def _end_call(self, entry: Entry) -> None:
        call = self.open_calls.pop((entry.tenant, entry.admission), None)
        if call is None:
            return
        call.state = _end_of(entry)
        spent = call.reserved if call.state is CallState.UNKNOWN else entry.cost
        for account in call.accounts:
            for unit in call.reserved.keys() | spent.keys():
                balance = self.account(entry.tenant, account, unit)
                balance.reserved -= call.reserved.get(unit, 0)
                balance.spent += spent.get(unit, 0)
        self._end_requests(call, entry)

    def _tell_late(self, entry: Entry) -> None:
        if call := self.calls.get((entry.tenant, entry.admission)):
            call.is_told = True

    def _end_requests(self, call: CallPast, entry: Entry) -> None:
        """What the end of a call means for its approval and for the requests that it was ending or has overrun."""
        tenant, admission = entry.tenant, entry.admission
        approval = self.requests.get((tenant, call.admitted.approval))
        if approval is not None and call.state is CallState.NOT_STARTED and approval.used_by == admission:
            approval.state, approval.used_by = RequestState.APPROVED, ""
        is_over = call.state in (CallState.DONE, CallState.UNKNOWN)
        is_over = is_over or (call.state is CallState.FAILED and not detail.text(entry, "no_effect"))
        for name in detail.texts(call.admitted, "ending"):
            request = self.requests.get((tenant, name))
            if request is not None and request.ending == admission:
                request.ending = ""
                request.state = RequestState.COMPLETED if is_over else request.state
        own = self.requests.get((tenant, call.admitted.request))
        if own is not None and overrun_of(call, entry):
            own.state = RequestState.COMPLETED

    def _revoke(self, entry: Entry) -> None:
        self._revoked[entry.tenant, entry.scope] = entry.index

    def _hold(self, entry: Entry) -> None:
        self._held.add((entry.tenant, entry.scope))

    def _lift(self, entry: Entry) -> None:
        self._held.discard((entry.tenant, entry.scope))

    def _let_go(self, entry: Entry) -> None:
        self.left.add(entry.person)

    def _add_person(self, entry: Entry) -> None:
        self.left.discard(entry.person)

    def _open_glass(self, entry: Entry) -> None:
        self.glasses[entry.tenant, entry.lease] = entry

    def _raise_epoch(self, entry: Entry) -> None:
        self.leases_void_before = self.all_void_before = entry.index

    def _confirm_clock(self, entry: Entry) -> None:
        self.leases_void_before = entry.index


def overrun_of(call: CallPast, settled: Entry) -> tuple[str, ...]:
    """The units of which a settled call cost more than was reserved, sorted."""
    return tuple(unit for unit, cost in sorted(settled.cost.items()) if cost > call.reserved.get(unit, 0))


def _end_of(entry: Entry) -> CallState:
    """How a call ended.

    Raises:
        VerificationError: the entry names no such end.
    """
    if entry.kind is EntryKind.CALL_UNKNOWN:
        return CallState.UNKNOWN
    if entry.outcome in list(OutcomeStatus):
        return CallState(entry.outcome)
    raise VerificationError(f"entry {entry.index} settles a call as {entry.outcome!r}", index=entry.index)


_CLOSED = {
    EntryKind.REQUEST_EXPIRED: RequestState.EXPIRED,
    EntryKind.REQUEST_WITHDRAWN: RequestState.WITHDRAWN,
    EntryKind.REQUEST_SUPERSEDED: RequestState.SUPERSEDED,
    EntryKind.REQUEST_LAPSED: RequestState.LAPSED,
    EntryKind.REQUEST_COMPLETED: RequestState.COMPLETED,
}
_STEPS = {
    EntryKind.PERSON_ADDED: Past._add_person,
    EntryKind.PERSON_OFFBOARDED: Past._let_go,
    EntryKind.GLASS_OPENED: Past._open_glass,
    EntryKind.RUN_STARTED: Past._start_run,
    EntryKind.RUN_RETRIED: Past._retry_run,
    EntryKind.RUN_FINISHED: Past._finish_run,
    EntryKind.REQUEST_MADE: Past._make_request,
    EntryKind.REQUEST_ANSWERED: Past._answer_request,
    **dict.fromkeys(_CLOSED, Past._close_request),
    EntryKind.LEASE_ISSUED: Past._issue_lease,
    EntryKind.LEASE_ENDED: Past._end_lease,
    EntryKind.CALL_ADMITTED: Past._admit_call,
    EntryKind.CALL_SETTLED: Past._end_call,
    EntryKind.CALL_UNKNOWN: Past._end_call,
    EntryKind.CALL_LATE: Past._tell_late,
    EntryKind.REVOKED: Past._revoke,
    EntryKind.HELD: Past._hold,
    EntryKind.LIFTED: Past._lift,
    EntryKind.EPOCH_RAISED: Past._raise_epoch,
    EntryKind.CLOCK_CONFIRMED: Past._confirm_clock,
}
