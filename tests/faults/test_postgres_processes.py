"""Several authority processes over one PostgreSQL database: killed in a loop, the server crashed, stops obeyed."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest

from leasehold.assemble import open_authority
from leasehold.authority import Authority
from leasehold.authority.receipts import checkpoint_keys
from leasehold.config import create_private, open_state
from leasehold.ledger.entry import Entry, EntryKind
from leasehold.ledger.export import verify_export
from leasehold.ledger.history import check_history
from leasehold.model.lease import HeldLease
from leasehold.model.run import RunAttempt
from leasehold.model.scope import Scope
from postgres_server import PostgresServer

PROCESSES = 3
KILLS = 6
TRIALS = 10_000
TOGETHER = 100  # leases at a time, each of which two processes try five times
POLICY = """
version = 1
authority = "chaos"
[actions]
"ticket.update" = { effect = "write", args = { ticket = "ticket_id" } }
[routes.work]
for = { agents = ["bot"], tenants = ["acme"], environments = ["prod"] }
allow."ticket.update" = { ticket = ["T-*"] }
approve."ticket.update" = "none"
budget = { calls = 9, tool_seconds = 3600 }
[routes.many]
for = { agents = ["bot"], tenants = ["acme"], environments = ["prod"] }
allow."ticket.update" = { ticket = ["T-*"] }
approve."ticket.update" = "none"
budget = { calls = 1000000, tool_seconds = 100000000 }
"""


class Shared:
    """A state on a server, and the processes that have it open."""

    def __init__(self, folder: Path, url: str) -> None:
        self.policy = folder / "leasehold.toml"
        self.policy.write_text(POLICY)
        self.state = folder / "state"
        create_private(open_state(self.state).database_url, url.encode())

    def open(self) -> Authority:
        """One more authority, in this process."""
        return open_authority(self.policy, state=self.state, sweep=False)

    def start(self, mode: str, number: int) -> subprocess.Popen[str]:
        """An authority process."""
        worker = str(Path(__file__).with_name("shared_worker.py"))
        return subprocess.Popen(
            [sys.executable, "-X", "faulthandler", worker, mode, str(self.policy), str(self.state), str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def entries(self) -> tuple[Entry, ...]:
        """The ledger as an auditor verifies it."""
        with self.open() as authority:
            identity = authority.engine.identity
            keys = checkpoint_keys(identity.issuer, identity.checkpoints)
            return verify_export(authority.receipts.export(), keys).entries


@pytest.fixture(scope="module")
def story(
    tmp_path_factory: pytest.TempPathFactory, postgres_server: PostgresServer
) -> tuple[list[list[str]], tuple[Entry, ...]]:
    """What the processes said was answered while one after the other was killed, and the ledger afterwards."""
    shared = Shared(tmp_path_factory.mktemp("shared"), postgres_server.url(postgres_server.fresh()))
    shared.open().close()  # keys and policy, before three processes want to make them
    chance = random.Random(1)
    said: list[str] = []
    running = [shared.start("load", number) for number in range(PROCESSES)]
    for number in range(KILLS):
        victim = running[number % PROCESSES]
        said += _lines(victim, chance.randrange(40, 120))
        if number == KILLS // 2:
            postgres_server.stop("immediate")
            postgres_server.start()
        said += _kill(victim)
        running[number % PROCESSES] = shared.start("load", PROCESSES + number)
    for process in running:
        said += _lines(process, 60)
    for process in running:
        said += _kill(process)
    return [line.split() for line in said if line.endswith("\n")], shared.entries()


def _lines(process: subprocess.Popen[str], count: int) -> list[str]:
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(count)]
    assert all(lines), f"the worker ended by itself: {process.wait(10)}"
    return lines


def _kill(process: subprocess.Popen[str]) -> list[str]:
    with process:
        process.kill()
        assert process.stdout is not None
        return process.stdout.readlines()


@pytest.mark.requirement("P9")
@pytest.mark.case(90, 95, 100)
@pytest.mark.invariant("I1", "I2", "I3", "I4", "I5", "I7", "I8", "I10")
def test_history_of_killed_processes_on_one_server_breaks_no_invariant(
    story: tuple[list[list[str]], tuple[Entry, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    said, entries = story
    assert check_history(entries) == []
    admitted = sum(entry.kind is EntryKind.CALL_ADMITTED for entry in entries)
    with capsys.disabled():
        print(
            f"\n{PROCESSES} processes on PostgreSQL, {KILLS + PROCESSES} killed, the server crashed once: {len(said)} "
            f"answers, {admitted} admissions, {len(entries)} entries checked"
        )


@pytest.mark.case(90)
def test_nothing_that_any_process_answered_is_lost(story: tuple[list[list[str]], tuple[Entry, ...]]) -> None:
    said, entries = story
    recorded = {
        "run": {entry.run for entry in entries if entry.kind is EntryKind.RUN_STARTED},
        "admitted": {entry.admission for entry in entries if entry.kind is EntryKind.CALL_ADMITTED},
        "settled": {entry.admission for entry in entries if entry.kind is EntryKind.CALL_SETTLED},
        "revoked": {entry.run for entry in entries if entry.kind is EntryKind.REVOKED},
    }
    assert [words for words in said if words[1] not in recorded[words[0]]] == []
    assert all(any(words[0] == kind for words in said) for kind in recorded)


@pytest.mark.requirement("L6")
@pytest.mark.invariant("I1")
def test_no_process_admits_a_call_of_a_run_after_its_revoke(
    story: tuple[list[list[str]], tuple[Entry, ...]],
) -> None:
    _, entries = story
    revoked_at = {entry.run: entry.index for entry in entries if entry.kind is EntryKind.REVOKED}
    assert [
        entry.index
        for entry in entries
        if entry.kind is EntryKind.CALL_ADMITTED and entry.index > revoked_at.get(entry.run, entry.index)
    ] == []


# stops and budgets across processes


@pytest.fixture
def shared(tmp_path: Path, postgres_server: PostgresServer) -> Shared:
    return Shared(tmp_path, postgres_server.url(postgres_server.fresh()))


@contextmanager
def trying(shared: Shared, processes: int, callers: int) -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that wait to be told what to admit."""
    with ExitStack() as stack:
        started = [stack.enter_context(shared.start("try", callers)) for _ in range(processes)]
        for process in started:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        yield started
        for process in started:
            assert process.stdin is not None
            process.stdin.close()


