"""`leasehold request`: make, look at and answer requests. An answer is signed with the person's own key."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
import msgspec

from leasehold.authority import Authority
from leasehold.authority.load import read_load
from leasehold.cli.asking import confirm
from leasehold.cli.batch import approve_batch
from leasehold.cli.cards import render_card, short_digest
from leasehold.cli.edit import edit
from leasehold.cli.groups import CommandGroup
from leasehold.cli.pairs import parse_attributes, parse_grant
from leasehold.cli.session import Session, with_session
from leasehold.decide.answer import Answered
from leasehold.decide.approvals import answers_of
from leasehold.decide.rows import RequestRow
from leasehold.errors import Denied, InvalidError
from leasehold.ledger.load import Tally
from leasehold.model.card import Card, Footer, card_json
from leasehold.model.effect import Effect
from leasehold.model.instant import Instant
from leasehold.model.plain import escape
from leasehold.model.proof import ChatProof, PasskeyProof, SessionProof
from leasehold.model.request import Answer, Request, RequestState, Verdict
from leasehold.model.times import parse_time, show_countdown, show_time

__all__ = ["request"]

_PERSON = click.option("--as", "person", required=True, metavar="PERSON", help="Who answers, such as user:ben.")
_KEY = click.option(
    "--key",
    type=click.Path(path_type=Path),
    help="The person's key file; by default the one that stands in the state directory.",
)
_DIGEST = click.option("--digest", metavar="HEX", help="At least 8 digits of the card digest that was seen.")


@click.group(cls=CommandGroup)
def request() -> None:
    """Make, look at and answer requests."""


request.add_command(edit)


@request.command("make")
@with_session
@click.argument("run_id", metavar="RUN")
@click.option(
    "--allow", "grants", multiple=True, required=True, metavar="GRANT", help="Such as 'ticket.close ticket=T-18421'."
)
@click.option("--reason", required=True, help="Why it is needed; people see it as the agent's words.")
@click.option("--budget", multiple=True, metavar="UNIT=AMOUNT", help="Less than the route's budget.")
@click.option("--ttl", "ttl_seconds", type=click.IntRange(0, 900), default=0, help="Seconds that each lease lives.")
def make(
    session: Session, run_id: str, grants: Sequence[str], reason: str, budget: Sequence[str], ttl_seconds: int
) -> None:
    """Ask for a lease and print the request's id.

    A GRANT is an action and what its attributes may be: name=value, once for each value, or name:=JSON for a number
    or a table.
    """
    allow = dict(map(parse_grant, grants))
    if len(allow) < len(grants):
        raise InvalidError("an action stands twice in --allow; give all its attributes in one")
    with session.authority() as authority:
        asked = authority.request(
            authority.run(run_id),
            allow,
            reason=reason,
            budget=parse_attributes(budget),
            ttl_seconds=ttl_seconds,
        )
        state = authority.runs.request_state(asked)
    session.give({"request": asked.request_id, "state": state}, [asked.request_id])
    session.say(f"{state}; card {short_digest(asked.card_digest)}")


@request.command("list")
@with_session
@click.option("--run", "run_id", metavar="RUN", help="All of one run, whatever became of them.")
def list_requests(session: Session, run_id: str | None) -> None:
    """List requests that wait for people, the oldest first."""
    with session.authority() as authority:
        found = [(asked, authority.desk.request_row(asked)) for asked in _listed(authority, run_id)]
        cards = [_headline(authority, asked) for asked, _ in found]
    now = session.around.system.now()
    if run_id is None:
        cards = [card for card, (_, row) in zip(cards, found, strict=True) if not now.reached(row.answer_by)]
        found = [(asked, row) for asked, row in found if not now.reached(row.answer_by)]
    values = [_value(asked, row, now) for asked, row in found]
    cells = [
        (asked.request_id, _state(row, now), asked.kind, headline, asked.run_id, _time_left(row, now))
        for headline, (asked, row) in zip(cards, found, strict=True)
    ]
    session.give_table(values, ("request", "state", "kind", "what", "run", "answer within"), cells)


@request.command("inspect")
@with_session
@click.argument("request_id", metavar="REQUEST")
def inspect(session: Session, request_id: str) -> None:
    """Show a request's card, exactly as approvals name it, and its answers."""
    with session.authority() as authority:
        asked = authority.find_request(request_id)
        row, card = authority.desk.request_row(asked), authority.desk.kept_card(asked)
        footer = authority.desk.footer(asked)
    now, answers = session.around.system.now(), answers_of(row)
    shown = None if card is None else card_json(card)
    value = {**_value(asked, row, now), "card": shown, "footer": footer, "answers": list(answers)}
    erased = f"card erased; its digest was {asked.card_digest}"
    lines = [erased] if card is None else _render(session, card, footer).splitlines()
    lines += [f"state: {_state(row, now)}", *map(_answer_line, answers)]
    session.give(value, lines)


