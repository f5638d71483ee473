"""A person at a terminal: the real program over a real state in a folder, with a clock to turn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from leasehold.assemble import open_authority
from leasehold.authority import Authority
from leasehold.cli.program import program
from leasehold.cli.surroundings import Surroundings
from leasehold.testing.clock import FrozenSystem

POLICY = """\
version = 1
authority = "acme-desk"

[people]
"user:ana" = ["oncall"]
"user:ben" = ["lead", "dba"]
"user:eva" = ["lead", "dba", "operator"]

[roles]
operator = { can = ["revoke", "hold", "lift", "query"], tenants = ["*"] }

[actions]
"ticket.get"    = { effect = "read", args = { ticket = "ticket_id" } }
"ticket.update" = { effect = "write", args = { ticket = "ticket_id" } }
"ticket.close"  = { effect = "write", args = { ticket = "ticket_id" }, implies = ["ticket.update"], undo = "reopen" }
"ticket.tag"    = { effect = "write", args = { ticket = "ticket_id", level = "level" } }
"db.drop"       = { effect = "destructive", args = { table = "table" } }
"deploy.prod.release:create" = { effect = "write", args = { service = "service", replicas = "replicas" } }
"deploy.prod.release:status" = { effect = "read", args = { service = "service" } }

[routes."support"]
for = { agents = ["bot"], tenants = ["acme", "globex"], environments = ["prod"] }
allow."ticket.get"    = { ticket = ["T-*"] }
allow."ticket.update" = { ticket = ["T-*"] }
allow."ticket.close"  = { ticket = ["T-*"] }
allow."ticket.tag"    = { ticket = ["T-*"], level = { min = 0, max = 3 } }
approve."ticket.tag"   = "none"
approve."ticket.close" = "call"
approvers = ["lead"]
budget = { calls = 25, tool_seconds = 600, usd = "1.00" }

[routes."ci/deploy"]
for = { agents = ["bot"], tenants = ["acme"], environments = ["staging"] }
allow."deploy.prod.release:status" = { service = ["payments-api"] }
allow."deploy.prod.release:create" = { service = ["payments-api"], replicas = { max = 3 } }
approve."deploy.prod.release:create" = "lease"
approvers = ["lead"]
ttl = "12m"

[routes."db/drop"]
for = { agents = ["bot"], tenants = ["acme"], environments = ["prod"] }
allow."db.drop" = { table = ["old"] }
approve."db.drop" = "lease"
approvers = ["dba"]

[[tests]]
route = "support"
allows = ["ticket.get", "ticket.tag"]
needs_approval = ["ticket.update", "ticket.close"]
refuses = ["db.drop"]
"""

WHERE = ("--agent", "bot", "--tenant", "acme", "--requested-by", "user:ana", "--purpose", "answer ticket T-18421")


class Terminal:
    """Runs commands. Stdin is no terminal unless `typing` gives what is typed there."""

    def __init__(self, folder: Path, *, seed: int = 0) -> None:
        self.folder = folder
        self.policy = folder / "leasehold.toml"
        self.policy.write_text(POLICY)
        self.state = folder / "state"
        self.system = FrozenSystem(seed=seed)

    def run(
        self, *words: str, code: int = 0, typing: str | None = None, plain: bool = False, drawn: bool = False
    ) -> Result:
        """Run one command and check its exit code. `plain` leaves the policy and state options out."""
        around = Surroundings(system=self.system, is_interactive=typing is not None, is_terminal=drawn, width=100)
        environ = {} if plain else {"LEASEHOLD_POLICY": str(self.policy), "LEASEHOLD_STATE": str(self.state)}
        result = CliRunner().invoke(program, words, input=typing, obj=around, env=environ, catch_exceptions=False)
        assert result.exit_code == code, result.output
        return result

    def line(self, *words: str) -> str:
        """The one line that a command writes to stdout."""
        return self.run(*words).stdout.strip()

    def json(self, *words: str) -> Any:
        """What a command writes with `--json`."""
        return json.loads(self.run(*words, "--json").stdout)

    def authority(self) -> Authority:
        """The same state through the library, as an agent host has it open."""
        return open_authority(self.policy, state=self.state, system=self.system, sweep=False)

    def people(self) -> None:
        """Keys for those who answer."""
        for person in ("user:ben", "user:eva"):
            self.run("person", "add", person)

    def start(self, route: str = "support", environment: str = "prod") -> str:
        """A run's id."""
        return self.line("run", "start", "--route", route, "--environment", environment, *WHERE)

    def ask(self, run: str, *grants: str, reason: str = "the customer confirmed the fix") -> str:
        """A request's id."""
        allow = [word for grant in grants for word in ("--allow", grant)]
        return self.line("request", "make", run, *allow, "--reason", reason)

    def digest(self, request: str) -> str:
        """What a person who looked at the card would pass on."""
        return str(self.json("request", "inspect", request)["card_digest"]).rpartition(":")[2][:8]

    def approve(self, request: str, person: str = "user:ben") -> Result:
        """A person approves what they saw."""
        return self.run("request", "approve", request, "--as", person, "--digest", self.digest(request))

    def lease(self, *grants: str) -> str:
        """A lease's id, of a run that needs nobody."""
        return self.line("lease", "draw", self.ask(self.start(), *(grants or ("ticket.get ticket=T-1",))))

    def deploy_lease(self) -> str:
        """A lease that a person approved."""
        self.people()
        request = self.ask(
            self.start("ci/deploy", "staging"),
            "deploy.prod.release:create service=payments-api replicas:={'max':3}".replace("'", '\\"'),
            "deploy.prod.release:status service=payments-api",
            reason="promote already-built artifact for smoke test",
        )
        self.approve(request)
        return self.line("lease", "draw", request)
