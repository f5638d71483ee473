"""What the lane does on PostgreSQL: lock, load the facts of a whole batch, decide, apply, commit once.

Called by the lane's thread through `leasehold.store.lane.Backend`. The lock is an advisory one of the log, and what is
loaded is loaded by a later statement, since a statement sees what was committed before it began. Nothing is remembered
from one batch to the next but how far the ledger had come, so any number of processes may do this on one database. A
connection is made again when it is lost, and whatever it leads to then has to hold all that was seen before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from time import monotonic, sleep
from typing import cast

import psycopg

from leasehold.decide.batch import Batch, decide_batch
from leasehold.decide.facts import INDEXES, Ref, Step, StepAnswer
from leasehold.decide.rows import TABLES, ControlRow, Row
from leasehold.errors import LeaseholdError, StoreError, UnavailableError, VerificationError
from leasehold.ledger.tree import Frontier
from leasehold.model.instant import Instant
from leasehold.store.batches import (
    Found,
    Loaded,
    Needs,
    Writing,
    bucketed,
    facts_of,
    keyed,
    needs_of,
    needs_of_ref,
    writing_of,
)
from leasehold.store.columns import SHAPES, decoded
from leasehold.store.heads import check_anchored
from leasehold.store.lane import RefusedError, UnansweredError
from leasehold.store.postgres_connection import (
    AgainError,
    Connection,
    PostgresPlace,
    connect,
    execute,
    in_our_words,
    insist_on_session,
    is_lost,
    not_durable,
    translated,
)
from leasehold.store.postgres_migrations import LANE_LOCK, lock
from leasehold.store.postgres_patrol import Patrol
from leasehold.store.postgres_reading import LedgerNodes
from leasehold.store.postgres_rows import (
    delete_by_key,
    insert_into,
    json_rows,
    select_by_index,
    select_by_key,
    storable_keys,
    upsert,
    values_json,
)
from leasehold.store.protocol import Anchor, Clock, TreeHead

__all__ = ["CHANNEL", "NOW", "PostgresBackend"]

CHANNEL = "leasehold"
"""What every commit notifies, with the name of the process that writes."""

_MOST_TRIES = 3
_PAUSE_SECONDS = 0.05
_BEGIN = f"BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; {lock(LANE_LOCK)}"
NOW = "CAST(floor(extract(epoch FROM clock_timestamp()) * 1000) AS bigint)"
"""The server's clock, in milliseconds."""
_IS_DURABLE = (
    "current_setting('fsync') = 'on' AND current_setting('full_page_writes') = 'on'"
    " AND current_setting('synchronous_commit') IN ('on', 'remote_apply')"
)
"""What only the server can set, and may be set anew while it is in use; and what was set for this session, since a
pooler in between may have given us another one."""
_BY_KEY = {row_type: select_by_key(shape) for row_type, shape in SHAPES.items()}
_BY_INDEX = {index: select_by_index(index) for index in INDEXES}
_UPSERTS = {row_type: upsert(shape) for row_type, shape in SHAPES.items()}
_LEDGER = insert_into("ledger", (int, bytes, bytes))
_ORDER = {row_type: place for place, row_type in enumerate(TABLES)}
_MARK = (
    f"INSERT INTO writers VALUES (%s, %s, {NOW})"  # noqa: S608 - own names
    " ON CONFLICT (writer) DO UPDATE SET batch = excluded.batch, at_ms = excluded.at_ms"
)


