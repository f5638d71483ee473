"""What clients gain by a changed policy, against brute force: every start of a small universe under both policies."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from policy_worlds import EXAMPLE, load

from leasehold.policy.client_rule import ClientRule, DoorRight, RunsRight, WorkloadIdentity
from leasehold.policy.diff import diff
from leasehold.policy.document import Delegation, IssuerRule, Policy, Route
from leasehold.policy.evaluate import check_start
from leasehold.policy.identities import client_of
from leasehold.policy.programs import RunsGain, TrustGain, TrustKind, client_gains, startable
from leasehold.policy.telling import client_gain_words, startable_words
from leasehold.policy.widening import widened_keys, widening_digest

CLIENT, ISSUER = "ci", "https://token.example"
ROUTES, AGENTS, TENANTS, PLACES = ("build", "ship"), ("bot", "helper"), ("acme", "globex"), ("dev", "prod")
UNIVERSE = tuple(
    itertools.product(ROUTES, (*AGENTS, "new"), (*TENANTS, "new"), (*PLACES, "new"), (False, True))
)  # with a name each that only "*" lets through

Started = tuple[str, str, str, str, bool]


def lists(names: tuple[str, ...]) -> st.SearchStrategy[tuple[str, ...]]:
    """Some of the names, or any."""
    some = st.sets(st.sampled_from(names), min_size=1).map(lambda found: tuple(sorted(found)))
    return st.one_of(st.just(("*",)), some)


SUBS, REFS = ("a", "b", ""), ("main", "x", "")
TOKENS = tuple(
    {name: value for name, value in (("sub", sub), ("ref", ref)) if value} for sub, ref in itertools.product(SUBS, REFS)
)
IDENTITIES = st.sampled_from([None, *(WorkloadIdentity(issuer=ISSUER, claims=claims) for claims in TOKENS if claims)])


@st.composite
def clients(draw: st.DrawFn) -> dict[str, ClientRule]:
    """Maybe the client, and maybe another whose tokens may be its own."""
    found = {}
    if draw(st.booleans()):
        door = DoorRight(tool=draw(st.sampled_from("ab")), environment="prod")
        found["gate"] = ClientRule(name="gate", door=door, identity=draw(IDENTITIES))
    if not draw(st.booleans()):
        return found
    runs = RunsRight(
        agents=draw(lists(AGENTS)),
        routes=draw(lists(ROUTES)),
        tenants=draw(lists(TENANTS)),
        environments=draw(lists(PLACES)),
    )
    addresses = tuple(sorted(draw(st.sets(st.sampled_from(["https://a.example", "https://b.example"])))))
    return {**found, CLIENT: ClientRule(name=CLIENT, runs=runs, redirects=addresses, identity=draw(IDENTITIES))}


@st.composite
def routes(draw: st.DrawFn) -> dict[str, Route]:
    return {
        name: Route(
            name=name,
            agents=draw(lists(AGENTS)),
            tenants=draw(lists(TENANTS)),
            environments=draw(lists(PLACES)),
            delegation=Delegation(depth=draw(st.integers(0, 1)), children=draw(st.integers(0, 1))),
            allow={},
        )
        for name in draw(st.sets(st.sampled_from(ROUTES)))
    }


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Policy, Policy]:
    """Two policies, of which the second keeps some parts of the first."""
    old, new = (
        Policy(
            version=1,
            authority="test",
            routes=draw(routes()),
            clients=draw(clients()),
            issuers={ISSUER: IssuerRule(issuer=ISSUER, audience=draw(st.sampled_from("xy")))},
        )
        for _ in range(2)
    )
    return old, replace(new, **{part: getattr(old, part) for part in draw(st.sets(st.sampled_from(PARTS)))})


PARTS = ("routes", "clients", "issuers")


def starts(policy: Policy) -> set[Started]:
    """What of the universe the client may start, by the functions that `decide` asks."""
    rule = policy.clients.get(CLIENT)
    right = rule.runs if rule is not None else None
    return {each for each in UNIVERSE if right is not None and may_start(policy, right, each)}


def may_start(policy: Policy, right: RunsRight, started: Started) -> bool:
    name, agent, tenant, place, is_child = started
    route = policy.routes.get(name)
    values = {"agents": agent, "routes": name, "tenants": tenant, "environments": place}
    if route is None or right.failing(values) is not None:
        return False
    agents = [agent]
    if is_child:  # of a run of some agent that the client may start
        agents = [each for each in (*AGENTS, "new") if right.failing({**values, "agents": each}) is None]
        if not (route.delegation.depth and route.delegation.children):
            return False
    return any(
        check_start(policy, route=name, agent=each, tenant=tenant, environment=place).is_allowed for each in agents
    )


def is_about(gain: RunsGain, started: Started) -> bool:
    name, agent, tenant, place, is_child = started
    runs = gain.runs
    named = ((agent, runs.agents), (tenant, runs.tenants), (place, runs.environments))
    return (runs.route, runs.is_child) == (name, is_child) and all(
        each in names or names == ("*",) for each, names in named
    )


@pytest.mark.requirement("P7")
@settings(max_examples=50)
@given(pairs())
def test_each_run_that_a_client_may_start_anew_is_listed_and_each_item_has_one(pair: tuple[Policy, Policy]) -> None:
    old, new = pair
    gained = starts(new) - starts(old)
    items = [gain for gain in client_gains(old, new) if isinstance(gain, RunsGain)]
    for started in gained:
        assert any(is_about(item, started) for item in items), started
    for item in items:
        assert any(is_about(item, started) for started in gained), item
    assert client_gains(new, new) == []


@pytest.mark.requirement("P7")
@settings(max_examples=50)
@given(pairs())
def test_what_a_client_gains_is_always_a_widening_and_part_of_what_a_second_person_confirms(
    pair: tuple[Policy, Policy],
) -> None:
    old, new = pair
    if gained := client_gains(old, new):
        assert widened_keys(old, new)
        assert widening_digest(old, new) != widening_digest(new, new)
    assert (diff(old, new) == []) == (old.hash == new.hash)
    assert all(client_gain_words(gain).startswith(("client ci: ", "client gate: ")) for gain in gained)
    known = {gain.client for gain in gained if isinstance(gain, TrustGain) and gain.kind is TrustKind.IDENTITY}
    for client in ("ci", "gate"):
        is_gained = any(names(new, token) == client != names(old, token) for token in TOKENS)
        is_other_issuer = old.issuers != new.issuers and client in new.clients
        assert (client in known) is is_gained or (is_other_issuer and client in known)


def names(policy: Policy, token: dict[str, str]) -> str:
    """Whose a token is."""
    found = client_of(policy, ISSUER, token)
    return found.name if found is not None else ""


CLIENTS = """
[issuers."https://token.example"]
audience = "https://lease.example"
[clients.ci]
runs = { agents = ["release-bot"], routes = ["*"], tenants = ["acme"], environments = ["*"] }
identity = { issuer = "https://token.example", claims = { sub = "main", ref = "x" } }
[clients.door]
door = { tool = "ticket", environment = "prod" }
"""
TEXT = EXAMPLE.replace("[[tests]]", CLIENTS + "\n[[tests]]", 1)
ON_DEPLOY = "on ci/deploy, for agents release-bot; tenants acme; environments"
ON_MIGRATE = "may start runs on db/migrate, for agents"
RUNS = 'runs = { agents = ["*"], routes = ["ci/deploy"], tenants = ["*"], environments = ["*"] }'
TOKEN = "is whoever has a token of https://token.example"
BEFORE = "(before: https://token.example: ref = x, sub = main)"

EDITS = {
    "a client": (
        "[clients.door]",
        "[clients.gate]",
        'gate: stands at the door of ticket in prod for every tenant; rule clients."gate".door',
    ),
    "a client that starts runs": (
        "[clients.door]",
        f"[clients.other]\n{RUNS}\n[clients.door]",
        f'other: may start runs {ON_DEPLOY} staging; rule clients."other"',
    ),
    "an agent of its rule": (
        'agents = ["release-bot"], routes',
        'agents = ["release-bot", "migrator"], routes',
        f'ci: {ON_MIGRATE} migrator; tenants acme; environments prod; rule clients."ci".runs.agents',
    ),
    "an agent of the route": (
        '{ agents = ["migrator"]',
        '{ agents = ["migrator", "release-bot"]',
        f'ci: {ON_MIGRATE} release-bot; tenants acme; environments prod; rule routes."db/migrate".for.agents',
    ),
    "child runs": (
        "replicas = { max = 3 } }\n",
        "replicas = { max = 3 } }\ndelegation = { depth = 1, children = 1, actions = [] }\n",
        f'ci: may start child runs {ON_DEPLOY} staging; rule routes."ci/deploy".delegation',
    ),
    "an environment": (
        'environments = ["staging"]',
        'environments = ["staging", "prod"]',
        f'ci: may start runs {ON_DEPLOY} prod; rule routes."ci/deploy".for.environments',
    ),
    "another door": (
        'door = { tool = "ticket"',
        'door = { tool = "db"',
        'door: stands at the door of db in prod for every tenant (before: ticket in prod); rule clients."door".door',
    ),
    "from door to runs": (
        'door = { tool = "ticket", environment = "prod" }',
        RUNS,
        f'door: may start runs {ON_DEPLOY} staging; rule clients."door".runs',
    ),
    "a claim less": (
        ', ref = "x"',
        "",
        f'ci: {TOKEN}: sub = main {BEFORE}; rule clients."ci".identity',
    ),
    "another audience": (
        'audience = "https://lease.example"',
        'audience = "other"',
        f'ci: {TOKEN}: ref = x, sub = main; rule issuers."https://token.example"',
    ),
    "an address": (
        "identity = {",
        'redirects = ["https://app.example/back"]\nidentity = {',
        "ci: has browsers sent back to https://app.example/back with what a person consented to; "
        'rule clients."ci".redirects',
    ),
}
BOTH_WAYS = ("a client", "another door", "from door to runs", "another audience")


@pytest.mark.requirement("P7")
@pytest.mark.parametrize("name", EDITS)
def test_an_edit_says_what_a_client_gains_and_by_which_rule(name: str) -> None:
    old, new, words = EDITS[name]
    assert old in TEXT
    before, after = load(TEXT), load(TEXT.replace(old, new, 1))
    assert f"client {words}" in map(client_gain_words, client_gains(before, after))
    assert (client_gains(after, before) == []) is (name not in BOTH_WAYS)


@pytest.mark.requirement("P7")
def test_a_claim_more_narrows() -> None:
    assert [change.widens for change in diff(load(TEXT.replace(', ref = "x"', "", 1)), load(TEXT))] == [False]


MORE = """
[routes.more]
for = { agents = ["release-bot"], tenants = ["acme"], environments = ["dev"] }
allow."db.query" = { table = ["t"], rows = { max = 5 } }
"""


@pytest.mark.requirement("P7")
def test_a_route_that_a_client_gains_is_owed_to_its_own_rule_or_to_a_route_that_is_new() -> None:
    narrow, new = TEXT.replace('routes = ["*"]', 'routes = ["db/migrate"]', 1), load(TEXT + MORE)
    for old, rule in ((narrow + MORE, 'clients."ci".runs.routes'), (TEXT, 'routes."more"')):
        gained = {gain.runs.route: gain.rule for gain in client_gains(load(old), new) if isinstance(gain, RunsGain)}
        assert gained["more"] == rule


DOUBLE = """
[clients.two]
door = { tool = "db", environment = "prod" }
identity = { issuer = "https://token.example", claims = { sub = "main" } }
"""


@pytest.mark.requirement("P7")
@pytest.mark.parametrize(
    "less", [DOUBLE, 'identity = { issuer = "https://token.example", claims = { sub = "main" } }\n']
)
def test_less_of_one_client_widens_where_that_makes_tokens_anothers(less: str) -> None:
    """Tokens of `sub = "main"` and `ref = "x"` were those of two clients, and so nobody's."""
    both = TEXT.replace("[clients.door]", f"{DOUBLE}[clients.door]", 1)
    old, new = load(both), load(both.replace(less, "", 1))
    assert [change.subject for change in diff(old, new) if change.widens] == ["clients.two.identity"]
    assert [client_gain_words(gain) for gain in client_gains(old, new)] == [
        f'client ci: {TOKEN}: ref = x, sub = main; rule clients."two".identity'
    ]


@pytest.mark.requirement("P7")
def test_a_client_that_people_consent_to_and_that_needs_no_proof_any_more_widens() -> None:
    identity = 'identity = { issuer = "https://token.example", claims = { sub = "main", ref = "x" } }\n'
    proven = TEXT.replace(identity, f'redirects = ["https://app.example"]\n{identity}', 1)
    old, new = load(proven), load(proven.replace(identity, "", 1))
    assert [change.subject for change in diff(old, new) if change.widens] == ["clients.ci.identity"]
    (gain,) = client_gains(old, new)
    assert client_gain_words(gain).startswith(
        "client ci: is whoever comes from https://app.example with consent, unless it ever had an API key (before: "
    )


def test_what_a_client_may_start_is_what_its_rule_and_the_routes_name_both() -> None:
    policy = load(TEXT)
    assert [startable_words(each) for each in startable(policy, policy.clients["ci"])] == [
        f"may start runs {ON_DEPLOY} staging"
    ]
    assert startable(policy, policy.clients["door"]) == []
