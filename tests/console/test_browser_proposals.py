"""A second person at a browser makes a policy the active one: with the pointer, with scripts off, with a passkey."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from browsing import Visit, with_authenticator
from playwright.sync_api import Page, expect

from governed import governed, propose
from leasehold.authority.proofs import check_answers
from leasehold.ledger.entry import EntryKind
from leasehold.model.proposal import PolicyVerdict
from office import BEN, EVA, PASSWORD, TEXT, Office
from stage import changed, policy

Visits = Callable[..., AbstractContextManager[Visit]]
TWO = governed(TEXT)
WIDER = changed("calls = 20", "calls = 21", TWO)
BY_PASSKEY = changed("[people]", "[defaults]\ndestructive_by_passkey = true\n\n[people]", TWO)


def confirm(page: Page) -> None:
    page.get_by_role("radio", name="Make it the policy in force").check()
    page.get_by_role("button", name="Make it the policy in force").click()


def is_over(page: Page, state: str) -> None:
    expect(page.locator(".meta .chip.state")).to_have_text(state)
    expect(page.locator("form.decide")).to_have_count(0)


def active(office: Office) -> str:
    return office.stage.authority.engine.active_policy().hash


@pytest.mark.requirement("P7")
def test_second_person_finds_the_proposal_and_confirms_it_while_the_proposer_looks(
    office: Office, visits: Visits
) -> None:
    office.stage.accept(TWO)
    propose(office.stage, text=WIDER, replaces=TWO)
    with visits() as first, visits() as second:
        page = first.sign_in(BEN)
        page.get_by_role("navigation").get_by_role("link", name="Policy").click()
        page.get_by_role("link", name="1 policy waits for a second person").click()
        page.get_by_role("link", name=f"by {EVA}").click()
        expect(page.get_by_text("desk budget.calls: 20 becomes 21")).to_be_visible()
        expect(page.get_by_role("radio", name="Make it the policy in force")).to_be_disabled()
        theirs = second.sign_in(EVA, f"/policy/proposals/{policy(WIDER).hash}")
        expect(theirs.get_by_text("Not yours to confirm")).to_be_visible()
        first.time_passes(3)
        confirm(page)
        is_over(page, "confirmed")
        is_over(theirs, "confirmed")  # no reload
    assert active(office) == policy(WIDER).hash


def test_proposal_that_is_answered_elsewhere_while_it_is_looked_at_says_so(office: Office, visits: Visits) -> None:
    office.stage.accept(TWO)
    propose(office.stage, text=WIDER, replaces=TWO)
    place = f"/policy/proposals/{policy(WIDER).hash}"
    with visits() as visit, visits(has_script=False) as plain:
        page = visit.sign_in(BEN, place)
        still = plain.sign_in(BEN, place)
        proposals = office.stage.authority.proposals
        found = proposals.find(policy(WIDER).hash)
        proposals.answer(found, PolicyVerdict.REFUSE, office.stage.people.signatory(EVA))
        is_over(page, "refused")
        office.stage.pass_time(3)
        confirm(still)
        expect(still.get_by_role("alert")).to_contain_text("this proposal is refused")
    assert active(office) == policy(TWO).hash


def test_phone_shows_a_proposal_without_scrolling_sideways(office: Office, visits: Visits) -> None:
    office.stage.accept(TWO)
    propose(office.stage, text=WIDER, replaces=TWO)
    with visits(viewport={"width": 360, "height": 740}) as visit:
        visit.sign_in(BEN, f"/policy/proposals/{policy(WIDER).hash}")
        assert not visit.is_wider_than_the_screen()
        visit.open("/policy/proposals")
        assert not visit.is_wider_than_the_screen()


@pytest.mark.requirement("P7", "P11")
def test_passkey_signs_the_confirmation_where_the_policy_demands_one(office: Office, visits: Visits) -> None:
    office.stage.accept(BY_PASSKEY)
    wider = changed("calls = 20", "calls = 21", BY_PASSKEY)
    propose(office.stage, text=wider, replaces=BY_PASSKEY)
    office.has_password(BEN)
    here, place = f"http://localhost:{office.port}", f"/policy/proposals/{policy(wider).hash}"
    with visits() as visit:
        page = visit.page
        with_authenticator(page)
        page.goto(f"{here}/sign-in?next={place}")
        page.get_by_label("Person").fill(BEN)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("link", name="add a passkey").click()
        page.get_by_role("button", name="Add a passkey").click()
        expect(page.get_by_text("passkey since")).to_be_visible()
        page.goto(here + place)
        expect(page.get_by_text("Your passkey signs your confirmation")).to_be_visible()
        visit.time_passes(3)
        confirm(page)
        is_over(page, "confirmed")
    assert check_answers(office.stage.entries()).passkey == 1


def test_proposal_that_was_shown_before_a_restart_is_confirmed_after_it(office: Office, visits: Visits) -> None:
    office.stage.accept(TWO)
    propose(office.stage, text=WIDER, replaces=TWO)
    with visits(has_script=False) as visit:
        page = visit.sign_in(BEN, f"/policy/proposals/{policy(WIDER).hash}")
        office.restart()
        office.stage.pass_time(3)
        confirm(page)
        is_over(page, "confirmed")
    assert active(office) == policy(WIDER).hash


def test_keyboard_alone_confirms_a_policy(office: Office, visits: Visits) -> None:
    office.stage.accept(TWO)
    propose(office.stage, text=WIDER, replaces=TWO)
    with visits() as visit:
        page = visit.sign_in(BEN, "/policy/proposals")
        page.keyboard.press("j")
        page.keyboard.press("Enter")
        expect(page.get_by_role("radio", name="Refuse")).to_be_checked()
        page.keyboard.press("a")
        expect(page.get_by_role("radio", name="Refuse")).to_be_checked()  # too soon
        visit.time_passes(3)
        expect(page.get_by_role("radio", name="Make it the policy in force")).to_be_enabled()
        page.keyboard.press("a")
        page.keyboard.press("Enter")
        is_over(page, "confirmed")
    assert active(office) == policy(WIDER).hash


def test_double_click_confirms_once(office: Office, visits: Visits) -> None:
    office.stage.accept(TWO)
    propose(office.stage, text=WIDER, replaces=TWO)
    with visits() as visit:
        page = visit.sign_in(BEN, f"/policy/proposals/{policy(WIDER).hash}")
        visit.time_passes(3)
        page.get_by_role("radio", name="Make it the policy in force").check()
        page.get_by_role("button", name="Make it the policy in force").dblclick()
        is_over(page, "confirmed")
    assert len(office.stage.entries(EntryKind.POLICY_ANSWERED)) == 1
