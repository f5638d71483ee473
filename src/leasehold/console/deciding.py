"""The handlers of a card: shown, kept up to date, answered. The page's values are made in `card`."""

from __future__ import annotations

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from leasehold.console.card import CardPage, card_page
from leasehold.console.drawing import draw_page, tokens_of, viewer_of
from leasehold.console.links import link
from leasehold.console.sight import Sight, read_sight, refuse_sight
from leasehold.errors import Denied
from leasehold.http.events import event_stream
from leasehold.http.forms import about_card, check_token, read_form
from leasehold.http.passkeys import answer_options, is_passkey_page, read_assertion, site_of
from leasehold.http.problems import ProblemError
from leasehold.http.sessions import again_path
from leasehold.model.decision import Reason
from leasehold.model.request import Verdict
from leasehold.token.passkey import Assertion

__all__ = ["card_routes", "read_verdict"]

MAX_WORDS = 2000
_SETTLED = frozenset({Reason.NOT_PENDING, Reason.EXPIRED, Reason.CARD_CHANGED, Reason.REVOKED, Reason.RUN_FINISHED})


def card(request: Request) -> Response:
    """The card, cut to one screen unless the whole is asked for."""
    return _show(request, is_whole="whole" in request.query_params)


async def card_events(request: Request) -> Response:
    """Tells the browser when the card has changed."""
    await run_in_threadpool(_page, request, is_whole=True)
    return event_stream(request, lambda: _page(request, is_whole=True).shown)


async def answer(request: Request) -> Response:
    """Take one person's word about exactly the card that they were shown."""
    form = await read_form(request)
    request_id, digest = request.path_params["request_id"], form.get("digest", "")
    check_token(request, form, "answer", about_card(request_id, digest))
    verdict, words = read_verdict(form.get("verdict", "")), form.get("reason", "").strip()
    if len(words) > MAX_WORDS:
        raise ProblemError(400, "Too long", f"A reason has at most {MAX_WORDS} characters. Nothing was done.")
    said = _Said(
        verdict=verdict,
        digest=digest,
        words=words,
        sight=form.get("sight", ""),
        assertion=read_assertion(form["credential"]) if form.get("credential") else None,
    )
    return await run_in_threadpool(_take, request, said)


class _Said(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody sent: their verdict on the card with this digest, and what they saw and signed."""

    verdict: Verdict
    digest: str
    words: str
    sight: str
    assertion: Assertion | None


def read_verdict(text: str) -> Verdict:
    """The verdict that a form names.

    Raises:
        ProblemError: 400; it names none.
    """
    if text not in list(Verdict):
        raise ProblemError(400, "No answer", "The form says neither deny nor approve. Nothing was done.")
    return Verdict(text)


def _take(request: Request, said: _Said) -> Response:
    viewer, request_id = viewer_of(request), request.path_params["request_id"]
    page = _page(request, is_whole=True)
    if said.verdict is Verdict.APPROVE and page.is_open and not page.not_mine:
        sight = read_sight(said.sight, tokens_of(request), about_card(request_id, said.digest))
        hasty = refuse_sight(sight, shown=page.shown, wait_ms=page.wait_ms, now=viewer.now())
        if hasty:
            return _show(request, is_whole=True, status=409, told=f"{hasty} Nothing was done.", words=said.words)
    try:
        viewer.answer(request_id, said.verdict, card_digest=said.digest, reason=said.words, assertion=said.assertion)
    except Denied as denied:
        if denied.decision.reason not in _SETTLED:
            raise
        told = f"Your answer came too late: {denied.decision.message}. Nothing more was done."
        return _show(request, is_whole=True, status=409, told=told)
    return RedirectResponse(link("requests", request_id), status_code=303)


def _page(request: Request, *, is_whole: bool) -> CardPage:
    viewer = viewer_of(request)
    return card_page(viewer.waiting(request.path_params["request_id"]), viewer.now(), is_whole=is_whole)


def _show(request: Request, *, is_whole: bool, status: int = 200, told: str = "", words: str = "") -> Response:
    page, tokens, site = _page(request, is_whole=is_whole), tokens_of(request), site_of(request)
    about = about_card(page.request_id, page.digest)
    sight = Sight(shown_ms=int(viewer_of(request).now()), is_whole=not page.is_clipped, shown=page.shown)
    return draw_page(
        request,
        "card.html",
        here="inbox",
        status=status,
        page=page,
        told=told,
        words=words,
        is_whole=is_whole,
        token=tokens.make("answer", about),
        passkey=_passkey(request, page),
        elsewhere="" if is_passkey_page(request) else site.passkey_origin,
        again=again_path(link("requests", page.request_id)),
        sight=sight.seal(tokens, about),
    )


def _passkey(request: Request, page: CardPage) -> str:
    """What the browser hands to this person's passkey for an approval, where the policy demands one; else empty."""
    viewer = viewer_of(request)
    if page.lacks is not Reason.PASSKEY_NEEDED or not viewer.passkeys():
        return ""
    return answer_options(viewer, site_of(request), page.request_id, page.digest, Verdict.APPROVE)


def card_routes() -> list[BaseRoute]:
    """The pages of one request."""
    return [
        Route("/requests/{request_id}", card),
        Route("/requests/{request_id}/answer", answer, methods=["POST"]),
        Route("/events/requests/{request_id}", card_events),
    ]
