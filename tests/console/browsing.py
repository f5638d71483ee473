"""A real browser on the console: a fresh profile for each person, and all that it complains of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect

from leasehold.model.request import Request
from office import PASSWORD, Office

__all__ = ["Visit", "visit", "with_authenticator"]

PATIENCE_MS = 20_000
"""How long a condition may take on a busy machine; nothing waits so long on another."""


@dataclass
class Visit:
    """One person at one browser. `complaints` are what the browser says of blocked, broken or executed things."""

    office: Office
    context: BrowserContext
    page: Page
    complaints: list[str] = field(default_factory=list)

    def open(self, path: str = "/") -> Page:
        """Go to a page and wait until it stands."""
        self.page.goto(self.office.address + path)
        return self.page

    def sign_in(self, name: str, path: str = "/") -> Page:
        """Sign in as a person would, and go on to a page."""
        self.office.has_password(name)
        self.open(f"/sign-in?next={path}")
        self.page.get_by_label("Person").fill(name)
        self.page.get_by_label("Password").fill(PASSWORD)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.wait_for_url(self.office.address + path)
        return self.page

    def look(self, request: Request) -> Page:
        """Open a card."""
        return self.open(f"/requests/{request.request_id}")

    def time_passes(self, seconds: int) -> None:
        """For the server, and for the timers of the page, which are set once its script has run."""
        self.page.wait_for_load_state()
        self.office.stage.pass_time(seconds)
        self.page.clock.fast_forward(seconds * 1000)

    def is_wider_than_the_screen(self) -> bool:
        """Whether the page scrolls sideways."""
        return bool(self.page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"))


@contextmanager
def visit(browser: Browser, office: Office, *, has_script: bool = True, **looks: object) -> Iterator[Visit]:
    """A fresh profile. Whatever the browser complained of fails the test, unless the test took it away."""
    context = browser.new_context(java_script_enabled=has_script, reduced_motion="reduce", **looks)
    context.set_default_timeout(PATIENCE_MS)
    expect.set_options(timeout=PATIENCE_MS)
    page = context.new_page()
    made = Visit(office=office, context=context, page=page)
    context.on("console", lambda message: _hear(made, message))
    context.on("weberror", lambda error: made.complaints.append(str(error.error)))
    if has_script:
        page.clock.install()
    try:
        yield made
    finally:
        context.close()
    assert made.complaints == [], made.complaints


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


def _hear(visit: Visit, message: ConsoleMessage) -> None:
    """Errors and warnings, but for the browser's own line about an answer of ours that is no success."""
    if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
        visit.complaints.append(message.text)
