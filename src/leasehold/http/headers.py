"""What a browser may do with our pages: next to nothing. The outermost layer, so that error pages have it too.

Scripts, styles and images come from this server alone, forms go to it alone, and nobody may frame a page (threat cases
113 and 115). A response cannot loosen any of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from leasehold.system import System

__all__ = ["STRICT_HEADERS", "StrictHeaders"]

_CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types leasehold",
    )
)

STRICT_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": _CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Origin-Agent-Cluster": "?1",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""What stands on every response, whatever its handler says."""

_HTTPS_ONLY: Mapping[str, str] = {"Strict-Transport-Security": "max-age=31536000"}
_REQUEST_ID_BYTES = 8
_DRAWN_AT_ONCE = 64
_REQUEST_ID, _CACHE_CONTROL, _ASK_AGAIN = b"x-request-id", b"cache-control", b"no-cache"

_Header: TypeAlias = tuple[bytes, bytes]


class StrictHeaders:
    """Gives each request an id and each response the strict headers.

    Only static files, which say so themselves, may be kept by a browser, and even they are asked for again each time.
    """

    def __init__(self, app: ASGIApp, system: System, *, is_https: bool) -> None:
        self._app = app
        self._system = system
        self._chance = b""  # the event loop's alone
        strict = {**STRICT_HEADERS, **(_HTTPS_ONLY if is_https else {})}
        self._headers = [(name.lower().encode("ascii"), value.encode("ascii")) for name, value in strict.items()]
        self._replaced = frozenset((*(name for name, _ in self._headers), _CACHE_CONTROL, _REQUEST_ID))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = self._fresh_id()
        scope.setdefault("state", {})["request_id"] = request_id
        own_id = request_id.encode("ascii")

        async def send_strictly(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = self._made_strict(message.get("headers", ()), own_id)
            await send(message)

        await self._app(scope, receive, send_strictly)

    def _fresh_id(self) -> str:
        """A random id. Chance is drawn for many at once: the system's generator lets other threads run each time."""
        if not self._chance:
            self._chance = self._system.random_bytes(_REQUEST_ID_BYTES * _DRAWN_AT_ONCE)
        drawn, self._chance = self._chance[:_REQUEST_ID_BYTES], self._chance[_REQUEST_ID_BYTES:]
        return drawn.hex()

    def _made_strict(self, given: Iterable[_Header], request_id: bytes) -> list[_Header]:
        """The headers of a response with ours in the place of its own of these names.

        But for the request's id, where a specification (AuthZEN) wants the caller's own back.
        """
        headers, caching = [], b"no-store"
        for name, value in given:
            lower = name.lower()
            if lower not in self._replaced:
                headers.append((name, value))
            elif lower == _CACHE_CONTROL and value == _ASK_AGAIN:
                caching = value
            elif lower == _REQUEST_ID:
                request_id = value
        return [*headers, *self._headers, (_REQUEST_ID, request_id), (_CACHE_CONTROL, caching)]
