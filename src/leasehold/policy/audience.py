"""Lists of agents, tenants, environments or routes, in which a `*` alone means any. For `reach` and `programs`."""

from __future__ import annotations

from leasehold.policy.document import EVERYONE

__all__ = ["added_names", "shared_names"]


def shared_names(left: tuple[str, ...], right: tuple[str, ...]) -> tuple[str, ...]:
    """What both lists name."""
    if left == (EVERYONE,):
        return right
    return left if right == (EVERYONE,) else tuple(name for name in right if name in left)


def added_names(old: tuple[str, ...], new: tuple[str, ...]) -> tuple[str, ...]:
    """What the new list names and the old one did not."""
    return () if old == (EVERYONE,) else tuple(name for name in new if name not in old)
