"""Whether a SQLite database may be used: a short look when it is opened, a long one when an operator asks.

Called by `leasehold.store.sqlite` and `sqlite_copies`. The short look reads what every decision reads and a logarithmic
part of the ledger; damage elsewhere refuses the steps that meet it, not the service.
"""

from __future__ import annotations

from collections.abc import Iterator

import apsw

from leasehold.decide.rows import ControlRow
from leasehold.errors import StoreError, VerificationError
from leasehold.ledger.tree import Frontier, TreeBuilder, frontier_at, leaf_hash
from leasehold.store.protocol import TreeHead
from leasehold.store.sqlite_connection import Place
from leasehold.store.sqlite_reading import LedgerNodes, read_control, reading

__all__ = ["check_anchored", "check_state", "problems"]

_READ_BY_ALL = ("control", "stops", "people")


def check_state(connection: apsw.Connection, place: Place) -> ControlRow:
    """Return the log's row if the tables that every decision reads are whole and the ledger ends where the row says.

    Raises:
        StoreError: they are not.
    """
    for table in _READ_BY_ALL:
        for (found,) in connection.execute(f"PRAGMA quick_check('{table}')").fetchall():
            if found != "ok":
                raise _damaged(place, f"table {table}: {found}")
    control = read_control(connection, place)
    last = connection.execute("SELECT max(idx) FROM ledger").get
    if (-1 if last is None else last) != control.size - 1:
        raise _damaged(place, f"the ledger should hold {control.size} entries and ends at index {last}")
    try:
        whole = frontier_at(LedgerNodes(connection), control.size)
        recorded = Frontier.from_bytes(control.frontier)
    except VerificationError as error:
        raise _damaged(place, str(error)) from error
    if whole != recorded:
        raise _damaged(place, "the ledger does not have the right edge that was recorded with its last entry")
    return control


def check_anchored(connection: apsw.Connection, place: Place, control: ControlRow, anchored: TreeHead) -> None:
    """Refuse a database that is behind what was kept outside it, or holds another history (threat cases 52, 62, 96).

    One of a later epoch was restored on purpose and may be smaller.

    Raises:
        StoreError: it was rolled back, replaced, or its ledger rewritten.
    """
    if control.epoch > anchored.epoch:
        return
    if control.epoch < anchored.epoch or control.size < anchored.size:
        raise StoreError(
            f"{place}: the database stands at epoch {control.epoch} with {control.size} ledger entries, but epoch "
            f"{anchored.epoch} with {anchored.size} was recorded outside: it was rolled back or replaced. "
            "Put the newest file back, or declare a restore with: leasehold db restore"
        )
    try:
        root = frontier_at(LedgerNodes(connection), anchored.size).root()
    except VerificationError as error:
        raise _damaged(place, str(error)) from error
    if root != anchored.root:
        raise StoreError(
            f"{place}: the first {anchored.size} ledger entries are not those that were recorded outside: the ledger "
            "was rewritten or belongs to another authority. Compare it with a backup: leasehold ledger verify"
        )


def problems(connection: apsw.Connection, place: Place) -> Iterator[str]:
    """Say everything that is wrong with a database; nothing if all is well. Reads all of it, at one moment."""
    with reading(connection):
        try:
            for (found,) in connection.execute("PRAGMA integrity_check"):
                if found != "ok":
                    yield found
            yield from _ledger_problems(connection, read_control(connection, place))
        except (StoreError, apsw.CorruptError) as error:
            yield str(error)


def _ledger_problems(connection: apsw.Connection, control: ControlRow) -> Iterator[str]:
    """The first index at which the ledger is not what its tree says, if there is one."""
    tree = TreeBuilder(Frontier())
    for expected, (index, body, hashes) in enumerate(connection.execute("SELECT * FROM ledger ORDER BY idx")):
        tree.append(leaf_hash(body))
        if index != expected or b"".join(node.digest for node in tree.completed) != hashes:
            yield f"ledger: entry {expected} is missing or was altered"
            return
        tree.completed.clear()
    frontier = tree.frontier()
    if frontier.to_bytes() != control.frontier or frontier.size != control.size:
        yield f"ledger: it ends after {frontier.size} entries, {control.size} were recorded"


def _damaged(place: Place, what: str) -> StoreError:
    return StoreError(f"{place}: the database is damaged: {what}. Restore a backup: leasehold db restore")
