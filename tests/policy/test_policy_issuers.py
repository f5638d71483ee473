"""`[issuers]`: whoever may say who somebody is stands in the policy, and one more of them widens it."""

from __future__ import annotations

import pytest
from policy_worlds import EXAMPLE

from leasehold.errors import ConfigError
from leasehold.policy.diff import diff
from leasehold.policy.document import DISCOVERY, LISTED, Policy
from leasehold.policy.excerpt import excerpt
from leasehold.policy.load import Source, load_policy

GITHUB = """
[issuers."https://token.actions.githubusercontent.com"]
audience = "https://lease.acme.example"
"""
CLUSTER = """
[issuers."https://kubernetes.default.svc.cluster.local"]
audience = "leasehold"
keys = [{ kty = "EC", crv = "P-256", kid = "one", x = "eA", y = "eQ" }]
"""
LOCAL = """
[issuers."http://127.0.0.1:9000/"]
audience = "leasehold"
keys = "http://127.0.0.1:9000/keys"
networks = ["127.0.0.0/8"]
"""


def load(text: str) -> Policy:
    return load_policy([Source("leasehold.toml", EXAMPLE + text)])


def test_issuers_are_read_and_stored_with_the_policy_under_their_names_as_written() -> None:
    policy = load(GITHUB + CLUSTER + LOCAL)
    github, cluster, local = policy.issuers.values()
    assert (github.issuer, github.keys) == ("https://token.actions.githubusercontent.com", DISCOVERY)
    assert (cluster.keys, cluster.listed_keys) == (
        LISTED,
        [{"kty": "EC", "crv": "P-256", "kid": "one", "x": "eA", "y": "eQ"}],
    )
    assert (local.issuer, local.networks) == ("http://127.0.0.1:9000/", ("127.0.0.0/8",))
    assert Policy.from_json(policy.to_json()) == policy
    assert policy.hash != load("").hash
    assert load(GITHUB + 'keys = "discovery"\n') == load(GITHUB)
    assert load(GITHUB.replace('.com"]', '.com/"]')).issuers.keys() != load(GITHUB).issuers.keys()
    assert excerpt(policy, ["support/close"], ["acme"]).issuers == {}


@pytest.mark.case(20)
@pytest.mark.parametrize(
    ("text", "old", "new", "message"),
    [
        (GITHUB, "audience = ", "audiences = ", 'unknown key "audiences"'),
        (GITHUB, 'audience = "https://lease.acme.example"\n', "", 'needs "audience"'),
        (GITHUB, '"https://lease.acme.example"', '""', "a text of 1 to"),
        (GITHUB, "https://token", "http://token", "http is only for a receiver on this machine"),
        (GITHUB, "https://token", "ftp://token", "no address that can be used"),
        (GITHUB, "https://token", "https://me@token", "no address that can be used"),
        (GITHUB, '.com"]', '.com?x=1"]', "without a query"),
        (GITHUB, '.com"]', '.com#x"]', "no address that can be used"),
        (LOCAL, '"http://127.0.0.1:9000/keys"', "7", "an array of tables"),
        (LOCAL, '"http://127.0.0.1:9000/keys"', '"keys.json"', "no address that can be used"),
        (LOCAL, '"http://127.0.0.1:9000/keys"', "[]", "no token could count"),
        (LOCAL, '["127.0.0.0/8"]', '["0.0.0.0/0"]', "no network"),
        (CLUSTER, 'kty = "EC"', 'd = "eA"', 'unknown key "d"'),
        (CLUSTER, 'kty = "EC", ', "", 'needs "kty"'),
        (CLUSTER, 'x = "eA"', "x = 7", "must be the text"),
        (CLUSTER, 'x = "eA"', 'x = ""', "must be the text"),
    ],
)
def test_an_issuer_that_is_written_wrong_is_refused_with_its_line(text: str, old: str, new: str, message: str) -> None:
    assert old in text
    with pytest.raises(ConfigError, match=message) as refused:
        load(text.replace(old, new, 1))
    assert refused.value.line is not None
    assert refused.value.line > len(EXAMPLE.splitlines())


@pytest.mark.requirement("P7")
@pytest.mark.parametrize(
    ("old", "new", "widens"),
    [
        ("", GITHUB, True),
        (GITHUB, "", False),
        (GITHUB, GITHUB.replace('.com"]', '.com/"]'), True),
        (GITHUB, GITHUB.replace("lease.acme", "lease.other"), True),
        (GITHUB, GITHUB + 'keys = "https://keys.example/jwks"\n', True),
        (GITHUB, GITHUB + 'networks = ["10.0.0.0/8"]\n', True),
        (GITHUB + 'networks = ["10.0.0.0/8"]\n', GITHUB, False),
        (CLUSTER, CLUSTER.replace("}]", '}, { kty = "RSA", n = "AQ", e = "AQAB" }]'), True),
        (CLUSTER.replace("}]", '}, { kty = "RSA", n = "AQ", e = "AQAB" }]'), CLUSTER, False),
    ],
)
def test_one_more_issuer_audience_key_or_place_of_keys_widens(old: str, new: str, *, widens: bool) -> None:
    changes = diff(load(old), load(new))
    assert changes
    assert any(change.widens for change in changes) is widens
