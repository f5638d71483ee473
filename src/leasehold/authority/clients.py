"""The clients of the policy and their API keys: made, listed, removed, and looked up when one is presented.

A key is `lhk_<id>_<secret>`; the secret is 256 random bits, of which only the SHA-256 is kept. Slow hashing is for
passwords, which people choose; of a random secret nothing can be guessed.
"""

from __future__ import annotations

import hashlib
import re

import msgspec

from leasehold.authority.engine import Engine, refusal_error
from leasehold.decide.clients import AddClientKey, ClientVoice, RemoveClientKey, refuse_key
from leasehold.decide.rows import AUTHORITY_WIDE, ClientKeyRow
from leasehold.errors import InvalidError
from leasehold.policy.document import Policy
from leasehold.token import base64url

__all__ = ["KEY_PREFIX", "Clients", "MadeKey", "PresentedKey", "check_client"]

KEY_PREFIX = "lhk_"
SECRET_BYTES = 32
MAX_TTL_SECONDS = 366 * 86_400

_KEY = re.compile(r"lhk_([0-9A-HJKMNP-TV-Z]{26})_([A-Za-z0-9_-]{43})")


class PresentedKey(msgspec.Struct, frozen=True, kw_only=True):
    """An API key as somebody presented it: its id, and the digest of its secret. Nothing about it is proven."""

    key_id: str
    digest: bytes

    @classmethod
    def parse(cls, text: str) -> PresentedKey | None:
        """The key in this text, or None if it has not the form of one."""
        match = _KEY.fullmatch(text)
        return None if match is None else cls(key_id=match[1], digest=_digest(match[2]))


class MadeKey(msgspec.Struct, frozen=True, kw_only=True):
    """A new key: its text, which is told once and never kept, and its row."""

    text: str
    row: ClientKeyRow

    def __repr__(self) -> str:
        """Without the secret."""
        return f"MadeKey({self.row.key_id})"


class Clients:
    """The API keys of clients. Threads may share it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add_key(self, client: str, *, ttl_seconds: int, by: str) -> MadeKey:
        """Make an API key for a client of the active policy.

        Raises:
            Denied: the policy names no such client.
            InvalidError: it would last longer than a year.
        """
        if not 1 <= ttl_seconds <= MAX_TTL_SECONDS:
            raise InvalidError(f"an API key lasts 1 second to {MAX_TTL_SECONDS // 86_400} days")
        key_id = self._engine.system.new_id("key").removeprefix("key_")
        secret = base64url.encode(self._engine.system.random_bytes(SECRET_BYTES))
        row = self._engine.ask(
            lambda policy: AddClientKey(
                policy_document=policy,
                client=client,
                key_id=key_id,
                digest=_digest(secret),
                ttl_seconds=ttl_seconds,
                by=by,
            )
        )
        return MadeKey(text=f"{KEY_PREFIX}{key_id}_{secret}", row=row)

    def remove_key(self, key_id: str, *, by: str) -> ClientKeyRow:
        """Take an API key away: it opens nothing from here on.

        Raises:
            Denied: there is no such key.
        """
        return self._engine.ask(lambda _: RemoveClientKey(key_id=key_id.removeprefix(KEY_PREFIX), by=by))

    def keys(self) -> tuple[ClientKeyRow, ...]:
        """Every key that was not removed, by client and id."""
        return self._engine.store.queries.client_keys()

    def had_key(self, client: str) -> bool:
        """Whether a client ever had a key, and so has to prove itself: taking the last one away makes nobody it."""
        return bool(self._engine.store.queries.keys_of_client(client))

    def find_key(self, key_id: str) -> ClientKeyRow | None:
        """The row of a key as it stands now, or None if there never was one."""
        return self._engine.row(ClientKeyRow, AUTHORITY_WIDE, key_id)


def check_client(engine: Engine, voice: ClientVoice) -> Policy:
    """The active policy, if whoever asks is a client of it: what a reading rests on, for which there is no step.

    Raises:
        Denied: they are not, or not any more.
    """
    policy = engine.active_policy()
    row = engine.row(ClientKeyRow, AUTHORITY_WIDE, voice.key_id) if voice.key_id else None
    if (refusal := refuse_key(row, policy, voice, engine.system.now())) is not None:
        raise refusal_error(refusal)
    return policy


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("ascii")).digest()
