"""PostgreSQL fails in every way that it has: what was answered is in, what was refused is not, the store says which."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from threading import Event
from uuid import uuid4

import msgspec
import pytest
from postgres_wire import Cut, Wire, wired

from leasehold.decide.facts import Changes, Facts, StepAnswer
from leasehold.errors import ConfigError, StoreError, UnavailableError
from leasehold.ledger.entry import decode_entry
from leasehold.model.instant import Instant
from leasehold.store.lane import RefusedError, UnansweredError
from leasehold.store.opened import OpenStore
from leasehold.store.postgres import PostgresSettings, check_postgres, open_postgres
from leasehold.store.postgres_connection import PostgresPlace, connect, execute
from leasehold.store.postgres_migrations import LANE_LOCK, lock
from leasehold.store.protocol import Anchor, TreeHead
from leasehold.testing.clock import FrozenSystem
from leasehold.testing.store_steps import MemoryAnchor, ScriptedStep, account, lane_held, spend, write
from postgres_server import PostgresServer

QUICK = PostgresSettings(anchor_seconds=3600, retry_seconds=0.01)
WAIT_SECONDS = 30
CUTS = [Cut.BEFORE_IT_ARRIVES, Cut.BEFORE_ITS_ANSWER, Cut.BY_A_SERVER_THAT_FAILS]


@pytest.fixture
def place(postgres_server: PostgresServer, postgres_name: str) -> PostgresPlace:
    return PostgresPlace.parse(postgres_server.url(postgres_name))


@pytest.fixture
def store(place: PostgresPlace) -> Iterator[OpenStore]:
    with closing(open_at(place)) as opened:
        yield opened
    assert check_postgres(place) == ()


def open_at(place: PostgresPlace, anchor: Anchor | None = None) -> OpenStore:
    return open_postgres(
        place, writer=uuid4().hex, issuer="issuer", clock=FrozenSystem(), anchor=anchor, settings=QUICK
    )


def make(place: PostgresPlace) -> None:
    """Make the tables with the usual patience, since the transaction that makes them is a long one."""
    open_at(place).close()


def totals(store: OpenStore) -> list[object]:
    """The totals that `spend` recorded: 1, 2, 3 … where each of them was executed once."""
    lines = store.queries.ledger(0, store.queries.control().size)
    return [decode_entry(line.body).detail["total"] for line in lines]


@contextmanager
def left(store: OpenStore) -> Iterator[OpenStore]:
    """A store that cannot keep its head when it is closed, since it has stopped."""
    try:
        yield store
    finally:
        with suppress(StoreError):
            store.close()


def disconnect(server: PostgresServer, name: str, query: str = "%") -> None:
    """End the sessions of a database whose last statement is like `query`."""
    server.execute(
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
        f" WHERE datname = '{name}' AND application_name = 'leasehold' AND query LIKE '{query}'"
    )


# lost connections


@pytest.mark.case(90)
def test_sessions_that_were_ended_between_batches_are_made_again(
    store: OpenStore, postgres_server: PostgresServer, postgres_name: str
) -> None:
    for number in range(1, 4):
        assert store.submit(spend()).result().value == number
        assert len(totals(store)) == number
        disconnect(postgres_server, postgres_name)
    assert totals(store) == [1, 2, 3]


@pytest.mark.case(67, 90)
def test_batch_whose_session_is_ended_before_the_commit_runs_again(
    store: OpenStore, postgres_server: PostgresServer, postgres_name: str
) -> None:
    decided: list[int] = []
    inner = spend()

    def script(facts: Facts, now: Instant) -> tuple[StepAnswer[object], Changes]:
        decided.append(1)
        if len(decided) == 1:
            disconnect(postgres_server, postgres_name)
        return inner.decide(facts, now)

    with lane_held(store):
        futures = [store.submit(step) for step in (spend(), ScriptedStep(inner.keys(), script), spend())]
    assert [future.result().value for future in futures] == [1, 2, 3]
    assert len(decided) == 2
    assert totals(store) == [1, 2, 3]


@pytest.fixture
def wire(postgres_server: PostgresServer) -> Iterator[Wire]:
    with tempfile.TemporaryDirectory(prefix="wire-") as folder, wired(postgres_server.folder, Path(folder)) as opened:
        yield opened


@pytest.fixture
def distant(wire: Wire, place: PostgresPlace) -> Iterator[OpenStore]:
    """A store whose connection can be cut."""
    make(place)
    through = {**place.parameters, "host": str(wire.folder)}
    with closing(open_at(msgspec.structs.replace(place, parameters=through, patience_seconds=0.3))) as opened:
        yield opened
    assert check_postgres(place) == ()


@pytest.mark.case(68, 90)
@pytest.mark.invariant("I8")
@pytest.mark.parametrize("cut", CUTS)
def test_commit_whose_answer_was_lost_is_found_out_about_and_executed_once(
    distant: OpenStore, wire: Wire, cut: Cut
) -> None:
    assert distant.submit(spend()).result().value == 1
    wire.next_cut = cut
    assert distant.submit(spend()).result().value == 2
    assert distant.submit(spend()).result().value == 3
    assert totals(distant) == [1, 2, 3]


@pytest.mark.case(68, 90, 92)
@pytest.mark.parametrize("cut", CUTS)
def test_commit_that_cannot_be_asked_about_may_be_persisted_and_the_store_goes_on(
    distant: OpenStore, wire: Wire, cut: Cut
) -> None:
    assert distant.submit(spend()).result().value == 1
    wire.next_cut, wire.is_down_after = cut, True
    with pytest.raises(UnansweredError, match="cannot be asked what became of it") as caught:
        distant.submit(spend()).result()
    assert caught.value.maybe_persisted
    with pytest.raises(UnavailableError, match="cannot be reached; nothing was executed") as refused:
        distant.submit(spend()).result()
    assert not refused.value.maybe_persisted
    wire.is_down = False
    before = 1 if cut is Cut.BEFORE_IT_ARRIVES else 2
    assert distant.submit(spend()).result().value == before + 1
    assert totals(distant) == list(range(1, before + 2))


@pytest.mark.parametrize("cut", CUTS)
def test_batch_that_wrote_nothing_is_answered_however_its_end_was_lost(
    distant: OpenStore, wire: Wire, cut: Cut
) -> None:
    wire.next_cut = cut
    assert distant.submit(write(entries=0)).result().decision.is_allowed
    assert distant.submit(spend()).result().value == 1


@pytest.mark.case(90)
def test_store_outlives_its_server(store: OpenStore, postgres_server: PostgresServer) -> None:
    for number, mode in enumerate(("fast", "immediate"), start=1):
        assert store.submit(spend()).result().value == 2 * number - 1
        postgres_server.stop(mode)
        with pytest.raises(UnavailableError, match="cannot be reached"):
            store.submit(spend()).result()
        with pytest.raises(UnavailableError, match="cannot be reached"):
            store.queries.control()
        postgres_server.start()
        assert store.submit(spend()).result().value == 2 * number
    assert totals(store) == [1, 2, 3, 4]


@pytest.mark.invariant("I8")
def test_server_that_took_over_without_what_was_answered_is_refused(
    store: OpenStore, postgres_server: PostgresServer, postgres_name: str
) -> None:
    assert [store.submit(spend()).result().value for _ in range(3)] == [1, 2, 3]
    disconnect(postgres_server, postgres_name)
    postgres_server.execute("UPDATE leasehold.control SET size = 2", postgres_name)
    with pytest.raises(StoreError, match="another server took over without it") as caught:
        store.submit(spend()).result()
    assert not caught.value.maybe_persisted
    postgres_server.execute("UPDATE leasehold.control SET size = 3", postgres_name)
    with pytest.raises(UnavailableError, match="until it is opened again"):
        store.submit(spend()).result()


@pytest.mark.invariant("I8")
@pytest.mark.case(62, 96)
@pytest.mark.parametrize("lost", [0, 2])
def test_standby_takes_over_if_it_has_all_and_is_refused_if_it_lacks_what_was_answered(
    place: PostgresPlace, postgres_server: PostgresServer, lost: int
) -> None:
    standby = postgres_server.standby()
    both = {**place.parameters, "host": f"{standby.folder},{postgres_server.folder}"}
    with closing(open_at(msgspec.structs.replace(place, parameters=both))) as store:
        standby.start()
        standby.execute("SELECT pg_wal_replay_pause()")
        assert store.submit(spend()).result().value == 1
        assert totals(store) == [1]  # a standby that is named first may be behind, and is not asked
        standby.execute("SELECT pg_wal_replay_resume()")
        ((reached,),) = postgres_server.execute("SELECT pg_current_wal_lsn()")
        while standby.execute(f"SELECT pg_last_wal_replay_lsn() >= '{reached}'") != [(True,)]:
            pass
        standby.stop()
        for number in range(lost):
            assert store.submit(spend()).result().value == 2 + number
        postgres_server.stop("immediate")
        try:
            with pytest.raises(UnavailableError, match="cannot be reached"):
                store.submit(spend()).result()
            standby.start()
            with pytest.raises(UnavailableError, match="cannot be reached"):
                store.submit(spend()).result()  # it takes no writes yet
            standby.promote()
            if lost:
                with pytest.raises(StoreError, match="another server took over without it"):
                    store.submit(spend()).result()
                with pytest.raises(UnavailableError, match="until it is opened again"):
                    store.submit(spend()).result()
            else:
                assert store.submit(spend()).result().value == 2
                assert totals(store) == [1, 2]
        finally:
            standby.stop("immediate")
            postgres_server.start()


@pytest.mark.invariant("I8", "I9")
@pytest.mark.case(62, 96, 99)
@pytest.mark.parametrize("ahead", [0, 9])
@pytest.mark.parametrize("known", ["seen", "outside"])
def test_who_wrote_nothing_itself_refuses_a_server_that_lacks_what_others_wrote(
    place: PostgresPlace, postgres_server: PostgresServer, postgres_name: str, known: str, ahead: int
) -> None:
    anchor = MemoryAnchor()
    with closing(open_at(place)) as writes, left(open_at(place, anchor if known == "outside" else None)) as idle:
        assert writes.submit(spend()).result().value == 1
        assert idle.submit(spend()).result().value == 2
        disconnect(postgres_server, postgres_name)
        behind = postgres_server.fresh(postgres_name)
        assert writes.submit(spend()).result().value == 3
        if known == "seen":
            idle.submit(write(entries=0)).result()
        else:
            idle.anchor_now()
        disconnect(postgres_server, postgres_name)
        postgres_server.execute(f"ALTER DATABASE {postgres_name} RENAME TO {postgres_name}_lost")
        postgres_server.execute(f"ALTER DATABASE {behind} RENAME TO {postgres_name}")
        with closing(open_at(place)) as anew:  # of somebody who knew of nothing
            assert [anew.submit(spend(7)).result().value for _ in range(ahead)] == [9 + 7 * n for n in range(ahead)]
        with pytest.raises(StoreError, match="another server took over without"):
            idle.submit(spend()).result()
        with pytest.raises(UnavailableError, match="until it is opened again"):
            idle.submit(spend()).result()
    assert anchor.heads == [] or anchor.heads[-1].size == 3


@pytest.mark.case(96)
def test_new_connection_with_an_anchor_that_cannot_be_read_executes_nothing_until_it_can(
    place: PostgresPlace, postgres_server: PostgresServer, postgres_name: str
) -> None:
    class DamagedAnchor(MemoryAnchor):
        is_damaged = False

        def read(self) -> TreeHead | None:
            if self.is_damaged:
                raise ConfigError("is damaged", path="anchor.json")
            return super().read()

    anchor = DamagedAnchor()
    with closing(open_at(place, anchor)) as store:
        assert store.submit(spend()).result().value == 1
        disconnect(postgres_server, postgres_name)
        anchor.is_damaged = True
        with pytest.raises(UnavailableError, match="since the anchor is no use"):
            store.submit(spend()).result()
        anchor.is_damaged = False
        assert store.submit(spend()).result().value == 2


@pytest.mark.requirement("L6")
def test_waiters_are_woken_again_after_their_session_was_ended(
    place: PostgresPlace, store: OpenStore, postgres_server: PostgresServer, postgres_name: str
) -> None:
    with closing(open_at(place)) as other:
        woken = Event()
        store.changes.register(woken.set)
        for _ in range(3):
            assert woken.wait(WAIT_SECONDS)
            disconnect(postgres_server, postgres_name, "LISTEN%")
            woken.clear()
            other.submit(spend()).result()
            assert woken.wait(WAIT_SECONDS)


# a server that says nothing


def stopped_session(server: PostgresServer, name: str) -> int:
    """Stop the process of the server that serves the lane, as a machine that is swapped out or a dead gateway would."""
    ((pid,),) = server.execute(
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'leasehold' AND query LIKE '%COMMIT%'"
        f" AND datname = '{name}'"
    )
    os.kill(int(str(pid)), signal.SIGSTOP)
    return int(str(pid))


@pytest.fixture
def hasty(place: PostgresPlace) -> Iterator[OpenStore]:
    """A store that gives up on a silent server soon."""
    make(place)
    impatient = msgspec.structs.replace(place, patience_seconds=0.3, statement_seconds=0.5)
    with closing(open_at(impatient)) as opened:
        yield opened
    assert check_postgres(place) == ()


@pytest.mark.case(90, 92)
def test_server_that_stops_answering_between_batches_is_cut_off_and_asked_anew(
    hasty: OpenStore, postgres_server: PostgresServer, postgres_name: str
) -> None:
    assert hasty.submit(spend()).result().value == 1
    pid = stopped_session(postgres_server, postgres_name)
    try:
        assert hasty.submit(spend()).result(WAIT_SECONDS).value == 2
    finally:
        os.kill(pid, signal.SIGCONT)
    assert totals(hasty) == [1, 2]


@pytest.mark.case(67, 90, 92)
@pytest.mark.invariant("I8")
def test_server_that_stops_answering_inside_a_batch_refuses_until_it_goes_on(
    hasty: OpenStore, postgres_server: PostgresServer, postgres_name: str
) -> None:
    assert hasty.submit(spend()).result().value == 1
    stopped: list[int] = []
    inner = spend()

    def script(facts: Facts, now: Instant) -> tuple[StepAnswer[object], Changes]:
        if not stopped:
            ((pid,),) = postgres_server.execute(
                "SELECT pid FROM pg_stat_activity WHERE state = 'idle in transaction' AND backend_type = "
                f"'client backend' AND datname = '{postgres_name}'"
            )
            stopped.append(int(str(pid)))
            os.kill(stopped[0], signal.SIGSTOP)
        return inner.decide(facts, now)

    try:
        with pytest.raises(UnavailableError, match="another process holds the log's lock"):
            hasty.submit(ScriptedStep(inner.keys(), script)).result(WAIT_SECONDS)
        assert hasty.queries.control().size == 1  # reading goes on
    finally:
        os.kill(stopped[0], signal.SIGCONT)
    value = None
    while value is None:
        with suppress(UnavailableError):
            value = hasty.submit(spend()).result(WAIT_SECONDS).value
    assert value == 2
    assert totals(hasty) == [1, 2]


def test_reader_that_is_not_answered_asks_over_another_connection(
    hasty: OpenStore, postgres_server: PostgresServer, postgres_name: str
) -> None:
    assert hasty.submit(spend()).result().value == 1
    assert hasty.queries.control().size == 1
    found = postgres_server.execute(
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'leasehold' AND query NOT LIKE '%COMMIT%'"
        f" AND query NOT LIKE 'LISTEN%' AND datname = '{postgres_name}'"
    )
    assert found
    for (pid,) in found:
        os.kill(int(str(pid)), signal.SIGSTOP)
    try:
        assert hasty.queries.control().size == 1
    finally:
        for (pid,) in found:
            os.kill(int(str(pid)), signal.SIGCONT)


# what the server refuses


@pytest.mark.case(92)
def test_statement_that_takes_the_server_too_long_is_given_up_and_undone(
    place: PostgresPlace, postgres_server: PostgresServer, postgres_name: str
) -> None:
    make(place)
    impatient = msgspec.structs.replace(place, statement_seconds=0.5)
    with closing(open_at(impatient)) as store:
        postgres_server.execute(
            """
            CREATE FUNCTION leasehold.dawdle() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN LOOP END LOOP; END $$;
            CREATE TRIGGER dawdle BEFORE INSERT ON leasehold.accounts EXECUTE FUNCTION leasehold.dawdle();
            """,
            postgres_name,
        )
        with pytest.raises(UnavailableError, match="the server is slow; nothing was executed") as caught:
            store.submit(spend()).result(WAIT_SECONDS)
        assert not caught.value.maybe_persisted
        postgres_server.execute("DROP TRIGGER dawdle ON leasehold.accounts", postgres_name)
        assert store.submit(spend()).result().value == 1
    assert check_postgres(place) == ()


@pytest.mark.case(92)
def test_server_that_takes_no_more_connections_refuses_and_recovers(
    store: OpenStore, postgres_server: PostgresServer, postgres_name: str
) -> None:
    assert store.submit(spend()).result().value == 1
    postgres_server.execute(f"ALTER DATABASE {postgres_name} ALLOW_CONNECTIONS false")
    try:
        disconnect(postgres_server, postgres_name)
        with pytest.raises(UnavailableError, match="cannot be reached; nothing was executed"):
            store.submit(spend()).result()
        with pytest.raises(UnavailableError, match="cannot be reached; nothing was executed"):
            store.queries.control()
    finally:
        postgres_server.execute(f"ALTER DATABASE {postgres_name} ALLOW_CONNECTIONS true")
    assert store.submit(spend()).result().value == 2


def fail(server: PostgresServer, name: str, code: str, times: int) -> None:
    """Have the next writes of an account fail with a code of PostgreSQL's; rolling back does not take it back."""
    server.execute(
        f"""
        CREATE SEQUENCE leasehold.failed;
        CREATE FUNCTION leasehold.fail() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
          IF nextval('leasehold.failed') <= {times} THEN RAISE EXCEPTION 'injected' USING ERRCODE = '{code}'; END IF;
          RETURN new;
        END $$;
        CREATE TRIGGER fail BEFORE INSERT ON leasehold.accounts EXECUTE FUNCTION leasehold.fail();
        """,
        name,
    )


