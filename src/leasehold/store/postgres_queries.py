"""The read side of a PostgreSQL database. Called by everything that shows, lists, proves or waits."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterator, Sequence
from threading import Lock
from typing import TypeVar, cast

import msgspec

from leasehold.decide.facts import Key, Ref, key_of
from leasehold.decide.rows import (
    AccountRow,
    CallRow,
    CardRow,
    ControlRow,
    DeliveryRow,
    DocumentRow,
    GlassRow,
    LeaseRow,
    PersonRow,
    RequestRow,
    Row,
    RunRow,
    StopRow,
)
from leasehold.ledger.tree import Place
from leasehold.model.call import CallState
from leasehold.model.instant import Instant
from leasehold.store.columns import SHAPES, decoded
from leasehold.store.postgres_connection import Connection, execute
from leasehold.store.postgres_index import EntryIndex
from leasehold.store.postgres_reading import LedgerNodes, Readers, asked, read_control, read_lines, read_some
from leasehold.store.postgres_rows import select_all, select_by_key, storable, storable_keys
from leasehold.store.queries import MAX_LISTED, Due, LedgerLine, LedgerQuery

__all__ = ["PostgresQueries"]

R = TypeVar("R", bound=Row)

_MOST_DOCUMENTS = 8192
_MAX_INTEGER = 2**63 - 1
_OF_TENANTS = "tenant = ANY(CAST(%s AS text[]))"
_TENANTS = (
    "WITH RECURSIVE found (tenant) AS (SELECT min(tenant) FROM runs"
    " UNION ALL SELECT (SELECT min(tenant) FROM runs WHERE tenant > found.tenant) FROM found"
    " WHERE found.tenant IS NOT NULL)"
    " SELECT CAST(coalesce(json_agg(tenant), '[]') AS text) FROM found WHERE tenant IS NOT NULL"
)


class PostgresQueries:
    """The read side, as `leasehold.store.queries.Queries`. Threads may share it."""

    def __init__(self, readers: Readers, index: EntryIndex) -> None:
        self._readers = readers
        self._index = index
        self._lock = Lock()  # guards the documents
        self._documents: OrderedDict[tuple[str, str], bytes] = OrderedDict()

    def control(self) -> ControlRow:
        """The log's row. See `Queries.control`."""
        return self._readers.read(lambda connection: read_control(connection, self._readers.place))

    def document(self, tenant: str, document_id: str) -> bytes | None:
        """An immutable document. See `Queries.document`."""
        place = (tenant, document_id)
        with self._lock:
            if place in self._documents:
                self._documents.move_to_end(place)
                return self._documents[place]
        row = cast("DocumentRow | None", self.rows([Ref(DocumentRow, place)])[0])
        if row is None:
            return None
        with self._lock:
            self._documents[place] = row.body
            if len(self._documents) > _MOST_DOCUMENTS:
                self._documents.popitem(last=False)
        return row.body

    def card(self, tenant: str, digest: str) -> bytes | None:
        """A card as it was shown. See `Queries.card`."""
        row = cast("CardRow | None", self.rows([Ref(CardRow, (tenant, digest))])[0])
        return row.body if row is not None and row.body else None

    def rows(self, refs: Sequence[Ref]) -> tuple[Row | None, ...]:
        """Rows by key. See `Queries.rows`."""
        wanted: dict[type[Row], list[Key]] = {}
        for ref in refs:
            wanted.setdefault(ref.row_type, []).append(ref.key)
        if not wanted:
            return ()
        sql = f"SELECT {', '.join(f'({select_by_key(SHAPES[row_type])})' for row_type in wanted)}"
        bound = [storable_keys(dict.fromkeys(keys)) for keys in wanted.values()]

        def read(connection: Connection) -> dict[tuple[type[Row], Key], Row]:
            texts = cast("tuple[str, ...]", execute(connection, sql, bound, is_prepared=True).fetchone())
            return {
                (row_type, key_of(row)): row
                for row_type, text in zip(wanted, texts, strict=True)
                for row in decoded(SHAPES[row_type], text)
            }

        found = self._readers.read(read)
        return tuple(found.get((ref.row_type, ref.key)) for ref in refs)

    def locate(self, row_id: str, tenants: Collection[str]) -> RunRow | RequestRow | LeaseRow | None:
        """The run, request or lease of an id. See `Queries.locate`."""
        for row_type, column in ((RunRow, "run_id"), (RequestRow, "request_id"), (LeaseRow, "lease_id")):
            # The empty text keeps the planner from walking whole tenants: only the index of ids serves the rest.
            where = f"{column} = %s AND tenant || '' = ANY(CAST(%s AS text[]))"
            rows = self._list(row_type, where, (row_id, list(tenants)), "ORDER BY tenant")
            if rows:
                return cast("RunRow | RequestRow | LeaseRow", rows[0])
        return None

    def tenants(self) -> tuple[str, ...]:
        """Every tenant that ever had a run. See `Queries.tenants`."""
        return self._readers.read(
            lambda connection: msgspec.json.decode(asked(connection, _TENANTS), type=tuple[str, ...])
        )

    def runs(self, tenants: Collection[str], *, before: int | None = None, limit: int = 100) -> tuple[RunRow, ...]:
        """Runs, the newest first. See `Queries.runs`."""
        return self._newest(RunRow, tenants, before, limit)

    def leases(self, tenants: Collection[str], *, before: int | None = None, limit: int = 100) -> tuple[LeaseRow, ...]:
        """Leases, the newest first. See `Queries.leases`."""
        return self._newest(LeaseRow, tenants, before, limit)

    def open_runs(self, tenants: Collection[str]) -> tuple[RunRow, ...]:
        """Runs that are not finished. See `Queries.open_runs`."""
        where = f"state = 'open' AND {_OF_TENANTS}"
        return self._list(RunRow, where, (list(tenants),), "ORDER BY expires_at, run_id")

    def children(self, tenant: str, run_id: str) -> tuple[RunRow, ...]:
        """Runs that a run delegated to. See `Queries.children`."""
        where = "tenant = %s AND parent_run = %s AND parent_run <> ''"
        return self._list(RunRow, where, (tenant, run_id), "ORDER BY recorded")

    def pending_requests(self, tenants: Collection[str]) -> tuple[RequestRow, ...]:
        """Requests that wait for people. See `Queries.pending_requests`."""
        where = f"state = 'pending' AND {_OF_TENANTS}"
        return self._list(RequestRow, where, (list(tenants),), "ORDER BY recorded")

    def requests_of_run(self, tenant: str, run_id: str) -> tuple[RequestRow, ...]:
        """What a run asked for. See `Queries.requests_of_run`."""
        return self._list(RequestRow, "tenant = %s AND run_id = %s", (tenant, run_id), "ORDER BY recorded DESC")

    def leases_of_run(self, tenant: str, run_id: str) -> tuple[LeaseRow, ...]:
        """Leases of a run. See `Queries.leases_of_run`."""
        return self._list(LeaseRow, "tenant = %s AND run_id = %s", (tenant, run_id), "ORDER BY recorded DESC")

    def leases_of_request(self, tenant: str, request_id: str) -> tuple[LeaseRow, ...]:
        """Leases drawn from a request. See `Queries.leases_of_request`."""
        return self._list(LeaseRow, "tenant = %s AND request_id = %s", (tenant, request_id), "ORDER BY recorded DESC")

    def accounts(self, tenant: str, account: str) -> tuple[AccountRow, ...]:
        """The accounts of a run or request. See `Queries.accounts`."""
        return self._list(AccountRow, "tenant = %s AND account = %s", (tenant, account), "ORDER BY unit")

    def open_calls(self, tenants: Collection[str]) -> tuple[CallRow, ...]:
        """Calls admitted and not settled. See `Queries.open_calls`."""
        where = f"state = '{CallState.ADMITTED}' AND {_OF_TENANTS}"
        return self._list(CallRow, where, (list(tenants),), "ORDER BY finish_by, admission_id")

    def stops(self, tenants: Collection[str]) -> tuple[StopRow, ...]:
        """Wide revokes and holds. See `Queries.stops`."""
        return self._list(StopRow, _OF_TENANTS, (list(tenants),), "ORDER BY tenant, scope, kind")

    def glasses(self, tenants: Collection[str]) -> tuple[GlassRow, ...]:
        """Every break-glass. See `Queries.glasses`."""
        return self._list(GlassRow, _OF_TENANTS, (list(tenants),), "ORDER BY recorded DESC")

    def held(self, tenants: Collection[str]) -> tuple[RunRow | RequestRow | LeaseRow, ...]:
        """What is held each by itself. See `Queries.held`."""
        where, bound, order = f"held = 1 AND {_OF_TENANTS}", (list(tenants),), "ORDER BY tenant, recorded"
        return (
            *self._list(RunRow, f"{where} AND state = 'open'", bound, order),
            *self._list(RequestRow, f"{where} AND state IN ('pending', 'approved', 'used')", bound, order),
            *self._list(LeaseRow, f"{where} AND state = 'active'", bound, order),
        )

    def people(self, tenants: Collection[str]) -> tuple[PersonRow, ...]:
        """People with keys. See `Queries.people`."""
        return self._list(PersonRow, _OF_TENANTS, (list(tenants),), "ORDER BY tenant, person")

    def deliveries(self, tenants: Collection[str], *, limit: int = 100) -> tuple[DeliveryRow, ...]:
        """Notices, the newest first. See `Queries.deliveries`."""
        rows: list[DeliveryRow] = []
        for tenant in tenants:
            rows.extend(self._list(DeliveryRow, "tenant = %s", (tenant,), "ORDER BY entry DESC, delivery_id", limit))
        return tuple(sorted(rows, key=lambda row: -row.entry)[:limit])

    def deliveries_about(self, tenant: str, subject: str, channel: str) -> tuple[DeliveryRow, ...]:
        """Notices about one thing. See `Queries.deliveries_about`."""
        where = "tenant = %s AND subject = %s AND channel = %s"
        return self._list(DeliveryRow, where, (tenant, subject, channel), "ORDER BY entry")

    def undelivered(
        self, until: Instant, *, but_not: Collection[str] = (), limit: int = MAX_LISTED
    ) -> tuple[DeliveryRow, ...]:
        """Notices that may be tried. See `Queries.undelivered`."""
        where = "state = 'waiting' AND due_ms <= %s AND channel <> ALL(CAST(%s AS text[]))"
        return self._list(DeliveryRow, where, (int(until), list(but_not)), "ORDER BY due_ms, delivery_id", limit)

    def due(self, now: Instant) -> Due:
        """What stands over past its time. See `Queries.due`."""
        return Due(
            unanswered=self._due(RequestRow, "state = 'pending'", "answer_by", now),
            unused=self._due(RequestRow, "state = 'approved'", "use_by", now),
            leases=self._due(LeaseRow, "state = 'active'", "expires_at", now),
            calls=self._due(CallRow, "state = 'admitted'", "finish_by", now),
            runs=self._due(RunRow, "state = 'open'", "expires_at", now),
        )

    def ledger(self, begin: int, end: int) -> tuple[LedgerLine, ...]:
        """Entries of a range. See `Queries.ledger`."""
        return tuple(self._readers.read(lambda connection: read_lines(connection, begin, end)))

    def telling(self, tenant: str, run_id: str, begin: int, end: int) -> Iterator[LedgerLine]:
        """Entries that can tell of a run. See `Queries.telling`."""
        found = self._index.telling(tenant, run_id, begin, end)
        for start in range(0, len(found), MAX_LISTED):
            yield from self._some(found[start : start + MAX_LISTED])

    def search(self, query: LedgerQuery) -> tuple[LedgerLine, ...]:
        """Entries that meet a query. See `Queries.search`."""
        found = self._index.search(query)
        lines = {line.index: line for line in self._some(found)}
        return tuple(lines[index] for index in found)

    def nodes(self, places: Sequence[Place]) -> list[bytes]:
        """The hashes of complete subtrees. See `leasehold.ledger.tree.Nodes`."""
        return self._readers.read(lambda connection: LedgerNodes(connection).nodes(places))

    def _some(self, indexes: Sequence[int]) -> list[LedgerLine]:
        return self._readers.read(lambda connection: read_some(connection, indexes))

    def _newest(self, row_type: type[R], tenants: Collection[str], before: int | None, limit: int) -> tuple[R, ...]:
        """The newest of each tenant, in the order of its index, put together."""
        where, end = "tenant = %s AND recorded < %s", _MAX_INTEGER if before is None else before
        rows: list[R] = []
        for tenant in tenants:
            rows.extend(self._list(row_type, where, (tenant, end), "ORDER BY recorded DESC", limit))
        rows.sort(key=lambda row: cast("RunRow | LeaseRow", row).recorded, reverse=True)
        return tuple(rows[:limit])

    def _due(self, row_type: type[R], where: str, deadline: str, now: Instant) -> tuple[R, ...]:
        where = f"{where} AND {deadline} <= %s"
        return self._list(row_type, where, (now.seconds,), f"ORDER BY {deadline}", MAX_LISTED)

    def _list(
        self, row_type: type[R], where: str, bound: Sequence[object], order: str, limit: int | None = None
    ) -> tuple[R, ...]:
        if not storable(bound):
            return ()
        shape = SHAPES[cast("type[Row]", row_type)]
        most = "ALL" if limit is None else max(0, min(limit, MAX_LISTED))
        sql = select_all(shape, where, f"{order} LIMIT {most}")
        return self._readers.read(
            lambda connection: tuple(cast("list[R]", decoded(shape, asked(connection, sql, bound))))
        )
