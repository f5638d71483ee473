"""Attacks on the standards' doors, by who has a foot in one: an old key, an own page, a proof, a person's token."""

from __future__ import annotations

import json

import pytest
from oauth_house import CLIENTS, OAuthHouse, said

from served import Browser
from stage import POLICY, changed

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
