"""Break-glass: what is open and what waits, the form that proposes one, and one of them with all that it skips.

Two people at two browsers open it. No page holds anything that uses it: that takes the opener's key, at a terminal.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from leasehold.authority.glass import Wish
from leasehold.authority.glass_desk import GlassSeen, Openable
from leasehold.console.deciding import MAX_WORDS, read_verdict
from leasehold.console.drawing import draw_page, tokens_of, viewer_of
from leasehold.console.links import link
from leasehold.console.live import fingerprint
from leasehold.console.sight import FINAL_WAIT_MS, Sight, read_sight, refuse_sight
from leasehold.decide.glass_wish import answer_by
from leasehold.decide.lifecycles import GlassState
from leasehold.errors import Denied, InvalidError, NotFoundError, TokenError
from leasehold.http.events import event_stream
from leasehold.http.forms import check_token, read_form, read_lists
from leasehold.http.passkeys import is_passkey_page, opening_options, read_assertion, site_of
from leasehold.http.sessions import again_path
from leasehold.ledger.lines import entry_line
from leasehold.model.decision import Decision, Reason
from leasehold.model.glass import Opening, Skippable
from leasehold.model.request import Verdict
from leasehold.token import base64url
from leasehold.token.digest import sha256_digest
from leasehold.token.glass import opening_bytes, read_opening_bytes
from leasehold.token.passkey import Assertion

__all__ = ["SKIPS", "about_opening", "glass_routes", "read_wish_form"]

SKIPS = {
    Skippable.APPROVE: "nobody is asked before a call: approvals that the route demands do not bind",
    Skippable.HOURS: "the route's hours do not bind",
    Skippable.FREEZE: "the route's freezes do not bind",
    Skippable.AFTER: "calls that have to come first do not have to",
}
"""What each rule that can be skipped means, for whoever agrees to skip it."""

_LATE = frozenset({Reason.NOT_PENDING, Reason.EXPIRED})


def about_opening(opening: Opening) -> str:
    """What a form on an opening is about: all that stands in it."""
    return sha256_digest(opening_bytes(opening))


def _shown(seen: GlassSeen) -> str:
    return fingerprint((seen.row, seen.state, len(seen.entries), seen.may_confirm))


# the list, and the form that proposes


def glasses(request: Request) -> Response:
    """What is open, what waits, what wants a review, and what was."""
    return draw_page(
        request, "glasses.html", here="glass", shown=_listed(request), desk=viewer_of(request).glass, states=GlassState
    )


async def glasses_events(request: Request) -> Response:
    """Tells the browser when the list has changed."""
    return event_stream(request, lambda: _listed(request))


def _listed(request: Request) -> str:
    return fingerprint(viewer_of(request).glass.all())


def form(request: Request) -> Response:
    """The form that proposes to skip rules of one route."""
    chosen = _openable(request, request.query_params.get("route", ""))
    return draw_page(
        request,
        "glass_form.html",
        here="glass",
        chosen=chosen,
        skips=SKIPS,
        token=tokens_of(request).make("break-glass draft"),
    )


def _openable(request: Request, route: str) -> Openable:
    found = next((each for each in viewer_of(request).glass.openable() if each.route.name == route), None)
    if found is None:
        raise NotFoundError("there is no such route, or its rules are not yours to skip")
    return found


def read_wish_form(lists: Mapping[str, tuple[str, ...]], opener: str) -> Wish:
    """What a posted form asks for.

    Raises:
        InvalidError: a member is missing, or cannot be what it claims to be.
    """
    form = {name: values[0].strip() for name, values in lists.items()}
    skips, minutes = lists.get("skip", ()), form.get("minutes", "")
    if not set(skips) <= set(Skippable) or not minutes.isdecimal() or len(minutes) > 2:
        raise InvalidError("choose which rules to skip, and for how many minutes")
    if not lists.get("action"):
        raise InvalidError("choose what you need to do")
    return Wish(
        opener=opener,
        second=form.get("second", ""),
        tenant=form.get("tenant", ""),
        environment=form.get("environment", ""),
        route=form.get("route", ""),
        actions=lists["action"],
        skips=tuple(map(Skippable, skips)),
        minutes=int(minutes),
        reason=form.get("reason", ""),
    )


async def draft(request: Request) -> Response:
    """Show exactly what would be proposed, before it is. Nothing is changed by looking."""
    lists = await read_lists(request)
    check_token(request, {name: values[0] for name, values in lists.items()}, "break-glass draft")
    wish = read_wish_form(lists, viewer_of(request).person)
    return await run_in_threadpool(_draft, request, wish)


def _draft(request: Request, wish: Wish) -> Response:
    viewer, tokens = viewer_of(request), tokens_of(request)
    _openable(request, wish.route)
    opening = viewer.glass.draft(wish)
    return draw_page(
        request,
        "glass_draft.html",
        here="glass",
        opening=opening,
        skips=SKIPS,
        lacks=_lacks(viewer.glass.lacks()),
        sealed=base64url.encode(opening_bytes(opening)),
        token=tokens.make("break-glass", about_opening(opening)),
        passkey=_passkey(request, opening),
        elsewhere="" if is_passkey_page(request) else site_of(request).passkey_origin,
        again=again_path(link("break-glass/new", route=wish.route)),
    )


async def propose(request: Request) -> Response:
    """Ask the second person, about exactly what was shown."""
    form = await read_form(request)
    try:
        opening = read_opening_bytes(base64url.decode(form.get("opening", "")))
    except (TokenError, InvalidError):
        raise InvalidError("the form does not say what to open") from None
    check_token(request, form, "break-glass", about_opening(opening))
    assertion = read_assertion(form["credential"]) if form.get("credential") else None
    row = await run_in_threadpool(viewer_of(request).glass.propose, opening, assertion)
    return RedirectResponse(link("break-glass", row.glass_id), status_code=303)


# one of them


def glass(request: Request) -> Response:
    """One break-glass: what it skips, how long it is open, each use, and what is asked of whom."""
    return _show(request)


async def glass_events(request: Request) -> Response:
    """Tells the browser when it has changed."""
    await run_in_threadpool(_look, request)
    return event_stream(request, lambda: _shown(_look(request)))


async def answer(request: Request) -> Response:
    """Open it as its second person, or say no."""
    form = await read_form(request)
    about = f"{request.path_params['glass_id']} {form.get('digest', '')}"
    check_token(request, form, "break-glass answer", about)
    verdict = read_verdict(form.get("verdict", ""))
    assertion = read_assertion(form["credential"]) if form.get("credential") else None
    return await run_in_threadpool(_take, request, _Said(verdict, about, form.get("sight", ""), assertion))


class _Said(msgspec.Struct, frozen=True):
    """What somebody sent: their word, about what, what they saw and signed."""

    verdict: Verdict
    about: str
    sight: str
    assertion: Assertion | None


def _take(request: Request, said: _Said) -> Response:
    viewer, seen = viewer_of(request), _look(request)
    name = seen.row.glass_id
    if said.verdict is Verdict.APPROVE and seen.may_confirm:
        sight = read_sight(said.sight, tokens_of(request), said.about)
        hasty = refuse_sight(sight, shown=_shown(seen), wait_ms=FINAL_WAIT_MS, now=viewer.now())
        if hasty:
            return _show(request, status=409, told=f"{hasty} Nothing was done.")
    try:
        if said.verdict is Verdict.APPROVE:
            viewer.glass.confirm(name, said.assertion)
        else:
            viewer.glass.decline(name)
    except Denied as denied:
        if denied.decision.reason not in _LATE:
            raise
        return _show(request, status=409, told=f"Nothing was done: {denied.decision.message}.")
    return RedirectResponse(link("break-glass", name), status_code=303)


async def close(request: Request) -> Response:
    """End it before its time."""
    form = await read_form(request)
    name = request.path_params["glass_id"]
    check_token(request, form, "break-glass close", name)
    await run_in_threadpool(viewer_of(request).glass.close, name)
    return RedirectResponse(link("break-glass", name), status_code=303)


async def review(request: Request) -> Response:
    """Write down what this person thinks of one that is over."""
    form = await read_form(request)
    name, words = request.path_params["glass_id"], form.get("words", "").strip()
    check_token(request, form, "break-glass review", name)
    if not words or len(words) > MAX_WORDS:
        raise InvalidError(f"a review has 1 to {MAX_WORDS} characters")
    await run_in_threadpool(viewer_of(request).glass.review, name, words)
    return RedirectResponse(link("break-glass", name), status_code=303)


def _look(request: Request) -> GlassSeen:
    return viewer_of(request).glass.look(request.path_params["glass_id"])


def _show(request: Request, *, status: int = 200, told: str = "") -> Response:
    seen, tokens = _look(request), tokens_of(request)
    name, digest = seen.row.glass_id, about_opening(seen.opening)
    about = f"{name} {digest}"
    sight = Sight(shown_ms=int(viewer_of(request).now()), is_whole=True, shown=_shown(seen))
    return draw_page(
        request,
        "glass.html",
        here="glass",
        status=status,
        seen=seen,
        opening=seen.opening,
        shown=_shown(seen),
        lines=[entry_line(entry) for entry in seen.entries],
        skips=SKIPS,
        told=told,
        digest=digest,
        answer_by=answer_by(seen.opening),
        lacks=_lacks(seen.proof),
        wait_ms=FINAL_WAIT_MS,
        token=tokens.make("break-glass answer", about),
        sight=sight.seal(tokens, about),
        close_token=tokens.make("break-glass close", name),
        review_token=tokens.make("break-glass review", name),
        passkey=_passkey(request, seen.opening) if seen.may_confirm else "",
        elsewhere="" if is_passkey_page(request) else site_of(request).passkey_origin,
        again=again_path(link("break-glass", name)),
    )


def _lacks(proof: Decision | None) -> str:
    return str(proof.reason) if proof is not None else ""


def _passkey(request: Request, opening: Opening) -> str:
    """What the browser hands to this person's passkey, where they have one; else empty."""
    viewer = viewer_of(request)
    if not viewer.passkeys() or not is_passkey_page(request):
        return ""
    return opening_options(viewer, site_of(request), opening)


def glass_routes() -> list[BaseRoute]:
    """The pages of break-glass."""
    return [
        Route("/break-glass", glasses),
        Route("/break-glass", propose, methods=["POST"]),
        Route("/break-glass/new", form),
        Route("/break-glass/new", draft, methods=["POST"]),
        Route("/break-glass/{glass_id}", glass),
        Route("/break-glass/{glass_id}/answer", answer, methods=["POST"]),
        Route("/break-glass/{glass_id}/close", close, methods=["POST"]),
        Route("/break-glass/{glass_id}/review", review, methods=["POST"]),
        Route("/events/break-glass", glasses_events),
        Route("/events/break-glass/{glass_id}", glass_events),
    ]
