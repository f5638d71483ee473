"""All pages of the console, as `leasehold.http.app.create_app` takes them. Called by `leasehold serve`."""

from __future__ import annotations

from starlette.responses import Response
from starlette.routing import BaseRoute, Mount
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from leasehold.console.batch import batch_routes
from leasehold.console.consent import consent_page
from leasehold.console.deciding import card_routes
from leasehold.console.editing import edit_routes
from leasehold.console.entrance import account_page, problem_page, sign_in_page
from leasehold.console.glass import glass_routes
from leasehold.console.inbox import inbox_routes
from leasehold.console.leases import lease_routes
from leasehold.console.ledger import ledger_routes
from leasehold.console.policy import policy_routes
from leasehold.console.proposals import proposal_routes
from leasehold.console.receipts import receipt_routes
from leasehold.console.runs import run_routes
from leasehold.console.stops import stop_routes
from leasehold.http.app import Pages

__all__ = ["console_pages"]


class _Files(StaticFiles):
    """Files that a browser may keep, as long as it asks each time whether they are still the same."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """One file."""
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "no-cache"
        return response


def console_pages() -> Pages:
    """Every page that a signed-in person can open, and the files that those need."""
    routes: list[BaseRoute] = [
        *inbox_routes(),
        *card_routes(),
        *edit_routes(),
        *batch_routes(),
        *run_routes(),
        *receipt_routes(),
        *lease_routes(),
        *ledger_routes(),
        *policy_routes(),
        *proposal_routes(),
        *stop_routes(),
        *glass_routes(),
    ]
    return Pages(
        routes=routes,
        public=[Mount("/static", _Files(packages=[("leasehold.console", "static")]))],
        sign_in=sign_in_page,
        problem=problem_page,
        account=account_page,
        consent=consent_page,
    )
