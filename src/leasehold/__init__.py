"""Capability leases for AI agents: power briefly, for one reason, with a receipt.

The beginner's API. Everything is loaded when it is first used, so importing this package costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from leasehold.assemble import open_authority as open  # noqa: A004 - `leasehold.open` reads like `sqlite3.connect`
    from leasehold.authority import Authority
    from leasehold.client.remote import connect
    from leasehold.errors import ApprovalNeeded, ConfigError, Denied, Edited, InvalidError, LeaseholdError, StoreError
    from leasehold.guard import Capability, Guard, Toolbox
    from leasehold.model.call import Call, Outcome
    from leasehold.model.decision import Decision, Reason
    from leasehold.model.lease import HeldLease
    from leasehold.model.preview import Preview
    from leasehold.model.scope import Scope

__all__ = [
    "ApprovalNeeded",
    "Authority",
    "Call",
    "Capability",
    "ConfigError",
    "Decision",
    "Denied",
    "Edited",
    "Guard",
    "HeldLease",
    "InvalidError",
    "LeaseholdError",
    "Outcome",
    "Preview",
    "Reason",
    "Scope",
    "StoreError",
    "Toolbox",
    "connect",
    "open",
]

_PLACES = {
    "ApprovalNeeded": "leasehold.errors",
    "Authority": "leasehold.authority",
    "Call": "leasehold.model.call",
    "Capability": "leasehold.guard",
    "ConfigError": "leasehold.errors",
    "Decision": "leasehold.model.decision",
    "Denied": "leasehold.errors",
    "Edited": "leasehold.errors",
    "Guard": "leasehold.guard",
    "HeldLease": "leasehold.model.lease",
    "InvalidError": "leasehold.errors",
    "LeaseholdError": "leasehold.errors",
    "Outcome": "leasehold.model.call",
    "Preview": "leasehold.model.preview",
    "Reason": "leasehold.model.decision",
    "Scope": "leasehold.model.scope",
    "StoreError": "leasehold.errors",
    "Toolbox": "leasehold.guard",
    "connect": "leasehold.client.remote",
}


def __getattr__(name: str) -> object:
    """Load a public name when it is first asked for (PEP 562)."""
    if name == "open":
        return import_module("leasehold.assemble").open_authority
    if name not in _PLACES:
        raise AttributeError(f"module 'leasehold' has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
