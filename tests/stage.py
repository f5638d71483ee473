"""Where tests of the real authority play: one policy that has every rule once, and short words for what agents do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from leasehold.authority import Authority, EmbeddedDoor
from leasehold.authority.engine import Engine
from leasehold.errors import ApprovalNeeded, Denied
from leasehold.ledger.entry import Entry, EntryKind, decode_entry
from leasehold.model.call import Admission, Call, Outcome, OutcomeStatus, ParentCall, Settlement
from leasehold.model.canonical import Json, encode
from leasehold.model.decision import Reason
from leasehold.model.ids import AdmissionId
from leasehold.model.lease import HeldLease
from leasehold.model.run import RunAttempt
from leasehold.model.scope import Scope
from leasehold.policy.document import Policy
from leasehold.policy.load import Source, load_policy
from leasehold.testing.clock import FrozenSystem
from leasehold.testing.fixtures import Approvers, memory_authority
from meddling import MeddledStore

ANA, BEN, EVA, KIM = "user:ana", "user:ben", "user:eva", "user:kim"

POLICY = """\
version = 1
authority = "acme-desk"

[people]
"user:ana" = ["lead"]
"user:ben" = ["lead", "dba"]
"user:eva" = ["lead", "dba", "operator"]
"user:kim" = ["watcher"]

[roles]
operator = { can = ["revoke", "hold", "lift", "query"], tenants = ["*"] }
watcher = { can = ["query"], tenants = ["acme"] }

[actions]
"ticket.get"     = { effect = "read",  args = { ticket = "ticket_id" } }
"ticket.audit"   = { effect = "read",  args = { ticket = "ticket_id" } }
"ticket.update"  = { effect = "write", args = { ticket = "ticket_id" } }
"ticket.close"   = { effect = "write", args = { ticket = "ticket_id" }, implies = ["ticket.update"] }
"ticket.bulk"    = { effect = "write", args = { ticket = "ticket_ids[]" }, implies = ["ticket.update"] }
"ticket.tag"     = { effect = "write", args = { ticket = "ticket_id" }, idempotent = true }
"ticket.merge"   = { effect = "write", args = { ticket = "ticket_id" }, key = ["ticket_id"] }
"ticket.unlock"  = { effect = "write", args = { ticket = "ticket_id" }, fresh = "10s" }
"ticket.pay"     = { effect = "write", args = { ticket = "ticket_id" }, cost = { usd = "0.40" }, timeout = "10s" }
"ticket.model"   = { effect = "read",  args = { ticket = "ticket_id" }, cost = { usd = "all" } }
"ticket.notify"  = { effect = "write", args = { ticket = "ticket_id" }, uses = ["mail.send", "mail.list"] }
"ticket.erase"   = { effect = "destructive", args = { ticket = "ticket_id" } }
"mail.send"      = { effect = "write", args = { ticket = "ticket_id" } }
"mail.list"      = { effect = "read",  args = { folder = "folder" } }
"mail.purge"     = { effect = "write", args = { folder = "folder" } }

[routes."desk"]
for = { agents = ["bot"], tenants = ["acme", "globex"], environments = ["prod"] }
allow."ticket.get"    = { ticket = ["T-*"] }
allow."ticket.audit"  = { ticket = ["T-*"] }
allow."ticket.update" = { ticket = ["T-*"] }
allow."ticket.close"  = { ticket = ["T-*"] }
allow."ticket.bulk"   = { ticket = ["T-*"] }
allow."ticket.tag"    = { ticket = ["T-*"] }
allow."ticket.merge"  = { ticket = ["T-*"] }
allow."ticket.unlock" = { ticket = ["T-*"] }
allow."ticket.pay"    = { ticket = ["T-*"] }
allow."ticket.model"  = { ticket = ["T-*"] }
allow."ticket.notify" = { ticket = ["T-*"] }
allow."ticket.erase"  = { ticket = ["T-*"] }
allow."mail.send"     = { ticket = ["T-*"] }
allow."mail.list"     = { folder = ["in/**"] }
approve."ticket.audit"  = "call"
approve."ticket.update" = "none"
approve."ticket.bulk"   = "none"
approve."ticket.tag"    = "none"
approve."ticket.merge"  = "none"
approve."ticket.unlock" = "none"
approve."ticket.pay"    = "none"
approve."ticket.notify" = "none"
approve."mail.send"     = "none"
deny = ["mail.purge"]
approvers = ["lead"]
answer_within = "10m"
budget = { calls = 20, tool_seconds = 600, usd = "1.00" }
run_ttl = "30m"
ends_on = ["ticket.close"]
delegation = { depth = 2, children = 2, actions = ["ticket.get", "ticket.update", "ticket.audit", "ticket.close"] }

[routes."solo"]
for = { agents = ["bot"], tenants = ["acme"], environments = ["prod"] }
allow."ticket.update" = { ticket = ["T-*"] }
approvers = ["requester"]

