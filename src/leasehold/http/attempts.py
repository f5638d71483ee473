"""How often somebody may try to sign in: after a few failures they wait, longer each time. Kept in memory, bounded.

A try counts before it is verified, so that a thousand at once are not a thousand guesses. Names are slowed down less
than the addresses that try them, and not at all where they came in before, so that strangers cannot keep a person out.
What is not let in leaves nothing behind: it could push out what is remembered of others.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import TypeAlias, TypeVar

from leasehold.system import System

__all__ = ["Attempts"]

T = TypeVar("T")

_Key: TypeAlias = tuple[str, ...]

_MOST_KEPT = 20_000
_FORGET_MILLISECONDS = 3_600_000
_LONGEST_NAME = 200
_OWN_BITS = 64
"""How much of an IPv6 address is somebody's own network: below it they have as many addresses as they like."""


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


_Keys: TypeAlias = tuple[tuple[_Key, _Allowance], ...]


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
        self._familiar: OrderedDict[_Key, None] = OrderedDict()

    def begin(self, name: str, address: str) -> int:
        """Count one try, and answer 0; or count nothing, and answer the seconds to wait before the next."""
        now = self._system.boot_milliseconds()
        with self._lock:
            keys = _keys(name, address)
            left = max(self._left(key, allowance, now) for key, allowance in self._binding(keys))
            if left > 0:
                return -(-left // 1000)
            for key, _ in keys:
                self._count(key, now)
        return 0

    def succeeded(self, name: str, address: str) -> None:
        """Forget what led up to a success. The address keeps all but this try: others may be guessed from there."""
        with self._lock:
            for key, allowance in _keys(name, address):
                if allowance is not _OF_ADDRESS:
                    self._records.pop(key, None)
                elif key in self._records:
                    self._records[key].tries -= 1
                if allowance is _OF_PAIR:
                    self._familiar[key] = None
                    _keep_newest(self._familiar, key)

    def _binding(self, keys: _Keys) -> _Keys:
        """The allowances that bind this try: what others try elsewhere does not, where this name came in before."""
        is_familiar = any(key in self._familiar for key, _ in keys)
        return tuple(each for each in keys if not (is_familiar and each[1] is _OF_NAME))

    def _left(self, key: _Key, allowance: _Allowance, now: int) -> int:
        record = self._records.get(key)
        if record is None or now - record.last > _FORGET_MILLISECONDS:
            return 0
        return record.last + allowance.wait_milliseconds(record.tries) - now

    def _count(self, key: _Key, now: int) -> None:
        record = self._records.setdefault(key, _Record(last=now))
        if now - record.last > _FORGET_MILLISECONDS:
            record.tries = 0
        record.tries += 1
        record.last = now
        _keep_newest(self._records, key)


def _keep_newest(kept: OrderedDict[_Key, T], key: _Key) -> None:
    kept.move_to_end(key)
    while len(kept) > _MOST_KEPT:
        kept.popitem(last=False)


def _keys(name: str, address: str) -> _Keys:
    known, network = name[:_LONGEST_NAME], _network(address)
    return (("pair", known, network), _OF_PAIR), (("address", network), _OF_ADDRESS), (("name", known), _OF_NAME)


def _network(address: str) -> str:
    """What counts as one address: all of IPv4, the network of IPv6, the text where it is neither."""
    try:
        read = ip_address(address)
    except ValueError:
        return address
    if not isinstance(read, IPv6Address):
        return str(read)
    return str(read.ipv4_mapped or IPv6Network((int(read), _OWN_BITS), strict=False))
