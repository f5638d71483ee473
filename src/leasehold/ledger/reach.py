"""What a stop reaches: the scopes that an entry stands under, by its own fields. For receipts and the history checker.

A scope is written as `leasehold.model.scope` writes it. What hangs above through a chain of leases is added by callers,
from the entries of those leases.
"""

from __future__ import annotations

from leasehold.ledger.entry import Entry
from leasehold.model.grant import split_action
from leasehold.model.scope import ScopeKind

__all__ = ["action_scopes", "is_of_action", "reaches_tenant", "scopes_over"]


def scopes_over(entry: Entry) -> frozenset[str]:
    """The scopes over what the entry tells of, actions apart: its run, lease, request, agent, tenant and so on."""
    named = (
        (ScopeKind.TENANT, entry.tenant),
        (ScopeKind.ENVIRONMENT, entry.environment),
        (ScopeKind.ROUTE, entry.route),
        (ScopeKind.AGENT, entry.agent),
        (ScopeKind.PERSON, entry.requested_by),
        (ScopeKind.RUN, entry.run),
        (ScopeKind.RUN, entry.parent_run),
        (ScopeKind.REQUEST, entry.request),
        (ScopeKind.REQUEST, entry.approval),
        (ScopeKind.LEASE, entry.lease),
        *((ScopeKind.LEASE, parent) for parent in entry.parents),
    )
    return frozenset({str(ScopeKind.ALL), *(f"{kind}:{value}" for kind, value in named if value)})


def action_scopes(*actions: str) -> frozenset[str]:
    """The scopes over some actions: each of them, and its tool."""
    tools = {f"{ScopeKind.TOOL}:{split_action(action)[0]}" for action in actions}
    return frozenset({*tools, *(f"{ScopeKind.ACTION}:{action}" for action in actions)})


def is_of_action(scope: str) -> bool:
    """Whether a scope is that of an action or a tool."""
    return scope.partition(":")[0] in (ScopeKind.ACTION, ScopeKind.TOOL)


def reaches_tenant(stop: Entry, tenant: str) -> bool:
    """Whether a stop counts in a tenant: it was set there, or over every tenant."""
    return stop.tenant in ("", tenant)
