"""Signing in and out: two plain forms, which work without scripts.

A wrong name and a wrong password look the same and take the same time. Who fails waits, longer each time; what failed
is counted in the ledger by person and minute.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeAlias, TypedDict, Unpack

import anyio
import anyio.to_thread
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from leasehold.authority import Authority
from leasehold.authority.sign_ins import SESSION_ID_BYTES, SignedIn, check_passkey
from leasehold.errors import Denied, InvalidError
from leasehold.http.attempts import Attempts
from leasehold.http.forms import FormTokens, check_token, read_form
from leasehold.http.passkeys import read_assertion, sign_in_challenge, sign_in_options
from leasehold.http.passwords import Passwords
from leasehold.http.sessions import SIGN_IN_PATH, cookie_of, keep_cookie, safe_path
from leasehold.http.site import Site
from leasehold.model.decision import Reason, deny
from leasehold.model.proof import SignIn, SignInMethod
from leasehold.model.text import check_identifier

__all__ = [
    "SIGN_IN",
    "SIGN_OUT",
    "SignInForm",
    "SignInPage",
    "blank_form",
    "sign_in_routes",
]

SIGN_IN, SIGN_OUT = "sign-in", "sign-out"
"""The purposes of the two forms, for their tokens."""

PASSKEY_PATH = f"{SIGN_IN_PATH}/passkey"

_AT_ONCE = 4
"""Passwords verified at the same time; each takes tens of megabytes."""


@dataclass(frozen=True, kw_only=True)
class SignInForm:
    """What the sign-in page shows. It posts `person`, `password`, `next` and `token` to `/sign-in`.

    A second form, which needs scripts, posts `credential`, `next` and `token` to `/sign-in/passkey`; `passkey` are the
    options for `navigator.credentials.get` as JSON. For each of `providers` a form posts `next`, `token` and, to prove
    it once more, `again` as `1` to `/sign-in/with/` and its name. `words` say what went wrong, empty on a first look.
    `again` is the person who is signed in and is asked once more.
    """

    token: str
    passkey: str = ""
    providers: tuple[str, ...] = ()
    next: str = "/"
    person: str = ""
    words: str = ""
    again: str = ""
    status: int = 200


class Filled(TypedDict, total=False):
    """What of the form is filled in beforehand; see `SignInForm`."""

    next: str
    person: str
    words: str
    again: str
    status: int


SignInPage: TypeAlias = Callable[[Request, SignInForm], Response]
"""Draws the form, with the form's status."""


def sign_in_routes(authority: Authority, page: SignInPage, passwords: Passwords, site: Site) -> Sequence[BaseRoute]:
    """The routes `/sign-in`, `/sign-in/passkey` and `/sign-out`, which need nobody to be signed in."""
    desk = _FrontDesk(authority, page, passwords, site)
    return [
        Route(SIGN_IN_PATH, desk.show, methods=["GET"]),
        Route(SIGN_IN_PATH, desk.take, methods=["POST"]),
        Route(PASSKEY_PATH, desk.take_passkey, methods=["POST"]),
        Route("/sign-out", desk.sign_out, methods=["POST"]),
    ]


