"""Agents in a storm: they start runs, wait for people, call their tool, delegate, ask again, take a receipt."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random

from storm import BALANCED, LOOK_SECONDS, Reach, Told, call_of

from leasehold import Capability, Guard
from leasehold.aio import AsyncRemoteAuthority
from leasehold.client.remote import RemoteAuthority
from leasehold.errors import ApprovalNeeded, Denied
from leasehold.model.call import Admission, Call, Outcome, OutcomeStatus
from leasehold.model.decision import Reason
from leasehold.model.lease import HeldLease
from leasehold.model.run import RunAttempt

__all__ = ["Agent", "AsyncHost", "GuardedAgent"]

_EXPECTED = (Reason.REVOKED, Reason.HELD, Reason.APPROVAL_DENIED)


class Agent:
    """One agent of one tenant, whose life is short: a run with calls, some under approval, some by a child."""

    def __init__(self, reach: Reach[RemoteAuthority], tenant: str, chance: Random) -> None:
        self._reach = reach
        self._told = reach.told
        self._tenant = tenant
        self._chance = chance
        self._purpose = BALANCED if len(reach.places) == 1 else "asked for at each"

    def live(self) -> None:
        """From start to receipt, unless somebody stops it."""
        run = self._start(route=f"{self._tenant}/{self._chance.choice(['each', 'each', 'whole'])}")
        try:
            lease = self._lease(run, {"ticket.update": {"ticket": ["T-*"]}, "ticket.close": {"ticket": ["T-*"]}})
            with self._told.news:
                self._told.live[run.run_id] = lease
            for number in range(self._chance.randrange(3, 8)):
                self._call(lease, "ticket.update", f"{number}", again=self._chance.random() < 0.3)
            if lease.lease.route.endswith("each"):
                self._under_approval(lease, "close")
                self._delegate(lease)
        except Denied as denied:
            self._refused(denied)
        finally:
            with self._told.news:
                self._told.live.pop(run.run_id, None)
        receipt = self._reach.ask(lambda authority: authority.finish(run))
        self._told.note(lambda told: told.receipts.update({run.run_id: receipt}))

    def _start(self, **how: object) -> RunAttempt:
        asked = {"agent": "bot", "tenant": self._tenant, "environment": "prod", "requested_by": "user:ana", **how}
        run = self._reach.ask(lambda authority: authority.start(purpose=self._purpose, **asked))  # type: ignore[arg-type]
        self._told.note(lambda told: told.runs.update({run.run_id: self._tenant}))
        return run

    def _lease(self, run: RunAttempt, allow: dict[str, dict[str, list[str]]]) -> HeldLease:
        request = self._reach.ask(lambda authority: authority.request(run, allow, reason="a storm"))
        self._told.note(lambda told: told.requests.update({request.request_id: self._tenant}))
        return self._wait(request.request_id)

    def _wait(self, request: str) -> HeldLease:
        try:
            lease = self._reach.ask(lambda authority: authority.wait(request, LOOK_SECONDS))
        except Denied as denied:
            if denied.decision.reason is Reason.APPROVAL_DENIED:
                self._told.note(lambda told: told.denied.add(request))
            raise
        self._told.note(lambda told: told.leases.update({lease.lease.lease_id: self._tenant}))
        return lease

    def _call(self, lease: HeldLease, action: str, key: str, *, again: bool = False) -> None:
        call = self._reach.ask(lambda authority: call_of(authority, action, key))
        admission = self._admit(lease, call)
        statuses = [OutcomeStatus.DONE, OutcomeStatus.DONE, OutcomeStatus.FAILED, OutcomeStatus.NOT_STARTED]
        outcome = Outcome(status=self._chance.choice(statuses), duration_micros=self._chance.randrange(1000))
        if outcome.status is not OutcomeStatus.NOT_STARTED:
            self._told.note(lambda told: told.executions.update([(admission.run_id, key)]))
        settled = self._reach.ask(
            lambda authority: authority.door("ticket", "prod").settle(admission.admission_id, outcome)
        )
        self._told.note(lambda told: told.settled.update({admission.admission_id: (outcome, settled)}))
        if again and outcome.status is not OutcomeStatus.NOT_STARTED:
            self._again(lease, action, key)

    def _admit(self, lease: HeldLease, call: Call) -> Admission:
        token = lease.token_for("ticket")
        admission = self._reach.ask(lambda authority: authority.door("ticket", "prod").admit(token, call))
        self._told.note(lambda told: told.admitted.update({admission.admission_id: admission}))
        return admission

    def _again(self, lease: HeldLease, action: str, key: str) -> None:
        """Make the same call once more: whatever happened to the lease since, it is said to be done already."""
        try:
            self._admit(lease, self._reach.ask(lambda authority: call_of(authority, action, key)))
        except Denied as denied:
            if denied.decision.reason is Reason.ALREADY_DONE:
                self._told.note(lambda told: setattr(told, "asked_again", told.asked_again + 1))
                return
            said = denied.decision.reason
        else:
            said = "admitted"
        self._told.wrong.append(f"{key} of {lease.lease.run_id} was done, and made again it is {said}")

    def _under_approval(self, lease: HeldLease, key: str) -> None:
        """A call for which somebody has to be asked, who says no to some."""
        try:
            self._call(lease, "ticket.close", key)
        except ApprovalNeeded as needed:
            request = needed.request
        else:
            self._told.wrong.append(f"ticket.close of {lease.lease.run_id} needed nobody")
            return
        self._told.note(lambda told: told.requests.update({request: self._tenant}))
        self._call(self._wait(request), "ticket.close", key)

    def _delegate(self, lease: HeldLease) -> None:
        child = self._start(agent="helper", parent=lease, tenant="", environment="", requested_by="")
        under = self._lease(child, {"ticket.update": {"ticket": ["T-*"]}})
        for number in range(2):
            self._call(under, "ticket.update", f"{number}")

    def _refused(self, denied: Denied) -> None:
        """Being stopped, or told no by a person, is all that may happen to an agent here."""
        reason = denied.decision.reason
        if reason not in _EXPECTED:
            self._told.wrong.append(f"an agent of {self._tenant} was refused: {denied}")


class GuardedAgent(Agent):
    """An agent whose tool stands behind a guard, which asks for the same again until it is answered."""

    def __init__(self, reach: Reach[RemoteAuthority], tenant: str, chance: Random) -> None:
        super().__init__(reach, tenant, chance)
        guard = Guard("ticket", reach.places[0], environment="prod")
        self._tool = {f"ticket.{verb}": guard.action(verb)(self._run) for verb in ("update", "close")}

    def _run(self, capability: Capability, ticket_id: str) -> str:
        assert capability.key is not None
        key = (capability.run_id, capability.key)
        self._told.note(lambda told: told.executions.update([key]))
        return capability.admission_id

    def _call(self, lease: HeldLease, action: str, key: str, *, again: bool = False) -> None:
        admission = self._until_started(action, lease, key)
        self._told.note(lambda told: told.done.add(admission))
        if again:
            self._again(lease, action, key)

    def _until_started(self, action: str, lease: HeldLease, key: str) -> str:
        """Make the same call again where its answer came so late that it was not started."""
        while True:
            try:
                return self._tool[action](lease.once(key), ticket_id=f"T-{key}")
            except Denied as denied:
                if denied.decision.reason is not Reason.NOT_STARTED_IN_TIME:
                    raise


class AsyncHost:
    """Agents that live in one event loop, three at a time."""

    def __init__(self, connect: Callable[[], Awaitable[AsyncRemoteAuthority]], told: Told, tenant: str) -> None:
        self._connect = connect
        self._told = told
        self._tenant = tenant

    def live(self) -> None:
        """From connecting to the receipts of three runs."""
        asyncio.run(self._host())

    async def _host(self) -> None:
        async with await self._connect() as authority:
            await asyncio.gather(*(self._agent(authority) for _ in range(3)))

    async def _agent(self, authority: AsyncRemoteAuthority) -> None:
        told, tenant = self._told, self._tenant
        where = {"route": f"{tenant}/each", "tenant": tenant, "environment": "prod"}
        run = await authority.start(agent="bot", requested_by="user:ana", purpose=BALANCED, **where)
        told.note(lambda told: told.runs.update({run.run_id: tenant}))
        request = await authority.request(run, {"ticket.update": {"ticket": ["T-*"]}}, reason="a storm")
        told.note(lambda told: told.requests.update({request.request_id: tenant}))
        lease = await authority.wait(request)
        told.note(lambda told: told.leases.update({lease.lease.lease_id: tenant}))
        door = authority.door("ticket", "prod")
        for number in range(4):
            call = call_of(authority.sync, "ticket.update", f"{number}")
            admission = await door.admit(lease.token_for("ticket"), call)
            told.note(lambda told: told.admitted.update({admission.admission_id: admission}))  # noqa: B023 - at once
            told.note(lambda told: told.executions.update([(run.run_id, call.key)]))  # noqa: B023 - at once
            outcome = Outcome(status=OutcomeStatus.DONE)
            settled = await door.settle(admission.admission_id, outcome)
            told.note(lambda told: told.settled.update({admission.admission_id: (outcome, settled)}))  # noqa: B023
        receipt = await authority.finish(run)
        told.note(lambda told: told.receipts.update({run.run_id: receipt}))
