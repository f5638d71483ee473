"""Break-glass on its pages, without a browser: what each person is shown, and which words open nothing."""

from __future__ import annotations

import re

import pytest

from forms import fields
from glass import TABLE, signatory
from leasehold.ledger.entry import EntryKind
from leasehold.token import base64url
from office import ANA, BEN, EVA, KIM, TEXT, Office
from served import Browser, Reply
from stage import changed

pytestmark = [pytest.mark.requirement("P16"), pytest.mark.case(117)]

WITH_GLASS = changed('"user:ana" = ["lead"]', '"user:ana" = ["lead", "oncall"]', TEXT) + TABLE
FORM = {
    "route": "desk",
    "tenant": "acme",
    "environment": "prod",
    "action": "ticket.erase",
    "skip": "approve",
    "minutes": "5",
    "second": BEN,
    "reason": "the disk is full",
}


@pytest.fixture(autouse=True)
def _allowed(office: Office) -> None:
    office.stage.accept(WITH_GLASS)
    signatory(office.stage, ANA)
    office.has_password(BEN)


def draft(client: Browser, **changes: str) -> Reply:
    """Fill the form in, and look at what it would be."""
    token = client.get("/break-glass/new?route=desk").token("/break-glass/new")
    return client.post("/break-glass/new", {"token": token, **FORM, **changes})


def proposed(client: Browser, **changes: str) -> str:
    """Ask the second person; answers the page of what was asked."""
    page = draft(client, **changes)
    reply = client.post("/break-glass", fields(page, "/break-glass"))
    assert reply.status == 303, reply.text
    return reply.location


def say(client: Browser, place: str, verdict: str, *, seen: Reply | None = None, **more: str) -> Reply:
    page = seen or client.get(place)
    return client.post(f"{place}/answer", {**fields(page, f"{place}/answer"), "verdict": verdict, **more})


def opened(office: Office, ana: Browser) -> str:
    place, ben = proposed(ana), office.signed_in(BEN)
    page = ben.get(place)
    office.stage.pass_time(3)
    assert say(ben, place, "approve", seen=page).status == 303
    return place


def state(office: Office, place: str) -> str:
    [row] = [row for row in office.stage.authority.break_glass.all() if row.glass_id in place]
    return row.state


def test_second_person_sees_exactly_what_is_skipped_and_opens_it_in_one_step(office: Office) -> None:
    ana, ben = office.signed_in(ANA), office.signed_in(BEN)
    assert "Break-glass" in ana.get("/").text
    assert "/break-glass/new?route=desk" in ana.get("/break-glass").text
    place = proposed(ana)
    assert "Break-glass" in ben.get("/").text.partition("</nav>")[0]
    assert place in ben.get("/break-glass").text.partition("<h2>All</h2>")[0]
    page = ben.get(place)
    for words in ("approvals that the route demands do not bind", "ticket.erase", "acme", "5 min", "the disk is full"):
        assert words in page.text, words
    assert page.text.index('value="deny" checked') < page.text.index('value="approve"')
    hasty = say(ben, place, "approve", seen=page)
    assert (hasty.status, "That was quick" in hasty.text) == (409, True)
    office.stage.pass_time(3)
    assert say(ben, place, "approve", seen=page).status == 303
    for client in (ana, ben, office.signed_in(EVA)):
        for path in ("/", "/runs", "/policy", place):
            assert "Break-glass is open" in client.get(path).text
    [opening] = office.stage.entries(EntryKind.GLASS_OPENED)
    assert (opening.person, opening.detail["alarm"]) == (ANA, "break_glass")


def test_opener_is_told_how_to_use_it_and_no_page_holds_what_uses_it(office: Office) -> None:
    ana = office.signed_in(ANA)
    place = opened(office, ana)
    page = ana.get(place)
    assert f"leasehold break-glass use --as {ANA} {place.rpartition('/')[2]}" in page.text
    token = str(office.stage.entries(EntryKind.GLASS_OPENED)[0].detail["token"])
    for path in (place, "/break-glass", "/", f"/runs/run_{place.partition('glass_')[2]}"):
        for client in (ana, office.signed_in(BEN)):
            text = client.get(path).text
            assert token not in text
            assert token[:200] not in text
    assert "break-glass use" not in office.signed_in(BEN).get(place).text


def test_it_is_closed_early_and_reviewed_by_another(office: Office) -> None:
    ana = office.signed_in(ANA)
    place = opened(office, ana)
    kim = office.signed_in(KIM)
    assert f'action="{place}/close"' not in kim.get(place).text
    page = ana.get(place)
    assert ana.post(f"{place}/close", {"token": "x"}).status == 403
    assert ana.post(f"{place}/close", fields(page, f"{place}/close")).status == 303
    assert state(office, place) == "closed"
    closed = ana.get(place).text
    assert "wants a written review" in closed
    assert f'action="{place}/review"' not in closed
    assert "Break-glass is open" not in closed
    eva = office.signed_in(EVA)
    form = fields(eva.get(place), f"{place}/review")
    assert eva.post(f"{place}/review", {**form, "words": " "}).status == 400
    assert eva.post(f"{place}/review", {**form, "words": "it was needed"}).status == 303
    assert state(office, place) == "reviewed"
    assert f"Reviewed by {EVA}" in re.sub(r"<[^>]*>", "", eva.get(place).text)


