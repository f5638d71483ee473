"""The page on which a person lets a program ask in their name (RFC 6749, section 4.1, with PKCE alone).

It shows the card that would come of it, without making it. Consent proves who asks, and nothing else: it starts a run
for this person and makes its request, and who has to approve that is asked as ever. The form is bound to the session,
to every parameter and to what was shown, so nobody else's page can send it, none can be changed on the way, and what
would come to something else by now is looked at again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from html import escape
from typing import TypeAlias
from urllib.parse import urlsplit

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from leasehold.authority import Authority
from leasehold.errors import Denied, InvalidError
from leasehold.http.forms import FormTokens, check_token, read_form
from leasehold.http.oauth.answers import OAuthError, error_of
from leasehold.http.oauth.authorizing import Authorizing, BackError, read_authorizing
from leasehold.http.oauth.clients import Client, Clients
from leasehold.http.oauth.codes import CODE_SECONDS, Code, Codes
from leasehold.http.oauth.details import Asked
from leasehold.http.oauth.granting import Granting, Made, Person, Rehearsed
from leasehold.http.problems import ProblemError
from leasehold.http.site import Site
from leasehold.model.run import RequesterProof

__all__ = ["CONSENT", "Consent", "ConsentPage", "ConsentView"]

CONSENT = "consent"
"""The purpose of the form, for its token."""


class ConsentView(msgspec.Struct, frozen=True, kw_only=True):
    """What the page shows. Its form posts `asked`, `shown`, `token`, `purpose` and `verdict` (`allow` or `deny`).

    `rehearsed` is what would come of it, with the card; `place` where the browser goes afterwards. `asks_purpose` says
    that the client gave none, so that the person has to say what it is for.
    """

    client: str
    person: str
    place: str
    rehearsed: Rehearsed
    asked: str
    shown: str
    token: str
    asks_purpose: bool


ConsentPage: TypeAlias = Callable[[Request, ConsentView], Response]
"""Draws the consent page."""


class Consent:
    """The two handlers of the page. Threads may share it."""

    def __init__(self, authority: Authority, clients: Clients, site: Site, page: ConsentPage) -> None:
        self._engine = authority.engine
        self._clients = clients
        self._issuer = site.origin
        self._granting = Granting(authority)
        self._codes = Codes(authority)
        self._page = page

    async def show(self, request: Request) -> Response:
        """The page, for a signed-in person. Nothing is made yet."""
        query = request.url.query
        return await run_in_threadpool(self._shown, request, query)

    async def take(self, request: Request) -> Response:
        """What the person said, and the way back to the client."""
        form = await read_form(request)
        query = form.get("asked", "")
        check_token(request, form, CONSENT, _about(query, form.get("shown", "")))
        return await run_in_threadpool(self._taken, request, query, form)

    def _shown(self, request: Request, query: str) -> Response:
        try:
            client, wanted = read_authorizing(query, self._clients, self._issuer)
            rehearsed = self._rehearsed(request, client, wanted)
        except BackError as back:
            return _leave(back.location)
        tokens: FormTokens = request.state.tokens
        shown = rehearsed.digest
        view = ConsentView(
            client=client.name,
            person=request.state.session.person,
            place=urlsplit(wanted.redirect_uri).netloc,
            rehearsed=rehearsed,
            asked=query,
            shown=shown,
            token=tokens.make(CONSENT, _about(query, shown)),
            asks_purpose=not _asked(wanted, "").run.purpose,
        )
        return self._page(request, view)

    def _rehearsed(self, request: Request, client: Client, wanted: Authorizing) -> Rehearsed:
        asked = _asked(wanted, "(what you write below)")
        person = Person(request.state.session.person, RequesterProof.PROVEN)
        try:
            return self._granting.rehearse(client, asked, wanted.audience, person)
        except (OAuthError, Denied, InvalidError) as error:
            raise wanted.refused(_for_browser(error)) from None

    def _taken(self, request: Request, query: str, form: dict[str, str]) -> Response:
        try:
            client, wanted = read_authorizing(query, self._clients, self._issuer)
            if form.get("verdict") != "allow":
                raise wanted.refused(OAuthError("access_denied", "the person said no"))
            rehearsed = self._rehearsed(request, client, wanted)
            if rehearsed.digest != form.get("shown"):
                raise _moved()
            made = self._made(request, client, wanted, form.get("purpose", ""))
            if made.request.policy != rehearsed.card.policy:  # accepted in the moment between the two
                self._granting.take_back(client, made.request)
                raise _moved()
            return _leave(wanted.back(code=self._code(client, wanted, made)))
        except BackError as back:
            return _leave(back.location)

    def _made(self, request: Request, client: Client, wanted: Authorizing, purpose: str) -> Made:
        """Start the run and make its request."""
        person = Person(request.state.session.person, RequesterProof.PROVEN)
        try:
            return self._granting.ask(client, _asked(wanted, purpose), wanted.audience, person)
        except (OAuthError, Denied, InvalidError) as error:
            raise wanted.refused(_for_browser(error)) from None

    def _code(self, client: Client, wanted: Authorizing, made: Made) -> str:
        """The code that stands for the request."""
        code = Code(
            client=client.name,
            redirect_uri=wanted.redirect_uri,
            challenge=wanted.challenge,
            request_id=made.request.request_id,
            run_id=made.request.run_id,
            audience=made.audience,
            expires_at=self._engine.system.now().seconds + CODE_SECONDS,
            holder=wanted.holder,
        )
        return self._codes.make(code)


def _asked(wanted: Authorizing, purpose: str) -> Asked:
    """What is asked for, with the person's words where the client has none."""
    if wanted.asked is None:
        raise TypeError("this was not completed")
    run = wanted.asked.run
    return msgspec.structs.replace(
        wanted.asked, run=msgspec.structs.replace(run, purpose=run.purpose or purpose.strip())
    )


def _for_browser(error: Exception) -> OAuthError:
    """An error as an authorization response knows it (RFC 6749, section 4.1.2.1)."""
    found = error_of(error)
    known = ("invalid_scope", "invalid_target", "invalid_authorization_details", "unauthorized_client")
    return OAuthError(found.error if found.error in known else "access_denied", found.words)


def _about(query: str, shown: str) -> str:
    """What the form is about: every parameter, as it came, and what the person was shown."""
    return f"{hashlib.sha256(query.encode()).hexdigest()} {shown}"


def _moved() -> ProblemError:
    return ProblemError(
        409,
        "This page is out of date",
        "By now something else would come of it than you were shown. Nothing was asked. Go back, load the page again, "
        "and look at it once more.",
    )


def _leave(location: str) -> Response:
    """A page that leads the browser to the client. Not a redirect: our pages let forms go nowhere but here."""
    to = escape(location, quote=True)
    body = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta http-equiv="refresh" content="0; url={to}">'
        f'<title>Leasehold</title><p><a href="{to}">Go on</a></p>'
    )
    return HTMLResponse(body)
