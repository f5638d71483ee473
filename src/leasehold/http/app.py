"""The application: pages that other layers bring, behind the checks that every request passes.

`leasehold serve` makes it from the console's pages. Who draws a page takes care of nothing here but its forms' tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.routing import BaseRoute, Mount, Router
from starlette.types import ASGIApp

from leasehold.authority import Authority
from leasehold.http.account import AccountPage, account_routes
from leasehold.http.api import Api, make_callers
from leasehold.http.authzen.routes import authzen_routes
from leasehold.http.callers import Callers
from leasehold.http.chat import chat_routes
from leasehold.http.doors import Doors
from leasehold.http.events import Streams
from leasehold.http.exchanges import templates_of
from leasehold.http.gates import Gates
from leasehold.http.headers import StrictHeaders
from leasehold.http.machines import Machines
from leasehold.http.oauth.clients import Clients
from leasehold.http.oauth.consent import ConsentPage
from leasehold.http.oauth.routes import consent_routes, oauth_routes
from leasehold.http.passwords import Passwords
from leasehold.http.problems import ProblemPage, exception_handlers
from leasehold.http.providers import ProviderSecrets, provider_routes
from leasehold.http.sessions import SignedInOnly
from leasehold.http.sign_in import SignInPage, sign_in_routes
from leasehold.http.site import Site

__all__ = ["Pages", "create_app"]


@dataclass(frozen=True, kw_only=True)
class Pages:
    """What a console brings: pages for signed-in people, files for everybody, and how the pages of ours look.

    A handler finds the person's desk in `request.state.viewer`, their session in `.session`, and in `.tokens` what
    makes the tokens of its forms. `public` is for static files alone.
    """

    routes: Sequence[BaseRoute]
    public: Sequence[BaseRoute]
    sign_in: SignInPage
    problem: ProblemPage
    account: AccountPage
    consent: ConsentPage


def create_app(
    authority: Authority,
    pages: Pages,
    *,
    site: Site,
    streams: Streams | None = None,
    passwords: Passwords | None = None,
    providers: ProviderSecrets = lambda _: "",
    clients: Clients | None = None,
    callers: Callers | None = None,
) -> ASGIApp:
    """The whole application over one authority: pages for people, the API for programs, on one address.

    `streams` are closed by the server that stops, `passwords` have the costs of hashing, `callers` know who calls the
    API; all are made where not given. Without `clients` it has no OAuth doors. `providers` tells the secrets of our
    clients at the providers of the policy.
    """
    passwords = passwords or Passwords()
    own = account_routes(authority, pages.account, site, passwords)
    consent = consent_routes(authority, clients, site, pages.consent) if clients is not None else ()
    inside = SignedInOnly(Router([*own, *consent, *pages.routes], redirect_slashes=False), authority, site)
    outside = [
        *sign_in_routes(authority, pages.sign_in, passwords, site),
        *provider_routes(authority, pages.sign_in, site, providers),
        *chat_routes(authority),
        *pages.public,
    ]
    app = Starlette(
        routes=[*outside, Mount("/", app=inside)],
        exception_handlers=exception_handlers(pages.problem),
    )
    app.state.site = site
    app.state.templates = templates_of([*outside, *own, *consent, *pages.routes])
    app.state.streams = streams or Streams(authority)
    api = Api(authority, callers or make_callers(authority), app.state.streams)
    doors = [*oauth_routes(authority, clients, site), *authzen_routes(authority, clients, site)] if clients else []
    machines = Machines(api, Doors(doors), Gates(app, site, pages.problem), site)
    return StrictHeaders(machines, authority.engine.system, is_https=site.scheme == "https")
