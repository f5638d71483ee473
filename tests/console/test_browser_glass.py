"""Two people break glass at two browsers: one asks, the other sees what is skipped, and every page counts down."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from browsing import Visit, with_authenticator
from playwright.sync_api import Page, expect

from glass import TABLE, signatory
from leasehold.authority.proofs import check_answers
from leasehold.ledger.entry import EntryKind
from office import ANA, BEN, EVA, PASSWORD, TEXT, Office
from stage import changed

pytestmark = [pytest.mark.requirement("P16"), pytest.mark.case(117)]

Visits = Callable[..., AbstractContextManager[Visit]]
WITH_GLASS = changed('"user:ana" = ["lead"]', '"user:ana" = ["lead", "oncall"]', TEXT) + TABLE
BY_PASSKEY = changed("[people]", "[defaults]\ndestructive_by_passkey = true\n\n[people]", WITH_GLASS)


@pytest.fixture(autouse=True)
def _allowed(office: Office) -> None:
    office.stage.accept(WITH_GLASS)
    signatory(office.stage, ANA)
    office.has_password(BEN)


def ask(page: Page, *, minutes: str = "5") -> None:
    """Fill the form in, look at it, and ask."""
    page.get_by_role("link", name="desk", exact=True).click()
    page.get_by_label("ticket.erase").check()
    page.get_by_label("approve: nobody is asked").check()
    page.get_by_label("Minutes").fill(minutes)
    page.get_by_label("Who confirms it").select_option(BEN)
    page.get_by_label("Reason").fill("the disk is full")
    page.get_by_role("button", name="Look at it").click()
    expect(page.get_by_role("heading", name="What is skipped")).to_be_visible()
    page.get_by_role("button", name=f"Ask {BEN}").click()
    expect(page.locator(".meta .chip.state")).to_have_text("proposed")


def confirm(page: Page) -> None:
    page.get_by_role("radio", name="Break the glass").check()
    page.get_by_role("button", name="Break the glass").click()


def test_one_asks_the_other_opens_and_every_page_counts_down_until_it_is_closed(office: Office, visits: Visits) -> None:
    with visits() as first, visits() as second, visits() as third:
        theirs = second.sign_in(BEN)
        watching = third.sign_in(EVA)
        page = first.sign_in(ANA)
        page.get_by_role("navigation").get_by_role("link", name="Break-glass").click()
        ask(page)
        expect(page.get_by_text("Break-glass is open")).to_have_count(0)
        expect(theirs.get_by_role("navigation").get_by_text("1 waiting")).to_be_attached()  # no reload
        theirs.get_by_role("navigation").get_by_role("link", name="Break-glass").click()
        theirs.get_by_role("link", name="desk in acme").first.click()
        expect(theirs.get_by_text("approvals that the route demands do not bind")).to_be_visible()
        expect(theirs.get_by_role("radio", name="Break the glass")).to_be_disabled()
        second.time_passes(3)
        confirm(theirs)
        for each in (page, theirs, watching):
            expect(each.locator("#glass")).to_contain_text("Break-glass is open")
        expect(page.get_by_text("leasehold break-glass use --as user:ana")).to_be_visible()
        expect(theirs.get_by_text("leasehold break-glass use")).to_have_count(0)
        third.open("/runs")
        expect(watching.locator("#glass .countdown")).to_have_text("04m57s")
        third.time_passes(10)
        expect(watching.locator("#glass .countdown")).to_have_text("04m47s")
        page.get_by_role("button", name="Close it now").click()
        expect(page.locator(".meta .chip.state")).to_have_text("closed")
        expect(page.locator("#glass")).not_to_contain_text("Break-glass is open")
        third.open("/break-glass")
        watching.get_by_role("link", name="desk in acme").click()
        watching.get_by_label("Review").fill("it was needed")
        watching.get_by_role("button", name="Write it down").click()
        expect(watching.get_by_text(f"Reviewed by {EVA}")).to_be_visible()
    kinds = [entry.kind for entry in office.stage.entries() if entry.kind.startswith("break_glass.")]
    assert kinds == [
        EntryKind.GLASS_PROPOSED,
        EntryKind.GLASS_OPENED,
        EntryKind.GLASS_CLOSED,
        EntryKind.GLASS_REVIEWED,
    ]


def test_everything_works_with_scripts_off_on_a_phone(office: Office, visits: Visits) -> None:
    phone = {"viewport": {"width": 360, "height": 740}, "has_script": False}
    with visits(**phone) as first, visits(**phone) as second:
        page = first.sign_in(ANA, "/break-glass")
        ask(page)
        theirs = second.sign_in(BEN, "/break-glass")
        theirs.get_by_role("link", name="desk in acme").first.click()
        office.stage.pass_time(3)
        confirm(theirs)
        expect(theirs.get_by_text("Break-glass is open")).to_be_visible()
        for seen in (page, theirs):
            seen.reload()
            wide = "document.documentElement.scrollWidth"
            assert seen.locator("body").evaluate(f"() => {wide} <= document.documentElement.clientWidth")


def test_proposal_that_nobody_confirms_lapses_while_it_is_looked_at(office: Office, visits: Visits) -> None:
    with visits() as first, visits() as second:
        ask(first.sign_in(ANA, "/break-glass"))
        theirs = second.sign_in(BEN, "/break-glass")
        theirs.get_by_role("link", name="desk in acme").first.click()
        expect(theirs.locator(".meta .countdown")).to_have_text("05m00s")
        second.time_passes(300)
        expect(theirs.locator(".meta .chip.state")).to_have_text("lapsed")
        expect(theirs.get_by_role("radio", name="Break the glass")).to_have_count(0)


@pytest.mark.requirement("P11")
def test_passkeys_of_both_sign_what_they_open(office: Office, visits: Visits) -> None:
    office.stage.accept(BY_PASSKEY)
    here = f"http://localhost:{office.port}"

    def enter(visit: Visit, person: str) -> Page:
        """Sign in with a password, and add a passkey."""
        office.has_password(person)
        page = visit.page
        with_authenticator(page)
        page.goto(f"{here}/sign-in?next=/account")
        page.get_by_label("Person").fill(person)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("button", name="Add a passkey").click()
        expect(page.get_by_text("passkey since")).to_be_visible()
        page.goto(f"{here}/break-glass")
        return page

    with visits() as first, visits() as second:
        ask(enter(first, ANA))
        theirs = enter(second, BEN)
        theirs.get_by_role("link", name="desk in acme").first.click()
        expect(theirs.get_by_text("Your passkey signs exactly this")).to_be_visible()
        second.time_passes(3)
        confirm(theirs)
        expect(theirs.get_by_text("Break-glass is open")).to_be_visible()
    assert check_answers(office.stage.entries(EntryKind.GLASS_OPENED)).passkey == 2


def test_what_was_proposed_before_a_restart_is_opened_after_it(office: Office, visits: Visits) -> None:
    with visits(has_script=False) as first, visits(has_script=False) as second:
        ask(first.sign_in(ANA, "/break-glass"))
        theirs = second.sign_in(BEN, "/break-glass")
        theirs.get_by_role("link", name="desk in acme").first.click()
        office.restart()
        office.stage.pass_time(3)
        confirm(theirs)
        expect(theirs.get_by_text("Break-glass is open")).to_be_visible()
        office.restart()
        theirs.reload()
        expect(theirs.get_by_text("Break-glass is open")).to_be_visible()
    assert len(office.stage.entries(EntryKind.GLASS_OPENED)) == 1
