"""The OAuth doors over a real server: tokens, introspection, revocation, and what strangers get."""

from __future__ import annotations

import base64
import json

import pytest
from oauth_house import CI, CLIENTS, GET_ONE, HERE, RUN, OAuthHouse, details, said

from issuer import make_key, sign
from leasehold.errors import Denied, StoreError, UnavailableError
from leasehold.http.oauth.answers import error_of
from leasehold.http.oauth.metadata import EXCHANGE, JWT_BEARER, JWT_CLIENT
from leasehold.ledger.entry import EntryKind
from leasehold.model.decision import Reason, deny
from leasehold.model.request import Verdict
from served import Browser
from stage import BEN, EVA, POLICY, changed

ANY = {"ticket.get": {"ticket": ["**"]}}
PURGE = {"mail.purge": {"folder": ["in"]}}
RUN_ALONE = json.dumps([RUN | {"tenant": "acme", "environment": "prod"}])
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
BASIC = {"WWW-Authenticate": 'Basic realm="leasehold"'}


def introspected(oauth: OAuthHouse, token: object, client: str = "launcher") -> dict[str, object]:
    return said(oauth.post("/oauth/introspect", client, {"token": str(token)}))


def exchange(oauth: OAuthHouse, subject: object, grants: object = None, *, client: str = "launcher", **more: str):
    form = {"grant_type": EXCHANGE, "subject_token": str(subject), "subject_token_type": ACCESS_TOKEN}
    asked = {"authorization_details": details(grants, agent="helper", requested_by="")}
    return oauth.post("/oauth/token", client, form | asked | more)


# What anybody may know


def test_the_metadata_names_the_issuer_exactly_and_only_what_is_there(oauth: OAuthHouse) -> None:
    browser = Browser(oauth.port)
    found = json.loads(browser.get("/.well-known/oauth-authorization-server").text)
    assert found["issuer"] == oauth.origin
    assert not found["issuer"].endswith("/")
    for name in ("token_endpoint", "introspection_endpoint", "revocation_endpoint"):
        reply = oauth.post(found[name].removeprefix(oauth.origin), "", {})
        assert reply.status in (400, 401), name
    keys = json.loads(browser.get("/.well-known/jwks.json").text)["keys"]
    leases = oauth.stage.authority.engine.identity.leases
    assert [key["kid"] for key in keys] == [leases.newest.kid]
    assert found["leasehold_token_issuer"] == oauth.stage.authority.engine.identity.issuer
    for path in ("/.well-known/oauth-authorization-server/", "/.well-known/jwks.json/"):
        assert browser.get(path).status in (303, 404)


# Client credentials


@pytest.mark.requirement("L5")
def test_a_client_gets_a_lease_for_what_needs_nobody(oauth: OAuthHouse) -> None:
    found = said(oauth.token())
    assert (found["token_type"], found["expires_in"], found["scope"]) == ("Bearer", 300, "lease:desk")
    assert found["authorization_details"] == [
        {"type": "urn:leasehold:grant:1", "actions": ["ticket.get"], "constraints": {"ticket": ["T-1"]}}
    ]
    admission = oauth.stage.door().admit(str(found["access_token"]), oauth.stage.call("ticket.get"))
    assert (admission.lease_id, admission.requested_by) == (found["lease_id"], "user:ana")
    assert oauth.stage.authority.engine.run("acme", str(found["run_id"])).purpose == "answer T-1"


def test_a_scope_asks_for_all_that_the_route_offers_and_says_for_which_tool(oauth: OAuthHouse) -> None:
    asked = {"authorization_details": json.dumps([RUN])}
    refused = said(oauth.token(scope="lease:desk", **asked), 400)
    assert (refused["error"], "mail, ticket" in str(refused["error_description"])) == ("invalid_target", True)
    for named in (
        {"audience": "mail"},
        {"resource": "urn:leasehold:tool:mail"},
        {"audience": "mail", "resource": "urn:leasehold:tool:mail"},
    ):
        found = said(oauth.token(scope="lease:desk", **asked, **named))
        granted = [detail["actions"] for detail in found["authorization_details"]]
        assert (found["audience"], granted) == ("mail", [["mail.list"], ["mail.send"]])
    for named in (
        {"audience": "mai"},
        {"resource": "mail"},
        {"audience": "mail", "resource": "urn:leasehold:tool:ticket"},
    ):
        assert said(oauth.token(scope="lease:desk", **asked, **named), 400)["error"] == "invalid_target"