@request.command("approve")
@with_session
@click.argument("request_ids", metavar="REQUEST...", nargs=-1, required=True)
@_PERSON
@_KEY
@_DIGEST
@click.option("--reason", default="", help="Words for the record.")
def approve(
    session: Session, request_ids: Sequence[str], person: str, key: Path | None, digest: str | None, reason: str
) -> None:
    """Show the card, then approve it as a person, signed with their key.

    At a terminal you are asked, and have to type the name of each destructive action. Scripts name what they saw
    instead: --digest with 8 or more digits of the card digest. Several requests are shown as a table and confirmed
    together, each answered by itself; what is destructive or takes two people is never among them.
    """
    with session.authority() as authority:
        signatory = session.signatory(person, key)
        if len(request_ids) > 1:
            approve_batch(session, authority, request_ids, signatory, given=digest, reason=reason)
            return
        asked = authority.find_request(request_ids[0])
        _check_answerable(authority, asked, person)
        card = _show_card(session, authority, asked)
        confirm(
            session,
            f"Approve {escape(card.headline)}?",
            digest=asked.card_digest,
            given=digest,
            words=[line.action for line in card.lines if line.effect == Effect.DESTRUCTIVE],
        )
        answered = authority.desk.answer(asked, Verdict.APPROVE, signatory, reason=reason)
    _give_answer(session, asked, answered, person)


@request.command("deny")
@with_session
@click.argument("request_id", metavar="REQUEST")
@_PERSON
@_KEY
@_DIGEST
@click.option("--reason", default="", help="Words for the agent and the record.")
def deny(session: Session, request_id: str, person: str, key: Path | None, digest: str | None, reason: str) -> None:
    """Show the card, then deny it as a person, signed with their key. A no needs no second question."""
    with session.authority() as authority:
        signatory = session.signatory(person, key)
        asked = authority.find_request(request_id)
        _check_answerable(authority, asked, person)
        _show_card(session, authority, asked)
        if digest is not None:
            confirm(session, "", digest=asked.card_digest, given=digest)
        answered = authority.desk.answer(asked, Verdict.DENY, signatory, reason=reason)
    _give_answer(session, asked, answered, person)


@request.command("load")
@with_session
@click.option("--since", default="7d", show_default=True, help="today, yesterday, 2h, 7d, 2026-05-06; days are UTC.")
def load(session: Session, since: str) -> None:
    """Show how much people are asked and how they answer: by rule, then by person.

    A rule that is approved nearly always and within seconds is noise: make it a policy, or remove it.
    """
    now = session.around.system.now()
    with session.authority() as authority:
        found = read_load(authority.engine.store.queries, since=parse_time(since, now), until=now)
    value = {"since_ms": found.since_ms, "until_ms": found.until_ms, "per_hour": round(found.per_hour, 3)}
    groups = [("total", (found.total,)), ("rule", found.rules), ("person", found.approvers)]
    tallies = [(group, tally) for group, members in groups for tally in members]
    session.give_table(
        [{**value, "group": group, **_tally_value(tally)} for group, tally in tallies],
        ("", "whose", "asked", "approved", "denied", "open", "share", "median"),
        [_tally_cells(group, tally) for group, tally in tallies],
    )
    session.say(f"{found.per_hour:.1f} requests an hour waited for people")
    for tally in found.rules:
        if tally.is_rubber_stamp:
            session.say(f"approved out of habit: {escape(tally.subject)}; make it a policy, or remove it")


