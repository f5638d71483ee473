"""Several requests answered together: a list that is frozen before it is confirmed, and a result for each of them.

The list is ids with card digests under one token; what comes in later is not on it, and a card that has changed since
is not answered. Destructive ones and those that take two people are never on it when approving.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from leasehold.authority.batches import MOST_ITEMS, Item, ItemResult
from leasehold.authority.person_desk import PersonDesk, Waiting
from leasehold.console.deciding import MAX_WORDS, read_verdict
from leasehold.console.drawing import draw_page, tokens_of, viewer_of
from leasehold.console.inbox import refuse_batch
from leasehold.console.live import fingerprint
from leasehold.console.sight import WAIT_MS, Sight, read_sight, refuse_sight
from leasehold.errors import InvalidError, NotFoundError
from leasehold.http.forms import check_token, read_lists
from leasehold.http.problems import ProblemError
from leasehold.model.grant import split_action
from leasehold.model.request import Verdict

__all__ = ["Result", "batch_routes", "freeze"]


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one request."""

    request_id: str
    headline: str
    is_done: bool
    words: str


def freeze(waiting: Sequence[Waiting]) -> tuple[tuple[Waiting, ...], tuple[tuple[Waiting, str], ...]]:
    """Those that can be answered together, and those that cannot with the reason."""
    refused = [(each, refuse_batch(each)) for each in waiting]
    place = next((_place(each) for each, why in refused if not why), ())
    refused = [
        (each, why or ("" if _place(each) == place else "it is about another place than the first"))
        for each, why in refused
    ]
    together = tuple(each for each, why in refused if not why)
    return together, tuple((each, why) for each, why in refused if why)


def _place(waiting: Waiting) -> tuple[str, ...]:
    """Tenant, environment and tools, as the desk compares them."""
    tools = {split_action(action)[0] for action in waiting.request.allow}
    return (waiting.run.tenant, waiting.run.environment, *sorted(tools))


def _text(item: Item) -> str:
    """One request of the list as the form carries it."""
    return f"{item.request_id} {item.card_digest}"


def _about(items: Sequence[Item]) -> str:
    return fingerprint([_text(item) for item in items])


def preview(request: Request) -> Response:
    """The frozen list, before it is confirmed. Nothing is changed by looking."""
    ids = tuple(dict.fromkeys(request.query_params.getlist("id")))
    return _preview(request, ids)


def _preview(request: Request, ids: Sequence[str], *, told: str = "", words: str = "", status: int = 200) -> Response:
    if not 1 <= len(ids) <= MOST_ITEMS:
        raise InvalidError(f"check 1 to {MOST_ITEMS} requests in the inbox; {len(ids)} are checked")
    viewer, tokens = viewer_of(request), tokens_of(request)
    together, left_out = freeze([viewer.waiting(request_id) for request_id in ids])
    items = [Item(request_id=each.request.request_id, card_digest=each.request.card_digest) for each in together]
    about = _about(items)
    sight = Sight(shown_ms=int(viewer.now()), is_whole=True, shown=about)
    return draw_page(
        request,
        "batch.html",
        here="inbox",
        status=status,
        together=[(each, item, _text(item)) for each, item in zip(together, items, strict=True)],
        left_out=left_out,
        token=tokens.make("answers", about),
        sight=sight.seal(tokens, about),
        wait_ms=WAIT_MS,
        told=told,
        words=words,
    )


async def answers(request: Request) -> Response:
    """Answer the frozen list, each request for itself."""
    lists = await read_lists(request)
    form = {name: values[0] for name, values in lists.items()}
    items = [_read_frozen(text) for text in lists.get("item", ())]
    check_token(request, form, "answers", _about(items))
    verdict, words = read_verdict(form.get("verdict", "")), form.get("reason", "").strip()
    if len(words) > MAX_WORDS:
        raise ProblemError(400, "Too long", f"A reason has at most {MAX_WORDS} characters. Nothing was done.")
    return await run_in_threadpool(_take, request, items, verdict, words, form.get("sight", ""))


def _read_frozen(text: str) -> Item:
    request_id, _, digest = text.partition(" ")
    return Item(request_id=request_id, card_digest=digest)


def _take(request: Request, items: Sequence[Item], verdict: Verdict, words: str, sealed: str) -> Response:
    viewer, about = viewer_of(request), _about(items)
    if verdict is Verdict.APPROVE:
        sight = read_sight(sealed, tokens_of(request), about)
        hasty = refuse_sight(sight, shown=about, wait_ms=WAIT_MS, now=viewer.now())
        if hasty:
            ids = [item.request_id for item in items]
            return _preview(request, ids, told=f"{hasty} Nothing was done.", words=words, status=409)
    headlines = {item.request_id: _headline(viewer, item) for item in items}
    results = [_result(each, headlines) for each in viewer.answer_many(items, verdict, reason=words)]
    return draw_page(request, "answered.html", here="inbox", results=results, verdict=verdict)


def _headline(viewer: PersonDesk, item: Item) -> str:
    try:
        return viewer.card(item.request_id).headline
    except NotFoundError:
        return item.request_id


def _result(result: ItemResult, headlines: Mapping[str, str]) -> Result:
    is_done = result.decision.is_allowed
    return Result(
        request_id=result.request_id,
        headline=headlines[result.request_id],
        is_done=is_done,
        words=str(result.state) if is_done else result.decision.message,
    )


def batch_routes() -> list[BaseRoute]:
    """The pages of answers given together."""
    return [Route("/answers", preview), Route("/answers", answers, methods=["POST"])]
