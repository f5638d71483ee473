"""What kind of change an action makes, and who has to agree to it. Called by policy, decide and cards."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["ApprovalMode", "Effect"]


class Effect(StrEnum):
    """Declared per action by the operator; an action that nobody classified is destructive."""

    READ = "read"
    WRITE = "write"
    DESTRUCTIVE = "destructive"

    @property
    def rank(self) -> int:
        """0 for read, 1 for write, 2 for destructive."""
        return _EFFECT_RANK[self]


class ApprovalMode(StrEnum):
    """When a person has to agree: never, once for the whole lease, or for each call."""

    NONE = "none"
    LEASE = "lease"
    CALL = "call"

    @property
    def rank(self) -> int:
        """0 for none, 1 for lease, 2 for call; the higher is the stricter."""
        return _MODE_RANK[self]


_EFFECT_RANK = {Effect.READ: 0, Effect.WRITE: 1, Effect.DESTRUCTIVE: 2}
_MODE_RANK = {ApprovalMode.NONE: 0, ApprovalMode.LEASE: 1, ApprovalMode.CALL: 2}
