"""Whoever wants to be somebody else by way of a provider: forged tokens, foreign answers, groups that nobody signed."""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest
from argon2 import PasswordHasher
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from issuer import make_key, sign
from leasehold.console.pages import console_pages
from leasehold.http import provider_flow, providers
from leasehold.http.app import create_app
from leasehold.http.events import Streams
from leasehold.http.passwords import Passwords
from leasehold.http.provider_flow import Flow, begin_flow
from leasehold.http.site import Site
from leasehold.ledger.entry import EntryKind
from leasehold.model.instant import Instant
from leasehold.token import base64url
from served import Browser
from stage import POLICY, Stage
from town import GROUPS, Town, table, town


class Door:
    """An authority with a door and one page behind it."""

    def __init__(self, text: str) -> None:
        self.stage = Stage(text)
        self.streams = Streams(self.stage.authority)
        self.passwords = Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
        self.port = 0

    def build(self, site: Site) -> ASGIApp:
        def home(request: Request) -> Response:
            return PlainTextResponse(request.state.viewer.person)

        pages = replace(console_pages(), routes=[Route("/", home)])
        return create_app(self.stage.authority, pages, site=site, streams=self.streams, passwords=self.passwords)

    def browser(self) -> Browser:
        return Browser(self.port)

    def close_streams(self) -> None:
        self.streams.close()


@pytest.fixture
def acme() -> Iterator[Town[Door]]:
    with town(Door) as found:
        yield found


@pytest.mark.parametrize(
    ("claims", "words"),
    [
        ({"nonce": None}, "was not made for this sign-in"),
        ({"nonce": "of another"}, "was not made for this sign-in"),
        ({"nonce": 7}, "was not made for this sign-in"),
        ({"aud": "another-client"}, "for somebody else"),
        ({"aud": ["leasehold", "another-client"]}, "for several at once"),
        ({"azp": "another-client"}, "given to another client"),
        ({"iss": "https://login.evil.example"}, "another issuer"),
        ({"exp": 1}, "has expired"),
        ({"at_hash": "AAAA"}, "do not belong together"),
        ({"auth_time": None}, "auth_time"),
        ({"auth_time": True}, "auth_time"),
        ({"auth_time": 2**40}, "too long ago"),
        ({"name": None}, "does not name the person"),
        ({"name": ["ben"]}, "does not name the person"),
        ({"name": "ben\u202e"}, "name"),
        ({"name": ""}, "name"),
        ({"sub": None}, "whom it is about"),
        ({"groups": "leads"}, "no list of groups"),
        ({"groups": {"leads": True}}, "no list of groups"),
        ({"groups": ["leads", 7]}, "no list of groups"),
        ({"groups": ["x"] * 2001}, "no list of groups"),
    ],
)
def test_an_id_token_that_says_anything_else_than_it_has_to_signs_nobody_in(
    acme: Town[Door], claims: dict[str, Any], words: str
) -> None:
    acme.provider.change = lambda said: {**said, **claims}
    assert words in acme.refused().replace("&#39;", "'")
    assert acme.house.stage.entries(EntryKind.SIGNED_IN) == []


@pytest.mark.case(1)
def test_an_id_token_that_is_not_signed_by_the_provider_signs_nobody_in(acme: Town[Door]) -> None:
    public = acme.provider.keys[0].as_pem(private=False)

    def made(said: dict[str, Any], algorithm: str, stamp: Callable[[bytes], bytes]) -> str:
        head = base64url.encode(json.dumps({"alg": algorithm, "kid": "one", "typ": "JWT"}).encode())
        body = base64url.encode(json.dumps({"iss": acme.provider.url, **said}).encode())
        return f"{head}.{body}.{base64url.encode(stamp(f'{head}.{body}'.encode()))}"

    forgeries: list[Callable[[dict[str, Any]], str]] = [
        lambda said: made(said, "none", lambda _: b"x"),
        lambda said: made(said, "HS256", lambda text: hmac.digest(public, text, "sha256")),
        lambda said: sign(make_key("RS256"), {"iss": acme.provider.url, **said}),
        lambda said: "not a token",
    ]
    for forgery in forgeries:
        acme.provider.make = forgery
        acme.refused()
    assert acme.house.stage.entries(EntryKind.SIGNED_IN) == []


