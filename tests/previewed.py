"""A stage whose destructive action is previewed, with the tool behind it: a few tickets that tests may change."""

from __future__ import annotations

from typing import cast

from leasehold.errors import ApprovalNeeded
from leasehold.guard import Capability, Guard
from leasehold.model.call import Call, OutcomeStatus
from leasehold.model.card import Card
from leasehold.model.ids import AdmissionId
from leasehold.model.lease import HeldLease
from leasehold.model.preview import Preview, PreviewMade
from stage import BEN, EVA, POLICY, Stage, changed

ERASES = '"ticket.erase"   = { effect = "destructive", args = { ticket = "ticket_id" } }'
PREVIEWED = changed(
    'allow."ticket.erase"  = { ticket = ["T-*"] }',
    'allow."ticket.erase"  = { ticket = ["T-*"] }\nallow."ticket.look" = { ticket = ["T-*"] }',
    changed(
        ERASES,
        ERASES.replace("} }", '}, headline = "Erase {ticket_id}", preview = "ticket.look" }')
        + '\n"ticket.look" = { effect = "read", args = { ticket = "ticket_id" } }',
        POLICY,
    ),
)


class Desk:
    """Tickets that can be erased after people have seen what would be lost. `looks` counts the previews."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.tickets = {"T-1": "open", "T-2": "open"}
        self.looks = 0
        guard = Guard("ticket", stage.authority, environment="prod")

        @guard.preview("erase")
        def look(capability: Capability, ticket_id: str) -> Preview:
            self.looks += 1
            assert capability.action == "ticket.look"
            return Preview.of(
                {"status": (self.tickets[ticket_id], "erased"), "owner": ("ben", "ben")},
                external=["an e-mail to the customer"],
                undo="from the backup of last night",
            )

        @guard.action("erase")
        def erase(capability: Capability, ticket_id: str) -> str:
            capability.touched(ticket_id)
            return self.tickets.pop(ticket_id)

        self.erase = erase

    def ask(self, lease: HeldLease, ticket: str = "T-1", key: str = "a") -> ApprovalNeeded:
        """Make the call; answers the refusal that says on which request to wait."""
        try:
            self.erase(lease.once(key), ticket)
        except ApprovalNeeded as needed:
            return needed
        raise AssertionError("it was not asked about")

    def card(self, needed: ApprovalNeeded) -> Card:
        return self.stage.desk.card(self.stage.authority.find_request(needed.request))

    def approve(self, needed: ApprovalNeeded) -> None:
        self.stage.people.approve(needed.request, BEN, EVA)


def look_by_hand(
    stage: Stage, lease: HeldLease, ticket: str = "T-1", *, state: str = "v1", done: bool = True
) -> PreviewMade:
    """A preview as a relay makes one, without a guard."""
    admitted = stage.admit(lease, "ticket.look", ticket)
    if done:
        stage.settle(admitted)
    return PreviewMade(admission_id=admitted.admission_id, preview=Preview.of({}, state=state))


def erase_by_hand(stage: Stage, made: PreviewMade | None, ticket: str = "T-1", *, schema: str = "") -> Call:
    """The call as a relay makes it."""
    call = stage.call("ticket.erase", ticket, key="a")
    return Call(
        action=call.action,
        arguments=call.arguments,
        admission_id=cast("AdmissionId", call.admission_id),
        key=call.key,
        preview=made,
        tool_schema=schema,
    )


def fail(stage: Stage, made: PreviewMade) -> None:
    """Settle a preview as failed."""
    stage.settle(stage.authority.engine.admissions.get(("", made.admission_id)), OutcomeStatus.FAILED)  # type: ignore[arg-type]  # it is there
