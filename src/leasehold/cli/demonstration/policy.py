"""The policy of the demo, as it is written to `leasehold.toml`, and the names in it. Called by workplace and story."""

from __future__ import annotations

__all__ = ["AGENT", "APPROVER", "CHANGE", "ENVIRONMENT", "POLICY", "REQUESTER", "ROUTE", "TENANT", "TESTER", "TOOL"]

AGENT = "updater"
TESTER = "test-runner"
REQUESTER = "user:ana"
APPROVER = "user:ben"
TENANT = "demo"
ENVIRONMENT = "local"
ROUTE = "repository/update"
TOOL = "repo"
CHANGE = "change.patch"

POLICY = """\
# The policy of `leasehold demo`. What is not allowed here is refused.
version = 1
authority = "demo"

[people]                        # ana, whose run it is, may approve nothing
"user:ben" = ["maintainer"]

[roles]                         # what a maintainer may do in the console besides approving
maintainer = { can = ["query", "hold", "lift", "revoke"], tenants = ["*"] }

[actions]                       # what each action does, and the arguments that are looked at
"repo.read"   = { effect = "read", args = { path = "path" } }
"repo.branch" = { effect = "write", args = { branch = "branch" }, undo = "git branch -D" }
"repo.look"   = { effect = "read", args = { path = "path" } }
"repo.commit" = { effect = "write", args = { branch = "branch" }, undo = "git revert" }
"repo.test"   = { effect = "read", args = { target = "target" }, timeout = "60s" }
"repo.open"   = { effect = "write", args = { branch = "branch" }, undo = "close the change" }
"repo.push"   = { effect = "destructive", args = { remote = "remote" } }

[actions."repo.edit"]           # repo.look shows people what an edit would change, before they answer
effect = "write"
args = { path = "path" }
undo = "git revert"
headline = "{old} becomes {new}"
preview = "repo.look"

[routes."repository/update"]
for = { agents = ["updater"], tenants = ["demo"], environments = ["local"] }
allow."repo.read"   = { path = ["**"] }
allow."repo.branch" = { branch = ["agent/*"] }
allow."repo.edit"   = { path = ["pyproject.toml"] }
allow."repo.look"   = { path = ["pyproject.toml"] }
allow."repo.commit" = { branch = ["agent/*"] }
allow."repo.test"   = { target = ["**"] }
allow."repo.open"   = { branch = ["agent/*"] }
approve."repo.branch" = "none"  # a branch of its own is undone with one command
approve."repo.commit" = "none"
approve."repo.open"   = "none"  # a change that is open is read by people before it lands
approve."repo.edit"   = "call"  # a dependency is other people's code: a person sees each edit first
approvers = ["maintainer"]
answer_within = "5m"
ttl = "10m"                     # longer than a person may take to answer
run_ttl = "20m"
budget = { calls = 30, tool_seconds = 600 }
ends_on = ["repo.open"]         # when the change is open, the lease is over
delegation = { depth = 1, children = 1, actions = ["repo.test"] }

[[tests]]
route = "repository/update"
allows = ["repo.read", "repo.branch", "repo.commit", "repo.test", "repo.open"]
needs_approval = ["repo.edit"]
refuses = ["repo.push"]
"""
