"""DPoP at the token endpoint: bound tokens, and every proof that is none."""

from __future__ import annotations

import json

import pytest
from joserfc.jwk import OKPKey
from oauth_house import BACK, VERIFIER, OAuthHouse, back, code_of, details, query, said, shown

from leasehold.http.oauth.metadata import EXCHANGE
from proving import make_proof
from served import Browser, Reply
from stage import ANA

KEY, OTHER = OKPKey.generate_key("Ed25519"), OKPKey.generate_key("Ed25519")


def proof(oauth: OAuthHouse, key: OKPKey = KEY, **claims: object) -> str:
    """A proof for the token endpoint, made now, with the server's nonce, as far as nothing else is said."""
    usual = {"htm": "POST", "htu": f"{oauth.origin}/oauth/token", "iat": oauth.stage.system.now().seconds}
    return make_proof(key, **(usual | {"nonce": nonce(oauth)} | claims))


def nonce(oauth: OAuthHouse) -> str:
    """The nonce that the server asks for."""
    reply = ask(oauth, "x")
    assert said(reply, 400)["error"] == "invalid_dpop_proof"
    return reply.headers["dpop-nonce"]


def ask(oauth: OAuthHouse, text: str, client: str = "launcher", **form: str) -> Reply:
    asked = {"grant_type": "client_credentials", "authorization_details": details(), **form}
    return oauth.post("/oauth/token", client, asked, DPoP=text)


def refusal(reply: Reply) -> str:
    assert reply.headers["dpop-nonce"]
    return str(said(reply, 400)["error"])


@pytest.mark.case(11)
def test_a_token_asked_for_with_a_proof_is_bound_to_its_key(oauth: OAuthHouse) -> None:
    reply = ask(oauth, proof(oauth))
    found = said(reply)
    assert (found["token_type"], bool(reply.headers["dpop-nonce"])) == ("DPoP", True)
    for client in ("launcher", "ticket-door"):
        active = said(oauth.post("/oauth/introspect", client, {"token": str(found["access_token"])}))
        assert (active["cnf"], active["token_type"]) == ({"jkt": KEY.thumbprint()}, "DPoP")


@pytest.mark.case(11)
def test_a_proof_without_this_servers_nonce_is_asked_for_again(oauth: OAuthHouse) -> None:
    old = nonce(oauth)
    for wrong in (None, "made-up"):
        assert refusal(ask(oauth, proof(oauth, nonce=wrong))) == "use_dpop_nonce"
    oauth.stage.pass_time(600)
    assert refusal(ask(oauth, proof(oauth, nonce=old))) == "use_dpop_nonce"


@pytest.mark.case(11)
@pytest.mark.parametrize(
    "claims",
    [
        {"htm": "GET"},
        {"htu": "https://elsewhere.example/oauth/token"},
        {"htu": "http://127.0.0.1:1/oauth/token"},
        {"iat": 1},
        {"iat": 4_102_444_800},
        {"jti": None},
    ],
)
def test_a_proof_for_another_request_or_time_is_refused(oauth: OAuthHouse, claims: dict[str, object]) -> None:
    assert refusal(ask(oauth, proof(oauth, **claims))) == "invalid_dpop_proof"


@pytest.mark.case(11)
def test_a_proof_counts_once_whoever_sends_it_and_whichever_process_takes_it(oauth: OAuthHouse) -> None:
    text = proof(oauth)
    first = said(ask(oauth, text))
    oauth.stage.pass_time(1)
    for client in ("launcher", "other"):
        assert refusal(ask(oauth, text, client)) == "invalid_dpop_proof"
    assert said(ask(oauth, proof(oauth, jti="two")))["lease_id"] != first["lease_id"]
    twice = f"{proof(oauth, jti='three')}, {proof(oauth, jti='four')}"
    assert refusal(ask(oauth, twice)) == "invalid_dpop_proof"


@pytest.mark.case(11)
def test_who_proves_to_be_no_client_uses_up_no_proof(oauth: OAuthHouse) -> None:
    text = proof(oauth)
    assert said(ask(oauth, text, ""), 401)["error"] == "invalid_client"
    assert said(ask(oauth, text))["token_type"] == "DPoP"


