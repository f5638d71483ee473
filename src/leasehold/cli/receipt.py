"""`leasehold receipt`: read, verify and amend. Verifying is offline; the key never comes from the receipt."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import msgspec

from leasehold.authority.proofs import check_answers
from leasehold.cli.files import read_input, read_lines, write_output
from leasehold.cli.groups import CommandGroup
from leasehold.cli.output import show_json
from leasehold.cli.public_keys import read_public_keys
from leasehold.cli.receipts import receipt_lines
from leasehold.cli.session import Session, with_session
from leasehold.errors import VerificationError
from leasehold.ledger import dsse
from leasehold.ledger.amendment import VerifiedAmendment, verify_amendment
from leasehold.ledger.export import MAX_LINE_BYTES, verify_export
from leasehold.ledger.receipt import (
    MAX_RECEIPT_BYTES,
    PREDICATE_TYPE,
    VerifiedReceipt,
    check_complete,
    verify_receipt,
)
from leasehold.model import canonical
from leasehold.model.canonical import Json

__all__ = ["receipt"]

_FILE = click.argument("file", type=click.Path(path_type=Path))
_JSON = click.option("--json", "as_json", is_flag=True, help="Write data as JSON.")


@click.group(cls=CommandGroup)
def receipt() -> None:
    """Read and verify receipts, offline, and amend them."""


@receipt.command("inspect")
@_FILE
@click.option("--key", type=click.Path(path_type=Path), help="The authority's public keys: verify it first.")
@_JSON
def inspect(file: Path, key: Path | None, *, as_json: bool) -> None:
    """Show what a receipt says: asked, granted, used, denied, never used, spent, and why the run ended."""
    predicate = _unverified(file) if key is None else _verified(file, key).predicate
    if as_json:
        show_json(predicate)
    else:
        for line in receipt_lines(predicate):
            click.echo(line)
    if key is None:
        click.echo("NOT VERIFIED: this is only what the file says; give --key authority.pub", err=True)


@receipt.command("verify")
@_FILE
@click.option("--key", type=click.Path(path_type=Path), required=True, help="The authority's public keys.")
@click.option(
    "--ledger",
    type=click.Path(path_type=Path),
    help="A whole export of the ledger: check as well that the receipt leaves nothing out.",
)
@click.option(
    "--amendment",
    "amendments",
    type=click.Path(path_type=Path),
    multiple=True,
    help="An amendment of this receipt: verify it too. May be given again.",
)
@_JSON
def verify(file: Path, key: Path, ledger: Path | None, amendments: tuple[Path, ...], *, as_json: bool) -> None:
    """Verify a receipt: its signature, each entry's proof, and that its summary is what the entries say."""
    verified = _verified(file, key)
    head = verified.checkpoint.checkpoint
    answers = check_answers(verified.entries)
    amended = [_verified_amendment(path, verified, key) for path in amendments]
    if ledger is not None:
        keys = read_public_keys(read_input(key))
        check_complete(verified, verify_export(read_lines(ledger, MAX_LINE_BYTES + 1), keys.log))
    value = {
        "run": verified.run,
        "digest": f"sha256:{verified.digest}",
        "entries": len(verified.entries),
        "ledger_size": head.size,
        "ledger_root": head.root.hex(),
        "origin": head.origin,
        "is_complete": ledger is not None,
        "amended_entries": sum(len(amendment.entries) for amendment in amended),
        "answers": msgspec.to_builtins(answers),
    }
    if as_json:
        show_json(value)
        return
    click.echo(f"verified: the receipt of {verified.run}")
    click.echo(f"digest: sha256:{verified.digest}")
    click.echo(f"proven: {len(verified.entries)} entries in the ledger of {head.size} that {head.origin} signed")
    click.echo(f"answers: {answers.describe()}")
    click.echo(f"complete: {'compared with the whole export' if ledger is not None else 'not compared (--ledger)'}")
    for amendment in amended:
        size = amendment.checkpoint.checkpoint.size
        click.echo(f"amended: {len(amendment.entries)} later entries, in a ledger of {size} that extends it")


@receipt.command("amend")
@_FILE
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the amendment there, not to stdout.")
@with_session
def amend(session: Session, file: Path, output: Path | None) -> None:
    """Sign what became known since a receipt: how calls ended that it shows as in flight, and late reports."""
    with session.authority() as authority:
        amendment = authority.receipts.amend(read_input(file).rstrip(b"\n"))
    write_output(output, [amendment, b"\n"])


def _verified_amendment(path: Path, made: VerifiedReceipt, key: Path) -> VerifiedAmendment:
    keys = read_public_keys(read_input(key))
    data = read_input(path).rstrip(b"\n")
    with _naming(path):
        return verify_amendment(data, made, keys.receipt_keys(), keys.log)


def _verified(file: Path, key: Path) -> VerifiedReceipt:
    keys, data = read_public_keys(read_input(key)), read_input(file).rstrip(b"\n")
    with _naming(file):
        return verify_receipt(data, keys.receipt_keys(), keys.log)


@contextmanager
def _naming(file: Path) -> Iterator[None]:
    """Several files stand on the command line: say which of them does not prove what it claims."""
    try:
        yield
    except VerificationError as error:
        raise VerificationError(f"{file}: {error}", index=error.index) from None


def _unverified(file: Path) -> dict[str, Json]:
    data = read_input(file).rstrip(b"\n")
    with _naming(file):
        envelope = dsse.parse(data, max_bytes=2 * MAX_RECEIPT_BYTES)
        match canonical.decode(envelope.payload, max_bytes=MAX_RECEIPT_BYTES):
            case {"predicateType": str(found), "predicate": dict(predicate)} if found == PREDICATE_TYPE:
                return predicate
        raise VerificationError("this envelope holds no receipt")
