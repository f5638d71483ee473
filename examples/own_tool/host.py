"""The host of docs/tools.md: it draws the lease, carries out one call of a model, and keeps the receipt."""

from pathlib import Path

from customers import answer, crm

import leasehold
from leasehold import Toolbox

# fmt: off
authority = leasehold.open("leasehold.toml")
run = authority.start(agent="cleaner", route="crm/cleanup", tenant="acme", environment="prod",
                      requested_by="user:ana", purpose="remove what the load test left")
asked = {"crm.count": {}, "crm.delete": {"customer": {"min": 1000, "max": 1999}}}
lease = authority.wait(authority.request(run, asked, reason="the load test is over"), timeout=600)
tools = Toolbox(lease, crm(authority, "crm.db"))

print([schema["name"] for schema in tools.schemas()])                   # what the model is shown
print(answer(authority, tools, "crm_delete", '{"ids": [7]}', "call-1"))  # what it asked for, and is told

Path("run.intoto.jsonl").write_bytes(authority.finish(run))             # the receipt
