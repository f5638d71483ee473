"""Whether the ledger gets slower as it grows: appending, proving, querying, and the receipt of one run.

The history is written straight into scratch databases: copies of one real entry by other runs and leases, a fixed
number of which are of one capability. Logarithmic growth is allowed: from a thousand entries to a million, twice.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import apsw
import msgspec

from benchmarks.report import Line, Table, Target
from benchmarks.rounds import Case, interleave, per_operation, progress
from benchmarks.stage import Stage
from leasehold.ledger.entry import Entry, decode_entry, encode_entry
from leasehold.ledger.tree import Frontier, TreeBuilder, inclusion_proof, leaf_hash
from leasehold.model.run import RunAttempt
from leasehold.store.queries import LedgerQuery

_OF_CAPABILITY = 20
_CALLS_OF_RUN = 10
_WANTED = "sha256:" + "ab" * 32
_SLICE = 10_000


def run(folder: Path, *, quick: bool) -> Table:
    """Measure, and answer the table."""
    sizes = (200, 2000) if quick else (1000, 1_000_000)
    histories = {size: History(folder / f"ledger-{size}.db", size) for size in sizes}
    count = 3 if quick else 50
    try:
        cases: dict[str, Case] = {}
        for size, history in histories.items():
            for name, operation in history.operations().items():
                cases[f"{name} {size}"] = partial(per_operation, operation, count)
        found = interleave("ledger", cases, 2 if quick else 9)
    finally:
        for history in histories.values():
            history.close()
    small, large = sizes
    target = Target(round(math.log2(large) / math.log2(small), 2))
    lines = []
    for name in next(iter(histories.values())).operations():
        lines.append(Line(f"{name}, {small:,} entries", found.seconds(f"{name} {small}")))
        ratio = found.quotient(f"{name} {large}", f"{name} {small}")
        lines.append(Line(f"{name}, {large:,}", found.seconds(f"{name} {large}"), ratio, f"{small:,}", target))
    return Table("The ledger as it grows", lines)


class History:
    """A database with a long ledger, and a run that is a part of it. Close it when done."""

    def __init__(self, database: Path, size: int) -> None:
        self._stage = Stage(database)
        self._first = self._stage.start()
        self._stage.pair(self._stage.lease(self._first).token_for("ticket"))
        self._token = self._stage.lease().token_for("ticket")
        with self._stage.closed() as connection:
            lengthen(connection, size)
        progress(f"ledger: indexing {size:,} entries")
        self._stage.authority.engine.store.queries.search(LedgerQuery(tenants=None, limit=1))
        progress("")
        self._size = size
        self._run = self._finished_run()

    def _finished_run(self) -> RunAttempt:
        run = self._stage.start()
        token = self._stage.lease(run).token_for("ticket")
        for _ in range(_CALLS_OF_RUN):
            self._stage.pair(token)
        self._stage.authority.runs.end(run.run, "done")
        return run

    def operations(self) -> dict[str, Callable[[], object]]:
        """What is measured, by name."""
        authority = self._stage.authority
        queries = authority.engine.store.queries
        wanted = LedgerQuery(tenants=("acme",), capability=_WANTED)
        return {
            "admit and settle": lambda: self._stage.pair(self._token),
            "inclusion proof": lambda: inclusion_proof(queries, random.randrange(self._size), self._size),
            f"all {_OF_CAPABILITY} uses of a capability": lambda: queries.search(wanted),
            f"receipt of a run of {_CALLS_OF_RUN} calls": lambda: authority.receipts.build(self._run.run),
            "receipt of a run as old as the ledger": lambda: authority.receipts.build(self._first.run),
        }

    def close(self) -> None:
        """Close the database."""
        self._stage.close()


def lengthen(connection: apsw.Connection, size: int) -> None:
    """Append copies of the newest entry until there are `size`, tree and control row included."""
    frontier = connection.execute("SELECT frontier FROM control").get
    body = connection.execute("SELECT body FROM ledger ORDER BY idx DESC LIMIT 1").get
    tree = TreeBuilder(Frontier.from_bytes(frontier))
    start = tree.frontier().size
    wanted = set(random.sample(range(start, size), _OF_CAPABILITY))
    connection.execute("BEGIN")
    for begin in range(start, size, _SLICE):
        progress(f"ledger: writing {size:,} entries: {begin:,}")
        lines = _copies(decode_entry(body), tree, range(begin, min(size, begin + _SLICE)), wanted)
        connection.executemany("INSERT INTO ledger VALUES (?, ?, ?)", lines)
    edge = tree.frontier()
    connection.execute("UPDATE control SET size = ?, frontier = ?", (edge.size, edge.to_bytes()))
    connection.execute("COMMIT")
    progress("")


def _copies(entry: Entry, tree: TreeBuilder, indexes: range, wanted: set[int]) -> Iterator[tuple[int, bytes, bytes]]:
    for index in indexes:
        capability = _WANTED if index in wanted else f"sha256:{index:064x}"
        body = encode_entry(
            msgspec.structs.replace(
                entry, index=index, run=f"run_{index // 20:026d}", lease=f"lease_{index // 20:026d}",
                admission=f"adm_{index:026d}", key=f"{index}", capability=capability,
            )
        )  # fmt: skip
        tree.completed.clear()
        tree.append(leaf_hash(body))
        yield index, body, b"".join(node.digest for node in tree.completed)
