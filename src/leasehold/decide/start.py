"""Start a run, or a child run under a lease. Submitted by the authority's Runs face.

A child has its parent's tenant, environment, requester and route; its agent need not stand in the route's `for`. It
counts against the delegation's number of children, on the root run's account.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import msgspec

from leasehold.decide.accounts import account_needs, open_accounts, refuse_overspend
from leasehold.decide.chain import Chain, refuse_chain, refuse_new_run, stop_needs
from leasehold.decide.documents import encode_document
from leasehold.decide.entries import run_entry
from leasehold.decide.facts import Changes, Facts, Need, Ref, StepAnswer
from leasehold.decide.glass_use import refuse_agent
from leasehold.decide.lifecycles import PersonState, RunState
from leasehold.decide.rows import AUTHORITY_WIDE, AccountRow, DocumentRow, PersonRow, Row, RunRow
from leasehold.ledger.entry import Entry, EntryKind
from leasehold.model.budget import CHILDREN, MICROS, amounts_to_lines
from leasehold.model.decision import Decision, Reason, allow, deny
from leasehold.model.instant import Instant
from leasehold.model.run import Run
from leasehold.policy.document import Policy, Route
from leasehold.policy.evaluate import check_start

__all__ = ["Start", "run_rows"]


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """Start this run. `parent` is the chain of the lease that delegates, empty for a run of its own.

    `run` is complete but for its times and epoch: they are set here, the times from `now` and the route's `run_ttl`.
    `client` is the program that starts it over the network, empty where it is none.
    """

    policy_document: Policy
    run: Run
    parent: Chain = Chain()
    client: str = ""

    needs_clock: ClassVar[bool] = True

    @property
    def policy(self) -> str:
        return self.policy_document.hash

    def keys(self) -> Sequence[Need]:
        if not self.parent:
            names = (self.run.requested_by, self._whole_name)
            return [*stop_needs(self.run.tenant), *(Ref(PersonRow, (AUTHORITY_WIDE, name)) for name in names if name)]
        root = self.parent[0].run.run_id
        return [*self.parent.needs, *account_needs(self.run.tenant, [root], [CHILDREN])]

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[Run], Changes]:
        route = self.policy_document.route(self.run.route)
        run = self._timed(route, facts.control.epoch, now)
        refusal = self._refuse(facts, now)
        accounts: list[AccountRow] = []
        if refusal is None and self.parent:
            most = route.delegation.children * MICROS if route is not None else 0
            taken = _take_child(facts, run.tenant, self.parent[0].run.run_id, most)
            refusal, accounts = (taken, []) if isinstance(taken, Decision) else (None, taken)
        if refusal is not None:
            entry = run_entry(EntryKind.START_DENIED, run, attempt=1, decision=refusal, policy=self.policy)
            return StepAnswer(refusal), Changes(entries=(entry,))
        limits: dict[str, int] = {}
        if not self.parent and route is not None:
            limits = {**route.budget, CHILDREN: route.delegation.children * MICROS}
            accounts = open_accounts(run.tenant, run.run_id, limits)
        return StepAnswer(allow(), run), Changes(
            rows=(*run_rows(run, facts.next_index, self.client), *accounts), entries=(self._entry(run, limits),)
        )

    def _timed(self, route: Route | None, epoch: int, now: Instant) -> Run:
        """The run with its times, policy and epoch. On an unknown route, which is refused, it lasts a second."""
        ttl = route.run_ttl_seconds if route is not None else 1
        ends = [now.seconds + ttl, *(link.run.expires_at for link in self.parent)]
        return msgspec.structs.replace(
            self.run,
            started_at=now.seconds,
            expires_at=max(min(ends), now.seconds + 1),
            policy=self.policy,
            epoch=epoch,
        )

    def _entry(self, run: Run, limits: Mapping[str, int]) -> Entry:
        return run_entry(
            EntryKind.RUN_STARTED,
            run,
            attempt=1,
            policy=self.policy,
            lease=self.parent[-1].lease.lease_id if self.parent else "",
            detail={
                "purpose": run.purpose,
                "requester": run.requester_proof,
                "expires_at": run.expires_at,
                "budget": amounts_to_lines(limits),
                **({"client": self.client} if self.client else {}),
            },
        )

    def _refuse(self, facts: Facts, now: Instant) -> Decision | None:
        if refusal := refuse_agent(self.run, None):
            return refusal
        if self.parent:
            return self._refuse_child(facts, now) or refuse_new_run(facts, self.run)
        verdict = check_start(
            self.policy_document,
            route=self.run.route,
            agent=self.run.agent,
            tenant=self.run.tenant,
            environment=self.run.environment,
        )
        if not verdict.is_allowed:
            return verdict
        return refuse_new_run(facts, self.run) or self._refuse_leaver(facts) or self._refuse_short_name(facts)

    @property
    def _whole_name(self) -> str:
        """Of a requester who was named without a kind, the user by that name."""
        name = self.run.requested_by
        return "" if ":" in name or name in self.policy_document.people else f"user:{name}"

    def _refuse_short_name(self, facts: Facts) -> Decision | None:
        """Under another spelling of their name somebody would not be met again as who asked, and their own approval
        would count as another's (threat case 80)."""
        whole = self._whole_name
        if not whole:
            return None
        if whole not in self.policy_document.people and facts.get(PersonRow, AUTHORITY_WIDE, whole) is None:
            return None
        return deny(
            Reason.POLICY_DENIES,
            f"{self.run.requested_by} names a person without their kind",
            rule="people",
            check=f"requested_by is {whole}",
            enough=f"requested_by {whole}",
        )

    def _refuse_leaver(self, facts: Facts) -> Decision | None:
        """Nothing starts for a person who was let go; what ran for them was revoked when they were (requirement B4)."""
        row = facts.get(PersonRow, AUTHORITY_WIDE, self.run.requested_by)
        if row is None or row.state != PersonState.LEFT:
            return None
        return deny(
            Reason.REVOKED,
            f"{self.run.requested_by} was let go",
            rule=f"offboard {self.run.requested_by}",
            check="the requester has not left",
            enough="another requester, or adding them again: leasehold person add",
        )

    def _refuse_child(self, facts: Facts, now: Instant) -> Decision | None:
        lease = self.parent[-1].lease
        route = self.policy_document.route(self.run.route)
        left = min(lease.delegation_depth, route.delegation.depth - len(self.parent) + 1 if route is not None else 0)
        if left < 1:
            return deny(
                Reason.NO_DELEGATION,
                f"{lease.lease_id} may not be delegated",
                rule=f"routes.{lease.route}.delegation",
                check=f"delegation_depth {left} >= 1",
            )
        return refuse_chain(facts, self.parent, (), now)


def _take_child(facts: Facts, tenant: str, root: str, most: int) -> list[AccountRow] | Decision:
    """Count one more child against the tree's limit, or the live policy's if that is less; none is ever given back."""
    row = facts.get(AccountRow, tenant, root, CHILDREN)
    if row is None:
        return deny(Reason.NO_DELEGATION, f"{root} has no budget of sub-agents", rule="delegation.children")
    if refusal := refuse_overspend(row, MICROS, most):
        return refusal
    return [msgspec.structs.replace(row, settled=row.settled + MICROS)]


def run_rows(run: Run, recorded: int, client: str = "") -> tuple[Row, ...]:
    """The rows of a new run: its document and its state."""
    return (
        DocumentRow(tenant=run.tenant, id=run.run_id, body=encode_document(run)),
        RunRow(
            tenant=run.tenant,
            run_id=run.run_id,
            state=RunState.OPEN,
            attempt=1,
            expires_at=run.expires_at,
            recorded=recorded,
            denials=0,
            revoked=0,
            held=0,
            agent=run.agent,
            requested_by=run.requested_by,
            environment=run.environment,
            route=run.route,
            parent_run=run.parent_run or "",
            client=client,
        ),
    )
