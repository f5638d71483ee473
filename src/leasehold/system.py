"""The only reader of clock and randomness. Made once by `leasehold.assemble`, handed to authority, guard and store.

Everything below takes times, ids and seeds as arguments. Tests use `leasehold.testing.clock.FrozenSystem` instead.
"""

from __future__ import annotations

import os
import secrets
import time
from collections import deque
from typing import Protocol

from leasehold.errors import InvalidError
from leasehold.model.ids import check_id
from leasehold.model.instant import Instant

__all__ = ["DatabaseTime", "RealSystem", "System", "make_id"]

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = tuple(first + second for first in _CROCKFORD for second in _CROCKFORD)
_ULID_RANDOM_BYTES = 10
_IDS_AT_ONCE = 64


class System(Protocol):
    """What a process takes from the machine that no two processes share: time and chance."""

    def now(self) -> Instant:
        """The wall clock. It may jump; deadlines of documents are compared with it, durations are not."""
        ...

    def boot_milliseconds(self) -> int:
        """A clock that only grows and goes on while the machine sleeps; for durations, from no particular zero."""
        ...

    def new_id(self, prefix: str) -> str:
        """A fresh id of one kind, such as `run_01JZ…`. Ids of later milliseconds sort later."""
        ...

    def random_bytes(self, count: int) -> bytes:
        """Bytes fit for keys."""
        ...


def make_id(prefix: str, now: Instant, randomness: bytes) -> str:
    """Return `prefix`, `_` and a ULID: 48 bits of milliseconds and 80 random bits in Crockford's base 32.

    Raises:
        InvalidError: the prefix is not 2 to 10 lower-case letters, the random bytes are not 10, or the time does not
            fit.
    """
    if len(randomness) != _ULID_RANDOM_BYTES or not 0 <= now < 2**48:
        raise InvalidError(f"an id is made of a time in 48 bits and {_ULID_RANDOM_BYTES} random bytes")
    number = int(now) << 80 | int.from_bytes(randomness, "big")
    pairs = [_PAIRS[number >> shift & 1023] for shift in range(120, -1, -10)]
    return check_id(f"{prefix}_{''.join(pairs)}", prefix)


class RealSystem:
    """The machine's own clocks and random source. Threads may share it.

    Chance for ids is drawn for many at once: the system's generator lets other threads run each time, and an event loop
    that asks it for every call waits for them. Each piece is taken once, and by no process but the one that drew it.
    """

    def __init__(self) -> None:
        self._drawn: deque[tuple[int, bytes]] = deque()  # its `pop` is one operation, so no lock that a fork could copy

    def now(self) -> Instant:
        """The wall clock."""
        return Instant(time.time_ns() // 1_000_000)

    def boot_milliseconds(self) -> int:
        """The boot-time clock, where the machine has one; else the monotonic clock, which stops in sleep on some."""
        clock: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
        return time.clock_gettime_ns(clock) // 1_000_000

    def new_id(self, prefix: str) -> str:
        """A fresh id at the wall clock's time."""
        return make_id(prefix, self.now(), self._chance())

    def _chance(self) -> bytes:
        process = os.getpid()
        while True:
            try:
                owner, piece = self._drawn.pop()
            except IndexError:
                drawn = secrets.token_bytes(_ULID_RANDOM_BYTES * _IDS_AT_ONCE)
                starts = range(0, len(drawn), _ULID_RANDOM_BYTES)
                self._drawn.extend((process, drawn[start : start + _ULID_RANDOM_BYTES]) for start in starts)
                continue
            if owner == process:
                return piece

    def random_bytes(self, count: int) -> bytes:
        """Bytes of the operating system's generator."""
        return secrets.token_bytes(count)


class DatabaseTime(RealSystem):
    """A machine over a database whose clock is the one that counts: its wall clock is what was heard of that one last,
    and the time that has passed since. Its own counts until anything was heard. Threads may share it.
    """

    def __init__(self, machine: RealSystem) -> None:
        super().__init__()
        self._machine = machine
        self._ahead: int | None = None  # of the boot-time clock; whoever heard last has it, in one assignment

    def hear(self, now: Instant) -> None:
        """The database's clock reads this just now."""
        self._ahead = int(now) - self._machine.boot_milliseconds()

    def now(self) -> Instant:
        """The database's clock, as far as it is known."""
        ahead = self._ahead
        return self._machine.now() if ahead is None else Instant(self._machine.boot_milliseconds() + ahead)
