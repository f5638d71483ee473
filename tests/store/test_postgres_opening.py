"""A PostgreSQL database proves itself before anything is executed, or is refused plainly and left as it is."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from importlib.resources.abc import Traversable
from pathlib import Path

import msgspec
import pytest
from postgres_places import PostgresDatabase

from leasehold.decide.facts import Changes, StepAnswer
from leasehold.decide.rows import StopRow
from leasehold.errors import ConfigError, StoreError, UnavailableError
from leasehold.ledger.entry import Entry, EntryKind
from leasehold.model.decision import allow
from leasehold.store import postgres_migrations
from leasehold.store.lane import RefusedError
from leasehold.store.postgres import check_postgres, open_postgres, read_postgres
from leasehold.store.postgres_connection import PostgresPlace, connect, execute
from leasehold.store.postgres_migrations import MIGRATION_LOCK, lock
from leasehold.store.postgres_reading import Readers
from leasehold.store.protocol import TreeHead
from leasehold.store.queries import LedgerQuery
from leasehold.testing.clock import FrozenSystem
from leasehold.testing.store_steps import TENANT, MemoryAnchor, ScriptedStep, run, spend, write
from postgres_server import PostgresServer, configured


@pytest.fixture
def empty(postgres_server: PostgresServer) -> PostgresDatabase:
    """A database in which nobody made anything."""
    return PostgresDatabase(postgres_server.url(postgres_server.fresh()))


def grow(database: PostgresDatabase, steps: int, anchor: MemoryAnchor | None = None) -> None:
    with closing(database.open(clock=FrozenSystem(), anchor=anchor)) as store:
        for _ in range(steps):
            store.submit(spend()).result()


def tamper(database: PostgresDatabase, sql: str) -> None:
    """Do something to the database that no store would do."""
    with closing(connect(database.place)) as connection:
        execute(connection, sql)


# where it is


def test_password_in_a_url_is_refused_and_never_shown() -> None:
    for url in ("postgresql://ana:secret-word@db/leasehold", "host=db password=secret-word dbname=leasehold"):
        with pytest.raises(ConfigError, match="PGPASSFILE") as caught:
            PostgresPlace.parse(url)
        assert "secret-word" not in str(caught.value)
        assert "secret-word" not in str(PostgresPlace.parse(url, may_hold_password=True))
    with pytest.raises(ConfigError, match="cannot be read") as caught:
        PostgresPlace.parse("postgresql://ana:secret-word@[db/x")
    assert "secret-word" not in str(caught.value)


def test_another_machine_is_reached_only_if_its_certificate_is_verified() -> None:
    parse = PostgresPlace.parse
    assert parse("postgresql://db.acme.example/leasehold").parameters["sslmode"] == "verify-full"
    assert parse("postgresql://localhost,db.acme.example/leasehold").parameters["sslmode"] == "verify-full"
    assert parse("postgresql://db.acme.example/x?sslmode=verify-ca").parameters["sslmode"] == "verify-ca"
    for local in ("postgresql:///x", "postgresql://localhost:5433/x", "postgresql:///x?host=/run/postgresql"):
        assert "sslmode" not in parse(local).parameters
    assert str(parse("postgresql://ana@db:5433/leasehold")) == "postgresql://db:5433/leasehold"


def test_server_that_is_not_there_is_named(tmp_path: object) -> None:
    with pytest.raises(UnavailableError, match="cannot be reached; nothing was executed"):
        PostgresDatabase(f"postgresql:///x?host={tmp_path}").open(clock=None)


# what is made


def test_processes_that_make_the_database_at_once_all_get_it(empty: PostgresDatabase) -> None:
    script = (
        "import sys\n"
        "from leasehold.store.postgres import open_postgres\n"
        "from leasehold.store.postgres_connection import PostgresPlace\n"
        "from leasehold.testing.store_steps import spend\n"
        "sys.stdin.read()\n"
        "store = open_postgres(PostgresPlace.parse(sys.argv[1]), writer=sys.argv[2], issuer='issuer')\n"
        "print(*[store.submit(spend()).result().value for _ in range(25)])\n"
        "store.close()\n"
    )
    url = f"postgresql:///{empty.place.parameters['dbname']}?host={empty.place.parameters['host']}&user=leasehold"
    made = [
        subprocess.Popen(
            [sys.executable, "-c", script, url, f"writer {number}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(3)
    ]
    with ThreadPoolExecutor(3) as pool:
        texts = list(pool.map(lambda process: process.communicate("")[0], made))
    assert sorted(int(word) for text in texts for word in text.split()) == list(range(1, 76))


def test_opening_waits_as_long_as_another_process_migrates(empty: PostgresDatabase) -> None:
    hasty = msgspec.structs.replace(empty.place, patience_seconds=0.3)
    with (
        closing(connect(empty.place)) as migrating,
        closing(connect(empty.place)) as watching,
        ThreadPoolExecutor(1) as pool,
    ):
        execute(migrating, "BEGIN")
        execute(migrating, lock(MIGRATION_LOCK))
        opening = pool.submit(open_postgres, hasty, writer="late", issuer="issuer")
        waiting = (  # for twice its patience
            "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'advisory' AND datname = current_database()"
            " AND clock_timestamp() - state_change > interval '600 milliseconds'"
        )
        while execute(watching, waiting).fetchone() is None:
            assert not opening.done()
        execute(migrating, "ROLLBACK")
        with closing(opening.result()) as store:
            assert store.submit(spend()).result().value == 1


def test_of_two_processes_that_upgrade_the_second_finds_it_done(
    postgres_database: PostgresDatabase, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "second.sql").write_text("CREATE TABLE second (one integer)")
    real = postgres_migrations.files
    monkeypatch.setattr(postgres_migrations, "SCHEMAS", ("postgres_schema_1.sql", "second.sql"))
    monkeypatch.setattr(postgres_migrations, "files", lambda _: _Both(real("leasehold.store"), tmp_path))
    with ThreadPoolExecutor(4) as pool:
        opened = [pool.submit(postgres_database.open, clock=FrozenSystem()) for _ in range(4)]
        stores = [future.result() for future in opened]
    assert [store.submit(spend()).result().value for store in stores] == [1, 2, 3, 4]
    for store in stores:
        store.close()
    with closing(connect(postgres_database.place)) as connection:
        assert execute(connection, "SELECT version FROM schema_version").fetchone() == (2,)


class _Both:
    """The schemas of the package, and one of a version to come."""

    def __init__(self, package: Traversable, folder: Path) -> None:
        self._package = package
        self._folder = folder

    def joinpath(self, name: str) -> Traversable:
        return self._folder / name if name == "second.sql" else self._package / name


@pytest.mark.requirement("L7")
def test_time_that_counts_is_the_database_s(postgres_database: PostgresDatabase) -> None:
    with closing(postgres_database.open(clock=None)) as store, closing(connect(postgres_database.place)) as connection:
        sql = "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint)"
        before = execute(connection, sql).fetchone()
        store.submit(spend()).result()
        after = execute(connection, sql).fetchone()
        assert before is not None
        assert after is not None
        assert before[0] - 1 <= store.queries.control().last_time_ms <= after[0] + 1


def test_writer_is_forgotten_when_it_is_closed_and_a_dead_one_after_a_day(postgres_database: PostgresDatabase) -> None:
    grow(postgres_database, 1)
    tamper(postgres_database, "INSERT INTO writers VALUES ('dead', 7, 0)")
    with closing(postgres_database.open(clock=None)) as store:
        store.submit(spend()).result()
        with closing(connect(postgres_database.place)) as connection:
            assert [batch for (batch,) in execute(connection, "SELECT batch FROM writers").fetchall()] == [1]
    with closing(connect(postgres_database.place)) as connection:
        assert execute(connection, "SELECT * FROM writers").fetchall() == []


# what is refused


def test_schema_of_another_program_is_refused_and_left_alone(
    empty: PostgresDatabase, postgres_server: PostgresServer
) -> None:
    name = empty.place.parameters["dbname"]
    postgres_server.execute("CREATE SCHEMA leasehold; CREATE TABLE leasehold.theirs (x int)", name)
    for use in (
        lambda: empty.open(clock=None),
        lambda: read_postgres(empty.place),
        lambda: check_postgres(empty.place),
    ):
        with pytest.raises(StoreError, match="belongs to another program"):
            use()
    found = postgres_server.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'leasehold'", name)
    assert found == [("theirs",)]


def test_reading_what_nobody_made_is_refused(empty: PostgresDatabase) -> None:
    with pytest.raises(StoreError, match="no database of Leasehold here"):
        read_postgres(empty.place)


def test_database_newer_than_this_program_is_refused(postgres_database: PostgresDatabase) -> None:
    tamper(postgres_database, "UPDATE schema_version SET version = 99")
    with pytest.raises(StoreError, match="schema version 99, this program knows up to"):
        postgres_database.open(clock=None)


def test_database_of_another_authority_is_refused(postgres_database: PostgresDatabase) -> None:
    tamper(postgres_database, "UPDATE control SET issuer = 'urn:leasehold:other'")
    with pytest.raises(StoreError, match="needs the same keys"):
        postgres_database.open(clock=None)


def test_user_without_rights_is_told_so(empty: PostgresDatabase, postgres_server: PostgresServer) -> None:
    postgres_server.execute("DROP ROLE IF EXISTS guest; CREATE ROLE guest LOGIN")
    guest = PostgresDatabase(postgres_server.url(empty.place.parameters["dbname"], "guest"))
    with pytest.raises(UnavailableError, match="may not do that; nothing was executed"):
        guest.open(clock=None)


def test_server_that_takes_no_writes_is_refused(
    postgres_database: PostgresDatabase, postgres_server: PostgresServer
) -> None:
    name = postgres_database.place.parameters["dbname"]
    postgres_server.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    with pytest.raises(UnavailableError, match="read-only"):
        postgres_database.open(clock=None)


def test_text_that_is_not_unicode_is_refused(postgres_server: PostgresServer) -> None:
    postgres_server.execute("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    try:
        with pytest.raises(StoreError, match="does not keep its text as UTF-8"):
            PostgresDatabase(postgres_server.url("latin")).open(clock=None)
    finally:
        postgres_server.execute("DROP DATABASE latin WITH (FORCE)")


@pytest.mark.case(93)
@pytest.mark.parametrize("setting", ["fsync", "full_page_writes"])
def test_server_that_may_lose_what_it_confirmed_is_refused(
    postgres_database: PostgresDatabase, postgres_server: PostgresServer, setting: str
) -> None:
    with configured(postgres_server, setting, "off"), pytest.raises(StoreError, match="may lose what it has confirmed"):
        postgres_database.open(clock=None)


@pytest.mark.case(92, 93)
@pytest.mark.parametrize("setting", ["fsync", "full_page_writes"])
def test_server_that_comes_to_lose_what_it_confirms_while_it_is_in_use_is_refused_as_long_as_it_does(
    postgres_database: PostgresDatabase, postgres_server: PostgresServer, setting: str
) -> None:
    with closing(postgres_database.open(clock=None)) as store:
        assert store.submit(spend()).result().value == 1
        refused = pytest.raises(UnavailableError, match="may lose what it has confirmed, so nothing is executed")
        with configured(postgres_server, setting, "off"), refused:
            store.submit(spend()).result()
        assert store.submit(spend()).result().value == 2


@pytest.mark.case(92, 93)
def test_session_that_is_not_the_one_that_was_set_up_executes_nothing(postgres_database: PostgresDatabase) -> None:
    """As behind a pooler that gives another session to each transaction."""
    with postgres_database.backend(clock=FrozenSystem()) as backend:
        postgres_database.open(clock=None).close()
        assert backend.run([spend()])[0].value == 1
        execute(backend._connection, "SET synchronous_commit = off")
        with pytest.raises(UnavailableError, match="may lose what it has confirmed"):
            backend.run([spend()])


@pytest.mark.case(92, 93)
def test_commits_go_on_waiting_for_the_disk_whatever_is_set_while_they_do(
    postgres_database: PostgresDatabase, postgres_server: PostgresServer
) -> None:
    with (
        closing(connect(postgres_database.place)) as connection,
        configured(postgres_server, "synchronous_commit", "off"),
    ):
        assert execute(connection, "SHOW synchronous_commit").fetchone() == ("on",)


def test_commits_wait_for_the_disk_whatever_the_database_s_default(
    postgres_database: PostgresDatabase, postgres_server: PostgresServer
) -> None:
    name = postgres_database.place.parameters["dbname"]
    for default, expected in (("off", "on"), ("local", "on"), ("remote_apply", "remote_apply")):
        postgres_server.execute(f"ALTER DATABASE {name} SET synchronous_commit = {default}")
        with closing(connect(postgres_database.place)) as connection:
            assert execute(connection, "SHOW synchronous_commit").fetchone() == (expected,)


# the anchor


@pytest.mark.invariant("I8")
def test_database_that_is_behind_what_stands_outside_is_refused(postgres_database: PostgresDatabase) -> None:
    anchor = MemoryAnchor()
    grow(postgres_database, 3, anchor)
    head = anchor.heads[-1]
    anchor.heads.append(msgspec.structs.replace(head, size=head.size + 1))
    with pytest.raises(StoreError, match="rolled back or replaced"):
        postgres_database.open(clock=None, anchor=anchor)
    anchor.heads[-1] = msgspec.structs.replace(head, root=bytes(32))
    with pytest.raises(StoreError, match="rewritten or belongs to another authority"):
        postgres_database.open(clock=None, anchor=anchor)
    anchor.heads.pop()
    grow(postgres_database, 1, anchor)
    with pytest.raises(StoreError, match="recorded outside is missing"):
        postgres_database.open(clock=None, anchor=MemoryAnchor())


def test_empty_database_that_an_anchor_remembers_is_refused(empty: PostgresDatabase) -> None:
    anchor = MemoryAnchor()
    anchor.heads.append(TreeHead(epoch=1, size=9, root=bytes(32)))
    with pytest.raises(StoreError, match="the database is empty, but 9 ledger entries were recorded outside"):
        empty.open(clock=None, anchor=anchor)
    with pytest.raises(StoreError, match="no database of Leasehold"):
        read_postgres(empty.place)


# damage


@pytest.mark.requirement("L12")
@pytest.mark.case(97)
@pytest.mark.parametrize(
    ("sql", "problem"),
    [
        (r"UPDATE ledger SET body = '\x7b7d' WHERE idx = 5", "ledger: entry 5 is missing or was altered"),
        ("DELETE FROM ledger WHERE idx = 3", "ledger: entry 3 is missing or was altered"),
        ("DELETE FROM ledger WHERE idx > 30", "ledger: it ends after 31 entries, 37 were recorded"),
        ("DELETE FROM control", "control row is missing"),
        (r"UPDATE control SET frontier = '\x00'", "37 were recorded"),
    ],
)
def test_check_names_the_first_thing_that_is_wrong(postgres_database: PostgresDatabase, sql: str, problem: str) -> None:
    with closing(postgres_database.open(clock=None)) as store:
        store.submit(write(entries=37)).result()
    assert check_postgres(postgres_database.place) == ()
    tamper(postgres_database, sql)
    (found,) = check_postgres(postgres_database.place)
    assert problem in found


@pytest.mark.parametrize(
    ("sql", "problem"),
    [
        ("DELETE FROM ledger WHERE idx > 1", "should hold 3 entries and ends at index 1"),
        (r"UPDATE ledger SET hashes = decode(repeat('00', 32), 'hex') WHERE idx = 2", "right edge"),
        (r"UPDATE control SET frontier = '\x00'", "damaged"),
        ("DELETE FROM control", "control row is missing"),
        ("DROP TABLE calls CASCADE; DROP TABLE control", "lacks a part of it"),
    ],
)
def test_ledger_that_does_not_end_as_recorded_is_refused(
    postgres_database: PostgresDatabase, sql: str, problem: str
) -> None:
    grow(postgres_database, 3)
    tamper(postgres_database, sql)
    with pytest.raises(StoreError, match=problem):
        postgres_database.open(clock=None)


def test_row_with_nul_is_refused_before_the_database_sees_it(postgres_database: PostgresDatabase) -> None:
    stop = StopRow(
        tenant=TENANT, scope="tool:t", kind="hold", is_active=1, recorded=0, at=0, by="user:ana", reason="a\0b"
    )
    with closing(postgres_database.open(clock=FrozenSystem())) as store:
        with pytest.raises(RefusedError, match="a text holds a NUL character"):
            store.submit(write(stop)).result()
        quoted = msgspec.structs.replace(stop, reason="backslash-u0000 as text: \\u0000")
        store.submit(write(quoted)).result()
        assert store.queries.stops([TENANT]) == (quoted,)
        assert store.queries.stops(["a\0b"]) == ()
        assert store.queries.document("a\0b", "x") is None
        assert store.queries.control().size == 1


# the entry index


def test_search_finds_long_values_and_those_with_nul(postgres_database: PostgresDatabase) -> None:
    values = ["x" * 2048, "x" * 2047 + "y", "a\0b", "\U0001f600" * 2000]
    entries = [Entry(kind=EntryKind.CALL_ADMITTED, tenant=TENANT, attributes={"v": (value,)}) for value in values]
    with closing(postgres_database.open(clock=None)) as store:
        step = ScriptedStep([], lambda _, __: (StepAnswer(allow()), Changes((), tuple(entries))))
        store.submit(step).result()
        for index, value in enumerate(values):
            found = store.queries.search(LedgerQuery(tenants=None, attribute=("v", value)))
            assert [line.index for line in found] == [index]


def test_index_of_another_ledger_is_made_again(postgres_database: PostgresDatabase) -> None:
    with closing(postgres_database.open(clock=None)) as store:
        store.submit(write(entries=5)).result()
        everything = LedgerQuery(tenants=None)
        assert len(store.queries.search(everything)) == 5
        tamper(postgres_database, r"UPDATE projected SET last_leaf = '\x00', size = 3")
        assert len(store.queries.search(everything)) == 5
        tamper(postgres_database, "UPDATE projected SET issuer = 'theirs'")
        assert len(store.queries.search(everything)) == 5
        tamper(postgres_database, "TRUNCATE projected, entries, attributes")
        assert len(store.queries.search(everything)) == 5


# readers


def test_readers_are_bounded_and_say_so(postgres_database: PostgresDatabase) -> None:
    readers = Readers(msgspec.structs.replace(postgres_database.place, patience_seconds=0.05), limit=1)
    with closing(readers):

        def inner(_: object) -> None:
            with pytest.raises(UnavailableError, match="too many read at once"):
                readers.read(lambda _: None)

        readers.read(inner)
        assert readers.read(lambda connection: execute(connection, "SELECT 1").fetchone()) == (1,)


def test_reader_beside_the_writer_sees_what_is_committed(postgres_database: PostgresDatabase) -> None:
    with (
        closing(postgres_database.open(clock=None)) as store,
        closing(read_postgres(postgres_database.place)) as reader,
    ):
        store.submit(write(run())).result()
        assert reader.queries.runs([TENANT]) == (run(),)
        assert len(reader.queries.search(LedgerQuery(tenants=None))) == 1
