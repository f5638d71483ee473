"""Exactly what a person is shown before they answer. Built by decide, rendered by the terminal and later the console.

The digest of a card is what approvals name (requirements L10, B6, P10). Everything here is data; agent-written text is
kept apart in `reason` and `tried`, so that every renderer can label it.
"""

from __future__ import annotations

import msgspec

from leasehold.model.canonical import encode

__all__ = ["Card", "CardLine", "card_bytes"]


class CardLine(msgspec.Struct, frozen=True, kw_only=True):
    """One action of the badge: its verb, effect, what its attributes may be, and who has to agree."""

    action: str
    effect: str
    attributes: dict[str, str]
    approval: str
    undo: str = ""


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked, by whom, where, for how long, what it costs, what stays forbidden. Times are Unix seconds.

    `headline` comes from the action's own template, never from an agent. `arguments` are the call's own, as text, with
    redacted ones named but not shown. `requester_may_approve` says that the route lets people confirm their own writes.
    """

    headline: str
    kind: str
    request_id: str
    run_id: str
    attempt: int
    tenant: str
    environment: str
    agent: str
    requested_by: str
    requester_proof: str
    route: str
    purpose: str
    lines: tuple[CardLine, ...]
    not_allowed: tuple[str, ...]
    budget: dict[str, str]
    ttl_seconds: int
    window_until: int
    delegation: str
    ends_on: tuple[str, ...]
    key: str
    arguments: dict[str, str]
    arguments_digest: str
    approvers: tuple[str, ...]
    quorum: int
    requester_may_approve: bool
    rule: str
    policy: str
    made_at: int
    answer_by: int
    receipt: bool = True
    tried: tuple[str, ...] = ()
    reason: str = ""


def card_bytes(card: Card) -> bytes:
    """The canonical bytes that the card digest covers."""
    return encode(msgspec.to_builtins(card))
