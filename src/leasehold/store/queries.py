"""The read side: what can be asked of a store, as values and one protocol. Implemented by `listing`.

Nothing here decides anything: a step reads its facts again, in the lane. Every answer is of committed state. Callers
pass the tenants that the asking person may see; nothing of another tenant is ever answered (invariant I10).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Protocol

import msgspec

from leasehold.decide.facts import Ref
from leasehold.decide.rows import (
    AccountRow,
    CallRow,
    ClientKeyRow,
    ControlRow,
    DeliveryRow,
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
from leasehold.ledger.tree import Nodes
from leasehold.model.grant import Scalar
from leasehold.model.instant import Instant

__all__ = ["MAX_LISTED", "Due", "LedgerLine", "LedgerQuery", "Queries", "Tally"]

MAX_LISTED = 1000
"""The most rows that a listing with a `limit`, one sweep, or one search answers; other listings are complete."""


class LedgerLine(msgspec.Struct, frozen=True, kw_only=True):
    """One ledger entry as it is stored: its index, its canonical bytes, and the 32-byte hash of its leaf."""

    index: int
    body: bytes
    leaf: bytes


class LedgerQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries: all that meet every condition given, the newest first by recorded time, then by index.

    `tenants` is None for every tenant, which only the log's own operator may ask for; entries that belong to no tenant
    stand under `""`. `person` is the one for whom the run was started. `attribute` is a name and one value that the
    call gave it. `since` is included, `until` is not. `before` is the index of the last entry of the page before.
    """

    tenants: Collection[str] | None
    person: str = ""
    agent: str = ""
    run: str = ""
    lease: str = ""
    capability: str = ""
    action: str = ""
    attribute: tuple[str, Scalar] | None = None
    key: str = ""
    admission: str = ""
    decision: str = ""
    since: Instant | None = None
    until: Instant | None = None
    before: int | None = None
    limit: int = 100


class Due(msgspec.Struct, frozen=True, kw_only=True):
    """What stands over past its time, oldest first: the work of one sweep, at most `MAX_LISTED` of each."""

    unanswered: tuple[RequestRow, ...]
    unused: tuple[RequestRow, ...]
    leases: tuple[LeaseRow, ...]
    calls: tuple[CallRow, ...]
    runs: tuple[RunRow, ...]
    proposals: tuple[ProposalRow, ...]
    sessions: tuple[SessionRow, ...]
    sent: tuple[SentRow, ...]


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """How much of what has not ended there is, over all tenants."""

    open_runs: int
    pending_requests: int
    active_leases: int
    open_calls: int
    waiting_notices: int