@pytest.mark.case(67)
@pytest.mark.parametrize("isolation", ["read committed", "repeatable read", "serializable"])
@pytest.mark.parametrize("code", ["40001", "40P01"])
def test_conflict_runs_the_batch_again_whatever_the_database_s_isolation(
    place: PostgresPlace, postgres_server: PostgresServer, postgres_name: str, code: str, isolation: str
) -> None:
    postgres_server.execute(f"ALTER DATABASE {postgres_name} SET default_transaction_isolation = '{isolation}'")
    with closing(open_at(place)) as store:
        fail(postgres_server, postgres_name, code, 2)
        with lane_held(store):
            futures = [store.submit(spend()) for _ in range(5)]
        assert [future.result().value for future in futures] == [1, 2, 3, 4, 5]
        assert totals(store) == [1, 2, 3, 4, 5]


@pytest.mark.case(67)
def test_conflict_that_does_not_end_is_reported_after_a_few_tries(
    store: OpenStore, postgres_server: PostgresServer, postgres_name: str
) -> None:
    fail(postgres_server, postgres_name, "40001", 10**9)
    with pytest.raises(UnavailableError, match="wants it tried again; nothing was executed: injected") as caught:
        store.submit(spend()).result()
    assert not caught.value.maybe_persisted
    assert postgres_server.execute("SELECT last_value FROM leasehold.failed", postgres_name) == [(3,)]


