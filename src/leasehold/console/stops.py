"""Holds: what is stopped now, and the form that holds, revokes or lifts any scope. It answers with what is in flight.

Stopping needs no second question: it is the safe side. Lifting does need the power, which the desk judges.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from leasehold.console.drawing import draw_page, tokens_of, viewer_of
from leasehold.errors import InvalidError
from leasehold.http.forms import check_token, read_form
from leasehold.model.call import Admission
from leasehold.model.scope import Scope, ScopeKind
from leasehold.policy.document import Power

__all__ = ["Deed", "Done", "StopForm", "read_stop", "stop_routes"]

MAX_WORDS = 2000


class Deed(StrEnum):
    """What the form can do."""

    HOLD = "hold"
    REVOKE = "revoke"
    LIFT = "lift"


class StopForm(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for."""

    deed: Deed
    scope: Scope
    tenant: str
    reason: str


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it. `in_flight` are the calls that were admitted and not settled; they end by themselves."""

    form: StopForm
    in_flight: tuple[Admission, ...] = ()
    unreadable: tuple[str, ...] = ()


def read_stop(form: dict[str, str]) -> StopForm:
    """What a posted form asks for.

    Raises:
        InvalidError: no deed, no scope, or no reason.
    """
    deed, reason = form.get("deed", ""), form.get("reason", "").strip()
    if deed not in list(Deed):
        raise InvalidError("choose hold, revoke or lift")
    if not reason or len(reason) > MAX_WORDS:
        raise InvalidError(f"give a reason of 1 to {MAX_WORDS} characters: it stands in the ledger beside your name")
    scope = Scope.parse(form.get("scope", "").strip())
    return StopForm(deed=Deed(deed), scope=scope, tenant=form.get("tenant", "").strip(), reason=reason)


def stops(request: Request) -> Response:
    """What is stopped now."""
    viewer = viewer_of(request)
    return draw_page(
        request,
        "stops.html",
        here="stops",
        standing=viewer.standing(),
        over=[stop for stop in viewer.stops() if not stop.is_active],
        in_flight=viewer.open_calls(),
        scope=request.query_params.get("scope", ""),
        tenant=request.query_params.get("tenant", ""),
        deed=request.query_params.get("deed", Deed.HOLD),
        kinds=[kind for kind in ScopeKind if kind is not ScopeKind.ALL],
        powers={power.power: ", ".join(power.tenants) for power in viewer.powers() if power.power != Power.QUERY},
        token=tokens_of(request).make("stop"),
    )


async def stop(request: Request) -> Response:
    """Hold, revoke or lift."""
    form = await read_form(request)
    check_token(request, form, "stop")
    return await run_in_threadpool(_do, request, read_stop(form))


def _do(request: Request, form: StopForm) -> Response:
    viewer = viewer_of(request)
    if form.deed is Deed.LIFT:
        viewer.lift(form.scope, reason=form.reason, tenant=form.tenant)
        return draw_page(request, "stopped.html", here="stops", done=Done(form=form))
    act = viewer.hold if form.deed is Deed.HOLD else viewer.revoke
    stopped = act(form.scope, reason=form.reason, tenant=form.tenant)
    done = Done(form=form, in_flight=stopped.in_flight, unreadable=stopped.unreadable)
    return draw_page(request, "stopped.html", here="stops", done=done)


def stop_routes() -> list[BaseRoute]:
    """The pages of holds."""
    return [Route("/stops", stops), Route("/stops", stop, methods=["POST"])]
