"""What many machines would carry: costs measured here, a model held against what can be run here, and what it says.

The measured part is the store on PostgreSQL, with a clock around each batch of its lane. The rest is `simulation`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from math import ceil
from pathlib import Path
from statistics import fmean, linear_regression, median
from time import perf_counter, process_time, thread_time
from typing import NamedTuple

from tests.postgres_server import find_programs, running

from benchmarks.postgres import opener
from benchmarks.report import Line, Table, Target
from benchmarks.rounds import interleave, per_operation
from benchmarks.simulation import Costs, Layout, Simulation
from benchmarks.simulation import Outcome as Simulated
from benchmarks.stage import Stage, in_tasks
from leasehold.decide.facts import Step, StepAnswer
from leasehold.store.lane import Backend
from leasehold.store.opened import OpenStore
from leasehold.store.postgres_connection import PostgresPlace, connect, execute

CALIBRATED = (1, 2, 4, 16, 64)
VALIDATED = (1, 8, 32, 64, 128)
APART = 1.5
"""How far the model may be from what was measured."""
WANTED_PER_SECOND = 100_000
LIVE_LEASES = 1_000_000
LEASE_SECONDS = 300
_OFTEN = 8
"""Batches of a size that was met less often say nothing of it."""
FULLEST = 0.6
"""How much of a lane's time may be used, so that queues stay short."""


class _Batch(NamedTuple):
    steps: int
    seconds: float
    processor: float


class _Timed:
    """A backend with a clock around each batch."""

    def __init__(self, inner: Backend) -> None:
        self._inner = inner
        self.batches: list[_Batch] = []

    def run(self, steps: Sequence[Step[object]]) -> list[StepAnswer[object] | Exception]:
        began, computed = perf_counter(), thread_time()
        answers = self._inner.run(steps)
        self.batches.append(_Batch(len(steps), perf_counter() - began, thread_time() - computed))
        return answers

    def rest(self) -> None:
        self._inner.rest()


class Measured(NamedTuple):
    """Costs; seconds of a call and steps of a batch by number of callers; what a call and a lease write, in bytes."""

    costs: Costs
    calls: dict[int, float]
    batches: dict[int, float]
    log_bytes: float
    table_bytes: float
    draw: float
    lease_bytes: float


def run(folder: Path, *, quick: bool) -> Table:
    """Measure, compare, simulate, and answer the table."""
    title = f"{WANTED_PER_SECOND:,} calls a second and {LIVE_LEASES:,} live leases, simulated from costs measured here"
    programs = find_programs()
    if programs is None:
        return Table(title, [], ["There is no PostgreSQL server here: nothing was measured."])
    with running(programs, folder.parent) as server:
        place = PostgresPlace.parse(server.url(server.fresh()))
        found = measure(folder, place, quick=quick)
    lines = [
        Line("measured: a sync", found.costs.sync),
        Line("measured: of a batch, authority", found.costs.batch),
        Line("measured: of each step, authority, in the lane", found.costs.step),
        Line("measured: of each step, authority, outside it", found.costs.front),
        Line("measured: of a batch, database", found.costs.database_batch),
        Line("measured: of each step, database", found.costs.database_step),
        *_validated(found, quick=quick),
    ]
    more, notes = _scaled(found, quick=quick)
    return Table(title, [*lines, *more], notes)


def measure(folder: Path, place: PostgresPlace, *, quick: bool) -> Measured:
    """Time the lane's batches under so many callers, in turns, and fit what a batch and a step of it cost."""
    stage = Stage(folder, opener(place))
    connection = connect(place)
    try:
        trial = _Trial(stage, 2 if quick else 128)
        cases = {f"{callers}": partial(trial.run, callers) for callers in sorted({*CALIBRATED, *VALIDATED})}
        before = _written(connection)
        rounds = interleave("scale", cases, 2 if quick else 9)
        after = _written(connection)
        draws = 2 if quick else 200
        draw = per_operation(stage.lease, draws)
        leases = _written(connection)
        costs = _fit(trial, _sync_seconds(connection, 5 if quick else 200))
    finally:
        connection.close()
        stage.close()
    log_bytes, table_bytes = ((now - then) / trial.made for now, then in zip(after, before, strict=True))
    calls = {callers: rounds.seconds(f"{callers}") for callers in VALIDATED}
    batches = {callers: fmean(batch.steps for batch in trial.batches[callers]) for callers in VALIDATED}
    return Measured(costs, calls, batches, log_bytes, table_bytes, draw, (leases[1] - after[1]) / draws)


