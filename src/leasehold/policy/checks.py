"""What must hold between the parts of a policy before it may decide anything. Called by `load` after reading.

Each rule yields problems with the keys they stand at; the loader turns the first into an error with file and line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from string import Formatter

import msgspec

from leasehold.model.budget import CALLS, TOOL_SECONDS, USD
from leasehold.model.effect import ApprovalMode, Effect
from leasehold.model.glass import BREAK_GLASS
from leasehold.model.grant import Grant, matches_action, split_action
from leasehold.policy.client_rule import ClientRule
from leasehold.policy.document import EVERYONE, REQUESTER, Acceptance, ActionRule, GlassRule, Policy, Power, Route
from leasehold.policy.evaluate import group_roles, has_power, implied, need_for_call
from leasehold.policy.lines import KeyPath
from leasehold.policy.order import prerequisites
from leasehold.policy.paths import argument_of, is_argument_name
from leasehold.policy.reader import show_path, suggest

__all__ = ["Problem", "find_problems"]

_LIKELY_TYPO = 0.8


class Problem(msgspec.Struct, frozen=True):
    """One fault and the keys of the value at fault."""

    keys: KeyPath
    message: str


def find_problems(policy: Policy) -> list[Problem]:
    """Return every rule that the policy breaks; an empty list accepts it."""
    return [
        *(problem for rule in policy.actions.values() for problem in _of_action(policy, rule)),
        *(problem for route in policy.routes.values() for problem in _of_route(policy, route)),
        *(problem for index in range(len(policy.tests)) for problem in _of_test(policy, index)),
        *(problem for rule in policy.break_glass.values() for problem in _of_glass(policy, rule)),
        *(problem for rule in policy.clients.values() for problem in _of_client(policy, rule)),
        *_of_roles(policy),
        *_of_acceptance(policy),
        *_of_reviewers(policy),
        *_of_budget(policy, ("defaults",), policy.defaults.budget),
    ]


def _of_client(policy: Policy, rule: ClientRule) -> Iterator[Problem]:
    """A client may only name routes and issuers that there are: with one that is misspelt nothing would start."""
    if rule.identity is not None and rule.identity.issuer not in policy.issuers:
        yield Problem(
            ("clients", rule.name, "identity", "issuer"),
            f"{rule.identity.issuer} is no issuer of [issuers]{suggest(rule.identity.issuer, policy.issuers)}",
        )
    routes = rule.runs.routes if rule.runs is not None else ()
    for name in routes:
        if name not in policy.routes and routes != (EVERYONE,):
            keys = ("clients", rule.name, "runs", "routes", name)
            yield Problem(keys, f'there is no route "{name}"{suggest(name, policy.routes)}')


# Actions.


def _of_action(policy: Policy, rule: ActionRule) -> Iterator[Problem]:
    keys = ("actions", rule.name)
    yield from _unknown_actions(policy, (*keys, "implies"), rule.implies)
    yield from _unknown_actions(policy, (*keys, "uses"), rule.uses)
    yield from _implications(policy, rule)
    yield from _headline(rule)
    yield from _preview(policy, rule)
    yield from _used_previews(policy, rule)
    for attribute, path in rule.args.items():
        if argument_of(path) in rule.redact:
            yield Problem(
                (*keys, "redact"),
                f"attribute {attribute} is read from {path}, and attributes are always shown and logged; "
                "take it out of args or out of redact",
            )


def _headline(rule: ActionRule) -> Iterator[Problem]:
    """A template of plain arguments, because a card must never fail, or show less than it says, before a person."""
    keys = ("actions", rule.name, "headline")
    try:
        names = [found[1:] for found in Formatter().parse(rule.headline) if found[1] is not None]
    except ValueError as error:
        yield Problem(keys, f"headline is no template: {error}; write a brace twice to show it")
        return
    arguments = {argument_of(path) for path in rule.args.values()}
    for name, form, conversion in names:
        if form or conversion or not is_argument_name(name or ""):
            yield Problem(keys, f'headline: "{name}" must be the plain name of an argument')
        elif name in rule.args and name not in arguments:
            yield Problem(
                keys, f'headline: "{name}" is an attribute; write the argument, "{argument_of(rule.args[name])}"'
            )


def _preview(policy: Policy, rule: ActionRule) -> Iterator[Problem]:
    """A preview is a plain read of the same tool, judged by attributes that the action has too."""
    if not rule.preview:
        return
    keys = ("actions", rule.name, "preview")
    yield from _unknown_actions(policy, keys[:2], [rule.preview], at=keys)
    if split_action(rule.preview)[0] != split_action(rule.name)[0]:
        yield Problem(keys, f"{rule.preview} is of another tool; a preview is made by the tool itself")
    if rule.effect is Effect.READ:
        yield Problem(keys, f"{rule.name} is a read: it changes nothing that could be previewed")
    below = policy.action(rule.preview)
    if policy.is_classified(rule.preview) and below.effect is not Effect.READ:
        yield Problem(keys, f"{rule.preview} is {below.effect}; a preview reads and changes nothing")
    for name, path in below.args.items():
        if rule.args.get(name) != path:
            yield Problem(
                keys,
                f"{rule.preview} reads its attribute {name} from {path}, and {rule.name} does not; "
                "a preview is called with the same arguments",
            )


def _used_previews(policy: Policy, rule: ActionRule) -> Iterator[Problem]:
    """Whoever uses an action uses its preview: else a sub-call that people have to see could never pass."""
    for name in rule.uses:
        needed = policy.action(name).preview
        if needed and needed not in rule.uses:
            yield Problem(
                ("actions", rule.name, "uses", name), f"{name} is previewed by {needed}, which is not in uses"
            )


def _implications(policy: Policy, rule: ActionRule) -> Iterator[Problem]:
    """An action covers what it implies: no cycle, every attribute by equal name, an effect at least as strong."""
    keys = ("actions", rule.name, "implies")
    if rule.name in rule.implies or any(rule.name in implied(policy, name) for name in rule.implies):
        yield Problem(keys, f"{rule.name} implies itself")
        return
    for name in rule.implies:
        below = policy.action(name)
        missing = sorted(below.args.keys() - rule.args.keys())
        if missing:
            yield Problem(
                keys,
                f"{rule.name} implies {name} but has no attribute named {', '.join(missing)}; "
                "args must map every attribute of what an action implies",
            )
        if below.effect.rank > rule.effect.rank:
            yield Problem(keys, f"{rule.name} implies {name}, which is {below.effect}, so it cannot be {rule.effect}")


# Routes.


def _of_route(policy: Policy, route: Route) -> Iterator[Problem]:
    keys = ("routes", route.name)
    yield from _unknown_actions(policy, (*keys, "allow"), route.allow)
    yield from _unknown_actions(policy, (*keys, "approve"), route.approve)
    exact = [pattern for pattern in route.deny if not pattern.endswith("*")]
    yield from _unknown_actions(policy, (*keys, "deny"), exact)
    yield from _mistyped_tools(policy, (*keys, "deny"), route.deny)
    yield from _not_offered(route, ("approve",), route.approve)
    yield from _not_offered(route, ("ends_on",), route.ends_on)
    yield from _not_offered(route, ("delegation", "actions"), route.delegation.actions)
    for action, grant in route.allow.items():
        yield from _of_grant(policy, (*keys, "allow", action), grant)
        yield from _of_implied(policy, route, action)
        yield from _of_preview(policy, route, action)
        yield from _of_costs(policy, route, action)
    yield from _of_budget(policy, keys, route.budget.keys() - policy.defaults.budget.keys())
    yield from _of_approvers(policy, route)
    if BREAK_GLASS in route.agents:
        yield Problem((*keys, "for", "agents"), f"{BREAK_GLASS} is for people; no agent may bear that name")
    yield from _of_times(route)
    yield from _of_order(policy, route)


def _of_times(route: Route) -> Iterator[Problem]:
    """Hours and freezes bind actions that the route has, else a mistyped name would leave the action unbound."""
    for key, names in (
        ("hours", {name for each in route.hours for name in each.actions}),
        ("freeze", {name for each in route.freeze for name in each.actions}),
    ):
        for problem in _not_offered(route, (key,), sorted(names)):
            yield Problem(("routes", route.name, key), problem.message)


def _of_order(policy: Policy, route: Route) -> Iterator[Problem]:
    """What comes first must be callable itself, and not come after what waits for it."""
    yield from _not_offered(route, ("after",), route.after)
    for action, names in route.after.items():
        yield from _not_offered(route, ("after", action), names)
    for action in sorted(route.allow):
        first = prerequisites(policy, route.name, action)
        reached, waiting = set(first), list(first)
        while waiting:
            found = prerequisites(policy, route.name, waiting.pop()).keys() - reached
            reached |= found
            waiting += found
        if action in reached:
            yield Problem(
                ("routes", route.name, "after", next(iter(first.values()))),
                f"{action} would have to be done before itself in route {route.name}, so it could never be called",
            )


def _mistyped_tools(policy: Policy, keys: KeyPath, patterns: Iterable[str]) -> Iterator[Problem]:
    """A pattern may deny tools that nobody classified, but not one whose name is nearly that of a known tool."""
    tools = sorted({split_action(name)[0] for name in policy.actions})
    for pattern in patterns:
        if any(matches_action(pattern, name) for name in policy.actions):
            continue
        near = get_close_matches(pattern.removesuffix(".*"), tools, n=1, cutoff=_LIKELY_TYPO)
        if near:
            yield Problem((*keys, pattern), f'"{pattern}" denies no action here; did you mean "{near[0]}.*"?')


def _of_grant(policy: Policy, keys: KeyPath, grant: Grant) -> Iterator[Problem]:
    """The attributes of a grant are exactly those that its action declares."""
    declared = policy.action(grant.action).args
    for name in grant.attributes:
        if name not in declared:
            yield Problem((*keys, name), f'{grant.action} has no attribute "{name}"{suggest(name, declared)}')
    for name in declared:
        if name not in grant.attributes:
            yield Problem(
                keys,
                f'{show_path(keys)} says nothing about attribute "{name}"; to allow any value write {name} = ["**"]',
            )


def _of_implied(policy: Policy, route: Route, action: str) -> Iterator[Problem]:
    """What an allowed action implies must be allowed too, or no call of it could ever pass."""
    for name in implied(policy, action):
        if name not in route.allow:
            yield Problem(
                ("routes", route.name, "allow", action),
                f"{action} implies {name}, which route {route.name} does not allow, so it could never be called",
            )


def _of_preview(policy: Policy, route: Route, action: str) -> Iterator[Problem]:
    """Where calls may wait for people, the preview that is shown must be allowed as widely, and delegated as well."""
    preview = policy.action(action).preview
    if not preview or not policy.is_classified(preview) or not _can_wait(policy, route, action):
        return
    keys = ("routes", route.name, "allow", action)
    offered = route.allow.get(preview)
    if offered is None or any(matches_action(pattern, preview) for pattern in route.deny):
        yield Problem(keys, f"{action} is previewed by {preview}, which route {route.name} does not allow")
        return
    for name, constraint in offered.attributes.items():
        asked = route.allow[action].attributes.get(name)
        if asked is not None and not asked.within(constraint):
            yield Problem(keys, f"{action} allows more {name} than {preview}, by which it is previewed")
    if action in route.delegation.actions and preview not in route.delegation.actions:
        yield Problem(
            ("routes", route.name, "delegation", "actions"),
            f"{action} is previewed by {preview}, which is not delegated",
        )


def _of_costs(policy: Policy, route: Route, action: str) -> Iterator[Problem]:
    for unit in policy.action(action).cost:
        if unit not in route.budget:
            yield Problem(
                ("routes", route.name, "budget"),
                f"{action} costs {unit}, so route {route.name} needs a budget of {unit}",
            )


def _of_budget(policy: Policy, keys: KeyPath, budget: Iterable[str]) -> Iterator[Problem]:
    units = {CALLS, TOOL_SECONDS, USD} | {unit for rule in policy.actions.values() for unit in rule.cost}
    for unit in sorted(set(budget) - units):
        yield Problem((*keys, "budget", unit), f'no action costs "{unit}"{suggest(unit, units)}')


def _of_approvers(policy: Policy, route: Route) -> Iterator[Problem]:
    keys = ("routes", route.name, "approvers")
    if REQUESTER in route.approvers:
        yield from _of_requester(policy, route)
        return
    if not route.approvers:
        waiting = [action for action in route.allow if _can_wait(policy, route, action)]
        if waiting:
            yield Problem(
                ("routes", route.name),
                f"{waiting[0]} needs approval in route {route.name}, which names no approvers; "
                f'add approvers, or spell out approve."{waiting[0]}" = "none"',
            )
    known = {role for roles in policy.people.values() for role in roles} | policy.roles.keys() | group_roles(policy)
    for role in route.approvers:
        near = get_close_matches(role, sorted(known), n=1, cutoff=_LIKELY_TYPO)
        if role not in known and near:
            yield Problem(keys, f'nobody holds the role "{role}"; did you mean "{near[0]}"?')


def _of_requester(policy: Policy, route: Route) -> Iterator[Problem]:
    keys = ("routes", route.name, "approvers")
    if len(route.approvers) > 1:
        yield Problem(keys, f'"{REQUESTER}" stands alone in approvers, or not at all')
    if route.quorum is not None and route.quorum > 1:
        yield Problem(
            ("routes", route.name, "quorum"), "a requester is one person; a quorum of more can never be reached"
        )
    for action in route.allow:
        if policy.action(action).effect is Effect.DESTRUCTIVE:
            yield Problem(
                keys,
                f'{action} is destructive, so "{REQUESTER}" cannot approve route {route.name}: '
                "destructive actions need other people",
            )


def _can_wait(policy: Policy, route: Route, action: str) -> bool:
    """Whether some request or call of the action would wait for a person."""
    if any(matches_action(pattern, action) for pattern in route.deny):
        return False
    return need_for_call(policy, route.name, action, ()).mode is not ApprovalMode.NONE


# Roles and tests.


def _of_glass(policy: Policy, rule: GlassRule) -> Iterator[Problem]:
    """What two people may do past a route's rules the route has to offer, with all that it implies."""
    keys = ("break_glass", rule.route)
    route = policy.route(rule.route)
    if route is None:
        yield Problem(keys, f'unknown route "{rule.route}"{suggest(rule.route, policy.routes)}')
        return
    for action in rule.actions:
        if action not in route.allow:
            yield Problem((*keys, "actions", action), f'route {route.name} does not allow "{action}"')
        for below in implied(policy, action):
            if below not in rule.actions:
                yield Problem((*keys, "actions", action), f"{action} implies {below}, which is not listed beside it")


