"""`leasehold request edit`: put an edited request in the place of one that waits. Added to the group by `program`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from leasehold.cli.cards import render_card, short_digest
from leasehold.cli.pairs import parse_attributes, parse_grant
from leasehold.cli.session import Session, with_session
from leasehold.errors import InvalidError
from leasehold.model.plain import escape

__all__ = ["edit"]


@click.command("edit")
@with_session
@click.argument("request_id", metavar="REQUEST")
@click.option("--as", "person", required=True, metavar="PERSON", help="Who edits, such as user:ben.")
@click.option("--key", type=click.Path(path_type=Path), help="The person's key file.")
@click.option("--set", "arguments", multiple=True, metavar="NAME=VALUE", help="Of a call, an argument that changes.")
@click.option("--allow", "grants", multiple=True, metavar="GRANT", help="Of a lease, what it may do instead.")
def edit(
    session: Session, request_id: str, person: str, key: Path | None, arguments: Sequence[str], grants: Sequence[str]
) -> None:
    """Edit a request that waits; policy judges it anew, and somebody else has to approve it.

    The action stays what it was. A value is NAME=TEXT, or NAME:=JSON for a number, a boolean or a list; a GRANT is
    written as in `request make`. The agent is told at its next step.
    """
    allow = dict(map(parse_grant, grants))
    if len(allow) < len(grants):
        raise InvalidError("an action stands twice in --allow; give all its attributes in one")
    with session.authority() as authority:
        signatory = session.signatory(person, key)
        original = authority.find_request(request_id)
        edited = authority.desk.edit(
            original,
            signatory,
            arguments=parse_attributes(arguments) if arguments else None,
            allow=allow if grants else None,
        )
        card, footer = authority.desk.card(edited), authority.desk.footer(edited)
    session.say(
        render_card(card, width=session.around.width, colour=session.around.has_colour, footer=footer).rstrip("\n")
    )
    value = {"request": edited.request_id, "edited_from": original.request_id, "person": person, "state": footer.state}
    session.give(value, [edited.request_id])
    session.say(
        f"{footer.state}; card {short_digest(edited.card_digest)}; it takes {escape(person)} and the requester out of "
        "those who may approve"
    )