@pytest.mark.case(92)
@pytest.mark.parametrize(
    ("code", "error", "words"),
    [
        ("53100", UnavailableError, "the server's disk is full; nothing was executed; make room: injected"),
        ("53200", UnavailableError, "the server lacks what it needs; nothing was executed"),
        ("58030", UnavailableError, "the server lacks what it needs; nothing was executed"),
        ("25006", UnavailableError, "takes no writes, it is a standby; nothing was executed"),
        ("42501", UnavailableError, "may not do that; nothing was executed"),
        ("57014", UnavailableError, "the server is slow; nothing was executed"),
        ("XX001", RefusedError, "a part of the database is damaged"),
        ("23514", RefusedError, "the database refused it; nothing was written"),
    ],
)
def test_refusal_of_the_server_is_told_plainly_and_the_store_goes_on(
    store: OpenStore,
    postgres_server: PostgresServer,
    postgres_name: str,
    code: str,
    error: type[StoreError],
    words: str,
) -> None:
    fail(postgres_server, postgres_name, code, 3)
    with pytest.raises(error, match=words) as caught:
        store.submit(spend()).result()
    assert not caught.value.maybe_persisted
    postgres_server.execute("DROP TRIGGER fail ON leasehold.accounts", postgres_name)
    assert store.submit(spend()).result().value == 1
    assert totals(store) == [1]


