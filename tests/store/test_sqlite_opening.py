"""A SQLite database proves itself before anything is executed, or is refused plainly and left as it is."""

from __future__ import annotations

import shutil
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, suppress
from pathlib import Path
from threading import Event
from types import SimpleNamespace

import apsw
import msgspec
import pytest
from sqlite_places import QUICK

from leasehold.decide.facts import Changes, Facts, StepAnswer
from leasehold.errors import StoreError, UnavailableError
from leasehold.ledger.entry import Entry, EntryKind
from leasehold.model.decision import allow
from leasehold.model.instant import Instant
from leasehold.store import migrations
from leasehold.store.migrations import SCHEMAS
from leasehold.store.opened import OpenStore
from leasehold.store.protocol import Anchor, TreeHead
from leasehold.store.queries import LedgerQuery
from leasehold.store.sqlite import SqliteSettings, open_read_only, open_sqlite
from leasehold.store.sqlite_connection import file_system_of
from leasehold.testing.clock import FrozenSystem
from leasehold.testing.store_steps import MemoryAnchor, ScriptedStep, lane_held, run, spend, write


def open_at(path: Path, anchor: Anchor | None = None, settings: SqliteSettings = QUICK) -> OpenStore:
    return open_sqlite(path, clock=FrozenSystem(), issuer="issuer", anchor=anchor, settings=settings)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "leasehold.db"


def grow(path: Path, steps: int, anchor: Anchor | None = None) -> None:
    with closing(open_at(path, anchor)) as store:
        for _ in range(steps):
            store.submit(spend()).result()


def execute(path: Path, sql: str) -> None:
    """Do something to the database that no store would do."""
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute(sql)


# what is made


def test_new_database_is_a_private_file_with_a_write_ahead_log(path: Path) -> None:
    with closing(open_at(path)) as store:
        store.submit(spend()).result()
        store.queries.search(LedgerQuery(tenants=None))
        assert sorted(file.name for file in path.parent.iterdir() if not file.name.endswith("-shm")) == [
            "leasehold.db",
            "leasehold.db-index",
            "leasehold.db-index-wal",
            "leasehold.db-wal",
        ]
        assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}
        assert path.read_bytes()[18:20] == b"\x02\x02"  # the header's word for a write-ahead log
    assert not Path(f"{path}-wal").exists()


def test_database_in_memory_is_fresh_each_time_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        with closing(open_at(Path(":memory:"))) as one, closing(open_at(Path(":memory:"))) as other:
            assert [one.submit(spend()).result().value for _ in range(2)] == [1, 2]
            assert other.submit(spend()).result().value == 1
    assert list(tmp_path.iterdir()) == []


def test_issuer_is_written_once(path: Path) -> None:
    grow(path, 1)
    with closing(open_sqlite(path, clock=FrozenSystem(), issuer="another")) as store:
        assert store.queries.control().issuer == "issuer"


def test_processes_that_make_the_database_at_once_all_get_it(path: Path) -> None:
    script = (
        "import sys\n"
        "from leasehold.store.sqlite import open_sqlite\n"
        "from leasehold.testing.clock import FrozenSystem\n"
        "from leasehold.testing.store_steps import spend\n"
        "sys.stdin.read()\n"
        "store = open_sqlite(sys.argv[1], clock=FrozenSystem(), issuer='issuer')\n"
        "print(*[store.submit(spend()).result().value for _ in range(25)])\n"
        "store.close()\n"
    )
    made = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    with ThreadPoolExecutor(3) as pool:
        texts = list(pool.map(lambda process: process.communicate("")[0], made))
    assert sorted(int(word) for text in texts for word in text.split()) == list(range(1, 76))


# where it cannot stand


@pytest.mark.case(93)
def test_place_without_shared_memory_is_refused(path: Path) -> None:
    with pytest.raises(StoreError, match="local disk"):
        open_at(path, settings=msgspec.structs.replace(QUICK, vfs="unix-dotfile"))
    grow(path, 1)


