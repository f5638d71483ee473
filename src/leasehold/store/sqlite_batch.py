"""What the lane does on SQLite: lock, load the facts of a whole batch, decide, apply, commit once.

Called by the lane's thread through `leasehold.store.lane.Backend`. Nothing is remembered from one batch to the next, so
any number of processes may do this on one file.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import cast

import apsw

from leasehold.decide.batch import Batch, decide_batch
from leasehold.decide.facts import INDEXES, Ref, Step, StepAnswer
from leasehold.decide.rows import ControlRow, Row
from leasehold.errors import StoreError, VerificationError
from leasehold.store.batches import Found, Loaded, Needs, bucketed, facts_of, keyed, needs_of, needs_of_ref, writing_of
from leasehold.store.columns import SHAPES, decoded, keys_json
from leasehold.store.lane import RefusedError
from leasehold.store.protocol import Clock
from leasehold.store.sqlite_connection import Place, in_our_words
from leasehold.store.sqlite_rows import delete_by_key, insert, select_by_index, select_by_key, upsert

__all__ = ["SqliteBackend"]

_CHECKPOINT_PAGES = 4000
_BY_KEY = {row_type: select_by_key(shape) for row_type, shape in SHAPES.items()}
_BY_INDEX = {index: select_by_index(index) for index in INDEXES}


class SqliteBackend:
    """What one connection writes. Used by the lane's thread alone; the connection is its maker's to close."""

    def __init__(self, connection: apsw.Connection, place: Place, clock: Clock) -> None:
        self._connection = connection
        self._place = place
        self._clock = clock
        self._files = _identities(place) if place.is_file else ()
        self._log_pages = 0
        if place.is_file:
            connection.set_wal_hook(self._note_log)  # in place of SQLite's own checkpoint inside the commit

    def run(self, steps: Sequence[Step[object]]) -> list[StepAnswer[object] | Exception]:
        """Run one batch. See `Backend.run`."""
        committing = False
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            loaded = self._load(steps)
            loaded.facts.reader = self._seek
            batch = decide_batch(steps, loaded.facts, loaded.now)
            self._apply(loaded, batch)
            self._check_files()
            committing = True
            self._connection.execute("COMMIT")
        except apsw.Error as error:
            self._roll_back()
            raise in_our_words(error, self._place, committing=committing) from error
        except BaseException:
            self._roll_back()
            raise
        return batch.answers

    def rest(self) -> None:
        """Move what was committed from the write-ahead log into the database, once it is long."""
        if self._log_pages < _CHECKPOINT_PAGES:
            return
        try:
            self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        except (apsw.BusyError, apsw.LockedError, apsw.FullError):
            return  # nothing is lost: it stays in the log until a later one succeeds
        except apsw.Error as error:
            raise StoreError(str(in_our_words(error, self._place))) from error

    def _note_log(self, _connection: apsw.Connection, _database: str, pages: int) -> int:
        self._log_pages = pages
        return apsw.SQLITE_OK

    def _load(self, steps: Sequence[Step[object]]) -> Loaded:
        needs = needs_of(steps)
        return facts_of(needs, self._read(needs), self._clock.now())

    def _read(self, needs: Needs) -> Found:
        """The rows of each table by key and of each index by bucket, read with a single statement."""
        refs, indexes = needs
        queries = [*(_BY_KEY[row_type] for row_type in refs), *(_BY_INDEX[index] for index in indexes)]
        named = [keys_json(keys) for keys in (*refs.values(), *indexes.values())]
        sql = f"SELECT {', '.join(f'({query})' for query in queries)}"
        try:
            texts = iter(cast(tuple[str, ...], self._connection.execute(sql, named).fetchone()))
            rows = {row_type: keyed(decoded(SHAPES[row_type], next(texts))) for row_type in refs}
            indexed = {index: bucketed(index, decoded(SHAPES[index.ROW], next(texts))) for index in indexes}
        except ValueError as error:
            raise RefusedError(f"{self._place}: a row is damaged; run: leasehold db check: {error}") from error
        if not rows[ControlRow]:
            raise StoreError(f"{self._place}: the control row is missing; restore a backup")
        return Found(rows, indexed)

    def _seek(self, ref: Ref) -> Row | None:
        """One row more, inside the same transaction."""
        try:
            return self._read(needs_of_ref(ref)).rows[ref.row_type].get(ref.key)
        except apsw.Error as error:
            raise in_our_words(error, self._place) from error

    def _apply(self, loaded: Loaded, batch: Batch) -> None:
        """Write the last state of each row, the entries with their hashes, and the log's own row."""
        try:
            writing = writing_of(loaded, batch)
        except VerificationError as error:
            raise StoreError(f"{self._place}: the ledger's right edge is damaged; restore a backup: {error}") from error
        if writing is None:
            return
        for row_type, rows in writing.rows.items():
            upsert(self._connection, SHAPES[row_type], rows)
        for row_type, keys in writing.gone.items():
            self._connection.execute(delete_by_key(SHAPES[row_type]), (keys_json(keys),))
        insert(self._connection, "ledger", writing.lines)
        upsert(self._connection, SHAPES[ControlRow], (writing.control,))

    def _check_files(self) -> None:
        if self._files and self._files != _identities(self._place):
            raise StoreError(
                f"{self._place}: the database or its -wal file was deleted or moved while open; nothing was executed; "
                "stop every process that uses it, then check or restore it"
            )

    def _roll_back(self) -> None:
        """Undo what the failed batch wrote; SQLite has done so itself after some errors."""
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except apsw.Error as error:
            raise StoreError(str(in_our_words(error, self._place))) from error


def _identities(place: Place) -> tuple[tuple[int, int], ...]:
    """Which files stand under the names of the database and its log; a missing one is no file at all."""
    found = []
    for name in (place.path, f"{place.path}-wal"):
        try:
            status = os.stat(name)
        except OSError:
            found.append((0, 0))
        else:
            found.append((status.st_dev, status.st_ino))
    return tuple(found)
