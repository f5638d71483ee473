"""`leasehold db`: check, back up, restore, move and archive the database, and confirm what only people can know."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import click

from leasehold.assemble import (
    back_up_state,
    check_state,
    find_postgres,
    move_to_postgres,
    open_reader,
    overwrite_erased_cards,
    restore_state,
)
from leasehold.authority import Authority
from leasehold.authority.archive import FinishedRun, archive_digest
from leasehold.cli.asking import confirm
from leasehold.cli.exits import ExitCode, Failure
from leasehold.cli.groups import CommandGroup
from leasehold.cli.session import Session, with_session
from leasehold.config import StateFiles
from leasehold.errors import ConfigError, InvalidError
from leasehold.ledger.tree import Frontier
from leasehold.model.plain import escape
from leasehold.model.times import parse_time, show_time
from leasehold.store.sqlite_copies import check_database

__all__ = ["db"]

_CHUNK = 1_048_576
_TIMES = "today, yesterday, 90d, 2026-05-06 or 2026-05-06T12:00:00Z; days are UTC."


@click.group(cls=CommandGroup)
def db() -> None:
    """Check, back up, restore, move and archive the database."""


@db.command("check")
@with_session
def check(session: Session) -> None:
    """Read all of the database, its ledger included. Exit 0 if it is whole, 1 if not.

    What rows say of stops, attempts, calls, keys and budgets is compared with what the ledger says.
    """
    files = session.files()
    problems = check_state(files)
    session.give({"database": _name(files), "problems": problems}, map(escape, problems or ("the database is whole",)))
    if problems:
        raise Failure("the database is damaged; restore a backup: leasehold db restore", ExitCode.FAILED)


@db.command("backup")
@with_session
@click.argument("target", type=click.Path(path_type=Path))
def backup(session: Session, target: Path) -> None:
    """Copy the database, as it is at one moment, to a new SQLite file, while it is in use.

    One of PostgreSQL is copied into such a file as well, read in one transaction and read back. Keys are not in it;
    keep them elsewhere.
    """
    back_up_state(session.files(), target)
    digest = _digest(target)
    session.give_fields({"backup": str(target), "sha256": digest}, [("backup", str(target)), ("sha256", digest)])


@db.command("restore")
@with_session
@click.argument("source", type=click.Path(path_type=Path), required=False)
@click.option("--reason", required=True, help="Words for the record.")
@click.option("--digest", metavar="HEX", help="At least 8 digits of the SHA-256 of the file that is taken into use.")
def restore(session: Session, source: Path | None, reason: str, digest: str | None) -> None:
    """Take a backup into use: a new epoch begins, and every lease, request and run from before is void.

    Stop every process that has this state open first. The database that stands there is moved aside, on PostgreSQL
    into a schema beside its own. Without SOURCE, the database is taken that was already put in its place, by hand or
    with PostgreSQL's own means. Credentials are not revoked at their sources until: leasehold db confirm-revocations
    """
    files = session.files()
    place = find_postgres(files)
    found = source or files.database
    is_server = source is None and place is not None
    if problems := check_state(files) if is_server else check_database(found):
        raise ConfigError(f"is damaged and was not taken: {problems[0]}", path=str(place if is_server else found))
    confirm(
        session,
        f"Take {place if is_server else found} into use, and void everything from before?",
        digest=_ledger_digest(files) if is_server else _digest(found),
        given=digest,
        words=["restore"],
        seen="the SHA-256 of what is taken into use (sha256sum; db backup prints it)",
    )
    system = session.around.system
    epoch = restore_state(files, by=session.around.account, reason=reason, source=source, system=system)
    session.give({"epoch": epoch}, [f"epoch: {epoch}"])
    session.say("revocations at credential sources are paused until: leasehold db confirm-revocations")
    session.say("people, passwords, client keys and policy are those of then: whoever was removed since is known again")
    session.say("look at: leasehold person list, leasehold client key list, leasehold policy explain")


@db.command("confirm-revocations")
@with_session
@click.option("--reason", required=True, help="Words for the record.")
def confirm_revocations(session: Session, reason: str) -> None:
    """Say that credentials may be revoked at their sources again, after a restore.

    What a backup knows of them is old: a source may have given the same name to somebody else since. Compare first.
    """
    with session.authority() as authority:
        since = authority.desk.confirm_revocations(by=session.around.account, reason=reason)
    session.give({"since": since}, [f"revocations go on from ledger entry {since}"])


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


@db.command("archivable")
@with_session
@click.option("--before", required=True, metavar="TIME", help=_TIMES)
def archivable(session: Session, before: str) -> None:
    """List the runs that finished before a time and whose cards are still kept, and the digest that archive wants."""
    with session.authority() as authority:
        runs = _finished(session, authority, before)
    cells = [(run.tenant, run.run_id, show_time(run.finished_at.seconds), str(len(run.cards))) for run in runs]
    if session.as_json:
        session.give({"digest": archive_digest(runs), "runs": [_run_value(run) for run in runs]}, ())
    else:
        session.give_table([], ("tenant", "run", "finished", "cards"), cells)
        session.say(f"digest: {archive_digest(runs)}")


@db.command("archive")
@with_session
@click.option("--before", required=True, metavar="TIME", help=_TIMES)
@click.option("--reason", required=True, help="Words for the record.")
@click.option("--digest", metavar="HEX", help="At least 8 digits of the digest that archivable prints.")
def archive(session: Session, before: str, reason: str, digest: str | None) -> None:
    """Erase the cards of runs that finished before a time, for good.

    What people were shown goes. What they answered, every ledger entry and every checkpoint stays, so that receipts
    and the ledger verify as before, and say that the card was erased. Backups that were made before still hold them.
    """
    with session.authority() as authority:
        runs = _finished(session, authority, before)
        count = sum(len(run.cards) for run in runs)
        if runs:
            confirm(
                session,
                f"Erase {count} cards of {len({run.run_id for run in runs})} runs for good?",
                digest=archive_digest(runs),
                given=digest,
                words=["erase"],
                seen="the digest that db archivable prints",
            )
        erased = sum(len(authority.archive.erase(run, by=session.around.account, reason=reason)) for run in runs)
    session.give({"erased": erased, "kept": count - erased}, [f"cards erased: {erased}"])
    if not overwrite_erased_cards(session.files()):
        session.say("another process still reads what was there; say this again later, so that the file is rid of it")


def _finished(session: Session, authority: Authority, before: str) -> list[FinishedRun]:
    """Runs that finished before a moment, which must have come.

    Raises:
        InvalidError: it is none, or not yet.
    """
    now = session.around.system.now()
    moment = parse_time(before, now)
    if moment > now:
        raise InvalidError(f"{before} is yet to come; only what is over can be archived")
    return list(authority.archive.finished_before(moment))


def _run_value(run: FinishedRun) -> dict[str, object]:
    cards = [{"request": card.request, "card_digest": card.digest} for card in run.cards]
    return {"tenant": run.tenant, "run": run.run_id, "finished": show_time(run.finished_at.seconds), "cards": cards}


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
