"""Signing in at a provider in a real browser: the strict cookie, the way there and back, proving it once more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from browsing import visit
from playwright.sync_api import Browser, expect

from issuer import make_key, serving
from office import BEN, TEXT, Office, opened
from provider import Provider
from stage import AUDIT

TABLE = """
[sign_in.acme]
issuer = "{issuer}"
client_id = "leasehold"
person = "name"
people = "groups"
groups = "groups"
roles = {{ leads = ["lead"] }}
networks = ["127.0.0.0/8"]
"""


@pytest.fixture
def provider() -> Iterator[Provider]:
    """A provider on another site than the console: at an address, where the console is at a name."""
    with serving(Provider(keys=[make_key("RS256")])) as found:
        found.claims = {"name": "joe", "sub": "joe-1", "groups": ["leads"]}
        yield found


@pytest.fixture
def served_office(tmp_path: Path, provider: Provider) -> Iterator[Office]:
    """An office whose policy names the provider."""
    office = Office(tmp_path, is_on_disk=True, text=TEXT + TABLE.format(issuer=provider.url))
    provider.now = lambda: office.stage.system.now().seconds
    with opened(office):
        yield office


def test_a_person_goes_to_the_provider_and_comes_back_signed_in_with_the_roles_of_their_groups(
    browser: Browser, served_office: Office, provider: Provider
) -> None:
    stage = served_office.stage
    lease = stage.lease(AUDIT)
    request = stage.ask(lease, "ticket.audit")
    with visit(browser, served_office) as ours:
        page = ours.page
        site = f"http://localhost:{served_office.port}"
        page.goto(f"{site}/requests/{request}")
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
        page.get_by_role("button", name="Sign in with acme").click()
        page.wait_for_url(f"{site}/requests/{request}")
        assert "/authorize" in provider.asked
        page.goto(f"{site}/account")
        expect(page.get_by_text("acme", exact=True)).to_be_visible()
        expect(page.get_by_text("groups that count until")).to_be_visible()
        expect(page.get_by_text("leads")).to_be_visible()
        assert [cookie["sameSite"] for cookie in page.context.cookies()] == ["Strict"]
    (known,) = stage.authority.sign_ins.of("user:joe")
    assert (known.provider, stage.authority.sign_ins.roles_of("user:joe")) == ("acme", ("lead",))


def test_proving_it_once_more_leads_to_the_provider_and_back_to_where_it_was_asked(
    browser: Browser, served_office: Office, provider: Provider
) -> None:
    with visit(browser, served_office) as ours:
        page = ours.page
        site = f"http://localhost:{served_office.port}"
        page.goto(f"{site}/sign-in")
        page.get_by_role("button", name="Sign in with acme").click()
        page.wait_for_url(f"{site}/")
        served_office.stage.pass_time(700)
        page.goto(f"{site}/account")
        expect(page.get_by_text("Prove once more that it is you.")).to_be_visible()
        page.get_by_role("button", name="Sign in with acme").click()
        page.wait_for_url(f"{site}/account")
        assert [code.query["max_age"] for code in provider.codes.values()] == ["43200", "0"]


def test_who_is_not_known_reads_so_and_is_not_signed_in(
    browser: Browser, served_office: Office, provider: Provider
) -> None:
    provider.claims = {"name": "mallory", "sub": "m", "groups": ["others"]}
    with visit(browser, served_office) as ours:
        page = ours.page
        page.goto(f"http://localhost:{served_office.port}/sign-in")
        page.get_by_role("button", name="Sign in with acme").click()
        expect(page.get_by_role("alert")).to_contain_text("user:mallory is not known here")


def test_a_person_changes_their_password_in_the_browser(browser: Browser, served_office: Office) -> None:
    served_office.has_password(BEN)
    with visit(browser, served_office) as ours:
        page = ours.page
        site = served_office.address
        page.goto(f"{site}/sign-in")
        for field, value in (("Person", BEN), ("Password", "correct horse battery")):
            page.get_by_label(field, exact=True).fill(value)
        page.get_by_role("button", name="Sign in", exact=True).click()
        page.goto(f"{site}/account")
        page.get_by_label("New password").fill("nine green bottles")
        page.get_by_label("Once more").fill("nine green bottle")
        page.get_by_role("button", name="Change the password").click()
        expect(page.get_by_role("alert")).to_contain_text("not the same")
        page.get_by_label("New password").fill("nine green bottles")
        page.get_by_label("Once more").fill("nine green bottles")
        page.get_by_role("button", name="Change the password").click()
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
        page.get_by_label("Person", exact=True).fill(BEN)
        page.get_by_label("Password", exact=True).fill("nine green bottles")
        page.get_by_role("button", name="Sign in", exact=True).click()
        page.wait_for_url(f"{site}/account")
