"""`leasehold db`: check, back up, restore and move the database, and confirm a clock that was set back."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import click

from leasehold.assemble import check_state, find_postgres, move_to_postgres, open_reader, restore_state
from leasehold.cli.asking import confirm
from leasehold.cli.exits import ExitCode, Failure
from leasehold.cli.session import Session, with_session
from leasehold.config import StateFiles
from leasehold.errors import ConfigError
from leasehold.ledger.tree import Frontier
from leasehold.model.plain import escape
from leasehold.store.sqlite_copies import back_up, check_database

__all__ = ["db"]

_CHUNK = 1_048_576


@click.group()
def db() -> None:
    """Check, back up, restore and move the database."""


@db.command("check")
@with_session
def check(session: Session) -> None:
    """Read all of the database, its ledger included. Exit 0 if it is whole, 1 if not."""
    files = session.files()
    problems = check_state(files)
    session.give({"database": _name(files), "problems": problems}, map(escape, problems or ("the database is whole",)))
    if problems:
        raise Failure("the database is damaged; restore a backup: leasehold db restore", ExitCode.FAILED)


@db.command("backup")
@with_session
@click.argument("target", type=click.Path(path_type=Path))
def backup(session: Session, target: Path) -> None:
    """Copy the database, as it is at one moment, to a new file. Keys are not in it; keep them elsewhere."""
    files = session.files()
    if find_postgres(files) is not None:
        raise ConfigError(f"{_name(files)} is backed up with PostgreSQL's own means, such as pg_dump or base backups")
    back_up(files.database, target)
    digest = _digest(target)
    session.give_fields({"backup": str(target), "sha256": digest}, [("backup", str(target)), ("sha256", digest)])


@db.command("restore")
@with_session
@click.argument("source", type=click.Path(path_type=Path), required=False)
@click.option("--reason", required=True, help="Words for the record.")
@click.option("--digest", metavar="HEX", help="At least 8 digits of the SHA-256 of the file that is taken into use.")
def restore(session: Session, source: Path | None, reason: str, digest: str | None) -> None:
    """Take a backup into use: a new epoch begins, and every lease, request and run from before is void.

    Stop every process that has this state open first. The database that stands there is moved aside. Without SOURCE,
    the file that was already put in its place is taken.
    """
    files = session.files()
    place = find_postgres(files)
    if place is not None and source is not None:
        raise ConfigError(f"{place} is restored with PostgreSQL's own means first; then say this without SOURCE")
    found = source or files.database
    if problems := check_state(files) if place is not None else check_database(found):
        raise ConfigError(f"is damaged and was not taken: {problems[0]}", path=str(place or found))
    confirm(
        session,
        f"Take {place or found} into use, and void everything from before?",
        digest=_ledger_digest(files) if place is not None else _digest(found),
        given=digest,
        words=["restore"],
    )
    if source is not None:
        _put_in_place(source, files, session.around.system.now().seconds)
    epoch = restore_state(files, by=session.around.account, reason=reason, system=session.around.system)
    session.give({"epoch": epoch}, [f"epoch: {epoch}"])


@db.command("copy")
@with_session
@click.argument("target", metavar="URL")
def copy(session: Session, target: str) -> None:
    """Move the database into an empty one of PostgreSQL: every row, the ledger, the epoch.

    Keys stay where they are, and with them who the authority is. All of it is read back and compared before anything
    is kept. The SQLite file is moved aside, and whoever has it open is refused from then on.
    """
    files = session.files()
    counts = move_to_postgres(files, target, system=session.around.system)
    head = _ledger_digest(files)
    shown = [(table, str(count)) for table, count in counts.items()]
    session.give_fields({"database": _name(files), "tables": counts, "root": head}, [*shown, ("root", head)])


@db.command("migrate")
@with_session
def migrate(session: Session) -> None:
    """Bring the tables of the database to this version of Leasehold, under a lock. Every opening does so too."""
    with session.authority() as authority:
        control = authority.engine.store.queries.control()
    session.give_fields(
        {"database": _name(session.files()), "epoch": control.epoch, "entries": control.size},
        [("database", _name(session.files())), ("epoch", str(control.epoch)), ("entries", str(control.size))],
    )


@db.command("confirm-clock")
@with_session
def confirm_clock(session: Session) -> None:
    """Say that the clock, though it reads earlier than the last recorded time, is right.

    A new epoch begins: every lease, request and run from before is void, so that none of them lives twice.
    """
    with session.authority() as authority:
        epoch = authority.desk.confirm_clock(by=session.around.account)
    session.give({"epoch": epoch}, [f"epoch: {epoch}"])


def _put_in_place(source: Path, files: StateFiles, seconds: int) -> None:
    """Move what stands there aside, its log with it, and copy the backup to its place. The index is made anew."""
    aside = files.database.with_name(f"{files.database.name}.replaced-{seconds}")
    try:
        for suffix in ("", "-wal", "-shm"):
            standing = files.database.with_name(files.database.name + suffix)
            if standing.exists():
                standing.rename(aside.with_name(aside.name + suffix))
        for suffix in ("", "-wal", "-shm"):
            files.database.with_name(f"{files.database.name}-index{suffix}").unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot be moved aside: {error.strerror}", path=str(files.database)) from None
    back_up(source, files.database)


def _name(files: StateFiles) -> str:
    """The database as it may be shown."""
    return str(find_postgres(files) or files.database)


def _ledger_digest(files: StateFiles) -> str:
    """The root of the ledger in hex: what a restore of a server's database is confirmed by."""
    reader = open_reader(files)
    try:
        return Frontier.from_bytes(reader.queries.control().frontier).root().hex()
    finally:
        reader.close()


def _digest(path: Path) -> str:
    """The SHA-256 of a file in hex, as `sha256sum` prints it."""
    summed = sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                summed.update(chunk)
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", path=str(path)) from None
    return summed.hexdigest()
