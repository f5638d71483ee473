"""Tokens of the issuers that the active policy trusts. Called by whoever takes one: callers, the token endpoint.

The policy is read anew at each token, so an issuer that was taken out counts for nothing from the next one on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from starlette.concurrency import run_in_threadpool

from leasehold.errors import TokenError
from leasehold.http.issuer_source import IssuerSource, Wire
from leasehold.policy.document import IssuerRule
from leasehold.system import System
from leasehold.token.codes import TokenCode
from leasehold.token.foreign import IssuerClaims, unverified_header, unverified_issuer, verify_foreign

__all__ = ["IssuerClaims", "Issuers"]


class Issuers:
    """The trusted issuers of one authority. Used on one event loop; keeps what each said while its rule stays."""

    def __init__(self, rules: Callable[[], Mapping[str, IssuerRule]], system: System, wire: Wire | None = None) -> None:
        self._rules = rules
        self._system = system
        self._wire = wire or Wire()
        self._sources: dict[str, IssuerSource] = {}

    async def verify(self, token: str) -> IssuerClaims:
        """Return what a token says that a trusted issuer signed for its audience here.

        Raises:
            TokenError: it does not count; the code says why.
            UnavailableError: its issuer cannot be asked for its keys, and could not be for an hour.
        """
        issuer = unverified_issuer(token)
        source = self._source(issuer, await run_in_threadpool(self._rules))
        keys = await source.keys(unverified_header(token).kid)
        rule = source.rule
        return verify_foreign(token, keys, issuer=issuer, audience=rule.audience, now=self._system.now())

    def _source(self, issuer: str, rules: Mapping[str, IssuerRule]) -> IssuerSource:
        rule = rules.get(issuer)
        if rule is None:
            self._sources.pop(issuer, None)
            raise TokenError(TokenCode.ISSUER, "this token is of an issuer that the policy does not name")
        found = self._sources.get(issuer)
        if found is None or found.rule != rule:
            found = self._sources[issuer] = IssuerSource(rule, self._system, self._wire)
        return found
