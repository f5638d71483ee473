"""Attacks on the console: from other origins and without tokens, at every route that changes something; stale words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from forms import fields
from glass import TABLE, signatory
from governed import governed, propose
from leasehold.authority.glass import Wish
from leasehold.ledger.entry import EntryKind
from leasehold.ledger.history import check_history
from leasehold.model.glass import Skippable
from office import ANA, BEN, EVA, TEXT, Office
from served import Browser, Reply, served
from stage import changed, policy
from unsafe import unsafe_paths

HOUSE = governed(changed('"user:ana" = ["lead"]', '"user:ana" = ["lead", "oncall"]', TEXT)) + TABLE
WIDER = changed("calls = 20", "calls = 21", HOUSE)
WISH = Wish(
    opener=ANA,
    second=BEN,
    tenant="acme",
    environment="prod",
    route="desk",
    actions=("ticket.erase",),
    skips=(Skippable.APPROVE,),
    minutes=5,
    reason="the disk is full",
)


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    office = Office(tmp_path, text=HOUSE)
    with served(office.build) as port:
        office.port = port
        yield office
        office.streams.close()
    assert check_history(office.stage.entries()) == []
    office.stage.close()


@pytest.fixture
def targets(office: Office) -> dict[str, str]:
    """What stands in the paths: a request, a proposed policy and a break-glass that all wait for Ben."""
    signatory(office.stage, ANA)
    propose(office.stage, text=WIDER, replaces=HOUSE)
    office.has_password(BEN)
    ana = office.viewer(ANA).glass
    return {
        "request_id": office.asks().request_id,
        "policy": policy(WIDER).hash,
        "glass_id": ana.propose(ana.draft(WISH)).glass_id,
    }


def unsafe(office: Office, targets: dict[str, str]) -> list[tuple[str, str]]:
    """Method and path of everything that changes something, with what waits for Ben in it."""
    missing = "signin_01JZ8Q5X0M3V7K2N9B4C6D8E0F"
    return [
        (method, re.sub(r"\{(\w+)(:\w+)?\}", lambda name: targets.get(name[1], missing), path))
        for method, path in unsafe_paths(office.application)
    ]


def test_list_of_what_changes_something_is_read_off_the_router(office: Office) -> None:
    found = {path for _, path in unsafe_paths(office.application)}
    assert found >= {
        "/sign-in",
        "/sign-out",
        "/answers",
        "/requests/{request_id}/answer",
        "/requests/{request_id}/edit",
        "/stops",
        "/break-glass",
        "/break-glass/{glass_id}/answer",
        "/break-glass/{glass_id}/close",
        "/break-glass/{glass_id}/review",
        "/policy/proposals/{policy}/answer",
    }
    assert {method for method, _ in unsafe_paths(office.application)} == {"POST"}


FOREIGN = {
    "another site": {"Sec_Fetch_Site": "cross-site"},
    "another host of our domain": {"Sec_Fetch_Site": "same-site"},
    "another site, with an origin of ours": {"Sec_Fetch_Site": "cross-site", "Origin": "http://127.0.0.1:{port}"},
    "an old browser at another site": {"Sec_Fetch_Site": "", "Origin": "http://evil.example"},
    "an old browser in a sandbox": {"Sec_Fetch_Site": "", "Origin": "null"},
    "no browser at all": {"Sec_Fetch_Site": ""},
    "two answers to one question": {"Sec_Fetch_Site": "same-origin, cross-site"},
}


@pytest.mark.case(114)
@pytest.mark.parametrize("where", FOREIGN)
def test_no_route_is_changed_from_anywhere_but_our_own_pages(
    office: Office, targets: dict[str, str], where: str
) -> None:
    ben = office.signed_in(BEN)
    headers = {name: value.format(port=office.port) for name, value in FOREIGN[where].items()}
    form = {"verdict": "approve", "deed": "hold", "scope": "all", "reason": "x", "words": "x"}
    before = office.stage.entries()
    for method, path in unsafe(office, targets):
        body = "&".join(f"{name}={value}" for name, value in form.items()).encode()
        usual = {"Sec_Fetch_Site": "same-origin", "Content_Type": "application/x-www-form-urlencoded"}
        reply = ben.send(method, path, body, {**usual, **headers})
        assert reply.status == 403, (path, where, reply.status)
    assert office.stage.entries() == before
    assert ben.get("/").status == 200  # still signed in: not even that was changed


@pytest.mark.case(114)
def test_no_route_is_changed_by_a_form_without_its_token_or_with_that_of_another(
    office: Office, targets: dict[str, str]
) -> None:
    ben = office.signed_in(BEN)
    sign_out = ben.get("/").token("/sign-out")
    before = office.stage.entries()
    for token in ("", "x", sign_out):
        for _, path in unsafe(office, targets):
            if (path, token) == ("/sign-out", sign_out) or path == "/slack/answers":
                continue  # that is its own; and that one is signed by Slack, and has no forms
            form = {"token": token, "verdict": "approve", "deed": "hold", "scope": "all", "reason": "x", "words": "x"}
            reply = ben.post(path, form)
            assert 400 <= reply.status < 500, (path, reply.status)
    assert office.stage.entries() == before


@pytest.mark.case(81, 117)
def test_no_route_takes_anything_but_a_session(office: Office, targets: dict[str, str]) -> None:
    stranger = Browser(office.port)
    before = office.stage.entries()
    for credential in ("Bearer eyJhbGciOiJFZDI1NTE5In0.e30.x", "Basic dXNlcjpiZW4=", "DPoP x"):
        for _, path in unsafe(office, targets):
            reply = stranger.post(path, {"verdict": "approve"}, Authorization=credential)
            assert reply.status in (403, 404), (path, reply.status)
    assert office.stage.entries() == before


def _shown_to_eva(office: Office, path: str, action: str) -> dict[str, str]:
    """The fields of a form as another person's page has them, tokens included."""
    return fields(office.signed_in(EVA).get(path), action)


