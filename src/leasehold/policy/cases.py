"""The `[[tests]]` of a policy: what its author expects of each route. Called by `policy test` and the pytest plugin."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from leasehold.model.decision import Reason
from leasehold.model.effect import ApprovalMode
from leasehold.policy.document import Policy
from leasehold.policy.evaluate import check_grants, need_for_call

__all__ = ["Mismatch", "Outcome", "outcome_of", "run_tests"]


class Outcome(StrEnum):
    """What becomes of an action in a route, asked for as widely as the route offers it."""

    ALLOWS = "allows"
    NEEDS_APPROVAL = "needs_approval"
    REFUSES = "refuses"


class Mismatch(msgspec.Struct, frozen=True, kw_only=True):
    """One expectation that does not hold. `test` is the position of its `[[tests]]` entry, from 0."""

    test: int
    route: str
    action: str
    expected: Outcome
    actual: Outcome
    why: str


def outcome_of(policy: Policy, route: str, action: str) -> tuple[Outcome, str]:
    """Return what becomes of the action, and the rule or reason that says so. Refused means that no call can pass."""
    found = policy.route(route)
    offered = found.allow.get(action) if found else None
    if found is None or offered is None:
        return Outcome.REFUSES, f"route {route} does not allow {action}"
    decision = check_grants(policy, route, {action: offered}, ())
    # Where the route offers less of an implied action than of this one, a narrower request still passes.
    if not decision.is_allowed and decision.reason is not Reason.OUT_OF_RANGE:
        return Outcome.REFUSES, decision.message
    need = need_for_call(policy, route, action, [found.allow])
    return (Outcome.ALLOWS if need.mode is ApprovalMode.NONE else Outcome.NEEDS_APPROVAL), need.rule


def run_tests(policy: Policy) -> list[Mismatch]:
    """Return every expectation that does not hold; an empty list means that all tests pass."""
    mismatches = []
    for position, test in enumerate(policy.tests):
        for expected, actions in (
            (Outcome.ALLOWS, test.allows),
            (Outcome.NEEDS_APPROVAL, test.needs_approval),
            (Outcome.REFUSES, test.refuses),
        ):
            for action in actions:
                actual, why = outcome_of(policy, test.route, action)
                if actual is not expected:
                    mismatches.append(
                        Mismatch(
                            test=position, route=test.route, action=action, expected=expected, actual=actual, why=why
                        )
                    )
    return mismatches
