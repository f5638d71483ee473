"""What a policy would have made of calls that were made under others. Called by `leasehold policy diff --backtest`.

A fold over past calls, one at a time, so that a ledger of any length can be read through it. Each call is judged twice,
by the policy that was active then and by the new one: what is told apart is what the policies do, not what else a call
met (expiry, stops, budgets). What the record cannot tell is counted as that, never guessed.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from leasehold.model.effect import ApprovalMode
from leasehold.model.grant import ANY, Attributes, Grant, OneOf
from leasehold.policy.document import EVERYONE, Policy
from leasehold.policy.evaluate import ApprovalNeed, check_call, check_start, need_for_call
from leasehold.policy.order import prerequisites
from leasehold.policy.past_word import Asked, PastWord, would_count
from leasehold.policy.timing import refuse_time
from leasehold.policy.wording import route_rule

__all__ = ["Backtest", "Outcome", "PastCall", "Replayed"]

_EXAMPLES = 3


class Outcome(StrEnum):
    """What would become of a call now, where that differs from what became of it."""

    ALLOWED = "allowed"
    DENIED = "denied"
    NEEDS_PEOPLE = "needs_people"
    FEWER_PEOPLE = "fewer_people"
    UNTOLD = "untold"


class PastCall(msgspec.Struct, frozen=True, kw_only=True):
    """One call as the ledger has it. `index` is that of its entry.

    `attributes` is None where the record has none though the action had some. `depth` is how deep below the run that
    was started it was made. Of an admitted call `mode` and `quorum` say what was demanded, `words` who agreed, and how.
    """

    index: int
    is_admitted: bool
    route: str
    agent: str
    tenant: str
    environment: str
    action: str
    attributes: Attributes | None
    made_at: int
    requested_by: str = ""
    depth: int = 0
    mode: ApprovalMode = ApprovalMode.NONE
    quorum: int = 0
    words: tuple[PastWord, ...] = ()


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """Calls that would fare alike: what became of them, what would now, by which rule, how many, and the first few."""

    was: str
    now: Outcome
    route: str
    action: str
    rule: str
    count: int
    examples: tuple[int, ...]


class Backtest:
    """A count of past calls by what a new policy would make of them. Owned by the one who reads the ledger."""

    def __init__(self, new: Policy) -> None:
        self._new = new
        self._groups: dict[tuple[str, Outcome, str, str, str], list[int]] = {}
        self._counts: dict[tuple[str, Outcome, str, str, str], int] = {}
        self.calls = 0
        self.same = 0

    def add(self, call: PastCall, old: Policy) -> None:
        """Judge one call; `old` is the policy that it was decided by."""
        self.calls += 1
        found = _judge(call, old, self._new)
        if found is None:
            self.same += 1
            return
        outcome, rule = found
        group = ("admitted" if call.is_admitted else "refused", outcome, call.route, call.action, rule)
        self._counts[group] = self._counts.get(group, 0) + 1
        examples = self._groups.setdefault(group, [])
        if len(examples) < _EXAMPLES:
            examples.append(call.index)

    def groups(self) -> list[Replayed]:
        """Everything that would fare differently, the most frequent first."""
        found = [
            Replayed(
                was=was,
                now=now,
                route=route,
                action=action,
                rule=rule,
                count=self._counts[was, now, route, action, rule],
                examples=tuple(examples),
            )
            for (was, now, route, action, rule), examples in self._groups.items()
        ]
        return sorted(found, key=lambda group: (-group.count, group.examples))


def _judge(call: PastCall, old: Policy, new: Policy) -> tuple[Outcome, str] | None:
    """What would differ, and the rule or the reason; None if nothing would."""
    if unread := _unread(call, old, new):
        return Outcome.UNTOLD, unread
    was, now = _refusal(call, old), _refusal(call, new)
    if now is not None:
        return (Outcome.DENIED, now) if call.is_admitted else None
    if not call.is_admitted:
        return None if was is None else _opened(call, new)
    later = prerequisites(new, call.route, call.action).keys() - prerequisites(old, call.route, call.action).keys()
    if later:
        return Outcome.UNTOLD, f"the order of calls in its run: {', '.join(sorted(later))} first"
    return _people(call, old, new)


def _unread(call: PastCall, old: Policy, new: Policy) -> str:
    """Why nothing can be said: the values that the new policy looks at are not in the record."""
    if not new.is_classified(call.action):
        return ""  # refused, whatever its values were
    if call.attributes is None:
        return "its values are not in the ledger"
    then, now = old.action(call.action).args, new.action(call.action).args
    if call.attributes.keys() != now.keys() or any(then.get(name) != path for name, path in now.items()):
        return f'actions."{call.action}".args: the values it reads now are not in the ledger'
    return ""


def _refusal(call: PastCall, policy: Policy) -> str | None:
    """The rule by which a policy refuses a call, whatever lease it is made under; None if it does not."""
    route = policy.route(call.route)
    if route is None:
        return f"{route_rule(call.route)} is gone"
    agent = call.agent if call.depth == 0 or route.agents == (EVERYONE,) else route.agents[0]
    start = check_start(policy, route=call.route, agent=agent, tenant=call.tenant, environment=call.environment)
    if not start.is_allowed:
        return start.rule
    attributes = call.attributes or {}
    exact = Grant(call.action, {name: OneOf(tuple(dict.fromkeys(values))) for name, values in attributes.items()})
    verdict = check_call(policy, call.route, call.action, attributes, [({call.action: exact}, ())])
    if not verdict.is_allowed:
        return verdict.rule or str(verdict.reason)
    if call.depth > route.delegation.depth or (call.depth and call.action not in route.delegation.actions):
        return f"{route_rule(call.route)}.delegation"
    closed = refuse_time(policy, route, call.action, call.made_at)
    return None if closed is None else closed.rule


def _opened(call: PastCall, new: Policy) -> tuple[Outcome, str]:
    """What becomes of a call that the old policy refused and the new one does not."""
    _, exact = _needs(new, call)
    if exact.mode is ApprovalMode.NONE:
        return Outcome.ALLOWED, f'{route_rule(call.route)}.allow."{call.action}"'
    return Outcome.NEEDS_PEOPLE, exact.rule


def _people(call: PastCall, old: Policy, new: Policy) -> tuple[Outcome, str] | None:
    """Whether other people would have to agree; untold where that hangs on a lease that the record does not show."""
    shapes = [(then, now) for then, now in zip(_needs(old, call), _needs(new, call), strict=True)]
    fitting = [now for then, now in shapes if then.mode is call.mode] or [now for _, now in shapes]
    found = {_compare(call, need, new) for need in fitting}
    if len(found) > 1:
        return Outcome.UNTOLD, "whether its lease named exact values"
    outcome = found.pop()
    if outcome is Outcome.UNTOLD:
        return outcome, "whether those who agreed were in groups that [sign_in] names only now"
    return None if outcome is None else (outcome, fitting[0].rule)


def _needs(policy: Policy, call: PastCall) -> tuple[ApprovalNeed, ApprovalNeed]:
    """Who has to agree under a lease that is not exact, and under one for exactly this call."""
    names = policy.action(call.action).args
    wide, exact = (
        need_for_call(policy, call.route, call.action, [{call.action: Grant(call.action, dict.fromkeys(names, entry))}])
        for entry in (ANY, OneOf(("value",)))
    )
    return wide, exact


def _compare(call: PastCall, need: ApprovalNeed, new: Policy) -> Outcome | None:
    if need.mode.rank > call.mode.rank or need.quorum > call.quorum:
        return Outcome.NEEDS_PEOPLE
    if need.mode is not ApprovalMode.NONE:
        sure, perhaps = _counted(call, need, new)
        if sure < need.quorum:
            return Outcome.UNTOLD if perhaps >= need.quorum else Outcome.NEEDS_PEOPLE
    is_less = need.mode.rank < call.mode.rank or need.quorum < call.quorum
    return Outcome.FEWER_PEOPLE if is_less else None


def _counted(call: PastCall, need: ApprovalNeed, new: Policy) -> tuple[int, int]:
    """How many of the people who agreed would count, and how many at most."""
    asked = Asked(route=call.route, requested_by=call.requested_by, effect=need.effect, at=call.made_at)
    found = [(word.person, would_count(new, word, asked)) for word in call.words]
    sure = {person for person, counts in found if counts}
    return len(sure), len(sure | {person for person, counts in found if counts is None})
