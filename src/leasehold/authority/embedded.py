"""The embedded authority: one object with the three protocols, over one store. What `leasehold.open` answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType

from leasehold.authority.archive import Archive
from leasehold.authority.chat import ChatReview
from leasehold.authority.client_door import ClientDoor
from leasehold.authority.client_runs import ClientRuns
from leasehold.authority.clients import Clients
from leasehold.authority.desk import Desk, KeyHolder
from leasehold.authority.door import EmbeddedDoor
from leasehold.authority.engine import Engine
from leasehold.authority.forgeries import ForgeryCounter
from leasehold.authority.glass import BreakGlass
from leasehold.authority.outbox import Outbox
from leasehold.authority.person_desk import PersonDesk
from leasehold.authority.proposals import Proposals
from leasehold.authority.receipts import Receipts
from leasehold.authority.runs import Runs
from leasehold.authority.sign_ins import FailedSignIns, SignedIn, SignIns
from leasehold.authority.sweep import Sweep
from leasehold.authority.waiting import Waiters
from leasehold.decide.clients import ClientVoice, Sending
from leasehold.model.api import ALL_DEPTH
from leasehold.model.lease import HeldLease
from leasehold.model.request import Request
from leasehold.model.run import RunAttempt
from leasehold.notices.channels import Channels, NoSecrets
from leasehold.policy.client_rule import DoorRight

__all__ = ["Authority"]


class Authority:
    """Issues, ends, accounts. Threads may share it; close it when done, or use it in a `with` statement.

    The everyday verbs stand here; `runs`, `desk`, `clients`, `proposals`, `receipts`, `archive`, `sign_ins`, `sweep`,
    `outbox` and `chat` have the rest. `channels` are those by which people are told.
    """

    def __init__(self, engine: Engine, channels: Channels | None = None) -> None:
        self.engine = engine
        self._waiters = Waiters(engine.store.changes, engine.system.boot_milliseconds)
        self._forgeries = ForgeryCounter()
        self.runs = Runs(engine, self._waiters)
        self.proposals = Proposals(engine)
        self.desk = Desk(engine, self.runs)
        self.clients = Clients(engine)
        self.receipts = Receipts(engine)
        self.archive = Archive(engine)
        failed = FailedSignIns()
        self.sign_ins = SignIns(engine, failed)
        self.break_glass = BreakGlass(engine, self.runs, self._forgeries, self._waiters)
        self.sweep = Sweep(engine, self.runs, self._forgeries, failed)
        channels = channels or Channels(NoSecrets())
        self.outbox = Outbox(engine, channels)
        self.chat = ChatReview(engine, channels)

    def person_desk(self, session: SignedIn | KeyHolder, *, origin: str = "") -> PersonDesk:
        """The desk of a person who is signed in, on pages of `origin`: what they may do and see, and nothing else."""
        return PersonDesk(self.engine, self.runs, self.receipts, session, origin=origin)

    def door(self, tool: str, environment: str) -> EmbeddedDoor:
        """The door of one tool in one environment; a guard stands at it."""
        return EmbeddedDoor(self.engine, tool, environment, self._forgeries, self._waiters)

    def client_door(self, voice: ClientVoice, right: DoorRight) -> ClientDoor:
        """The door of a client that asks over the network; its proof and right are judged in every step."""
        return ClientDoor(self.engine, self._forgeries, self._waiters, voice, right)

    def client_runs(self, voice: ClientVoice, sending: Sending | None = None) -> ClientRuns:
        """The runs of a client that asks over the network, and no other's."""
        return ClientRuns(self.engine, self._waiters, voice, sending)

    def start(
        self,
        *,
        agent: str,
        purpose: str,
        route: str = "",
        tenant: str = "",
        environment: str = "",
        requested_by: str = "",
        parent: HeldLease | None = None,
    ) -> RunAttempt:
        """Start a run, or a child run under a lease (`Runs.start`)."""
        return self.runs.start(
            agent=agent,
            route=route,
            tenant=tenant,
            environment=environment,
            requested_by=requested_by,
            purpose=purpose,
            parent=parent,
        )

    def retry(self, run: RunAttempt) -> RunAttempt:
        """Begin the next attempt (`Runs.retry`)."""
        return self.runs.retry(run)

    def run(self, run_id: str) -> RunAttempt:
        """Take a run up again in another process (`Runs.resume`)."""
        return self.runs.resume(run_id)

    def request(
        self,
        run: RunAttempt,
        allow: Mapping[str, Mapping[str, object]],
        *,
        reason: str,
        budget: Mapping[str, object] | None = None,
        ttl_seconds: int = 0,
        delegation_depth: int = ALL_DEPTH,
        tried: Sequence[str] = (),
    ) -> Request:
        """Ask for a lease (`Runs.request`)."""
        return self.runs.request(
            run,
            allow,
            reason=reason,
            budget=budget,
            ttl_seconds=ttl_seconds,
            delegation_depth=delegation_depth,
            tried=tried,
        )

    def find_request(self, request_id: str) -> Request:
        """A request by its id (`Runs.find_request`)."""
        return self.runs.find_request(request_id)

    def wait(self, request: Request | str, timeout: float | None = None) -> HeldLease:
        """Wait for people, then draw a live lease (`Runs.wait`)."""
        return self.runs.wait(request, timeout)

    def renew(self, lease: HeldLease) -> HeldLease:
        """Draw the next lease of the same request (`Runs.renew`)."""
        return self.runs.renew(lease)

    def escalate(
        self,
        run: RunAttempt,
        action: str,
        attributes: Mapping[str, object],
        *,
        reason: str,
        seconds: int = 60,
        timeout: float | None = None,
        tried: Sequence[str] = (),
    ) -> HeldLease:
        """A lease for one operation, dead after a minute (`Runs.escalate`)."""
        return self.runs.escalate(run, action, attributes, reason=reason, seconds=seconds, timeout=timeout, tried=tried)

    def finish(self, run: RunAttempt) -> bytes:
        """Finish a run and everything under it, and answer its signed receipt (a DSSE envelope)."""
        self.runs.end(run.run, "done", attempt=run.attempt)
        return self.receipts.build(run.run)

    def close(self) -> None:
        """Answer what is under way, keep the ledger's head outside the database, and let the files go."""
        self.sweep.close()
        self.outbox.close()
        try:
            self.engine.store.close()
        finally:
            self._waiters.close()

    def __enter__(self) -> Authority:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
