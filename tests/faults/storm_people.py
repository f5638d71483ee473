"""People in a storm: those who answer, an operator who stops things, and somebody who asks for another tenant's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from storm import LOOK_SECONDS, Reach, Stop, Told, tried

from leasehold.client.desk import RemoteDesk
from leasehold.client.remote import RemoteAuthority
from leasehold.errors import Denied, NotFoundError, UnavailableError
from leasehold.model.card import Footer
from leasehold.model.lease import HeldLease
from leasehold.model.request import RequestState, Verdict
from leasehold.model.scope import Scope

__all__ = ["Operator", "Person", "Stranger"]

_BETWEEN = 25
"""How many answers others get between two stops, or none of them would ever wait for people to the end."""

_TOGETHER = 8
"""How many calls of a stopped lease every other authority is asked at once."""


class Person:
    """Answers what waits in their own tenant, no to every fourth, and looks again where their answer was lost."""

    def __init__(self, reach: Reach[RemoteDesk], name: str, tenant: str, chance: Random) -> None:
        self._reach = reach
        self._told = reach.told
        self._name = name
        self._tenant = tenant
        self._chance = chance

    def live(self) -> None:
        """Look once, and answer what is there."""
        items = self._reach.ask(lambda desk: desk.inbox()).items
        for item in items:
            if item.run.tenant != self._tenant:
                self._told.wrong.append(f"{self._name} sees {item.request.request_id} of {item.run.tenant}")
            elif item.refusal is None:
                self._answer(item.request.request_id)
        if not items:
            with self._told.news:
                self._told.news.wait(0.1)

    def _answer(self, request: str) -> None:
        verdict = Verdict.DENY if self._chance.random() < 0.25 else Verdict.APPROVE
        while True:
            shown = self._reach.ask(lambda desk: desk.card(request))
            if shown.footer.state is not RequestState.PENDING:
                if not self._stands(shown.footer, verdict):
                    return  # it ended otherwise, or somebody else was asked: their answer never came
                break
            try:
                self._reach.once(lambda desk: desk.answer(shown, verdict))  # noqa: B023 - called at once
            except UnavailableError:
                continue
            except Denied:  # of a run that was stopped or finished while the person thought
                return
            break
        self._told.note(lambda told: told.answers.update({request: (self._name, verdict)}))

    def _stands(self, footer: Footer, verdict: Verdict) -> bool:
        """Whether a request that waits no longer was answered so by this person."""
        if verdict is Verdict.APPROVE:
            return self._name in footer.approved_by
        return footer.state is RequestState.DENIED


class Operator:
    """Stops what is at work, at one authority, and has all others asked at once for more of it."""

    def __init__(
        self, desks: Sequence[RemoteDesk], doors: Sequence[RemoteAuthority], told: Told, chance: Random
    ) -> None:
        self._desks = desks
        self._doors = doors
        self._told = told
        self._chance = chance

    def live(self) -> None:
        """One stop once others have got on with something, and what comes after it."""
        with self._told.news:
            enough = self._told.count + _BETWEEN
            self._told.news.wait_for(lambda: self._told.count >= enough, timeout=2)
            live = list(self._told.live.values())
        if not live:
            return
        held = self._chance.choice(live)
        at = self._chance.randrange(len(self._desks))
        try:
            self._stop(self._desks[at], held)
        except UnavailableError:
            return  # nobody said that it is stopped
        others = [door for place, door in enumerate(self._doors) if place != at]
        reasons = tried(others, [held.token_for("ticket")] * _TOGETHER)
        self._told.note(lambda told: told.after_stops.update(reasons))

    def _stop(self, desk: RemoteDesk, held: HeldLease) -> None:
        lease = held.lease
        kind, scope = self._chance.choice(
            [
                ("revoke", f"run:{lease.run_id}"),
                ("revoke", f"lease:{lease.lease_id}"),
                ("hold", f"request:{lease.request_id}"),
                ("hold", f"run:{lease.run_id}"),
            ]
        )
        stop = desk.revoke if kind == "revoke" else desk.hold
        answer = stop(Scope.parse(scope), reason="a storm", tenant=lease.tenant)
        in_flight = frozenset(admission.admission_id for admission in answer.in_flight)
        listing = f"request:{lease.request_id}" if scope.startswith("lease:") else scope
        self._told.note(lambda told: told.stops.append(Stop(kind, scope, listing, lease.tenant, in_flight)))


class Stranger:
    """A host and a person of one tenant who ask for what belongs to another: runs, requests, receipts, cards, stops."""

    def __init__(self, host: Reach[RemoteAuthority], desk: Reach[RemoteDesk], other: str, chance: Random) -> None:
        self._host = host
        self._desk = desk
        self._told = host.told
        self._other = other
        self._chance = chance

    def live(self) -> None:
        """Ask for one thing that is not theirs."""
        with self._told.news:
            self._told.news.wait(0.3)
            runs = [run for run, tenant in self._told.runs.items() if tenant == self._other]
            requests = [request for request, tenant in self._told.requests.items() if tenant == self._other]
        if not runs or not requests:
            return
        run, request = self._chance.choice(runs), self._chance.choice(requests)
        scope = Scope.parse(f"run:{run}")
        questions: Sequence[Callable[[], object]] = (
            lambda: self._host.ask(lambda authority: authority.run(run)),
            lambda: self._host.ask(lambda authority: authority.runs.submit_receipt(run).result()),
            lambda: self._host.ask(lambda authority: authority.find_request(request)),
            lambda: self._host.ask(lambda authority: authority.wait(request, LOOK_SECONDS)),
            lambda: self._desk.ask(lambda desk: desk.card(request)),
            lambda: self._desk.ask(lambda desk: desk.hold(scope, reason="mine", tenant=self._other)),
            lambda: self._desk.ask(lambda desk: desk.entries(run=run)).items or _nothing(),
        )
        question = self._chance.choice(questions)
        try:
            said = f"answered {question()!r:.80}"
        except (Denied, NotFoundError) as refusal:
            said = type(refusal).__name__
        self._told.note(lambda told: told.foreign.update([said]))


def _nothing() -> object:
    raise NotFoundError("no entries")
