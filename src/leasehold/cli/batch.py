"""Several requests approved together at a terminal: a table first, one question, a result for each. For `request`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from leasehold.authority import Authority
from leasehold.authority.batches import Item, ItemResult
from leasehold.authority.desk import Signatory
from leasehold.cli.asking import confirm
from leasehold.cli.cards import short_digest
from leasehold.cli.exits import ExitCode, Failure
from leasehold.cli.session import Session
from leasehold.model.card import Card
from leasehold.model.decision import Decision
from leasehold.model.request import Request, Verdict
from leasehold.model.sheet import Line, SectionName, lay_out

__all__ = ["approve_batch", "batch_digest"]


_SHOWN = (SectionName.CHANGES, SectionName.ACTION, SectionName.ARGUMENTS)


def batch_digest(items: Sequence[Item]) -> str:
    """The digest of a whole batch: which cards, in which order. What is confirmed is what is answered."""
    text = "".join(f"{item.request_id} {item.card_digest}\n" for item in items)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def approve_batch(
    session: Session,
    authority: Authority,
    request_ids: Sequence[str],
    signatory: Signatory,
    *,
    given: str | None,
    reason: str,
) -> None:
    """Show what is about to be approved, ask once, answer each, and say what became of each.

    Raises:
        InvalidError: a request stands twice, there are too many, or `given` is not the digest of what was shown.
        Failure: the person said no, or an item was not approved.
    """
    asked = [authority.find_request(request_id) for request_id in request_ids]
    items = [Item(request_id=request.request_id, card_digest=request.card_digest) for request in asked]
    for request in asked:
        _show(session, request, authority.desk.card(request), authority.desk.batchable(request))
    count = sum(authority.desk.batchable(request).is_allowed for request in asked)
    confirm(session, f"Approve {count} of these {len(items)}?", digest=batch_digest(items), given=given)
    results = authority.desk.answer_many(items, Verdict.APPROVE, signatory, reason=reason)
    session.give_table(
        [_value(result) for result in results],
        ("request", "state", "why not"),
        [(result.request_id, result.state or "not answered", _why(result)) for result in results],
    )
    session.say("recorded as given from the account that the authority runs under (same account)")
    missed = sum(not result.decision.is_allowed for result in results)
    if missed:
        raise Failure(f"{missed} of {len(results)} were not approved", ExitCode.DENIED)


def _show(session: Session, request: Request, card: Card, batchable: Decision) -> None:
    """One entry of the table: what would be done, with all that could deceive; the rest stands on the card itself."""
    sheet = lay_out(card)
    session.say(f"{request.request_id}  {short_digest(request.card_digest)}  {sheet.headline.text}")
    _warn(session, sheet.headline)
    for section in sheet.sections:
        if section.name in _SHOWN:
            session.say(f"    {section.title}")
            for line in section.lines:
                session.say(f"      {line.label}  {line.text}")
                _warn(session, line)
    if not batchable.is_allowed:
        session.say(f"    ! stays out: {batchable.check} does not hold; answer this one by itself")


def _warn(session: Session, line: Line) -> None:
    for words in line.warnings:
        session.say(f"      ! {words}")


def _why(result: ItemResult) -> str:
    return "" if result.decision.is_allowed else f"{result.decision.reason}: {result.decision.message}"


def _value(result: ItemResult) -> dict[str, object]:
    return {
        "request": result.request_id,
        "state": result.state,
        "approvals_missing": result.approvals_missing,
        "reason": result.decision.reason,
        "message": result.decision.message,
    }