@pytest.mark.case(75, 114)
def test_form_of_one_session_is_worth_nothing_in_another(office: Office, targets: dict[str, str]) -> None:
    place = f"/requests/{targets['request_id']}"
    hers = _shown_to_eva(office, place, f"{place}/answer")
    office.stage.pass_time(5)
    reply = office.signed_in(BEN).post(f"{place}/answer", {**hers, "verdict": "approve"})
    assert reply.status == 403
    assert office.stage.entries(EntryKind.REQUEST_ANSWERED) == []


def _say(client: Browser, place: str, seen: Reply) -> Reply:
    return client.post(f"{place}/answer", {**fields(seen, f"{place}/answer"), "verdict": "approve"})


@pytest.mark.case(79, 80)
def test_words_of_somebody_whose_session_role_or_sign_in_ended_while_they_looked_count_for_nothing(
    office: Office, targets: dict[str, str]
) -> None:
    places = [f"/policy/proposals/{targets['policy']}", f"/break-glass/{targets['glass_id']}"]
    for place in places:
        ben = office.signed_in(BEN)
        seen = ben.get(place)
        office.stage.pass_time(3)
        ben.post("/sign-out", {"token": seen.token("/sign-out")})
        assert _say(ben, place, seen).status == 403
    ben = office.signed_in(BEN)
    seen = [ben.get(place) for place in places]
    office.stage.pass_time(3)
    office.stage.desk.offboard(BEN, by="op", reason="left")
    assert [_say(ben, place, page).status for place, page in zip(places, seen, strict=True)] == [403, 403]
    assert office.stage.entries(EntryKind.GLASS_OPENED) == []
    assert office.stage.authority.engine.active_policy().hash == policy(HOUSE).hash


@pytest.mark.case(76)
def test_pressing_twice_opens_and_confirms_once(office: Office, targets: dict[str, str]) -> None:
    ben = office.signed_in(BEN)
    glass, proposal = f"/break-glass/{targets['glass_id']}", f"/policy/proposals/{targets['policy']}"
    for place, kind in ((glass, EntryKind.GLASS_OPENED), (proposal, EntryKind.POLICY_ACCEPTED)):
        seen = ben.get(place)
        office.stage.pass_time(3)
        before = len(office.stage.entries(kind))
        assert [_say(ben, place, seen).status for _ in range(2)] == [303, 409]
        assert len(office.stage.entries(kind)) == before + 1
