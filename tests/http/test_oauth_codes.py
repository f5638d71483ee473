"""Authorization code with PKCE: the consent page, the code, and everybody who tries to use what is not theirs."""

from __future__ import annotations

import json
import re

import pytest
from oauth_house import (
    BACK,
    CHALLENGE,
    CLOSE,
    VERIFIER,
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

from leasehold.ledger.entry import EntryKind
from leasehold.model.request import Verdict
from served import Browser
from stage import ANA, BEN

ONLY_A_RUN = json.dumps(json.loads(details(requested_by=""))[:1])


@pytest.mark.requirement("P12")
def test_a_person_lets_a_program_ask_in_their_name_and_it_gets_one_token(oauth: OAuthHouse) -> None:
    browser = oauth.signed_in(ANA)
    page = shown(browser, query())
    assert page.status == 200
    for words in ("desktop", "ticket.get", "acme", "which is you", "127.0.0.1:7777", "nobody"):
        assert words in page.text
    assert oauth.stage.entries(EntryKind.RUN_STARTED) == []
    answer = back(consent(browser, query()))
    assert (answer["state"], answer["iss"]) == ("s 1", oauth.origin)
    found = said(redeem(oauth, answer["code"]))
    assert (found["token_type"], found["scope"]) == ("Bearer", "lease:desk")
    [started] = oauth.stage.entries(EntryKind.RUN_STARTED)
    assert (started.requested_by, started.run) == (ANA, found["run_id"])


def test_consent_is_no_approval_and_the_request_waits_for_somebody_else(oauth: OAuthHouse) -> None:
    browser = oauth.signed_in(ANA)
    assert "People have to approve it first" in shown(browser, query(CLOSE)).text
    code = back(consent(browser, query(CLOSE)))["code"]
    pending = said(redeem(oauth, code), 400)
    assert pending["error"] == "authorization_pending"
    request = oauth.stage.authority.find_request(str(pending["request_id"]))
    own = oauth.stage.desk.footer(request)
    assert ANA not in own.may_approve
    oauth.stage.desk.answer(request, Verdict.APPROVE, oauth.stage.people.signatory(BEN))
    assert said(redeem(oauth, code))["request_id"] == request.request_id


def test_a_person_says_no_and_nothing_is_made(oauth: OAuthHouse) -> None:
    browser = oauth.signed_in(ANA)
    for verdict in ("deny", "", "yes"):
        answer = back(consent(browser, query(), verdict))
        assert (answer["error"], answer["iss"], "code" in answer) == ("access_denied", oauth.origin, False)
    assert oauth.stage.entries(EntryKind.RUN_STARTED) == []


def test_a_client_that_says_not_what_for_lets_the_person_say_it(oauth: OAuthHouse) -> None:
    browser = oauth.signed_in(ANA)
    asked = query(authorization_details=json.dumps(json.loads(details())[1:]))
    assert "What for" in shown(browser, asked).text
    found = said(redeem(oauth, back(consent(browser, asked, purpose="close my ticket"))["code"]))
    assert oauth.stage.authority.engine.run("acme", str(found["run_id"])).purpose == "close my ticket"
    assert back(consent(browser, asked))["error"] == "access_denied"


def test_a_confidential_client_has_to_prove_itself_besides(oauth: OAuthHouse) -> None:
    code = code_of(oauth, client_id="web")
    assert said(redeem(oauth, code, "web"), 401)["error"] == "invalid_client"
    assert said(redeem(oauth, code, "web", client_secret="wrong"), 401)["error"] == "invalid_client"
    assert said(redeem(oauth, code, "web", client_secret=oauth.secret("web")))["scope"] == "lease:desk"
    assert said(redeem(oauth, code, "nobody"), 401)["error"] == "invalid_client"


@pytest.mark.case(110)
def test_a_client_whose_last_key_was_taken_away_is_not_known_by_its_address_alone(oauth: OAuthHouse) -> None:
    code = code_of(oauth, client_id="web")
    oauth.stage.authority.clients.remove_key(oauth.keys["web"].row.key_id, by="op")
    assert said(redeem(oauth, code, "web"), 401)["error"] == "invalid_client"
    assert said(redeem(oauth, code, "web", client_secret=oauth.secret("web")), 401)["error"] == "invalid_client"


# Codes in wrong hands


@pytest.mark.case(110)
@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({"code_verifier": "w" * 43}, "invalid_grant"),
        ({"code_verifier": CHALLENGE}, "invalid_grant"),
        ({"code_verifier": "v" * 42}, "invalid_grant"),
        ({"code_verifier": ""}, "invalid_request"),
        ({"redirect_uri": f"{BACK}/"}, "invalid_client"),
        ({"redirect_uri": ""}, "invalid_request"),
        ({"code": "x"}, "invalid_grant"),
        ({"code": "é.x"}, "invalid_grant"),
        ({"code": ""}, "invalid_request"),
        ({"audience": "mail"}, "invalid_target"),
    ],
)
def test_a_code_is_worth_nothing_without_all_that_belongs_to_it(
    oauth: OAuthHouse, form: dict[str, str], error: str
) -> None:
    code = code_of(oauth)
    assert said(redeem(oauth, code, **form), 401 if error == "invalid_client" else 400)["error"] == error
    assert said(redeem(oauth, code))["scope"] == "lease:desk"


