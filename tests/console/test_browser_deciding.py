"""People decide in a real browser: by mouse, by keyboard, on a phone, with scripts off, two at once."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from browsing import Visit
from playwright.sync_api import Page, expect

from leasehold.ledger.entry import EntryKind
from leasehold.model.request import Request
from office import ANA, BEN, EVA, Office

Visits = Callable[..., AbstractContextManager[Visit]]


def approve(page: Page) -> None:
    page.get_by_role("radio", name="Approve once").check()
    page.get_by_role("button", name="Approve once").click()


def is_decided(page: Page, state: str) -> None:
    expect(page.locator(".card .meta .chip.state")).to_have_text(state)
    expect(page.locator("form.decide")).to_have_count(0)


def answers(office: Office, request: Request) -> int:
    """How many answers to a request counted."""
    given = office.stage.entries(EntryKind.REQUEST_ANSWERED)
    return sum(entry.request == request.request_id and entry.decision != "deny" for entry in given)


@pytest.mark.requirement("L10", "P10")
def test_person_approves_a_card_in_the_browser(office: Office, visits: Visits) -> None:
    request = office.asks(ticket_id="T-7", note="fixed")
    with visits() as visit:
        page = visit.sign_in(BEN)
        page.get_by_role("link", name="Close ticket T-7").click()
        expect(page.get_by_role("radio", name="Deny")).to_be_checked()
        expect(page.get_by_role("radio", name="Approve once")).to_be_disabled()
        visit.time_passes(1)
        approve(page)
        is_decided(page, "approved")
        expect(page.locator(".answers")).to_contain_text(BEN)
    assert office.state_of(request) == "approved"


def test_person_denies_with_a_reason_without_waiting(office: Office, visits: Visits) -> None:
    request = office.asks()
    with visits() as visit:
        visit.sign_in(BEN)
        page = visit.look(request)
        page.get_by_label("Reason").fill("not on a Friday")
        page.get_by_role("button", name="Deny").click()
        is_decided(page, "denied")
        expect(page.locator(".answers")).to_contain_text("not on a Friday")
    assert office.state_of(request) == "denied"


def test_approval_waits_longer_for_what_cannot_be_undone(office: Office, visits: Visits) -> None:
    request = office.asks("ticket.erase")
    with visits() as visit:
        visit.sign_in(BEN)
        page = visit.look(request)
        visit.time_passes(2)
        expect(page.get_by_role("radio", name="Approve once")).to_be_disabled()
        visit.time_passes(1)
        approve(page)
        expect(page.get_by_text("1 of 2")).to_be_visible()
    assert office.state_of(request) == "pending"


@pytest.mark.requirement("P12")
def test_second_person_completes_what_the_first_began_while_both_look(office: Office, visits: Visits) -> None:
    request = office.asks("ticket.erase")
    with visits() as first, visits() as second:
        first.sign_in(BEN)
        second.sign_in(ANA)
        mine, yours = first.look(request), second.look(request)
        first.time_passes(3)
        approve(mine)
        expect(mine.get_by_text("you have answered")).to_be_visible()
        expect(yours.locator(".answers")).to_contain_text(BEN)  # no reload
        expect(yours.get_by_role("radio", name="Approve once")).to_be_disabled()  # it is another card now
        second.time_passes(3)
        approve(yours)
        is_decided(yours, "approved")
        is_decided(mine, "approved")
    assert office.state_of(request) == "approved"


@pytest.mark.case(76)
def test_of_two_reviewers_at_once_one_decides(office: Office, visits: Visits) -> None:
    request = office.asks()
    with visits() as first, visits(has_script=False) as second:
        first.sign_in(BEN)
        second.sign_in(EVA)
        mine, yours = first.look(request), second.look(request)
        first.time_passes(1)
        approve(mine)
        is_decided(mine, "approved")
        yours.get_by_role("button", name="Deny").click()
        expect(yours.get_by_role("alert")).to_contain_text("came too late")
    assert (office.state_of(request), answers(office, request)) == ("approved", 1)


@pytest.mark.case(76)
def test_double_click_answers_once(office: Office, visits: Visits) -> None:
    request = office.asks()
    with visits() as visit:
        visit.sign_in(BEN)
        page = visit.look(request)
        visit.time_passes(1)
        page.get_by_role("radio", name="Approve once").check()
        page.get_by_role("button", name="Approve once").dblclick()
        is_decided(page, "approved")
    assert answers(office, request) == 1


def test_card_that_expires_while_it_is_looked_at_says_so(office: Office, visits: Visits) -> None:
    request = office.asks()
    with visits() as visit:
        visit.sign_in(BEN)
        page = visit.look(request)
        expect(page.locator(".countdown")).to_have_text("10m00s")
        visit.time_passes(599)
        expect(page.locator(".countdown")).to_have_text("00m01s")
        visit.time_passes(2)
        is_decided(page, "expired")
    assert office.state_of(request) == "pending"  # nobody wrote it down yet; nobody could have approved


def test_everything_works_with_scripts_off(office: Office, visits: Visits) -> None:
    request = office.asks(ticket_id="T-7", note="b" * 400)
    with visits(has_script=False) as visit:
        page = visit.sign_in(BEN)
        page.get_by_role("link", name="Close ticket T-7").click()
        page.get_by_role("link", name="Show the whole, then approve").click()
        page.get_by_role("radio", name="Approve once").check()
        page.get_by_role("button", name="Approve once").click()
        expect(page.get_by_role("alert")).to_contain_text("That was quick")
        office.stage.pass_time(1)
        approve(page)
        is_decided(page, "approved")
        for name in ("Runs", "Leases", "Ledger", "Policy", "Holds", "Inbox"):
            page.get_by_role("navigation").get_by_role("link", name=name).click()
            expect(page.get_by_role("heading", level=1)).to_contain_text(name)
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert office.state_of(request) == "approved"


def test_keyboard_alone_is_enough(office: Office, visits: Visits) -> None:
    first, second = office.asks(ticket_id="T-1"), office.asks(ticket_id="T-2")
    with visits() as visit:
        page = visit.sign_in(BEN)
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
        page.keyboard.press("j")
        expect(page.get_by_role("link", name="Close ticket T-1")).to_be_focused()
        page.keyboard.press("j")
        page.keyboard.press("k")
        page.keyboard.press("j")
        page.keyboard.press("Enter")
        page.wait_for_url(f"**/requests/{second.request_id}")
        page.keyboard.press("a")
        expect(page.get_by_role("radio", name="Deny")).to_be_checked()  # too soon
        visit.time_passes(1)
        expect(page.get_by_role("radio", name="Approve once")).to_be_enabled()
        page.keyboard.press("a")
        expect(page.get_by_role("radio", name="Approve once")).to_be_focused()
        page.keyboard.press("d")
        page.keyboard.press("a")
        page.keyboard.press("Enter")
        is_decided(page, "approved")
    assert (office.state_of(first), office.state_of(second)) == ("pending", "approved")


def test_letters_typed_into_a_reason_choose_nothing(office: Office, visits: Visits) -> None:
    request = office.asks()
    with visits() as visit:
        visit.sign_in(BEN)
        page = visit.look(request)
        visit.time_passes(1)
        page.get_by_label("Reason").press_sequentially("a bad idea")
        expect(page.get_by_role("radio", name="Deny")).to_be_checked()
        expect(page.get_by_label("Reason")).to_have_value("a bad idea")


def test_new_card_arrives_without_a_reload_and_is_announced(office: Office, visits: Visits) -> None:
    with visits() as visit:
        page = visit.sign_in(BEN)
        expect(page.get_by_text("Nothing waits for you.")).to_be_visible()
        request = office.asks(ticket_id="T-9")
        expect(page.get_by_role("link", name="Close ticket T-9")).to_be_visible()
        expect(page.get_by_role("status")).to_contain_text("New: Close ticket T-9")
        expect(page.get_by_role("navigation").get_by_text("1 waiting")).to_be_attached()
        office.stage.people.deny(request, EVA)
        expect(page.get_by_text("Nothing waits for you.")).to_be_visible()


def test_what_was_typed_survives_a_change_of_the_card_and_the_verdict_does_not(office: Office, visits: Visits) -> None:
    request = office.asks("ticket.erase")
    with visits() as visit:
        visit.sign_in(BEN)
        page = visit.look(request)
        visit.time_passes(3)
        page.get_by_role("radio", name="Approve once").check()
        page.get_by_label("Reason").fill("seen")
        office.stage.people.approve(request, ANA)
        expect(page.locator(".answers")).to_contain_text(ANA)
        expect(page.get_by_label("Reason")).to_have_value("seen")
        expect(page.get_by_role("radio", name="Deny")).to_be_checked()
        expect(page.get_by_role("radio", name="Approve once")).to_be_disabled()


@pytest.mark.requirement("F2")
def test_several_are_answered_together_each_with_its_own_result(office: Office, visits: Visits) -> None:
    first, second, erase = office.asks(ticket_id="T-1"), office.asks(ticket_id="T-2"), office.asks("ticket.erase")
    with visits() as visit:
        page = visit.sign_in(BEN)
        boxes = page.get_by_role("checkbox")
        expect(boxes).to_have_count(3)
        expect(page.get_by_label("Answer together: ticket.erase")).to_be_disabled()
        expect(page.get_by_text("it is destructive: answer it on its own card")).to_be_visible()
        page.get_by_label("Answer together: Close ticket T-1").check()
        page.get_by_label("Answer together: Close ticket T-2").check()
        page.get_by_role("button", name="Answer the checked ones together").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Answer together")
        office.asks(ticket_id="T-3")  # comes in late: it is not on the list
        office.stage.people.deny(second, EVA)
        visit.time_passes(1)
        page.get_by_role("radio", name="Approve all 2 once").check()
        page.get_by_role("button", name="Approve 2").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Approved: 1 of 2")
        expect(page.get_by_role("row").filter(has_text="T-2")).to_contain_text("not done")
    assert [office.state_of(each) for each in (first, second, erase)] == ["approved", "denied", "pending"]


@pytest.mark.requirement("F2")
def test_person_edits_a_card_with_a_key_and_another_approves_it(office: Office, visits: Visits) -> None:
    request = office.asks(ticket_id="T-7", note="fixed")
    with visits() as first, visits() as second:
        first.sign_in(BEN)
        page = first.look(request)
        page.keyboard.press("e")
        expect(page.get_by_role("heading", level=1)).to_have_text("Edit")
        page.get_by_label("note").fill("fixed in 2.4.1")
        page.get_by_label("Reason").fill("say which version")
        page.get_by_role("button", name="Put it in its place").click()
        expect(page.get_by_text("fixed -> fixed in 2.4.1")).to_be_visible()
        expect(page.get_by_text("Not yours to answer")).to_be_visible()
        yours = second.sign_in(EVA)
        yours.get_by_role("link", name="Close ticket T-7").click()
        second.time_passes(1)
        approve(yours)
        is_decided(yours, "approved")
        is_decided(page, "approved")
        first.look(request)
        is_decided(page, "superseded")
        expect(page.get_by_text("is in its place")).to_be_visible()
    assert office.state_of(request) == "superseded"


def test_card_that_was_shown_before_a_restart_is_answered_after_it(office: Office, visits: Visits) -> None:
    request = office.asks()
    with visits(has_script=False) as visit:
        visit.sign_in(BEN)
        page = visit.look(request)
        office.restart()
        office.stage.pass_time(1)
        approve(page)
        is_decided(page, "approved")
        expect(page.get_by_role("button", name="Sign out")).to_be_visible()
    assert office.state_of(request) == "approved"
    assert answers(office, request) == 1
