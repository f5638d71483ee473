"""Signing in at a provider: a form that leads there, and the address to which it leads back.

That address is the one place where a GET changes something: the provider's answer comes by a link. What proves that it
was asked for is its `state`, a MAC under this browser's cookie. A browser that comes from the provider keeps its strict
cookie back, so it is first led to the same address by a page of ours.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from html import escape
from typing import TypeAlias
from urllib.parse import quote, quote_plus

import anyio
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from leasehold.authority import Authority
from leasehold.authority.sign_ins import SESSION_ID_BYTES
from leasehold.decide.provider_sign_ins import Account
from leasehold.errors import Denied, InvalidError, TokenError, UnavailableError
from leasehold.http.attempts import Attempts
from leasehold.http.forms import FormTokens, check_token, read_form
from leasehold.http.issuer_source import IssuerSource, Wire
from leasehold.http.provider_flow import (
    Flow,
    account_of,
    authorize_url,
    begin_flow,
    check_answer,
    read_flow,
    token_form,
)
from leasehold.http.sessions import SIGN_IN_PATH, comes_by_a_link, cookie_of, keep_cookie, safe_path, step_inside
from leasehold.http.sign_in import SIGN_IN, SignInPage, blank_form
from leasehold.http.site import Site
from leasehold.model import canonical
from leasehold.model.address import parse_endpoint
from leasehold.model.canonical import Json
from leasehold.notices.channel import DeliveryError
from leasehold.notices.wire import post
from leasehold.policy.document import IssuerRule, SignInRule
from leasehold.system import System
from leasehold.token.foreign import unverified_header, verify_foreign

__all__ = ["PROVIDER_PATH", "ProviderSecrets", "provider_routes"]

PROVIDER_PATH = f"{SIGN_IN_PATH}/with"
_ANSWER_SECONDS = 10.0
_MAX_QUERY = 16_384

ProviderSecrets: TypeAlias = Callable[[str], str]
"""The secret of our client at a provider, by the provider's name; empty where there is none."""


def provider_routes(
    authority: Authority, page: SignInPage, site: Site, secrets: ProviderSecrets, wire: Wire | None = None
) -> Sequence[BaseRoute]:
    """The routes that lead to a provider and back, which need nobody to be signed in."""
    door = _Door(authority, page, site, _Providers(authority, secrets, wire or Wire()))
    return [
        Route(f"{PROVIDER_PATH}/{{name}}", door.lead, methods=["POST"]),
        Route(f"{PROVIDER_PATH}/{{name}}/back", door.take, methods=["GET"]),
    ]


@dataclass
class _Providers:
    """The providers of the live policy, and what each has said of itself. Used on one event loop."""

    authority: Authority
    secrets: ProviderSecrets
    wire: Wire
    _sources: dict[str, IssuerSource] = field(default_factory=dict)

    def rule(self, name: str) -> SignInRule:
        """The provider of that name.

        Raises:
            InvalidError: the policy names none.
        """
        rule = self.authority.engine.active_policy().sign_in.get(name)
        if rule is None:
            raise InvalidError("the policy names no such provider")
        return rule

    def source(self, rule: SignInRule) -> IssuerSource:
        """Where its keys and addresses come from."""
        wanted = IssuerRule(issuer=rule.issuer, audience=rule.client_id, networks=rule.networks)
        found = self._sources.get(rule.name)
        if found is None or found.rule != wanted:
            found = self._sources[rule.name] = IssuerSource(wanted, self._system, self.wire)
        return found

    async def account(self, rule: SignInRule, flow: Flow, answer: Mapping[str, str], redirect_uri: str) -> Account:
        """Who the provider says is in front of this browser.

        Raises:
            InvalidError, TokenError: its answer does not count.
            UnavailableError: it cannot be asked.
        """
        source = self.source(rule)
        document = await source.document()
        code = check_answer(answer, rule, document)
        endpoint = source.endpoint_of(document, "token_endpoint")
        tokens = await self._redeem(rule, endpoint, token_form(rule, flow, code, redirect_uri))
        id_token, access_token = tokens.get("id_token"), tokens.get("access_token")
        if not isinstance(id_token, str) or not isinstance(access_token, str | None):
            raise InvalidError("the provider gave no ID token")
        header = unverified_header(id_token)
        keys = await source.keys(header.kid)
        now = self._system.now()
        said = verify_foreign(id_token, keys, issuer=rule.issuer, audience=rule.client_id, now=now)
        return account_of(rule, flow, said, access_token, header.algorithm, now)

    async def _redeem(self, rule: SignInRule, endpoint: str, form: bytes) -> Mapping[str, Json]:
        headers = {
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "Content-Type": "application/x-www-form-urlencoded",
            "User-Agent": "leasehold",
            **(self._credentials(rule) if rule.secret else {}),
        }
        schemes = ("http", "https") if rule.networks else ("https",)
        try:
            with anyio.fail_after(_ANSWER_SECONDS):
                reply = await post(
                    parse_endpoint(endpoint, schemes),
                    form,
                    headers,
                    networks=rule.networks,
                    resolve=self.wire.resolve,
                    trust=self.wire.trust,
                )
        except (DeliveryError, TimeoutError):
            raise UnavailableError(f"{rule.name} cannot be asked what its answer is worth") from None
        answered = canonical.decode(reply.body) if reply.status == 200 else None
        if not isinstance(answered, dict):
            raise InvalidError("the provider does not stand by its answer")
        return answered

    def _credentials(self, rule: SignInRule) -> dict[str, str]:
        """Name and secret of our client, each encoded before they are joined (RFC 6749 §2.3.1)."""
        secret = self.secrets(rule.name)
        if not secret:
            raise UnavailableError(f"the secret of {rule.name} is not here")
        pair = f"{quote_plus(rule.client_id)}:{quote_plus(secret)}"
        return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}

    @property
    def _system(self) -> System:
        return self.authority.engine.system


