"""The inbox: what waits for people, newest state by server-sent events, several answered together.

Requests that say the same, such as one agent asking the same of several runs, stand together under one headline.
"""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from leasehold.authority.person_desk import PersonDesk, Waiting
from leasehold.console.drawing import draw_page, viewer_of
from leasehold.console.live import fingerprint
from leasehold.http.events import event_stream
from leasehold.model.card import Card
from leasehold.model.effect import Effect
from leasehold.model.request import RequestKind

__all__ = ["Inbox", "InboxItem", "Matter", "inbox_page", "inbox_routes", "refuse_batch", "strongest_effect"]


class InboxItem(msgspec.Struct, frozen=True, kw_only=True):
    """One request that waits. `not_mine` says why this person cannot answer, `not_batched` why not with others."""

    request_id: str
    run_id: str
    attempt: int
    answer_by: int
    approvals: int
    quorum: int
    not_mine: str
    not_batched: str


class Matter(msgspec.Struct, frozen=True, kw_only=True):
    """Requests that say the same."""

    headline: str
    kind: str
    effect: str
    agent: str
    requested_by: str
    reason: str
    items: tuple[InboxItem, ...]


class Inbox(msgspec.Struct, frozen=True, kw_only=True):
    """What waits for this person's word, and what waits for others, each the most urgent first."""

    mine: tuple[Matter, ...]
    others: tuple[Matter, ...]

    @property
    def batch_size(self) -> int:
        """How many requests this person could answer together."""
        return sum(not item.not_batched for matter in self.mine for item in matter.items)


def inbox_page(waiting: tuple[Waiting, ...]) -> Inbox:
    """The inbox of what waits, which the desk lists the oldest first."""
    matters: dict[str, list[Waiting]] = {}
    for each in waiting:
        matters.setdefault(_says(each), []).append(each)
    made = [_matter(alike) for alike in matters.values()]
    made.sort(key=lambda matter: min(item.answer_by for item in matter.items))
    return Inbox(
        mine=tuple(matter for matter in made if not matter.items[0].not_mine),
        others=tuple(matter for matter in made if matter.items[0].not_mine),
    )


def strongest_effect(card: Card) -> Effect:
    """The strongest effect of what a card asks for."""
    return max((Effect(line.effect) for line in card.lines), key=lambda effect: effect.rank)


def refuse_batch(waiting: Waiting) -> str:
    """Why this request is answered on its own card only; empty if it may be answered together with others."""
    if waiting.refusal is not None:
        return waiting.refusal.message
    if waiting.card is None:
        return "its card is not kept any more"
    if strongest_effect(waiting.card) is Effect.DESTRUCTIVE:
        return "it is destructive: answer it on its own card"
    if waiting.card.quorum > 1:
        return f"it needs {waiting.card.quorum} people: answer it on its own card"
    return ""


def _says(waiting: Waiting) -> str:
    """What a request says to this person: equal for those that say the same."""
    card = waiting.card
    if card is None:
        return waiting.request.request_id
    said = (card.headline, card.kind, card.agent, card.requested_by, card.route, card.reason, card.lines)
    return fingerprint((waiting.refusal is None, *said))


def _matter(alike: list[Waiting]) -> Matter:
    first, card = alike[0], alike[0].card
    return Matter(
        headline=card.headline if card is not None else first.request.request_id,
        kind="one call" if first.request.kind is RequestKind.CALL else "a lease",
        effect=strongest_effect(card) if card is not None else "",
        agent=first.run.agent,
        requested_by=first.run.requested_by,
        reason=first.request.reason,
        items=tuple(map(_item, alike)),
    )


def _item(waiting: Waiting) -> InboxItem:
    return InboxItem(
        request_id=waiting.request.request_id,
        run_id=waiting.run.run_id,
        attempt=waiting.request.attempt,
        answer_by=waiting.request.answer_by,
        approvals=len(waiting.approvals),
        quorum=len(waiting.approvals) + waiting.missing,
        not_mine=waiting.refusal.message if waiting.refusal is not None else "",
        not_batched=refuse_batch(waiting),
    )


def inbox(request: Request) -> Response:
    """What waits."""
    page = inbox_page(viewer_of(request).inbox())
    return draw_page(request, "inbox.html", here="inbox", page=page, shown=_shown(viewer_of(request)))


async def inbox_events(request: Request) -> Response:
    """Tells the browser when what waits has changed."""
    viewer = viewer_of(request)
    return event_stream(request, lambda: _shown(viewer))


def _shown(viewer: PersonDesk) -> str:
    """The fingerprint of what waits, and of break-glass that is open: the page that people leave open tells of it."""
    return fingerprint((inbox_page(viewer.inbox()), viewer.glass.glance()))


def inbox_routes() -> list[BaseRoute]:
    """The pages of the inbox."""
    return [Route("/", inbox), Route("/events/inbox", inbox_events)]
