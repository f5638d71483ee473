"""One call as its entries tell it: admitted, ended, late evidence. For receipts, which state each call in full."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from leasehold.errors import VerificationError
from leasehold.ledger import detail
from leasehold.ledger.entry import Entry, EntryKind
from leasehold.ledger.shown import shown_amounts, shown_micros, shown_time
from leasehold.model.call import CallState

__all__ = ["IN_FLIGHT", "CallRecord", "call_records"]

IN_FLIGHT = "in_flight"
"""What a receipt calls a call that had not ended when it was made."""


class CallRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The entries of one call.

    Attributes:
        admitted: the intent.
        ended: that it was settled, or concluded to be unknown; None while it is in flight.
        late: what the guard reported after the call was concluded to be unknown.
    """

    admitted: Entry
    ended: Entry | None = None
    late: Entry | None = None

    @property
    def state(self) -> str:
        """`done`, `failed`, `not_started`, `unknown` or `in_flight`."""
        return self.ended.outcome if self.ended is not None else IN_FLIGHT

    @property
    def may_have_run(self) -> bool:
        """Whether anything can have happened: always, unless the guard said that it never started."""
        return self.state != CallState.NOT_STARTED

    @property
    def charged(self) -> Mapping[str, int]:
        """What it costs its accounts, in millionths: the actual cost, or what is reserved while that is not known."""
        if self.ended is None or self.ended.kind is EntryKind.CALL_UNKNOWN:
            return detail.amounts(self.admitted, "reserved")
        return self.ended.cost

    def reported(self, name: str) -> tuple[str, ...]:
        """What the guard reported under `touched`, `files` or `contacted`, late evidence included."""
        entries = [entry for entry in (self.ended, self.late) if entry is not None]
        return tuple(sorted({text for entry in entries for text in detail.texts(entry, name)}))

    def to_json(self) -> dict[str, object]:
        """Return what a receipt says of the call."""
        admitted = self.admitted
        return {
            "action": admitted.action,
            "admission": admitted.admission,
            "approval": admitted.approval,
            "approvedBy": list(admitted.approvals),
            "argumentsDigest": admitted.arguments_digest,
            "at": shown_time(admitted.time_ms),
            "attributes": {name: list(values) for name, values in sorted(admitted.attributes.items())},
            "callId": detail.text(admitted, "call_id"),
            "charged": shown_amounts(self.charged),
            "contacted": list(self.reported("contacted")),
            "effect": admitted.effect,
            "files": list(self.reported("files")),
            "index": admitted.index,
            "key": admitted.key,
            "lateOutcome": self.late.outcome if self.late is not None else "",
            "lease": admitted.lease,
            "parentCall": detail.text(admitted, "parent_call"),
            "reserved": shown_amounts(detail.amounts(admitted, "reserved")),
            "run": admitted.run,
            "toolAuthority": bool(detail.text(admitted, "tool_authority")),
            "touched": list(self.reported("touched")),
            "trace": admitted.trace,
            **self._end_to_json(),
        }

    def _end_to_json(self) -> dict[str, object]:
        end = self.ended
        return {
            "durationMicros": shown_micros(end.duration_micros) if end is not None else 0,
            "endedAt": shown_time(end.time_ms) if end is not None else "",
            "error": detail.text(end, "error") if end is not None else "",
            "noEffect": end is not None and bool(detail.text(end, "no_effect")),
            "outcome": self.state,
            "overrun": list(detail.texts(end, "overrun")) if end is not None else [],
            "resultDigest": detail.text(end, "result_digest") if end is not None else "",
        }


def call_records(entries: Iterable[Entry]) -> dict[str, CallRecord]:
    """Return the calls that these entries admit, by admission, in ledger order.

    Raises:
        VerificationError: a call ends that was not admitted, or in another way than calls do.
    """
    records: dict[str, CallRecord] = {}
    for entry in entries:
        match entry.kind:
            case EntryKind.CALL_ADMITTED if entry.admission not in records:
                records[entry.admission] = CallRecord(admitted=entry)
            case EntryKind.CALL_SETTLED | EntryKind.CALL_UNKNOWN if _is_open(records.get(entry.admission)):
                records[entry.admission] = CallRecord(admitted=records[entry.admission].admitted, ended=entry)
            case EntryKind.CALL_LATE if _is_unknown(records.get(entry.admission)):
                records[entry.admission] = msgspec.structs.replace(records[entry.admission], late=entry)
            case EntryKind.CALL_ADMITTED | EntryKind.CALL_SETTLED | EntryKind.CALL_UNKNOWN | EntryKind.CALL_LATE:
                raise VerificationError(f"entry {entry.index} ({entry.kind}) does not follow", index=entry.index)
            case _:
                pass
    return records


def _is_open(record: CallRecord | None) -> bool:
    return record is not None and record.ended is None


def _is_unknown(record: CallRecord | None) -> bool:
    ended = record.ended if record is not None and record.late is None else None
    return ended is not None and ended.kind is EntryKind.CALL_UNKNOWN