@pytest.mark.requirement("P9")
def test_where_people_have_to_agree_the_client_comes_back_with_the_request(oauth: OAuthHouse) -> None:
    close = {"ticket.close": {"ticket": ["T-1"]}}
    pending = said(oauth.token(grants=close), 400)
    assert (pending["error"], pending["interval"]) == ("authorization_pending", 5)
    request_id = str(pending["request_id"])
    again = {"grant_type": "client_credentials", "request_id": request_id}
    assert said(oauth.post("/oauth/token", "launcher", again), 400)["request_id"] == request_id
    assert said(oauth.post("/oauth/token", "other", again), 400)["error"] == "invalid_grant"
    request = oauth.stage.authority.find_request(request_id)
    oauth.stage.desk.answer(request, Verdict.APPROVE, oauth.stage.people.signatory(BEN))
    found = said(oauth.post("/oauth/token", "launcher", again))
    assert found["authorization_details"][0]["actions"] == ["ticket.close"]
    assert said(oauth.post("/oauth/token", "launcher", again))["lease_id"] != found["lease_id"]


def test_a_no_is_access_denied_with_the_persons_words_left_out_of_the_error(oauth: OAuthHouse) -> None:
    pending = said(oauth.token(grants={"ticket.close": {"ticket": ["T-1"]}}), 400)
    request = oauth.stage.authority.find_request(str(pending["request_id"]))
    oauth.stage.desk.answer(request, Verdict.DENY, oauth.stage.people.signatory(EVA), reason="not now")
    again = {"grant_type": "client_credentials", "request_id": request.request_id}
    refused = said(oauth.post("/oauth/token", "launcher", again), 400)
    assert (refused["error"], refused["reason"]) == ("access_denied", "approval_denied")


@pytest.mark.parametrize(
    ("client", "asked", "error"),
    [
        ("launcher", {"authorization_details": details({"ticket.nuke": {}})}, "invalid_authorization_details"),
        ("launcher", {"authorization_details": details(ANY)}, "invalid_authorization_details"),
        ("launcher", {"authorization_details": details(PURGE)}, "invalid_authorization_details"),
        ("launcher", {"authorization_details": details(purpose="")}, "invalid_request"),
        ("launcher", {"authorization_details": details(requested_by="")}, "invalid_request"),
        ("launcher", {"authorization_details": details(requested_by="\u202euser")}, "invalid_request"),
        ("launcher", {"scope": "lease:nowhere", "authorization_details": details()}, "unauthorized_client"),
        ("launcher", {"authorization_details": details(tenant="globex")}, "unauthorized_client"),
        ("launcher", {"scope": "lease:nowhere", "authorization_details": RUN_ALONE}, "unauthorized_client"),
        ("launcher", {"scope": "lease:staging", "audience": "mail", "authorization_details": RUN_ALONE},
         "unauthorized_client"),
        ("anywhere", {"scope": "lease:nowhere", "authorization_details": RUN_ALONE}, "invalid_scope"),
        ("launcher", {"grant_type": "password"}, "unsupported_grant_type"),
        ("launcher", {"grant_type": "refresh_token"}, "unsupported_grant_type"),
        ("launcher", {"grant_type": ""}, "invalid_request"),
        ("other", {"authorization_details": details()}, "invalid_request"),
        ("ticket-door", {"authorization_details": details()}, "unauthorized_client"),
        ("launcher", {"request_id": "req_1"}, "invalid_request"),
        ("launcher", {"request_id": "req_01JZ8Q5X0M3V7K2N9B4C6D8E0F"}, "invalid_grant"),
    ],
)  # fmt: skip
def test_what_cannot_be_given_is_refused_in_the_standards_words(
    oauth: OAuthHouse, client: str, asked: dict[str, str], error: str
) -> None:
    reply = oauth.post("/oauth/token", client, {"grant_type": "client_credentials", **asked})
    assert said(reply, 400)["error"] == error
    assert oauth.stage.entries(EntryKind.LEASE_ISSUED) == []


