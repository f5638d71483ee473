"""Every operation of the disk fails once: what was answered is in, what was refused is not, the store says which."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import apsw
import pytest
from store_disk import Operation, mounted

from figures import Figures
from leasehold.decide.facts import Ref
from leasehold.decide.rows import DocumentRow, LeaseRow
from leasehold.errors import StoreError, UnavailableError
from leasehold.ledger.entry import decode_entry
from leasehold.store.lane import RefusedError
from leasehold.store.opened import OpenStore
from leasehold.store.sqlite import SqliteSettings, open_sqlite
from leasehold.store.sqlite_connection import Place, in_our_words
from leasehold.store.sqlite_copies import check_database
from leasehold.testing.clock import FrozenSystem
from leasehold.testing.store_steps import TENANT, ScriptedStep, lane_held, lease, spend, write

STEPS = 4


def open_at(path: Path, vfs: str = "") -> OpenStore:
    settings = SqliteSettings(vfs=vfs, anchor_seconds=3600)
    return open_sqlite(path, clock=FrozenSystem(), issuer="issuer", settings=settings)


class Told:
    """What callers were told: which steps are in, which are certainly not, which may be."""

    def __init__(self) -> None:
        self.done: set[int] = set()
        self.refused: set[int] = set()
        self.unknown: set[int] = set()
        self.opened = False


def play(path: Path, vfs: str) -> Told:
    """Make a database and submit a few steps; step k settles 2**k, so that the total names those that are in."""
    told = Told()
    try:
        store = open_at(path, vfs)
    except StoreError:
        return told
    told.opened = True
    for number in range(STEPS):
        try:
            store.submit(spend(2**number)).result()
            assert not told.unknown, "a store that does not know what it wrote must take nothing more"
            told.done.add(number)
        except StoreError as error:
            (told.unknown if error.maybe_persisted else told.refused).add(number)
    with suppress(StoreError):
        store.close()
    return told


def find(path: Path) -> set[int]:
    """Which steps are in, once the disk works again."""
    with closing(open_at(path)) as store:
        rows = store.queries.accounts(TENANT, "run_1")
        total = rows[0].settled if rows else 0
        lines = store.queries.ledger(0, 100)
        found = {number for number in range(STEPS) if total & 2**number}
        recorded = [decode_entry(line.body).detail["total"] for line in lines]
        assert recorded == [sum(2**n for n in sorted(found)[: k + 1]) for k in range(len(found))]
        store.submit(spend(2**STEPS)).result()
    assert check_database(path) == ()
    return found


def nth(number: int, error: Callable[[], Exception], kind: str) -> Callable[[Operation], Exception | None]:
    """The failure of the operation of this kind that has this number."""
    seen = iter(range(10**6))
    return lambda operation: error() if operation.kind == kind and next(seen) == number else None


def io_error() -> Exception:
    return apsw.IOError("the disk failed")


def full_error() -> Exception:
    return apsw.FullError("no space left on device")


def cannot_open() -> Exception:
    return apsw.CantOpenError("too many open files")


def no_room_to_open() -> Exception:
    """What SQLite says at opening where the disk is full: nothing is written yet but the file of shared memory."""
    error = apsw.IOError("disk I/O error")
    error.extendedresult = apsw.SQLITE_IOERR_SHMSIZE
    return error


@pytest.mark.case(92)
def test_disk_that_is_full_when_a_database_is_opened_is_said_to_be_full() -> None:
    told = in_our_words(no_room_to_open(), Place(path="/state/leasehold.db"))
    assert isinstance(told, UnavailableError)
    assert "the disk or quota is full" in str(told)
    assert "the disk reports an error" in str(in_our_words(io_error(), Place(path="/state/leasehold.db")))


@pytest.mark.case(92, 93)
@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("write", io_error),
        ("write", full_error),
        ("sync", io_error),
        ("truncate", io_error),
        ("open", cannot_open),
        ("delete", io_error),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_each_operation_that_fails_is_told_truly(
    tmp_path: Path, kind: str, error: Callable[[], Exception], figures: Figures
) -> None:
    with mounted("faulty") as disk:
        (tmp_path / "whole").mkdir()
        assert play(tmp_path / "whole" / "leasehold.db", disk.name).done == set(range(STEPS))
        count = sum(operation.kind == kind for operation in disk.operations)
        outcomes = {"done": 0, "refused": 0, "unknown": 0}
        for number in range(count):
            path = tmp_path / str(number) / "leasehold.db"
            path.parent.mkdir()
            disk.fail = nth(number, error, kind)
            told = play(path, disk.name)
            disk.fail = lambda _: None
            found = find(path)
            assert told.done <= found
            assert not told.refused & found
            assert found <= told.done | told.unknown
            for name in outcomes:
                outcomes[name] += len(getattr(told, name))
    assert count > 0
    figures(f"{count} failures of {kind} ({error.__name__}): steps told {outcomes}")


@pytest.mark.case(92)
def test_sync_that_failed_is_never_tried_again_as_if_nothing_had_been(tmp_path: Path) -> None:
    path = tmp_path / "leasehold.db"
    with mounted("faulty") as disk:
        store = open_at(path, disk.name)
        disk.fail = nth(0, io_error, "sync")
        with pytest.raises(StoreError, match="check the disk, then open the store again") as caught:
            store.submit(spend()).result()
        assert caught.value.maybe_persisted
        done = len(disk.operations)
        for _ in range(3):
            with pytest.raises(UnavailableError, match="executes nothing until it is opened again"):
                store.submit(spend()).result()
        assert len(disk.operations) == done
        store.close()


@pytest.mark.case(93)
def test_full_disk_refuses_and_the_store_goes_on_once_there_is_room(tmp_path: Path) -> None:
    with mounted("faulty") as disk, closing(open_at(tmp_path / "leasehold.db", disk.name)) as store:
        assert store.submit(spend()).result().value == 1
        disk.fail = lambda operation: full_error() if operation.kind == "write" else None
        for _ in range(2):
            with pytest.raises(UnavailableError, match="full; nothing was executed; make room") as caught:
                store.submit(spend()).result()
            assert not caught.value.maybe_persisted
        disk.fail = lambda _: None
        assert store.submit(spend()).result().value == 2


@pytest.mark.case(93)
def test_disk_that_turns_read_only_refuses(tmp_path: Path) -> None:
    with mounted("faulty") as disk, closing(open_at(tmp_path / "leasehold.db", disk.name)) as store:
        disk.fail = lambda operation: apsw.ReadOnlyError("read-only") if operation.kind == "write" else None
        with pytest.raises(UnavailableError, match="cannot be written; nothing was executed"):
            store.submit(spend()).result()
        disk.fail = lambda _: None
        assert store.submit(spend()).result().value == 1


@pytest.mark.case(92)
def test_checkpoint_that_fails_stops_the_store_and_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "leasehold.db"
    with mounted("faulty") as disk:
        store = open_at(path, disk.name)
        disk.fail = lambda operation: io_error() if operation.file == "leasehold.db" else None
        documents = [DocumentRow(tenant=TENANT, id=f"doc_{n}", body=bytes(1 << 20)) for n in range(20)]
        store.submit(write(*documents)).result()
        store.submit(spend(0)).exception()  # may still slip in before the checkpoint
        with pytest.raises(UnavailableError, match="until it is opened again"):
            store.submit(spend(0)).result()
        disk.fail = lambda _: None
        store.close()
    with closing(open_at(path)) as again:
        assert again.queries.document(TENANT, "doc_19") == bytes(1 << 20)


def test_checkpoint_that_finds_no_room_is_put_off(tmp_path: Path) -> None:
    path = tmp_path / "leasehold.db"
    with mounted("faulty") as disk, closing(open_at(path, disk.name)) as store:
        disk.fail = lambda operation: full_error() if operation.file == "leasehold.db" else None
        documents = [DocumentRow(tenant=TENANT, id=f"doc_{n}", body=bytes(1 << 20)) for n in range(20)]
        store.submit(write(*documents)).result()
        assert [store.submit(spend()).result().value for _ in range(2)] == [1, 2]
        disk.fail = lambda _: None


# damage in the file


def look(lease_id: str) -> ScriptedStep:
    """A step that reads one lease."""
    ref = Ref(LeaseRow, (TENANT, lease_id))
    step = spend()
    return ScriptedStep([ref, *step.keys()], step.decide)


def harm(path: Path, old: bytes, new: bytes) -> None:
    data = path.read_bytes()
    assert data.count(old) >= 1
    path.write_bytes(data.replace(old, new))


@pytest.mark.case(61)
def test_damaged_row_refuses_its_steps_and_no_others(tmp_path: Path) -> None:
    path = tmp_path / "leasehold.db"
    with closing(open_at(path)) as store:
        store.submit(write(lease("lease_1"), lease("lease_2", state="supersed"), lease("lease_3"))).result()
    harm(path, b"supersed", b"super\xff\xfe\xfd")
    with closing(open_at(path)) as store:
        with lane_held(store):
            futures = [store.submit(look(name)) for name in ("lease_1", "lease_2", "lease_3")]
        with pytest.raises(RefusedError, match="a row is damaged; run: leasehold db check"):
            futures[1].result()
        assert [futures[0].result().value, futures[2].result().value] == [1, 2]
        with pytest.raises(StoreError, match="a row is damaged"):
            store.queries.rows([Ref(LeaseRow, (TENANT, "lease_2"))])


@pytest.mark.case(61)
def test_damaged_page_refuses_the_steps_that_meet_it_and_no_others(tmp_path: Path) -> None:
    path = tmp_path / "leasehold.db"
    with closing(open_at(path)) as store:
        store.submit(write(lease("lease_1"))).result()
    with closing(apsw.Connection(str(path))) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'leases'").fetchone()
    data = bytearray(path.read_bytes())
    data[(page - 1) * 4096 : page * 4096] = b"\xff" * 4096
    path.write_bytes(data)
    with closing(open_at(path)) as store:
        with lane_held(store):
            futures = [store.submit(step) for step in (spend(), look("lease_1"), spend())]
        with pytest.raises(RefusedError, match="a part of the database is damaged"):
            futures[1].result()
        assert [futures[0].result().value, futures[2].result().value] == [1, 2]


def test_control_row_that_vanishes_while_open_stops_the_store(tmp_path: Path) -> None:
    path = tmp_path / "leasehold.db"
    with closing(open_at(path)) as store, closing(apsw.Connection(str(path))) as other:
        other.execute("DELETE FROM control")
        with pytest.raises(StoreError, match="control row is missing"):
            store.submit(spend()).result()
        with pytest.raises(UnavailableError, match="until it is opened again"):
            store.submit(spend()).result()
        with pytest.raises(StoreError, match="control row is missing"):
            store.queries.control()


def test_right_edge_that_is_damaged_while_open_stops_the_store(tmp_path: Path) -> None:
    path = tmp_path / "leasehold.db"
    with closing(open_at(path)) as store, closing(apsw.Connection(str(path))) as other:
        other.execute("UPDATE control SET frontier = x'00'")
        with pytest.raises(StoreError, match="right edge is damaged"):
            store.submit(spend()).result()
        with pytest.raises(UnavailableError, match="until it is opened again"):
            store.submit(spend()).result()
