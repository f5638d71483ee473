"""A real browser with a virtual authenticator: the one script, the strict policy of the page, and the server agree."""

from __future__ import annotations

import pytest
from house import PASSWORD, House
from playwright.sync_api import Browser, ConsoleMessage, Page

from leasehold.authority.proofs import check_answers
from leasehold.ledger.entry import EntryKind
from stage import AUDIT, BEN


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
def test_passkey_is_added_signs_in_and_signs_an_answer_in_a_real_browser(house: House, browser: Browser) -> None:
    house.person(BEN)
    request = house.stage.ask(house.stage.lease(AUDIT), "ticket.audit")
    page = browser.new_context().new_page()
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
    page.click("text=Use a passkey")
    page.wait_for_selector("text=1 missing")

    page.wait_for_load_state("load")
    page.click("button[value=approve]")
    page.wait_for_url("**/answer")
    assert "approved" in page.inner_text("body"), page.inner_text("body")
    [entry] = house.stage.entries(EntryKind.REQUEST_ANSWERED)
    assert (entry.person, entry.detail["proof"], entry.outcome) == (BEN, "passkey", "approved")
    assert check_answers(house.stage.entries()).passkey == 1
    assert [entry.detail["method"] for entry in house.stage.entries(EntryKind.SIGNED_IN)] == ["password", "passkey"]
    page.context.close()
    assert faults == []
