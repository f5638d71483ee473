"""One line of the ledger: a closed set of named fields, never a secret, never a value that was not classified.

Written by `leasehold.decide`, stamped with index and time by the store's lane, read by queries, receipts and auditors.
The encoding is RFC 8785: members sorted, integers and strings only, members that do not apply left out.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from leasehold.errors import VerificationError
from leasehold.model.grant import Scalar

__all__ = ["Entry", "EntryKind", "decode_entry", "encode_entry"]


class EntryKind(StrEnum):
    """What happened. A kind never changes its meaning."""

    AUTHORITY_OPENED = "authority.opened"
    POLICY_ACCEPTED = "policy.accepted"
    POLICY_PROPOSED = "policy.proposed"
    POLICY_ANSWERED = "policy.answered"
    POLICY_EXPIRED = "policy.expired"
    PERSON_ADDED = "person.added"
    PERSON_REMOVED = "person.removed"
    PERSON_OFFBOARDED = "person.offboarded"
    SIGN_IN_ADDED = "person.sign_in_added"
    SIGN_IN_REMOVED = "person.sign_in_removed"
    SIGN_INS_FAILED = "person.sign_ins_failed"
    SIGNED_IN = "person.signed_in"
    SIGNED_OUT = "person.signed_out"
    CLIENT_KEY_ADDED = "client.key_added"
    CLIENT_KEY_REMOVED = "client.key_removed"
    RUN_STARTED = "run.started"
    RUN_RETRIED = "run.retried"
    RUN_FINISHED = "run.finished"
    START_DENIED = "run.denied"
    REQUEST_MADE = "request.made"
    REQUEST_DENIED = "request.refused"
    REQUEST_ANSWERED = "request.answered"
    REQUEST_EXPIRED = "request.expired"
    REQUEST_WITHDRAWN = "request.withdrawn"
    REQUEST_SUPERSEDED = "request.superseded"
    REQUEST_LAPSED = "request.lapsed"
    REQUEST_COMPLETED = "request.completed"
    LEASE_ISSUED = "lease.issued"
    LEASE_DENIED = "lease.denied"
    LEASE_ENDED = "lease.ended"
    CALL_ADMITTED = "call.admitted"
    CALL_DENIED = "call.denied"
    CALL_SETTLED = "call.settled"
    CALL_UNKNOWN = "call.unknown"
    CALL_LATE = "call.late_evidence"
    DENIALS_COUNTED = "call.denials_counted"
    FORGERIES_COUNTED = "token.forgeries_counted"
    REVOKED = "stop.revoked"
    HELD = "stop.held"
    GLASS_PROPOSED = "break_glass.proposed"
    GLASS_DECLINED = "break_glass.declined"
    GLASS_LAPSED = "break_glass.lapsed"
    GLASS_OPENED = "break_glass.opened"
    GLASS_REFUSED = "break_glass.refused"
    GLASS_CLOSED = "break_glass.closed"
    GLASS_REVIEWED = "break_glass.reviewed"
    LIFTED = "stop.lifted"
    CLOCK_CONFIRMED = "clock.confirmed"
    EPOCH_RAISED = "epoch.raised"
    REVOCATIONS_CONFIRMED = "revocations.confirmed"
    CARD_ERASED = "card.erased"
    NOTICE_FAILED = "notice.failed"


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One event. `index` and `time_ms` (Unix milliseconds) are stamped by the lane; amounts are millionths.

    `capability` is the digest of what was held, `request` and `requested_by` say where it came from (requirement C8).
    `detail` holds what only this kind has, short strings and integers.
    """

    kind: EntryKind
    index: int = -1
    time_ms: int = 0
    tenant: str = ""
    environment: str = ""
    run: str = ""
    parent_run: str = ""
    attempt: int = 0
    request: str = ""
    lease: str = ""
    parents: tuple[str, ...] = ()
    capability: str = ""
    agent: str = ""
    requested_by: str = ""
    route: str = ""
    admission: str = ""
    action: str = ""
    effect: str = ""
    attributes: dict[str, tuple[Scalar, ...]] = {}
    arguments_digest: str = ""
    key: str = ""
    approval: str = ""
    approvals: tuple[str, ...] = ()
    decision: str = ""
    reason: str = ""
    outcome: str = ""
    duration_micros: int = 0
    cost: dict[str, int] = {}
    trace: str = ""
    policy: str = ""
    person: str = ""
    scope: str = ""
    detail: dict[str, str | int | tuple[str, ...]] = {}


_ENCODER = msgspec.json.Encoder(order="sorted")
_DECODER = msgspec.json.Decoder(Entry)


def encode_entry(entry: Entry) -> bytes:
    """The canonical bytes: what is hashed, stored and exported. Keys are ASCII and numbers integers, so this is JCS."""
    return _ENCODER.encode(entry)


def decode_entry(body: bytes) -> Entry:
    """Return the entry whose canonical bytes these are.

    Raises:
        VerificationError: they are no entry, or not in the one canonical form.
    """
    try:
        entry = _DECODER.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise VerificationError(f"this is no ledger entry: {error}") from None
    if _ENCODER.encode(entry) != body:
        raise VerificationError("this ledger entry is not in its canonical form")
    return entry