def test_lock_that_another_process_holds_is_waited_for_and_no_longer(place: PostgresPlace) -> None:
    make(place)
    hasty = msgspec.structs.replace(place, patience_seconds=0.2)
    with closing(open_at(hasty)) as store, closing(connect(place)) as other:
        execute(other, "BEGIN")
        execute(other, lock(LANE_LOCK))
        with pytest.raises(UnavailableError, match="another process holds the log's lock"):
            store.submit(spend()).result()
        execute(other, "ROLLBACK")
        assert store.submit(spend()).result().value == 1


def test_process_that_was_stopped_inside_its_batch_loses_the_lock_and_runs_again(place: PostgresPlace) -> None:
    make(place)
    hasty = msgspec.structs.replace(place, patience_seconds=0.3)
    with closing(open_at(hasty)) as stopped, closing(open_at(place)) as other:
        entered, released = Event(), Event()
        inner = spend()

        def script(facts: Facts, now: Instant) -> tuple[StepAnswer[object], Changes]:
            entered.set()
            released.wait(WAIT_SECONDS)
            return inner.decide(facts, now)

        late = stopped.submit(ScriptedStep(inner.keys(), script))
        entered.wait(WAIT_SECONDS)
        assert other.submit(spend()).result().value == 1
        released.set()
        assert late.result().value == 2
        assert totals(other) == [1, 2]


