"""Admit and settle on PostgreSQL, by one caller and by many at once, beside what the server alone can do.

The server is one of the tests' (`tests/postgres_server.py`), on the disk that is measured, reached through a socket. It
shares the processors with everything else, so what it saves the client here it takes from it as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from pathlib import Path
from time import perf_counter
from typing import TypeVar, cast
from uuid import uuid4

import msgspec
from tests.postgres_server import find_programs, running

from benchmarks.ceiling import Sample
from benchmarks.report import Line, Table, Target
from benchmarks.rounds import Rounds, interleave, per_operation
from benchmarks.stage import Stage, in_tasks, in_threads
from leasehold.decide.rows import AccountRow, CallRow, ControlRow, KeyRow, Row
from leasehold.model.call import CallState
from leasehold.store.columns import SHAPES, decoded
from leasehold.store.postgres import open_postgres
from leasehold.store.postgres_connection import Connection, PostgresPlace, connect, execute, transaction
from leasehold.store.postgres_rows import insert_into, json_rows, select_all, upsert, values_json
from leasehold.store.protocol import Clock, Store
from leasehold.token.verify import UnverifiedToken

R = TypeVar("R", bound=Row)

CALLERS = 64
_PEER_COMMITS = 2
_PEER_VERIFICATIONS = 3
_ROW = b"x" * 300
_TABLES: tuple[type[Row], ...] = (CallRow, KeyRow, AccountRow, ControlRow)
_WRITE = ", ".join(
    f"part_{place} AS ({statement})"
    for place, statement in enumerate(
        (*(upsert(SHAPES[row_type]) for row_type in _TABLES), insert_into("ledger", (int, bytes, bytes)))
    )
)


class Ceiling:
    """A database of the store's own schema, and two ways to write to it: ready rows, nothing decided, nothing read."""

    def __init__(self, place: PostgresPlace, given: Sample) -> None:
        self._connection = connect(place)
        execute(self._connection, "CREATE TABLE plain (idx bigint GENERATED ALWAYS AS IDENTITY, body bytea NOT NULL)")
        self._given = given
        self._numbers = count(1)
        self._index = count(1000)

    def one_row_commits(self, commits: int) -> float:
        """The seconds that a transaction of one row of 300 bytes takes."""
        sql = "INSERT INTO plain (body) VALUES (%s)"
        return per_operation(lambda: execute(self._connection, sql, (_ROW,), is_prepared=True), commits)

    def groups(self, size: int, groups: int) -> float:
        """The seconds per call when admissions of `size` calls are one commit, and their settlements another."""
        seconds = 0.0
        for _ in range(groups):
            numbers = [next(self._numbers) for _ in range(size)]
            for state, entry in ((CallState.ADMITTED, self._given.admitted), (CallState.DONE, self._given.settled)):
                seconds += self._write(numbers, state, entry)
        return seconds / (size * groups)

    def _write(self, numbers: Sequence[int], state: CallState, entry: bytes) -> float:
        replace, given = msgspec.structs.replace, self._given
        calls = [replace(given.call, admission_id=f"adm_{number:026d}", state=state) for number in numbers]
        keys = [
            replace(given.key, key=f"{number}", admission_id=f"adm_{number:026d}", state=state) for number in numbers
        ]
        lines = [(next(self._index), entry, b"h" * 64) for _ in numbers]
        began = perf_counter()
        with transaction(self._connection):
            bound = [json_rows(rows) for rows in (calls, keys, given.accounts, (given.control,))]
            execute(self._connection, f"WITH {_WRITE} SELECT 1", [*bound, values_json(lines)], is_prepared=True)
        return perf_counter() - began

    def close(self) -> None:
        """Let the connection go."""
        self._connection.close()


