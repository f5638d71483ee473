"""Where programs come in to the API: beside the pages, on the same address, past none of the checks for browsers.

The API reads no cookie, so a page of another site has nothing to ride on; what it asks for stands in `Authorization`,
which no browser adds by itself. The name of the server is checked as for pages.
"""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from leasehold.http.api import API_PREFIX, send_problem
from leasehold.http.site import Site
from leasehold.model.problem import Problem

__all__ = ["Machines"]


class Machines:
    """Sends each request to the API or to the pages."""

    def __init__(self, api: ASGIApp, pages: ASGIApp, site: Site) -> None:
        self._api = api
        self._pages = pages
        self._site = site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or not f"{scope['path']}/".startswith(f"{API_PREFIX}/"):
            await self._pages(scope, receive, send)
        elif (problem := self._refuse(scope)) is not None:
            await send_problem(scope, send, problem)
        else:
            await self._api(scope, receive, send)

    def _refuse(self, scope: Scope) -> Problem | None:
        hosts = Headers(scope=scope).getlist("host")
        if len(hosts) != 1:
            return Problem.of_code("invalid", "the request names no host, or more than one")
        if not self._site.is_host(hosts[0]):
            return Problem.of_code("misdirected", "this server does not answer under that name")
        return None
