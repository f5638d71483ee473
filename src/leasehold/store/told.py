"""What rows have to say because the ledger says it: stops of one thing, attempts, calls, keys, budgets. For `db check`.

Steps decide on rows. Whoever can change one, past every step, could bring back what was revoked, have a key used again
or a budget grow; that the ledger, whose heads stand elsewhere, tells of it otherwise is how it is found. Rows that the
ledger does not tell of are passed over.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias

import msgspec

from leasehold.decide.lifecycles import RunState
from leasehold.decide.rows import AccountRow, CallRow, KeyRow, LeaseRow, RequestRow, Row, RunRow, StopRow
from leasehold.ledger import detail
from leasehold.ledger.entry import Entry, EntryKind, decode_entry
from leasehold.model.budget import CHILDREN, MAX_AMOUNT, MICROS
from leasehold.model.call import CallState
from leasehold.model.scope import ScopeKind, StopKind

__all__ = ["COMPARED", "Told"]

COMPARED: tuple[type[Row], ...] = (RunRow, RequestRow, LeaseRow, StopRow, KeyRow, CallRow, AccountRow)
"""The rows that are compared, in the order in which they have to be given."""

_Id: TypeAlias = tuple[str, str]
_OF_ONE = (ScopeKind.RUN, ScopeKind.REQUEST, ScopeKind.LEASE)


class _Call(msgspec.Struct):
    """A call: where it stands, what came late of it, and what it reserved on which accounts."""

    state: str
    late: str
    accounts: tuple[str, ...]
    reserved: dict[str, int]


class _Account(msgspec.Struct):
    limit: int = 0
    reserved: int = 0
    spent: int = 0


class Told:
    """All that the entries say of rows. Mutable, owned by one check, which gives it every entry and then the rows."""

    def __init__(self) -> None:
        self._stops: dict[tuple[EntryKind, str, str], int] = {}
        self._attempts: dict[_Id, int] = {}
        self._clients: dict[_Id, str] = {}
        self._finished: set[_Id] = set()
        self._roots: dict[_Id, str] = {}
        self._calls: dict[_Id, _Call] = {}
        self._keys: dict[tuple[str, str, str, str], str] = {}
        self._accounts: dict[tuple[str, str, str], _Account] = {}

    def take(self, body: bytes) -> None:
        """Take one more entry in.

        Raises:
            VerificationError: it cannot be read.
        """
        entry = decode_entry(body)
        step = _STEPS.get(entry.kind)
        if step is not None and entry.decision != "deny":
            step(self, entry)

    def differences(self, rows: Iterable[Row]) -> Iterator[str]:
        """Say of each row what it says otherwise than the ledger."""
        for row in rows:
            match row:
                case RunRow():
                    yield from self._of_run(row)
                case RequestRow():
                    yield from self._of_one(row, f"{ScopeKind.REQUEST}:{row.request_id}")
                case LeaseRow():
                    yield from self._of_one(row, f"{ScopeKind.LEASE}:{row.lease_id}")
                case StopRow():
                    yield from self._of_stop(row)
                case KeyRow():
                    yield from self._of_key(row)
                case CallRow():
                    yield from self._of_call(row)
                case AccountRow():
                    yield from self._of_account(row)
                case _:
                    raise TypeError(f"{row.TABLE} is not compared")

    def missing(self) -> Iterator[str]:
        """Say what the ledger tells of and no row did, once all rows were given."""
        for kind, _, scope in sorted(self._stops):
            # A revoke of more than one thing is put away once nothing older is alive.
            if kind is EntryKind.HELD or scope.partition(":")[0] in _OF_ONE:
                yield f"stops: nothing says that {scope} is {_words(kind)}"
        for _, admission in sorted(self._calls):
            yield f"calls: there is no {admission}"
        for _, run, action, _ in sorted(self._keys):
            yield f"keys: one of {action} in {run} is not there"

    # entries

    def _start_run(self, entry: Entry) -> None:
        above = self._roots.get((entry.tenant, entry.parent_run), entry.run)
        self._roots[entry.tenant, entry.run] = above
        self._attempts[entry.tenant, entry.run] = entry.attempt
        self._clients[entry.tenant, entry.run] = detail.text(entry, "client")
        if entry.lease:
            self._account(entry.tenant, above, CHILDREN).spent += MICROS
        self._open_accounts(entry, entry.run)

    def _retry_run(self, entry: Entry) -> None:
        self._attempts[entry.tenant, entry.run] = entry.attempt

    def _finish_run(self, entry: Entry) -> None:
        self._finished.add((entry.tenant, entry.run))

    def _make_request(self, entry: Entry) -> None:
        self._open_accounts(entry, entry.request)

    def _open_accounts(self, entry: Entry, account: str) -> None:
        for unit, limit in detail.amounts(entry, "budget").items():
            self._account(entry.tenant, account, unit).limit = limit

    def _account(self, tenant: str, account: str, unit: str) -> _Account:
        return self._accounts.setdefault((tenant, account, unit), _Account())

    def _stop(self, entry: Entry) -> None:
        self._stops[entry.kind, entry.tenant, entry.scope] = entry.index

    def _lift(self, entry: Entry) -> None:
        self._stops.pop((EntryKind.HELD, entry.tenant, entry.scope), None)

    def _admit_call(self, entry: Entry) -> None:
        runs, requests = detail.texts(entry, "run_chain"), detail.texts(entry, "request_chain")
        call = _Call(CallState.ADMITTED, "", tuple(dict.fromkeys((*runs[:1], *requests))), {})
        call.reserved = detail.amounts(entry, "reserved")
        self._calls[entry.tenant, entry.admission] = call
        if entry.key:
            self._keys[entry.tenant, entry.run, entry.action, entry.key] = entry.admission
        for account in call.accounts:
            for unit, amount in call.reserved.items():
                self._account(entry.tenant, account, unit).reserved += amount

    def _end_call(self, entry: Entry) -> None:
        call = self._calls.get((entry.tenant, entry.admission))
        if call is None:
            return
        call.state = entry.outcome
        spent = call.reserved if entry.kind is EntryKind.CALL_UNKNOWN else entry.cost
        for account in call.accounts:
            for unit in call.reserved.keys() | spent.keys():
                balance = self._account(entry.tenant, account, unit)
                balance.reserved -= call.reserved.get(unit, 0)
                balance.spent += spent.get(unit, 0)

    def _tell_late(self, entry: Entry) -> None:
        if call := self._calls.get((entry.tenant, entry.admission)):
            call.late = entry.outcome

    # rows

    def _of_run(self, row: RunRow) -> Iterator[str]:
        name = (row.tenant, row.run_id)
        yield from self._of_one(row, f"{ScopeKind.RUN}:{row.run_id}")
        if self._attempts.get(name, row.attempt) != row.attempt:
            yield f"runs: {row.run_id} is at attempt {row.attempt}, and by the ledger at {self._attempts[name]}"
        if self._clients.get(name, row.client) != row.client:
            yield f"runs: {row.run_id} is of another client than by the ledger"
        if name in self._finished and row.state == RunState.OPEN:
            yield f"runs: {row.run_id} is open, and by the ledger finished"

    def _of_one(self, row: RunRow | RequestRow | LeaseRow, scope: str) -> Iterator[str]:
        yield from self._of_stops(EntryKind.REVOKED, row.tenant, scope, is_said=row.revoked == 1)
        yield from self._of_stops(EntryKind.HELD, row.tenant, scope, is_said=row.held == 1)

    def _of_stop(self, row: StopRow) -> Iterator[str]:
        if row.kind == StopKind.HOLD:
            yield from self._of_stops(EntryKind.HELD, row.tenant, row.scope, is_said=row.is_active == 1)

    def _of_stops(self, kind: EntryKind, tenant: str, scope: str, *, is_said: bool) -> Iterator[str]:
        index = self._stops.pop((kind, tenant, scope), None)
        if index is not None and not is_said:
            yield f"stops: {scope} was {_words(kind)} by entry {index}, and its row says otherwise"

    def _of_key(self, row: KeyRow) -> Iterator[str]:
        admission = self._keys.pop((row.tenant, row.run_id, row.action, row.key), None)
        call = self._calls.get((row.tenant, admission)) if admission is not None else None
        if call is not None and (row.admission_id, row.state) != (admission, call.state):
            yield f"keys: that of {admission} is {row.state}, and by the ledger {call.state}"

    def _of_call(self, row: CallRow) -> Iterator[str]:
        call = self._calls.pop((row.tenant, row.admission_id), None)
        if call is not None and (row.state, row.late) != (call.state, call.late):
            yield f"calls: {row.admission_id} is {row.state} {row.late}, and by the ledger {call.state} {call.late}"

    def _of_account(self, row: AccountRow) -> Iterator[str]:
        told = self._accounts.get((row.tenant, row.account, row.unit))
        if told is None:
            return
        given = (row.limit, row.reserved, min(MAX_AMOUNT, row.settled + row.unknown))
        if given != (told.limit, told.reserved, min(MAX_AMOUNT, told.spent)):
            yield f"accounts: {row.unit} of {row.account} is not what the ledger comes to"


def _words(kind: EntryKind) -> str:
    return "held" if kind is EntryKind.HELD else "revoked"


_STEPS = {
    EntryKind.RUN_STARTED: Told._start_run,
    EntryKind.RUN_RETRIED: Told._retry_run,
    EntryKind.RUN_FINISHED: Told._finish_run,
    EntryKind.REQUEST_MADE: Told._make_request,
    EntryKind.REVOKED: Told._stop,
    EntryKind.HELD: Told._stop,
    EntryKind.LIFTED: Told._lift,
    EntryKind.CALL_ADMITTED: Told._admit_call,
    EntryKind.CALL_SETTLED: Told._end_call,
    EntryKind.CALL_UNKNOWN: Told._end_call,
    EntryKind.CALL_LATE: Told._tell_late,
}
