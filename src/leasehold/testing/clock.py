"""A machine whose time stands still and whose chance repeats: the `System` of tests and of numbered vectors."""

from __future__ import annotations

import hashlib
import threading

from leasehold.errors import InvalidError
from leasehold.model.instant import Instant
from leasehold.system import make_id

__all__ = ["FrozenSystem"]

_START = 1_778_068_800


class FrozenSystem:
    """Clocks that move only when told, and ids and keys that follow from a seed. Threads may share it.

    `seconds` is the Unix time at which it starts. Two systems of one seed that are asked the same things give the same
    answers. Nothing it gives is secret: never make a real key from it.
    """

    def __init__(self, *, seconds: int = _START, seed: int = 0) -> None:
        self._lock = threading.Lock()  # guards the three below
        self._wall = seconds * 1000
        self._boot = 0
        self._drawn = 0
        self._seed = seed

    def now(self) -> Instant:
        """The frozen wall clock."""
        with self._lock:
            return Instant(self._wall)

    def boot_milliseconds(self) -> int:
        """Milliseconds that have passed since it was made; a jump of the wall clock is not among them."""
        with self._lock:
            return self._boot

    def new_id(self, prefix: str) -> str:
        """The next id of the seed."""
        return make_id(prefix, self.now(), self.random_bytes(10))

    def random_bytes(self, count: int) -> bytes:
        """The next bytes of the seed."""
        with self._lock:
            self._drawn += 1
            label = f"leasehold frozen system {self._seed} {self._drawn}"
        return hashlib.shake_256(label.encode("ascii")).digest(count)

    def advance(self, *, seconds: int = 0, milliseconds: int = 0) -> Instant:
        """Let time pass on both clocks and return the new wall time.

        Raises:
            InvalidError: the time is negative; `jump` moves the wall clock alone, back as well.
        """
        passed = seconds * 1000 + milliseconds
        if passed < 0:
            raise InvalidError("time does not pass backwards; use jump to set the wall clock back")
        with self._lock:
            self._wall += passed
            self._boot += passed
            return Instant(self._wall)

    def jump(self, *, seconds: int) -> Instant:
        """Step the wall clock, forward or back, as an operator or a time server does; return the new wall time."""
        with self._lock:
            self._wall += seconds * 1000
            return Instant(self._wall)
