"""What a policy comes to, in words: routes and calls, and who may do what beside them. For `policy explain`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from leasehold.model.plain import escape
from leasehold.policy.client_rule import ClientRule
from leasehold.policy.document import DISCOVERY, LISTED, IssuerRule, Policy, RolePowers, Route, SignInRule, WhoComesIn
from leasehold.policy.evaluate import ApprovalNeed
from leasehold.policy.explain import CallExplanation, RouteRow
from leasehold.policy.programs import startable, startable_on
from leasehold.policy.telling import startable_words
from leasehold.policy.wording import show_door, show_identity

__all__ = ["call_lines", "route_lines", "who_lines"]


def route_lines(found: Policy, name: str, rows: Iterable[RouteRow]) -> list[str]:
    route = found.routes[name]
    lines = [
        f"{name}: agents {', '.join(route.agents)}; tenants {', '.join(route.tenants)}; "
        f"environments {', '.join(route.environments)}; lease {route.ttl_seconds} s, run {route.run_ttl_seconds} s"
    ]
    lines += [f"  client {client} {startable_words(each)}" for client, each in startable_on(found, name)]
    return [*lines, *_stopping_lines(found, route), *(line for row in rows for line in _row_lines(row)), ""]


def _stopping_lines(found: Policy, route: Route) -> Iterator[str]:
    """What stops the route by itself, and what two people may do past its rules."""
    if route.breaker is not None:
        rates = [("errors", route.breaker.errors), ("denials", route.breaker.denials)]
        yield f"  breaker: {', '.join(f'{name} {rate}' for name, rate in rates if rate is not None)}"
    if (glass := found.break_glass.get(route.name)) is not None:
        yield (
            f"  break-glass: {', '.join(glass.openers)} with {', '.join(glass.confirmers)} may skip "
            f"{', '.join(glass.skips)} for {', '.join(glass.actions)}, {glass.minutes} min"
        )


def _row_lines(row: RouteRow) -> list[str]:
    if row.denied_by:
        return [f"  {row.action} {row.effect}: denied by {row.denied_by}"]
    attributes = ", ".join(f"{name} {words}" for name, words in row.attributes.items())
    exact = f", {row.exact_mode} for exact values" if row.exact_mode is not row.mode else ""
    who = f" by {row.quorum} of {', '.join(row.approvers)}" if row.approvers else ""
    lax = "; laxer than usual" if row.is_laxer else ""
    lines = [f"  {row.action} {row.effect}: approval {row.mode}{exact}{who} ({row.why}){lax}"]
    if attributes:
        lines.append(f"    {attributes}")
    if row.implies:
        lines.append(f"    implies {', '.join(row.implies)}")
    lines += [f"    {escape(words)}" for words in row.timing]
    return lines


def call_lines(explained: CallExplanation) -> list[str]:
    lines = [f"{explained.action} {explained.effect}: {explained.decision.describe()}"]
    if explained.need is not None and explained.exact_need is not None:
        lines.append(f"under a lease as wide as the route: {_need_words(explained.need)}")
        lines.append(f"under a lease for exactly this: {_need_words(explained.exact_need)}")
    return [escape(line) for line in lines]


def _need_words(need: ApprovalNeed) -> str:
    who = f" by {need.quorum} of {', '.join(need.approvers)}" if need.approvers else ""
    return f"approval {need.mode}{who} ({need.rule})"


def who_lines(policy: Policy) -> Iterator[str]:
    """What roles can do, whose tokens count, who signs people in, and what programs may do over the network."""
    yield from map(_role_words, policy.roles.values())
    yield from (_issuer_words(rule) for _, rule in sorted(policy.issuers.items()))
    yield from (line for _, rule in sorted(policy.sign_in.items()) for line in _provider_lines(rule))
    yield from (line for _, rule in sorted(policy.clients.items()) for line in _client_lines(policy, rule))


def _role_words(role: RolePowers) -> str:
    """What a role can do, and what of it needs no role of whoever holds the open state."""
    words = f"role {role.name}, tenants {', '.join(role.tenants)}: {', '.join(role.can)}"
    idle = ", ".join(power for power in role.can if not power.is_enforced)
    return f"{words}; whoever holds the state needs no role for {idle}" if idle else words


def _issuer_words(rule: IssuerRule) -> str:
    """Whose word on who somebody is counts, and where the keys for it come from."""
    sources = {DISCOVERY: "found by its own document", LISTED: "listed in the policy"}
    return f"issuer {rule.issuer}: tokens for {rule.audience}, keys {sources.get(rule.keys, f'from {rule.keys}')}"


def _provider_lines(rule: SignInRule) -> list[str]:
    """Whom a provider may sign in, and what its groups mean here."""
    whom = "people who are known here" if rule.people is WhoComesIn.KNOWN else "whoever is in one of the groups"
    means = [f"    group {group}: {', '.join(roles)}" for group, roles in sorted(rule.roles.items())]
    return [f"sign-in {rule.name} at {rule.issuer}: {whom}, as user:<{rule.person}>", *means]


def _client_lines(policy: Policy, rule: ClientRule) -> Iterator[str]:
    """By what a client is known, and what its rule and the routes come to together."""
    known = "an API key" if not rule.redirects else "an API key, or by nothing but its address if it never had one"
    if rule.identity is not None:
        known = f"a token of {show_identity(rule.identity)}, or an API key"
    yield escape(f"client {rule.name}, by {known}")
    if rule.door is not None:
        yield f"    {escape(f'stands at the door of {show_door(rule.door)} for every tenant')}"
    else:
        yield from [f"    {startable_words(found)}" for found in startable(policy, rule)] or ["    may start nothing"]
    yield from (f"    has browsers sent back to {escape(address)}" for address in rule.redirects)
