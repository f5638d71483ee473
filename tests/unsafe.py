"""Every way in which the server can be asked to change something, read off the application itself.

A page that is added is in the list without anybody's doing; a test that goes through the list cannot forget it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from starlette.routing import Mount, Route
from starlette.types import ASGIApp

from leasehold.http.gates import SAFE_METHODS

__all__ = ["unsafe_paths"]

_INSIDE = ("app", "_app")


def unsafe_paths(app: ASGIApp) -> list[tuple[str, str]]:
    """Method and path template of every route that does not only look, sorted."""
    found = {(method, route.path) for route in _routes(app) for method in route.methods or ()}
    return sorted((method, path) for method, path in found if method not in SAFE_METHODS)


def _routes(app: object) -> Iterator[Route]:
    """The routes of an application, through whatever it is wrapped in."""
    for route in getattr(app, "routes", ()):
        if isinstance(route, Route):
            yield route
        elif isinstance(route, Mount):
            assert re.fullmatch("|/static|/", route.path), f"paths below {route.path} need their prefix here"
            yield from _routes(route.app)
    for name in _INSIDE:
        if not hasattr(app, "routes") and hasattr(app, name):
            yield from _routes(getattr(app, name))
