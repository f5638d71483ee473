"""`leasehold keys`: hand out the public halves of the authority's keys, and replace the private ones."""

from __future__ import annotations

from pathlib import Path

import click

from leasehold.cli.files import write_output
from leasehold.cli.public_keys import public_keys_of, write_public_keys
from leasehold.cli.session import Session, with_session
from leasehold.config import rotate_key_ring
from leasehold.token.jwk import public_jwks
from leasehold.token.keys import DocumentType, SigningKey

__all__ = ["keys"]

_TYPES = (DocumentType.LEASE, DocumentType.RECEIPT, DocumentType.CHECKPOINT)


@click.group()
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
def rotate(session: Session, document: str) -> None:
    """Put a new signing key in front. Older ones go on verifying for as long as what they signed can matter.

    Processes that have this state open sign with the old keys until they are started again, or meet a lease that the
    new one signed. Leases that an old key signs later than 15 minutes from now are refused.
    """
    files, system = session.files(), session.around.system
    rotated: dict[str, str] = {}
    for document_type in _TYPES:
        if document in (document_type, "all"):
            fresh = SigningKey.generate(system.random_bytes(32), created_at=system.now().seconds)
            ring = rotate_key_ring(files.key_ring(document_type), document_type, fresh, now=system.now())
            rotated[document_type] = ring.newest.kid
    session.give_fields(rotated, rotated.items())
    session.say(
        "copy this state directory to the other machines, then start every process again within 15 minutes; hand the "
        "new public keys to those who verify: leasehold keys export"
    )
