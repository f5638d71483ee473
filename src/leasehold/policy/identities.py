"""Whose a workload's token is: that client's whose identity it has, if it has no other's. For the server and `diff`.

A token that is two clients' is nobody's. So a client that is taken out, or that wants another claim, can make it the
other's: less of one is more of another.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from leasehold.policy.client_rule import ClientRule, WorkloadIdentity
from leasehold.policy.document import Policy

__all__ = ["client_of", "gained_tokens"]


def client_of(policy: Policy, issuer: str, claims: Mapping[str, object]) -> ClientRule | None:
    """The client that a verified token is; None where it is none, or more than one."""
    found = list(_matching(policy, issuer, claims))
    return found[0] if len(found) == 1 else None


def gained_tokens(old: Policy, new: Policy) -> dict[str, frozenset[str]]:
    """The clients that some token is now and was not, each with the clients by whose rules that came.

    That is its own name where its own identity lets the token in, else those whose identity the token had too, and has
    no more.

    Exact: of all tokens that could have been gained it is enough to look at those with no claims but an identity's, or
    two identities' together, because a claim more makes a token nobody's sooner.
    """
    gained: dict[str, set[str]] = {}
    changed = [rule for rule in old.clients.values() if rule.identity != _identity(new, rule.name)]
    for rule in new.clients.values():
        for issuer, claims in _least_tokens(old, rule, changed):
            if client_of(new, issuer, claims) is rule:
                earlier = {each.name for each in _matching(old, issuer, claims)}
                if rule.name not in earlier:
                    gained.setdefault(rule.name, set()).add(rule.name)
                elif others := earlier - {rule.name}:
                    gained.setdefault(rule.name, set()).update(others)
    return {name: frozenset(causes) for name, causes in gained.items()}


def _matching(policy: Policy, issuer: str, claims: Mapping[str, object]) -> Iterator[ClientRule]:
    for rule in policy.clients.values():
        if rule.identity is not None and rule.identity.matches(issuer, claims):
            yield rule


def _identity(policy: Policy, name: str) -> WorkloadIdentity | None:
    rule = policy.clients.get(name)
    return rule.identity if rule is not None else None


def _least_tokens(old: Policy, rule: ClientRule, changed: Iterable[ClientRule]) -> Iterator[tuple[str, dict[str, str]]]:
    """The issuer and claims of the least tokens that have a client's identity, where that is new, or with it one that a
    changed client had: nothing else can have become its own."""
    if rule.identity is None:
        return
    if rule.identity != _identity(old, rule.name):
        yield rule.identity.issuer, rule.identity.claims
    for other in changed:
        if other.identity is not None and _agree(rule.identity, other.identity):
            yield rule.identity.issuer, {**rule.identity.claims, **other.identity.claims}


def _agree(one: WorkloadIdentity, other: WorkloadIdentity) -> bool:
    """Whether a token can have both identities."""
    shared = one.claims.keys() & other.claims.keys()
    return one.issuer == other.issuer and all(one.claims[name] == other.claims[name] for name in shared)
