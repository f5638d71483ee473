"""Whether the keys here are the newest that the authority has anywhere. Called by the sweep (decision 0028).

A machine to which rotated files were not copied cannot know from its own: a row of the database that it shares tells.
It goes on with what it has and says so, as `leasehold doctor` does.
"""

from __future__ import annotations

import logging

from leasehold.authority.engine import Engine
from leasehold.authority.followed_ring import LOOK_MS
from leasehold.authority.trouble import Trouble
from leasehold.decide.rows import SigningKeyRow
from leasehold.decide.signing_keys import NoteSigningKey, signing_key_need
from leasehold.errors import ConfigError
from leasehold.token.keys import KeyRing

__all__ = ["SigningKeys"]

_LOG = logging.getLogger("leasehold.keys")


class SigningKeys:
    """The newest keys of one process beside those of all. Belongs to one thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._compared_ms: int | None = None
        self._trouble = Trouble(_LOG, "keys were rotated on another machine", engine.system)

    def compare(self) -> None:
        """Note the keys here where that is news, and say where others have newer ones. Does nothing for ten seconds.

        Raises:
            StoreError: the database cannot be used.
        """
        now = self._engine.system.boot_milliseconds()
        if self._compared_ms is not None and now - self._compared_ms < LOOK_MS:
            return
        self._compared_ms = now
        identity = self._engine.identity
        rings = (identity.leases, identity.receipts, identity.checkpoints)
        rows = self._engine.store.queries.rows([signing_key_need(ring.document_type) for ring in rings])
        behind = [
            f"{ring.document_type}.keys.json"
            for ring, row in zip(rings, rows, strict=True)
            if not self._is_newest(ring, row if isinstance(row, SigningKeyRow) else None)
        ]
        if behind:
            self._trouble.met(ConfigError(f"{', '.join(behind)} not copied here yet; leasehold doctor says more"))
        else:
            self._trouble.over()

    def _is_newest(self, ring: KeyRing, noted: SigningKeyRow | None) -> bool:
        if noted is not None and noted.kid == ring.newest.kid:
            return True
        kids = tuple(key.kid for key in ring.keys)
        step = NoteSigningKey(document=ring.document_type, kids=kids, made_at=ring.newest.created_at)
        return self._engine.ask(lambda _: step)