def test_either_says_no(office: Office) -> None:
    ana, ben = office.signed_in(ANA), office.signed_in(BEN)
    mine, theirs = proposed(ana), proposed(ana)
    page = ana.get(mine)
    assert 'value="approve"' not in page.text
    assert say(ana, mine, "deny", seen=page).status == 303
    assert say(ben, theirs, "deny").status == 303
    assert [state(office, place) for place in (mine, theirs)] == ["declined", "declined"]
    assert "declined" in ben.get(mine).text


@pytest.mark.case(79)
def test_what_changed_while_looking_or_came_too_late_opens_nothing(office: Office) -> None:
    ana, ben = office.signed_in(ANA), office.signed_in(BEN)
    taken, late = proposed(ana), proposed(ana)
    seen, kept = ben.get(taken), ben.get(late)
    say(ana, taken, "deny")
    office.stage.pass_time(3)
    answered = say(ben, taken, "approve", seen=seen)
    assert (answered.status, "is declined" in answered.text) == (409, True)
    office.stage.pass_time(300)
    over = say(ben, late, "approve", seen=kept)
    assert (over.status, "not confirmed in time" in over.text) == (409, True)
    assert "lapsed" in ben.get(late).text
    assert office.stage.entries(EntryKind.GLASS_OPENED) == []


@pytest.mark.case(80)
def test_old_sign_in_neither_asks_nor_opens(office: Office) -> None:
    ana, ben = office.signed_in(ANA), office.signed_in(BEN)
    office.stage.pass_time(301)
    page = draft(ana)
    assert "sign in once more" in page.text
    refused = ana.post("/break-glass", fields(page, "/break-glass"))
    assert (refused.status, "sign-in of the last 300 s" in refused.text) == (403, True)
    place = proposed(office.signed_in(ANA))
    seen = ben.get(place)
    assert "sign in once more" in seen.text
    office.stage.pass_time(3)
    assert say(ben, place, "approve", seen=seen).status == 403
    assert state(office, place) == "proposed"


@pytest.mark.case(114)
def test_forms_are_bound_to_exactly_what_was_shown(office: Office) -> None:
    ana, ben = office.signed_in(ANA), office.signed_in(BEN)
    form = fields(draft(ana), "/break-glass")
    body = base64url.decode(form["opening"]).replace(b'"minutes":5', b'"minutes":9')
    assert ana.post("/break-glass", {**form, "opening": base64url.encode(body)}).status == 403
    other = fields(draft(ana, minutes="6"), "/break-glass")
    assert ana.post("/break-glass", {**form, "opening": other["opening"]}).status == 403
    for malformed in ("", "x", base64url.encode(b"leasehold break-glass v1\n{}")):
        assert ana.post("/break-glass", {**form, "opening": malformed}).status == 400
    assert ben.post("/break-glass", form).status == 403
    assert ana.post("/break-glass", {**form, "credential": "{}"}).status == 400
    one, two = proposed(ana), proposed(ana)
    page = fields(ben.get(one), f"{one}/answer")
    office.stage.pass_time(3)
    for place, change in ((two, {}), (one, {"digest": "sha256:" + "0" * 64}), (one, {"token": ""})):
        assert ben.post(f"{place}/answer", {**page, "verdict": "approve", **change}).status == 403
    assert ben.post(f"{one}/answer", {**page, "verdict": "perhaps"}).status == 400
    assert [state(office, place) for place in (one, two)] == ["proposed", "proposed"]


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"minutes": "x"}, 400),
        ({"minutes": "16"}, 400),
        ({"skip": "everything"}, 400),
        ({"second": ANA}, 400),
        ({"reason": ""}, 400),
        ({"action": ""}, 400),
        ({"route": "solo"}, 404),
        ({"token": "x"}, 403),
    ],
)
def test_form_that_cannot_be_is_refused(office: Office, changes: dict[str, str], status: int) -> None:
    assert draft(office.signed_in(ANA), **changes).status == status


def test_form_without_an_action_or_a_rule_is_refused(office: Office) -> None:
    ana = office.signed_in(ANA)
    token = ana.get("/break-glass/new?route=desk").token("/break-glass/new")
    for left_out in ("action", "skip"):
        form = {"token": token, **{name: value for name, value in FORM.items() if name != left_out}}
        assert ana.post("/break-glass/new", form).status == 400


@pytest.mark.case(57, 81)
def test_those_it_is_not_for_find_nothing(office: Office) -> None:
    place = proposed(office.signed_in(ANA))
    office.stage.accept(changed('can = ["query"]', 'can = ["hold"]', WITH_GLASS))
    kim = office.signed_in(KIM)
    assert "Break-glass" not in kim.get("/").text
    nowhere = "/break-glass/glass_01JZ8Q5X0M3V7K2N9B4C6D8E0F"
    for path in (place, f"/events{place}", "/break-glass/new?route=desk", nowhere):
        assert kim.get(path).status == 404
    assert "There was none." in kim.get("/break-glass").text
    stranger = Browser(office.port)
    for path in ("/break-glass", place):
        assert stranger.get(path).location.startswith("/sign-in")
        assert stranger.get(path, Authorization="Bearer lh_key_0123456789").location.startswith("/sign-in")
    for path in ("/break-glass", f"{place}/answer", f"{place}/close", f"{place}/review", "/break-glass/new"):
        assert stranger.post(path, {"verdict": "approve"}, Authorization="Bearer lh_key_0123456789").status == 403
