"""What this authority is to strangers: its metadata (RFC 8414) and the keys that verify its leases (RFC 7517).

The issuer is a plain string, compared exactly and never made into an address object: some libraries add a slash to it,
and then nobody's comparison holds. It is the address under which people and clients reach this server; the `iss` of a
lease is the authority's own name, which outlives every address, and stands beside it.
"""

from __future__ import annotations

from collections.abc import Mapping

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from leasehold.authority import Authority
from leasehold.http.oauth.answers import json_answer
from leasehold.http.site import Site
from leasehold.token.codec import GRANT_TYPE
from leasehold.token.dpop import DPOP_ALGORITHMS
from leasehold.token.jwk import served_jwks

__all__ = [
    "AUTHORIZE",
    "EXCHANGE",
    "INTROSPECT",
    "JWKS",
    "JWT_BEARER",
    "JWT_CLIENT",
    "METADATA",
    "REVOKE",
    "RUN_TYPE",
    "TOKEN",
    "Metadata",
]

METADATA = "/.well-known/oauth-authorization-server"
JWKS = "/.well-known/jwks.json"
TOKEN = "/oauth/token"  # noqa: S105 - a path
INTROSPECT = "/oauth/introspect"
REVOKE = "/oauth/revoke"
AUTHORIZE = "/oauth/authorize"

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
JWT_CLIENT = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
RUN_TYPE = "urn:leasehold:run:1"
"""The authorization detail that says for whom and where a run is started; grants have `GRANT_TYPE`."""

_CLIENT_METHODS = ["client_secret_basic", "client_secret_post", "private_key_jwt"]
_ASSERTION_ALGORITHMS = ["Ed25519", "EdDSA", "ES256", "ES384", "PS256", "RS256"]


class Metadata:
    """The two documents that anybody may fetch."""

    def __init__(self, authority: Authority, site: Site) -> None:
        self._engine = authority.engine
        self._site = site

    async def show(self, request: Request) -> Response:  # noqa: ARG002 - every handler takes one
        """The metadata."""
        return json_answer(self.document())

    async def keys(self, request: Request) -> Response:  # noqa: ARG002 - every handler takes one
        """The keys that may have signed a lease that lives."""
        keys = await run_in_threadpool(self._engine.lease_keys.public)
        served = served_jwks(keys, self._engine.system.now())
        return Response(served, media_type="application/jwk-set+json", headers={"Cache-Control": "no-cache"})

    def document(self) -> Mapping[str, object]:
        """What clients need to know."""
        origin = self._site.origin
        return {
            "issuer": origin,
            "token_endpoint": origin + TOKEN,
            "introspection_endpoint": origin + INTROSPECT,
            "revocation_endpoint": origin + REVOKE,
            "jwks_uri": origin + JWKS,
            "authorization_endpoint": origin + AUTHORIZE,
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": True,
            "grant_types_supported": ["authorization_code", "client_credentials", EXCHANGE, JWT_BEARER],
            "token_endpoint_auth_methods_supported": [*_CLIENT_METHODS, "none"],
            "token_endpoint_auth_signing_alg_values_supported": _ASSERTION_ALGORITHMS,
            "introspection_endpoint_auth_methods_supported": _CLIENT_METHODS,
            "introspection_endpoint_auth_signing_alg_values_supported": _ASSERTION_ALGORITHMS,
            "revocation_endpoint_auth_methods_supported": _CLIENT_METHODS,
            "revocation_endpoint_auth_signing_alg_values_supported": _ASSERTION_ALGORITHMS,
            "authorization_details_types_supported": [GRANT_TYPE, RUN_TYPE],
            "dpop_signing_alg_values_supported": list(DPOP_ALGORITHMS),
            "leasehold_token_issuer": self._engine.identity.issuer,
        }
