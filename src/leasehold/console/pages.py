"""The pages of the console, as `leasehold.http.app.create_app` takes them."""

from __future__ import annotations

from html import escape

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from leasehold.authority.person_desk import PersonDesk
from leasehold.http.app import Pages
from leasehold.http.sign_in import SIGN_OUT

__all__ = ["console_pages"]


def console_pages() -> Pages:
    """Every page that a signed-in person can open."""
    return Pages(routes=[Route("/", _home)])


def _home(request: Request) -> Response:
    viewer: PersonDesk = request.state.viewer
    waiting = len(viewer.inbox())
    return HTMLResponse(
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Leasehold</title>'
        f"<h1>{escape(viewer.person)}</h1><p>{waiting} waiting</p>"
        f'<form method="post" action="/sign-out"><input type="hidden" name="token" '
        f'value="{request.state.tokens.make(SIGN_OUT)}"><button>Sign out</button></form>'
    )
