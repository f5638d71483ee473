"""What is held or revoked at this moment, with who did it and why. For people who look; nothing is decided from it.

Wide stops are rows of their own. A hold of one lease, request or run is a mark on its row (decision 0002): who set it
and why stands in the ledger.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from leasehold.authority.engine import Engine
from leasehold.decide.lifecycles import RunState
from leasehold.decide.rows import LeaseRow, RequestRow, RunRow
from leasehold.ledger.entry import Entry, EntryKind, decode_entry
from leasehold.model.scope import Scope, ScopeKind, StopKind
from leasehold.store.queries import MAX_LISTED, LedgerQuery

__all__ = ["Standing", "standing_stops"]


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """One stop in force. `tenant` is empty where it counts in every tenant; `at` is in Unix seconds."""

    tenant: str
    scope: str
    kind: StopKind
    at: int
    by: str
    reason: str


def standing_stops(engine: Engine) -> tuple[Standing, ...]:
    """Holds that are not lifted, and wide revokes that something still open is old enough for; the newest first."""
    queries = engine.store.queries
    wide = (
        Standing(tenant=row.tenant, scope=row.scope, kind=StopKind(row.kind), at=row.at, by=row.by, reason=row.reason)
        for row in queries.stops(None)
        if row.is_active
    )
    narrow = (_narrow(engine, row) for row in queries.held(queries.tenants()) if _is_open(engine, row))
    return tuple(sorted((*wide, *narrow), key=lambda stop: (-stop.at, stop.tenant, stop.scope)))


def _is_open(engine: Engine, row: RunRow | RequestRow | LeaseRow) -> bool:
    return engine.run_row(row.tenant, row.run_id).state == RunState.OPEN


def _narrow(engine: Engine, row: RunRow | RequestRow | LeaseRow) -> Standing:
    scope = str(_scope_of(row))
    told = next((entry for entry in _stops_told(engine, row) if entry.scope == scope), None)
    return Standing(
        tenant=row.tenant,
        scope=scope,
        kind=StopKind.HOLD,
        at=told.time_ms // 1000 if told is not None else 0,
        by=told.person if told is not None else "",
        reason=str(told.detail.get("reason", "")) if told is not None else "",
    )


def _scope_of(row: RunRow | RequestRow | LeaseRow) -> Scope:
    if isinstance(row, RunRow):
        return Scope(ScopeKind.RUN, row.run_id)
    if isinstance(row, RequestRow):
        return Scope(ScopeKind.REQUEST, row.request_id)
    return Scope(ScopeKind.LEASE, row.lease_id)


def _stops_told(engine: Engine, row: RunRow | RequestRow | LeaseRow) -> Iterator[Entry]:
    """The holds that the ledger tells of a run and what belongs to it, the newest first."""
    query = LedgerQuery(tenants=[row.tenant], run=row.run_id, limit=MAX_LISTED)
    while lines := engine.store.queries.search(query):
        entries = (decode_entry(line.body) for line in lines)
        yield from (entry for entry in entries if entry.kind is EntryKind.HELD)
        query = msgspec.structs.replace(query, before=lines[-1].index)
