"""Passkeys in a real browser with a virtual authenticator: added, used to sign in, and made to sign an answer."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from browsing import Visit, with_authenticator
from playwright.sync_api import expect

from leasehold.authority.proofs import check_answers
from leasehold.ledger.entry import EntryKind
from office import BEN, PASSWORD, TEXT, Office
from stage import ERASE, changed

Visits = Callable[..., AbstractContextManager[Visit]]
BY_PASSKEY = changed("[people]", "[defaults]\ndestructive_by_passkey = true\n\n[people]", TEXT)


@pytest.mark.requirement("F3", "P12")
def test_passkey_is_added_signs_in_and_signs_what_is_destructive(office: Office, visits: Visits) -> None:
    office.stage.accept(BY_PASSKEY)
    office.has_password(BEN)
    request = office.stage.ask(office.stage.lease(ERASE), "ticket.erase", key="a")
    here, place = f"http://localhost:{office.port}", f"/requests/{request}"
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

        page.get_by_role("button", name="Sign out").click()
        page.goto(f"{here}/sign-in?next={place}")
        page.get_by_role("button", name="Use a passkey").click()
        expect(page.get_by_text("Your passkey signs your approval")).to_be_visible()
        visit.time_passes(10)
        page.get_by_role("radio", name="Approve once").check()
        page.get_by_role("button", name="Approve once").click()
        expect(page.locator(".answers")).to_contain_text(BEN)

        page.goto(f"{office.address}/account")
        page.get_by_label("Person").fill(BEN)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_text(here)).to_be_visible()
    [entry] = office.stage.entries(EntryKind.REQUEST_ANSWERED)
    assert (entry.person, entry.detail["proof"]) == (BEN, "passkey")
    assert check_answers(office.stage.entries()).passkey == 1
    methods = [entry.detail["method"] for entry in office.stage.entries(EntryKind.SIGNED_IN)]
    assert methods == ["password", "passkey", "password"]


def test_approval_without_the_passkey_that_is_demanded_is_refused_plainly(office: Office, visits: Visits) -> None:
    office.stage.accept(BY_PASSKEY)
    request = office.stage.ask(office.stage.lease(ERASE), "ticket.erase", key="a")
    with visits(has_script=False) as visit:
        page = visit.sign_in(BEN, f"/requests/{request}")
        expect(page.get_by_role("link", name="add a passkey")).to_be_visible()
        office.stage.pass_time(10)
        page.get_by_role("radio", name="Approve once").check()
        page.get_by_role("button", name="Approve once").click()
        expect(page.get_by_text("signed with a passkey")).to_be_visible()
        visit.complaints.clear()  # the browser tells of the 403
    assert office.stage.entries(EntryKind.REQUEST_ANSWERED)[-1].decision == "deny"


def test_old_session_is_led_to_sign_in_once_more(office: Office, visits: Visits) -> None:
    text = changed("[people]", '[defaults]\ndestructive_sign_in_within = "5m"\n\n[people]', TEXT)
    office.stage.accept(text)
    with visits(has_script=False) as visit:
        visit.sign_in(BEN)
        office.stage.pass_time(301)
        request = office.stage.ask(office.stage.lease(ERASE), "ticket.erase", key="a")
        page = visit.open(f"/requests/{request}")
        page.get_by_role("link", name="sign in once more").click()
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("radio", name="Approve once")).to_be_visible()
        expect(page.get_by_role("link", name="sign in once more")).to_have_count(0)
