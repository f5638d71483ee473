"""A person's own page: by what they sign in, a new password, adding a passkey, and taking one away.

Whoever changes that has to have proven who they are a moment ago: a browser left open must not become a way in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import anyio
import anyio.to_thread
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from leasehold.authority import Authority
from leasehold.authority.person_desk import PersonDesk
from leasehold.decide.own_sign_ins import RECENT_SECONDS
from leasehold.errors import InvalidError
from leasehold.http.forms import check_token, read_form
from leasehold.http.passkeys import is_passkey_page, new_passkey_options, read_new_passkey
from leasehold.http.passwords import Passwords
from leasehold.http.sessions import cookie_of, require_recent
from leasehold.http.sign_in import SIGN_OUT
from leasehold.http.site import Site
from leasehold.model.proof import SignIn, SignInMethod

__all__ = ["ACCOUNT_PATH", "AccountPage", "AccountView", "account_routes"]

ACCOUNT_PATH = "/account"
PASSKEY_PATH = f"{ACCOUNT_PATH}/passkey"
PASSWORD_PATH = f"{ACCOUNT_PATH}/password"
REMOVE_PATH = f"{ACCOUNT_PATH}/remove"

_ADD, _REMOVE, _PASSWORD = "add-passkey", "remove-sign-in", "set-password"
_AT_ONCE = 2
"""Passwords hashed at the same time; each takes tens of megabytes."""


@dataclass(frozen=True, kw_only=True)
class AccountView:
    """What the page shows. Passkeys are used on pages of `passkey_origin`; `is_here` says that this is one.

    The form that adds one needs scripts: it posts `credential` and `token` (`add_token`) to `/account/passkey`, where
    `options` are those for `navigator.credentials.create`. Each sign-in may be removed: `sign_in` and `token` (of
    `remove_tokens`, by its id) to `/account/remove`. A new password is posted as `password` and, once more, as `again`,
    with `token` (`password_token`) to `/account/password`; `words` say why the last one would not do.
    """

    person: str
    sign_ins: tuple[SignIn, ...]
    options: str
    add_token: str
    remove_tokens: dict[str, str]
    password_token: str
    sign_out_token: str
    passkey_origin: str
    is_here: bool
    words: str = ""
    status: int = 200

    @property
    def has_password(self) -> bool:
        """Whether a new password would take the place of one."""
        return any(known.method is SignInMethod.PASSWORD for known in self.sign_ins)


AccountPage: TypeAlias = Callable[[Request, AccountView], Response]


def account_routes(authority: Authority, page: AccountPage, site: Site, passwords: Passwords) -> Sequence[BaseRoute]:
    """The routes of a signed-in person's own page."""
    account = _Account(authority, page, site, passwords)
    return [
        Route(ACCOUNT_PATH, account.show, methods=["GET"]),
        Route(PASSKEY_PATH, account.add, methods=["POST"]),
        Route(PASSWORD_PATH, account.set_password, methods=["POST"]),
        Route(REMOVE_PATH, account.remove, methods=["POST"]),
    ]


class _Account:
    """Shows and changes by what a person signs in."""

    def __init__(self, authority: Authority, page: AccountPage, site: Site, passwords: Passwords) -> None:
        self._authority = authority
        self._page = page
        self._site = site
        self._passwords = passwords
        self._places = anyio.CapacityLimiter(_AT_ONCE)

    def show(self, request: Request) -> Response:
        """The page."""
        again = require_recent(request, RECENT_SECONDS, back=ACCOUNT_PATH)
        return again if again is not None else self._draw(request)

    def _draw(self, request: Request, *, words: str = "", status: int = 200) -> Response:
        viewer: PersonDesk = request.state.viewer
        tokens, known = request.state.tokens, self._authority.sign_ins.of(viewer.person)
        view = AccountView(
            person=viewer.person,
            sign_ins=known,
            options=new_passkey_options(viewer, self._site, cookie_of(request.headers) or b""),
            add_token=tokens.make(_ADD),
            remove_tokens={one.sign_in: tokens.make(_REMOVE, one.sign_in) for one in known},
            password_token=tokens.make(_PASSWORD),
            sign_out_token=tokens.make(SIGN_OUT),
            passkey_origin=self._site.passkey_origin,
            is_here=is_passkey_page(request),
            words=words,
            status=status,
        )
        return self._page(request, view)

    async def _draw_again(self, request: Request, words: str) -> Response:
        return await run_in_threadpool(partial(self._draw, request, words=words, status=400))

    async def add(self, request: Request) -> Response:
        """Add a passkey that this browser's authenticator has just made."""
        form = await read_form(request)
        check_token(request, form, _ADD)
        again = require_recent(request, RECENT_SECONDS, back=ACCOUNT_PATH)
        if again is not None:
            return again
        return await run_in_threadpool(self._add, request, form.get("credential", ""))

    def _add(self, request: Request, credential: str) -> Response:
        who = request.state.viewer.session
        made = read_new_passkey(credential, self._site, cookie_of(request.headers) or b"")
        self._authority.sign_ins.add_own_passkey(who, made.credential, made.public_key, count=made.count)
        return RedirectResponse(ACCOUNT_PATH, status_code=303)

    async def set_password(self, request: Request) -> Response:
        """Give oneself a new password. Who signed in with the old one signs in again, everywhere."""
        form = await read_form(request)
        check_token(request, form, _PASSWORD)
        again = require_recent(request, RECENT_SECONDS, back=ACCOUNT_PATH)
        if again is not None:
            return again
        typed = form.get("password", "")
        if typed != form.get("again", ""):
            return await self._draw_again(request, "The two are not the same. Nothing was changed.")
        try:
            return await anyio.to_thread.run_sync(self._set_password, request, typed, limiter=self._places)
        except InvalidError as error:
            return await self._draw_again(request, f"That will not do: {error}. Nothing was changed.")

    def _set_password(self, request: Request, typed: str) -> Response:
        who = request.state.viewer.session
        self._authority.sign_ins.set_own_password(who, self._passwords.hash(typed, person=who.person))
        return RedirectResponse(ACCOUNT_PATH, status_code=303)

    async def remove(self, request: Request) -> Response:
        """Take a way to sign in away; if this session rests on it, it is over."""
        form = await read_form(request)
        sign_in = form.get("sign_in", "")
        check_token(request, form, _REMOVE, sign_in)
        again = require_recent(request, RECENT_SECONDS, back=ACCOUNT_PATH)
        if again is not None:
            return again
        return await run_in_threadpool(self._remove, request, sign_in)

    def _remove(self, request: Request, sign_in: str) -> Response:
        self._authority.sign_ins.remove_own(request.state.viewer.session, sign_in)
        return RedirectResponse(ACCOUNT_PATH, status_code=303)
