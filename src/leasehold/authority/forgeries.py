"""How many tokens were turned away that are not authentic: there is no run whose entry could say so.

Counted by the doors, written into the ledger by the sweep.
"""

from __future__ import annotations

import threading
from collections import Counter

__all__ = ["ForgeryCounter"]


class ForgeryCounter:
    """Counts by door and minute. Owns its lock; emptied by the sweep."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str, int]] = Counter()
        self._lock = threading.Lock()

    def add(self, tool: str, environment: str, minute: int) -> None:
        """Count one."""
        with self._lock:
            self._counts[(tool, environment, minute)] += 1

    def take(self) -> dict[tuple[str, str, int], int]:
        """What was counted since the last time, and start again."""
        with self._lock:
            counts, self._counts = self._counts, Counter()
        return dict(counts)
