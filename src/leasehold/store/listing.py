"""The read side that every database answers: how rows, listings and entries are put together, whoever reads them.

Called by everything that shows, lists, proves or waits. A database brings how it reads one statement (`sqlite_queries`,
`postgres_queries`) and its index of entries.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from threading import Lock
from typing import Protocol, TypeVar, cast

from leasehold.decide.facts import Key, Ref, key_of
from leasehold.decide.rows import (
    AUTHORITY_WIDE,
    AccountRow,
    CallRow,
    CardRow,
    ClientKeyRow,
    ControlRow,
    DeliveryRow,
    DocumentRow,
    GlassRow,
    LeaseRow,
    PersonRow,
    ProposalRow,
    RequestRow,
    Row,
    RunRow,
    SentRow,
    SessionRow,
    StopRow,
)
from leasehold.ledger.tree import Nodes, Place
from leasehold.model.call import CallState
from leasehold.model.instant import Instant
from leasehold.store.queries import MAX_LISTED, Due, LedgerLine, LedgerQuery, Tally

__all__ = ["OPEN_RUNS_FOR", "DatabaseQueries", "Entries", "Lines", "Tables"]

R = TypeVar("R", bound=Row)

_MOST_DOCUMENTS = 8192
_MAX_INTEGER = 2**63 - 1
_OF_TENANTS = "tenant IN ?"
OPEN_RUNS_FOR = "state = 'open' AND requested_by = ? AND environment = ?"
_KEPT_CARDS = (
    "tenant = ? AND request_id > ?"
    " AND EXISTS (SELECT 1 FROM runs WHERE runs.tenant = requests.tenant AND runs.run_id = requests.run_id"
    " AND runs.state = 'finished')"
    " AND EXISTS (SELECT 1 FROM cards WHERE cards.tenant = requests.tenant AND cards.digest = requests.card_digest"
    " AND length(cards.body) > 0)"
)


class Tables(Protocol):
    """How a database reads its tables. Each method raises `StoreError` if it cannot."""

    def control(self) -> ControlRow:
        """The log's row."""
        ...

    def tenants(self) -> tuple[str, ...]:
        """Every tenant that ever had a run, sorted."""
        ...

    def by_key(self, keys: Mapping[type[Row], Collection[Key]]) -> Iterable[Row]:
        """The rows that these keys name, of all tables with one statement."""
        ...

    def listed(
        self, row_type: type[R], where: str, bound: Sequence[object], order: str, limit: int | None = None
    ) -> tuple[R, ...]:
        """The rows that meet `where`, in an order, at most `limit` of them.

        A `?` stands for the next value of `bound`; in `IN ?` and `NOT IN ?` that is a list of texts.
        """
        ...

    def counted(self, row_type: type[Row], where: str) -> int:
        """How many rows meet a condition that a partial index is made for."""
        ...


class Lines(Nodes, Protocol):
    """How a database reads its ledger."""

    def ledger(self, begin: int, end: int) -> Sequence[LedgerLine]:
        """Entries `begin` up to, not including, `end`, as far as they exist."""
        ...

    def some(self, indexes: Sequence[int]) -> Sequence[LedgerLine]:
        """The entries of these indexes, as far as they exist, in the order of the ledger."""
        ...


class Entries(Protocol):
    """The index of a ledger's entries."""

    def search(self, query: LedgerQuery) -> list[int]:
        """The indexes of the entries that meet a query, newest first."""
        ...

    def telling(self, tenant: str, run_id: str, begin: int, end: int) -> list[int]:
        """The indexes of the entries of a range that can tell of a run, in the order of the ledger."""
        ...


