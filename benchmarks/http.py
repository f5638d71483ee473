"""Admit and settle over HTTP, on both databases, beside what the same server does without a store.

On PostgreSQL the callers are also spread over two and three authorities with one database. Servers and callers are
processes of their own (`http_server`, `http_load`) and share this machine's processors. Every round runs every case
once, in a new order, on the same servers.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import Protocol

import msgspec
from tests.postgres_server import find_programs, running

from benchmarks import ceiling, postgres
from benchmarks.http_load import Job
from benchmarks.report import Line, Table, Target
from benchmarks.rounds import Case, Rounds, interleave, progress
from benchmarks.stage import Stage
from leasehold.store.postgres_connection import PostgresPlace

CONNECTIONS = (1, 8, 64)
_SHARES = {"SQLite": 0.5, "PostgreSQL": 0.4}
_SPREAD = 64
_MOST_LEASES = 100_000


class Groups(Protocol):
    """What a database alone can do; see `benchmarks.ceiling`."""

    def groups(self, size: int, groups: int) -> float: ...

    def close(self) -> None: ...


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a server of the benchmark is."""

    port: int
    key: str
    tokens: str


class Server:
    """One server process over one database."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self._process = process
        assert process.stdout is not None
        said = process.stdout.readline()
        if not said:
            raise SystemExit("the server ended; what it said is above")
        self.place = msgspec.json.decode(said, type=Place)
        self._hot = folder / f"hot-{self.place.port}"
        self._hot.write_text(Path(self.place.tokens).read_text().split("\n", 1)[0])

    def job(
        self, work: str, connections: int, pieces: int, *, is_hot: bool = False, beside: Sequence[Server] = ()
    ) -> Job:
        """What callers are to do here, and at the servers beside it; with `is_hot` all of them use one lease."""
        tokens = str(self._hot) if is_hot else self.place.tokens
        return Job(
            ports=(self.place.port, *(other.place.port for other in beside)),
            work=work,
            connections=connections,
            pieces=pieces,
            key=self.place.key,
            tokens=tokens,
        )

    def processor_time(self, load: Callable[[Job], float], job: Job) -> float:
        """The seconds of a processor that the process takes per piece of work, whoever else wants the processors."""
        before = self._processor_seconds()
        load(job)
        return (self._processor_seconds() - before) / (job.connections * job.pieces)

    def _processor_seconds(self) -> float:
        threads = Path(f"/proc/{self._process.pid}/task").glob("*/schedstat")
        return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9

    def resident_bytes(self) -> int:
        """The memory that the process holds now."""
        lines = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


@contextmanager
def serving(database: str, leases: int, folder: Path, secret: str) -> Iterator[Server]:
    """A server until the block ends."""
    command = [sys.executable, "-m", "benchmarks.http_server", database, str(leases), str(folder), secret]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Server(process, folder)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(60)


@contextmanager
def calling() -> Iterator[Callable[[Job], float]]:
    """The process of the callers, until the block ends."""
    command = [sys.executable, "-m", "benchmarks.http_load"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

        def carry_out(job: Job) -> float:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(f"{msgspec.json.encode(job).decode()}\n")
            process.stdin.flush()
            answer = process.stdout.readline()
            if not answer:
                raise SystemExit("the callers ended; what they said is above")
            return float(answer)

        try:
            yield carry_out
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(60)


def run(folder: Path, *, quick: bool) -> Table:
    """Measure on this disk, and answer the table."""
    lines: list[Line] = []
    notes = ["Callers, server and PostgreSQL share the processors. *Twice that* because a call is two requests."]
    with ExitStack() as held:
        load = held.enter_context(calling())
        places = dict(_databases(held, folder))
        if "PostgreSQL" not in places:
            notes.append("There is no PostgreSQL server here: it was not measured.")
        secret = token_hex(32)
        servers = {
            name: held.enter_context(serving(place[0], _SPREAD, folder, secret)) for name, place in places.items()
        }
        bare = {name: _ceiling(name, place, folder) for name, place in places.items()}
        for each in bare.values():
            held.callback(each.close)
        found = interleave("http", _cases(servers, bare, load, quick=quick), 2 if quick else 9)
        for name in servers:
            lines += _lines(found, name)
        if "PostgreSQL" in servers:
            others = [held.enter_context(serving(places["PostgreSQL"][0], 1, folder, secret)) for _ in range(2)]
            lines += _together(servers["PostgreSQL"], others, load, quick=quick)
        notes.append(_memory(folder, load, 200 if quick else _MOST_LEASES))
    return Table("Admit and settle one call over HTTP, durably", lines, notes)


def _databases(held: ExitStack, folder: Path) -> Iterator[tuple[str, tuple[str, str]]]:
    """Two databases of each kind: one that is served, one for what the database alone can do."""
    yield "SQLite", (str(folder / "served.db"), str(folder / "bare.db"))
    programs = find_programs()
    if programs is not None:
        server = held.enter_context(running(programs, folder.parent))
        yield "PostgreSQL", (server.url(server.fresh()), server.url(server.fresh()))


def _ceiling(name: str, place: tuple[str, str], folder: Path) -> Groups:
    served, bare = place
    if name == "SQLite":
        Stage(Path(bare)).close()
        return ceiling.Ceiling(Path(bare), ceiling.sample(Path(served)))
    Stage(folder, postgres.opener(PostgresPlace.parse(bare))).close()
    return postgres.Ceiling(PostgresPlace.parse(bare), postgres.sample(PostgresPlace.parse(served)))


def _cases(
    servers: Mapping[str, Server], bare: Mapping[str, Groups], load: Callable[[Job], float], *, quick: bool
) -> Mapping[str, Case]:
    cases: dict[str, Case] = {}
    for name, server in servers.items():
        for connections in CONNECTIONS:
            pieces = 3 if quick else 1500 // connections + 20
            label = f"{name} {connections}"
            for work in ("empty", "checked", "pair"):
                cases[f"{label} {work}"] = partial(load, server.job(work, connections, pieces))
            cases[f"{label} hot"] = partial(load, server.job("pair", connections, pieces, is_hot=True))
            cases[f"{label} rows"] = partial(bare[name].groups, connections, 2 if quick else 10)
            for work in ("checked", "pair"):
                job = server.job(work, connections, pieces)
                cases[f"{label} {work} processor"] = partial(server.processor_time, load, job)
    return cases


def _lines(found: Rounds, name: str) -> Iterator[Line]:
    for connections in CONNECTIONS:
        label = f"{name} {connections}"
        what = f"{name}, {connections} connection{'s' if connections > 1 else ''}"
        target = Target(_SHARES[name], at_least=True) if connections == CONNECTIONS[-1] else None
        yield Line(f"{what}: empty POST", found.seconds(f"{label} empty"))
        yield Line(f"{what}: body read, token checked, no store", found.seconds(f"{label} checked"))
        yield Line(
            f"{what}: admit + settle",
            found.seconds(f"{label} pair"),
            found.ratio(lambda r, label=label: 2 * r[f"{label} checked"] / r[f"{label} pair"]),  # type: ignore[misc]
            "share of twice that check",
            target,
        )
        yield _share(found, label, "as before", "2 empty POSTs", lambda r, at=label: 2 * r[f"{at} empty"])  # type: ignore[misc]
        yield _share(found, label, "as before", "the same rows, nothing else", lambda r, at=label: r[f"{at} rows"])  # type: ignore[misc]
        yield Line(
            f"{what}: admit + settle, processor time of the server",
            found.seconds(f"{label} pair processor"),
            found.ratio(lambda r, at=label: 2 * r[f"{at} checked processor"] / r[f"{at} pair processor"]),  # type: ignore[misc]
            "share of twice that check's",
        )
        yield Line(
            f"{what}: admit + settle, one lease for all",
            found.seconds(f"{label} hot"),
            found.quotient(f"{label} hot", f"{label} pair"),
            f"{_SPREAD} leases",
        )


def _share(found: Rounds, label: str, what: str, of: str, yardstick: Callable[[Mapping[str, float]], float]) -> Line:
    ratio = found.ratio(lambda r: yardstick(r) / r[f"{label} pair"])
    return Line(f"  {what}", found.seconds(f"{label} pair"), ratio, f"share of {of}")


def _together(server: Server, others: Sequence[Server], load: Callable[[Job], float], *, quick: bool) -> Iterator[Line]:
    """The same callers at one, two and three authorities with one database."""
    connections = CONNECTIONS[-1]
    pieces = 3 if quick else 50
    cases: dict[str, Case] = {
        str(count): partial(load, server.job("pair", connections, pieces, beside=others[: count - 1]))
        for count in (1, 2, 3)
    }
    found = interleave("http, several authorities", cases, 2 if quick else 9)
    for count in ("2", "3"):
        what = f"PostgreSQL, {connections} connections: admit + settle, {count} authorities"
        yield Line(what, found.seconds(count), found.quotient(count, "1"), "one authority")


def _memory(folder: Path, load: Callable[[Job], float], leases: int) -> str:
    """What one server holds more once it has seen each of many live leases, beside as many calls under one lease."""
    with serving(str(folder / "many.db"), leases, folder, token_hex(32)) as server:
        pieces = -(-leases // CONNECTIONS[-1])
        progress(f"http: {leases:,} calls under one lease")
        load(server.job("pair", CONNECTIONS[-1], pieces, is_hot=True))
        before = server.resident_bytes()
        progress(f"http: {leases:,} calls under as many leases")
        load(server.job("pair", CONNECTIONS[-1], pieces))
        after = server.resident_bytes()
    progress("")
    return (
        f"{leases:,} live leases, each used once: the server holds {(after - before) / 2**20:,.0f} MiB more than after "
        f"as many calls under one lease, {before / 2**20:,.0f} MiB then. A lease that nobody uses takes no memory."
    )
