"""Trusted issuers over real connections: whose keys are fetched from where, how long they count, what is refused."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest

from issuer import Issuer, key_set, make_key, serving, tls
from leasehold.errors import TokenError, UnavailableError
from leasehold.http.issuer_source import FRESH_SECONDS, LAST_SECONDS, RETRY_SECONDS, Wire
from leasehold.http.issuers import IssuerClaims, Issuers
from leasehold.policy.document import LISTED, IssuerRule
from leasehold.testing.clock import FrozenSystem
from leasehold.token.codes import TokenCode

US = "https://lease.acme.example"
HERE = ("127.0.0.0/8",)
DISCOVERED = ["/.well-known/openid-configuration", "/jwks"]


class Desk:
    """Trusted issuers at a clock that stands still."""

    def __init__(self, *rules: IssuerRule, wire: Wire | None = None) -> None:
        self.system = FrozenSystem()
        self.rules = {rule.issuer: rule for rule in rules}
        self.issuers = Issuers(lambda: self.rules, self.system, wire)

    def claims(self, **more: Any) -> dict[str, Any]:
        now = self.system.now().seconds
        return {"sub": "somebody", "aud": US, "iat": now, "exp": now + 300, **more}

    def verify(self, token: str) -> IssuerClaims:
        return asyncio.run(self.issuers.verify(token))

    def refused(self, token: str) -> str:
        with pytest.raises(TokenError) as caught:
            self.verify(token)
        return caught.value.code


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with serving(Issuer()) as found:
        yield found


def rule(issuer: Issuer, **more: Any) -> IssuerRule:
    return IssuerRule(**{"issuer": issuer.url, "audience": US, "networks": HERE, **more})


# Shapes of tokens that are in use.


@pytest.mark.parametrize(
    ("algorithm", "header", "claims"),
    [
        (
            "RS256",
            {"x5t": "ykNaY4qM_ta4k2TgZOCEYLkcYlA"},
            {
                "sub": "repo:acme/app:ref:refs/heads/main",
                "jti": "example-id",
                "environment": "prod",
                "ref": "refs/heads/main",
                "sha": "example-sha",
                "repository": "acme/app",
                "repository_owner": "acme",
                "actor_id": "12",
                "repository_visibility": "private",
                "repository_id": "74",
                "run_id": "example-run-id",
                "run_attempt": "2",
                "runner_environment": "github-hosted",
                "job_workflow_ref": "acme/workflows/.github/workflows/release.yml@refs/heads/main",
            },
        ),
        (
            "RS256",
            {"typ": None},
            {
                "aud": [US],
                "sub": "system:serviceaccount:agents:release-bot",
                "jti": "a7b1e2a2-4a75-4a5a-9d9f-3f3b2ad0e9a1",
                "kubernetes.io": {
                    "namespace": "agents",
                    "node": {"name": "127.0.0.1", "uid": "58456cb0-dd00-45ed-b797-5578fdceaced"},
                    "pod": {"name": "release-bot-69cbfb9798-jv9gn", "uid": "778a530c-b3f4-47c0-9cd5-ab018fb64f33"},
                    "serviceaccount": {"name": "release-bot", "uid": "a087d5a0-e1dd-43ec-93ac-f13d89cd13af"},
                },
            },
        ),
        ("ES256", {"typ": "JOSE"}, {"aud": [US], "sub": "spiffe://acme.example/agents/release-bot", "iat": None}),
    ],
    ids=["github", "kubernetes", "spiffe"],
)
def test_tokens_as_github_kubernetes_and_spiffe_write_them_are_taken(
    algorithm: str, header: dict[str, Any], claims: dict[str, Any]
) -> None:
    with serving(Issuer(keys=[make_key(algorithm)])) as issuer:
        desk = Desk(rule(issuer))
        said = {name: value for name, value in desk.claims(**claims).items() if value is not None}
        found = desk.verify(issuer.sign(said, **header))
    assert (found.issuer, found.subject) == (issuer.url, claims["sub"])
    assert found.claims == {"iss": issuer.url, **said}
    assert issuer.asked == DISCOVERED


def test_keys_come_over_tls_that_proves_the_name() -> None:
    server, client = tls()

    async def local(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.1"]

    with serving(Issuer(), server) as issuer:
        assert issuer.url.startswith("https://localhost:")
        desk = Desk(rule(issuer), wire=Wire(local, client))
        assert desk.verify(issuer.sign(desk.claims())).subject == "somebody"
        stranger = Desk(rule(issuer), wire=Wire(local, tls()[1]))
        with pytest.raises(UnavailableError, match="certificate was not accepted"):
            stranger.verify(issuer.sign(stranger.claims()))


def test_keys_may_stand_at_an_address_of_their_own_or_in_the_policy_itself(issuer: Issuer) -> None:
    desk = Desk(rule(issuer, keys=f"{issuer.url}/jwks"))
    assert desk.verify(issuer.sign(desk.claims())).subject == "somebody"
    assert issuer.asked == ["/jwks"]
    listed = tuple(sorted((name, str(value)) for name, value in issuer.keys[0].as_dict(private=False).items()))
    desk = Desk(rule(issuer, keys=LISTED, listed=(listed,), networks=()))
    assert desk.verify(issuer.sign(desk.claims())).subject == "somebody"
    assert issuer.asked == ["/jwks"]


# Whose tokens count.


def test_a_token_of_an_issuer_that_the_policy_does_not_name_is_refused_without_asking_anybody(issuer: Issuer) -> None:
    desk = Desk()
    assert desk.refused(issuer.sign(desk.claims())) == TokenCode.ISSUER
    assert issuer.asked == []


@pytest.mark.parametrize("change", [lambda url: url + "/", lambda url: url.replace("http", "HTTP")])
def test_the_name_of_an_issuer_is_compared_exactly(issuer: Issuer, change: Callable[[str], str]) -> None:
    desk = Desk(rule(issuer))
    assert desk.refused(issuer.sign(desk.claims(iss=change(issuer.url)))) == TokenCode.ISSUER
    other = Desk(rule(Issuer(url=issuer.url + "/")))
    with pytest.raises(UnavailableError, match="about another issuer"):
        other.verify(issuer.sign(other.claims(iss=issuer.url + "/")))


def test_an_issuer_with_a_last_slash_is_itself() -> None:
    issuer = Issuer()
    with serving(issuer):
        issuer.url += "/"
        issuer.pages["/.well-known/openid-configuration"] = lambda: (
            200,
            {},
            json.dumps({"issuer": issuer.url, "jwks_uri": f"{issuer.url}jwks"}).encode(),
        )
        desk = Desk(rule(issuer))
        assert desk.verify(issuer.sign(desk.claims())).issuer == issuer.url
        assert desk.refused(issuer.sign(desk.claims(iss=issuer.url[:-1]))) == TokenCode.ISSUER


def test_one_issuer_cannot_speak_for_another() -> None:
    with serving(Issuer()) as first, serving(Issuer()) as second:
        desk = Desk(rule(first), rule(second))
        assert desk.verify(first.sign(desk.claims())).issuer == first.url
        assert desk.refused(first.sign(desk.claims(iss=second.url))) == TokenCode.SIGNATURE


def test_an_issuer_that_was_taken_out_or_got_another_audience_counts_at_once(issuer: Issuer) -> None:
    desk = Desk(rule(issuer))
    token = issuer.sign(desk.claims())
    assert desk.verify(token).subject == "somebody"
    desk.rules[issuer.url] = rule(issuer, audience="https://other.example")
    assert desk.refused(token) == TokenCode.AUDIENCE
    desk.rules.clear()
    assert desk.refused(token) == TokenCode.ISSUER


# How long keys count.


def test_keys_are_kept_and_asked_for_again_after_ten_minutes(issuer: Issuer) -> None:
    desk = Desk(rule(issuer))
    for _ in range(3):
        desk.verify(issuer.sign(desk.claims()))
    assert issuer.asked == DISCOVERED
    desk.system.advance(seconds=FRESH_SECONDS)
    issuer.keys[:] = [make_key(kid="two")]
    assert desk.verify(issuer.sign(desk.claims())).subject == "somebody"
    assert issuer.asked == DISCOVERED * 2


def test_a_key_that_is_new_is_asked_for_but_strangers_cannot_make_us_ask_often(issuer: Issuer) -> None:
    desk = Desk(rule(issuer))
    desk.verify(issuer.sign(desk.claims()))
    old = issuer.sign(desk.claims())
    issuer.keys.append(make_key(kid="two"))
    assert desk.refused(issuer.sign(desk.claims())) == TokenCode.UNKNOWN_KEY  # asked a moment ago
    desk.system.advance(seconds=RETRY_SECONDS)
    assert desk.verify(issuer.sign(desk.claims())).subject == "somebody"
    assert issuer.asked == DISCOVERED * 2
    for number in range(20):
        assert desk.refused(issuer.sign(desk.claims(), kid=f"made-up-{number}")) == TokenCode.UNKNOWN_KEY
    assert issuer.asked == DISCOVERED * 2
    assert desk.verify(old).subject == "somebody"
    issuer.keys[:] = issuer.keys[1:]
    desk.system.advance(seconds=RETRY_SECONDS)
    assert desk.refused(issuer.sign(desk.claims(), kid="made-up")) == TokenCode.UNKNOWN_KEY
    assert desk.refused(old) == TokenCode.UNKNOWN_KEY  # withdrawn


def test_of_an_issuer_that_is_down_the_last_keys_count_for_an_hour_and_then_nothing(issuer: Issuer) -> None:
    desk = Desk(rule(issuer))
    desk.verify(issuer.sign(desk.claims()))
    issuer.pages = {path: lambda: (503, {}, b"") for path in DISCOVERED}
    desk.system.advance(seconds=LAST_SECONDS - 1)
    for _ in range(5):
        assert desk.verify(issuer.sign(desk.claims())).subject == "somebody"
    assert len(issuer.asked) == 3
    desk.system.advance(seconds=1)
    with pytest.raises(UnavailableError, match="it answered 503; nothing of it counts"):
        desk.verify(issuer.sign(desk.claims()))
    issuer.pages.clear()
    desk.system.advance(seconds=RETRY_SECONDS)
    assert desk.verify(issuer.sign(desk.claims())).subject == "somebody"


def test_a_wall_clock_that_jumps_makes_no_key_count_longer(issuer: Issuer) -> None:
    desk = Desk(rule(issuer))
    desk.verify(issuer.sign(desk.claims()))
    issuer.pages = {path: lambda: (503, {}, b"") for path in DISCOVERED}
    desk.system.advance(seconds=LAST_SECONDS)
    desk.system.jump(seconds=-LAST_SECONDS)
    with pytest.raises(UnavailableError):
        desk.verify(issuer.sign(desk.claims()))


def test_many_tokens_at_once_ask_once(issuer: Issuer) -> None:
    desk = Desk(rule(issuer))
    token = issuer.sign(desk.claims())

    async def all_at_once() -> list[IssuerClaims]:
        return list(await asyncio.gather(*(desk.issuers.verify(token) for _ in range(20))))

    assert len(asyncio.run(all_at_once())) == 20
    assert issuer.asked == DISCOVERED


# What an issuer may not answer.

Page = tuple[int, Mapping[str, str], bytes]


@pytest.mark.case(33)
@pytest.mark.parametrize(
    ("path", "page", "message"),
    [
        (0, (302, {"location": "/jwks"}, b""), "it answered 302"),
        (0, (200, {}, b""), "empty, or too long"),
        (0, (200, {}, b"[" + b" " * 70_000 + b"]"), "empty, or too long"),
        (0, (200, {}, b"<html>"), "not JSON"),
        (0, (200, {}, b"[]"), "about another issuer"),
        (0, (200, {}, b'{"issuer": "https://other.example", "jwks_uri": "https://other.example"}'), "another issuer"),
        (1, (301, {"location": "http://169.254.169.254/"}, b""), "it answered 301"),
        (1, (404, {}, b""), "it answered 404"),
        (1, (200, {}, b'{"keys": []}'), "holds no"),
        (1, (200, {}, json.dumps({"keys": [make_key().as_dict(private=True)]}).encode()), "private key"),
    ],
)
def test_an_answer_that_is_no_plain_document_counts_for_nothing(
    issuer: Issuer, path: int, page: Page, message: str
) -> None:
    issuer.pages[DISCOVERED[path]] = lambda: page
    desk = Desk(rule(issuer))
    with pytest.raises(UnavailableError, match=message):
        desk.verify(issuer.sign(desk.claims()))


@pytest.mark.case(33)
@pytest.mark.parametrize(
    ("uri", "message"),
    [
        (None, "names no jwks_uri"),
        (7, "names no jwks_uri"),
        ("file:///etc/passwd", "no address"),
        ("http://169.254.169.254/latest/meta-data", "not public"),
        ("http://10.0.0.1/jwks", "not public"),
        ("https://[::1]/jwks", "not public"),
        ("http://user@127.0.0.1/jwks", "no address"),
    ],
)
def test_a_document_cannot_lead_us_inwards_or_elsewhere(issuer: Issuer, uri: object, message: str) -> None:
    document = {"issuer": issuer.url, "jwks_uri": uri}
    issuer.pages[DISCOVERED[0]] = lambda: (200, {}, json.dumps(document).encode())
    desk = Desk(rule(issuer))
    with pytest.raises(UnavailableError, match=message):
        desk.verify(issuer.sign(desk.claims()))


@pytest.mark.case(33)
def test_without_listed_networks_neither_this_machine_nor_plain_http_is_asked(issuer: Issuer) -> None:
    desk = Desk(rule(issuer, networks=()))
    with pytest.raises(UnavailableError, match="write https://"):
        desk.verify(issuer.sign(desk.claims()))
    secure = Issuer(url=f"https://127.0.0.1:{issuer.port}", keys=issuer.keys)
    desk = Desk(rule(secure, networks=()))
    with pytest.raises(UnavailableError, match="not public"):
        desk.verify(secure.sign(desk.claims()))
    assert issuer.asked == []


def test_an_issuer_that_does_not_answer_in_time_is_given_up(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("leasehold.http.issuer_source._FETCH_SECONDS", 0.05)

    async def never(host: str, port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    desk = Desk(rule(issuer), wire=Wire(never))
    with pytest.raises(UnavailableError, match="did not answer in time"):
        desk.verify(issuer.sign(desk.claims()))


def test_an_issuer_of_which_nothing_was_heard_a_moment_ago_is_not_asked_again_at_once(issuer: Issuer) -> None:
    issuer.pages["/jwks"] = lambda: (500, {}, b"")
    desk = Desk(rule(issuer))
    for _ in range(3):
        with pytest.raises(UnavailableError, match="it answered 500"):
            desk.verify(issuer.sign(desk.claims()))
    assert issuer.asked == DISCOVERED
    issuer.pages["/jwks"] = lambda: (200, {}, key_set(*issuer.keys))
    desk.system.advance(seconds=RETRY_SECONDS)
    assert desk.verify(issuer.sign(desk.claims())).subject == "somebody"