@pytest.mark.case(110)
def test_a_code_is_worth_nothing_to_another_client(oauth: OAuthHouse) -> None:
    code = code_of(oauth)
    refused = said(redeem(oauth, code, "web", client_secret=oauth.secret("web")), 400)
    assert (refused["error"], oauth.stage.entries(EntryKind.LEASE_ISSUED)) == ("invalid_grant", [])


@pytest.mark.case(110)
def test_a_code_that_comes_twice_ends_what_came_of_it(oauth: OAuthHouse) -> None:
    code = code_of(oauth)
    found = said(redeem(oauth, code))
    assert said(redeem(oauth, code, code_verifier="w" * 43), 400)["error"] == "invalid_grant"
    token = {"token": str(found["access_token"])}
    assert said(oauth.post("/oauth/introspect", "ticket-door", token))["active"] is True
    refused = said(redeem(oauth, code), 400)
    assert (refused["error"], "revoked" in str(refused["error_description"])) == ("invalid_grant", True)
    assert said(oauth.post("/oauth/introspect", "ticket-door", token)) == {"active": False}
    assert said(redeem(oauth, code), 400)["error"] == "invalid_grant"


def test_a_code_lives_ten_minutes(oauth: OAuthHouse) -> None:
    code = code_of(oauth, CLOSE)
    oauth.stage.pass_time(599)
    assert said(redeem(oauth, code), 400)["error"] == "authorization_pending"
    oauth.stage.pass_time(1)
    assert said(redeem(oauth, code), 400)["error"] == "invalid_grant"


