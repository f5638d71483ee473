"""`[clients]`: programs that may call over the network, in the policy; closed, reviewed and diffed like the rest."""

from __future__ import annotations

import json

import pytest
from policy_worlds import EXAMPLE, changed, line_of, load

from leasehold.errors import ConfigError
from leasehold.policy.client_rule import ANYTHING, ClientRule, DoorRight, RunsRight, WorkloadIdentity
from leasehold.policy.diff import diff
from leasehold.policy.document import Policy
from leasehold.policy.excerpt import excerpt
from leasehold.policy.explain import laxer_rules

IDENTITY = """identity = { issuer = "https://token.example", claims = { sub = "repo:acme/app:ref:refs/heads/main" } }
"""
CLIENTS = """
[issuers."https://token.example"]
audience = "https://lease.example"
[clients."ci-launcher"]
runs = { agents = ["release-bot"], routes = ["ci/deploy"], tenants = ["acme"], environments = ["staging"] }
identity = { issuer = "https://token.example", claims = { sub = "repo:acme/app:ref:refs/heads/main" } }
[clients."ticket-door"]
door = { tool = "ticket", environment = "prod" }
"""
TEXT = EXAMPLE.replace("[[tests]]", CLIENTS + "\n[[tests]]", 1)
RUNS = RunsRight(agents=("release-bot",), routes=("ci/deploy",), tenants=("acme",), environments=("staging",))


def test_clients_are_read_as_they_are_written() -> None:
    policy = load(TEXT)
    assert policy.clients == {
        "ci-launcher": ClientRule(
            name="ci-launcher",
            runs=RUNS,
            identity=WorkloadIdentity(
                issuer="https://token.example", claims={"sub": "repo:acme/app:ref:refs/heads/main"}
            ),
        ),
        "ticket-door": ClientRule(name="ticket-door", door=DoorRight(tool="ticket", environment="prod")),
    }
    assert Policy.from_json(policy.to_json()) == policy
    assert policy.hash != load(EXAMPLE).hash


REFUSED = {
    "key": ("door = {", "doors = {", "doors = {", 'did you mean "door"?'),
    "both": ("door = {", "runs = {}\ndoor = {", '[clients."ticket-door"]', "needs either runs or door"),
    "neither": ('door = { tool = "ticket", environment = "prod" }\n', "", '[clients."ticket-door"]', "either"),
    "name": ('[clients."ticket-door"]', '[clients."ticket door"]', '[clients."ticket door"]', "is not a name"),
    "no tool": ('tool = "ticket", ', "", "door = {", 'needs "tool"'),
    "door key": ('tool = "ticket", env', 'tol = "x", tool = "ticket", env', "door = {", 'unknown key "tol"'),
    "no agents": ('agents = ["release-bot"], routes', "agents = [], routes", "runs = {", "is empty"),
    "runs without tenants": (
        '["ci/deploy"], tenants = ["acme"], env',
        '["ci/deploy"], env',
        "runs = {",
        'needs "tenants"',
    ),
    "runs key": ("runs = { agents", "runs = { agent = 1, agents", "runs = {", 'did you mean "agents"?'),
    "route": ('routes = ["ci/deploy"]', 'routes = ["ci/deplyo"]', "runs = {", 'did you mean "ci/deploy"?'),
    "no claims": (
        'claims = { sub = "repo:acme/app:ref:refs/heads/main" }',
        "claims = {}",
        "identity = {",
        "every token of that issuer would do",
    ),
    "claim as number": ('sub = "repo:acme/app:ref:refs/heads/main"', "sub = 1", "identity = {", "must be a text"),
    "claim name": ("{ sub = ", '{ "s b" = ', "identity = {", "is not a name"),
    "another issuer": (
        'issuer = "https://token.example"',
        'issuer = "https://token.example/"',
        "identity = {",
        "is no issuer",
    ),
    "no issuer": ('issuer = "https://token.example", ', "", "identity = {", 'needs "issuer"'),
    "identity key": ("identity = { issuer", "identity = { aud = 1, issuer", "identity = {", "unknown key"),
}


ADDRESSED = {
    "not https": "http://app.example/back",
    "a fragment": "https://app.example/back#x",
    "somebody in it": "https://app.example@evil.example/back",
    "no host": "https:///back",
    "another scheme": "javascript:alert(1)",
    "a name for loopback": "http://localhost:7777/back",
    "hidden": "https://app.example/\u202e",
    "no address": "https://[",
}