def test_groups_that_nobody_signed_are_never_asked_for(acme: Town[Door]) -> None:
    acme.provider.more = {"userinfo_endpoint": f"{acme.provider.url}/userinfo"}
    acme.provider.pages["/userinfo"] = lambda: (200, {}, b'{"sub": "sub-of-joe", "groups": ["leads"]}')
    acme.provider.claims = {"name": "joe", "sub": "sub-of-joe"}
    assert "not known here" in acme.refused()
    assert "/userinfo" not in acme.provider.asked


def test_a_mail_address_that_was_not_verified_names_nobody() -> None:
    with town(Door) as found:
        found.house.stage.accept(POLICY + table(found.provider, GROUPS).replace('"name"', '"email"'))
        for verified in (None, False, "true", 1):
            found.provider.claims = {"email": "ben", "sub": "b", "email_verified": verified}
            assert "has not verified" in found.refused()
        found.provider.claims = {"email": "ben", "sub": "b", "email_verified": True}
        assert found.come(found.house.browser()).status == 303


@pytest.mark.case(114)
def test_an_answer_that_was_begun_in_another_browser_signs_nobody_in(acme: Town[Door]) -> None:
    mallory, victim = acme.house.browser(), acme.house.browser()
    address = acme.begin(mallory)
    victim.get("/sign-in")
    reply = victim.get(acme.back(address))  # login CSRF: the attacker's account in the victim's browser
    assert (reply.status, "not begun in this browser" in reply.text) == (403, True)
    # The attacker's code in the victim's own sign-in: verifier and nonce are another browser's.
    stolen = parse_qs(urlsplit(acme.back(acme.begin(mallory))).query)["code"][0]
    own = acme.back(acme.begin(victim))
    code = parse_qs(urlsplit(own).query)["code"][0]
    assert "does not stand by its answer" in victim.get(own.replace(code, stolen)).text
    assert acme.house.stage.entries(EntryKind.SIGNED_IN) == []


def test_an_answer_counts_once_and_only_for_ten_minutes(acme: Town[Door]) -> None:
    browser = acme.house.browser()
    path = acme.back(acme.begin(browser))
    before = dict(browser.cookies)
    assert browser.get(path).status == 303
    assert browser.get(path).status == 403  # the browser has another cookie by now
    browser.cookies = before
    assert "does not stand by its answer" in browser.get(path).text  # and the provider gave the code once
    late = acme.house.browser()
    path = acme.back(acme.begin(late))
    acme.house.stage.system.advance(seconds=600)
    assert "longer than 10 minutes" in late.get(path).text


def test_what_was_begun_before_a_failure_is_over(acme: Town[Door]) -> None:
    browser = acme.house.browser()
    first, second = acme.back(acme.begin(browser)), acme.back(acme.begin(browser))
    assert browser.get(first + "x").status == 403
    assert browser.get(second).status == 403


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda query: query + "&state=x", "says something twice"),
        (lambda query: query.replace("state=", "stat="), "not begun in this browser"),
        (lambda query: query.replace("state=", "state=x"), "not begun in this browser"),
        (lambda query: query + "x" * 20_000, "too much"),
        (lambda query: query.replace("code=", "cod="), "has no code"),
        (lambda query: query.replace("code=", f"code={'x' * 5000}"), "has no code"),
        (lambda query: query + "&error=access_denied", "said no"),
    ],
)
def test_an_answer_in_another_form_signs_nobody_in(acme: Town[Door], change: Callable[[str], str], words: str) -> None:
    browser = acme.house.browser()
    path, _, query = acme.back(acme.begin(browser)).partition("?")
    reply = browser.get(f"{path}?{change(query)}")
    assert reply.status in (403, 431, 414, 400)
    assert reply.status != 403 or words in reply.text
    assert acme.house.stage.entries(EntryKind.SIGNED_IN) == []


@pytest.mark.parametrize("issuer", ["", "https://login.evil.example", "{url}/"])
def test_an_answer_of_another_issuer_or_of_none_is_refused_before_its_code_is_shown_to_anybody(
    acme: Town[Door], issuer: str
) -> None:
    _is_refused_unseen(acme, issuer.format(url=acme.provider.url))


def _is_refused_unseen(found: Town[Door], issuer: str) -> None:
    found.provider.answer_more = {"iss": issuer}
    assert "another issuer" in found.refused()
    assert found.provider.forms == []