def test_a_run_whose_request_is_refused_does_not_stay_open(oauth: OAuthHouse) -> None:
    said(oauth.token(grants={"ticket.get": {"ticket": ["**"]}}), 400)
    assert oauth.stage.authority.engine.store.queries.open_runs(["acme"]) == ()


# Who asks


@pytest.mark.parametrize("path", ["/oauth/token", "/oauth/introspect", "/oauth/revoke"])
def test_who_proves_to_be_no_client_learns_nothing_and_changes_nothing(oauth: OAuthHouse, path: str) -> None:
    token = str(said(oauth.token())["access_token"])
    form = {"grant_type": "client_credentials", "authorization_details": details(), "token": token}
    before = len(oauth.stage.entries())
    secret, nameless = {"client_secret": oauth.secret("launcher")}, oauth.secret("launcher")
    for more, headers in (
        ({}, {}),
        ({"client_id": "launcher"}, {}),
        ({"client_id": "launcher", "client_secret": "wrong"}, {}),
        ({"client_id": "nobody", "client_secret": "lhk_nobody"}, {}),
        ({"client_id": "launcher", **secret}, {"Authorization": oauth.basic("launcher")}),
        ({"client_id": "launcher", **secret, "client_assertion": "x", "client_assertion_type": JWT_CLIENT}, {}),
        ({"client_id": "other"}, {"Authorization": oauth.basic("launcher")}),
        ({"client_id": "other"}, {"Authorization": f"Basic {base64.b64encode(f':{nameless}'.encode()).decode()}"}),
        ({}, {"Authorization": "Basic !!!"}),
        ({}, {"Authorization": "Basic bGF1bmNoZXI="}),
        ({}, {"Authorization": f"Bearer {token}"}),
        ({"client_assertion": oauth.workload("nobody"), "client_assertion_type": JWT_CLIENT}, {}),
    ):
        reply = oauth.post(path, "", form | more, **headers)
        found = said(reply, 401)
        assert (found["error"], reply.headers["www-authenticate"]) == ("invalid_client", 'Basic realm="leasehold"')
    assert len(oauth.stage.entries()) == before


def test_a_client_proves_itself_in_each_of_the_usual_ways(oauth: OAuthHouse) -> None:
    form = {"grant_type": "client_credentials", "authorization_details": details()}
    for more in (
        {"client_id": "launcher", "client_secret": oauth.secret("launcher")},
        {"client_assertion": oauth.workload("launcher"), "client_assertion_type": JWT_CLIENT},
    ):
        assert said(oauth.post("/oauth/token", "", form | more))["scope"] == "lease:desk"
    bearer = form | {"grant_type": JWT_BEARER, "assertion": oauth.workload("launcher")}
    assert said(oauth.post("/oauth/token", "", bearer))["scope"] == "lease:desk"
    for wrong in ({"assertion": oauth.workload("nobody")}, {"assertion": ""}):
        assert said(oauth.post("/oauth/token", "", bearer | wrong), 400)["error"] in (
            "invalid_grant",
            "invalid_request",
        )
    for beside, headers in (
        ({"client_id": "other"}, {}),
        ({}, {"Authorization": oauth.basic("other")}),
        ({}, {"Authorization": "Basic eDp5"}),
        ({"client_id": "launcher", "client_secret": "lhk_x"}, {}),
    ):
        assert oauth.post("/oauth/token", "", bearer | beside, **headers).status in (400, 401)
    assert said(oauth.post("/oauth/token", "launcher", bearer | {"client_id": "launcher"}))["scope"] == "lease:desk"
    odd = form | {"client_assertion": oauth.workload("launcher"), "client_assertion_type": "other"}
    assert said(oauth.post("/oauth/token", "", odd), 400)["error"] == "invalid_request"


