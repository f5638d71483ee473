"""`leasehold break-glass`: two people skip listed rules of a route for minutes, at a terminal, with their keys.

It asks for a terminal because it is for people: there is no option that stands in for the questions.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import assert_never

import click

from leasehold.authority.glass import Wish
from leasehold.cli.asking import confirm
from leasehold.cli.command import run_command
from leasehold.cli.groups import CommandGroup
from leasehold.cli.session import Session, with_session
from leasehold.decide.lifecycles import GlassState
from leasehold.decide.rows import GlassRow
from leasehold.errors import InvalidError
from leasehold.model.glass import MAX_MINUTES, Opening, Skippable
from leasehold.model.plain import escape
from leasehold.model.times import show_countdown, show_time
from leasehold.token.digest import sha256_digest
from leasehold.token.glass import opening_bytes, sign_opening

__all__ = ["break_glass"]

_AS = click.option("--as", "person", required=True, metavar="PERSON", help="Who you are.")
_KEY_FILE = click.option("--key-file", type=click.Path(path_type=Path), help="Your key file.")
_WORD = "break glass"


@click.group("break-glass", cls=CommandGroup)
def break_glass() -> None:
    """Skip rules of a route that the policy lists, for minutes, as two people. Every use alarms."""


@break_glass.command("open")
@with_session
@click.option("--route", required=True)
@click.option("--tenant", required=True)
@click.option("--environment", required=True)
@click.option("--action", "actions", multiple=True, required=True, help="What you need to do; once for each.")
@click.option(
    "--skip",
    "skips",
    multiple=True,
    required=True,
    type=click.Choice([str(skip) for skip in Skippable]),
    help="Which rule.",
)
@click.option("--minutes", type=click.IntRange(1, MAX_MINUTES), required=True)
@click.option("--reason", required=True, help="Words for the record, and for whoever reviews it.")
@_AS
@_KEY_FILE
@click.option("--second", required=True, metavar="PERSON", help="Who confirms it, here, with their own key.")
@click.option("--second-key-file", type=click.Path(path_type=Path), help="Their key file.")
def open_glass(
    session: Session,
    actions: Sequence[str],
    skips: Sequence[str],
    person: str,
    key_file: Path | None,
    second: str,
    second_key_file: Path | None,
    **wanted: str | int,
) -> None:
    """Open it: both look at the same words, both type what stands there, both keys sign them."""
    _need_terminal(session)
    wish = Wish(
        opener=person,
        second=second,
        actions=tuple(actions),
        skips=tuple(map(Skippable, skips)),
        tenant=str(wanted["tenant"]),
        environment=str(wanted["environment"]),
        route=str(wanted["route"]),
        minutes=int(wanted["minutes"]),
        reason=str(wanted["reason"]),
    )
    with session.authority() as authority:
        opening = authority.break_glass.propose(wish)
        signatures = [
            _sign(session, opening, name, path) for name, path in ((person, key_file), (second, second_key_file))
        ]
        authority.break_glass.open(opening, *signatures)
        left = opening.ends_at - session.around.system.now().seconds
    session.give_fields(
        {"glass": opening.glass_id, "ends_at": opening.ends_at, "run": opening.run_id},
        [("glass", opening.glass_id), ("ends-in", show_countdown(left)), ("run", opening.run_id)],
    )
    session.say(f"this was alarmed; when you are done: leasehold break-glass close {opening.glass_id}")


@break_glass.command("use", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@with_session
@_AS
@_KEY_FILE
@click.option("--key", help="The idempotency key that a write needs; the same key never runs twice.")
@click.argument("glass_id", metavar="GLASS")
@click.argument("action")
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[--NAME VALUE]... -- COMMAND...")
def use(
    session: Session,
    person: str,
    key_file: Path | None,
    key: str | None,
    glass_id: str,
    action: str,
    words: Sequence[str],
) -> None:
    """Run COMMAND as ACTION past the rules that were skipped, as its opener; otherwise as `leasehold exec`."""
    _need_terminal(session)
    with session.authority() as authority:
        held = authority.break_glass.held(glass_id)
        left = held.lease.expires_at - session.around.system.now().seconds
        session.say(f"break-glass ends in {show_countdown(left)}")
        doors = authority.break_glass.doors(session.signatory(person, key_file))
        run_command(doors, held, (action, words), key=key)


@break_glass.command("close")
@with_session
@click.argument("glass_id", metavar="GLASS")
def close(session: Session, glass_id: str) -> None:
    """End it before its time. As with every stop, nobody is asked who they are."""
    with session.authority_for_stops() as authority:
        row = authority.break_glass.close(glass_id)
    session.give(_value(row), [f"status: {row.state}", f"review-by: {show_time(row.review_by)}"])
    session.say(
        f"somebody else writes what they think of it: leasehold break-glass review {glass_id} --as PERSON --words ..."
    )


@break_glass.command("review")
@with_session
@click.argument("glass_id", metavar="GLASS")
@click.option("--words", required=True, help="What you think of it: was it needed, was it right, what has to change.")
@_AS
@_KEY_FILE
def review(session: Session, glass_id: str, words: str, person: str, key_file: Path | None) -> None:
    """Write down what you think of one that is over. Whoever opened it cannot."""
    with session.authority() as authority:
        row = authority.break_glass.review(glass_id, session.signatory(person, key_file), words)
    session.give(_value(row), [f"status: {row.state}"])


@break_glass.command("list")
@with_session
def list_glasses(session: Session) -> None:
    """List every break-glass, the newest first, with the time that is left or by when it has to be reviewed."""
    with session.authority() as authority:
        rows = authority.break_glass.all()
    now = session.around.system.now().seconds
    session.give_table(
        [_value(row) for row in rows],
        ("glass", "status", "opener", "second", "tenant", "route", "left or review"),
        [(row.glass_id, row.state, row.opener, row.second, row.tenant, row.route, _due(row, now)) for row in rows],
    )


def _need_terminal(session: Session) -> None:
    """A person has to be there to be asked; a program that runs this has nobody."""
    if not session.around.is_interactive:
        raise InvalidError("break-glass is for people at a terminal, and there is none here")


def _sign(session: Session, opening: Opening, person: str, key_file: Path | None) -> str:
    """Show one person what they sign, have them type that they mean it, and sign it with their key."""
    for name, text in _lines(opening):
        session.say(f"{name}: {escape(text)}")
    digest = sha256_digest(opening_bytes(opening))
    confirm(session, f"{escape(person)}, do you want this?", digest=digest, given=None, words=[_WORD])
    return sign_opening(opening, session.signatory(person, key_file).key)


def _lines(opening: Opening) -> list[tuple[str, str]]:
    return [
        ("break-glass", f"{opening.route} in {opening.tenant}, {opening.environment}"),
        ("to do", ", ".join(opening.actions)),
        ("skips", ", ".join(opening.skips)),
        ("opener", opening.opener),
        ("second", opening.second),
        ("minutes", str(opening.minutes)),
        ("reason", opening.reason),
    ]


def _value(row: GlassRow) -> dict[str, object]:
    return {
        "glass": row.glass_id,
        "status": row.state,
        "opener": row.opener,
        "second": row.second,
        "tenant": row.tenant,
        "route": row.route,
        "ends_at": row.ends_at,
        "review_by": row.review_by,
        "reviewed_by": row.reviewed_by,
    }


def _due(row: GlassRow, now: int) -> str:
    state = GlassState(row.state)
    match state:
        case GlassState.OPEN:
            return show_countdown(row.ends_at - now) if row.ends_at > now else "over; close it"
        case GlassState.CLOSED:
            return f"review by {show_time(row.review_by)}"
        case GlassState.REVIEWED:
            return f"reviewed by {row.reviewed_by}"
        case GlassState.PROPOSED:
            return f"waits for {row.second}, in the console"
        case GlassState.DECLINED | GlassState.LAPSED:
            return "never opened"
        case _:
            assert_never(state)
