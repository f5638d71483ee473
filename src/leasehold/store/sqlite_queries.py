"""The read side of a SQLite database. Called by everything that shows, lists, proves or waits."""

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
from leasehold.store.columns import SHAPES, decoded, keys_json
from leasehold.store.queries import MAX_LISTED, Due, LedgerLine, LedgerQuery
from leasehold.store.sqlite_index import EntryIndex
from leasehold.store.sqlite_reading import LedgerNodes, Readers, read_control, read_lines, read_some
from leasehold.store.sqlite_rows import select_all, select_by_key

__all__ = ["SqliteQueries"]

R = TypeVar("R", bound=Row)

_MOST_DOCUMENTS = 8192
_MAX_INTEGER = 2**63 - 1
_OF_TENANTS = "tenant IN (SELECT value FROM json_each(?))"
_encoder = msgspec.json.Encoder()


class SqliteQueries:
    """The read side, as `leasehold.store.queries.Queries`. Threads may share it."""

    def __init__(self, readers: Readers, index: EntryIndex) -> None:
        self._readers = readers
        self._index = index
        self._lock = Lock()  # guards the documents
        self._documents: OrderedDict[tuple[str, str], bytes] = OrderedDict()

    def control(self) -> ControlRow:
        """The log's row. See `Queries.control`."""
        with self._readers.borrow() as connection:
            return read_control(connection, self._readers.place)

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
        found: dict[tuple[type[Row], Key], Row] = {}
        if not wanted:
            return ()
        sql = f"SELECT {', '.join(f'({select_by_key(SHAPES[row_type])})' for row_type in wanted)}"
        with self._readers.borrow() as connection:
            texts = cast(
                tuple[str, ...], connection.execute(sql, [keys_json(keys) for keys in wanted.values()]).fetchone()
            )
            for row_type, text in zip(wanted, texts, strict=True):
                for row in decoded(SHAPES[row_type], text):
                    found[(row_type, key_of(row))] = row
        return tuple(found.get((ref.row_type, ref.key)) for ref in refs)

    def locate(self, row_id: str, tenants: Collection[str]) -> RunRow | RequestRow | LeaseRow | None:
        """The run, request or lease of an id. See `Queries.locate`."""
        for row_type, column in ((RunRow, "run_id"), (RequestRow, "request_id"), (LeaseRow, "lease_id")):
            rows = self._list(row_type, f"{column} = ? AND +{_OF_TENANTS}", (row_id, _json(tenants)), "ORDER BY tenant")
            if rows:
                return cast("RunRow | RequestRow | LeaseRow", rows[0])
        return None

    def tenants(self) -> tuple[str, ...]:
        """Every tenant that ever had a run. See `Queries.tenants`."""
        sql = (
            "WITH RECURSIVE found(tenant) AS (SELECT min(tenant) FROM runs"
            " UNION ALL SELECT (SELECT min(tenant) FROM runs WHERE tenant > found.tenant) FROM found"
            " WHERE found.tenant IS NOT NULL) SELECT json_group_array(tenant) FROM found WHERE tenant IS NOT NULL"
        )
        with self._readers.borrow() as connection:
            return tuple(msgspec.json.decode(connection.execute(sql).get, type=list[str]))

    def runs(self, tenants: Collection[str], *, before: int | None = None, limit: int = 100) -> tuple[RunRow, ...]:
        """Runs, the newest first. See `Queries.runs`."""
        return self._newest(RunRow, tenants, before, limit)

    def leases(self, tenants: Collection[str], *, before: int | None = None, limit: int = 100) -> tuple[LeaseRow, ...]:
        """Leases, the newest first. See `Queries.leases`."""
        return self._newest(LeaseRow, tenants, before, limit)

    def open_runs(self, tenants: Collection[str]) -> tuple[RunRow, ...]:
        """Runs that are not finished. See `Queries.open_runs`."""
        return self._list(RunRow, f"state = 'open' AND {_OF_TENANTS}", (_json(tenants),), "ORDER BY expires_at, run_id")

    def children(self, tenant: str, run_id: str) -> tuple[RunRow, ...]:
        """Runs that a run delegated to. See `Queries.children`."""
        where = "tenant = ? AND parent_run = ? AND parent_run <> ''"
        return self._list(RunRow, where, (tenant, run_id), "ORDER BY recorded")

    def pending_requests(self, tenants: Collection[str]) -> tuple[RequestRow, ...]:
        """Requests that wait for people. See `Queries.pending_requests`."""
        return self._list(RequestRow, f"state = 'pending' AND {_OF_TENANTS}", (_json(tenants),), "ORDER BY recorded")

    def requests_of_run(self, tenant: str, run_id: str) -> tuple[RequestRow, ...]:
        """What a run asked for. See `Queries.requests_of_run`."""
        return self._list(RequestRow, "tenant = ? AND run_id = ?", (tenant, run_id), "ORDER BY recorded DESC")

    def leases_of_run(self, tenant: str, run_id: str) -> tuple[LeaseRow, ...]:
        """Leases of a run. See `Queries.leases_of_run`."""
        return self._list(LeaseRow, "tenant = ? AND run_id = ?", (tenant, run_id), "ORDER BY recorded DESC")

    def leases_of_request(self, tenant: str, request_id: str) -> tuple[LeaseRow, ...]:
        """Leases drawn from a request. See `Queries.leases_of_request`."""
        return self._list(LeaseRow, "tenant = ? AND request_id = ?", (tenant, request_id), "ORDER BY recorded DESC")

    def accounts(self, tenant: str, account: str) -> tuple[AccountRow, ...]:
        """The accounts of a run or request. See `Queries.accounts`."""
        return self._list(AccountRow, "tenant = ? AND account = ?", (tenant, account), "ORDER BY unit")

    def open_calls(self, tenants: Collection[str]) -> tuple[CallRow, ...]:
        """Calls admitted and not settled. See `Queries.open_calls`."""
        where = f"state = '{CallState.ADMITTED}' AND {_OF_TENANTS}"
        return self._list(CallRow, where, (_json(tenants),), "ORDER BY finish_by, admission_id")

    def stops(self, tenants: Collection[str]) -> tuple[StopRow, ...]:
        """Wide revokes and holds. See `Queries.stops`."""
        return self._list(StopRow, _OF_TENANTS, (_json(tenants),), "ORDER BY tenant, scope, kind")

    def glasses(self, tenants: Collection[str]) -> tuple[GlassRow, ...]:
        """Every break-glass. See `Queries.glasses`."""
        return self._list(GlassRow, _OF_TENANTS, (_json(tenants),), "ORDER BY recorded DESC")

    def held(self, tenants: Collection[str]) -> tuple[RunRow | RequestRow | LeaseRow, ...]:
        """What is held each by itself. See `Queries.held`."""
        where, bound, order = f"held = 1 AND {_OF_TENANTS}", (_json(tenants),), "ORDER BY tenant, recorded"
        return (
            *self._list(RunRow, f"{where} AND state = 'open'", bound, order),
            *self._list(RequestRow, f"{where} AND state IN ('pending', 'approved', 'used')", bound, order),
            *self._list(LeaseRow, f"{where} AND state = 'active'", bound, order),
        )

    def people(self, tenants: Collection[str]) -> tuple[PersonRow, ...]:
        """People with keys. See `Queries.people`."""
        return self._list(PersonRow, _OF_TENANTS, (_json(tenants),), "ORDER BY tenant, person")

    def deliveries(self, tenants: Collection[str], *, limit: int = 100) -> tuple[DeliveryRow, ...]:
        """Notices, the newest first. See `Queries.deliveries`."""
        rows: list[DeliveryRow] = []
        for tenant in tenants:
            rows.extend(self._list(DeliveryRow, "tenant = ?", (tenant,), "ORDER BY entry DESC, delivery_id", limit))
        return tuple(sorted(rows, key=lambda row: -row.entry)[:limit])

    def deliveries_about(self, tenant: str, subject: str, channel: str) -> tuple[DeliveryRow, ...]:
        """Notices about one thing. See `Queries.deliveries_about`."""
        where = "tenant = ? AND subject = ? AND channel = ?"
        return self._list(DeliveryRow, where, (tenant, subject, channel), "ORDER BY entry")

    def undelivered(
        self, until: Instant, *, but_not: Collection[str] = (), limit: int = MAX_LISTED
    ) -> tuple[DeliveryRow, ...]:
        """Notices that may be tried. See `Queries.undelivered`."""
        where = "state = 'waiting' AND due_ms <= ? AND channel NOT IN (SELECT value FROM json_each(?))"
        return self._list(DeliveryRow, where, (int(until), _json(but_not)), "ORDER BY due_ms, delivery_id", limit)

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
        with self._readers.borrow() as connection:
            return tuple(read_lines(connection, begin, end))

    def telling(self, tenant: str, run_id: str, begin: int, end: int) -> Iterator[LedgerLine]:
        """Entries that can tell of a run. See `Queries.telling`."""
        found = self._index.telling(tenant, run_id, begin, end)
        for start in range(0, len(found), MAX_LISTED):
            with self._readers.borrow() as connection:
                lines = read_some(connection, found[start : start + MAX_LISTED])
            yield from lines

    def search(self, query: LedgerQuery) -> tuple[LedgerLine, ...]:
        """Entries that meet a query. See `Queries.search`."""
        found = self._index.search(query)
        with self._readers.borrow() as connection:
            lines = {line.index: line for line in read_some(connection, found)}
        return tuple(lines[index] for index in found)

    def nodes(self, places: Sequence[Place]) -> list[bytes]:
        """The hashes of complete subtrees. See `leasehold.ledger.tree.Nodes`."""
        with self._readers.borrow() as connection:
            return LedgerNodes(connection).nodes(places)

    def _newest(self, row_type: type[R], tenants: Collection[str], before: int | None, limit: int) -> tuple[R, ...]:
        """The newest of each tenant, in the order of its index, put together."""
        where, end = "tenant = ? AND recorded < ?", _MAX_INTEGER if before is None else before
        rows: list[R] = []
        for tenant in tenants:
            rows.extend(self._list(row_type, where, (tenant, end), "ORDER BY recorded DESC", limit))
        rows.sort(key=lambda row: cast("RunRow | LeaseRow", row).recorded, reverse=True)
        return tuple(rows[:limit])

    def _due(self, row_type: type[R], where: str, deadline: str, now: Instant) -> tuple[R, ...]:
        return self._list(row_type, f"{where} AND {deadline} <= ?", (now.seconds,), f"ORDER BY {deadline}", MAX_LISTED)

    def _list(
        self, row_type: type[R], where: str, bound: Sequence[object], order: str, limit: int | None = None
    ) -> tuple[R, ...]:
        shape = SHAPES[cast("type[Row]", row_type)]
        sql = select_all(shape, where, f"{order} LIMIT {-1 if limit is None else max(0, min(limit, MAX_LISTED))}")
        with self._readers.borrow() as connection:
            return tuple(cast("list[R]", decoded(shape, connection.execute(sql, tuple(bound)).get)))


def _json(values: Collection[str]) -> str:
    return _encoder.encode(list(values)).decode()
