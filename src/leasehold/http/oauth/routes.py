"""The routes of the OAuth doors, as the application hangs them up: those for programs, which read no cookie, and the
page on which a signed-in person consents."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from leasehold.authority import Authority
from leasehold.http.oauth.answers import Handler, OAuthError, answering
from leasehold.http.oauth.clients import Clients
from leasehold.http.oauth.consent import Consent, ConsentPage
from leasehold.http.oauth.inspection import Inspection
from leasehold.http.oauth.metadata import AUTHORIZE, INTROSPECT, JWKS, METADATA, REVOKE, TOKEN, Metadata
from leasehold.http.oauth.tokens import TokenEndpoint
from leasehold.http.site import Site

__all__ = ["consent_routes", "oauth_routes"]


def consent_routes(authority: Authority, clients: Clients, site: Site, page: ConsentPage) -> Sequence[BaseRoute]:
    """The page, which needs a signed-in person."""
    consent = Consent(authority, clients, site, page)
    return [Route(AUTHORIZE, consent.show), Route(AUTHORIZE, consent.take, methods=["POST"])]


_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def oauth_routes(authority: Authority, clients: Clients, site: Site) -> Sequence[BaseRoute]:
    """Metadata and keys for everybody; tokens, introspection and revocation for clients."""
    metadata, inspection = Metadata(authority, site), Inspection(authority, clients)
    tokens = TokenEndpoint(authority, clients, site)

    def posted(path: str, handler: Handler) -> Route:
        return Route(path, answering(_only_posted(handler)), methods=_METHODS)

    return [
        Route(METADATA, answering(metadata.show)),
        Route(JWKS, answering(metadata.keys)),
        posted(TOKEN, tokens.give),
        posted(INTROSPECT, inspection.introspect),
        posted(REVOKE, inspection.revoke),
    ]


def _only_posted(handler: Handler) -> Handler:
    """The handler for what is posted, so that a token never stands in an address."""

    async def take(request: Request) -> Response:
        if request.method != "POST":
            raise OAuthError("invalid_request", "this has to be posted", status=405, headers={"Allow": "POST"})
        return await handler(request)

    return take
