"""What a thread in the background says of a fault that goes on. Called by the sweep and the outbox, one each.

A database that is down for a night would otherwise be a line a second of every process, and nothing else be found.
"""

from __future__ import annotations

import logging

from leasehold.system import System

__all__ = ["Trouble"]

_AGAIN_MS = 60_000


class Trouble:
    """One fault: written down when it begins or becomes another, each minute, and when it is over. Of one thread."""

    def __init__(self, log: logging.Logger, what: str, system: System) -> None:
        self._log = log
        self._what = what
        self._system = system
        self._said = ""
        self._said_at = 0

    def met(self, error: Exception) -> None:
        """It could not be done now."""
        now, words = self._system.boot_milliseconds(), str(error)
        if words != self._said or now - self._said_at >= _AGAIN_MS:
            self._said, self._said_at = words, now
            self._log.warning("%s: %s", self._what, words)

    def over(self) -> None:
        """It was done."""
        if self._said:
            self._said = ""
            self._log.warning("%s: over, it goes on", self._what)
