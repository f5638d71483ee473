"""A ring of signing keys as it stands in its file, for as long as a process runs (decision 0028).

A process reads its keys when it starts, and keys are rotated while it runs: by another process, or on another machine
whose file was copied here. Made by `leasehold.assemble`; the sweep has each ring look every few seconds, and a ring
that was not looked after for a minute looks when it is used, so that no bound rests on a thread being alive.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from leasehold.authority.trouble import Trouble
from leasehold.errors import ConfigError, LeaseholdError
from leasehold.model.instant import Instant
from leasehold.system import System
from leasehold.token.keys import KeyRing, SigningKey

__all__ = ["LOOK_MS", "FollowedRing"]

LOOK_MS = 10_000
"""How often whoever does it in the background has a ring look into its file."""

_LONGEST_MS = 60_000
"""How old what was read may be when it is used."""

_PAUSE_MS = 1000
"""How long no file is read again for whoever uses a ring, however many do."""

_LOG = logging.getLogger("leasehold.keys")


class FollowedRing:
    """One ring, replaced whole by what comes after it. `read` answers the one in its file. Threads may share it."""

    def __init__(self, ring: KeyRing, system: System, read: Callable[[], KeyRing] | None = None) -> None:
        self._system = system
        self._read = read or (lambda: ring)
        self._lock = threading.Lock()  # guards what follows; the ring itself is read without it
        self._looked_ms = system.now() - LOOK_MS  # so that whoever wants the first look has it at once
        self._trouble = Trouble(_LOG, f"{ring.document_type} keys cannot be followed", system)
        self._ring = ring

    @property
    def ring(self) -> KeyRing:
        """The ring as it is known here."""
        return self._ring

    def is_old(self, now: Instant) -> bool:
        """Whether nobody has looked into the file for a minute, or the clock was set back since."""
        return not 0 <= now - self._looked_ms < _LONGEST_MS

    def signer(self) -> SigningKey:
        """The key that signs now."""
        now = self._system.now()
        if self.is_old(now):
            self.follow(not_within_ms=_PAUSE_MS)
        return self._ring.signer(now)

    def follow(self, *, not_within_ms: int = 0) -> bool:
        """Take over what the file holds, if that is this ring rotated since. Whether it was.

        The file is left alone where somebody has looked so shortly before. One that cannot be read, or holds another's
        keys or older ones, changes nothing, and is told.
        """
        with self._lock:
            now = self._system.now()
            if 0 <= now - self._looked_ms < not_within_ms:
                return False
            self._looked_ms = now
            try:
                ring = self._read()
                if not self._ring.is_followed_by(ring):
                    self._check_same(ring)
                    self._trouble.over()
                    return False
            except LeaseholdError as error:
                self._trouble.met(error)
                return False
            self._trouble.over()
            self._ring = ring
        newest, since = ring.newest, ring.keys[-2].retired_at
        _LOG.warning("%s keys were rotated; %s signs from %s on", ring.document_type, newest.kid, since)
        return True

    def _check_same(self, ring: KeyRing) -> None:
        """Say so where a file has lost what is in use here: a process that starts now would be another authority."""
        if ring.newest.kid != self._ring.newest.kid:
            raise ConfigError(
                f"their file does not hold {self._ring.newest.kid}, which is in use: older keys or another authority's "
                "were put there. Put the newest back"
            )
