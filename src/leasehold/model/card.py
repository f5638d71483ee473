"""Exactly what a person is shown before they answer. Built by decide; terminal, console, chat and JSON draw it.

The digest of a card is what approvals name (requirements L10, B6, P10). Everything here is data; agent-written text is
kept apart in `reason`, `purpose` and `tried`, tool-written text in what comes from a preview, so that every renderer
can label it.
"""

from __future__ import annotations

from hashlib import sha256

import msgspec

from leasehold.model.canonical import encode
from leasehold.model.request import RequestState
from leasehold.model.run import RequesterProof

__all__ = [
    "UNCHANGED_SHOWN",
    "Card",
    "CardLine",
    "Change",
    "Footer",
    "card_bytes",
    "card_json",
    "card_sha256",
    "decode_card",
]

UNCHANGED_SHOWN = 7
"""So many rows that stay as they are stand on a card; of more it says how many there are."""


class CardLine(msgspec.Struct, frozen=True, kw_only=True):
    """One action of the badge: its verb, effect, what its attributes may be, and who has to agree."""

    action: str
    effect: str
    attributes: dict[str, str]
    approval: str
    undo: str = ""


class Change(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One named value before and after: of what a call changes, of what moved, of what a person edited."""

    name: str
    before: str
    after: str

    @property
    def is_change(self) -> bool:
        """Whether the two differ."""
        return self.before != self.after


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked, by whom, where, for how long, what it costs, what stays forbidden. Times are Unix seconds.

    `headline` comes from the action's own template, never from an agent. `arguments` are the call's own, as text, with
    redacted ones named but not shown; `exact_arguments` is their canonical JSON, empty where one is redacted.
    `requester_may_approve` says that the route lets people confirm their own writes.

    Of a call: `tool` is where it is made, `tool_schema` the digest of the function there if the guard gives one,
    `lease_request` what it is made under, `call` its call digest, `uses` how often it may be made. `changes`,
    `unchanged_hidden`, `external` and `preview_undo` are the tool's own word, from its preview; `preview` is the digest
    of the state that it saw. `objects` counts what is reached, 0 where nobody can tell; `cost` is the most that it can
    cost. `moved` is how the state differs from the one approved before, `edits` how the call or grants differ from
    those of the request `edited_from`, which the people in `editors` changed. `facts` are the ledger's own words on
    what the run did so far, `tried` the agent's.
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
    requester_proof: RequesterProof
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
    tool: str = ""
    tool_schema: str = ""
    lease_request: str = ""
    call: str = ""
    uses: int = 0
    exact_arguments: str = ""
    changes: tuple[Change, ...] = ()
    unchanged_hidden: int = 0
    objects: int = 0
    external: tuple[str, ...] = ()
    cost: dict[str, str] = {}
    preview_undo: str = ""
    preview: str = ""
    moved: tuple[Change, ...] = ()
    edits: tuple[Change, ...] = ()
    edited_from: str = ""
    editors: tuple[str, ...] = ()
    facts: tuple[str, ...] = ()
    tried: tuple[str, ...] = ()
    reason: str = ""


class Footer(msgspec.Struct, frozen=True, kw_only=True):
    """How it stands with a card right now; not part of it. `answer_by` is a Unix second, for a countdown.

    `approved_by` has said yes so far, `quorum` is how many have to by the active policy, `may_approve` are the people
    whose yes would count, by name.
    """

    state: RequestState
    answer_by: int
    card_digest: str
    quorum: int
    approved_by: tuple[str, ...] = ()
    may_approve: tuple[str, ...] = ()


def card_bytes(card: Card) -> bytes:
    """The canonical bytes that the card digest covers."""
    return encode(card_json(card))


def card_sha256(card: Card) -> str:
    """What a person says of a card that they were shown elsewhere, in hex: the card digest is keyed, this is not."""
    return sha256(card_bytes(card)).hexdigest()


_DECODER = msgspec.json.Decoder(Card)


def decode_card(body: bytes) -> Card:
    """The card of its canonical bytes."""
    return _DECODER.decode(body)


def card_json(card: Card) -> dict[str, object]:
    """The card as a JSON object: every member, values as they are."""
    value: dict[str, object] = msgspec.to_builtins(card)
    return value
