"""`leasehold person`: the keys and passwords by which people answer. A key file belongs to its person alone."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import click
import msgspec

from leasehold.authority import Authority
from leasehold.cli.extra import server_extra
from leasehold.cli.groups import CommandGroup
from leasehold.cli.session import Session, with_session
from leasehold.cli.stop import in_flight_lines, stopped_value
from leasehold.config import ensure_key_ring, is_there, open_state
from leasehold.decide.lifecycles import PersonState
from leasehold.decide.rows import PersonRow
from leasehold.decide.voices import sign_ins_of
from leasehold.errors import InvalidError
from leasehold.model.plain import escape
from leasehold.model.text import check_identifier
from leasehold.policy.document import Power
from leasehold.policy.shortage import Shortage, powers_only_of, routes_short_of_approvers
from leasehold.token.keys import DocumentType, PublicKey, SigningKey

__all__ = ["person"]


@click.group(cls=CommandGroup)
def person() -> None:
    """Add and remove people, their keys and passwords."""


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
        people = authority.engine.active_policy().people
    roles = people.get(name, ())
    session.give_fields(
        {"person": name, "key_id": public.kid, "file": str(path), "roles": list(roles)},
        [("person", name), ("key", public.kid), ("file", str(path)), ("roles", ", ".join(roles) or "none")],
    )
    if not roles:
        session.say(_without_role(name, people))


def _without_role(name: str, people: Collection[str]) -> str:
    meant = f"user:{name}"
    advice = f"did you mean {meant}?" if meant in people else f'add "{name}" = ["ROLE"] under [people] of the policy'
    return f"the active policy names no role of {name}, so their word counts for nothing yet; {advice}"


@person.command("list")
@with_session
def list_people(session: Session) -> None:
    """List the people who are known here, how they sign in, and the roles that they hold by the active policy."""
    with session.authority() as authority:
        policy, rows = authority.engine.active_policy(), authority.desk.people()
        roles = {
            row.person: sorted({*policy.people.get(row.person, ()), *authority.sign_ins.roles_of(row.person)})
            for row in rows
        }
    values = [
        {
            "person": row.person,
            "state": row.state,
            "key_id": _key_id(row),
            "sign_ins": [{"sign_in": known.sign_in, "method": known.method} for known in sign_ins_of(row)],
            "roles": roles[row.person],
        }
        for row in rows
    ]
    table = [
        (
            row.person,
            row.state,
            ", ".join(roles[row.person]) or "none",
            ", ".join(known.method for known in sign_ins_of(row)) or "none",
            _key_id(row),
        )
        for row in rows
    ]
    session.give_table(values, ("person", "state", "roles", "sign-ins", "key"), table)


def _key_id(row: PersonRow) -> str:
    return PublicKey.from_bytes(row.public_key).kid if row.public_key else "none"


@person.command("password")
@with_session
@click.argument("name", metavar="PERSON")
def password(session: Session, name: str) -> None:
    """Give a person a password for the console, in the place of the one they had. Asked for twice, at a terminal.

    Their sessions end, and answers that they gave under the old password count no more.
    """
    check_identifier(name, "person")
    if not session.around.is_interactive:
        raise InvalidError("a password is typed at a terminal, by its person; nobody can be asked here")
    with server_extra():
        from leasehold.http.passwords import Passwords
    typed = click.prompt(f"new password of {name}", hide_input=True, confirmation_prompt="once more", err=True)
    hashed = Passwords().hash(typed, person=name)
    with session.authority() as authority:
        sign_in = authority.sign_ins.set_password(name, hashed, by=session.around.account)
        people = authority.engine.active_policy().people
    roles = people.get(name, ())
    session.give_fields({"person": name, "sign_in": sign_in}, [("person", name), ("sign-in", sign_in)])
    if not roles:
        session.say(_without_role(name, people))


@person.command("remove")
@with_session
@click.argument("name", metavar="PERSON")
def remove(session: Session, name: str) -> None:
    """Remove a person's key and sign-ins: their sessions end, their answers count no more. Their runs go on; see
    offboard."""
    with session.authority() as authority:
        authority.desk.remove_person(name, by=session.around.account)
        _drop_file(session, name)
    session.give({"person": name, "status": "removed"}, ["status: removed"])


@person.command("offboard")
@with_session
@click.argument("name", metavar="PERSON")
@click.option("--reason", required=True, help="Words for the record.")
def offboard(session: Session, name: str, reason: str) -> None:
    """Let a person go: end what runs for them in every tenant, take key and sign-ins, say where they are still named.

    Nothing can be started for them any more until they are added again. If it was cut short, do it again.
    """
    check_identifier(name, "person")
    with session.authority_for_stops() as authority:
        done = authority.desk.offboard(name, by=session.around.account, reason=reason)
        _drop_file(session, name)
        left = _still_named(authority, name)
    status = "offboarded before" if done.is_repeat else "offboarded"
    access = "removed" if done.had_access else "none"
    value = {
        **stopped_value(done.stopped, status=status, reason=reason),
        "person": name,
        "entry": done.entry,
        "access": access,
    }
    lines = [f"status: {status}", f"reason: {escape(reason)}", f"access: {access}", f"entry: {done.entry}"]
    session.give({**value, **msgspec.to_builtins(left)}, [*lines, *in_flight_lines(done.stopped)])
    for words in _advice(name, left):
        session.say(words)


class _StillNamed(msgspec.Struct, frozen=True):
    """What the active policy still says of somebody who left: roles, routes now short of approvers, lost powers."""

    roles: tuple[str, ...]
    short: tuple[Shortage, ...]
    powers: tuple[Power, ...]


def _still_named(authority: Authority, name: str) -> _StillNamed:
    policy = authority.engine.active_policy()
    roles = policy.people.get(name, ())
    people = {row.person for row in authority.desk.people() if row.state == PersonState.ACTIVE} - {name}
    short = (each for each in routes_short_of_approvers(policy, people) if set(roles) & set(each.roles))
    return _StillNamed(roles, tuple(short), powers_only_of(policy, name))


def _advice(name: str, left: _StillNamed) -> Iterator[str]:
    if left.roles:
        yield f"the policy still names {name} ({', '.join(left.roles)}); take that line out and accept the policy"
    for short in left.short:
        yield (
            f"approvers with keys that {short.route} needs: {short.needed}; that are left: {len(short.ready)}; "
            f"its requests can only expire, so give somebody one of the roles {', '.join(short.roles)}"
        )
    if left.powers:
        yield f"nobody else whom the policy names can {', '.join(left.powers)}"


def _drop_file(session: Session, name: str) -> None:
    """A private key that counts for nothing is not kept."""
    path = open_state(session.directory()).person_key(name)
    if is_there(path):
        path.unlink()
        session.say(f"the key file {path} was deleted")