class PostgresBackend:
    """What one process writes. Used by the lane's thread alone; close it when done.

    `writer` is this process's own name among those that write. `clock` is the database's where it is None; tests bring
    their own. `anchor` is what stands outside, read again with each new connection. `heard` is told what the server's
    clock reads, in every batch.
    """

    def __init__(
        self,
        place: PostgresPlace,
        writer: str,
        clock: Clock | None,
        anchor: Anchor | None = None,
        heard: Callable[[Instant], None] = lambda _: None,
    ) -> None:
        self._place = place
        self._patrol = Patrol(place.silent_seconds)
        self.writer = writer
        self._clock = clock
        self._anchor = anchor
        self._heard = heard
        self._connection: Connection | None = None
        self._warnings: list[str] = []  # what the server says beside its answers
        self._batch = 0
        self._last: ControlRow | None = None  # the log's row when it was seen last, by this process's batches
        self._is_proven = False  # whether what this connection leads to holds all that was there then

    def run(self, steps: Sequence[Step[object]]) -> list[StepAnswer[object] | Exception]:
        """Run one batch, again where that is safe. See `Backend.run`."""
        for _ in range(_MOST_TRIES - 1):
            try:
                return self._run(steps)
            except AgainError:
                continue
        return self._run(steps)

    def rest(self) -> None:
        """Nothing waits to be done."""

    def close(self) -> None:
        """Forget this process among those that write, and let the connection go."""
        connection, self._connection = self._connection, None
        if connection is not None:
            # If that fails, it is forgotten by whoever opens the database after a day.
            with suppress(psycopg.Error), self._patrol.watching(connection):
                execute(connection, "DELETE FROM writers WHERE writer = %s", (self.writer,))
            connection.close()
        self._patrol.close()

    def _run(self, steps: Sequence[Step[object]]) -> list[StepAnswer[object] | Exception]:
        connection = self._connected()
        with self._patrol.watching(connection):
            batch, writing = self._decide(connection, steps)
        self._commit(connection, writing)
        if writing is not None:
            self._last = writing.control
        return batch.answers

    def _decide(self, connection: Connection, steps: Sequence[Step[object]]) -> tuple[Batch, Writing | None]:
        """Everything up to the commit; undone if it fails."""
        try:
            with translated(self._place):
                self._begin(connection)
                loaded = self._load(connection, steps)
                loaded.facts.reader = partial(self._seek, connection)
                self._prove(connection, loaded.control)
                batch = decide_batch(steps, loaded.facts, loaded.now)
                writing = self._apply(connection, loaded, batch)
        except AgainError:
            connection.close()
            raise
        except BaseException:
            self._roll_back(connection)
            raise
        return batch, writing

    def _begin(self, connection: Connection) -> None:
        """Begin a transaction that holds the log's lock, in the session that the connection was set up in."""
        begun = execute(connection, _BEGIN)
        begun.nextset()
        ((mark, _),) = begun.fetchall()
        insist_on_session(connection, self._place, mark)

    def _connected(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._connection = connect(self._place)
            self._connection.add_notice_handler(lambda notice: self._warnings.append(str(notice.message_primary)))
            self._is_proven = False
        return self._connection

    def _load(self, connection: Connection, steps: Sequence[Step[object]]) -> Loaded:
        needs = needs_of(steps)
        found, now = self._read(connection, needs)
        self._heard(now)
        clock = self._clock.now() if self._clock is not None else now
        return facts_of(needs, found, clock)

    def _seek(self, connection: Connection, ref: Ref) -> Row | None:
        """One row more, inside the same transaction."""
        with translated(self._place):
            return self._read(connection, needs_of_ref(ref))[0].rows[ref.row_type].get(ref.key)

    def _read(self, connection: Connection, needs: Needs) -> tuple[Found, Instant]:
        """The rows of each table by key and of each index by bucket, and the time, read with a single statement."""
        refs, indexes = needs
        queries = [*(_BY_KEY[row_type] for row_type in refs), *(_BY_INDEX[index] for index in indexes)]
        named = [storable_keys(keys) for keys in (*refs.values(), *indexes.values())]
        sql = f"SELECT {NOW}, {_IS_DURABLE}, {', '.join(f'({query})' for query in queries)}"
        found = execute(connection, sql, named, is_prepared=True).fetchone()
        now, is_durable, *texts = cast("tuple[int, bool, *tuple[str, ...]]", found)
        if not is_durable:
            raise not_durable(self._place)
        remaining = iter(texts)
        try:
            rows = {row_type: keyed(decoded(SHAPES[row_type], next(remaining))) for row_type in refs}
            indexed = {index: bucketed(index, decoded(SHAPES[index.ROW], next(remaining))) for index in indexes}
        except ValueError as error:
            raise RefusedError(f"{self._place}: a row is damaged; run: leasehold db check: {error}") from error
        if not rows[ControlRow]:
            raise StoreError(f"{self._place}: the control row is missing; restore a backup")
        return Found(rows, indexed), Instant(now)

    def _apply(self, connection: Connection, loaded: Loaded, batch: Batch) -> Writing | None:
        """Write the last state of each row, the entries and their hashes, and the log's row, with one statement."""
        try:
            writing = writing_of(loaded, batch)
        except VerificationError as error:
            raise StoreError(f"{self._place}: the ledger's right edge is damaged; restore a backup: {error}") from error
        if writing is None:
            return None
        self._batch += 1
        tables = sorted(writing.rows, key=_ORDER.__getitem__)
        statements = [
            *(_UPSERTS[row_type] for row_type in tables),
            *(delete_by_key(SHAPES[row_type]) for row_type in writing.gone),
            _LEDGER,
            _MARK,
            f"SELECT pg_notify('{CHANNEL}', %s)",
        ]
        parts = ", ".join(f"part_{place} AS ({statement})" for place, statement in enumerate(statements))
        bound = [
            *(json_rows(writing.rows[row_type]) for row_type in tables),
            *(storable_keys(keys) for keys in writing.gone.values()),
            values_json(writing.lines),
            *(self.writer, self._batch),
            self.writer,
            json_rows((writing.control,)),
        ]
        told = f"part_{len(statements) - 1}"  # a part that only reads is carried out where something reads it
        sql = f"WITH {parts} {upsert(SHAPES[ControlRow], beside=told)}"
        execute(connection, sql, bound, is_prepared=True)
        return writing

    def _commit(self, connection: Connection, writing: Writing | None) -> None:
        """Commit, and find out what became of it where no answer came."""
        self._warnings.clear()
        try:
            with self._patrol.watching(connection):
                status = execute(connection, "COMMIT").statusmessage
        except psycopg.Error as error:
            connection.close()
            if writing is None:
                return
            if not is_lost(error):
                raise in_our_words(error, self._place) from error
            self._find_out(error)
        except BaseException:
            connection.close()
            raise
        else:
            if status != "COMMIT":
                raise UnavailableError(f"{self._place}: the server rolled the batch back; nothing was executed")
            if self._warnings and writing is not None:
                raise UnansweredError(
                    f"{self._place}: the server committed, but warns that it may not last: {self._warnings[0]}"
                )

    def _find_out(self, error: psycopg.Error) -> None:
        """Return if the batch whose COMMIT got no answer is in; if it is not, raise that it may be tried again.

        Taking the lock waits for the end of the transaction that holds it, whoever is still at work on it.

        Raises:
            AgainError: it is not in.
            UnansweredError: the server could not be asked in time.
        """
        deadline = monotonic() + self._place.patience_seconds
        while (is_in := self._is_in()) is None:
            if monotonic() > deadline:
                raise UnansweredError(
                    f"{self._place}: the connection was lost while the batch was committed, and the server cannot be "
                    f"asked what became of it: {error}"
                ) from error
            sleep(_PAUSE_SECONDS)
        if not is_in:
            raise AgainError(f"{self._place}: the connection was lost before the commit; nothing was executed")

    def _is_in(self) -> bool | None:
        """Whether the last batch was committed; None while the server cannot be asked."""
        try:
            connection = self._connected()
            try:
                with self._patrol.watching(connection), translated(self._place):
                    self._begin(connection)
                    row = execute(connection, "SELECT batch FROM writers WHERE writer = %s", (self.writer,)).fetchone()
            finally:
                self._roll_back(connection)
        except StoreError:
            return None
        return row is not None and int(row[0]) >= self._batch

    def _prove(self, connection: Connection, control: ControlRow) -> None:
        """Refuse a database that lacks what this process saw or what stands outside: a standby that had not received
        it all took over. Another process may have gone on with that one since, so being no smaller is not enough.

        Raises:
            UnavailableError: what stands outside cannot be read.
            StoreError: something is not there.
        """
        if not self._is_proven:
            for head in (self._seen(), self._outside()):
                if head is not None:
                    check_anchored(LedgerNodes(connection), self._place, control, head)
            self._is_proven = True
        self._last = control

    def _seen(self) -> TreeHead | None:
        last = self._last
        if last is None:
            return None
        return TreeHead(epoch=last.epoch, size=last.size, root=Frontier.from_bytes(last.frontier).root())

    def _outside(self) -> TreeHead | None:
        try:
            return self._anchor.read() if self._anchor is not None else None
        except LeaseholdError as error:
            raise UnavailableError(
                f"{self._place}: nothing was executed, since the anchor is no use: {error}"
            ) from error

    def _roll_back(self, connection: Connection) -> None:
        """Undo what the failed batch wrote; a connection that cannot even do that is given up."""
        if connection.closed:
            return
        try:
            execute(connection, "ROLLBACK")
        except psycopg.Error:
            connection.close()