@pytest.mark.case(93)
def test_file_system_of_a_path_is_the_one_mounted_last_and_nearest() -> None:
    mounts = (
        "/dev/vda / ext4 rw 0 0\n"
        "server:/home /home nfs4 rw 0 0\n"
        "tmpfs /home/ana/tmp tmpfs rw 0 0\n"
        "server:/x /mnt/two\\040words cifs rw 0 0\n"
        "/dev/vdb /home/ana/tmp ext4 rw 0 0\n"
    )
    places = {
        "/var/x": "ext4",
        "/home/x": "nfs4",
        "/homes": "ext4",
        "/home/ana/tmp/x": "ext4",
        "/mnt/two words/x": "cifs",
    }
    assert {place: file_system_of(place, mounts) for place in places} == places


def test_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"nowhere.*cannot be made"):
        open_at(tmp_path / "nowhere" / "leasehold.db")


# whose it is, and how old


@pytest.mark.parametrize("data", [b"garbage", b"garbage" * 1000, b"SQLite format 3\x00"])
def test_file_that_is_no_database_is_refused_and_left_alone(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    with pytest.raises(StoreError, match="no SQLite database"):
        open_at(path)
    assert path.read_bytes() == data
    with pytest.raises(StoreError, match="no SQLite database"):
        open_read_only(path)


def test_database_of_another_program_is_refused_and_left_alone(path: Path) -> None:
    execute(path, "CREATE TABLE theirs (x)")
    before = path.read_bytes()
    with pytest.raises(StoreError, match="another program"):
        open_at(path)
    assert path.read_bytes() == before


def test_newer_database_is_refused(path: Path) -> None:
    grow(path, 1)
    execute(path, f"PRAGMA user_version = {len(SCHEMAS) + 1}")
    for open_it in (open_at, open_read_only):
        with pytest.raises(StoreError, match="schema version 2, this program knows up to 1"):
            open_it(path)


def second_version(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have this program know a version to come."""
    (folder / "second.sql").write_text("CREATE TABLE second (one INTEGER) STRICT")
    package = migrations.files("leasehold.store")
    both = SimpleNamespace(joinpath=lambda name: folder / name if name == "second.sql" else package / name)
    monkeypatch.setattr(migrations, "SCHEMAS", (*SCHEMAS, "second.sql"))
    monkeypatch.setattr(migrations, "files", lambda _: both)


def test_of_two_processes_that_upgrade_the_second_finds_it_done(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grow(path, 1)
    second_version(tmp_path, monkeypatch)
    with ThreadPoolExecutor(4) as pool:
        stores = [future.result() for future in [pool.submit(open_at, path) for _ in range(4)]]
    assert [store.submit(spend()).result().decision.is_allowed for store in stores] == [True] * 4
    for store in stores:
        store.close()
    with closing(apsw.Connection(str(path))) as connection:
        assert connection.pragma("user_version") == 2
        assert connection.execute("SELECT count(*) FROM second").get == 0


def test_upgrade_waits_longer_than_a_batch_would_for_whoever_upgrades(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grow(path, 1)
    second_version(tmp_path, monkeypatch)
    asked = Event()
    real = migrations.transaction

    def transaction(connection: apsw.Connection) -> AbstractContextManager[None]:
        assert connection.pragma("busy_timeout") > 60_000
        asked.set()
        return real(connection)

    monkeypatch.setattr(migrations, "transaction", transaction)
    with closing(apsw.Connection(str(path))) as holding, ThreadPoolExecutor(1) as pool:
        holding.execute("BEGIN IMMEDIATE")
        opening = pool.submit(open_at, path)
        assert asked.wait(30)
        assert not opening.done()
        holding.execute("ROLLBACK")
        with closing(opening.result()) as store:
            assert store.submit(spend()).result().decision.is_allowed


# not behind its anchor


@pytest.mark.case(96)
@pytest.mark.parametrize("left", [None, b""])
def test_missing_database_is_refused_while_the_anchor_remembers_it(path: Path, left: bytes | None) -> None:
    anchor = MemoryAnchor()
    grow(path, 3, anchor)
    path.unlink()
    if left is not None:
        path.write_bytes(left)
    with pytest.raises(StoreError, match="missing, but 3 ledger entries were recorded outside"):
        open_at(path, anchor)
    assert path.exists() == (left is not None)


@pytest.mark.invariant("I8")
@pytest.mark.case(96)
def test_database_that_was_rolled_back_is_refused(path: Path, tmp_path: Path) -> None:
    anchor = MemoryAnchor()
    grow(path, 3, anchor)
    shutil.copy(path, tmp_path / "old.db")
    grow(path, 1, anchor)
    shutil.copy(tmp_path / "old.db", path)
    with pytest.raises(StoreError, match="rolled back or replaced"):
        open_at(path, anchor)
    open_at(path).close()


@pytest.mark.case(93, 96)
def test_database_whose_log_was_deleted_after_a_crash_is_refused(path: Path, tmp_path: Path) -> None:
    anchor = MemoryAnchor()
    crashed = tmp_path / "crashed.db"
    with closing(open_at(path, anchor)) as store:
        store.submit(spend()).result()
        store.anchor_now()
        shutil.copy(path, crashed)  # without its -wal file, as a copy of a live database easily is
    with pytest.raises(StoreError, match="with 0 ledger entries, but epoch 1 with 1 was recorded"):
        open_at(crashed, anchor)


@pytest.mark.invariant("I9")
@pytest.mark.case(96)
def test_database_with_another_history_is_refused(path: Path, tmp_path: Path) -> None:
    anchor = MemoryAnchor()
    grow(path, 3, anchor)
    grow(tmp_path / "other.db", 2)
    with closing(open_at(tmp_path / "other.db")) as store:
        store.submit(spend(2)).result()
        store.submit(spend()).result()
    with pytest.raises(StoreError, match="first 3 ledger entries are not those"):
        open_at(tmp_path / "other.db", anchor)


@pytest.mark.case(62)
def test_restored_database_of_a_later_epoch_is_accepted_though_smaller(path: Path, tmp_path: Path) -> None:
    def raise_epoch(facts: Facts, _: Instant) -> tuple[StepAnswer[object], Changes]:
        control = msgspec.structs.replace(facts.control, epoch=facts.control.epoch + 1)
        return StepAnswer(allow()), Changes((control,), (Entry(kind=EntryKind.EPOCH_RAISED),))

    anchor = MemoryAnchor()
    grow(path, 2, anchor)
    shutil.copy(path, tmp_path / "old.db")
    grow(path, 5, anchor)
    with closing(open_at(tmp_path / "old.db")) as store:
        store.submit(ScriptedStep([], raise_epoch)).result()
    with closing(open_at(tmp_path / "old.db", anchor)) as store:
        assert anchor.heads[-1] == TreeHead(epoch=2, size=3, root=anchor.heads[-1].root)
        assert store.submit(spend()).result().value == 3
    with pytest.raises(StoreError, match="at epoch 1 with 7 ledger entries, but epoch 2"):
        open_at(path, anchor)


@pytest.mark.case(55, 96, 99)
@pytest.mark.invariant("I9")
@pytest.mark.parametrize("other", [0, 3])
def test_second_copy_of_a_database_that_shares_its_anchor_is_found_out_while_both_are_in_use(
    path: Path, tmp_path: Path, other: int
) -> None:
    anchor = MemoryAnchor()
    grow(path, 2, anchor)
    shutil.copy(path, tmp_path / "copy.db")
    with closing(open_at(path, anchor)) as first:
        second = open_at(tmp_path / "copy.db", anchor)
        assert first.submit(spend()).result().value == 3
        first.anchor_now()
        for number in range(other):
            with suppress(UnavailableError):  # it may be found out at any of them
                assert second.submit(spend(10)).result().value == 12 + 10 * number
        with pytest.raises(StoreError, match=r"was rolled back or replaced|was rewritten or belongs to another"):
            second.anchor_now()
        with pytest.raises(UnavailableError, match="executes nothing until it is opened again"):
            second.submit(spend()).result()
        with pytest.raises(StoreError):
            second.close()
        assert first.submit(spend()).result().value == 4
        first.anchor_now()
    assert [head.size for head in anchor.heads][-2:] == [3, 4]


def test_anchor_that_cannot_be_written_is_told_and_the_store_goes_on(path: Path) -> None:
    class FullAnchor(MemoryAnchor):
        is_full = False
        tried = Event()

        def replace_if_larger(self, head: TreeHead) -> None:
            if self.is_full:
                self.tried.set()
                raise StoreError("no room for the anchor")
            super().replace_if_larger(head)

    anchor = FullAnchor()
    store = open_at(path, anchor)
    assert store.fault is None
    anchor.is_full = True
    assert store.submit(spend()).result().value == 1
    assert anchor.tried.wait(30)
    assert store.submit(spend()).result().value == 2
    with pytest.raises(StoreError, match="no room for the anchor"):
        store.close()
    assert "no room for the anchor" in str(store.fault)
    with pytest.raises(StoreError, match="no room for the anchor"):
        open_at(path, anchor)
    anchor.is_full = False
    with closing(open_at(path, anchor)):
        assert anchor.heads[-1].size == 2


# damage


@pytest.mark.case(96, 97)
@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("DELETE FROM ledger WHERE idx = 4", "should hold 5 entries and ends at index 3"),
        ("DELETE FROM ledger", "ends at index None"),
        ("DELETE FROM ledger WHERE idx = 3", "no complete subtree"),
        ("UPDATE ledger SET hashes = zeroblob(96) WHERE idx = 3", "right edge"),
        ("UPDATE control SET frontier = x'00'", "stored frontier"),
        ("UPDATE control SET size = 4", "should hold 4 entries"),
        ("DELETE FROM control", "control row is missing"),
    ],
)
def test_ledger_that_does_not_end_as_recorded_is_refused(path: Path, sql: str, why: str) -> None:
    grow(path, 5)
    execute(path, sql)
    with pytest.raises(StoreError, match=why):
        open_at(path)


def test_damage_in_what_every_decision_reads_is_refused(path: Path) -> None:
    grow(path, 1)
    with closing(apsw.Connection(str(path))) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'stops'").fetchone()
    data = bytearray(path.read_bytes())
    data[(page - 1) * 4096 : page * 4096] = b"\xff" * 4096
    path.write_bytes(data)
    with pytest.raises(StoreError, match=r"damaged"):
        open_at(path)


# other users of the file


@pytest.mark.case(93)
def test_lock_held_by_another_process_is_waited_for_and_then_named(path: Path) -> None:
    grow(path, 1)
    with (
        closing(apsw.Connection(str(path))) as other,
        closing(open_at(path, settings=msgspec.structs.replace(QUICK, busy_seconds=0.01))) as store,
    ):
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(UnavailableError, match="another process holds") as caught:
            store.submit(spend()).result()
        assert not caught.value.maybe_persisted
        other.execute("ROLLBACK")
        assert store.submit(spend()).result().value == 2


def test_closing_one_store_leaves_the_others_of_this_process_alone(path: Path) -> None:
    with closing(open_at(path)) as one:
        with closing(open_at(path)) as other:
            assert other.submit(spend()).result().value == 1
        open_read_only(path).close()
        assert one.submit(spend()).result().value == 2
        with lane_held(one), closing(open_read_only(path)) as reader:
            assert reader.queries.control().size == 2


def test_database_is_read_without_being_written(path: Path) -> None:
    grow(path, 4)
    with closing(open_read_only(path)) as reader:
        assert [line.index for line in reader.queries.search(LedgerQuery(tenants=None, run="run_1"))] == [3, 2, 1, 0]
        assert not hasattr(reader, "submit")
    with pytest.raises(StoreError, match="no database here"):
        open_read_only(path.parent / "other.db")


@pytest.mark.case(93)
@pytest.mark.parametrize("suffix", ["", "-wal"])
@pytest.mark.parametrize("moved", [True, False])
def test_file_deleted_or_moved_while_open_stops_the_store(path: Path, suffix: str, moved: bool) -> None:
    anchor = MemoryAnchor()
    store = open_at(path, anchor)
    assert store.submit(write(run())).result().value == 0
    victim = Path(f"{path}{suffix}")
    victim.rename(f"{victim}.away") if moved else victim.unlink()
    with pytest.raises(StoreError, match="deleted or moved") as caught:
        store.submit(spend()).result()
    assert not caught.value.maybe_persisted
    with pytest.raises(UnavailableError, match="until it is opened again"):
        store.submit(spend()).result()
    store.close()