class _FrontDesk:
    """Who asks for the person and the password."""

    def __init__(self, authority: Authority, page: SignInPage, passwords: Passwords, site: Site) -> None:
        self._authority = authority
        self._page = page
        self._passwords = passwords
        self._site = site
        self._attempts = Attempts(authority.engine.system)
        self._places = anyio.CapacityLimiter(_AT_ONCE)

    async def show(self, request: Request) -> Response:
        """The form. Gives a browser that has no id yet one to make its token with."""
        cookie = cookie_of(request.headers)
        fresh = cookie is None
        cookie = cookie or self._authority.engine.system.random_bytes(SESSION_ID_BYTES)
        session = None if fresh else await run_in_threadpool(self._authority.sign_ins.find, cookie)
        wanted = safe_path(request.query_params.get("next", "/"))
        is_again = "again" in request.query_params
        if session is not None and not is_again:
            return RedirectResponse(wanted, status_code=303)
        form = blank_form(
            self._authority,
            self._site,
            cookie,
            next=wanted,
            again=session.person if session is not None else "",
            words="Prove once more that it is you." if session is not None else "",
        )
        response = self._page(request, form)
        if fresh:
            keep_cookie(response, cookie)
        return response

    async def take(self, request: Request) -> Response:
        """Sign in with what the form says."""
        cookie = cookie_of(request.headers) or b""
        request.state.tokens = FormTokens(cookie)
        form = await read_form(request)
        check_token(request, form, SIGN_IN)
        typed, address = form.get("person", ""), request.client.host if request.client is not None else ""
        again, person = self._once_more(cookie, form), _person(typed)
        wait = self._attempts.begin(person, address)
        if wait:
            words = f"Too many tries. Wait {wait} seconds, then try again."
            response = self._page(request, replace(again, words=words, status=429))
            response.headers["Retry-After"] = str(wait)
            return response
        used = await anyio.to_thread.run_sync(self._verify, person, form.get("password", ""), limiter=self._places)
        if used is None:
            words = "That is not the right person and password. Nothing was done."
            return self._page(request, replace(again, words=words, status=403))
        self._attempts.succeeded(person, address)
        begin = partial(self._authority.sign_ins.begin, person, used.sign_in, address=address, ends=cookie)
        return _let_in(await run_in_threadpool(begin), again.next)

    async def take_passkey(self, request: Request) -> Response:
        """Sign in with what a passkey signed for this browser."""
        cookie = cookie_of(request.headers) or b""
        request.state.tokens = FormTokens(cookie)
        form = await read_form(request)
        check_token(request, form, SIGN_IN)
        address = request.client.host if request.client is not None else ""
        again = self._once_more(cookie, form)
        name = f"a passkey from {address}"
        if self._attempts.begin(name, address):
            words = "Too many tries. Wait a little, then try again."
            return self._page(request, replace(again, words=words, status=429))
        begin = partial(self._begin_by_passkey, form.get("credential", ""), cookie, address)
        try:
            begun = await run_in_threadpool(begin)
        except Denied:
            words = "That passkey is not known here, or did not sign for this page. Nothing was done."
            return self._page(request, replace(again, words=words, status=403))
        self._attempts.succeeded(name, address)
        return _let_in(begun, again.next)

    def _once_more(self, cookie: bytes, form: dict[str, str]) -> SignInForm:
        """The form again, as it was filled in but for the password."""
        wanted = safe_path(form.get("next", "/"))
        return blank_form(self._authority, self._site, cookie, next=wanted, person=form.get("person", ""))

    async def sign_out(self, request: Request) -> Response:
        """End the session of this browser."""
        cookie = cookie_of(request.headers) or b""
        request.state.tokens = FormTokens(cookie)
        check_token(request, await read_form(request), SIGN_OUT)
        await run_in_threadpool(self._authority.sign_ins.end, cookie)
        response = RedirectResponse(SIGN_IN_PATH, status_code=303)
        keep_cookie(response, self._authority.engine.system.random_bytes(SESSION_ID_BYTES))
        return response

    def _verify(self, person: str, password: str) -> SignIn | None:
        """The sign-in that this password is right for. Takes as long for a name that nobody has."""
        known = self._authority.sign_ins.of(person) if person else ()
        used = next((each for each in known if each.method is SignInMethod.PASSWORD), None)
        is_right = self._passwords.is_right(used.secret if used is not None else None, password)
        if used is not None and is_right:
            if self._passwords.is_outdated(used.secret):
                self._authority.sign_ins.renew(person, used, self._passwords.hash(password, person=person))
            return used
        self._authority.sign_ins.count_failure(person)
        return None

    def _begin_by_passkey(self, credential: str, cookie: bytes, address: str) -> tuple[bytes, SignedIn]:
        sign_ins, assertion = self._authority.sign_ins, read_assertion(credential)
        person = sign_ins.person_of_passkey(assertion.credential)
        used = next((known for known in sign_ins.of(person) if known.credential == assertion.credential), None)
        if used is None:
            sign_ins.count_failure("")
            raise Denied(deny(Reason.BAD_SIGNATURE, "this passkey is nobody's"))
        try:
            count = check_passkey(assertion, used, sign_in_challenge(cookie), self._site.passkey_origin)
        except Denied:
            sign_ins.count_failure(person)
            raise
        return sign_ins.begin(person, used.sign_in, address=address, ends=cookie, count=count)


def blank_form(
    authority: Authority,
    site: Site,
    cookie: bytes,
    **filled: Unpack[Filled],
) -> SignInForm:
    """The form for the browser that has this cookie, as far as it is filled in."""
    form = SignInForm(
        token=FormTokens(cookie).make(SIGN_IN),
        passkey=sign_in_options(site, cookie),
        providers=tuple(sorted(authority.engine.active_policy().sign_in)),
    )
    return replace(form, **filled)


def _let_in(begun: tuple[bytes, SignedIn], path: str) -> Response:
    response = RedirectResponse(path, status_code=303)
    keep_cookie(response, begun[0])
    return response


def _person(typed: str) -> str:
    """The person whom somebody means who typed this; empty where it can be nobody's name."""
    name = typed.strip()
    try:
        return check_identifier(name if ":" in name else f"user:{name}", "person")
    except InvalidError:
        return ""
