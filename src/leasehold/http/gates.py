"""What stands before every handler: only our own names, only our own pages, only small bodies.

The check of origins is that of Go's `CrossOriginProtection` (Go 1.25), but for one thing: a request that changes
something and says nothing of where it comes from is refused, because every browser does say it (threat case 114).
"""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from leasehold.http.problems import Problem, ProblemPage
from leasehold.http.site import Site

__all__ = ["MAX_BODY_BYTES", "SAFE_METHODS", "SLACK_PATH", "Gates", "is_said_too_large"]

MAX_BODY_BYTES = 65_536
SLACK_PATH = "/slack/answers"
"""Where Slack tells what people pressed. It is no browser and says nothing of where it comes from: it signs."""
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

_MOST_DIGITS = 18
_OF_BROWSERS = ("origin", "sec-fetch-site", "cookie")
_NO_HOST = Problem(status=400, title="Bad request", words="The request names no host, or more than one.")
_OTHER_HOST = Problem(
    status=421,
    title="Not this server",
    words="This server does not answer under that name. Use the address that leasehold serve printed.",
)
_TOO_LARGE = Problem(
    status=413,
    title="Too large",
    words=f"What is sent here has at most {MAX_BODY_BYTES} bytes. Nothing was done.",
    headers={"Connection": "close"},  # the rest of it is not read
)
_FOREIGN = Problem(
    status=403,
    title="Refused",
    words="This came from another site, or from a program that does not say where it comes from. Nothing was done.",
)


class Gates:
    """Lets requests through that name this server and, where they change something, come from its own pages."""

    def __init__(self, app: ASGIApp, site: Site, page: ProblemPage) -> None:
        self._app = RequestBodyLimitMiddleware(app, MAX_BODY_BYTES)
        self._site = site
        self._page = page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request. Web sockets are refused: no page of ours opens one."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] == "http" and (problem := self._refuse(scope)) is not None:
            await self._page(Request(scope), problem)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _refuse(self, scope: Scope) -> Problem | None:
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1:
            return _NO_HOST
        if not self._site.is_host(hosts[0]):
            return _OTHER_HOST
        if is_said_too_large(scope):
            return _TOO_LARGE
        if scope["method"] in SAFE_METHODS or self._is_own_page(headers, hosts[0]):
            return None
        if scope["path"] == SLACK_PATH and not any(name in headers for name in _OF_BROWSERS):
            return None
        return _FOREIGN

    def _is_own_page(self, headers: Headers, host: str) -> bool:
        fetch_sites, origins = headers.getlist("sec-fetch-site"), headers.getlist("origin")
        if fetch_sites:
            return fetch_sites in (["same-origin"], ["none"])
        return len(origins) == 1 and self._site.is_own_origin(origins[0], host)


def is_said_too_large(scope: Scope) -> bool:
    """Whether a body is said to be longer than any is here. The connection has seen to it that one length is said."""
    said = Headers(scope=scope).get("content-length", "0")
    return said.isdecimal() and (len(said) > _MOST_DIGITS or int(said) > MAX_BODY_BYTES)