def _of_roles(policy: Policy) -> Iterator[Problem]:
    for person, roles in policy.people.items():
        if REQUESTER in roles:
            yield Problem(("people", person), f'"{REQUESTER}" is no role: it means the person whose run it is')
    for name, rule in policy.sign_in.items():
        if any(REQUESTER in roles for roles in rule.roles.values()):
            yield Problem(("sign_in", name, "roles"), f'"{REQUESTER}" is no role: it means the person whose run it is')
    if REQUESTER in policy.roles:
        yield Problem(("roles", REQUESTER), f'"{REQUESTER}" is no role: it means the person whose run it is')


def _of_acceptance(policy: Policy) -> Iterator[Problem]:
    """Two people have to be able to widen it, or nobody ever could."""
    entitled = [person for person in policy.people if has_power(policy, person, Power.POLICY, EVERYONE)]
    if policy.accept is Acceptance.TWO and len(entitled) < 2:
        yield Problem(
            ("policy", "accept"),
            f"two people have to agree to what widens this policy, and {len(entitled)} could: give two people a role "
            f'with can = ["{Power.POLICY}"] and tenants = ["{EVERYONE}"]',
        )


def _of_reviewers(policy: Policy) -> Iterator[Problem]:
    """One user of a chat is one person, wherever they answer; else they could be two of a quorum."""
    known: dict[str, str] = {}
    for name, rule in policy.notices.items():
        for speaker, person in rule.reviewers.items():
            if known.setdefault(speaker, person) != person:
                yield Problem(
                    ("notices", name, "reviewers", speaker),
                    f"{speaker} is {known[speaker]} in another channel; one user of a chat is one person",
                )


def _of_test(policy: Policy, index: int) -> Iterator[Problem]:
    test, keys = policy.tests[index], ("tests", str(index))
    if test.route not in policy.routes:
        yield Problem((*keys, "route"), f'unknown route "{test.route}"{suggest(test.route, policy.routes)}')
    for key, names in (("allows", test.allows), ("needs_approval", test.needs_approval), ("refuses", test.refuses)):
        yield from _unknown_actions(policy, (*keys, key), names)


# Shared by several.


def _unknown_actions(
    policy: Policy, keys: KeyPath, names: Iterable[str], *, at: KeyPath | None = None
) -> Iterator[Problem]:
    """`at` is where the fault stands where that is not each name below the keys."""
    for name in names:
        if not policy.is_classified(name):
            yield Problem(
                at or (*keys, name),
                f'unknown action "{name}" in {show_path(keys)}{suggest(name, policy.actions)}',
            )


def _not_offered(route: Route, below: KeyPath, names: Iterable[str]) -> Iterator[Problem]:
    keys = ("routes", route.name, *below)
    for name in names:
        if name not in route.allow:
            yield Problem(
                (*keys, name),
                f'{show_path(keys)}: route {route.name} does not allow "{name}"{suggest(name, route.allow)}',
            )
