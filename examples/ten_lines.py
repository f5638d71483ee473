"""The ten lines of the README as a program; the policy stands beside it. Run it in this folder."""

# fmt: off

import leasehold
from leasehold import Capability, Guard

authority = leasehold.open("leasehold.toml")                  # embedded: a SQLite file in your state directory
guard = Guard("ticket", authority, environment="prod")        # stands at the tool's door

@guard.action("close")
def close_ticket(capability: Capability, ticket_id: str, note: str) -> str:
    capability.touched(f"ticket/{ticket_id}")                 # goes into the receipt
    return f"{ticket_id} closed: {note}"

run = authority.start(agent="support-bot", route="support/close", tenant="acme", environment="prod",
                      requested_by="user:ana", purpose="answer ticket T-18421")
request = authority.request(run, {"ticket.close": {"ticket": ["T-18421"]}}, reason="customer confirmed the fix")
lease = authority.wait(request, timeout=600)                  # once people have decided, where policy asks for people
print(close_ticket(lease.once("T-18421:close"), ticket_id="T-18421", note="fixed"))
receipt = authority.finish(run)                               # bytes to keep; all under the run is dead from here on
