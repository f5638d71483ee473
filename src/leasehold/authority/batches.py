"""Several requests answered with one yes or no. Called by the desks of persons with keys and of those signed in.

What is answered was fixed before it was confirmed: each item names a request and the digest of the card that was
looked at, so nothing that came or changed since then is answered unseen. Each item has a result of its own; one that is
refused leaves its neighbours alone (requirement F2).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from leasehold.authority.engine import Engine
from leasehold.decide.answer import Answered, request_need
from leasehold.errors import Denied, InvalidError, NotFoundError
from leasehold.model.decision import Decision, Reason, allow, deny
from leasehold.model.effect import Effect
from leasehold.model.grant import split_action
from leasehold.model.request import Request, RequestState, Verdict

__all__ = ["MOST_ITEMS", "Item", "ItemResult", "answer_items", "refuse_in_batch"]

MOST_ITEMS = 50


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One request of a batch, and the digest of its card as it was looked at."""

    request_id: str
    card_digest: str


class ItemResult(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one item: where the request stands after the answer, or why it was not answered."""

    request_id: str
    decision: Decision
    state: RequestState | None = None
    approvals_missing: int = 0


def refuse_in_batch(engine: Engine, request: Request) -> Decision | None:
    """Why a request is never approved together with others: it cannot be undone, or takes two people."""
    policy, run = engine.active_policy(), engine.run(request.tenant, request.run_id)
    need = request_need(policy, run, request)
    effects = [policy.action(action).effect for action in request.allow]
    check = ""
    if Effect.DESTRUCTIVE in (*effects, need.effect):
        check = "nothing in it is destructive"
    elif need.quorum > 1:
        check = f"one person is enough, not {need.quorum}"
    if not check:
        return None
    return deny(
        Reason.NOT_IN_BATCH,
        f"{request.request_id} is looked at by itself",
        rule=need.rule,
        check=check,
        enough="an answer to this one card",
    )


def answer_items(
    engine: Engine,
    items: Sequence[Item],
    verdict: Verdict,
    find: Callable[[str], Request],
    answer: Callable[[Request, Item], Answered],
) -> tuple[ItemResult, ...]:
    """Answer each item and tell what became of it, in the same order. Only a yes is refused to what is not batched.

    `find` and `answer` are those of the desk that asks: it finds what its person may see, and speaks for them.

    Raises:
        InvalidError: there are none or too many, or one stands twice.
    """
    if not 1 <= len(items) <= MOST_ITEMS:
        raise InvalidError(f"a batch has 1 to {MOST_ITEMS} requests, not {len(items)}")
    if len({item.request_id for item in items}) < len(items):
        raise InvalidError("a request stands twice in this batch")
    results: list[ItemResult] = []
    place: tuple[str, ...] = ()
    for item in items:
        try:
            request = find(item.request_id)
            refusal = _refuse_item(engine, request, item, verdict, place)
            place = place or _place(engine, request)
            if refusal is not None:
                results.append(ItemResult(request_id=item.request_id, decision=refusal))
                continue
            answered = answer(request, item)
        except (Denied, NotFoundError) as error:
            decision = error.decision if isinstance(error, Denied) else deny(Reason.NOT_FOUND, str(error))
            results.append(ItemResult(request_id=item.request_id, decision=decision))
        else:
            results.append(
                ItemResult(
                    request_id=item.request_id,
                    decision=allow(),
                    state=answered.state,
                    approvals_missing=answered.approvals_missing,
                )
            )
    return tuple(results)


def _refuse_item(
    engine: Engine, request: Request, item: Item, verdict: Verdict, place: tuple[str, ...]
) -> Decision | None:
    if request.card_digest != item.card_digest:
        return deny(Reason.CARD_CHANGED, "the card is not the one that was looked at", check="same card digest")
    if verdict is Verdict.DENY:
        return None
    if place and _place(engine, request) != place:
        return deny(
            Reason.NOT_IN_BATCH,
            f"{request.request_id} is about another place than the first",
            check="same tenant, environment and tools",
            enough="a batch of its own",
        )
    return refuse_in_batch(engine, request)


def _place(engine: Engine, request: Request) -> tuple[str, ...]:
    """Tenant, environment and tools: a batch is about one place."""
    run = engine.run(request.tenant, request.run_id)
    return (run.tenant, run.environment, *sorted({split_action(action)[0] for action in request.allow}))
