"""The scripted agent of the demo, and everything that stands in its way. Called by `leasehold.cli.demo`.

No model and no network: the steps are fixed, but each call, refusal, file and commit is real. A call that ought to be
refused and is not ends the demo as a failure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from leasehold.authority import Authority
from leasehold.authority.desk import Signatory
from leasehold.cli.cards import render_card
from leasehold.cli.demonstration.narration import Narrator
from leasehold.cli.demonstration.person import Person
from leasehold.cli.demonstration.policy import (
    AGENT,
    APPROVER,
    ENVIRONMENT,
    REQUESTER,
    ROUTE,
    TENANT,
    TESTER,
)
from leasehold.cli.demonstration.tools import RepositoryTools
from leasehold.cli.demonstration.workplace import PROJECT, Workplace
from leasehold.errors import ApprovalNeeded, Denied, LeaseholdError
from leasehold.model.decision import Reason
from leasehold.model.lease import HeldLease
from leasehold.model.request import Verdict
from leasehold.model.run import RunAttempt
from leasehold.model.scope import Scope, ScopeKind

__all__ = ["Story"]


@dataclass(frozen=True, kw_only=True)
class Story:
    """Everything that takes part. `tell` plays it once and returns the run, still open."""

    authority: Authority
    workplace: Workplace
    tools: RepositoryTools
    approver: Signatory
    person: Person
    narrator: Narrator

    def tell(self) -> RunAttempt:
        """Play the whole story up to the end of the run.

        Raises:
            LeaseholdError: something that ought to be refused was not, or a tool failed.
        """
        first, early = self._begin()
        self._reach_too_far(early)
        run, lease = self._retry(first, early)
        self._create_branch(lease)
        is_changed = self._edit(lease)
        if is_changed:
            self._commit(lease)
        child = self._delegate(lease)
        self._revoke(*child)
        if is_changed:
            self._open(lease)
        return run

    @property
    def _branch(self) -> str:
        return f"agent/{self.workplace.update.name}"

    # the main journey

    def _begin(self) -> tuple[RunAttempt, HeldLease]:
        say = self.narrator
        say.scene("A lease for one job")
        run = self.authority.start(
            agent=AGENT,
            route=ROUTE,
            tenant=TENANT,
            environment=ENVIRONMENT,
            requested_by=REQUESTER,
            purpose=f"raise {self.workplace.update.name} and open the change for review",
        )
        say.says("agent", f"{AGENT} starts {run.run_id} for {REQUESTER}, and asks for what the job needs")
        lease = self._draw(run)
        say.allowed(f"{lease.lease.lease_id}: {', '.join(lease.lease.allow)}; {_life(lease)}")
        say.says("agent", f"reads {PROJECT}")
        self.tools.read(lease, PROJECT)
        say.allowed(f"the lease names {PROJECT}; a read needs nobody's word")
        return run, lease

    def _reach_too_far(self, lease: HeldLease) -> None:
        self.narrator.scene("A call outside the lease")
        self._is_refused(
            "tries to push the branch to origin",
            Reason.NOT_GRANTED,
            lambda: self.tools.push(lease.once("push"), "origin"),
        )
        self.narrator.scene("An argument out of range")
        self._is_refused(
            f"tries to edit Makefile, not {PROJECT}",
            Reason.OUT_OF_RANGE,
            lambda: self.tools.edit(lease.once("makefile"), "Makefile", "test:", "test: ; curl"),
        )

    def _retry(self, first: RunAttempt, early: HeldLease) -> tuple[RunAttempt, HeldLease]:
        say = self.narrator
        say.scene("A stale attempt")
        say.says("host", "takes the worker for lost, begins the next attempt, and it draws a lease of its own")
        run = self.authority.retry(first)
        lease = self._draw(run)
        say.allowed(f"attempt {run.attempt} holds {lease.lease.lease_id}; {_life(lease)}")
        self._is_refused(
            "the lost worker wakes up and tries to create a branch",
            Reason.STALE_ATTEMPT,
            lambda: self.tools.branch(early.once("branch"), self._branch),
        )
        return run, lease

    def _create_branch(self, lease: HeldLease) -> None:
        say, target = self.narrator, self.workplace.target
        say.scene("The work")
        say.says("agent", f"reads {PROJECT} and {target}")
        self.tools.read(lease, PROJECT)
        self.tools.read(lease, target)
        say.allowed("both are named in the lease")
        say.says("agent", f"creates the branch {self._branch}")
        self.tools.branch(lease.once("branch"), self._branch)
        say.allowed("the policy lets branches under agent/ pass")

    def _edit(self, lease: HeldLease) -> bool:
        """The write that waits for a person. False if the person said no."""
        say, update = self.narrator, self.workplace.update
        say.scene("A write that waits for a person")
        say.says("agent", f"changes {update.old} to {update.new} in {PROJECT}")
        try:
            self.tools.edit(lease.once("edit"), PROJECT, update.old, update.new)
        except ApprovalNeeded as needed:
            verdict = self._answer(needed)
        else:
            raise LeaseholdError("this edit ought to have waited for a person, and did not")
        if verdict is Verdict.DENY:
            self._is_refused(
                "makes the same call again",
                Reason.APPROVAL_DENIED,
                lambda: self.tools.edit(lease.once("edit"), PROJECT, update.old, update.new),
            )
            say.says("agent", "has nothing to commit and will open no change")
            return False
        say.says("agent", "makes the same call again")
        self.tools.edit(lease.once("edit"), PROJECT, update.old, update.new)
        say.allowed("approved for exactly these arguments, and used up")
        say.quote(line for line in self._diff() if line[:1] in "+-" and line[:3] not in ("+++", "---"))
        return True

    def _answer(self, needed: ApprovalNeeded) -> Verdict:
        say = self.narrator
        request = self.authority.find_request(needed.request)
        card = self.authority.desk.card(request)
        say.waits(f"approval_needed: {needed.decision.message}")
        say.plain()
        say.quote(
            render_card(
                card, width=say.width - 12, colour=say.is_coloured, footer=self.authority.desk.footer(request)
            ).splitlines()
        )
        say.plain()
        say.says("demo", f"made {APPROVER} a key; {REQUESTER} asked, so her word would not do")
        verdict = self.person(card)
        self.authority.desk.answer(request, verdict, self.approver)
        word = "approves" if verdict is Verdict.APPROVE else "says no"
        say.says("person", f"{APPROVER} {word}, and signs that over this card with the key")
        return verdict

    def _commit(self, lease: HeldLease) -> None:
        say = self.narrator
        say.scene("A commit")
        say.says("agent", f"commits to {self._branch}")
        commit = self.tools.commit(lease.once("commit"), self._branch, self._message)
        say.allowed(f"commit {commit[:12]} stands in the repository")

    def _open(self, lease: HeldLease) -> None:
        say = self.narrator
        say.scene("The change is opened, and the lease is over")
        say.says("agent", "opens the change for review, as a patch file")
        name = self.tools.open(lease.once("open"), self._branch)
        say.allowed(f"{name} is written; repo.open ends the lease")
        self._is_refused(f"reads {PROJECT} once more", Reason.COMPLETED, lambda: self.tools.read(lease, PROJECT))

    # the child run

    def _delegate(self, lease: HeldLease) -> tuple[RunAttempt, HeldLease]:
        say, target = self.narrator, self.workplace.target
        say.scene("A child run that may only run tests")
        child = self.authority.start(agent=TESTER, purpose=f"run {target}, nothing else", parent=lease)
        request = self.authority.request(child, {"repo.test": {"target": [target]}}, reason="the change needs a test")
        held = self.authority.wait(request)
        say.says("agent", f"starts the child run {child.run_id} under its own lease")
        say.allowed(f"{held.lease.lease_id}: {', '.join(held.lease.allow)}; it draws on its parent's budget")
        command, *output, code = self.tools.test(held, target)
        say.says("child", f"runs {command}")
        say.allowed(f"{_last(output)} ({code})")
        self._is_refused(
            "tries to commit",
            Reason.NOT_GRANTED,
            lambda: self.tools.commit(held.once("commit"), self._branch, "not a test"),
            who="child",
        )
        return child, held

    def _revoke(self, child: RunAttempt, held: HeldLease) -> None:
        say, target = self.narrator, self.workplace.target
        say.scene("A revocation while a call is under way")
        output = self.tools.test(held, target)
        next(iter(output))
        say.says("child", f"runs {target} again")
        stopped = self.authority.desk.revoke(
            Scope(ScopeKind.RUN, child.run_id), by=APPROVER, reason="enough tests for today"
        )
        say.says("person", f"{APPROVER} revokes the child run: enough tests for today")
        if [call.action for call in stopped.in_flight] != ["repo.test"]:
            raise LeaseholdError("the revoke ought to have named the one call that was under way")
        in_flight = ", ".join(f"{call.action} ({call.admission_id})" for call in stopped.in_flight)
        say.says("desk", f"revoked; in flight: {in_flight}")
        *_, code = output
        say.says("child", f"sees that call come to its end ({code})")
        self._is_refused(
            "wants to run them once more", Reason.REVOKED, lambda: list(self.tools.test(held, target)), who="child"
        )

    # parts

    def _draw(self, run: RunAttempt) -> HeldLease:
        target, branch = self.workplace.target, {"branch": [self._branch]}
        request = self.authority.request(
            run,
            {
                "repo.read": {"path": [PROJECT, target]},
                "repo.branch": branch,
                "repo.edit": {"path": [PROJECT]},
                "repo.commit": branch,
                "repo.test": {"target": [target]},
                "repo.open": branch,
            },
            reason=f"{self.workplace.update.name} has a newer version",
        )
        return self.authority.wait(request)

    @property
    def _message(self) -> str:
        update = self.workplace.update
        return f"Require {update.new.strip(chr(34) + chr(39))}"

    def _diff(self) -> list[str]:
        return self.workplace.repository.run("diff", "--no-ext-diff", "--unified=0", "--", PROJECT).splitlines()

    def _is_refused(self, doing: str, reason: Reason, call: Callable[[], object], *, who: str = "agent") -> None:
        """Make a call that must be refused for this reason, and tell what the door says."""
        self.narrator.says(who, doing)
        try:
            call()
        except Denied as denied:
            if denied.decision.reason is not reason:
                raise
            self.narrator.refused(denied.decision)
            return
        raise LeaseholdError(f"{who} {doing}: this ought to have been refused as {reason}, and was not")


def _life(lease: HeldLease) -> str:
    document = lease.lease
    ends = f", or when {' or '.join(document.ends_on)} is done" if document.ends_on else ""
    return f"for {document.expires_at - document.issued_at} s{ends}"


def _last(output: list[str]) -> str:
    """The last line that says something, which is how test runners sum up."""
    said = [line for line in output if line.strip()]
    return said[-1].strip("= ") if said else "nothing was printed"