class _Trial:
    """Calls by so many tasks of one event loop, with a clock around each batch of the lane."""

    def __init__(self, stage: Stage, calls: int) -> None:
        lane = _lane_of(stage)
        self._timed = lane._backend = _Timed(lane._backend)
        self._stage = stage
        self._calls = calls
        self._token = stage.lease().token_for("ticket")
        self.batches: dict[int, list[_Batch]] = {}
        self.fronts: list[float] = []
        self.made = 0

    def run(self, callers: int) -> float:
        """The seconds of one call."""
        each = max(1, self._calls // callers)
        self._timed.batches.clear()
        began = process_time()
        seconds = in_tasks(callers, each, lambda: self._stage.pair_awaited(self._token))
        in_lane = sum(batch.processor for batch in self._timed.batches)
        if callers in CALIBRATED:
            self.fronts.append((process_time() - began - in_lane) / (2 * callers * each))
        self.batches.setdefault(callers, []).extend(self._timed.batches)
        self.made += callers * each
        return seconds


def _lane_of(stage: Stage):
    store = stage.authority.engine.store
    assert isinstance(store, OpenStore)
    return store._lane


def _fit(trial: _Trial, sync: float) -> Costs:
    """Straight lines through what batches of each size took: of the authority's processor, and beside it."""
    by_size: dict[int, list[_Batch]] = {}
    for callers in CALIBRATED:
        for batch in trial.batches[callers]:
            by_size.setdefault(batch.steps, []).append(batch)
    often = {size: found for size, found in by_size.items() if len(found) >= _OFTEN}
    points = [
        (size, median(each.processor for each in found), median(each.seconds - each.processor for each in found))
        for size, found in (often if len(often) > 1 else by_size).items()
    ]
    sizes = [size for size, _, _ in points]
    ours = linear_regression(sizes, [processor for _, processor, _ in points])
    theirs = linear_regression(sizes, [beside for _, _, beside in points])
    return Costs(
        front=median(trial.fronts),
        batch=max(1e-5, ours.intercept),
        step=max(1e-6, ours.slope),
        database_batch=max(1e-5, theirs.intercept - sync),
        database_step=max(1e-6, theirs.slope),
        sync=sync,
    )


def _sync_seconds(connection, commits: int) -> float:
    """What a commit takes longer for being durable."""
    execute(connection, "CREATE TABLE IF NOT EXISTS plain (body bytea NOT NULL)")
    sql = "INSERT INTO plain VALUES (%s)"
    took = []
    for mode in ("on", "off"):
        execute(connection, f"SET synchronous_commit = {mode}")
        took.append(per_operation(lambda: execute(connection, sql, (b"x" * 300,), is_prepared=True), commits))
    execute(connection, "SET synchronous_commit = on")
    return max(1e-6, took[0] - took[1])


def _written(connection) -> tuple[int, int]:
    """Bytes that the server has written to its log, and bytes in our tables and their indexes."""
    row = execute(
        connection,
        "SELECT pg_current_wal_lsn() - '0/0'::pg_lsn, sum(pg_total_relation_size(oid)) FROM pg_class"
        " WHERE relnamespace = 'leasehold'::regnamespace AND relkind = 'r'",
    ).fetchone()
    assert row is not None
    return int(row[0]), int(row[1])


def simulate_here(costs: Costs, callers: int, seconds: float) -> Simulated:
    """This machine: one authority and its database on the same processors, and so many callers in one event loop."""
    layout = Layout(processors_of_host=os.cpu_count() or 1, shares_host=True)
    return Simulation(layout, costs).callers(callers, seconds)


def _validated(found: Measured, *, quick: bool) -> list[Line]:
    lines = []
    for callers in VALIDATED:
        simulated = simulate_here(found.costs, callers, 0.5 if quick else 5.0)
        ratio = 1 / simulated.calls_per_second / found.calls[callers]
        name = "1 caller" if callers == 1 else f"{callers} callers"
        lines += [
            Line(f"{name}, measured ({found.batches[callers]:.0f} steps a batch)", found.calls[callers]),
            Line(
                f"{name}, simulated ({simulated.steps_of_batch:.0f} steps a batch)",
                1 / simulated.calls_per_second,
                max(ratio, 1 / ratio),
                "apart from measured",
                Target(APART),
            ),
        ]
    return lines


def lane_limit(costs: Costs, batch: int) -> float:
    """How many calls a second one lane carries when it never rests, with a processor of its own on either side."""
    ours = costs.batch + batch * (costs.step + costs.front)
    lane = costs.batch + batch * costs.step + costs.database_batch + batch * costs.database_step + costs.sync
    return batch / 2 / max(ours, lane + costs.wire)


def _scaled(found: Measured, *, quick: bool) -> tuple[list[Line], list[str]]:
    costs = replace(found.costs, wire=0.001)  # four round trips of a quarter of a millisecond, as in one data centre
    limit = lane_limit(costs, 64)
    logs = ceil(WANTED_PER_SECOND / (FULLEST * limit))
    databases = -(-logs // 8)
    logs = databases * -(-logs // databases)
    layout = Layout(
        authorities=logs,
        processors_of_host=1,
        databases=databases,
        processors_of_database=8,
        logs=logs,
    )
    seconds = 0.05 if quick else 1.0
    own = Simulation(layout, costs).arrivals(WANTED_PER_SECOND, seconds)
    spread = Simulation(replace(layout, authorities_of_log=3), costs).arrivals(WANTED_PER_SECOND, seconds)
    lines = [
        Line("one lane that never rests, batches of 64: a call", 1 / limit),
        *_told("each log written by one authority", own),
        *_told("each log written by three authorities", spread),
    ]
    draws = LIVE_LEASES / LEASE_SECONDS
    log_rate = WANTED_PER_SECOND * found.log_bytes / 1e6
    tables_a_day = WANTED_PER_SECOND * found.table_bytes * 86_400 / 1e12
    notes = [
        f"{logs} logs in {databases} databases, {logs} authorities of one processor, {8 * databases} processors for "
        "the databases; 1 ms of round trips a batch.",
        f"{own.steps_of_batch:.0f} steps a batch; interpreters are busy {_percent(own.interpreters)} of their time, "
        f"processors of databases {_percent(own.databases)}; {own.syncs / own.seconds / databases:,.0f} syncs a second "
        f"on each. Written by three: {spread.steps_of_batch:.0f} steps a batch, {_percent(spread.interpreters)}.",
        f"A call writes {found.log_bytes / 1000:.1f} kB of write-ahead log, {log_rate:,.0f} MB/s, and leaves "
        f"{found.table_bytes / 1000:.1f} kB in tables and indexes, {tables_a_day:,.1f} TB a day.",
        f"{LIVE_LEASES:,} live leases of {LEASE_SECONDS} s are {draws:,.0f} draws a second; asking for one and "
        f"drawing it took {found.draw * 1000:.1f} ms here, one after the other, and left "
        f"{found.lease_bytes / 1000:.1f} kB: {LIVE_LEASES * found.lease_bytes / 1e9:.0f} GB for those that are live.",
    ]
    return lines, notes


def _told(what: str, found: Simulated) -> list[Line]:
    return [
        Line(f"{what}: an admission, median", found.admission(0.5)),
        Line(
            f"{what}: an admission, 99 of 100",
            found.admission(0.99),
            found.calls_per_second / WANTED_PER_SECOND,
            "share of the calls that came",
            Target(0.9, at_least=True),
        ),
    ]


def _percent(shares: Sequence[float]) -> str:
    return f"{100 * fmean(shares):.0f} % (at most {100 * max(shares):.0f} %)"
