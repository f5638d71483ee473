"""Whether somebody's word for a past call would count under another policy, at both moments when that is asked: when it
was said and when it was used. Called by `backtest`.

The same checks as `decide.approvals` makes of answers, over what the ledger keeps of them. Groups are the exception: of
a sign-in it has only those that the policy named then, so of others nobody can tell whether the person was in them.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

import msgspec

from leasehold.model.effect import Effect
from leasehold.policy.document import Policy, SignInRule
from leasehold.policy.evaluate import is_entitled

__all__ = ["Asked", "PastWord", "Proven", "Vouching", "would_count"]


class Vouching(StrEnum):
    """What vouched for a word."""

    KEY = "key"
    PASSKEY = "passkey"
    SESSION = "session"
    CHAT = "chat"


class Proven(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider proved of a person at a sign-in, at this time (Unix s): in which groups they were of those that
    the policy `named` then."""

    provider: str
    issuer: str
    groups: frozenset[str]
    named: frozenset[str]
    at: int


class PastWord(msgspec.Struct, frozen=True, kw_only=True):
    """One person's approval as the ledger has it. Times in Unix seconds.

    `said_at` is by the clock of whoever said it, `heard_at` by the authority's. Of a session `authenticated_at` says
    since when, and `account` is what was proven at the provider that vouched, None where none did. Of a chat `channel`
    and `speaker` say which user. `proven_when_said` and `proven_when_used` are what providers had proven of the person
    by then.
    """

    person: str
    vouching: Vouching = Vouching.KEY
    said_at: int = 0
    heard_at: int = 0
    authenticated_at: int = 0
    account: Proven | None = None
    channel: str = ""
    speaker: str = ""
    proven_when_said: tuple[Proven, ...] = ()
    proven_when_used: tuple[Proven, ...] = ()


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """For what a word was used: a call on this route, of this effect, for this requester, at this time (Unix s)."""

    route: str
    requested_by: str
    effect: Effect
    at: int


def would_count(policy: Policy, word: PastWord, asked: Asked) -> bool | None:
    """Whether the word would count; None if that hangs on groups that the ledger does not have."""
    if not _is_vouched(policy, word) or (asked.effect is Effect.DESTRUCTIVE and not _is_proven_well(policy, word)):
        return False
    if is_entitled(policy, word.person, asked.route, asked.requested_by):
        return True
    moments = ((word.proven_when_said, word.heard_at), (word.proven_when_used, asked.at))
    found = {_by_groups(policy, proven, asked.route, at) for proven, at in moments}
    return False if False in found else None if None in found else True


def _is_vouched(policy: Policy, word: PastWord) -> bool:
    """Whether the policy trusts who vouched: it names the provider, or says that the chat's user is this person."""
    if word.vouching is Vouching.CHAT:
        return policy.reviewer(word.channel, word.speaker) == word.person
    return word.account is None or _rule(policy, word.account) is not None


def _is_proven_well(policy: Policy, word: PastWord) -> bool:
    """Whether it is proven as the policy demands it for what is destructive."""
    if word.vouching is Vouching.CHAT or (policy.defaults.destructive_by_passkey and word.vouching != Vouching.PASSKEY):
        return False
    longest = policy.defaults.destructive_sign_in_seconds
    is_session = word.vouching is Vouching.SESSION
    return longest is None or not is_session or word.said_at - word.authenticated_at <= longest


def _rule(policy: Policy, proven: Proven) -> SignInRule | None:
    """The policy's rule of the provider, if it is still this one."""
    rule = policy.sign_in.get(proven.provider)
    return rule if rule is not None and rule.issuer == proven.issuer else None


def _by_groups(policy: Policy, proven: Iterable[Proven], route: str, at: int) -> bool | None:
    """Whether a group that counted at that time gives a role that the route names."""
    found = policy.route(route)
    approvers = frozenset(found.approvers if found is not None else ())
    is_open = False
    for each in proven:
        rule = _rule(policy, each)
        if rule is None or at >= each.at + rule.groups_seconds:
            continue
        wanted = {group for group, roles in rule.roles.items() if not approvers.isdisjoint(roles)}
        if wanted & each.groups:
            return True
        is_open = is_open or not wanted <= each.named
    return None if is_open else False
