"""Who edited a call into which other: kept for the whole run, whatever lease or attempt makes that call later.

The digest by which approvals are found names lease request and attempt, so under another lease an edited call would be
nobody's: whoever edited it could approve it (threat case 80). Asked by edit, and by admit before it asks people.
"""

from __future__ import annotations

from leasehold.decide.bond import EditedFrom
from leasehold.decide.call_request import ProposedCall
from leasehold.decide.facts import Facts, Ref
from leasehold.decide.rows import SeenRow
from leasehold.model.canonical import encode
from leasehold.model.ids import RequestId

__all__ = ["edit_need", "edit_row", "edited_into"]


def edit_need(call: ProposedCall) -> Ref:
    """Where it stands who edited something into this call of this run: the action and its arguments, nothing else."""
    bound = {"action": call.action, "arguments": call.arguments_digest, "run": str(call.chain[-1].run.run_id)}
    return Ref(SeenRow, (call.tenant, f"edited.{call.digester.digest('edited', encode(bound))}"))


def edited_into(call: ProposedCall, facts: Facts) -> EditedFrom | None:
    """All who edited something into this call, and as which request last; None if nobody did."""
    row = facts.seek(SeenRow, *edit_need(call).key)
    if row is None:
        return None
    source, *editors = row.seen.split()
    return EditedFrom(request_id=RequestId(source), editors=tuple(editors))


def edit_row(call: ProposedCall, facts: Facts, edited: EditedFrom) -> SeenRow:
    """The row that keeps who edited this call, beside whoever did before."""
    before = edited_into(call, facts)
    editors = dict.fromkeys((*(before.editors if before is not None else ()), *edited.editors))
    tenant, slot = edit_need(call).key
    return SeenRow(tenant=tenant, slot=slot, second=0, seen=" ".join((call.request_id, *editors)))
