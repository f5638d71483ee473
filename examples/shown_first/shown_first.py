"""People see what a call would change before they agree to it, and it starts only if that has not moved since."""

from __future__ import annotations

from leasehold import Authority, Capability, Guard, Preview


class Tickets:
    """A tool: tickets that can be closed."""

    def __init__(self, authority: Authority) -> None:
        self.status = {"T-1": "open", "T-2": "waiting"}
        guard = Guard("ticket", authority, environment="prod")

        @guard.preview("close")
        def look(capability: Capability, ticket_id: str) -> Preview:
            capability.touched(f"ticket/{ticket_id}")  # goes into the receipt, of a look too
            return Preview.of(
                {"status": (self.status[ticket_id], "closed")},
                external=["an e-mail to the customer"],
                undo="open it again",
            )

        @guard.action("close")
        def close(capability: Capability, ticket_id: str) -> str:
            capability.touched(f"ticket/{ticket_id}")
            self.status[ticket_id] = "closed"
            return ticket_id

        self.close = close
