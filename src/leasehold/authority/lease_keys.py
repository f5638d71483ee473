"""The keys that leases are signed and verified with, of a ring that follows its file. Called by the engine alone.

A token that none of its keys signed has the ring look once more, so nobody's lease is refused for the few seconds until
a rotation was noticed.
"""

from __future__ import annotations

from collections.abc import Callable

from leasehold.authority.followed_ring import FollowedRing
from leasehold.errors import TokenError
from leasehold.model.instant import Instant
from leasehold.model.lease import Lease, Token
from leasehold.token.cache import VerifiedCache
from leasehold.token.codec import sign_lease
from leasehold.token.codes import TokenCode
from leasehold.token.keys import KeyRing, PublicKeys
from leasehold.token.verify import VerifiedToken, Verifier

__all__ = ["LeaseKeys"]

_PAUSE_MS = 1000
"""How long no file is read again, however many tokens of unknown keys strangers send."""


class LeaseKeys:
    """One authority's lease keys. Threads may share it."""

    def __init__(self, issuer: str, followed: FollowedRing, cache: VerifiedCache[VerifiedToken]) -> None:
        self._issuer = issuer
        self._followed = followed
        self._cache = cache
        self._known = self._verifier_of(followed.ring)

    def public(self) -> PublicKeys:
        """The public halves, for who hands them out: a new one is among them long before it signs."""
        self._followed.follow(not_within_ms=_PAUSE_MS)
        return self._followed.ring.public()

    def sign(self, lease: Lease, audience: str, holder: str | None = None) -> Token:
        """The token of a lease for one tool (`leasehold.token.codec.sign_lease`)."""
        self._followed.signer()  # which looks, if nobody has for long
        return sign_lease(lease, audience, self._issuer, self._followed.ring, holder)

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
            ),
            now,
        )

    def inspect(self, token: str, *, now: Instant) -> VerifiedToken:
        """As `Verifier.inspect`, with keys that were rotated since.

        Raises:
            TokenError: as there.
        """
        return self._ask(lambda verifier: verifier.inspect(token, now=now), now)

    def _ask(self, ask: Callable[[Verifier], VerifiedToken], now: Instant) -> VerifiedToken:
        if self._followed.is_old(now):
            self._followed.follow(not_within_ms=_PAUSE_MS)
        asked = self._verifier()
        try:
            return ask(asked)
        except TokenError as error:
            if error.code != TokenCode.UNKNOWN_KEY:
                raise
            self._followed.follow(not_within_ms=_PAUSE_MS)
            newer = self._verifier()
            if newer is asked:
                raise
        return ask(newer)

    def _verifier(self) -> Verifier:
        """What verifies with the ring that is known now. Two threads may make one each; either will do."""
        ring, verifier = self._known
        if ring is not self._followed.ring:
            self._known = self._verifier_of(self._followed.ring)
            verifier = self._known[1]
        return verifier

    def _verifier_of(self, ring: KeyRing) -> tuple[KeyRing, Verifier]:
        return ring, Verifier(self._issuer, ring.public(), self._cache)
