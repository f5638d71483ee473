"""Attacks on the standards' doors, by who has a foot in one: an old key, an own page, a proof, a person's token."""

from __future__ import annotations

import html
import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from oauth_house import (
    BACK,
    CLIENTS,
    CLOSE,
    OAuthHouse,
    back,
    code_of,
    consent,
    details,
    form_of,
    query,
    redeem,
    said,
    shown,
)

from leasehold.http.oauth.metadata import EXCHANGE
from leasehold.ledger.entry import EntryKind
from served import Browser
from stage import ANA, POLICY, changed

TICKET_DOOR = '[clients."ticket-door"]\ndoor = { tool = "ticket", environment = "prod" }\n'
UPDATE_ONE = {"ticket.update": {"ticket": ["T-1"]}}


def as_door(oauth: OAuthHouse, method: str, path: str, body: object = None) -> int:
    """How the ticket's door is answered, with its key as it is."""
    headers = {"Authorization": f"Bearer {oauth.secret('ticket-door')}", "Content-Type": "application/json"}
    sent = json.dumps(body).encode() if body is not None else b""
    return Browser(oauth.port).send(method, path, sent, headers if sent else headers | {"Content-Type": ""}).status


@pytest.mark.requirement("L6")
@pytest.mark.parametrize("end", ["removed", "expired", "moved"])
def test_a_doors_credential_that_counts_no_more_reads_nothing_either(oauth: OAuthHouse, end: str) -> None:
    """What is read has no step behind it that would ask for the credential again."""
    found = said(oauth.token(grants=UPDATE_ONE))
    call = {"action": "ticket.update", "arguments": {"ticket_id": "T-1"}, "key": "k"}
    call["admission_id"] = admission = oauth.stage.door().new_admission_id()
    question = {
        "subject": {"type": "lease", "id": found["lease_id"]},
        "action": {"name": "update"},
        "resource": {"type": "ticket", "id": "T-1"},
        "context": {"arguments": {"ticket_id": "T-1"}, "idempotency_key": "k2"},
    }
    readings = (
        ("POST", "/access/v1/evaluation", question),
        ("GET", f"/access/v1/requests/{found['request_id']}", None),
        ("GET", f"/v1/admissions/{admission}", None),
    )
    assert as_door(oauth, "POST", "/v1/admissions", {"token": found["access_token"], "call": call}) == 200
    assert [as_door(oauth, *reading) for reading in readings] == [200, 404, 200]
    assert said(oauth.post("/oauth/introspect", "ticket-door", {"token": str(found["access_token"])}))["active"] is True
    match end:
        case "removed":
            oauth.stage.authority.clients.remove_key(oauth.keys["ticket-door"].row.key_id, by="op")
        case "expired":
            oauth.stage.pass_time(86_400)
        case _:
            oauth.stage.accept(POLICY + changed(TICKET_DOOR, TICKET_DOOR.replace('"prod"', '"staging"'), CLIENTS))
    refused = [as_door(oauth, *reading) for reading in readings]
    introspected = oauth.post("/oauth/introspect", "ticket-door", {"token": str(found["access_token"])})
    if end == "moved":  # it stands at another door now, sees what is there, and what it admitted itself
        assert (refused, said(introspected)) == ([200, 404, 200], {"active": False})
    else:
        assert (refused, said(introspected, 401)["error"]) == ([401, 401, 401], "invalid_client")


# What a person saw, and what comes of it

PURGED = changed(
    'deny = ["mail.purge"]',
    'allow."mail.purge" = { folder = ["**"] }\napprove."mail.purge" = "none"',
    changed('approve."ticket.update" = "none"', 'approve."ticket.update" = "call"', POLICY),
)


@pytest.mark.case(79)
@pytest.mark.parametrize("grants", [None, UPDATE_ONE])
def test_consent_counts_only_for_what_the_page_showed(oauth: OAuthHouse, grants: object) -> None:
    """A route that offers more by now, or asks fewer people: the person looks once more."""
    browser = oauth.signed_in(ANA)
    asked = query(grants) if grants else query(authorization_details="", scope="lease:desk", audience="ticket")
    form = form_of(shown(browser, asked)) | {"purpose": "answer T-1"}
    oauth.stage.accept(PURGED + CLIENTS)
    reply = browser.post("/oauth/authorize", form)
    assert (reply.status, "out of date" in reply.text) == (409, True)
    assert oauth.stage.entries(EntryKind.RUN_STARTED) == []
    assert "code" in back(consent(browser, asked, purpose="answer T-1"))


