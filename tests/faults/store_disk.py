"""A disk under SQLite that remembers what was written, fails on command, and shows what a power cut would leave."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import NamedTuple

import apsw

SECTOR = 512


class Operation(NamedTuple):
    """One thing that was asked of the disk: `write`, `truncate`, `sync`, `delete` or `open`."""

    kind: str
    file: str
    offset: int = 0
    data: bytes = b""


class Disk(apsw.VFS):
    """SQLite's file layer over the system's own.

    `operations` are those that were done. `fail` looks at each that is to be done next and may answer the error that
    takes its place.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.operations: list[Operation] = []
        self.fail: Callable[[Operation], Exception | None] = lambda _: None
        super().__init__(name, "")

    def do(self, operation: Operation) -> None:
        """Remember an operation, or raise in its place."""
        error = self.fail(operation)
        if error is not None:
            raise error
        self.operations.append(operation)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 - SQLite's name
        return DiskFile(self, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802 - SQLite's name and order
        self.do(Operation("delete", Path(filename).name))
        super().xDelete(filename, syncdir)


class DiskFile(apsw.VFSFile):
    """One open file of a `Disk`."""

    def __init__(self, disk: Disk, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        text = name.filename() if isinstance(name, apsw.URIFilename) else name
        self.disk = disk
        self.file = Path(text or "temporary").name
        if flags[0] & apsw.SQLITE_OPEN_READWRITE:
            disk.do(Operation("open", self.file))
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - SQLite's name
        self.disk.do(Operation("write", self.file, offset, bytes(data)))
        super().xWrite(data, offset)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802 - SQLite's name
        self.disk.do(Operation("truncate", self.file, newsize))
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's name
        self.disk.do(Operation("sync", self.file))
        super().xSync(flags)


@contextmanager
def mounted(name: str) -> Iterator[Disk]:
    """A disk that SQLite knows by its name while the block lasts."""
    disk = Disk(name)
    try:
        yield disk
    finally:
        disk.unregister()


Fate = Callable[[Operation], Operation | None]
"""What becomes of a write that was not synced: all of it, a torn part, or nothing."""


def lost(_: Operation) -> None:
    """The power was cut before any of it reached the disk."""


def kept(operation: Operation) -> Operation:
    """All of it reached the disk; also what a killed process leaves, since the system goes on."""
    return operation


def by_chance(seed: int) -> Fate:
    """Some of it is lost, some torn at a sector, some kept, in any order: disks write as they like until a sync."""
    chance = Random(seed)

    def fate(operation: Operation) -> Operation | None:
        sectors = len(operation.data) // SECTOR
        torn = operation._replace(data=operation.data[: SECTOR * chance.randrange(sectors)]) if sectors > 1 else None
        return chance.choice((None, torn, operation))

    return fate


def image(operations: Sequence[Operation], fate: Fate) -> dict[str, bytes]:
    """The files after everything stopped behind the last of these operations."""
    files: dict[str, bytearray] = {}
    waiting: dict[str, list[Operation]] = {}
    for operation in operations:
        match operation.kind:
            case "sync":
                for synced in waiting.pop(operation.file, []):
                    _apply(files, synced)
            case "delete":  # SQLite has the folder synced with it
                files.pop(operation.file, None)
                waiting.pop(operation.file, None)
            case "write" | "truncate":
                waiting.setdefault(operation.file, []).append(operation)
    for unsynced in waiting.values():
        for operation in unsynced:
            found = fate(operation)
            if found is not None:
                _apply(files, found)
    return {name: bytes(data) for name, data in files.items()}


def _apply(files: dict[str, bytearray], operation: Operation) -> None:
    data = files.setdefault(operation.file, bytearray())
    end = operation.offset + len(operation.data)
    if len(data) < end or (operation.kind == "truncate" and len(data) < operation.offset):
        data.extend(bytes(end - len(data)))
    if operation.kind == "truncate":
        del data[operation.offset :]
    else:
        data[operation.offset : end] = operation.data
