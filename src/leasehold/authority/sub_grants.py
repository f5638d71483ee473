"""What an admitted call may use of other tools: its grants, narrowed to it, with their tokens. Attached by doors."""

from __future__ import annotations

from msgspec.structs import replace

from leasehold.authority.engine import Engine
from leasehold.model.call import Admission
from leasehold.model.grant import Grant, split_action
from leasehold.model.lease import Lease

__all__ = ["narrow_to", "with_sub_grants"]


def with_sub_grants(engine: Engine, admission: Admission, lease: Lease) -> Admission:
    """An admission with what its lease grants of the sub-actions that its action declares. Never stored."""
    if not admission.uses:
        return admission
    offered = {action: lease.allow[action] for action in admission.uses if action in lease.allow}
    narrowed = {action: narrow_to(grant, admission.grant) for action, grant in offered.items()}
    grants = {action: grant for action, grant in narrowed.items() if grant is not None}
    tools = sorted({split_action(action)[0] for action in grants})
    return replace(admission, sub_grants=grants, tokens={tool: engine.token(lease, tool) for tool in tools})


def narrow_to(grant: Grant, call: Grant) -> Grant | None:
    """A sub-action's grant with the call's own values wherever attributes have equal names; None if they do not fit."""
    shared = {name: entry for name, entry in call.attributes.items() if name in grant.attributes}
    if any(not entry.within(grant.attributes[name]) for name, entry in shared.items()):
        return None
    return Grant(grant.action, {**grant.attributes, **shared})