[routes."staging"]
for = { agents = ["bot"], tenants = ["acme"], environments = ["staging"] }
allow."ticket.get" = { ticket = ["T-*"] }
"""

GET = {"ticket.get": {"ticket": ["T-*"]}}
UPDATE = {"ticket.update": {"ticket": ["T-*"]}}
CLOSE = {"ticket.close": {"ticket": ["T-*"]}}
ERASE = {"ticket.erase": {"ticket": ["T-*"]}}
AUDIT = {"ticket.audit": {"ticket": ["T-*"]}}

Allow = Mapping[str, Mapping[str, object]]


def policy(text: str = POLICY) -> Policy:
    """The policy of one text."""
    return load_policy([Source("leasehold.toml", text)])


def changed(old: str, new: str, text: str = POLICY) -> str:
    """The text with one place changed, which has to be there."""
    assert old in text, old
    return text.replace(old, new, 1)


class Stage:
    """An authority in memory with its clock, its people and its doors."""

    def __init__(self, text: str = POLICY, *, authority: Authority | None = None, system: FrozenSystem | None = None):
        self.system = system or FrozenSystem()
        self.authority = authority or memory_authority(text, system=self.system)
        self.people = Approvers(self.authority)
        self.desk = self.authority.desk

    def close(self) -> None:
        self.authority.close()

    def beside(self) -> Stage:
        """A second authority over the same store and keys, with memories of its own. Close only the first."""
        engine = self.authority.engine
        return Stage(authority=Authority(Engine(engine.store, self.system, engine.identity)), system=self.system)

    def meddle(self) -> MeddledStore:
        """Put a store that can be meddled with in the place of the real one."""
        store = MeddledStore(self.authority.engine.store)
        self.authority.engine.store = store
        return store

    # what agents do

    def start(
        self, *, tenant: str = "acme", route: str = "desk", environment: str = "prod", by: str = ANA
    ) -> RunAttempt:
        return self.authority.start(
            agent="bot", route=route, tenant=tenant, environment=environment, requested_by=by, purpose="answer T-1"
        )

    def child(self, parent: HeldLease, agent: str = "helper") -> RunAttempt:
        return self.authority.start(agent=agent, purpose="look it up", parent=parent)

    def lease(self, allow: Allow = UPDATE, *, run: RunAttempt | None = None, **asked: object) -> HeldLease:
        """A lease that needs nobody."""
        request = self.authority.request(run or self.start(), allow, reason="customer asked", **asked)
        return self.authority.wait(request, 5)

    def door(self, tool: str = "ticket", environment: str = "prod") -> EmbeddedDoor:
        return self.authority.door(tool, environment)

    def call(
        self,
        action: str,
        ticket: Json = "T-1",
        *,
        key: str | None = None,
        parent: ParentCall | None = None,
        admission_id: AdmissionId | None = None,
        **arguments: Json,
    ) -> Call:
        given = arguments or {"ticket_id": ticket}
        made = admission_id or self.door().new_admission_id()
        return Call(action=action, arguments=encode(given), admission_id=made, key=key, parent=parent)

    def admit(self, lease: HeldLease, action: str, ticket: Json = "T-1", **rest: object) -> Admission:
        tool = action.rpartition(".")[0]
        return self.door(tool, lease.lease.environment).admit(lease.token_for(tool), self.call(action, ticket, **rest))

    def refusal(self, lease: HeldLease, action: str, ticket: Json = "T-1", **rest: object) -> Reason:
        """Why a call is refused."""
        return reason_of(lambda: self.admit(lease, action, ticket, **rest))

    def ask(self, lease: HeldLease, action: str, ticket: Json = "T-1", **rest: object) -> str:
        """Make a call that people have to approve first; answers the id of the request that came of it."""
        try:
            self.admit(lease, action, ticket, **rest)
        except ApprovalNeeded as needed:
            return needed.request
        raise AssertionError(f"{action} needed nobody")

    def settle(
        self, admission: Admission, status: OutcomeStatus = OutcomeStatus.DONE, *, tool: str = "ticket", **rest: object
    ) -> Settlement:
        return self.door(tool).settle(admission.admission_id, Outcome(status=status, **rest))

    def use(self, lease: HeldLease, action: str, ticket: Json = "T-1", **rest: object) -> Settlement:
        """A call that is admitted and done."""
        return self.settle(self.admit(lease, action, ticket, **rest))

    # what operators do

    def accept(self, text: str) -> None:
        self.desk.accept_policy(policy(text), by="test")

    def revoke(self, scope: str, *, tenant: str = "") -> tuple[str, ...]:
        """Revoke; answers the admissions in flight."""
        stopped = self.desk.revoke(Scope.parse(scope), by="op", reason="leak", tenant=tenant)
        return tuple(call.admission_id for call in stopped.in_flight)

    def hold(self, scope: str, *, tenant: str = "") -> tuple[str, ...]:
        stopped = self.desk.hold(Scope.parse(scope), by="op", reason="look", tenant=tenant)
        return tuple(call.admission_id for call in stopped.in_flight)

    def lift(self, scope: str, *, tenant: str = "", person: str = EVA) -> None:
        self.desk.lift(Scope.parse(scope), self.people.signatory(person), reason="fine", tenant=tenant)

    def sweep(self) -> int:
        return self.authority.sweep.run_once()

    def pass_time(self, seconds: int) -> None:
        self.system.advance(seconds=seconds)

    # what is written down

    def entries(self, kind: EntryKind | None = None) -> Sequence[Entry]:
        """The ledger, oldest first, or only its entries of one kind."""
        lines = self.authority.engine.store.queries.ledger(0, 100_000)

        entries = [decode_entry(line.body) for line in lines]
        return [entry for entry in entries if kind is None or entry.kind is kind]

    def denials(self) -> list[str]:
        """The reasons of every refused call, oldest first."""
        return [entry.reason for entry in self.entries(EntryKind.CALL_DENIED)]

    def spent(self, account: str, unit: str = "calls", tenant: str = "acme") -> tuple[int, int, int]:
        """Settled, reserved and unknown of one account, in millionths."""
        rows = self.authority.engine.store.queries.accounts(tenant, account)
        row = next(row for row in rows if row.unit == unit)
        return row.settled, row.reserved, row.unknown


def reason_of(act: object) -> Reason:
    """Why something is refused.

    Raises:
        AssertionError: it is not.
    """
    try:
        act()  # type: ignore[operator]
    except Denied as denied:
        return denied.decision.reason
    raise AssertionError("it was not refused")
