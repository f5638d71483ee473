"""A point in time as decisions see it. Made by `leasehold.system` and the store; used by every pure rule."""

from __future__ import annotations

__all__ = ["Instant"]


class Instant(int):
    """Unix time in whole milliseconds. Deadlines in documents and rows are Unix *seconds*; compare through here."""

    __slots__ = ()

    @property
    def seconds(self) -> int:
        """Whole Unix seconds, rounded down."""
        return int(self) // 1000

    def reached(self, deadline_seconds: int) -> bool:
        """Whether the deadline (Unix seconds) has come. A lease is dead *at* its expiry, not after it."""
        return int(self) >= deadline_seconds * 1000

    def milliseconds_until(self, deadline_seconds: int) -> int:
        """Milliseconds left before the deadline; zero or less once it has come."""
        return deadline_seconds * 1000 - int(self)