@pytest.mark.case(79)
def test_consent_under_a_policy_that_changed_in_the_same_moment_is_taken_back(oauth: OAuthHouse) -> None:
    browser = oauth.signed_in(ANA)
    form = form_of(shown(browser, query(CLOSE)))
    engine, stage = oauth.stage.authority.engine, oauth.stage
    asked = engine.ask

    def late(build):
        if not stage.entries(EntryKind.RUN_STARTED):
            engine.ask = asked
            stage.accept(PURGED + CLIENTS)
        return asked(build)

    engine.ask = late
    assert browser.post("/oauth/authorize", form).status == 409
    assert len(stage.entries(EntryKind.RUN_STARTED)) == len(stage.entries(EntryKind.RUN_FINISHED)) == 1
    assert engine.store.queries.pending_requests(["acme"]) == ()


def test_an_address_too_long_to_come_back_to_is_not_silently_left(oauth: OAuthHouse) -> None:
    """A program that asks for much: whoever is signed in gets its page, others hear why they do not."""
    path = f"/oauth/authorize?{query()}&unknown={'x' * 2000}"
    by_link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert f'url={html.escape(path)}"' in Browser(oauth.port).get(path, **by_link).text
    assert Browser(oauth.port).get(path).status == 414
    assert oauth.signed_in(ANA).get(path).status == 200
    assert 'url=/"' in Browser(oauth.port).get("//evil.example/" + "x" * 2001, **by_link).text


# Codes, when the world has moved on


@pytest.mark.case(62, 110)
@pytest.mark.parametrize("moved", ["address", "client", "epoch", "person", "revoked", "right"])
def test_a_code_is_worth_nothing_once_what_it_stands_on_is_gone(oauth: OAuthHouse, moved: str) -> None:
    """For a client with a credential of its own, which the address alone does not prove."""
    code = code_of(oauth, client_id="web")
    web = '[clients."web"]\nruns = { agents = ["bot"]'
    listed = f'redirects = ["{BACK}", "{BACK}?x=1"]'
    match moved:
        case "address":
            oauth.stage.accept(POLICY + changed(listed, f'redirects = ["{BACK}?x=1"]', CLIENTS))
        case "client":
            oauth.stage.accept(POLICY + changed(web, web.replace('"web"', '"web2"'), CLIENTS))
        case "epoch":
            oauth.stage.desk.raise_epoch(by="op", reason="restored")
        case "person":
            oauth.stage.desk.offboard(ANA, by="op", reason="left")
        case "revoked":
            oauth.stage.revoke("route:desk")
        case _:
            oauth.stage.accept(POLICY + changed(web, web.replace('"bot"', '"helper"'), CLIENTS))
    reply = redeem(oauth, code, "web", client_secret=oauth.secret("web"))
    assert reply.status in (400, 401), reply.text
    assert oauth.stage.entries(EntryKind.LEASE_ISSUED) == []


@pytest.mark.case(110)
def test_of_many_that_bring_one_code_at_once_one_gets_a_token_and_not_for_long(oauth: OAuthHouse) -> None:
    code = code_of(oauth)
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: redeem(oauth, code), range(8)))
    (got,) = [said(reply) for reply in replies if reply.status == 200]
    token = {"token": str(got["access_token"])}
    assert said(oauth.post("/oauth/introspect", "ticket-door", token)) == {"active": False}


@pytest.mark.case(45, 53)
@pytest.mark.parametrize(
    "scope", ["run", "lease", "request", "tool:ticket", "route:desk", "agent:bot", "person:user:ana"]
)
def test_under_a_parent_that_is_stopped_in_any_way_nothing_is_delegated(oauth: OAuthHouse, scope: str) -> None:
    parent = said(oauth.token(grants=UPDATE_ONE))
    stopped = scope if ":" in scope else f"{scope}:{parent[f'{scope}_id']}"
    oauth.stage.hold(stopped)
    form = {
        "grant_type": EXCHANGE,
        "subject_token": str(parent["access_token"]),
        "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "authorization_details": details(UPDATE_ONE, agent="helper", requested_by=""),
    }
    before = len(oauth.stage.entries())
    assert said(oauth.post("/oauth/token", "launcher", form), 400)["error"] == "invalid_request"
    assert len(oauth.stage.entries()) == before
    oauth.stage.lift(stopped)
    assert said(oauth.post("/oauth/token", "launcher", form))["scope"] == "lease:desk"
