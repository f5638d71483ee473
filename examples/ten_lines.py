import leasehold

authority = leasehold.open("leasehold.toml")
guard = leasehold.Guard("ticket", authority, environment="prod")


@guard.action("close")
def close_ticket(capability: leasehold.Capability, ticket_id: str) -> str:
    capability.touched(ticket_id)
    return f"{ticket_id} is closed"


run = authority.start(
    agent="support-bot", route="support", tenant="acme", environment="prod", requested_by="user:ana", purpose="close it"
)
request = authority.request(run, {"ticket.close": {"ticket": ["T-18421"]}}, reason="the customer confirmed the fix")
lease = authority.wait(request)
print(close_ticket(lease.once("close T-18421"), ticket_id="T-18421"))
print(authority.finish(run).decode())
