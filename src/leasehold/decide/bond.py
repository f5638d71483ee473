"""What an approval is bound to besides the call or grants themselves. Kept in the row of a request, read at its use.

The call digest says which call it is; the bond says what people saw of it: the state that the tool's preview showed,
the terms of the policy, and who edited the request and so may not approve it (decision 0009).
"""

from __future__ import annotations

import msgspec

from leasehold.decide.rows import RequestRow
from leasehold.model.canonical import encode
from leasehold.model.card import Card, Change
from leasehold.model.ids import RequestId

__all__ = ["NO_BOND", "Bond", "EditedFrom", "bond_of", "card_terms", "encode_bond"]


class Bond(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`preview` is the digest of the state that was shown (empty: none was), `terms` that of what the policy said.

    `asked` is the digest of what a lease request asks for and why: the same question is not put to people twice.
    """

    preview: str = ""
    terms: str = ""
    editors: tuple[str, ...] = ()
    asked: str = ""


class EditedFrom(msgspec.Struct, frozen=True, kw_only=True):
    """The request that people edited into another, all who edited it so far, and what they changed."""

    request_id: RequestId
    editors: tuple[str, ...]
    changes: tuple[Change, ...] = ()


NO_BOND = Bond()

_DECODER = msgspec.json.Decoder(Bond)


def bond_of(row: RequestRow) -> Bond:
    """The bond of a request."""
    return _DECODER.decode(row.bond)


def encode_bond(bond: Bond) -> bytes:
    """The bytes that a request's row keeps."""
    return msgspec.json.encode(bond)


def card_terms(card: Card, preview: str) -> bytes:
    """Everything that a call's card says in the policy's own words, in canonical bytes.

    `preview` is the action that previews it. A policy that changes none of this takes no approval back.
    """
    said = (
        card.headline,
        msgspec.to_builtins(card.lines),
        card.arguments,
        card.cost,
        card.approvers,
        card.quorum,
        card.requester_may_approve,
        card.rule,
        preview,
    )
    return encode(msgspec.to_builtins(said))