def ask(processes: Sequence[subprocess.Popen[str]], pairs: Sequence[tuple[str, str]]) -> list[str]:
    """Have every process try all of them at once, and return what was told."""
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(" ".join(word for pair in pairs for word in pair) + "\n")
        process.stdin.flush()
    told: list[str] = []
    for process in processes:
        assert process.stdout is not None
        told += process.stdout.readline().split()
    return told


def start(authority: Authority) -> RunAttempt:
    """A run with money for everything."""
    return authority.start(
        agent="bot", route="many", tenant="acme", environment="prod", requested_by="user:ana", purpose="trial"
    )


def lease(authority: Authority, run: RunAttempt, budget: dict[str, object] | None = None) -> HeldLease:
    """A lease of a request of its own."""
    request = authority.request(run, {"ticket.update": {"ticket": ["T-*"]}}, reason="trial", budget=budget)
    return authority.wait(request, 30)


@pytest.mark.requirement("L6", "B8")
@pytest.mark.invariant("I1")
@pytest.mark.case(53, 63)
def test_revoke_that_one_process_answered_is_obeyed_by_the_others_at_once(
    shared: Shared, capsys: pytest.CaptureFixture[str]
) -> None:
    """The others are asked after the answer alone; half of the stops revoke a lease, half hold a request."""
    told: list[str] = []
    with shared.open() as authority, trying(shared, 2, 32) as others, ThreadPoolExecutor(32) as pool:
        desk = authority.desk

        def stop(numbered: tuple[int, HeldLease]) -> None:
            number, held = numbered
            if number % 2:
                desk.revoke(Scope.parse(f"lease:{held.lease.lease_id}"), by="op", reason="trial")
            else:
                desk.hold(Scope.parse(f"request:{held.lease.request_id}"), by="op", reason="trial")

        for number in range(TRIALS // TOGETHER // 10):
            run = start(authority)
            leases = list(pool.map(partial(lease, authority), [run] * TOGETHER))
            tokens = [held.token_for("ticket") for held in leases]
            if number == 0:
                before = ask(others, [(f"before-{k}", token) for k, token in enumerate(tokens)])
                assert before.count("admitted") == TOGETHER
                assert set(before) == {"admitted", "in_flight"}
            list(pool.map(stop, enumerate(leases)))
            told += ask(others, [(f"after-{k}", token) for k, token in enumerate(tokens * 5)])
    with capsys.disabled():
        print(f"\n{len(told)} admissions tried by two processes after a third had answered the stop: ", end="")
        print(f"{told.count('admitted')} went through")
    assert len(told) == TRIALS
    assert set(told) == {"revoked", "held"}


@pytest.mark.requirement("B8")
@pytest.mark.invariant("I2")
@pytest.mark.case(65)
def test_of_sixty_four_callers_in_three_processes_with_a_budget_of_one_exactly_one_is_admitted(shared: Shared) -> None:
    with shared.open() as authority, trying(shared, PROCESSES, 22) as processes:
        for number in range(10):
            token = lease(authority, start(authority), {"calls": 1}).token_for("ticket")

            def callers(place: int, token: str = token, number: int = number) -> list[str]:
                count = 64 // PROCESSES + (place < 64 % PROCESSES)
                return ask([processes[place]], [(f"{number}-{place}-{caller}", token) for caller in range(count)])

            with ThreadPoolExecutor(PROCESSES) as pool:
                told = [word for some in pool.map(callers, range(PROCESSES)) for word in some]
            assert sorted(told) == ["admitted"] + ["budget"] * 63
