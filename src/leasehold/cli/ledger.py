"""`leasehold ledger`: ask it, export it, verify an export offline."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path

import click
import msgspec

from leasehold.assemble import open_reader
from leasehold.authority.proofs import check_answers
from leasehold.cli.entries import TITLES, entry_cells
from leasehold.cli.exits import ExitCode, Failure
from leasehold.cli.files import read_input, read_lines, write_output
from leasehold.cli.groups import CommandGroup
from leasehold.cli.pairs import parse_scalar
from leasehold.cli.public_keys import PublicKeyFile, public_keys_of, read_public_keys
from leasehold.cli.session import Session, with_session
from leasehold.errors import InvalidError
from leasehold.ledger.checkpoint import Checkpoint, SignedCheckpoint, open_checkpoint
from leasehold.ledger.entry import Entry
from leasehold.ledger.export import MAX_LINE_BYTES, PART_FORMAT, verify_export, verify_part
from leasehold.ledger.history import check_history
from leasehold.model.times import parse_time
from leasehold.store.queries import MAX_LISTED, LedgerQuery

__all__ = ["ledger"]


@click.group(cls=CommandGroup)
def ledger() -> None:
    """Ask, export and verify the ledger."""


@ledger.command("query")
@with_session
@click.option("--tenant", help="Of one tenant; by default of all.")
@click.option("--person", default="", help="The one whose run it was, such as user:ana.")
@click.option("--agent", default="")
@click.option("--run", default="")
@click.option("--lease", default="")
@click.option("--capability", default="", help="A capability's digest, as entries name it.")
@click.option("--action", default="")
@click.option("--attribute", metavar="NAME=VALUE", help="A value that a call gave an attribute; NAME:=3 for a number.")
@click.option("--decision", default="", type=click.Choice(["", "allow", "deny"]), metavar="allow|deny")
@click.option("--since", help="today, yesterday, 2h, 2026-05-06 or 2026-05-06T12:00:00Z; days are UTC.")
@click.option("--until", help="Up to, not including, such a time.")
@click.option("--before", type=click.IntRange(0), help="The last index of the page before.")
@click.option("--limit", type=click.IntRange(1, MAX_LISTED), default=100, show_default=True)
def query(
    session: Session,
    tenant: str | None,
    attribute: str | None,
    since: str | None,
    until: str | None,
    **conditions: str | int | None,
) -> None:
    """Find entries that meet every condition given, the newest first.

    All that Ana's agents did today: --person user:ana --since today
    """
    now = session.around.system.now()
    asked = LedgerQuery(
        tenants=None if tenant is None else [tenant],
        attribute=None if attribute is None else parse_scalar(attribute),
        since=None if since is None else parse_time(since, now),
        until=None if until is None else parse_time(until, now),
        **conditions,  # type: ignore[arg-type]  # click gives each option under its own name and type
    )
    with session.authority() as authority:
        found = authority.desk.search(asked)
    session.give_table(found, TITLES, [entry_cells(entry) for entry in found])
    if len(found) == asked.limit:
        session.say(f"there may be more: --before {found[-1].index}")


@ledger.command("read")
@with_session
@click.option("--from", "begin", type=click.IntRange(0), default=0, show_default=True, help="The first index wanted.")
@click.option("--limit", type=click.IntRange(1), default=MAX_LISTED, show_default=True)
def read(session: Session, begin: int, limit: int) -> None:
    """Write entries in their order from an index on, a line of JSON each, exactly as the tree covers them.

    For whoever ships them to a log collector: the next index wanted is one more than that of the last line. Nothing is
    written where there is nothing new. An index behind the end is refused: the ledger was put back since. The database
    is only read.
    """
    reader = open_reader(session.files())
    try:
        control = reader.queries.control()
        if begin > control.size:
            raise InvalidError(
                f"the ledger ends before {begin}, with {control.size} entries: it was put back from a backup since you "
                f"read it. Epoch {control.epoch} began with entry {control.epoch_since}; read on from there"
            )
        for start in range(begin, begin + limit, MAX_LISTED):
            lines = reader.queries.ledger(start, min(start + MAX_LISTED, begin + limit))
            write_output(None, [line.body + b"\n" for line in lines])
            if len(lines) < MAX_LISTED:
                break
    finally:
        reader.close()


@ledger.command("export")
@with_session
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write there, not to stdout.")
@click.option("--run", "run_id", metavar="RUN", help="Only the entries of one run and of all under it, with proofs.")
def export(session: Session, output: Path | None, run_id: str | None) -> None:
    """Write the ledger with its signed checkpoint, for verification anywhere."""
    with session.authority() as authority:
        receipts = authority.receipts
        lines = receipts.export() if run_id is None else receipts.export_run(authority.run(run_id).run)
        write_output(output, lines)


@ledger.command("verify")
@with_session
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--key", type=click.Path(path_type=Path), help="The authority's public keys (authority.pub).")
@click.option(
    "--checkpoint",
    "checkpoints",
    multiple=True,
    type=click.Path(path_type=Path),
    help="An older signed checkpoint that was kept; the ledger must extend it.",
)
@click.option("--history", is_flag=True, help="Also judge whether what it tells could have happened.")
def verify(
    session: Session, file: Path | None, key: Path | None, checkpoints: Sequence[Path], *, history: bool
) -> None:
    """Verify an exported ledger offline, with --key; without a FILE, the ledger of this state.

    Exit 0 if every entry is proven, 1 with the first bad index if not.
    """
    if file is not None and key is None:
        raise InvalidError("name the key to trust: --key authority.pub; it is never taken from the export")
    keys, entries, signed = _verified(session, file, key, checkpoints)
    answers = check_answers(entries)
    violations = check_history(entries) if history else []
    head = signed.checkpoint
    is_whole = len(entries) == head.size
    session.give(
        {
            "issuer": keys.issuer,
            "entries": len(entries),
            "is_whole": is_whole,
            "size": head.size,
            "root": head.root.hex(),
            "answers": msgspec.to_builtins(answers),
            "violations": violations,
        },
        [
            f"verified: {len(entries)} of {head.size} entries, signed by {signed.signed_by[0].name}",
            f"root: {head.root.hex()}",
            f"answers: {answers.describe()}",
            *map(str, violations),
            *(["history: nothing in it is impossible"] if history and not violations else []),
        ],
    )
    if violations:
        raise Failure(f"{len(violations)} entries tell what cannot have happened", ExitCode.FAILED)


def _verified(
    session: Session, file: Path | None, key: Path | None, checkpoints: Sequence[Path]
) -> tuple[PublicKeyFile, tuple[Entry, ...], SignedCheckpoint]:
    if file is None:
        with session.authority() as authority:
            keys = public_keys_of(authority.engine.identity)
            whole = verify_export(authority.receipts.export(), keys.log, kept=_kept(checkpoints, keys))
        return keys, whole.entries, whole.checkpoint
    keys = read_public_keys(read_input(key or file))
    lines = iter(read_lines(file, MAX_LINE_BYTES + 1))
    first = next(lines, b"")
    if _format_of(first) == PART_FORMAT:
        if checkpoints:
            raise InvalidError("a part of a ledger cannot be compared with older checkpoints; export the whole")
        part = verify_part(chain([first], lines), keys.log)
        return keys, part.entries, part.checkpoint
    whole = verify_export(chain([first], lines), keys.log, kept=_kept(checkpoints, keys))
    return keys, whole.entries, whole.checkpoint


def _kept(paths: Iterable[Path], keys: PublicKeyFile) -> list[Checkpoint]:
    return [open_checkpoint(read_input(path), keys.log).checkpoint for path in paths]


def _format_of(line: bytes) -> str:
    """What kind of export a first line claims to begin; the verifier checks the rest of it."""
    try:
        value = msgspec.json.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ""
    return str(value.get("format", "")) if isinstance(value, dict) else ""
