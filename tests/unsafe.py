"""Every way in which the server can be asked to change something, read off the application itself.

A page that is added is in the list without anybody's doing; a test that goes through the list cannot forget it.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import FunctionType, MethodType

from starlette.routing import Mount, Route
from starlette.types import ASGIApp

from leasehold.http.gates import SAFE_METHODS

__all__ = ["unsafe_paths"]


def unsafe_paths(app: ASGIApp) -> list[tuple[str, str]]:
    """Method and path template of every route that does not only look, sorted."""
    found = {(method, route.path) for route in _routes(app) for method in route.methods or ()}
    assert found, "the application is wrapped in something that this does not look through"
    return sorted((method, path) for method, path in found if method not in SAFE_METHODS)


def _routes(app: object) -> Iterator[Route]:
    """The routes of an application, through whatever it is wrapped in."""
    routes = getattr(app, "routes", None)
    if routes is None:
        for inner in vars(app).values():
            if callable(inner) and not isinstance(inner, (FunctionType, MethodType, type)):
                yield from _routes(inner)
        return
    for route in routes:
        if isinstance(route, Route):
            yield route
        elif isinstance(route, Mount):
            assert route.path in ("", "/static"), f"paths below {route.path} need their prefix here"
            yield from _routes(route.app)