@pytest.mark.case(118)
def test_a_malformed_request_is_a_4xx_in_the_one_shape(oauth: OAuthHouse) -> None:
    basic = {
        "Authorization": oauth.basic("launcher"),
        "Content-Type": "application/x-www-form-urlencoded",
    }
    browser = Browser(oauth.port)
    for body, headers in (
        (b"grant_type=a&grant_type=b", {}),
        (b"grant_type=%ff", {}),
        (b"\xff\xfe", {}),
        (b"", {}),
        (b"{}", {"Content-Type": "application/json"}),
        (b"grant_type=client_credentials&scope=" + b"x" * 20_000, {}),
    ):
        reply = browser.send("POST", "/oauth/token", body, basic | headers)
        assert reply.status in (400, 415), reply.text
        assert json.loads(reply.text)["error"] == "invalid_request"
    assert browser.get("/oauth/token").status == 405
    assert browser.send("POST", "/oauth/token", b"a" * 70_000, basic).status == 413


# Introspection and revocation


@pytest.mark.requirement("L6")
def test_introspection_answers_from_the_live_facts(oauth: OAuthHouse) -> None:
    found = said(oauth.token())
    token = found["access_token"]
    for client in ("launcher", "ticket-door"):
        active = introspected(oauth, token, client)
        assert (active["active"], active["jti"], active["aud"]) == (True, found["lease_id"], "ticket")
        assert active["authorization_details"] == found["authorization_details"]
        assert active["budget_left"]["calls"] == 20
    oauth.stage.hold("tool:ticket")
    assert introspected(oauth, token) == {"active": False}
    oauth.stage.lift("tool:ticket")
    oauth.stage.revoke(f"run:{found['run_id']}")
    assert introspected(oauth, token) == {"active": False}


@pytest.mark.case(10)
def test_a_stranger_learns_of_no_token_whether_it_is_one(oauth: OAuthHouse) -> None:
    token = said(oauth.token())["access_token"]
    for client in ("other", "mail-door"):
        assert introspected(oauth, token, client) == {"active": False}
    for text in ("x", str(token)[:-1], "e30.e30.AA", str(token) + " "):
        assert introspected(oauth, text) == {"active": False}
    assert said(oauth.post("/oauth/introspect", "launcher", {}), 400)["error"] == "invalid_request"


@pytest.mark.case(57)
def test_a_client_whose_right_was_narrowed_is_told_nothing_of_what_is_past_it(oauth: OAuthHouse) -> None:
    found = said(oauth.token())
    rule = 'routes = ["desk"], tenants = ["acme"], environments = ["prod"] }\nidentity'
    oauth.stage.accept(POLICY + changed(rule, rule.replace("acme", "globex"), CLIENTS))
    assert introspected(oauth, found["access_token"]) == {"active": False}
    for answer in (
        oauth.post("/oauth/revoke", "launcher", {"token": str(found["access_token"])}),
        oauth.post(
            "/oauth/token",
            "launcher",
            {"grant_type": "client_credentials", "request_id": str(found["request_id"])},
        ),
        exchange(oauth, found["access_token"]),
    ):
        assert said(answer, 400)["error"] == "unauthorized_client"


@pytest.mark.requirement("L6")
@pytest.mark.case(53)
def test_a_client_revokes_its_own_lease_with_all_that_hangs_on_it(oauth: OAuthHouse) -> None:
    update = {"ticket.update": {"ticket": ["T-1"]}}
    parent = said(oauth.token(grants=update))
    child = said(exchange(oauth, parent["access_token"], update))
    again = {"grant_type": "client_credentials", "request_id": str(parent["request_id"])}
    for client, token in (("other", parent["access_token"]), ("launcher", "no token")):
        assert said(oauth.post("/oauth/revoke", client, {"token": str(token)})) == {}
    assert said(oauth.post("/oauth/revoke", "ticket-door", {"token": "x"}), 400)["error"] == "unauthorized_client"
    assert introspected(oauth, parent["access_token"])["active"] is True
    assert said(oauth.post("/oauth/revoke", "launcher", {"token": str(parent["access_token"])})) == {}
    assert (
        introspected(oauth, parent["access_token"]) == introspected(oauth, child["access_token"]) == {"active": False}
    )
    assert said(oauth.post("/oauth/token", "launcher", again), 400)["reason"] == "revoked"
    entries = len(oauth.stage.entries())
    assert said(oauth.post("/oauth/revoke", "launcher", {"token": str(parent["access_token"])})) == {}
    assert len(oauth.stage.entries()) == entries
    assert {entry.person for entry in oauth.stage.entries(EntryKind.REVOKED)} == {"client:launcher"}


