"""The consent page in a real browser: from a program's link past the sign-in to its address, and nothing by force."""

from __future__ import annotations

import html
from urllib.parse import parse_qs, urlsplit

import pytest
from house import PASSWORD
from oauth_house import BACK, OAuthHouse, details, form_of, query, redeem, said, shown
from playwright.sync_api import Browser, Route

from leasehold.ledger.entry import EntryKind
from stage import ANA

EVIL = "</blockquote><script>pwned()</script><img src=x onerror=pwned()><form action=/sign-out><button autofocus>"
APP = "http://app.example"


@pytest.mark.requirement("P12")
@pytest.mark.case(110, 113, 114, 115)
def test_a_person_consents_in_a_browser_by_their_own_hand_alone(oauth: OAuthHouse, browser: Browser) -> None:
    """One person, two tabs: a program that writes scripts leads them here; frames and forms of its own do nothing."""
    oauth.person(ANA)
    asked = query({"ticket.get": {"ticket": [f"T-{number}" for number in range(64)]}}, state="one")
    other = query(state="two", authorization_details=details(purpose=EVIL, requested_by=""))
    long = f"{asked}&unknown={'x' * 2000}"
    form = form_of(shown(oauth.signed_in(ANA), other))
    inputs = "".join(f'<input name="{name}" value="{html.escape(value)}">' for name, value in form.items())
    pages = {
        "/go": f'<a href="{oauth.origin}/oauth/authorize?{html.escape(asked)}">sign in</a>',
        "/long": f'<a href="{oauth.origin}/oauth/authorize?{html.escape(long)}">sign in</a>',
        "/frame": f'<iframe src="{oauth.origin}/oauth/authorize?{html.escape(other)}"></iframe>',
        "/form": f'<form method="post" action="{oauth.origin}/oauth/authorize">{inputs}<button>win</button></form>',
    }
    came, faults = list[tuple[str, str]](), list[str]()

    def app(route: Route) -> None:
        route.fulfill(body=pages[urlsplit(route.request.url).path], content_type="text/html")

    def program(route: Route) -> None:
        came.append((route.request.url, route.request.headers.get("referer", "")))
        route.fulfill(body="done", content_type="text/html")

    context = browser.new_context()
    context.route(f"{APP}/**", app)
    context.route(f"{BACK}**", program)
    context.on("weberror", lambda error: faults.append(str(error.error)))
    page = context.new_page()
    page.goto(f"{APP}/go")
    page.click("text=sign in")
    page.fill("input[name=person]", ANA)
    page.fill("input[name=password]", PASSWORD)
    page.click("button:has-text('Sign in')")
    page.wait_for_url("**/oauth/authorize?**")

    page.goto(f"{APP}/frame")
    assert "asks in your name" not in page.frames[-1].content()
    page.goto(f"{APP}/form")
    page.click("text=win")
    page.wait_for_selector("text=Refused")

    tab = context.new_page()
    tab.goto(f"{oauth.origin}/oauth/authorize?{other}")
    page.goto(f"{APP}/long")
    page.click("text=sign in")
    for each in (tab, page):
        each.wait_for_selector("text=asks in your name")
        each.click("text=Ask in my name")
        each.click("button.go")
        each.wait_for_url(f"{BACK}**")
    context.close()

    answers = [parse_qs(urlsplit(address).query) for address, _ in came]
    assert [(one["state"], one["iss"]) for one in answers] == [(["two"], [oauth.origin]), (["one"], [oauth.origin])]
    assert len({said(redeem(oauth, one["code"][0]))["run_id"] for one in answers}) == 2
    assert len(oauth.stage.entries(EntryKind.RUN_STARTED)) == 2
    assert ({referer for _, referer in came}, faults) == ({""}, [])
