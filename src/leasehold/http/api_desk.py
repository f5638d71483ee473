"""The Desk over HTTP: what a person may see and do with their key in hand, by the same desk as in the console."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import msgspec

from leasehold.authority import Authority
from leasehold.authority.person_desk import PersonDesk, Waiting
from leasehold.decide.stop import Stopped
from leasehold.http.api_calls import Answer, ApiCall, Handler, in_thread
from leasehold.model.api import (
    AnswerBody,
    AnsweredAnswer,
    CardAnswer,
    EntriesAnswer,
    EntriesQuery,
    InboxAnswer,
    InboxItem,
    LeaseAnswer,
    PageQuery,
    StandingStop,
    StopBody,
    StoppedAnswer,
    StopsAnswer,
)
from leasehold.model.endpoints import EndpointName
from leasehold.model.request import RequestState
from leasehold.model.scope import Scope
from leasehold.store.queries import LedgerQuery
from leasehold.token.person import AnswerStatement

__all__ = ["desk_handlers"]


def desk_handlers(authority: Authority) -> dict[EndpointName, Handler]:
    """What answers the endpoints of Desk. All of them read the database, so each runs in a thread."""
    handlers: dict[EndpointName, Callable[[ApiCall], Answer]] = {
        EndpointName.INBOX: _inbox,
        EndpointName.CARD: partial(_card, authority),
        EndpointName.ANSWER: _answer,
        EndpointName.REVOKE: lambda call: _stopped(_stop(call, call.desk.revoke)),
        EndpointName.HOLD: lambda call: _stopped(_stop(call, call.desk.hold)),
        EndpointName.LIFT: _lift,
        EndpointName.STOPS: _stops,
        EndpointName.ENTRIES: _entries,
        EndpointName.LEASE: _lease,
    }
    return {name: in_thread(handler) for name, handler in handlers.items()}


def _inbox(call: ApiCall) -> Answer:
    query = call.asked(PageQuery)
    waiting = call.desk.inbox()
    ids: list[str] = [each.request.request_id for each in waiting]
    begin = ids.index(query.after) + 1 if query.after in ids else 0
    page = waiting[begin : begin + query.limit]
    is_last = begin + query.limit >= len(waiting)
    return InboxAnswer(items=tuple(map(_item, page)), next="" if is_last else page[-1].request.request_id)


def _item(waiting: Waiting) -> InboxItem:
    return InboxItem(
        request=waiting.request,
        run=waiting.run,
        state=RequestState(waiting.row.state),
        answer_by=waiting.row.answer_by,
        approvals=waiting.approvals,
        missing=waiting.missing,
        refusal=waiting.refusal,
    )


def _card(authority: Authority, call: ApiCall) -> Answer:
    """The card with its footer; what the person may not see is not found."""
    desk, request_id = call.desk, call.ids[0]
    card = desk.card(request_id)
    return CardAnswer(card=card, footer=authority.desk.footer(desk.waiting(request_id).request))


def _answer(call: ApiCall) -> Answer:
    body, desk = call.sent(AnswerBody), call.desk
    statement = AnswerStatement(
        request_id=desk.waiting(call.ids[0]).request.request_id,
        card_digest=body.card_digest,
        verdict=body.verdict,
        answered_at=body.answered_at,
        person=desk.person,
    )
    answered = desk.record_answer(statement, body.signature, shown=body.shown, reason=body.reason)
    return AnsweredAnswer(state=answered.state, approvals_missing=answered.approvals_missing)


def _stop(call: ApiCall, act: Callable[..., Stopped]) -> Stopped:
    body = call.sent(StopBody)
    return act(Scope.parse(body.scope), reason=body.reason, tenant=body.tenant)


def _stopped(stopped: Stopped) -> Answer:
    return StoppedAnswer(scope=str(stopped.scope), in_flight=stopped.in_flight, unreadable=stopped.unreadable)


def _lift(call: ApiCall) -> Answer:
    body = call.sent(StopBody)
    scope = call.desk.lift(Scope.parse(body.scope), reason=body.reason, tenant=body.tenant)
    return StoppedAnswer(scope=str(scope))


def _stops(call: ApiCall) -> Answer:
    return StopsAnswer(items=standing_of(call.desk))


def standing_of(desk: PersonDesk) -> tuple[StandingStop, ...]:
    """What is held or revoked now, as this person may see it."""
    return tuple(
        StandingStop(tenant=stop.tenant, scope=stop.scope, kind=stop.kind, at=stop.at, by=stop.by, reason=stop.reason)
        for stop in desk.standing()
    )


def _entries(call: ApiCall) -> Answer:
    query = call.asked(EntriesQuery)
    found = call.desk.search(
        LedgerQuery(
            tenants=[query.tenant] if query.tenant else None,
            run=query.run,
            lease=query.lease,
            agent=query.agent,
            person=query.person,
            action=query.action,
            key=query.key,
            admission=query.admission,
            decision=query.decision,
            limit=query.limit,
            before=query.before,
        )
    )
    is_last = len(found) < query.limit
    items = tuple(msgspec.to_builtins(entry) for entry in found)
    return EntriesAnswer(items=items, next="" if is_last else str(found[-1].index))


def _lease(call: ApiCall) -> Answer:
    status = call.desk.lease_status(call.ids[0])
    return LeaseAnswer(
        lease=status.chain[-1].lease,
        status=status.status,
        decision=status.decision,
        seconds_left=status.seconds_left,
        left={row.unit: max(0, row.limit - row.settled - row.reserved - row.unknown) for row in status.accounts},
    )
