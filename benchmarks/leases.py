"""Whether a call gets slower with the number of live leases: a hundred, ten thousand, a million.

The leases are written straight into scratch databases, a hundred to a run; the measured ones are chosen at random and
none is used twice as a first one. A first use reads and verifies documents, a second finds them in memory.
"""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path
from time import perf_counter

import apsw
import msgspec

from benchmarks.report import Line, Table, Target
from benchmarks.rounds import Case, interleave, progress
from benchmarks.stage import Stage
from leasehold.model.ids import LeaseId, RequestId, RunId
from leasehold.model.lease import HeldLease

_PER_RUN = 100
_FIRST, _AGAIN = "first use", "used before"


def run(folder: Path, *, quick: bool) -> Table:
    """Measure, and answer the table."""
    sizes = (100, 1000) if quick else (100, 10_000, 1_000_000)
    rounds, sampled = (2, 2) if quick else (25, 4)
    crowds = {size: Crowd(folder / f"leases-{size}.db", size, rounds * sampled) for size in sizes}
    try:
        cases: dict[str, Case] = {}
        for size, crowd in crowds.items():
            cases[f"{size}"] = partial(crowd.use, sampled)
        first = interleave("live leases, first use", cases, rounds)
        again = interleave("live leases, used before", cases, rounds)
    finally:
        for crowd in crowds.values():
            crowd.close()
    smallest = f"{sizes[0]}"
    lines = []
    for name, found in ((_FIRST, first), (_AGAIN, again)):
        lines.append(Line(f"{name}, {sizes[0]:,} live leases", found.seconds(smallest)))
        for size in sizes[1:]:
            ratio = found.quotient(f"{size}", smallest)
            lines.append(Line(f"{name}, {size:,}", found.seconds(f"{size}"), ratio, f"{sizes[0]:,}", Target(1.3)))
    return Table("Live leases: admit and settle by one caller", lines)


class Crowd:
    """A database with many live leases. Close it when done."""

    def __init__(self, database: Path, size: int, needed: int) -> None:
        self._stage = Stage(database)
        held = self._stage.lease()
        with self._stage.closed() as connection:
            multiply(connection, held, size)
        chosen = random.sample(range(size), min(needed, size))
        self._tokens = [token_of(self._stage, held, number) for number in chosen]
        self._next = 0

    def use(self, count: int) -> float:
        """Use the next so many of the chosen leases once each; the seconds of one call. After the last, the first."""
        began = perf_counter()
        for _ in range(count):
            self._stage.pair(self._tokens[self._next % len(self._tokens)])
            self._next += 1
        return (perf_counter() - began) / count

    def close(self) -> None:
        """Close the database."""
        self._stage.close()


def token_of(stage: Stage, held: HeldLease, number: int) -> str:
    """The token of one of the leases that were copied from one."""
    group = number // _PER_RUN
    lease = msgspec.structs.replace(
        held.lease,
        lease_id=LeaseId(f"lease_{number:026d}"),
        run_id=RunId(f"run_{group:026d}"),
        request_id=RequestId(f"req_{group:026d}"),
    )
    return stage.authority.engine.token(lease, "ticket")


def multiply(connection: apsw.Connection, held: HeldLease, size: int) -> None:
    """Copy the rows of a lease, its request and its run until there are `size` leases, `_PER_RUN` to a run.

    SQLite copies them by itself; an id becomes its number, and so do the ids inside the documents.
    """
    run, request, lease = held.lease.run_id, held.lease.request_id, held.lease.lease_id
    groups = f"WITH RECURSIVE s(n) AS (VALUES (0) UNION ALL SELECT n + {_PER_RUN} FROM s WHERE n + {_PER_RUN} < {size})"
    each = f"WITH RECURSIVE s(n) AS (VALUES (0) UNION ALL SELECT n + 1 FROM s WHERE n + 1 < {size})"
    group = f"printf('%026d', n / {_PER_RUN})"
    new_run, new_request, new_lease = f"'run_' || {group}", f"'req_' || {group}", "'lease_' || printf('%026d', n)"
    text = f"replace(replace(body, '{run}', {new_run}), '{request}', {new_request})"
    document = f"CAST({text} AS BLOB)"
    lease_document = f"CAST(replace({text}, '{lease}', {new_lease}) AS BLOB)"
    copies: tuple[tuple[str, str, dict[str, str], str], ...] = (
        ("runs", groups, {"run_id": new_run}, f"run_id = '{run}'"),
        ("requests", groups, {"run_id": new_run, "request_id": new_request}, f"request_id = '{request}'"),
        ("accounts", groups, {"account": new_run}, f"account = '{run}'"),
        ("accounts", groups, {"account": new_request}, f"account = '{request}'"),
        ("documents", groups, {"id": new_run, "body": document}, f"id = '{run}'"),
        ("documents", groups, {"id": new_request, "body": document}, f"id = '{request}'"),
        (
            "leases",
            each,
            {"lease_id": new_lease, "run_id": new_run, "request_id": new_request},
            f"lease_id = '{lease}'",
        ),
        ("documents", each, {"id": new_lease, "body": lease_document}, f"id = '{lease}'"),
    )
    connection.execute("BEGIN")
    for table, numbers, changed, where in copies:
        progress(f"live leases: writing {size:,}: {table}")
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        values = ", ".join(changed.get(column, f'"{column}"') for column in columns)
        connection.execute(f"{numbers} INSERT INTO {table} SELECT {values} FROM s CROSS JOIN {table} WHERE {where}")
    connection.execute("COMMIT")
    progress("")