@request.command("withdraw")
@with_session
@click.argument("request_id", metavar="REQUEST")
def withdraw(session: Session, request_id: str) -> None:
    """Take a pending request back."""
    with session.authority() as authority:
        state = authority.runs.withdraw(authority.find_request(request_id))
    session.give({"request": request_id, "state": state}, [state])


def _listed(authority: Authority, run_id: str | None) -> Sequence[Request]:
    if run_id is None:
        return authority.desk.pending()
    attempt = authority.run(run_id)
    rows = authority.engine.store.queries.requests_of_run(attempt.tenant, run_id)
    return [authority.find_request(row.request_id) for row in rows]


def _headline(authority: Authority, asked: Request) -> str:
    card = authority.desk.kept_card(asked)
    return "(card erased)" if card is None else card.headline


def _check_answerable(authority: Authority, asked: Request, person: str) -> None:
    """Say first that it is decided, or not theirs to answer: nobody reads a card for that."""
    if (refusal := authority.desk.refuse_answer(asked, person)) is not None:
        raise Denied(refusal)


def _show_card(session: Session, authority: Authority, asked: Request) -> Card:
    card = authority.desk.card(asked)
    session.say(_render(session, card, authority.desk.footer(asked)).rstrip("\n"))
    return card


def _render(session: Session, card: Card, footer: Footer) -> str:
    return render_card(card, width=session.around.width, colour=session.around.has_colour, footer=footer)


def _give_answer(session: Session, asked: Request, answered: Answered, person: str) -> None:
    value = {
        "request": asked.request_id,
        "state": answered.state,
        "approvals_missing": answered.approvals_missing,
        "person": person,
        "same_account": True,
    }
    missing = answered.approvals_missing
    more = f"; {missing} more {'approval is' if missing == 1 else 'approvals are'} needed" if missing else ""
    session.give(value, [f"{answered.state}{more}"])
    session.say("recorded as given from the account that the authority runs under (same account)")


def _state(row: RequestRow, now: Instant) -> str:
    """Its recorded state, or what the clock and the stops make of it before a sweep has written that down."""
    if row.revoked or row.held:
        return "revoked" if row.revoked else "held"
    is_late = row.state == RequestState.PENDING and now.reached(row.answer_by)
    return RequestState.EXPIRED if is_late else row.state


def _time_left(row: RequestRow, now: Instant) -> str:
    return show_countdown(row.answer_by - now.seconds) if row.state == RequestState.PENDING else "-"


def _value(asked: Request, row: RequestRow, now: Instant) -> dict[str, object]:
    return {
        "request_id": asked.request_id,
        "state": _state(row, now),
        "kind": asked.kind,
        "tenant": asked.tenant,
        "run_id": asked.run_id,
        "attempt": asked.attempt,
        "card_digest": asked.card_digest,
        "answer_by": row.answer_by,
    }


def _tally_value(tally: Tally) -> dict[str, object]:
    value: dict[str, object] = msgspec.to_builtins(tally)
    return {**value, "approved_percent": tally.approved_percent, "is_rubber_stamp": tally.is_rubber_stamp}


def _tally_cells(group: str, tally: Tally) -> tuple[str, ...]:
    counts = (tally.asked, tally.approved, tally.denied, tally.open)
    share = "-" if tally.approved_percent is None else f"{tally.approved_percent} %"
    wait = "-" if tally.median_ms is None else f"{tally.median_ms / 1000:.1f} s"
    return (group, tally.subject, *map(str, counts), share, wait)


def _answer_line(answer: Answer) -> str:
    words = f": {answer.reason}" if answer.reason else ""
    account = ", same account" if answer.same_account else ""
    proof = f", signed in by {answer.proof.method}" if isinstance(answer.proof, SessionProof) else ""
    proof = ", signed with a passkey" if isinstance(answer.proof, PasskeyProof) else proof
    proof = f", in the chat of {answer.proof.channel}" if isinstance(answer.proof, ChatProof) else proof
    return escape(f"{answer.verdict} by {answer.person} at {show_time(answer.answered_at)}{proof}{account}{words}")
