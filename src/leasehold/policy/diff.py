"""What a changed policy changes, item by item, and which items widen. Called by `policy diff` and `policy accept`.

Two policies with different hashes always differ here in at least one item. A change whose effect cannot be told for
certain, such as an attribute read from another argument, counts as widening.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping

import msgspec
from msgspec.structs import replace

from leasehold.model.budget import format_amount
from leasehold.model.effect import ApprovalMode
from leasehold.model.grant import Constraint, Grants
from leasehold.policy.client_rule import ClientRule, RunsRight, WorkloadIdentity
from leasehold.policy.document import (
    EVERYONE,
    Acceptance,
    ActionRule,
    IssuerRule,
    NoticeRule,
    Policy,
    PublicJwk,
    Rate,
    Route,
    SignInRule,
    WhoComesIn,
)
from leasehold.policy.evaluate import default_quorum, finish_seconds, implied, own_mode
from leasehold.policy.identities import gained_tokens
from leasehold.policy.opening import opened, thawed
from leasehold.policy.timing import show_freeze, show_hours
from leasehold.policy.wording import show_attributes, show_constraint, show_door, show_identity

__all__ = ["Change", "diff", "diff_issuer"]


class Change(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """One difference. What appeared has no `before`, what vanished no `after`.

    `route` and `action` are empty where the change is not about one; `subject` is the key, such as `allow.ticket`.
    `widens` says whether something may pass, or pass with fewer people or for longer, that could not before.
    """

    route: str = ""
    action: str = ""
    subject: str
    before: str
    after: str
    widens: bool


def diff(old: Policy, new: Policy) -> list[Change]:
    """Return every difference in what decides, sorted by route, action and subject. Tests do not decide."""
    changes = [
        *_value("version", old.version, new.version),
        *_value("authority", old.authority, new.authority),
        *_value("policy.accept", old.accept, new.accept, widens=new.accept is Acceptance.ONE),
        *_people(old, new),
        *_roles(old, new),
        *_defaults(old, new),
        *_notices(old, new),
        *_break_glass(old, new),
        *_issuers(old, new),
        *_clients(old, new),
        *_sign_in(old, new),
    ]
    for action in old.actions.keys() | new.actions.keys():
        changes += [replace(change, action=action) for change in _action(old, new, action)]
    for name in old.routes.keys() | new.routes.keys():
        changes += [replace(change, route=name) for change in _route(old, new, name)]
    return sorted(changes)


# Building blocks: each yields nothing where nothing changed.


def _value(subject: str, before: object, after: object, *, widens: bool = False) -> Iterator[Change]:
    if before != after:
        yield Change(subject=subject, before=_text(before), after=_text(after), widens=widens)


def _presence(subject: str, name: str, *, was: bool, is_now: bool, widens: bool = False) -> Iterator[Change]:
    yield from _value(subject, name if was else None, name if is_now else None, widens=widens)


def _limit(subject: str, before: int | None, after: int | None) -> Iterator[Change]:
    """A bound on time or number: more widens, none at all is the most."""
    yield from _value(subject, before, after, widens=_size(after) > _size(before))


def _names(
    subject: str, before: Iterable[str], after: Iterable[str], *, added: bool, removed: bool
) -> Iterator[Change]:
    """A set of names; `added` and `removed` say which way it widens."""
    old, new = set(before), set(after)
    for name in new - old:
        yield Change(subject=subject, before="", after=name, widens=added)
    for name in old - new:
        yield Change(subject=subject, before=name, after="", widens=removed)


def _amounts(
    subject: str, before: Mapping[str, int | None], after: Mapping[str, int | None], *, more_widens: bool
) -> Iterator[Change]:
    """Amounts by unit; a unit that is not named counts as nothing, None as all there is."""
    for unit in before.keys() | after.keys():
        old, new = before.get(unit, 0), after.get(unit, 0)
        grows = _size(new) > _size(old)
        shown = (_amount(before, unit), _amount(after, unit))
        yield from _value(f"{subject}.{unit}", *shown, widens=grows if more_widens else _size(new) < _size(old))


def _size(number: int | None) -> float:
    return math.inf if number is None else number


def _amount(amounts: Mapping[str, int | None], unit: str) -> str:
    if unit not in amounts:
        return ""
    amount = amounts[unit]
    return "all" if amount is None else format_amount(amount)


def _text(value: object) -> str:
    return "" if value is None else str(value)


# The document.


def _people(old: Policy, new: Policy) -> Iterator[Change]:
    for person in old.people.keys() | new.people.keys():
        before, after = old.people.get(person), new.people.get(person)
        yield from _names(f"people.{person}", before or (), after or (), added=True, removed=False)
        yield from _presence("people", person, was=before is not None, is_now=after is not None)


def _notices(old: Policy, new: Policy) -> Iterator[Change]:
    """A channel that falls silent or leads elsewhere lets things happen unseen, so it widens; a new one tells more."""
    for name in old.notices.keys() | new.notices.keys():
        before, after = old.notices.get(name), new.notices.get(name)
        yield from _presence("notices", name, was=before is not None, is_now=after is not None, widens=after is None)
        reviewers = [_reviewers(before), _reviewers(after)]
        yield from _names(f"notices.{name}.reviewers", *reviewers, added=True, removed=False)
        if before is None or after is None:
            continue
        subject = f"notices.{name}"
        yield from _names(f"{subject}.events", before.events, after.events, added=False, removed=True)
        for field in ("kind", "url", "to", "sender", "user", "tenants", "networks", "console"):
            shown = (_listed(getattr(before, field)), _listed(getattr(after, field)))
            yield from _value(f"{subject}.{field}", *shown, widens=True)


def _reviewers(rule: NoticeRule | None) -> list[str]:
    """Each way by which somebody can answer in a chat."""
    return [f"{speaker} = {person}" for speaker, person in rule.reviewers.items()] if rule is not None else []


def _listed(value: str | tuple[str, ...]) -> str:
    return value if isinstance(value, str) else ", ".join(value)


def _roles(old: Policy, new: Policy) -> Iterator[Change]:
    for role in old.roles.keys() | new.roles.keys():
        before, after = old.roles.get(role), new.roles.get(role)
        for key in ("can", "tenants"):
            yield from _names(
                f"roles.{role}.{key}", getattr(before, key, ()), getattr(after, key, ()), added=True, removed=False
            )
        yield from _presence("roles", role, was=before is not None, is_now=after is not None)


def _defaults(old: Policy, new: Policy) -> Iterator[Change]:
    before, after = old.defaults, new.defaults
    yield from _limit("defaults.timeout", before.timeout_seconds, after.timeout_seconds)
    yield from _limit("defaults.answer_within", before.answer_within_seconds, after.answer_within_seconds)
    yield from _limit("defaults.ttl", before.ttl_seconds, after.ttl_seconds)
    yield from _limit("defaults.max_ttl", before.max_ttl_seconds, after.max_ttl_seconds)
    yield from _limit("defaults.run_ttl", before.run_ttl_seconds, after.run_ttl_seconds)
    yield from _amounts("defaults.budget", before.budget, after.budget, more_widens=True)
    yield from _limit("defaults.pending_per_run", before.pending_per_run, after.pending_per_run)
    yield from _value(
        "defaults.destructive_by_passkey",
        before.destructive_by_passkey,
        after.destructive_by_passkey,
        widens=before.destructive_by_passkey,
    )
    yield from _limit(
        "defaults.destructive_sign_in_within", before.destructive_sign_in_seconds, after.destructive_sign_in_seconds
    )


def _break_glass(old: Policy, new: Policy) -> Iterator[Change]:
    """What two people may do past the rules of a route: more of anything widens."""
    for route in old.break_glass.keys() | new.break_glass.keys():
        before, after = old.break_glass.get(route), new.break_glass.get(route)
        for key in ("openers", "confirmers", "actions", "skips"):
            names = getattr(before, key, ()), getattr(after, key, ())
            for change in _names(f"break_glass.{key}", *names, added=True, removed=False):
                yield replace(change, route=route)
        minutes = (before.minutes if before else 0, after.minutes if after else 0)
        for change in _limit("break_glass.minutes", *minutes):
            yield replace(change, route=route)


def _issuers(old: Policy, new: Policy) -> Iterator[Change]:
    for name in old.issuers.keys() | new.issuers.keys():
        yield from diff_issuer(name, old.issuers.get(name), new.issuers.get(name))


def diff_issuer(name: str, before: IssuerRule | None, after: IssuerRule | None) -> Iterator[Change]:
    """Whoever may say who somebody is: one more, another audience, and keys that come from elsewhere all widen."""
    yield from _presence("issuers", name, was=before is not None, is_now=after is not None, widens=before is None)
    if before is None or after is None:
        return
    subject = f"issuers.{name}"
    yield from _value(f"{subject}.audience", before.audience, after.audience, widens=True)
    yield from _value(f"{subject}.keys", before.keys, after.keys, widens=True)
    listed = [tuple(map(_show_jwk, rule.listed)) for rule in (before, after)]
    yield from _names(f"{subject}.keys.listed", *listed, added=True, removed=False)
    yield from _names(f"{subject}.networks", before.networks, after.networks, added=True, removed=False)


def _sign_in(old: Policy, new: Policy) -> Iterator[Change]:
    """Who may sign people in, and what their groups mean here: one more, another, or more of it widens."""
    for name in old.sign_in.keys() | new.sign_in.keys():
        before, after = old.sign_in.get(name), new.sign_in.get(name)
        widens = before is None or (after is None and _is_freed(new, before))
        yield from _presence("sign_in", name, was=before is not None, is_now=after is not None, widens=widens)
        roles_before, roles_after = before.roles if before else {}, after.roles if after else {}
        subject = f"sign_in.{name}"
        for group in roles_before.keys() | roles_after.keys():
            pair = roles_before.get(group, ()), roles_after.get(group, ())
            yield from _names(f"{subject}.roles.{group}", *pair, added=True, removed=False)
        if before is None or after is None:
            continue
        for field in ("issuer", "client_id", "person", "groups"):
            yield from _value(f"{subject}.{field}", getattr(before, field), getattr(after, field), widens=True)
        opens = after.people is WhoComesIn.GROUPS
        yield from _value(f"{subject}.people", before.people, after.people, widens=opens)
        yield from _names(f"{subject}.scopes", before.scopes, after.scopes, added=False, removed=False)
        yield from _limit(f"{subject}.groups_for", before.groups_seconds, after.groups_seconds)
        yield from _limit(f"{subject}.max_age", before.max_age_seconds, after.max_age_seconds)
        yield from _value(f"{subject}.secret", before.secret, after.secret, widens=before.secret)
        yield from _names(f"{subject}.networks", before.networks, after.networks, added=True, removed=False)


def _is_freed(new: Policy, gone: SignInRule) -> bool:
    """Whether tokens that named two people, and so nobody, name one now that this provider is gone."""
    return any(rule.issuer == gone.issuer and rule.person != gone.person for rule in new.sign_in.values())


def _show_jwk(jwk: PublicJwk) -> str:
    return ", ".join(f"{name} {value}" for name, value in jwk)


def _clients(old: Policy, new: Policy) -> Iterator[Change]:
    """Who may call over the network: a new client, more of what it may start, another door, another way to be it.

    Less of one client widens where a token that was two clients', and so nobody's, is the other's from then on.
    """
    freed = {name for causes in gained_tokens(old, new).values() for name in causes}
    for name in old.clients.keys() | new.clients.keys():
        before, after = old.clients.get(name), new.clients.get(name)
        subject = f"clients.{name}"
        yield from _presence("clients", name, was=before is not None, is_now=after is not None, widens=before is None)
        runs = (before.runs if before else None), (after.runs if after else None)
        for key in RunsRight.__struct_fields__:
            names: tuple[str, ...] = getattr(runs[0], key, ())
            yield from _names(
                f"{subject}.runs.{key}",
                names,
                getattr(runs[1], key, ()),
                added=names != (EVERYONE,),
                removed=False,
            )
        doors = [_door(rule) for rule in (before, after)]
        yield from _value(f"{subject}.door", *doors, widens=doors[1] is not None)
        addresses = [rule.redirects if rule is not None else () for rule in (before, after)]
        yield from _names(f"{subject}.redirects", *addresses, added=True, removed=False)
        widens = name in freed or _is_unproven(before, after)
        for change in _identity(subject, *(rule.identity if rule is not None else None for rule in (before, after))):
            yield replace(change, widens=change.widens or widens)


def _door(rule: ClientRule | None) -> str | None:
    return show_door(rule.door) if rule is not None and rule.door is not None else None


def _is_unproven(before: ClientRule | None, after: ClientRule | None) -> bool:
    """Whether a client that people consent to had to prove who it is, and has no more, unless it has an API key."""
    had = before is not None and before.identity is not None
    return had and after is not None and after.identity is None and bool(after.redirects)


def _identity(subject: str, before: WorkloadIdentity | None, after: WorkloadIdentity | None) -> Iterator[Change]:
    """Tokens by which a client is known; those that also had to have another claim before are none that are new."""
    widens = after is not None and (before is None or not after.within(before))
    shown = [show_identity(identity) if identity is not None else None for identity in (before, after)]
    yield from _value(f"{subject}.identity", *shown, widens=widens)


# Actions.


def _action(old: Policy, new: Policy, name: str) -> Iterator[Change]:
    before, after = old.actions.get(name), new.actions.get(name)
    yield from _presence("actions", name, was=before is not None, is_now=after is not None)
    if before is not None and after is not None:
        yield from _value("effect", before.effect, after.effect, widens=after.effect.rank < before.effect.rank)
        yield from _args(before, after)
        yield from _names("implies", before.implies, after.implies, added=False, removed=True)
        yield from _names("uses", before.uses, after.uses, added=True, removed=False)
        yield from _names("redact", before.redact, after.redact, added=False, removed=True)
        yield from _value("key", ", ".join(before.key), ", ".join(after.key), widens=True)
        yield from _amounts("cost", before.cost, after.cost, more_widens=False)
        yield from _value(
            "timeout",
            before.timeout_seconds,
            after.timeout_seconds,
            widens=finish_seconds(new, name) > finish_seconds(old, name)
            or (after.timeout_seconds or 0) < (before.timeout_seconds or 0),
        )
        yield from _value("idempotent", before.idempotent, after.idempotent, widens=after.idempotent)
        yield from _limit("fresh", before.fresh_seconds, after.fresh_seconds)
        yield from _value("undo", before.undo, after.undo)
        yield from _value("headline", before.headline, after.headline)
        yield from _value("preview", before.preview, after.preview, widens=before.preview != "")


def _args(before: ActionRule, after: ActionRule) -> Iterator[Change]:
    """An attribute that is new can only be checked more; any other change may let values past their constraint."""
    for name in before.args.keys() | after.args.keys():
        yield from _value(f"args.{name}", before.args.get(name), after.args.get(name), widens=name in before.args)


# Routes.


def _route(old: Policy, new: Policy, name: str) -> Iterator[Change]:
    before, after = old.routes.get(name), new.routes.get(name)
    yield from _presence("routes", name, was=before is not None, is_now=after is not None, widens=before is None)
    yield from _allow(before.allow if before else {}, after.allow if after else {})
    if before is not None and after is not None:
        yield from _audience(before, after)
        yield from _names("deny", before.deny, after.deny, added=False, removed=True)
        yield from _approval(old, new, before, after)
        yield from _order(before, after)
        yield from _times(old, new, before, after)
        yield from _terms(before, after)


def _allow(before: Grants, after: Grants) -> Iterator[Change]:
    for action in before.keys() | after.keys():
        old, new = before.get(action), after.get(action)
        if old is None or new is None:
            yield Change(
                action=action,
                subject="allow",
                before=show_attributes(old) if old else "",
                after=show_attributes(new) if new else "",
                widens=old is None,
            )
        else:
            for name in old.attributes.keys() | new.attributes.keys():
                for change in _constraint(name, old.attributes.get(name), new.attributes.get(name)):
                    yield replace(change, action=action)


def _constraint(name: str, old: Constraint | None, new: Constraint | None) -> Iterator[Change]:
    if old != new:
        yield Change(
            subject=f"allow.{name}",
            before=show_constraint(old) if old else "",
            after=show_constraint(new) if new else "",
            widens=old is not None and (new is None or not new.within(old)),
        )


def _audience(before: Route, after: Route) -> Iterator[Change]:
    for key in ("agents", "tenants", "environments"):
        names: tuple[str, ...] = getattr(before, key)
        yield from _names(f"for.{key}", names, getattr(after, key), added=names != (EVERYONE,), removed=False)


def _approval(old: Policy, new: Policy, before: Route, after: Route) -> Iterator[Change]:
    """Who has to agree to each action: what is spelled out, and what it comes to by its effect."""
    kept = before.allow.keys() & after.allow.keys()
    for action in kept | before.approve.keys() | after.approve.keys():
        modes_before, modes_after = _modes(old, before, action), _modes(new, after, action)
        is_laxer = any(now.rank < was.rank for was, now in zip(modes_before, modes_after, strict=True))
        shown = (_show_modes(before, action, modes_before), _show_modes(after, action, modes_after))
        for change in _value("approve", *shown, widens=is_laxer):
            yield replace(change, action=action)
    is_lower = any(_quorum(new, after, action) < _quorum(old, before, action) for action in kept)
    yield from _value("quorum", before.quorum, after.quorum, widens=is_lower)
    yield from _names("approvers", before.approvers, after.approvers, added=True, removed=False)


def _modes(policy: Policy, route: Route, action: str) -> tuple[ApprovalMode, ApprovalMode]:
    """Under a lease that is not exact, and under one that names exact values only."""
    rule = policy.action(action)
    return own_mode(route, rule, is_exact=False)[0], own_mode(route, rule, is_exact=True)[0]


def _show_modes(route: Route, action: str, modes: tuple[ApprovalMode, ApprovalMode]) -> str:
    if action in route.approve:
        return f"{modes[0]}"
    return f"{modes[0]} by effect" if modes[0] is modes[1] else f"{modes[0]} by effect, {modes[1]} for exact values"


def _quorum(policy: Policy, route: Route, action: str) -> int:
    return default_quorum(policy.action(action).effect) if route.quorum is None else route.quorum


def _times(old: Policy, new: Policy, before: Route, after: Route) -> Iterator[Change]:
    """Hours and freezes, each in words; whether they widen is compared to the minute, and to the second."""
    pairs = [((name, *implied(old, name)), (name, *implied(new, name))) for name in before.allow if name in after.allow]
    opens = any(opened(before, was, after, now) for was, now in pairs)
    thaws = any(thawed(before, was, after, now) for was, now in pairs)
    yield from _value("hours", _list_hours(before), _list_hours(after), widens=opens)
    yield from _value("freeze", _list_freezes(before), _list_freezes(after), widens=thaws)


def _order(before: Route, after: Route) -> Iterator[Change]:
    for action in before.after.keys() | after.after.keys():
        names = before.after.get(action, ()), after.after.get(action, ())
        for change in _names("after", *names, added=False, removed=action in after.allow):
            yield replace(change, action=action)


def _list_hours(route: Route) -> str:
    return "; ".join(show_hours(each) + _only_for(each.actions) for each in route.hours)


def _list_freezes(route: Route) -> str:
    return "; ".join(f"{show_freeze(each)}{_only_for(each.actions)}: {each.reason}" for each in route.freeze)


def _only_for(actions: Iterable[str]) -> str:
    return "".join(f" for {name}" for name in actions)


def _rate(subject: str, before: Rate | None, after: Rate | None) -> Iterator[Change]:
    """A breaker's rate is laxer if it needs more bad calls, or looks back less far; none at all is the laxest."""
    is_laxer = before is not None and (after is None or after.limit > before.limit or after.of < before.of)
    yield from _value(subject, before, after, widens=is_laxer)


def _terms(before: Route, after: Route) -> Iterator[Change]:
    yield from _limit("answer_within", before.answer_within_seconds, after.answer_within_seconds)
    yield from _limit("ttl", before.ttl_seconds, after.ttl_seconds)
    yield from _limit("max_ttl", before.max_ttl_seconds, after.max_ttl_seconds)
    yield from _limit("run_ttl", before.run_ttl_seconds, after.run_ttl_seconds)
    yield from _amounts("budget", before.budget, after.budget, more_widens=True)
    yield from _names("ends_on", before.ends_on, after.ends_on, added=False, removed=True)
    for key in ("errors", "denials"):
        rates = (getattr(before.breaker, key, None), getattr(after.breaker, key, None))
        yield from _rate(f"breaker.{key}", *rates)
    yield from _limit("delegation.depth", before.delegation.depth, after.delegation.depth)
    yield from _limit("delegation.children", before.delegation.children, after.delegation.children)
    yield from _names(
        "delegation.actions", before.delegation.actions, after.delegation.actions, added=True, removed=False
    )
