"""The application: pages that other layers bring, behind the checks that every request passes.

`leasehold serve` makes it from the console's pages. Who draws a page takes care of nothing here but its forms' tokens.
"""

from __future__ import annotations

from starlette.types import ASGIApp

from leasehold.http.gates import Gates
from leasehold.http.headers import StrictHeaders
from leasehold.http.problems import ProblemPage
from leasehold.http.site import Site
from leasehold.system import System

__all__ = ["protect"]


def protect(app: ASGIApp, *, site: Site, page: ProblemPage, system: System) -> ASGIApp:
    """The application behind strict headers and the checks of host, origin and size."""
    return StrictHeaders(Gates(app, site, page), system)
