"""How often somebody may try to sign in: after a few failures they wait, longer each time. Kept in memory, bounded.

A try counts before it is verified, so that a thousand at once are not a thousand guesses. Names are slowed down less
than the addresses that try them, so that a stranger cannot keep a person out.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TypeAlias

from leasehold.system import System

__all__ = ["Attempts"]

_Key: TypeAlias = tuple[str, ...]

_MOST_KEPT = 20_000
_FORGET_MILLISECONDS = 3_600_000
_LONGEST_NAME = 200


@dataclass(frozen=True)
class _Allowance:
    """So many tries are free; each further one doubles the wait, up to a longest one."""

    free: int
    longest_seconds: int

    def wait_milliseconds(self, tries: int) -> int:
        over = tries - self.free
        return 0 if over < 0 else min(1000 * 2 ** min(over, 20), 1000 * self.longest_seconds)


_OF_PAIR = _Allowance(free=5, longest_seconds=900)
_OF_ADDRESS = _Allowance(free=20, longest_seconds=60)
_OF_NAME = _Allowance(free=50, longest_seconds=30)


@dataclass
class _Record:
    """Tries since the last success and when the last one was; guarded by the lock of `Attempts`."""

    tries: int = 0
    last: int = 0


class Attempts:
    """Counts tries to sign in by name, address, and both. Owns its lock."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._lock = threading.Lock()
        self._records: OrderedDict[_Key, _Record] = OrderedDict()

    def begin(self, name: str, address: str) -> int:
        """Count one try, and answer 0; or count nothing, and answer the seconds to wait before the next."""
        now = self._system.boot_milliseconds()
        with self._lock:
            records = [(self._record(key, now), allowance) for key, allowance in _keys(name, address)]
            left = max(record.last + allowance.wait_milliseconds(record.tries) - now for record, allowance in records)
            if left > 0:
                return -(-left // 1000)
            for record, _ in records:
                record.tries += 1
                record.last = now
        return 0

    def succeeded(self, name: str, address: str) -> None:
        """Forget what led up to a success. The address keeps all but this try: others may be guessed from there."""
        with self._lock:
            for key, allowance in _keys(name, address):
                if allowance is _OF_ADDRESS:
                    if key in self._records:
                        self._records[key].tries -= 1
                else:
                    self._records.pop(key, None)

    def _record(self, key: _Key, now: int) -> _Record:
        record = self._records.setdefault(key, _Record(last=now))
        self._records.move_to_end(key)
        if now - record.last > _FORGET_MILLISECONDS:
            record.tries = 0
        while len(self._records) > _MOST_KEPT:
            self._records.popitem(last=False)
        return record


def _keys(name: str, address: str) -> tuple[tuple[_Key, _Allowance], ...]:
    known = name[:_LONGEST_NAME]
    return (("pair", known, address), _OF_PAIR), (("address", address), _OF_ADDRESS), (("name", known), _OF_NAME)
