"""The keys that leases are signed and verified with, read anew once they were rotated. Called by the engine alone.

A process reads its keys when it starts, and keys are rotated while it runs: by another process, or on another machine
whose state directory this one was copied from. A token that none of its keys signed has it look once more, so nobody's
lease is refused for the time until every process was started again.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from leasehold.errors import LeaseholdError, TokenError
from leasehold.model.instant import Instant
from leasehold.system import System
from leasehold.token.cache import VerifiedCache
from leasehold.token.codes import TokenCode
from leasehold.token.keys import KeyRing, PublicKeys
from leasehold.token.verify import VerifiedToken, Verifier

__all__ = ["LeaseKeys"]

_LOG = logging.getLogger("leasehold.keys")
_PAUSE_MS = 1000
"""How long no file is read again, however many tokens of unknown keys strangers send."""


class LeaseKeys:
    """One authority's lease keys. `read` answers the ring that stands in their file now. Threads may share it."""

    def __init__(
        self,
        issuer: str,
        ring: KeyRing,
        system: System,
        cache: VerifiedCache[VerifiedToken],
        read: Callable[[], KeyRing],
    ) -> None:
        self._issuer = issuer
        self._system = system
        self._cache = cache
        self._read = read
        self._lock = threading.Lock()  # guards what follows
        self._read_at: int | None = None
        self._ring = ring
        self._verifier = Verifier(issuer, ring.public(), cache)

    @property
    def ring(self) -> KeyRing:
        """The ring whose newest key signs."""
        return self._ring

    def public(self) -> PublicKeys:
        """The public halves as they stand in the file, for who hands them out: a newer key signs elsewhere, maybe.

        Nothing is signed with it here for that: not every machine may have it yet.
        """
        try:
            kept = self._read()
        except LeaseholdError:
            kept = self._ring
        return (kept if self._ring.newest.kid in {key.kid for key in kept.keys} else self._ring).public()

    def authenticate(
        self, token: str, *, audience: str, environment: str, now: Instant, holder: str | None = None
    ) -> VerifiedToken:
        """As `Verifier.authenticate`, with keys that were rotated since.

        Raises:
            TokenError: as there.
        """
        return self._ask(
            lambda verifier: verifier.authenticate(
                token, audience=audience, environment=environment, now=now, holder=holder
            )
        )

    def inspect(self, token: str, *, now: Instant) -> VerifiedToken:
        """As `Verifier.inspect`, with keys that were rotated since.

        Raises:
            TokenError: as there.
        """
        return self._ask(lambda verifier: verifier.inspect(token, now=now))

    def _ask(self, ask: Callable[[Verifier], VerifiedToken]) -> VerifiedToken:
        verifier = self._verifier
        try:
            return ask(verifier)
        except TokenError as error:
            newer = self._newer(error, verifier)
        return ask(newer)

    def _newer(self, error: TokenError, asked: Verifier) -> Verifier:
        """A verifier with other keys than the one that was asked; raises its error where there is none."""
        if error.code != TokenCode.UNKNOWN_KEY:
            raise error
        with self._lock:
            if self._verifier is asked and not self._is_renewed():
                raise error
            return self._verifier

    def _is_renewed(self) -> bool:
        """Whether the file has a ring that came after this one: it has the key that signs here, and a newer one."""
        now = self._system.boot_milliseconds()
        if self._read_at is not None and now - self._read_at < _PAUSE_MS:
            return False
        self._read_at = now
        try:
            ring = self._read()
        except LeaseholdError as error:
            _LOG.warning("lease keys that may have been rotated cannot be read: %s", error)
            return False
        if self._ring.newest.kid not in {key.kid for key in ring.keys[:-1]}:
            return False
        self._ring = ring
        self._verifier = Verifier(self._issuer, ring.public(), self._cache)
        _LOG.warning("lease keys were rotated; %s signs from here on", ring.newest.kid)
        return True