class _Door:
    """Who leads people to a provider and takes them back."""

    def __init__(self, authority: Authority, page: SignInPage, site: Site, providers: _Providers) -> None:
        self._authority = authority
        self._page = page
        self._site = site
        self._providers = providers
        self._attempts = Attempts(authority.engine.system)

    async def lead(self, request: Request) -> Response:
        """A page that leads to the provider. Not a redirect: a form of ours may lead to nobody else (`form-action`)."""
        name = request.path_params["name"]
        cookie = cookie_of(request.headers) or b""
        request.state.tokens = FormTokens(cookie)
        form = await read_form(request)
        check_token(request, form, SIGN_IN)
        system = self._authority.engine.system
        try:
            rule = await run_in_threadpool(self._providers.rule, name)
            source = self._providers.source(rule)
            document = await source.document()
            endpoint = source.endpoint_of(document, "authorization_endpoint")
            _check_challenge(document)
        except (InvalidError, UnavailableError):
            return await self._again(request, cookie, f"{name} cannot be reached now. Nothing was done.", status=503)
        flow = begin_flow(
            cookie,
            name,
            now=system.now(),
            chance=system.random_bytes(16),
            next_path=safe_path(form.get("next", "/")),
            again=form.get("again", "") == "1",
        )
        return _lead_on(name, authorize_url(rule, endpoint, flow, self._back(request, name)))

    async def take(self, request: Request) -> Response:
        """Sign in whoever the provider has proven somebody to be."""
        name, cookie = request.path_params["name"], cookie_of(request.headers)
        if cookie is None and comes_by_a_link(request):
            return step_inside(f"{request.url.path}?{request.url.query}")
        address = request.client.host if request.client is not None else ""
        tried = f"a provider from {address}"
        if wait := self._attempts.begin(tried, address):
            response = await self._again(request, cookie or b"", f"Too many tries. Wait {wait} seconds.", status=429)
            response.headers["Retry-After"] = str(wait)
            return response
        try:
            rule = await run_in_threadpool(self._providers.rule, name)
            answer = _answer(request)
            flow = read_flow(cookie or b"", name, answer.get("state", ""), self._authority.engine.system.now())
            account = await self._providers.account(rule, flow, answer, self._back(request, name))
            begin = partial(self._authority.sign_ins.begin_by_provider, account, address=address, ends=cookie or b"")
            session_id, _ = await run_in_threadpool(begin)
        except UnavailableError:
            return await self._again(
                request, cookie or b"", f"{name} cannot be reached now. Nothing was done.", status=503
            )
        except (InvalidError, TokenError, Denied) as error:
            await run_in_threadpool(self._authority.sign_ins.count_failure, "")
            said = error.decision.message if isinstance(error, Denied) else str(error)
            return await self._again(
                request, cookie or b"", f"You are not signed in: {said}. Nothing was done.", status=403
            )
        self._attempts.succeeded(tried, address)
        response = RedirectResponse(flow.about.next, status_code=303)
        keep_cookie(response, session_id)
        return response

    def _back(self, request: Request, name: str) -> str:
        """Where the provider leads back to: the address that is told to people, or the name that they use here."""
        local = f"http://{request.headers['host']}"
        origin = local if self._site.scheme == "http" else self._site.origin
        return f"{origin}{PROVIDER_PATH}/{quote(name)}/back"

    async def _again(self, request: Request, cookie: bytes, words: str, *, status: int) -> Response:
        """The sign-in page. A browser without a session gets a fresh id, so that what was begun before is over."""
        return await run_in_threadpool(partial(self._draw_again, request, cookie, words, status=status))

    def _draw_again(self, request: Request, cookie: bytes, words: str, *, status: int) -> Response:
        session = self._authority.sign_ins.find(cookie) if cookie else None
        shown = cookie if session is not None else self._authority.engine.system.random_bytes(SESSION_ID_BYTES)
        response = self._page(request, blank_form(self._authority, self._site, shown, words=words, status=status))
        if session is None:
            keep_cookie(response, shown)
        return response


def _check_challenge(document: Mapping[str, Json]) -> None:
    known = document.get("code_challenge_methods_supported", ["S256"])
    if not isinstance(known, list) or "S256" not in known:
        raise InvalidError("the provider does not know PKCE with S256")


def _answer(request: Request) -> dict[str, str]:
    """What the provider says in the address, each name once."""
    pairs = request.query_params.multi_items()
    answer = dict(pairs)
    if len(answer) != len(pairs) or len(request.url.query) > _MAX_QUERY:
        raise InvalidError("the provider's answer says something twice, or too much")
    return answer


def _lead_on(name: str, url: str) -> Response:
    to = escape(url, quote=True)
    body = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta http-equiv="refresh" content="0; url={to}">'
        f'<title>Leasehold</title><p><a href="{to}">Go on to {escape(name)}</a></p>'
    )
    return HTMLResponse(body)
