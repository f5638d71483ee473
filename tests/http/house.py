"""An authority in memory behind a real server, with people who have passwords and browsers."""

from __future__ import annotations

from dataclasses import replace
from html import escape

from argon2 import PasswordHasher
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from leasehold.authority.person_desk import PersonDesk
from leasehold.console.pages import console_pages
from leasehold.errors import InvalidError
from leasehold.http.app import create_app
from leasehold.http.events import Streams, event_stream
from leasehold.http.forms import about_card, check_token, read_form
from leasehold.http.passkeys import answer_options, read_assertion
from leasehold.http.passwords import Passwords
from leasehold.http.sessions import require_recent
from leasehold.http.sign_in import SIGN_OUT
from leasehold.http.site import Site
from leasehold.model.request import Verdict
from served import Browser, Reply
from stage import POLICY, Stage

_SCRIPT = '<script type="module" src="/static/passkeys.js"></script>'
PASSWORD = "correct horse battery"


class CountingHasher(PasswordHasher):
    """The real thing at the lowest cost, counting how often it was asked."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.asked = 0

    def verify(self, hash: str | bytes, password: str | bytes) -> bool:  # noqa: A002 - the library's signature
        self.asked += 1
        return super().verify(hash, password)


class House:
    """The stage with a door for people."""

    def __init__(self, text: str = POLICY, provider_secret: str = "") -> None:
        self.stage = Stage(text)
        self.provider_secret = provider_secret
        self.hasher = CountingHasher()
        self.passwords = Passwords(self.hasher)
        self.streams = Streams(self.stage.authority)
        self.port = 0

    def build(self, site: Site) -> ASGIApp:
        """The application, as `served` wants it."""
        routes = [
            Route("/", _home),
            Route("/request/{request_id}", _request),
            Route("/answer", _answer, methods=["POST"]),
            Route("/events", _events),
            Route("/critical", _critical),
        ]
        return create_app(
            self.stage.authority,
            replace(console_pages(), routes=routes),
            site=site,
            streams=self.streams,
            passwords=self.passwords,
            providers=lambda _: self.provider_secret,
        )

    def close_streams(self) -> None:
        """What the server does before it stops."""
        self.streams.close()

    @property
    def passkey_origin(self) -> str:
        """Where passkeys are used."""
        return f"http://localhost:{self.port}"

    def person(self, name: str, password: str = PASSWORD) -> str:
        """Give somebody a password; answers the sign-in's id."""
        return self.stage.authority.sign_ins.set_password(name, self.passwords.hash(password, person=name), by="op")

    def browser(self) -> Browser:
        return Browser(self.port)

    def signed_in(self, name: str, password: str = PASSWORD) -> Browser:
        """A browser of somebody who has signed in."""
        if not self.stage.authority.sign_ins.of(name):
            self.person(name, password)
        browser = self.browser()
        reply = sign_in(browser, name, password)
        assert (reply.status, reply.location) == (303, "/"), reply.text
        return browser


def sign_in(browser: Browser, name: str, password: str = PASSWORD, *, to: str = "/", **headers: str) -> Reply:
    """Fill the sign-in form in as a browser does."""
    token = browser.get(f"/sign-in?next={to}", **headers).token("/sign-in")
    return browser.post("/sign-in", {"token": token, "next": to, "person": name, "password": password})


def _home(request: Request) -> Response:
    viewer: PersonDesk = request.state.viewer
    return HTMLResponse(
        f"<p>person: {viewer.person}</p><p>waiting: {[each.request.request_id for each in viewer.inbox()]}</p>"
        f'<form method="post" action="/sign-out">'
        f'<input type="hidden" name="token" value="{request.state.tokens.make(SIGN_OUT)}"></form>'
    )


def _request(request: Request) -> Response:
    waiting = request.state.viewer.waiting(request.path_params["request_id"])
    about = about_card(waiting.request.request_id, waiting.row.card_digest)
    token = request.state.tokens.make("answer", about)
    viewer, site, digest = request.state.viewer, request.app.state.site, waiting.row.card_digest
    asked = waiting.request.request_id
    options = {verdict: escape(answer_options(viewer, site, asked, digest, verdict)) for verdict in Verdict}
    signed = " ".join(f'data-{verdict}="{text}"' for verdict, text in options.items())
    buttons = "".join(
        f'<button name="verdict" value="{verdict}" data-options="{options[verdict]}">{verdict}</button>'
        for verdict in Verdict
    )
    return HTMLResponse(
        f"<!doctype html>{_SCRIPT}<p {signed}></p>"
        f'<form method="post" action="/answer" data-passkey="get"><input name="token" value="{token}">'
        f'<input name="digest" value="{digest}"><input name="request" value="{asked}">'
        f'<input type="hidden" name="credential">{buttons}</form>{waiting.missing} missing'
    )


async def _answer(request: Request) -> Response:
    form = await read_form(request)
    request_id, digest = form.get("request", ""), form.get("digest", "")
    check_token(request, form, "answer", about_card(request_id, digest))
    if form.get("verdict") not in list(Verdict):
        raise InvalidError("that is no verdict")
    assertion = read_assertion(form["credential"]) if form.get("credential") else None
    viewer, verdict = request.state.viewer, Verdict(form["verdict"])
    answered = viewer.answer(request_id, verdict, card_digest=digest, reason="seen", assertion=assertion)
    return JSONResponse({"state": answered.state, "missing": answered.approvals_missing})


async def _events(request: Request) -> Response:
    viewer: PersonDesk = request.state.viewer
    return event_stream(request, lambda: " ".join(each.request.request_id for each in viewer.inbox()) or "nothing")


def _critical(request: Request) -> Response:
    return require_recent(request, 60, back="/critical?x=1") or PlainTextResponse("critical")
