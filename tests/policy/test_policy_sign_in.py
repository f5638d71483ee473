"""`[sign_in]`: who may sign people in, and what their groups mean, is accepted with the policy."""

from __future__ import annotations

import pytest
from policy_worlds import EXAMPLE

from leasehold.errors import ConfigError
from leasehold.policy.diff import diff
from leasehold.policy.document import Policy, WhoComesIn
from leasehold.policy.evaluate import group_roles
from leasehold.policy.excerpt import excerpt
from leasehold.policy.load import Source, load_policy
from leasehold.policy.shortage import routes_short_of_approvers

PLAIN = """
[sign_in.acme]
issuer = "https://login.acme.example"
client_id = "leasehold"
person = "email"
"""
GROUPS = """
[sign_in.acme]
issuer = "https://login.acme.example/"
client_id = "leasehold"
scopes = ["profile", "groups"]
person = "preferred_username"
people = "groups"
groups = "groups"
roles = { "acme leads" = ["support-lead"], dbas = ["dba"] }
groups_for = "2h"
max_age = "1h"
secret = true
networks = ["127.0.0.0/8"]
"""


def load(text: str) -> Policy:
    return load_policy([Source("leasehold.toml", EXAMPLE + text)])


def test_providers_are_read_and_stored_with_the_policy() -> None:
    plain, groups = load(PLAIN).sign_in["acme"], load(GROUPS).sign_in["acme"]
    assert (plain.people, plain.groups_seconds, plain.max_age_seconds) == (WhoComesIn.KNOWN, 8 * 3600, 12 * 3600)
    assert (groups.people, groups.groups_seconds, groups.max_age_seconds) == (WhoComesIn.GROUPS, 7200, 3600)
    assert groups.roles == {"acme leads": ("support-lead",), "dbas": ("dba",)}
    policy = load(GROUPS)
    assert Policy.from_json(policy.to_json()) == policy
    assert policy.hash != load(PLAIN).hash
    assert group_roles(policy) == {"support-lead", "dba"}
    assert excerpt(policy, ["support/close"], ["acme"]).sign_in == {}


def test_a_route_whose_approvers_groups_can_be_is_not_called_short() -> None:
    assert {short.route for short in routes_short_of_approvers(load(PLAIN), [])} >= {"support/close", "db/migrate"}
    assert {short.route for short in routes_short_of_approvers(load(GROUPS), [])} == {"ci/deploy"}


@pytest.mark.case(20)
@pytest.mark.parametrize(
    ("text", "old", "new", "message"),
    [
        (PLAIN, "client_id = ", "client = ", 'needs "client_id"'),
        (PLAIN, 'person = "email"\n', "", 'needs "person"'),
        (PLAIN, 'person = "email"', 'person = "email"\nclaim = "x"', 'unknown key "claim"'),
        (PLAIN, 'person = "email"', 'person = "email"\nsecret = "x"', "true or false"),
        (PLAIN, "https://login", "http://login", "http is only for a receiver on this machine"),
        (PLAIN, "https://login", "https://me@login", "no address that can be used"),
        (PLAIN, '.example"', '.example?x"', "without a query"),
        (PLAIN, "[sign_in.acme]", '[sign_in."a/b"]', "holds no '/'"),
        (PLAIN, 'person = "email"', 'person = "email"\npeople = "groups"', "roles names none"),
        (PLAIN, 'person = "email"', 'person = "email"\npeople = "all"', 'one of "known", "groups"'),
        (PLAIN, 'person = "email"', 'person = "email"\nroles = { x = ["dba"] }', 'needs "groups"'),
        (GROUPS, '["support-lead"]', "[]", "must name the roles of a group"),
        (GROUPS, '"acme leads"', '""', "must name the roles of a group"),
        (GROUPS, '["support-lead"]', '["requester"]', "is no role"),
        (GROUPS, 'groups_for = "2h"', 'groups_for = "25h"', "is at most 24h"),
        (GROUPS, 'max_age = "1h"', 'max_age = "25h"', "is at most 24h"),
        (GROUPS, '"profile", ', '"openid", ', "is asked for anyway"),
        (GROUPS, '"profile", ', '"a b", ', "no scope"),
        (GROUPS, "dbas", ", ".join(f'g{number} = ["dba"]' for number in range(101)) + ", dbas", "more than 100"),
    ],
)
def test_a_provider_that_is_written_wrong_is_refused_with_its_line(text: str, old: str, new: str, message: str) -> None:
    assert old in text
    with pytest.raises(ConfigError, match=message) as refused:
        load(text.replace(old, new, 1))
    assert refused.value.line is not None
    assert refused.value.line > len(EXAMPLE.splitlines())


@pytest.mark.requirement("P7")
@pytest.mark.parametrize(
    ("old", "new", "widens"),
    [
        ("", PLAIN, True),
        (PLAIN, "", False),
        (PLAIN, PLAIN.replace('.example"', '.example/"'), True),
        (PLAIN, PLAIN.replace('"leasehold"', '"other"'), True),
        (PLAIN, PLAIN.replace('"email"', '"name"'), True),
        (GROUPS, GROUPS.replace('"groups"\ngroups', '"known"\ngroups'), False),
        (GROUPS.replace('"groups"\ngroups', '"known"\ngroups'), GROUPS, True),
        (GROUPS, GROUPS.replace('groups = "groups"', 'groups = "roles"'), True),
        (GROUPS, GROUPS.replace('["dba"]', '["dba", "operator"]'), True),
        (GROUPS, GROUPS.replace(', dbas = ["dba"]', ""), False),
        (GROUPS, GROUPS.replace('"2h"', '"3h"'), True),
        (GROUPS, GROUPS.replace('"2h"', '"1h"'), False),
        (GROUPS, GROUPS.replace('max_age = "1h"', 'max_age = "2h"'), True),
        (GROUPS, GROUPS.replace("secret = true\n", ""), True),
        (GROUPS.replace("secret = true\n", ""), GROUPS, False),
        (GROUPS, GROUPS.replace('["127.0.0.0/8"]', '["127.0.0.0/8", "10.0.0.0/8"]'), True),
        (GROUPS, GROUPS.replace('"profile", ', ""), False),
    ],
)
def test_who_may_sign_in_more_people_or_for_longer_widens(old: str, new: str, *, widens: bool) -> None:
    changes = diff(load(old), load(new))
    assert changes
    assert any(change.widens for change in changes) is widens


@pytest.mark.requirement("P7")
@pytest.mark.parametrize(("claim", "widens"), [("name", True), ("email", False)])
def test_a_provider_that_goes_widens_where_its_tokens_named_two_people(claim: str, *, widens: bool) -> None:
    other = PLAIN.replace("[sign_in.acme]", "[sign_in.other]").replace('person = "email"', f'person = "{claim}"')
    assert any(change.widens for change in diff(load(PLAIN + other), load(PLAIN))) is widens
