"""A real browser with a virtual authenticator: the one script, the strict policy of the page, and the server agree."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator

import pytest
from house import PASSWORD, House
from playwright.sync_api import ConsoleMessage, Page, sync_playwright

from leasehold.authority.proofs import check_answers
from leasehold.ledger.entry import EntryKind
from stage import AUDIT, BEN

_NAMES = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def page_maker() -> Iterator[object]:
    found = next((path for name in _NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("THE PASSKEY TEST WAS NOT RUN: there is no Chromium here (Debian: apt-get install chromium)")
    with warnings.catch_warnings(), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser.new_context
        browser.close()


def is_fault(message: ConsoleMessage) -> bool:
    """Whether a browser complains of more than a missing icon."""
    return message.type == "error" and not message.location["url"].endswith("/favicon.ico")


def with_authenticator(page: Page) -> None:
    """A platform authenticator that always finds its person there."""
    devtools = page.context.new_cdp_session(page)
    devtools.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
        "automaticPresenceSimulation": True,
    }
    devtools.send("WebAuthn.addVirtualAuthenticator", {"options": options})


@pytest.mark.requirement("F3")
def test_passkey_is_added_signs_in_and_signs_an_answer_in_a_real_browser(house: House, page_maker: object) -> None:
    house.person(BEN)
    request = house.stage.ask(house.stage.lease(AUDIT), "ticket.audit")
    page: Page = page_maker().new_page()  # type: ignore[operator]
    faults: list[str] = []
    page.on("console", lambda message: faults.append(message.text) if is_fault(message) else None)
    with_authenticator(page)

    page.goto(f"{house.passkey_origin}/sign-in?next=/account")
    page.fill("input[name=person]", BEN)
    page.fill("input[name=password]", PASSWORD)
    page.click("text=Sign in >> nth=1")
    page.click("text=Add a passkey")
    page.wait_for_selector("li:has-text('passkey')")

    page.click("text=Sign out")
    page.goto(f"{house.passkey_origin}/sign-in?next=/request/{request}")
    page.click("text=Sign in with a passkey")
    page.wait_for_selector("text=1 missing")

    page.wait_for_load_state("load")
    page.click("button[value=approve]")
    page.wait_for_url("**/answer")
    assert "approved" in page.inner_text("body"), page.inner_text("body")
    [entry] = house.stage.entries(EntryKind.REQUEST_ANSWERED)
    assert (entry.person, entry.detail["proof"], entry.outcome) == (BEN, "passkey", "approved")
    assert check_answers(house.stage.entries()).passkey == 1
    assert [entry.detail["method"] for entry in house.stage.entries(EntryKind.SIGNED_IN)] == ["password", "passkey"]
    assert faults == []
