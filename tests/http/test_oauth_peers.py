"""Strict clients by other authors against the real server: `oauth4webapi` and `jose`."""

from __future__ import annotations

import json
from urllib.parse import urlencode

import pytest
from oauth_house import BACK, OAuthHouse, back, consent, details

from node import PEERS, lines_of, run_script
from stage import ANA


@pytest.mark.requirement("C7")
@pytest.mark.case(11)
def test_a_strict_client_finds_its_way_gets_bound_tokens_delegates_and_revokes(oauth: OAuthHouse) -> None:
    now = oauth.stage.system.now().seconds
    asked = {
        "parent": details({"ticket.update": {"ticket": ["T-*"]}}),
        "child": details({"ticket.update": {"ticket": ["T-7"]}}, agent="helper", requested_by=""),
    }
    arguments = (oauth.origin, "launcher", oauth.secret("launcher"), str(now))
    [told] = lines_of(run_script(PEERS / "oauth.mjs", *arguments, stdin=json.dumps(asked)))
    assert told["plain"]["token_type"] == "bearer"
    assert told["claims"]["jti"] == told["plain"]["lease_id"]
    assert (told["bound"]["token_type"], told["tries"]) == ("dpop", 2)
    assert (told["stolen"], told["bare"]) == ("invalid_request", "invalid_request")
    assert told["before"]["cnf"] == {"jkt": told["jkt"]}
    assert told["before"]["act"] == {"sub": "helper", "act": {"sub": "bot"}}
    assert told["after"] == [{"active": False}, {"active": False}]


@pytest.mark.case(110)
def test_a_strict_desktop_program_gets_its_token_by_way_of_the_browser(oauth: OAuthHouse) -> None:
    arguments = (oauth.origin, "desktop", BACK)
    [begun] = lines_of(run_script(PEERS / "code.mjs", *arguments, details(requested_by="")))
    browser = oauth.signed_in(ANA)
    asked = str(begun["address"]).partition("?")[2]
    answer = urlencode(back(consent(browser, asked)))
    rest = (str(begun["verifier"]), str(begun["state"]))
    [found] = lines_of(run_script(PEERS / "code.mjs", *arguments, f"{BACK}?{answer}", *rest))
    assert (found["token_type"], found["scope"]) == ("bearer", "lease:desk")
    [again] = lines_of(run_script(PEERS / "code.mjs", *arguments, f"{BACK}?{answer}", *rest))
    assert again == {"error": "invalid_grant"}


@pytest.mark.case(110)
def test_a_strict_client_tells_an_answer_of_another_server_by_its_issuer(oauth: OAuthHouse) -> None:
    arguments = (oauth.origin, "desktop", BACK)
    for iss, state in (("https://evil.example", "s"), (f"{oauth.origin}/", "s"), (oauth.origin, "other")):
        answer = urlencode({"code": "x", "state": state, "iss": iss})
        [told] = lines_of(run_script(PEERS / "code.mjs", *arguments, f"{BACK}?{answer}", "v" * 43, "s"))
        assert told["error"] == "OAUTH_INVALID_RESPONSE"
