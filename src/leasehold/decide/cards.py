"""The card of a request, built from the policy's words and the run's envelope, never from agent text but its reason."""

from __future__ import annotations

from collections.abc import Mapping
from string import Formatter

import msgspec
from msgspec.structs import replace

from leasehold.model.budget import CALLS, format_amount
from leasehold.model.canonical import Json, encode, text_of
from leasehold.model.card import Card, CardLine, Change
from leasehold.model.grant import Constraint, Grant, Grants, OneOf, split_action
from leasehold.model.preview import Preview, shown_changes
from leasehold.model.request import Request, RequestKind
from leasehold.model.run import Run
from leasehold.policy.document import REQUESTER, Policy, Route
from leasehold.policy.evaluate import ApprovalNeed, need_for_grants, reservation

__all__ = ["CallShown", "build_card", "describe_constraint"]

REDACTED = "(redacted by policy)"


class CallShown(msgspec.Struct, frozen=True, kw_only=True):
    """What a card shows of one exact call, besides its request.

    `tool_schema` is the digest of the tool's function where the guard gave one; `preview` what the tool says that the
    call would change, with its digest; `moved` how that differs from what was approved before.
    """

    arguments: Mapping[str, Json]
    arguments_digest: str
    call_digest: str
    tool_schema: str = ""
    preview: Preview | None = None
    preview_digest: str = ""
    moved: tuple[Change, ...] = ()


def build_card(
    policy: Policy,
    run: Run,
    request: Request,
    need: ApprovalNeed,
    *,
    call: CallShown | None = None,
    edits: tuple[Change, ...] = (),
    facts: tuple[str, ...] = (),
) -> Card:
    """What a person is shown for this request.

    `call` is there for a call request; `edits` are how a person changed it; `facts` what the ledger says of the run.
    """
    route = policy.route(run.route)
    card = Card(
        headline=_headline(policy, run, request, call.arguments if call is not None else {}),
        kind=request.kind,
        request_id=request.request_id,
        run_id=run.run_id,
        attempt=request.attempt,
        tenant=run.tenant,
        environment=run.environment,
        agent=run.agent,
        requested_by=run.requested_by,
        requester_proof=run.requester_proof,
        route=run.route,
        purpose=run.purpose,
        lines=tuple(_line(policy, run.route, grant) for _, grant in sorted(request.allow.items())),
        not_allowed=_not_allowed(policy, run, request.allow),
        budget={unit: format_amount(amount) for unit, amount in sorted(request.budget.items())},
        ttl_seconds=request.ttl_seconds,
        window_until=run.expires_at,
        delegation=_delegation(route, request.delegation_depth),
        ends_on=request.ends_on,
        key=request.key or "",
        arguments={},
        arguments_digest="",
        approvers=need.approvers,
        quorum=need.quorum,
        requester_may_approve=need.approvers == (REQUESTER,),
        rule=need.rule,
        policy=request.policy,
        made_at=request.made_at,
        answer_by=request.answer_by,
        objects=_objects(request.allow),
        edits=edits,
        edited_from=request.edited_from or "",
        editors=request.editors,
        facts=facts,
        tried=request.tried,
        reason=request.reason,
    )
    return card if call is None else _with_call(card, policy, request, call)


def _with_call(card: Card, policy: Policy, request: Request, call: CallShown) -> Card:
    """The card with what it shows of one exact call."""
    action = next(iter(request.allow))
    rule = policy.action(action)
    is_redacted = any(name in rule.redact for name in call.arguments)
    card = replace(
        card,
        arguments={
            name: REDACTED if name in rule.redact else text_of(value) for name, value in sorted(call.arguments.items())
        },
        arguments_digest=call.arguments_digest,
        exact_arguments="" if is_redacted else encode(dict(call.arguments)).decode(),
        tool=split_action(action)[0],
        tool_schema=call.tool_schema,
        lease_request=request.lease_request or "",
        call=call.call_digest,
        uses=1,
        cost=_cost(policy, action),
    )
    if call.preview is None:
        return card
    changes, hidden = shown_changes(call.preview)
    return replace(
        card,
        changes=changes,
        unchanged_hidden=hidden,
        objects=call.preview.objects,
        external=call.preview.external,
        preview_undo=call.preview.undo,
        preview=call.preview_digest,
        moved=call.moved,
    )


def _objects(allow: Grants) -> int:
    """How many objects exact grants reach at most, 0 where one is a pattern or a bound, or names nothing."""
    reached = 0
    for grant in allow.values():
        product = 1 if grant.attributes else 0
        for entry in grant.attributes.values():
            product *= len(entry.values) if isinstance(entry, OneOf) and entry.is_exact else 0
        if not product:
            return 0
        reached = max(reached, product)
    return reached


def _cost(policy: Policy, action: str) -> dict[str, str]:
    """The most that one call can cost, by unit; that it counts as one call goes without saying."""
    return {
        unit: "all that is left" if amount is None else format_amount(amount)
        for unit, amount in sorted(reservation(policy, action).items())
        if unit != CALLS
    }


def describe_constraint(constraint: Constraint) -> str:
    """A constraint in words: exact values and prefixes as written, `any` where everything passes."""
    if isinstance(constraint, OneOf):
        if constraint.is_any:
            return "any"
        shown = constraint.to_json()
        return ", ".join(map(_shown, shown)) if isinstance(shown, list) else str(shown)
    bounds = constraint.to_json()
    return " ".join(f"{name} {bound}" for name, bound in bounds.items()) if isinstance(bounds, dict) else str(bounds)


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _delegation(route: Route | None, depth: int) -> str:
    if route is None or not depth:
        return "none"
    terms = route.delegation
    return f"up to {terms.children} sub-agents, {depth} deep, only {', '.join(terms.actions)}"


def _line(policy: Policy, route: str, grant: Grant) -> CardLine:
    rule = policy.action(grant.action)
    need = need_for_grants(policy, route, {grant.action: grant})
    return CardLine(
        action=grant.action,
        effect=rule.effect,
        attributes={name: describe_constraint(entry) for name, entry in sorted(grant.attributes.items())},
        approval=need.mode,
        undo=rule.undo,
    )


def _not_allowed(policy: Policy, run: Run, allowed: Grants) -> tuple[str, ...]:
    """What stays forbidden: the route's deny list, then the classified actions that the badge does not name."""
    route = policy.route(run.route)
    denied = route.deny if route is not None else ()
    others = sorted(name for name in policy.actions if name not in allowed and name not in denied)
    return (*denied, *others)


def _headline(policy: Policy, run: Run, request: Request, arguments: Mapping[str, Json]) -> str:
    where = f"{run.tenant} / {run.environment}"
    if request.kind is RequestKind.LEASE:
        verbs = ", ".join(sorted(request.allow))
        return f"{verbs} - {where}"
    action, grant = next(iter(request.allow.items()))
    template = policy.action(action).headline
    if template:
        return f"{_fill(template, arguments, policy.action(action).redact)} - {where}"
    targets = ", ".join(f"{name} {describe_constraint(entry)}" for name, entry in sorted(grant.attributes.items()))
    return f"{action} {targets} - {where}".replace("  ", " ")


def _fill(template: str, arguments: Mapping[str, Json], redact: tuple[str, ...]) -> str:
    """The template with `{argument}` replaced; no attribute access, no formatting codes, no redacted value."""
    parts = []
    for text, name, _, _ in Formatter().parse(template):
        parts.append(text)
        if name is not None:
            parts.append(REDACTED if name in redact else text_of(arguments.get(name)))
    return "".join(parts)
