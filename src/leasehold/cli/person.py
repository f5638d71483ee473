"""`leasehold person`: the keys by which people answer. A key file belongs to its person and to nobody else."""

from __future__ import annotations

from pathlib import Path

import click

from leasehold.authority import Authority
from leasehold.cli.session import Session, with_session
from leasehold.cli.stop import give_stopped
from leasehold.config import ensure_key_ring, open_state
from leasehold.decide.lifecycles import PersonState
from leasehold.model.scope import Scope, ScopeKind
from leasehold.model.text import check_identifier
from leasehold.token.keys import DocumentType, PublicKey, SigningKey

__all__ = ["person"]


@click.group()
def person() -> None:
    """Add and remove the keys of people."""


@person.command("add")
@with_session
@click.argument("name", metavar="PERSON")
@click.option(
    "--key",
    type=click.Path(path_type=Path),
    help="Where to write the key file (mode 0600); by default into the state directory.",
)
def add(session: Session, name: str, key: Path | None) -> None:
    """Make a key for a person, such as user:ana, and record its public half.

    What their word counts for stands in the policy: the roles under [people], and the approvers of each route.
    """
    check_identifier(name, "person")
    with session.authority() as authority:
        path = key or open_state(session.directory()).person_key(name)
        system = session.around.system
        fresh = SigningKey.generate(system.random_bytes(32), created_at=system.now().seconds)
        public = ensure_key_ring(path, DocumentType.ANSWER, fresh).newest.public()
        authority.desk.add_person(name, public, by=session.around.account)
        roles = authority.engine.active_policy().people.get(name, ())
    session.give_fields(
        {"person": name, "key": public.kid, "file": str(path), "roles": list(roles)},
        [("person", name), ("key", public.kid), ("file", str(path)), ("roles", ", ".join(roles) or "none")],
    )
    if not roles:
        session.say(f"the active policy names no role of {name}, so their word counts for nothing yet")


@person.command("list")
@with_session
def list_people(session: Session) -> None:
    """List the people whose keys are known here, with the roles that the active policy gives them."""
    with session.authority() as authority:
        policy, rows = authority.engine.active_policy(), authority.desk.people()
    found = [
        (row.person, row.state, PublicKey.from_bytes(row.public_key).kid, policy.people.get(row.person, ()))
        for row in rows
    ]
    values = [{"person": who, "state": state, "key": kid, "roles": list(roles)} for who, state, kid, roles in found]
    session.give_table(
        values,
        ("person", "state", "roles", "key"),
        [(who, state, ", ".join(roles) or "none", kid) for who, state, kid, roles in found],
    )


@person.command("remove")
@with_session
@click.argument("name", metavar="PERSON")
def remove(session: Session, name: str) -> None:
    """Remove a person's key: their answers count no more. Their runs go on; see offboard."""
    with session.authority() as authority:
        authority.desk.remove_person(name, by=session.around.account)
        _drop_file(session, name)
    session.give({"person": name, "status": "removed"}, ["status: removed"])


@person.command("offboard")
@with_session
@click.argument("name", metavar="PERSON")
@click.option("--reason", required=True, help="Words for the record.")
def offboard(session: Session, name: str, reason: str) -> None:
    """Let a person go: remove their key, and revoke everything that was started for them."""
    scope = Scope(ScopeKind.PERSON, check_identifier(name, "person"))
    with session.authority_for_stops() as authority:
        stopped = authority.desk.revoke(scope, by=session.around.account, reason=reason)
        if _has_key(authority, name):
            authority.desk.remove_person(name, by=session.around.account)
            _drop_file(session, name)
        roles = authority.engine.active_policy().people.get(name, ())
    give_stopped(session, stopped, status="offboarded", reason=reason)
    if roles:
        session.say(f"the policy still names {name} ({', '.join(roles)}); take that line out and accept the policy")


def _has_key(authority: Authority, name: str) -> bool:
    return any(row.person == name and row.state == PersonState.ACTIVE for row in authority.desk.people())


def _drop_file(session: Session, name: str) -> None:
    """A private key that counts for nothing is not kept."""
    path = open_state(session.directory()).person_key(name)
    if path.exists():
        path.unlink()
        session.say(f"the key file {path} was deleted")
