"""Tokens that were verified before: what their signature and parse gave, and nothing that time can change.

Called by `leasehold.token.verify`, which checks time, key, issuer, audience, environment and holder again each time.
"""

from __future__ import annotations

import hashlib
from typing import Generic, TypeVar

from leasehold.errors import InvalidError

__all__ = ["VerifiedCache"]

_Value = TypeVar("_Value")


class VerifiedCache(Generic[_Value]):
    """A bounded map from token text to what verifying it gave. Holds digests of tokens, never a token.

    It belongs to whoever made it: a guard makes one and gives it to its `Verifier`. Threads may share it without a
    lock, since each access is one operation on a dict. When the young half is full it becomes the old half and the
    former old half is dropped; a race between threads can only lose entries, which are then verified again.
    """

    __slots__ = ("_half", "_old", "_young")

    def __init__(self, capacity: int) -> None:
        if capacity < 2:
            raise InvalidError("a cache of verified tokens holds at least 2")
        self._half = capacity // 2
        self._young: dict[bytes, _Value] = {}
        self._old: dict[bytes, _Value] = {}

    def __len__(self) -> int:
        """How many tokens are held; one may be counted twice while it stands in both halves."""
        return len(self._young) + len(self._old)

    @staticmethod
    def key(token: str) -> bytes:
        """The BLAKE2b-128 digest of an ASCII token: what the cache knows it by."""
        return hashlib.blake2b(token.encode("ascii"), digest_size=16).digest()

    def get(self, key: bytes) -> _Value | None:
        """What was put under the key, if it is still held. An entry found in the old half is kept for longer."""
        value = self._young.get(key)
        if value is None:
            value = self._old.get(key)
            if value is not None:
                self.put(key, value)
        return value

    def put(self, key: bytes, value: _Value) -> None:
        """Hold a value; the longest unused make room."""
        young = self._young
        if len(young) >= self._half:
            self._old = young
            self._young = young = {}
        young[key] = value