class Queries(Nodes, Protocol):
    """The read side of one log. Threads may share it.

    Each method raises `StoreError` if the database cannot be read. As `Nodes` it gives the ledger's tree to proofs.
    """

    def control(self) -> ControlRow:
        """The log's row: epoch, active policy, size and right edge of the tree."""
        ...

    def document(self, tenant: str, document_id: str) -> bytes | None:
        """An immutable document, from memory if it was read before."""
        ...

    def card(self, tenant: str, digest: str) -> bytes | None:
        """A card as it was shown, or None if there is none or it was erased."""
        ...

    def rows(self, refs: Sequence[Ref]) -> tuple[Row | None, ...]:
        """The rows of these keys as they are now, in the same order."""
        ...

    def locate(self, row_id: str, tenants: Collection[str]) -> RunRow | RequestRow | LeaseRow | None:
        """The run, request or lease of this id, if it is of one of these tenants."""
        ...

    def tenants(self) -> tuple[str, ...]:
        """Every tenant that ever had a run, sorted."""
        ...

    def runs(self, tenants: Collection[str], *, before: int | None = None, limit: int = 100) -> tuple[RunRow, ...]:
        """Runs, the newest first; `before` is the `recorded` of the last one of the page before."""
        ...

    def leases(self, tenants: Collection[str], *, before: int | None = None, limit: int = 100) -> tuple[LeaseRow, ...]:
        """Leases, the newest first; `before` as for `runs`."""
        ...

    def open_runs(self, tenants: Collection[str]) -> tuple[RunRow, ...]:
        """Runs that are not finished, the one that expires first in front."""
        ...

    def open_runs_for(self, requested_by: str, environment: str, *, limit: int = 100) -> tuple[RunRow, ...]:
        """Somebody's runs in an environment that are not finished, whatever their tenants, the newest first."""
        ...

    def children(self, tenant: str, run_id: str) -> tuple[RunRow, ...]:
        """Runs that a run delegated to directly, the oldest first."""
        ...

    def pending_requests(self, tenants: Collection[str]) -> tuple[RequestRow, ...]:
        """Requests that wait for people, the oldest first."""
        ...

    def requests_of_run(self, tenant: str, run_id: str) -> tuple[RequestRow, ...]:
        """What a run asked for, the newest first."""
        ...

    def leases_of_run(self, tenant: str, run_id: str, *, limit: int | None = None) -> tuple[LeaseRow, ...]:
        """Leases of a run, the newest first; all of them unless there is a limit."""
        ...

    def leases_of_request(self, tenant: str, request_id: str) -> tuple[LeaseRow, ...]:
        """Leases drawn from a request, the newest first."""
        ...

    def kept_cards(self, tenant: str, *, after: str = "", limit: int = MAX_LISTED) -> tuple[RequestRow, ...]:
        """Requests of finished runs whose cards were not erased, by id, those after this one."""
        ...

    def accounts(self, tenant: str, account: str) -> tuple[AccountRow, ...]:
        """What one run or request may spend and has spent, by unit."""
        ...

    def open_calls(self, tenants: Collection[str]) -> tuple[CallRow, ...]:
        """Calls admitted and not settled, the one due first in front."""
        ...

    def stops(self, tenants: Collection[str] | None) -> tuple[StopRow, ...]:
        """Wide revokes and holds, in force or not; name the empty tenant to see the authority-wide ones.

        None is every tenant, with the authority-wide ones, also one in which nothing ever ran.
        """
        ...

    def glasses(self, tenants: Collection[str] | None) -> tuple[GlassRow, ...]:
        """Every break-glass, the newest first. None is every tenant, also one in which nothing ever ran."""
        ...

    def wishes(self) -> tuple[GlassRow, ...]:
        """Every break-glass that waits for its second person, in whatever tenant, the newest first."""
        ...

    def proposals(self) -> tuple[ProposalRow, ...]:
        """Every policy that was proposed to a second person, with its newest proposal, the newest first."""
        ...

    def held(self, tenants: Collection[str]) -> tuple[RunRow | RequestRow | LeaseRow, ...]:
        """Runs, requests and leases that are held each by itself, and are not over."""
        ...

    def people(self, tenants: Collection[str]) -> tuple[PersonRow, ...]:
        """People with keys; those of the whole authority stand under the empty tenant."""
        ...

    def client_keys(self) -> tuple[ClientKeyRow, ...]:
        """The API keys that were not removed, by client and id."""
        ...

    def keys_of_client(self, client: str) -> tuple[ClientKeyRow, ...]:
        """The API keys that a client ever had, those that were removed too, by id."""
        ...

    def deliveries(self, tenants: Collection[str] | None, *, limit: int = 100) -> tuple[DeliveryRow, ...]:
        """Notices, the newest first; those about what stands above tenants are under the empty tenant.

        None is every tenant, with the empty one, also one in which nothing ever ran.
        """
        ...

    def deliveries_about(self, tenant: str, subject: str, channel: str) -> tuple[DeliveryRow, ...]:
        """The notices about one thing over one channel, the oldest first."""
        ...

    def undelivered(
        self, until: Instant, *, but_not: Collection[str] = (), limit: int = MAX_LISTED
    ) -> tuple[DeliveryRow, ...]:
        """Notices that may be tried by then, the one due first in front; of all channels but these."""
        ...

    def due(self, now: Instant) -> Due:
        """What stands over past its time."""
        ...

    def tally(self) -> Tally:
        """How many of each have not ended; for metrics, which name nobody."""
        ...

    def ledger(self, begin: int, end: int) -> tuple[LedgerLine, ...]:
        """Entries `begin` up to, not including, `end`, as far as they exist; read a long ledger in slices."""
        ...

    def telling(self, tenant: str, run_id: str, begin: int, end: int) -> Iterator[LedgerLine]:
        """The entries from `begin` up to `end` that can tell of a run, in the order of the ledger.

        Those that name it or a run below it, starts that were refused under them, every stop over its tenant or all
        tenants, and damaged ones, which could be any of these. They are found by the index, as in `search`, and read
        from the ledger.
        """
        ...

    def search(self, query: LedgerQuery) -> tuple[LedgerLine, ...]:
        """Entries that meet a query. Looks in an index that is brought up to the committed size first."""
        ...
