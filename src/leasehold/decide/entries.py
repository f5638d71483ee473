"""Ledger entries from what the steps know: the same fields for the same thing, whichever step writes them."""

from __future__ import annotations

from typing import assert_never

import msgspec

from leasehold.decide.chain import Chain, run_fields
from leasehold.decide.pending import DENIALS_LISTED
from leasehold.ledger.entry import Entry, EntryKind
from leasehold.model.decision import Decision
from leasehold.model.grant import Grants, grants_to_json
from leasehold.model.proof import AnswerProof, ChatProof, KeyProof, PasskeyProof, SessionProof
from leasehold.model.request import Request
from leasehold.model.run import Run

__all__ = ["chain_entry", "counted_entry", "describe_grants", "proof_detail", "request_entry", "run_entry"]


def run_entry(kind: EntryKind, run: Run, *, attempt: int, decision: Decision | None = None, **fields: object) -> Entry:
    """An entry about a run."""
    return _entry(kind, decision, run_fields(run, attempt) | fields)


def request_entry(
    kind: EntryKind, request: Request, run: Run, *, decision: Decision | None = None, **fields: object
) -> Entry:
    """An entry about a request."""
    return run_entry(kind, run, attempt=request.attempt, decision=decision, request=request.request_id, **fields)


def counted_entry(run: Run, attempt: int) -> Entry:
    """The one entry that says from where on what a run is refused is only counted."""
    return run_entry(EntryKind.DENIALS_COUNTED, run, attempt=attempt, detail={"listed": DENIALS_LISTED})


def chain_entry(kind: EntryKind, chain: Chain, *, decision: Decision | None = None, **fields: object) -> Entry:
    """An entry about the use of a lease: what was held and where it came from (requirement C8)."""
    return _entry(kind, decision, chain.origin | fields)


def edit_detail(request: Request) -> dict[str, str | tuple[str, ...]]:
    """Who edited a request and what it was made of, for the entry that makes it; nothing where nobody did."""
    return {"edited_from": request.edited_from, "edited_by": request.editors} if request.edited_from else {}


def describe_grants(grants: Grants) -> tuple[str, ...]:
    """One line per action, as ledger entries write grants; read back by `leasehold.ledger.detail`."""
    return tuple(
        f"{action} {msgspec.json.encode(attributes, order='sorted').decode()}"
        for action, attributes in grants_to_json(grants).items()
    )


def proof_detail(proof: AnswerProof, public_key: str) -> dict[str, str | int | tuple[str, ...]]:
    """How a person proved who they are, as entries write it. Sessions and chats have none, and claim none.

    What was signed with is there as well, so that a receipt can be verified by whoever has nothing else.
    """
    match proof:
        case KeyProof():
            return {"proof": "key", "key": proof.key_id, "signature": proof.signature, "public_key": public_key}
        case PasskeyProof():
            return {
                "proof": "passkey",
                "sign_in": proof.sign_in,
                "public_key": public_key,
                "authenticator_data": proof.authenticator_data,
                "client_data": proof.client_data,
                "signature": proof.signature,
            }
        case SessionProof():
            return {
                "proof": "session",
                "sign_in": proof.sign_in,
                "method": proof.method,
                "authenticated_at": proof.authenticated_at,
            }
        case ChatProof():
            return {
                "proof": "chat",
                "channel": proof.channel,
                "speaker": proof.speaker,
                "delivery": proof.delivery,
                "signed_at": proof.signed_at,
            }
        case _:
            assert_never(proof)


def _entry(kind: EntryKind, decision: Decision | None, fields: dict[str, object]) -> Entry:
    if decision is not None:
        fields["decision"] = "allow" if decision.is_allowed else "deny"
        fields["reason"] = "" if decision.is_allowed else str(decision.reason)
        if not decision.is_allowed:
            words = {"message": decision.message, "check": decision.check, "rule": decision.rule}
            given = fields.get("detail")
            extra = given if isinstance(given, dict) else {}
            fields["detail"] = {**extra, **{name: text for name, text in words.items() if text}}
    return Entry(kind=kind, **fields)  # type: ignore[arg-type]  # one closed set of names, checked by the struct