def test_an_answer_for_one_provider_counts_at_no_other(acme: Town[Door]) -> None:
    other = table(acme.provider, GROUPS).replace("sign_in.acme", "sign_in.other")
    acme.house.stage.accept(POLICY + table(acme.provider, GROUPS) + other)
    browser = acme.house.browser()
    path = acme.back(acme.begin(browser)).replace("/with/acme/", "/with/other/")
    assert "begun at another provider" in browser.get(path).text


@pytest.mark.parametrize("to", ["//evil.example", "https://evil.example", "/\\evil.example", "/sign-in/with/acme/back"])
def test_nobody_is_led_anywhere_else_after_signing_in(acme: Town[Door], to: str) -> None:
    _is_led_home(acme, to)


def _is_led_home(found: Town[Door], to: str) -> None:
    browser = found.house.browser()
    token = browser.get("/sign-in").token("/sign-in")
    page = browser.post("/sign-in/with/acme", {"token": token, "next": to})
    address = page.text.split("url=")[1].split('"')[0].replace("&amp;", "&")
    assert browser.get(found.back(address)).location == "/"


def test_a_provider_without_pkce_is_not_used(acme: Town[Door]) -> None:
    acme.provider.more = {"code_challenge_methods_supported": ["plain"]}
    browser = acme.house.browser()
    token = browser.get("/sign-in").token("/sign-in")
    assert browser.post("/sign-in/with/acme", {"token": token}).status == 503


def test_a_document_with_the_name_of_another_issuer_signs_nobody_in(acme: Town[Door]) -> None:
    acme.provider.more = {"issuer": acme.provider.url + "/"}
    browser = acme.house.browser()
    token = browser.get("/sign-in").token("/sign-in")
    assert browser.post("/sign-in/with/acme", {"token": token}).status == 503


def test_who_tries_again_and_again_waits(acme: Town[Door]) -> None:
    browser = acme.house.browser()
    replies = [browser.get("/sign-in/with/acme/back?state=x&code=y") for _ in range(7)]
    assert [reply.status for reply in replies[:5]] == [403] * 5
    assert replies[-1].status == 429
    assert int(replies[-1].headers["retry-after"]) > 0


# Each defence taken away is missed.


def _code_alone(answer: dict[str, str], *_: object) -> str:
    return answer["code"]


def _of_any_browser(cookie: bytes, _: str, state: str, now: Instant) -> Flow:
    body = state.partition(".")[0]
    about = msgspec.json.decode(base64url.decode(body), type=type(begin_flow(cookie, "", **_FLOW).about))
    return Flow(about, state, "nonce", "verifier")


_FLOW: dict[str, Any] = {"now": Instant(0), "chance": b"", "next_path": "/", "again": False}


def _says_nonce(found: Town[Door]) -> None:
    found.provider.change = lambda said: {**said, "nonce": "of another"}
    found.refused()


def _says_old(found: Town[Door]) -> None:
    found.provider.claims["auth_time"] = found.provider.now() - 13 * 3600
    found.refused()


def _says_one_group(found: Town[Door]) -> None:
    found.provider.claims = {"name": "joe", "groups": "leads"}
    found.refused()


@pytest.mark.parametrize(
    ("place", "guard", "replacement", "test"),
    [
        (provider_flow, "_check_binding", lambda *_: None, _says_nonce),
        (provider_flow, "_authenticated_at", lambda *_: 1, _says_old),
        (provider_flow, "_groups", lambda claims, _: tuple(claims["groups"].split()), _says_one_group),
        (provider_flow, "FLOW_SECONDS", 10**9, test_an_answer_counts_once_and_only_for_ten_minutes),
        (providers, "read_flow", _of_any_browser, test_an_answer_that_was_begun_in_another_browser_signs_nobody_in),
        (providers, "safe_path", lambda path: path, lambda found: _is_led_home(found, "//evil.example")),
        (providers, "check_answer", _code_alone, lambda found: _is_refused_unseen(found, "https://login.evil.example")),
    ],
)
def test_a_defence_that_is_taken_away_is_missed(
    acme: Town[Door], monkeypatch: pytest.MonkeyPatch, place: object, guard: str, replacement: object, test: object
) -> None:
    monkeypatch.setattr(place, guard, replacement)
    with pytest.raises(AssertionError):
        test(acme)  # type: ignore[operator]
