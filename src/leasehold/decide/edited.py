"""Who edited what into which other: kept for the whole run, however it is asked for later.

The digest by which approvals of a call are found names lease request and attempt, and a request for a lease is found
by nothing, so what was edited would be nobody's when it is asked about anew: whoever edited it could approve it (threat
case 80). Asked wherever people are asked.
"""

from __future__ import annotations

from leasehold.decide.bond import EditedFrom
from leasehold.decide.facts import Facts, Ref
from leasehold.decide.rows import SeenRow
from leasehold.model.canonical import encode
from leasehold.model.grant import Grants, grants_to_json
from leasehold.model.ids import RequestId
from leasehold.model.run import Run
from leasehold.token.digest import Digester

__all__ = ["edit_row", "edited_into", "edits_of_call", "edits_of_lease"]


def edits_of_call(digester: Digester, run: Run, action: str, arguments_digest: str) -> Ref:
    """Where it stands who edited something into this call: the action and its arguments, nothing else."""
    return _edits(digester, run, {"action": action, "arguments": arguments_digest})


def edits_of_lease(digester: Digester, run: Run, allow: Grants) -> Ref:
    """Where it stands who edited something into a request for a lease of these grants."""
    return _edits(digester, run, {"allow": grants_to_json(allow)})


def _edits(digester: Digester, run: Run, what: dict[str, object]) -> Ref:
    return Ref(SeenRow, (run.tenant, f"edited.{digester.digest('edited', encode({**what, 'run': run.run_id}))}"))


def edited_into(edits: Ref, facts: Facts) -> EditedFrom | None:
    """All who edited something into this, and as which request last; None if nobody did."""
    row = facts.seek(SeenRow, *edits.key)
    if row is None:
        return None
    source, *editors = row.seen.split()
    return EditedFrom(request_id=RequestId(source), editors=tuple(editors))


def edit_row(edits: Ref, facts: Facts, made: EditedFrom) -> SeenRow:
    """The row that keeps who edited this, beside whoever did before."""
    before = edited_into(edits, facts)
    editors = dict.fromkeys((*(before.editors if before is not None else ()), *made.editors))
    tenant, slot = edits.key
    return SeenRow(tenant=tenant, slot=slot, second=0, seen=" ".join((made.request_id, *editors)))