def test_revoking_a_token_that_has_run_out_ends_nothing(oauth: OAuthHouse) -> None:
    found = said(oauth.token())
    oauth.stage.pass_time(300)
    assert said(oauth.post("/oauth/revoke", "launcher", {"token": str(found["access_token"])})) == {}
    again = {"grant_type": "client_credentials", "request_id": str(found["request_id"])}
    assert said(oauth.post("/oauth/token", "launcher", again))["scope"] == "lease:desk"


# Token exchange


@pytest.mark.requirement("B9", "L8")
def test_an_exchange_gives_a_child_run_a_narrower_lease_and_says_who_acts_for_whom(oauth: OAuthHouse) -> None:
    parent = said(oauth.token(grants={"ticket.update": {"ticket": ["T-*"]}}))
    child = said(exchange(oauth, parent["access_token"], {"ticket.update": {"ticket": ["T-7"]}}))
    assert child["issued_token_type"] == ACCESS_TOKEN
    active = introspected(oauth, child["access_token"])
    assert (active["sub"], active["act"]) == (child["run_id"], {"sub": "helper", "act": {"sub": "bot"}})
    assert active["requested_by"] == "user:ana"
    assert "act" not in introspected(oauth, parent["access_token"])


def test_an_exchange_that_asks_for_nothing_gets_what_may_be_delegated(oauth: OAuthHouse) -> None:
    parent = said(oauth.token(grants=GET_ONE | {"ticket.tag": {"ticket": ["T-1"]}}))
    child = said(exchange(oauth, parent["access_token"], {}))
    assert [one["actions"] for one in child["authorization_details"]] == [["ticket.get"]]


@pytest.mark.requirement("B9")
@pytest.mark.case(37, 38)
def test_an_exchange_that_widens_is_refused(oauth: OAuthHouse) -> None:
    for grants in (
        {"ticket.get": {"ticket": ["T-2"]}},
        {"ticket.get": {"ticket": ["T-*"]}},
        {"ticket.update": {"ticket": ["T-1"]}},
    ):
        parent = said(oauth.token())["access_token"]
        refused = said(exchange(oauth, parent, grants), 400)
        assert (refused["error"], refused["reason"]) == ("invalid_authorization_details", "wider_than_parent")
    for run in ({"tenant": "globex"}, {"route": "solo"}, {"requested_by": "user:ben"}, {"environment": "staging"}):
        asked = {"authorization_details": details(**({"agent": "helper", "requested_by": ""} | run))}
        assert said(exchange(oauth, parent, **asked), 400)["error"] == "invalid_request"


@pytest.mark.case(53)
def test_an_exchange_of_a_dead_or_foreign_lease_is_refused(oauth: OAuthHouse) -> None:
    dead, live = said(oauth.token()), said(oauth.token())
    oauth.stage.revoke(f"lease:{dead['lease_id']}")
    for client, subject in (
        ("launcher", dead["access_token"]),
        ("launcher", "no token"),
        ("other", live["access_token"]),
        ("ticket-door", live["access_token"]),
    ):
        refused = said(exchange(oauth, subject, client=client), 400)
        assert (refused["error"], "live lease" in str(refused["error_description"])) == ("invalid_request", True)
    for more in (
        {"actor_token": "x"},
        {"request_id": str(live["request_id"])},
        {"subject_token_type": "saml2"},
        {"requested_token_type": "saml2"},
        {"subject_token": ""},
    ):
        assert said(exchange(oauth, live["access_token"], **more), 400)["error"] == "invalid_request"


def test_nobody_delegates_deeper_or_more_often_than_the_route_lets(oauth: OAuthHouse) -> None:
    token = said(oauth.token())["access_token"]
    first = said(exchange(oauth, token))
    second = said(exchange(oauth, first["access_token"]))
    deeper = said(exchange(oauth, second["access_token"]), 400)
    assert (deeper["error"], deeper["reason"]) == ("invalid_authorization_details", "no_delegation")


