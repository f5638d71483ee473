"""Whether a SQLite database may be used: a short look when it is opened, a long one when an operator asks.

Called by `leasehold.store.sqlite` and `sqlite_copies`. The short look reads what every decision reads and a logarithmic
part of the ledger; damage elsewhere refuses the steps that meet it, not the service.
"""

from __future__ import annotations

from collections.abc import Iterator

import apsw

from leasehold.decide.rows import ControlRow
from leasehold.errors import StoreError, VerificationError
from leasehold.ledger.tree import Frontier, TreeBuilder, leaf_hash
from leasehold.store.columns import SHAPES, decoded
from leasehold.store.heads import check_end, damaged
from leasehold.store.sqlite_connection import Place
from leasehold.store.sqlite_reading import LedgerNodes, read_control, reading
from leasehold.store.sqlite_rows import select_each
from leasehold.store.told import COMPARED, Told

__all__ = ["check_state", "problems"]

_READ_BY_ALL = ("control", "stops", "people")


def check_state(connection: apsw.Connection, place: Place) -> ControlRow:
    """Return the log's row if the tables that every decision reads are whole and the ledger ends where the row says.

    Raises:
        StoreError: they are not.
    """
    for table in _READ_BY_ALL:
        for (found,) in connection.execute(f"PRAGMA quick_check('{table}')").fetchall():
            if found != "ok":
                raise damaged(place, f"table {table}: {found}")
    with reading(connection):  # others may be writing
        control = read_control(connection, place)
        check_end(LedgerNodes(connection), place, control, connection.execute("SELECT max(idx) FROM ledger").get)
    return control


def problems(connection: apsw.Connection, place: Place) -> Iterator[str]:
    """Say everything that is wrong with a database; nothing if all is well. Reads all of it, at one moment."""
    with reading(connection):
        try:
            for (found,) in connection.execute("PRAGMA integrity_check"):
                if found != "ok":
                    yield found
            told = Told()
            found = tuple(_ledger_problems(connection, read_control(connection, place), told))
            yield from found or _differences(connection, told)
        except (StoreError, VerificationError, apsw.CorruptError) as error:
            yield str(error)


def _differences(connection: apsw.Connection, told: Told) -> Iterator[str]:
    """Where rows say something else than the ledger."""
    for row_type in COMPARED:
        shape = SHAPES[row_type]
        try:  # one at a time: a million leases are more than one text may hold
            for (text,) in connection.execute(select_each(shape)):
                yield from told.differences(decoded(shape, f"[{text}]"))
        except ValueError as error:
            yield f"table {shape.table}: a row is damaged: {error}"
            return
    yield from told.missing()


def _ledger_problems(connection: apsw.Connection, control: ControlRow, told: Told) -> Iterator[str]:
    """The first index at which the ledger is not what its tree says, if there is one."""
    tree = TreeBuilder(Frontier())
    for expected, (index, body, hashes) in enumerate(connection.execute("SELECT * FROM ledger ORDER BY idx")):
        tree.append(leaf_hash(body))
        if index != expected or b"".join(node.digest for node in tree.completed) != hashes:
            yield f"ledger: entry {expected} is missing or was altered"
            return
        tree.completed.clear()
        told.take(body)
    frontier = tree.frontier()
    if frontier.to_bytes() != control.frontier or frontier.size != control.size:
        yield f"ledger: it ends after {frontier.size} entries, {control.size} were recorded"
