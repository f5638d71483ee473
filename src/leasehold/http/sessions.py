"""Who a request comes from: the cookie, the session behind it, and the pages that only signed-in people see.

The cookie is 32 random bytes, which only the browser has: `__Host-`, so no other host or path can set it, and
`SameSite=Strict`, so no other site's request carries it. A browser that nobody signed in with has one too, for the
token of the sign-in form; signing in replaces it, so an id that somebody planted never becomes a session.
"""

from __future__ import annotations

from html import escape
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from leasehold.authority import Authority
from leasehold.authority.person_desk import PersonDesk
from leasehold.authority.sign_ins import SESSION_ID_BYTES, SignedIn
from leasehold.errors import InvalidError
from leasehold.http.forms import FormTokens
from leasehold.http.gates import SAFE_METHODS
from leasehold.http.problems import ProblemError
from leasehold.http.site import Site
from leasehold.token import base64url

__all__ = [
    "COOKIE",
    "SIGN_IN_PATH",
    "SignedInOnly",
    "again_path",
    "comes_by_a_link",
    "cookie_of",
    "keep_cookie",
    "require_recent",
    "safe_path",
    "step_inside",
]

COOKIE = "__Host-leasehold"
SIGN_IN_PATH = "/sign-in"
_LONGEST_PATH = 2000


def cookie_of(headers: Headers) -> bytes | None:
    """The id that a browser brought; None if it brought none, a malformed one, or several."""
    pairs = [pair.strip().partition("=") for line in headers.getlist("cookie") for pair in line.split(";")]
    values = [value for name, _, value in pairs if name == COOKIE]
    try:
        found = base64url.decode(values[0]) if len(values) == 1 else b""
    except InvalidError:
        return None
    return found if len(found) == SESSION_ID_BYTES else None


def keep_cookie(response: Response, cookie: bytes) -> None:
    """Have the browser keep an id, until it is closed or the id replaced."""
    response.set_cookie(COOKIE, base64url.encode(cookie), secure=True, httponly=True, samesite="strict", path="/")


def safe_path(wanted: str) -> str:
    """Where to go on after signing in: a path of our own, short enough to be kept so long, else the first page."""
    return wanted if _is_ours(wanted) and len(wanted) <= _LONGEST_PATH else "/"


def _is_ours(path: str) -> bool:
    return path.startswith("/") and not path.startswith(("//", "/\\", SIGN_IN_PATH)) and path.isprintable()


def require_recent(request: Request, seconds: int, *, back: str) -> Response | None:
    """The way to the sign-in page and on to `back`, for who last proved longer ago that it is them; else None."""
    viewer: PersonDesk = request.state.viewer
    if viewer.now().seconds - viewer.session.authenticated_at <= seconds:
        return None
    return RedirectResponse(again_path(back), status_code=303)


def again_path(back: str) -> str:
    """The sign-in page for somebody who is signed in, from where it goes on to `back`."""
    return f"{SIGN_IN_PATH}?again=1&next={quote(back)}"


class SignedInOnly:
    """Lets signed-in people through, `viewer`, `session` and `tokens` in `request.state`; shows others the door."""

    def __init__(self, app: ASGIApp, authority: Authority, site: Site) -> None:
        self._app = app
        self._authority = authority
        self._site = site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        cookie = cookie_of(Headers(scope=scope))
        session = await run_in_threadpool(self._authority.sign_ins.find, cookie) if cookie is not None else None
        if cookie is None or session is None:
            await _to_the_door(Request(scope), has_cookie=cookie is not None)(scope, receive, send)
            return
        self._introduce(scope, cookie, session)
        await self._app(scope, receive, send)

    def _introduce(self, scope: Scope, cookie: bytes, session: SignedIn) -> None:
        scope["state"]["viewer"] = self._authority.person_desk(session, origin=self._site.passkey_origin)
        scope["state"]["session"] = session
        scope["state"]["tokens"] = FormTokens(cookie)


def _to_the_door(request: Request, *, has_cookie: bool) -> Response:
    if request.method not in SAFE_METHODS:
        raise ProblemError(403, "Sign in first", "You are not signed in, or not any more. Nothing was done.")
    asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    wanted = safe_path(asked)
    if not has_cookie and comes_by_a_link(request):
        return step_inside(asked if _is_ours(asked) else "/")
    if len(asked) > _LONGEST_PATH:
        words = (
            "The address that led here is too long to come back to. Sign in, then follow what led you here once more."
        )
        raise ProblemError(414, "Sign in first", words)
    return RedirectResponse(f"{SIGN_IN_PATH}?next={quote(wanted)}", status_code=303)


def comes_by_a_link(request: Request) -> bool:
    """Whether another site's link led here: the browser keeps a strict cookie back then, though it may have one."""
    fetch = request.headers.get("sec-fetch-site"), request.headers.get("sec-fetch-mode")
    return fetch[0] in ("cross-site", "same-site") and fetch[1] == "navigate"


def step_inside(path: str) -> Response:
    """A page of our own that leads on at once, so that the next request is ours and carries the cookie."""
    to = escape(path, quote=True)
    body = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta http-equiv="refresh" content="0; url={to}">'
        f'<title>Leasehold</title><p><a href="{to}">Go on</a></p>'
    )
    return HTMLResponse(body)