class DatabaseQueries:
    """The read side, as `leasehold.store.queries.Queries`. Threads may share it."""

    def __init__(self, tables: Tables, lines: Lines, entries: Entries) -> None:
        self._tables = tables
        self._lines = lines
        self._entries = entries
        self._lock = Lock()  # guards the documents
        self._documents: OrderedDict[tuple[str, str], bytes] = OrderedDict()

    def control(self) -> ControlRow:
        """The log's row. See `Queries.control`."""
        return self._tables.control()

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
        wanted: dict[type[Row], dict[Key, None]] = {}
        for ref in refs:
            wanted.setdefault(ref.row_type, {})[ref.key] = None
        if not wanted:
            return ()
        found = {(type(row), key_of(row)): row for row in self._tables.by_key(wanted)}
        return tuple(found.get((ref.row_type, ref.key)) for ref in refs)

    def locate(self, row_id: str, tenants: Collection[str]) -> RunRow | RequestRow | LeaseRow | None:
        """The run, request or lease of an id. See `Queries.locate`."""
        for row_type, column in ((RunRow, "run_id"), (RequestRow, "request_id"), (LeaseRow, "lease_id")):
            # The empty text keeps planners from walking whole tenants: only the index of ids serves the rest.
            where = f"{column} = ? AND tenant || '' IN ?"
            rows = self._list(row_type, where, (row_id, list(tenants)), "ORDER BY tenant")
            if rows:
                return cast("RunRow | RequestRow | LeaseRow", rows[0])
        return None

    def tenants(self) -> tuple[str, ...]:
        """Every tenant that ever had a run. See `Queries.tenants`."""
        return self._tables.tenants()

    def runs(self, tenants: Collection[str], *, before: int | None = None, limit: int = 100) -> tuple[RunRow, ...]:
        """Runs, the newest first. See `Queries.runs`."""
        return self._newest(RunRow, tenants, before, limit)

    def leases(self, tenants: Collection[str], *, before: int | None = None, limit: int = 100) -> tuple[LeaseRow, ...]:
        """Leases, the newest first. See `Queries.leases`."""
        return self._newest(LeaseRow, tenants, before, limit)

    def open_runs(self, tenants: Collection[str]) -> tuple[RunRow, ...]:
        """Runs that are not finished. See `Queries.open_runs`."""
        return self._list(RunRow, f"state = 'open' AND {_OF_TENANTS}", (list(tenants),), "ORDER BY expires_at, run_id")

    def open_runs_for(self, requested_by: str, environment: str, *, limit: int = 100) -> tuple[RunRow, ...]:
        """Somebody's open runs. See `Queries.open_runs_for`."""
        return self._list(RunRow, OPEN_RUNS_FOR, (requested_by, environment), "ORDER BY recorded DESC", limit)

    def children(self, tenant: str, run_id: str) -> tuple[RunRow, ...]:
        """Runs that a run delegated to. See `Queries.children`."""
        where = "tenant = ? AND parent_run = ? AND parent_run <> ''"
        return self._list(RunRow, where, (tenant, run_id), "ORDER BY recorded")

    def pending_requests(self, tenants: Collection[str]) -> tuple[RequestRow, ...]:
        """Requests that wait for people. See `Queries.pending_requests`."""
        return self._list(RequestRow, f"state = 'pending' AND {_OF_TENANTS}", (list(tenants),), "ORDER BY recorded")

    def requests_of_run(self, tenant: str, run_id: str) -> tuple[RequestRow, ...]:
        """What a run asked for. See `Queries.requests_of_run`."""
        return self._list(RequestRow, "tenant = ? AND run_id = ?", (tenant, run_id), "ORDER BY recorded DESC")

    def leases_of_run(self, tenant: str, run_id: str, *, limit: int | None = None) -> tuple[LeaseRow, ...]:
        """Leases of a run. See `Queries.leases_of_run`."""
        return self._list(LeaseRow, "tenant = ? AND run_id = ?", (tenant, run_id), "ORDER BY recorded DESC", limit)

    def leases_of_request(self, tenant: str, request_id: str) -> tuple[LeaseRow, ...]:
        """Leases drawn from a request. See `Queries.leases_of_request`."""
        return self._list(LeaseRow, "tenant = ? AND request_id = ?", (tenant, request_id), "ORDER BY recorded DESC")

    def kept_cards(self, tenant: str, *, after: str = "", limit: int = MAX_LISTED) -> tuple[RequestRow, ...]:
        """Cards that may be erased. See `Queries.kept_cards`."""
        return self._list(RequestRow, _KEPT_CARDS, (tenant, after), "ORDER BY request_id", limit)

    def accounts(self, tenant: str, account: str) -> tuple[AccountRow, ...]:
        """The accounts of a run or request. See `Queries.accounts`."""
        return self._list(AccountRow, "tenant = ? AND account = ?", (tenant, account), "ORDER BY unit")

    def open_calls(self, tenants: Collection[str]) -> tuple[CallRow, ...]:
        """Calls admitted and not settled. See `Queries.open_calls`."""
        where = f"state = '{CallState.ADMITTED}' AND {_OF_TENANTS}"
        return self._list(CallRow, where, (list(tenants),), "ORDER BY finish_by, admission_id")

    def stops(self, tenants: Collection[str] | None) -> tuple[StopRow, ...]:
        """Wide revokes and holds. See `Queries.stops`."""
        return self._list(StopRow, *_of(tenants), "ORDER BY tenant, scope, kind")

    def glasses(self, tenants: Collection[str] | None) -> tuple[GlassRow, ...]:
        """Every break-glass. See `Queries.glasses`."""
        return self._list(GlassRow, *_of(tenants), "ORDER BY recorded DESC")

    def wishes(self) -> tuple[GlassRow, ...]:
        """Break-glass that waits. See `Queries.wishes`."""
        return self._list(GlassRow, "state = 'proposed'", (), "ORDER BY recorded DESC")

    def proposals(self) -> tuple[ProposalRow, ...]:
        """Every policy that was proposed. See `Queries.proposals`."""
        return self._list(ProposalRow, "tenant = ?", (AUTHORITY_WIDE,), "ORDER BY recorded DESC")

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

    def client_keys(self) -> tuple[ClientKeyRow, ...]:
        """API keys that were not removed. See `Queries.client_keys`."""
        where = "tenant = ? AND state = 'active'"
        return self._list(ClientKeyRow, where, (AUTHORITY_WIDE,), "ORDER BY client, key_id")

    def keys_of_client(self, client: str) -> tuple[ClientKeyRow, ...]:
        """All API keys of a client. See `Queries.keys_of_client`."""
        return self._list(ClientKeyRow, "tenant = ? AND client = ?", (AUTHORITY_WIDE, client), "ORDER BY key_id")

    def deliveries(self, tenants: Collection[str] | None, *, limit: int = 100) -> tuple[DeliveryRow, ...]:
        """Notices, the newest first. See `Queries.deliveries`."""
        if tenants is None:
            return self._list(DeliveryRow, *_of(None), "ORDER BY entry DESC, delivery_id", limit)
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
        where = "state = 'waiting' AND due_ms <= ? AND channel NOT IN ?"
        return self._list(DeliveryRow, where, (int(until), list(but_not)), "ORDER BY due_ms, delivery_id", limit)

    def due(self, now: Instant) -> Due:
        """What stands over past its time. See `Queries.due`."""
        return Due(
            unanswered=self._due(RequestRow, "state = 'pending'", "answer_by", now),
            unused=self._due(RequestRow, "state = 'approved'", "use_by", now),
            leases=self._due(LeaseRow, "state = 'active'", "expires_at", now),
            calls=self._due(CallRow, "state = 'admitted'", "finish_by", now),
            runs=self._due(RunRow, "state = 'open'", "expires_at", now),
            sessions=self._due(SessionRow, "tenant = ''", "expires_at", now),
            sent=self._due(SentRow, "tenant = ''", "kept_until", now),
            proposals=self._due(ProposalRow, "state = 'pending'", "answer_by", now),
        )

    def tally(self) -> Tally:
        """How many have not ended. See `Queries.tally`."""
        counted = self._tables.counted
        return Tally(
            open_runs=counted(RunRow, "state = 'open'"),
            pending_requests=counted(RequestRow, "state = 'pending'"),
            active_leases=counted(LeaseRow, "state = 'active'"),
            open_calls=counted(CallRow, f"state = '{CallState.ADMITTED}'"),
            waiting_notices=counted(DeliveryRow, "state = 'waiting'"),
        )

    def ledger(self, begin: int, end: int) -> tuple[LedgerLine, ...]:
        """Entries of a range. See `Queries.ledger`."""
        return tuple(self._lines.ledger(begin, end))

    def telling(self, tenant: str, run_id: str, begin: int, end: int) -> Iterator[LedgerLine]:
        """Entries that can tell of a run. See `Queries.telling`."""
        found = self._entries.telling(tenant, run_id, begin, end)
        for start in range(0, len(found), MAX_LISTED):
            yield from self._lines.some(found[start : start + MAX_LISTED])

    def search(self, query: LedgerQuery) -> tuple[LedgerLine, ...]:
        """Entries that meet a query. See `Queries.search`."""
        found = self._entries.search(query)
        lines = {line.index: line for line in self._lines.some(found)}
        return tuple(lines[index] for index in found)

    def nodes(self, places: Sequence[Place]) -> Sequence[bytes]:
        """The hashes of complete subtrees. See `leasehold.ledger.tree.Nodes`."""
        return self._lines.nodes(places)

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
        most = None if limit is None else max(0, min(limit, MAX_LISTED))
        return self._tables.listed(row_type, where, bound, order, most)


def _of(tenants: Collection[str] | None) -> tuple[str, Sequence[object]]:
    """The condition that a row is of these tenants, or of whatever tenant, with what it binds."""
    return ("tenant >= ''", ()) if tenants is None else (_OF_TENANTS, (list(tenants),))