def test_a_code_and_any_bit_of_it_changed_is_none(oauth: OAuthHouse) -> None:
    code = code_of(oauth)
    for place in (0, 5, len(code) // 2, len(code) - 2):
        other = "A" if code[place] != "A" else "B"
        assert said(redeem(oauth, code[:place] + other + code[place + 1 :]), 400)["error"] == "invalid_grant"


# Who is sent where


@pytest.mark.case(110)
@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": "nobody"},
        {"client_id": ""},
        {"client_id": "launcher"},
        {"redirect_uri": ""},
        {"redirect_uri": f"{BACK}/"},
        {"redirect_uri": f"{BACK}?y=1"},
        {"redirect_uri": "http://127.0.0.1:7778/back"},
        {"redirect_uri": "http://localhost:7777/back"},
        {"redirect_uri": "https://evil.example/back"},
        {"redirect_uri": "javascript:alert(1)"},
        {"redirect_uri": f"{BACK}@evil.example"},
    ],
)
def test_nobody_is_sent_to_an_address_that_is_not_exactly_the_clients(
    oauth: OAuthHouse, changes: dict[str, str]
) -> None:
    reply = shown(oauth.signed_in(ANA), query(**changes))
    assert (reply.status, "http-equiv" in reply.text, reply.location) == (400, False, "")


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": ""}, "unsupported_response_type"),
        ({"response_mode": "fragment"}, "invalid_request"),
        ({"code_challenge": ""}, "invalid_request"),
        ({"code_challenge": VERIFIER + "="}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": ""}, "invalid_request"),
        ({"state": "x" * 1025}, "invalid_request"),
        ({"prompt": "none"}, "interaction_required"),
        ({"scope": "openid"}, "invalid_scope"),
        ({"scope": "lease:nowhere"}, "unauthorized_client"),
        ({"scope": "lease:solo", "audience": "mail", "authorization_details": ONLY_A_RUN}, "unauthorized_client"),
        ({"authorization_details": details(requested_by="", tenant="\u0430cme")}, "access_denied"),
        ({"resource": "https://elsewhere.example"}, "invalid_target"),
        ({"resource": "urn:leasehold:tool:mail"}, "invalid_target"),
        ({"authorization_details": "[]"}, "invalid_authorization_details"),
        ({"authorization_details": details(requested_by=BEN)}, "invalid_authorization_details"),
        ({"authorization_details": details({"ticket.get": {"ticket": ["**"]}}, requested_by="")},
         "invalid_authorization_details"),
        ({"authorization_details": details(requested_by="", agent="stranger")}, "unauthorized_client"),
    ],
)  # fmt: skip
def test_what_else_is_wrong_is_told_to_the_client_with_the_issuer(
    oauth: OAuthHouse, changes: dict[str, str], error: str
) -> None:
    answer = back(shown(oauth.signed_in(ANA), query(**changes)))
    assert (answer["error"], answer["iss"]) == (error, oauth.origin)
    assert re.fullmatch(r"[\x20-\x21\x23-\x5b\x5d-\x7e]+", answer["error_description"])


def test_an_address_with_a_query_of_its_own_keeps_it(oauth: OAuthHouse) -> None:
    answer = back(consent(oauth.signed_in(ANA), query(client_id="web", redirect_uri=f"{BACK}?x=1")))
    assert (answer["x"], "code" in answer) == ("1", True)


def test_a_query_that_cannot_be_read_goes_nowhere(oauth: OAuthHouse) -> None:
    browser = oauth.signed_in(ANA)
    for asked in (f"{query()}&state=2", f"{query()}&{'&'.join(f'a{n}=1' for n in range(70))}", "%ff=1", ""):
        assert shown(browser, asked).status == 400


# Whose browser it is


@pytest.mark.case(110, 114)
def test_a_stranger_is_asked_to_sign_in_and_comes_back_to_the_same_page(oauth: OAuthHouse) -> None:
    reply = shown(Browser(oauth.port), query())
    assert (reply.status, reply.location.startswith("/sign-in?next=/oauth/authorize")) == (303, True)


@pytest.mark.case(110, 114)
def test_nobody_elses_page_and_no_other_session_consents_for_a_person(oauth: OAuthHouse) -> None:
    browser, other = oauth.signed_in(ANA), oauth.signed_in(BEN)
    form = form_of(shown(browser, query()))
    wider = query({"ticket.update": {"ticket": ["T-*"]}})
    for sender, fields, headers in (
        (browser, form, {"Sec-Fetch-Site": "cross-site"}),
        (browser, form, {"Sec-Fetch-Site": "", "Origin": "https://evil.example"}),
        (browser, form | {"token": ""}, {}),
        (browser, form | {"asked": wider}, {}),
        (browser, form | {"shown": form_of(shown(browser, wider))["shown"]}, {}),
        (browser, form | {"shown": ""}, {}),
        (browser, form | {"asked": query(client_id="web")}, {}),
        (browser, form | {"token": other.get("/").token("/sign-out")}, {}),
        (other, form, {}),
        (Browser(oauth.port), form, {}),
    ):
        assert sender.post("/oauth/authorize", fields, **headers).status == 403
    assert oauth.stage.entries(EntryKind.RUN_STARTED) == []


@pytest.mark.case(113)
def test_what_a_program_writes_is_shown_as_text(oauth: OAuthHouse) -> None:
    evil = "<script>alert(1)</script>\u202e"
    page = shown(oauth.signed_in(ANA), query(authorization_details=details(purpose=evil, requested_by="")))
    assert "<script>alert" not in page.text
    assert "\u202e" not in page.text
    assert "form-action 'self'" in page.headers["content-security-policy"]
