"""How the pages stand on real screens: a phone, the dark, paper; and whether everybody can read them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from browsing import Visit
from playwright.sync_api import Page

from leasehold.model.call import OutcomeStatus
from office import BEN, EVA, Office

Visits = Callable[..., AbstractContextManager[Visit]]

PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}

# For each visible text: its contrast with what lies behind it, by WCAG 2.2, and where that is too little.
CONTRAST = """() => {
  const parse = (text) => {
    const numbers = text.match(/[0-9.]+/g).map(Number);
    const scale = text.startsWith("color(") ? 255 : 1;
    return [...numbers.slice(0, 3).map((each) => each * scale), numbers[3] ?? 1];
  };
  const over = (top, below) => top.slice(0, 3).map((part, at) => part * top[3] + below[at] * (1 - top[3]));
  const light = (colour) => colour.map((part) => part / 255)
    .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
    .reduce((sum, part, at) => sum + part * [0.2126, 0.7152, 0.0722][at], 0);
  const behind = (element) => {
    const layers = [];
    for (let each = element; each; each = each.parentElement) {
      const colour = parse(getComputedStyle(each).backgroundColor);
      layers.push(colour);
      if (colour[3] === 1) break;
    }
    return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255]);
  };
  const poor = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const style = getComputedStyle(element);
    const text = walker.currentNode.textContent.trim();
    if (!text || element.closest("svg, title, script, .unseen, .skip, :disabled, label:has(:disabled)")) continue;
    if (!element.checkVisibility() || style.visibility !== "visible") continue;
    const back = behind(element);
    const front = over(parse(style.color), back);
    const [high, low] = [light(front), light(back)].sort((one, other) => other - one);
    const size = parseFloat(style.fontSize);
    const enough = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700) ? 3 : 4.5;
    const ratio = (high + 0.05) / (low + 0.05);
    if (ratio < enough) poor.push(`${text.slice(0, 40)}: ${ratio.toFixed(2)}`);
  }
  return poor;
}"""


def places(office: Office) -> list[str]:
    """One of each page, with something on it."""
    lease = office.lease()
    office.stage.use(lease, "ticket.update", key="u1")
    office.stage.settle(
        office.stage.admit(lease, "ticket.update", key="u2"), OutcomeStatus.FAILED, error="no such ticket"
    )
    done = office.asks(lease=lease, ticket_id="T-2")
    office.stage.people.approve(done, BEN)
    waiting = office.asks(lease=lease, ticket_id="T-3", note="wrong\u202e and long " + "x" * 400)
    office.asks("ticket.erase", ticket_id="T-4")
    office.stage.hold("tool:mail")
    run = f"/runs/{lease.lease.run_id}"
    return [
        "/",
        f"/requests/{waiting.request_id}",
        f"/requests/{waiting.request_id}?whole=1",
        f"/requests/{done.request_id}",
        f"/requests/{waiting.request_id}/edit",
        f"/answers?id={waiting.request_id}",
        "/runs",
        run,
        f"{run}/receipt",
        "/leases",
        f"/leases/{lease.lease.lease_id}",
        "/ledger",
        "/ledger/3",
        "/policy?route=desk&action=ticket.erase",
        "/stops",
        "/account",
        "/nowhere",
    ]


def test_no_page_scrolls_sideways_on_a_phone(office: Office, visits: Visits) -> None:
    with visits(**PHONE) as visit:
        visit.sign_in(EVA)
        for place in places(office):
            visit.open(place)
            assert not visit.is_wider_than_the_screen(), place


def test_usual_card_and_its_buttons_fit_on_one_screen_of_a_phone(office: Office, visits: Visits) -> None:
    request = office.asks(ticket_id="T-7", note="fixed")
    with visits(**PHONE) as visit:
        visit.sign_in(BEN)
        page = visit.look(request)
        for words in ("Close ticket T-7", "reopen within 24 h", "Not allowed", "customer asked"):
            assert _is_on_screen(page, words), words
        assert page.get_by_role("button", name="Deny").is_visible()


def _is_on_screen(page: Page, words: str) -> bool:
    """Whether a text stands above the fold and above the bar with the buttons."""
    box, bar = page.get_by_text(words).first.bounding_box(), page.locator("form.decide").bounding_box()
    return box is not None and bar is not None and box["y"] >= 0 and box["y"] + box["height"] <= bar["y"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_enough_from_what_is_behind_it(office: Office, visits: Visits, scheme: str) -> None:
    with visits(color_scheme=scheme) as visit:
        page = visit.sign_in(EVA)
        for place in places(office):
            visit.open(place)
            assert page.evaluate(CONTRAST) == [], place


def test_page_is_dark_where_people_want_it_dark(office: Office, visits: Visits) -> None:
    with visits(color_scheme="dark") as visit:
        page = visit.sign_in(BEN)
        red, green, blue = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g).map(Number)")
        assert red + green + blue < 150


def test_printed_receipt_has_no_frame_of_the_console(office: Office, visits: Visits) -> None:
    lease = office.lease()
    with visits() as visit:
        page = visit.sign_in(EVA)
        visit.open(f"/runs/{lease.lease.run_id}/receipt")
        page.emulate_media(media="print")
        assert not page.locator(".top").is_visible()
        assert page.get_by_role("heading", name="Receipt").is_visible()


def test_every_control_has_a_name_and_focus_can_be_seen(office: Office, visits: Visits) -> None:
    unnamed = """elements => elements.filter(element =>
        !(element.labels?.length || element.textContent.trim() || element.ariaLabel)).map(each => each.outerHTML)"""
    with visits() as visit:
        page = visit.sign_in(EVA)
        for place in places(office):
            visit.open(place)
            controls = page.locator("a[href], button, select, input:not([type=hidden]), [tabindex='0']")
            assert controls.evaluate_all(unnamed) == [], place
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
