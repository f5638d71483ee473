"""What is kept of a call that was asked for: the entry of its admission or refusal, and the rows that it opens.

Called by admit. Settle closes what is opened here.
"""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from leasehold.decide.chain import Chain
from leasehold.decide.documents import encode_document
from leasehold.decide.entries import chain_entry
from leasehold.decide.facts import Facts
from leasehold.decide.pending import DENIALS_LISTED
from leasehold.decide.rows import CallRow, KeyRow, RequestRow, Row
from leasehold.ledger.entry import Entry, EntryKind
from leasehold.model.budget import amounts_to_lines
from leasehold.model.call import Admission, Call, CallState
from leasehold.model.decision import Decision, allow
from leasehold.model.glass import BREAK_GLASS, BREAK_GLASS_ALARM
from leasehold.model.grant import Attributes
from leasehold.policy.evaluate import ApprovalNeed
from leasehold.policy.terms import CallTerms

__all__ = ["CallRecord", "opened_rows"]


class CallRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What the ledger says of one call, whatever is decided about it. `policy` is the hash of the active one."""

    chain: Chain
    call: Call
    terms: CallTerms
    policy: str
    attributes: Attributes
    arguments_digest: str
    key: str | None

    def admitted(self, admission: Admission, need: ApprovalNeed, use: dict[str, str | tuple[str, ...]]) -> Entry:
        """The intent, in the ledger before the call starts (invariant I3). `use` is what a break-glass adds."""
        detail = {
            "run_chain": admission.run_chain,
            "request_chain": admission.request_chain,
            "reserved": amounts_to_lines(admission.reserved),
            "approval": need.mode,
            "quorum": need.quorum,
            "finish_by": admission.finish_by,
            "expires_at": self.chain.expires_at,
        }
        given = {
            "implies": self.terms.implied,
            "call_id": admission.call_id,
            "client": admission.client,
            "parent_call": admission.parent_admission,
            "ending": admission.ending,
            "tool_authority": "the tool holds its own" if self.call.tool_authority else "",
            "idempotent": "declared" if self.terms.rule.idempotent else "",
        }
        return self._entry(
            EntryKind.CALL_ADMITTED,
            allow(),
            approval=admission.approval or "",
            approvals=admission.approved_by,
            detail={**detail, **{name: value for name, value in given.items() if value}, **use},
        )

    def denied(self, refusal: Decision) -> Entry:
        """A refusal. Of a break-glass each attempt alarms, whoever makes it."""
        alarm = {"alarm": BREAK_GLASS_ALARM} if self.chain[-1].run.agent == BREAK_GLASS else {}
        return self._entry(EntryKind.CALL_DENIED, refusal, detail=alarm)

    def counted(self) -> Entry:
        """That from here on refusals of the run are only counted."""
        return chain_entry(EntryKind.DENIALS_COUNTED, self.chain, detail={"listed": DENIALS_LISTED})

    def _entry(self, kind: EntryKind, decision: Decision, **fields: object) -> Entry:
        return chain_entry(
            kind,
            self.chain,
            decision=decision,
            capability=self.chain[-1].capability,
            admission=self.call.admission_id,
            action=self.call.action,
            effect=str(self.terms.rule.effect),
            attributes=dict(self.attributes),
            arguments_digest=self.arguments_digest,
            key=self.key or "",
            trace=self.call.trace_id,
            policy=self.policy,
            **fields,
        )


def opened_rows(facts: Facts, admission: Admission) -> list[Row]:
    """The call itself as open, its key as in use, and each request that it is the last call of as ending."""
    rows: list[Row] = [
        CallRow(
            tenant=admission.tenant,
            admission_id=admission.admission_id,
            run_id=admission.run_id,
            state=CallState.ADMITTED,
            finish_by=admission.finish_by,
            late="",
            body=encode_document(admission),
        )
    ]
    if admission.key is not None:
        rows.append(
            KeyRow(
                tenant=admission.tenant,
                run_id=admission.run_id,
                action=admission.action,
                key=admission.key,
                digest=admission.arguments_digest,
                admission_id=admission.admission_id,
                state=CallState.ADMITTED,
            )
        )
    for request_id in admission.ending:
        row = facts.get(RequestRow, admission.tenant, request_id)
        if row is not None and not row.ending:
            rows.append(replace(row, ending=admission.admission_id))
    return rows
