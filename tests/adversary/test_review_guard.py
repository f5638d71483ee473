"""What a model writes never stands where the guard puts the capability."""

from __future__ import annotations

import pytest

from leasehold import Capability
from leasehold.errors import InvalidError
from leasehold.guard import Guard, Toolbox
from leasehold.ledger.entry import EntryKind
from stage import Stage


@pytest.mark.invariant("I3")
def test_an_argument_named_like_the_capability_is_refused_before_anything_is_charged(stage: Stage) -> None:
    guard = Guard("ticket", stage.authority, environment="prod")

    @guard.action("update")
    def update(capability: Capability, ticket_id: str, **more: str) -> str:
        return f"{capability.action} {ticket_id} {sorted(more)}"

    lease = stage.lease()
    toolbox = Toolbox(lease, [update])
    with pytest.raises(InvalidError, match="capability"):
        toolbox.call("ticket_update", '{"ticket_id":"T-1","capability":"x"}', "c1")
    with pytest.raises(TypeError, match="capability"):
        update(lease.once("c2"), ticket_id="T-1", **{"capability": "x"})
    assert not stage.entries(EntryKind.CALL_ADMITTED)
    assert toolbox.call("ticket_update", '{"ticket_id":"T-1","note":"x"}', "c1") == "ticket.update T-1 ['note']"