def run(folder: Path, *, quick: bool) -> Table:
    """Measure on this disk, and answer the table."""
    programs = find_programs()
    if programs is None:
        return Table(
            "Admit and settle on PostgreSQL", [], ["There is no PostgreSQL server here: nothing was measured."]
        )
    with running(programs, folder.parent) as server:
        ours, bare = (PostgresPlace.parse(server.url(server.fresh())) for _ in range(2))
        stage, other = (Stage(folder, opener(place)) for place in (ours, bare))
        other.close()
        token = stage.lease().token_for("ticket")
        per_operation(lambda: stage.pair(token), 5)
        ceiling = Ceiling(bare, sample(ours))
        try:
            batch = _batch_size(stage, token, 1 if quick else 10)
            found = _measure(stage, ceiling, token, batch, quick=quick)
        finally:
            ceiling.close()
            stage.close()
    return Table(
        "Admit and settle one call on PostgreSQL, durably",
        _lines(found, batch),
        [f"{CALLERS} tasks, {batch} steps to a commit on average. Client and server share the processors."],
    )


def opener(place: PostgresPlace):
    def open_store(clock: Clock, issuer: str) -> Store:
        return open_postgres(place, writer=uuid4().hex, issuer=issuer, clock=clock)

    return open_store


def _measure(stage: Stage, ceiling: Ceiling, token: str, batch: int, *, quick: bool) -> Rounds:
    parsed = UnverifiedToken.parse(token)
    public = stage.identity.leases.newest.public().public
    singles, many = (5, 1) if quick else (100, 10)
    return interleave(
        "postgres",
        {
            "commit": lambda: ceiling.one_row_commits(singles),
            "verify": lambda: per_operation(lambda: public.verify(parsed.signature, parsed.signing_input), singles),
            "bare": lambda: ceiling.groups(1, singles),
            "one": lambda: per_operation(lambda: stage.pair(token), singles),
            "group": lambda: ceiling.groups(batch, 2 if quick else 10),
            "tasks": lambda: in_tasks(CALLERS, many, lambda: stage.pair_awaited(token)),
            "threads": lambda: in_threads(CALLERS, many, lambda: stage.pair(token)),
        },
        2 if quick else 11,
    )


def _lines(found: Rounds, batch: int) -> list[Line]:
    floor = f"{_PEER_COMMITS} commits + {_PEER_VERIFICATIONS} verifications"

    def of_floor(name: str) -> float:
        return found.ratio(lambda r: r[name] / (_PEER_COMMITS * r["commit"] + _PEER_VERIFICATIONS * r["verify"]))

    def share(name: str) -> float:
        return found.quotient("group", name)

    return [
        Line("commit of one row", found.seconds("commit")),
        Line("raw Ed25519 verification", found.seconds("verify")),
        Line("the same rows one call at a time, nothing else", found.seconds("bare"), of_floor("bare"), floor),
        Line("1 caller", found.seconds("one"), of_floor("one"), floor, Target(1.0)),
        Line(f"the same rows in groups of {batch}, nothing else", found.seconds("group")),
        Line(
            f"{CALLERS} tasks",
            found.seconds("tasks"),
            share("tasks"),
            "share of those groups",
            Target(0.5, at_least=True),
        ),
        Line(f"{CALLERS} threads", found.seconds("threads"), share("threads"), "share of those groups"),
    ]


def _batch_size(stage: Stage, token: str, times: int) -> int:
    """How many steps stand in one commit when all callers are at work."""
    before = stage.clock.batches
    in_tasks(CALLERS, times, lambda: stage.pair_awaited(token))
    return max(1, round(2 * CALLERS * times / (stage.clock.batches - before)))


def sample(place: PostgresPlace) -> Sample:
    """The newest settled call of a database, and what belongs to it."""
    connection = connect(place, read_only=True)
    try:
        sql = "SELECT body FROM ledger ORDER BY idx DESC LIMIT 2"
        settled, admitted = (bytes(body) for (body,) in execute(connection, sql).fetchall())
        return Sample(
            call=_rows(connection, CallRow, "true", "ORDER BY admission_id DESC LIMIT 1")[0],
            key=_rows(connection, KeyRow, "true", "LIMIT 1")[0],
            accounts=_rows(connection, AccountRow, "settled > 0"),
            control=_rows(connection, ControlRow, "true")[0],
            admitted=admitted,
            settled=settled,
        )
    finally:
        connection.close()


def _rows(connection: Connection, row_type: type[R], where: str, rest: str = "") -> list[R]:
    shape = SHAPES[cast("type[Row]", row_type)]
    row = execute(connection, select_all(shape, where, rest)).fetchone()
    return cast("list[R]", decoded(shape, str(row[0]) if row else "[]"))
