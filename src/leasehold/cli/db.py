"""`leasehold db`: check, back up and restore the database, and confirm a clock that was set back."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import click

from leasehold.assemble import restore_state
from leasehold.cli.asking import confirm
from leasehold.cli.exits import ExitCode, Failure
from leasehold.cli.session import Session, with_session
from leasehold.config import StateFiles
from leasehold.errors import ConfigError
from leasehold.model.plain import escape
from leasehold.store.sqlite_copies import back_up, check_database

__all__ = ["db"]

_CHUNK = 1_048_576


@click.group()
def db() -> None:
    """Check, back up and restore the database."""


@db.command("check")
@with_session
def check(session: Session) -> None:
    """Read all of the database, its ledger included. Exit 0 if it is whole, 1 if not."""
    database = session.files().database
    problems = check_database(database)
    session.give({"database": str(database), "problems": problems}, map(escape, problems or ("the database is whole",)))
    if problems:
        raise Failure("the database is damaged; restore a backup: leasehold db restore", ExitCode.FAILED)


@db.command("backup")
@with_session
@click.argument("target", type=click.Path(path_type=Path))
def backup(session: Session, target: Path) -> None:
    """Copy the database, as it is at one moment, to a new file. Keys are not in it; keep them elsewhere."""
    back_up(session.files().database, target)
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
    found = source or files.database
    if problems := check_database(found):
        raise ConfigError(f"is damaged and was not taken: {problems[0]}", path=str(found))
    confirm(
        session,
        f"Take {found} into use, and void everything from before?",
        digest=_digest(found),
        given=digest,
        words=["restore"],
    )
    if source is not None:
        _put_in_place(source, files, session.around.system.now().seconds)
    epoch = restore_state(files.directory, by=session.around.account, reason=reason, system=session.around.system)
    session.give({"epoch": epoch}, [f"epoch: {epoch}"])


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
