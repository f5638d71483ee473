"""`leasehold keys`: hand out the public halves of the authority's keys, and replace the private ones."""

from __future__ import annotations

from pathlib import Path

import click

from leasehold.cli.files import write_output
from leasehold.cli.groups import CommandGroup
from leasehold.cli.public_keys import public_keys_of, write_public_keys
from leasehold.cli.session import Session, with_session
from leasehold.config import rotate_key_ring
from leasehold.model.lease import HARD_MAX_TTL_SECONDS
from leasehold.token.jwk import public_jwks
from leasehold.token.keys import SPREAD_SECONDS, DocumentType, SigningKey

__all__ = ["keys"]

_TYPES = (DocumentType.LEASE, DocumentType.RECEIPT, DocumentType.CHECKPOINT)


@click.group(cls=CommandGroup)
def keys() -> None:
    """Hand out the authority's public keys, and rotate its signing keys."""


@keys.command("export")
@with_session
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write there, not to stdout.")
@click.option("--jwks", is_flag=True, help="Only the keys of lease tokens, as any JOSE library reads them.")
def export(session: Session, output: Path | None, *, jwks: bool) -> None:
    """Write the public keys of leases, receipts and the ledger: authority.pub, all that offline verification needs."""
    with session.authority() as authority:
        public = public_keys_of(authority.engine.identity)
    data = public_jwks(public.leases).encode() if jwks else write_public_keys(public)
    write_output(output, [data])


@keys.command("rotate")
@with_session
@click.argument(
    "document", type=click.Choice([*(document_type.value for document_type in _TYPES), "all"]), default="all"
)
@click.option("--leaked", is_flag=True, help="Sign with the new key now, and trust no lease that an old one signed.")
def rotate(session: Session, document: str, *, leaked: bool) -> None:
    """Add a new signing key. It signs from five minutes later on; older ones verify what they signed until then.

    Processes that have this state open take it over by themselves, within a minute. On other machines they do so once
    the key files were copied there, which those five minutes are for. What an old key of leases signs after them is
    refused 15 minutes later.

    With --leaked nothing is waited for: leases that live are refused, and agents draw new ones. Other machines go on
    with the old key until they have the files.
    """
    files, system = session.files(), session.around.system
    rotated: dict[str, str] = {}
    now = system.now()
    retire_at = now.seconds - HARD_MAX_TTL_SECONDS if leaked else now.seconds + SPREAD_SECONDS
    for document_type in _TYPES:
        if document in (document_type, "all"):
            fresh = SigningKey.generate(system.random_bytes(32), created_at=now.seconds)
            path = files.key_ring(document_type)
            ring = rotate_key_ring(path, document_type, fresh, now=now, retire_at=retire_at)
            rotated[document_type] = ring.newest.kid
    session.give_fields(rotated, rotated.items())
    when = "now" if leaked else f"within {SPREAD_SECONDS // 60} minutes"
    session.say(
        f"other machines of this authority: copy the *.keys.json files there {when}; no process has to be started "
        "again. Hand the new public keys to those who verify: leasehold keys export"
    )