@pytest.mark.case(11)
def test_a_bound_lease_is_exchanged_by_its_holder_alone(oauth: OAuthHouse) -> None:
    bound = str(said(ask(oauth, proof(oauth)))["access_token"])
    form = {
        "grant_type": EXCHANGE,
        "subject_token": bound,
        "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "authorization_details": details(agent="helper", requested_by=""),
    }
    for stranger in ("", proof(oauth, OTHER)):
        assert said(oauth.post("/oauth/token", "launcher", form, DPoP=stranger), 400)["error"] == "invalid_request"
    child = said(oauth.post("/oauth/token", "launcher", form, DPoP=proof(oauth, jti="two")))
    assert child["token_type"] == "DPoP"


@pytest.mark.requirement("C7")
@pytest.mark.case(11)
def test_a_guard_hands_the_proof_on_and_the_issuer_admits_the_write(oauth: OAuthHouse) -> None:
    """Another team's service admits what it was handed at the issuer, over the network, with its own credential."""
    grants = {"ticket.update": {"ticket": ["T-1"]}}
    reply = ask(oauth, proof(oauth), authorization_details=details(grants))
    bound = str(said(reply)["access_token"])
    url, now = "https://tickets.example/close", oauth.stage.system.now().seconds

    def admit(given: dict[str, str] | None) -> Reply:
        call = {
            "action": "ticket.update",
            "arguments": {"ticket_id": "T-1"},
            "admission_id": oauth.stage.door().new_admission_id(),
            "key": "k1",
        }
        body = {"token": bound, "call": call} | ({"proof": given} if given is not None else {})
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {oauth.secret('ticket-door')}"}
        return Browser(oauth.port).send("POST", "/v1/admissions", json.dumps(body).encode(), headers)

    text = make_proof(KEY, token=bound, htm="POST", htu=url, iat=now)
    stolen = make_proof(OTHER, token=bound, htm="POST", htu=url, iat=now)
    good = {"jwt": text, "method": "POST", "url": url}
    for given in (None, good | {"jwt": stolen}, good | {"url": f"{url}/other"}, good | {"method": "GET"}):
        assert json.loads(admit(given).text)["reason"] == "bad_token"
    admitted = admit(good)
    assert admitted.status == 200, admitted.text
    assert json.loads(admitted.text)["admission_id"].startswith("adm_")
    assert json.loads(admit(good).text)["reason"] == "replayed"


# Codes and proofs


def redeemed(oauth: OAuthHouse, code: str, text: str) -> Reply:
    return oauth.post(
        "/oauth/token",
        "",
        {
            "grant_type": "authorization_code",
            "client_id": "desktop",
            "code": code,
            "redirect_uri": BACK,
            "code_verifier": VERIFIER,
        },
        DPoP=text,
    )


@pytest.mark.case(11, 118)
def test_a_client_without_a_credential_and_without_a_code_writes_nothing_down(oauth: OAuthHouse) -> None:
    text = proof(oauth)
    for code in ("x", "x.y"):
        assert said(redeemed(oauth, code, text), 400)["error"] == "invalid_grant"
    assert said(ask(oauth, text))["token_type"] == "DPoP"  # nobody has used it


@pytest.mark.case(11, 110)
def test_a_code_asked_for_with_a_key_is_redeemed_by_its_holder_alone(oauth: OAuthHouse) -> None:
    """RFC 9449, section 10: who steals code and verifier has no use of them."""
    code = code_of(oauth, dpop_jkt=KEY.thumbprint())
    for text in ("", proof(oauth, OTHER)):
        assert said(redeemed(oauth, code, text), 400)["error"] == "invalid_grant"
    assert said(redeemed(oauth, code, proof(oauth)))["token_type"] == "DPoP"
    for wrong in ("x", KEY.thumbprint() + "="):
        answer = back(shown(oauth.signed_in(ANA), query(dpop_jkt=wrong)))
        assert answer["error"] == "invalid_request"