@pytest.mark.case(110)
@pytest.mark.parametrize("name", ADDRESSED)
def test_an_address_that_a_browser_must_not_be_sent_to_is_refused(name: str) -> None:
    text = TEXT.replace("identity = {", f"redirects = [{json.dumps(ADDRESSED[name])}]\nidentity = {{", 1)
    with pytest.raises(ConfigError, match="redirects"):
        load(text)


def test_addresses_for_browsers_are_for_clients_that_start_runs() -> None:
    redirects = 'redirects = ["https://app.example/back", "http://127.0.0.1:7777/", "http://[::1]/b"]\n'
    found = load(TEXT.replace("identity = {", f"{redirects}identity = {{", 1)).clients["ci-launcher"]
    assert found.redirects == ("http://127.0.0.1:7777/", "http://[::1]/b", "https://app.example/back")
    with pytest.raises(ConfigError, match="no person consents"):
        load(TEXT.replace("door = {", f"{redirects}door = {{", 1))


@pytest.mark.parametrize("name", REFUSED)
def test_client_that_cannot_be_meant_is_refused_at_its_line(name: str) -> None:
    old, new, at, words = REFUSED[name]
    text = changed(old, new, TEXT)
    with pytest.raises(ConfigError) as refused:
        load(text)
    assert words in str(refused.value)
    assert refused.value.line == line_of(at, text)


def test_every_route_may_be_meant() -> None:
    assert load(changed('routes = ["ci/deploy"]', 'routes = ["*"]', TEXT)).clients["ci-launcher"].runs


CHANGED = {
    "an agent more": ('agents = ["release-bot"], routes', 'agents = ["release-bot", "x"], routes', True),
    "an agent less": ('agents = ["release-bot"], routes', 'agents = ["x"], routes', True),
    "any tenant": ('["ci/deploy"], tenants = ["acme"]', '["ci/deploy"], tenants = ["*"]', True),
    "another door": ('tool = "ticket", env', 'tool = "mail", env', True),
    "another claim": ("refs/heads/main", "refs/heads/next", True),
    "no identity": (IDENTITY, "", False),
    "an address": ("identity = {", 'redirects = ["https://app.example/back"]\nidentity = {', True),
    "a client gone": ('[clients."ticket-door"]\ndoor = { tool = "ticket", environment = "prod" }\n', "", False),
}


@pytest.mark.parametrize("name", CHANGED)
def test_changed_client_is_listed_and_more_of_it_widens(name: str) -> None:
    old, new, widens = CHANGED[name]
    changes = diff(load(TEXT), load(changed(old, new, TEXT)))
    assert changes
    assert all(change.subject.startswith("clients") for change in changes)
    assert any(change.widens for change in changes) is widens


def test_new_client_widens_and_a_client_that_is_taken_out_does_not() -> None:
    added, removed = diff(load(EXAMPLE), load(TEXT)), diff(load(TEXT), load(EXAMPLE))
    assert {change.after for change in added if change.subject == "clients"} == {"ci-launcher", "ticket-door"}
    assert all(change.widens for change in added if change.subject.startswith("clients"))
    assert not any(change.widens for change in removed)
    assert len(added) == len(removed)


def test_less_of_any_narrows() -> None:
    wide = changed('agents = ["release-bot"], routes', 'agents = ["*"], routes', TEXT)
    assert [change.widens for change in diff(load(wide), load(TEXT))] == [False, False]


def test_client_that_may_start_anything_of_a_kind_is_called_lax() -> None:
    wide = changed('agents = ["release-bot"], routes', 'agents = ["*"], routes', TEXT)
    usual = laxer_rules(load(TEXT))
    (lax,) = [rule for rule in laxer_rules(load(wide)) if rule not in usual]
    assert (lax.rule, lax.actual) == ('clients."ci-launcher".runs.agents', ANYTHING)


@pytest.mark.parametrize(
    ("routes", "tenants", "seen"),
    [
        ((), (), set()),
        ((), ("acme",), {"ticket-door"}),
        (("ci/deploy",), ("acme",), {"ticket-door", "ci-launcher"}),
        (("ci/deploy",), ("globex",), {"ticket-door"}),
    ],
)
def test_people_of_some_tenants_see_the_clients_that_concern_them(
    routes: tuple[str, ...], tenants: tuple[str, ...], seen: set[str]
) -> None:
    assert set(excerpt(load(TEXT), routes, tenants).clients) == seen


def test_right_names_what_it_lacks() -> None:
    values = {"agents": "release-bot", "routes": "ci/deploy", "tenants": "acme", "environments": "staging"}
    assert RUNS.failing(values) is None
    for name in values:
        assert RUNS.failing({**values, name: "other"}) == name