def test_a_run_that_gets_no_lease_at_once_does_not_stay_open(oauth: OAuthHouse) -> None:
    closed = 'hours = { days = ["sun"], from = "03:00", to = "03:01", zone = "UTC" }\nrun_ttl = "30m"'
    oauth.stage.accept(changed('run_ttl = "30m"', closed, POLICY + CLIENTS))
    assert said(oauth.token(), 400)["reason"] == "outside_hours"
    assert oauth.stage.authority.engine.store.queries.open_runs(["acme"]) == ()


@pytest.mark.parametrize(
    ("error", "word", "status"),
    [
        (StoreError("gone"), "temporarily_unavailable", 503),
        (UnavailableError("gone"), "temporarily_unavailable", 503),
        (Denied(deny(Reason.CLOCK, "it is early")), "temporarily_unavailable", 503),
        (Denied(deny(Reason.UNKNOWN_CLIENT, "who")), "invalid_client", 401),
        (RuntimeError("secret"), "server_error", 500),
    ],
)
def test_what_fails_is_told_in_the_standards_words_and_no_others(error: Exception, word: str, status: int) -> None:
    found = error_of(error)
    assert (found.error, found.status, "secret" in found.words) == (word, status, False)


def test_what_nobody_foresaw_is_answered_and_logged(oauth: OAuthHouse, caplog: pytest.LogCaptureFixture) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("xyzzy")

    oauth.stage.authority.engine.lease_keys = type("Broken", (), {"inspect": broken})()
    found = said(oauth.post("/oauth/introspect", "launcher", {"token": "x"}), 500)
    assert (found["error"], "xyzzy" in str(found), "xyzzy" in caplog.text) == ("server_error", False, True)


# People who are proven by a token of theirs


ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token"


@pytest.mark.requirement("B4")
def test_a_persons_token_of_a_trusted_issuer_proves_for_whom_a_run_is(oauth: OAuthHouse) -> None:
    token = oauth.workload("4711", name="ana")
    for kind in (ID_TOKEN, "urn:ietf:params:oauth:token-type:jwt"):
        asked = {"subject_token_type": kind, "authorization_details": details(requested_by="")}
        found = said(exchange(oauth, token, **asked))
        run = oauth.stage.authority.engine.run("acme", str(found["run_id"]))
        assert (run.requested_by, run.requester_proof) == ("user:ana", "proven")
    run = oauth.stage.authority.engine.run("acme", str(said(oauth.token())["run_id"]))
    assert (run.requested_by, run.requester_proof) == ("user:ana", "asserted")


@pytest.mark.case(1, 10)
def test_what_names_no_person_here_or_another_one_proves_nothing(oauth: OAuthHouse) -> None:
    good = oauth.workload("4711", name="ana")
    body = details(requested_by="")
    for token, asked in (
        (oauth.workload("4711"), body),
        (oauth.workload("4711", name=["ana"]), body),
        (oauth.workload("4711", name="ana b"), body),
        (oauth.workload("4711", name="ana", aud="https://elsewhere.example"), body),
        (oauth.workload("4711", name="ana", iss=f"{CI}/"), body),
        (oauth.workload("4711", name="ana", exp=1), body),
        (sign(make_key("ES256"), {"iss": CI, "aud": HERE, "sub": "x", "name": "ana", "exp": 9_999_999_999}), body),
        (str(said(oauth.token())["access_token"]), body),
        (good[:-2], body),
        (good, details(requested_by="user:ben")),
    ):
        form = {"subject_token_type": ID_TOKEN, "authorization_details": asked}
        assert said(exchange(oauth, token, **form), 400)["error"] == "invalid_request"
    people = "".join(line + "\n" for line in CLIENTS.splitlines() if not line.startswith(("client_id", "person = ")))
    unnamed = people.replace("[sign_in.company]\n" + f'issuer = "{CI}"\n', "")
    oauth.stage.accept(POLICY + unnamed)
    form = {"subject_token_type": ID_TOKEN, "authorization_details": body}
    assert said(exchange(oauth, good, **form), 400)["error"] == "invalid_request"
