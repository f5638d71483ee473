"""Where programs come in, to the API and the standards' doors: beside the pages, past none of the checks for browsers.

None of it reads a cookie, so a page of another site has nothing to ride on; what proves who asks stands in the request
itself, and no browser adds it. The name of the server is checked as for pages.
"""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from leasehold.http.api import API_PREFIX, send_problem
from leasehold.http.doors import is_door
from leasehold.http.site import Site
from leasehold.model.problem import Problem

__all__ = ["Machines"]

_OTHER_NAME = "this server does not answer under that name; use the address that leasehold serve printed"

_ENCODED = "there is no such endpoint; what programs ask has one spelling, and nothing in its path is percent-encoded"
"""A proxy may let through by path what it does not decode: `/v1%2Fdesk` is not for it to take for something else."""


class Machines:
    """Sends each request to the API, the standards' doors or the pages."""

    def __init__(self, api: ASGIApp, doors: ASGIApp, pages: ASGIApp, site: Site) -> None:
        self._api = api
        self._doors = doors
        self._pages = pages
        self._site = site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        app = self._app_for(scope["path"]) if scope["type"] == "http" else self._pages
        if app is not self._pages and (problem := self._refuse(scope)) is not None:
            await send_problem(scope, send, problem)
        else:
            await app(scope, receive, send)

    def _app_for(self, path: str) -> ASGIApp:
        if f"{path}/".startswith(f"{API_PREFIX}/"):
            return self._api
        return self._doors if is_door(path) else self._pages

    def _refuse(self, scope: Scope) -> Problem | None:
        hosts = Headers(scope=scope).getlist("host")
        if len(hosts) != 1:
            return Problem.of_code("invalid", "the request names no host, or more than one")
        if not self._site.is_host(hosts[0]):
            return Problem.of_code("misdirected", _OTHER_NAME)
        if b"%" in scope.get("raw_path", b""):
            return Problem.of_code("not_found", _ENCODED)
        return None
