"""What Leasehold must do: id, source, behaviour, and whether it is built. The list is always whole.

A covered requirement needs a test marked with it, a planned one must not have any: `test_requirements.py` holds both.
Sources: L capability-leases, B agents-need-badges, P tool-permissions, C capability-security, F what users asked for.
"""

from __future__ import annotations

from typing import NamedTuple

COVERED = "covered"
PARTLY = "partly"
PLANNED = "planned"


class Requirement(NamedTuple):
    """One behaviour. `state` is covered, partly (some of it is built and tested), or planned."""

    behaviour: str
    state: str


REQUIREMENTS: dict[str, Requirement] = {
    "L1": Requirement("a lease is an inspectable contract with all its fields", COVERED),
    "L2": Requirement("leases are signed with Ed25519; forging, altering or re-typing one fails", COVERED),
    "L3": Requirement("five minutes by default, fifteen at most; expiry needs no clean-up", COVERED),
    "L4": Requirement("a lease is bound to one run and attempt; an old attempt's is refused", COVERED),
    "L5": Requirement("leases are issued by one small observable path with explicit defaults", COVERED),
    "L6": Requirement("revocation is checked on every call, mid-run, and names what was in flight", COVERED),
    "L7": Requirement("clock skew is handled; a clock that jumped revives nothing", COVERED),
    "L8": Requirement("delegation is refused by default", COVERED),
    "L9": Requirement("the tool verifies before every privileged operation and fails closed", COVERED),
    "L10": Requirement("the card shows exact verbs, target, TTL and reason", COVERED),
    "L11": Requirement("issue, use, denial, expiry and revocation are logged", COVERED),
    "L12": Requirement("the log is append-only and tamper-evident", COVERED),
    "L13": Requirement("the operator can see and end any lease from a terminal", COVERED),
    "L14": Requirement("the four use cases run end to end as examples", PARTLY),
    "L15": Requirement("a task longer than a lease renews within what was approved", COVERED),
    "B1": Requirement("a lease also names user, purpose, denied actions, maximum calls, receipt", COVERED),
    "B2": Requirement("a lease ends on an event, on run end or on expiry, whichever is first", COVERED),
    "B3": Requirement("the run envelope is enforcement input at every call", COVERED),
    "B4": Requirement("each call is attributable to the person whose run it is", COVERED),
    "B5": Requirement("the check works for MCP tools, Python functions and HTTP services alike", PARTLY),
    "B6": Requirement("the card says what is not allowed, the budget, sub-agents, expiry, receipt", COVERED),
    "B7": Requirement("an escalation shows what was already tried and why more is needed", COVERED),
    "B8": Requirement("budgets are reserved before and settled after, over the whole tree", COVERED),
    "B9": Requirement("a child is strictly narrower, names its task, and cannot mint further", COVERED),
    "B10": Requirement("the run ends in a receipt of everything that was done", COVERED),
    "B11": Requirement("agents stay in their frameworks", PLANNED),
    "B12": Requirement("a coding agent updates a dependency in a real repository under one lease", COVERED),
    "P1": Requirement("deny by default; deny wins; the unknown is denied", COVERED),
    "P2": Requirement("actions are read, write or destructive; unclassified is destructive", COVERED),
    "P3": Requirement("routes have their own policies", COVERED),
    "P4": Requirement("allow, deny and require approval are first-class; writes need approval by default", COVERED),
    "P5": Requirement("an approval cannot be dodged through another action with the same effect", COVERED),
    "P6": Requirement("tenant and environment come from the run, never from arguments", PARTLY),
    "P7": Requirement("policy has tests and a CI command; widening is listed and alarmed", COVERED),
    "P8": Requirement("there is no admin mode that a model can reach", COVERED),
    "P9": Requirement("proposed, shown, recorded, executed: a durable state", COVERED),
    "P10": Requirement("the card says what changes, the blast radius, and whether it can be undone", COVERED),
    "P11": Requirement("approving twice does not write twice; an approval is used once", COVERED),
    "P12": Requirement("destructive actions need a second human; nobody approves their own request", COVERED),
    "P13": Requirement("budgets per route and per lease", COVERED),
    "P14": Requirement("writes need an idempotency key", COVERED),
    "P15": Requirement("kill switches for every scope, and breakers for routes", COVERED),
    "P16": Requirement("break-glass: human only, minutes, loud, reviewed", COVERED),
    "P17": Requirement("credentials are scoped, short-lived, revoked at the source", PLANNED),
    "P18": Requirement("secrets never enter context, prompts, logs, errors or receipts", PARTLY),
    "P19": Requirement(
        "every entry has request id, tenant, tool, args hash, credential scope (tenant and environment), approval, "
        "key, result, duration",
        COVERED,
    ),
    "C1": Requirement("a 60-second, one-operation escalation is one line", COVERED),
    "C2": Requirement("critical actions demand a fresh lease", COVERED),
    "C3": Requirement("tools are functions of input and capability; nothing ambient grants", COVERED),
    "C4": Requirement("a capability cannot be constructed, widened or pickled; narrowing is cheap", COVERED),
    "C5": Requirement("sub-tools receive narrower capabilities automatically", COVERED),
    "C6": Requirement("something structural keeps tool code from ambient authority", PLANNED),
    "C7": Requirement("a capability can be handed to another team and verified there", COVERED),
    "C8": Requirement("the log records capabilities and where they came from, with fast queries", COVERED),
    "C9": Requirement("a capability-secured database tool", PLANNED),
    "F1": Requirement("approvals survive restart, time out as time-outs, are spent when execution starts", COVERED),
    "F2": Requirement("few prompts: a plan approved once; batches; approver load is measured", COVERED),
    "F3": Requirement("only entitled people approve; agent text is shown as untrusted, in full", COVERED),
    "F4": Requirement("an MCP gateway puts unmodified servers behind leases", PLANNED),
    "F5": Requirement("gradual adoption: observe, then suggest a policy", PLANNED),
    "F6": Requirement("order and time rules", COVERED),
    "F7": Requirement("tools nobody can edit, raw loops and plain commands are served", PARTLY),
}