def test_server_that_warns_at_the_commit_is_not_believed(
    place: PostgresPlace, store: OpenStore, postgres_server: PostgresServer, postgres_name: str
) -> None:
    """A commit that a standby must confirm is cut short: it is in here, and may be lost with this machine."""
    store.submit(spend()).result()
    postgres_server.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    postgres_server.execute("SELECT pg_reload_conf()")
    try:
        future = store.submit(spend())
        waiting: list[tuple[object, ...]] = []
        while not waiting:
            if future.done():  # the server had not read its settings yet
                future = store.submit(spend())
            waiting = postgres_server.execute(
                f"SELECT pid FROM pg_stat_activity WHERE datname = '{postgres_name}' AND wait_event = 'SyncRep'"
            )
        postgres_server.execute(f"SELECT pg_cancel_backend({waiting[0][0]})")
        with pytest.raises(UnansweredError, match="warns that it may not last"):
            future.result()
    finally:
        postgres_server.execute("ALTER SYSTEM RESET synchronous_standby_names")
        postgres_server.execute("SELECT pg_reload_conf()")
    last = store.submit(spend()).result().value
    assert totals(store) == list(range(1, int(str(last)) + 1))


# damage


def test_control_row_that_vanishes_while_open_stops_the_store(
    place: PostgresPlace, postgres_server: PostgresServer, postgres_name: str
) -> None:
    with closing(open_at(place)) as store:
        postgres_server.execute("DELETE FROM leasehold.control", postgres_name)
        for words in ("control row is missing", "until it is opened again"):
            with pytest.raises(StoreError, match=words):
                store.submit(spend()).result()
        with pytest.raises(StoreError, match="control row is missing"):
            store.queries.control()


def test_right_edge_that_is_damaged_while_open_stops_the_store(
    place: PostgresPlace, postgres_server: PostgresServer, postgres_name: str
) -> None:
    with closing(open_at(place)) as store:
        postgres_server.execute(r"UPDATE leasehold.control SET frontier = '\x00'", postgres_name)
        for words in ("right edge is damaged", "until it is opened again"):
            with pytest.raises(StoreError, match=words):
                store.submit(spend()).result()


def test_batches_without_entries_are_kept_in_mind_too(
    store: OpenStore, postgres_server: PostgresServer, postgres_name: str
) -> None:
    for number in range(1, 3):
        store.submit(write(account(f"run_{number}", settled=number), entries=0)).result()
        disconnect(postgres_server, postgres_name)
    store.submit(spend()).result()
    store.submit(write(account("run_3", settled=3), entries=0)).result()
    disconnect(postgres_server, postgres_name)
    assert store.submit(spend()).result().value == 3
    assert [row.settled for n in (1, 2, 3) for row in store.queries.accounts("acme", f"run_{n}")] == [3, 2, 3]
