"""The card of a request, built from the policy's words and the run's envelope, never from agent text but its reason."""

from __future__ import annotations

from collections.abc import Mapping
from string import Formatter

from leasehold.model.budget import format_amount
from leasehold.model.canonical import Json, encode
from leasehold.model.card import Card, CardLine
from leasehold.model.grant import Constraint, Grant, Grants, OneOf
from leasehold.model.request import Request, RequestKind
from leasehold.model.run import Run
from leasehold.policy.document import REQUESTER, Policy, Route
from leasehold.policy.evaluate import ApprovalNeed, need_for_grants

__all__ = ["build_card", "describe_constraint"]

REDACTED = "(redacted by policy)"


def build_card(
    policy: Policy,
    run: Run,
    request: Request,
    need: ApprovalNeed,
    *,
    arguments: Mapping[str, Json] | None = None,
    arguments_digest: str = "",
) -> Card:
    """What a person is shown for this request. `arguments` are those of a call request."""
    route = policy.route(run.route)
    return Card(
        headline=_headline(policy, run, request, arguments or {}),
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
        arguments=_shown_arguments(policy, request, arguments or {}),
        arguments_digest=arguments_digest,
        approvers=need.approvers,
        quorum=need.quorum,
        requester_may_approve=need.approvers == (REQUESTER,),
        rule=need.rule,
        policy=request.policy,
        made_at=request.made_at,
        answer_by=request.answer_by,
        tried=request.tried,
        reason=request.reason,
    )


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
            parts.append(REDACTED if name in redact else _text(arguments.get(name)))
    return "".join(parts)


def _shown_arguments(policy: Policy, request: Request, arguments: Mapping[str, Json]) -> dict[str, str]:
    if request.kind is RequestKind.LEASE:
        return {}
    redact = policy.action(next(iter(request.allow))).redact
    return {name: REDACTED if name in redact else _text(value) for name, value in sorted(arguments.items())}


def _text(value: Json) -> str:
    return value if isinstance(value, str) else encode(value).decode()
