"""Runs as one client of the policy may ask for them: its own runs and nothing else. Made per request by the server.

Every step goes behind the client's proof and rights (`leasehold.decide.clients`), every reading is of its own runs;
another client's look like what never was.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import TypeVar

from leasehold.authority.clients import check_client
from leasehold.authority.engine import Engine, refusal_error, then
from leasehold.authority.runs import About, Runs
from leasehold.authority.waiting import Waiters
from leasehold.decide.clients import ClientVoice, ForRun, Remembered, RememberSent, Sending, refuse_run_of
from leasehold.decide.facts import Step
from leasehold.decide.rows import RunRow
from leasehold.errors import NotFoundError
from leasehold.model.run import Run
from leasehold.policy.document import Policy

__all__ = ["ClientRuns"]

A = TypeVar("A")


class ClientRuns(Runs):
    """The runs of one client. `sending` is its own name for the request in hand, where that may be sent again."""

    def __init__(self, engine: Engine, waiters: Waiters, voice: ClientVoice, sending: Sending | None = None) -> None:
        super().__init__(engine, waiters)
        self._voice = voice
        self._sending = sending

    @property
    def client(self) -> str:
        """The client's name."""
        return self._voice.client

    def _ask(self, build: Callable[[Policy], Step[A]], about: About[A]) -> A:
        if self._sending is None or about.name is None or about.find is None:
            return self._engine.ask(partial(self._behind, build, about))
        remembered = self._engine.ask(partial(self._remembering, build, about, self._sending, about.name))
        return _value(remembered, about.find)

    def _submit(self, build: Callable[[Policy], Step[A]], about: About[A]) -> Future[A]:
        if self._sending is None or about.name is None or about.find is None:
            return self._engine.submit(partial(self._behind, build, about))
        submitted = self._engine.submit(partial(self._remembering, build, about, self._sending, about.name))
        find = about.find
        return then(submitted, lambda remembered: _value(remembered, find))

    def _behind(self, build: Callable[[Policy], Step[A]], about: About[A], policy: Policy) -> ForRun[A]:
        return ForRun(
            step=build(policy),
            policy_document=policy,
            voice=self._voice,
            works_on=about.works_on,
            starts=about.starts,
        )

    def _remembering(
        self,
        build: Callable[[Policy], Step[A]],
        about: About[A],
        sending: Sending,
        name: Callable[[A], str],
        policy: Policy,
    ) -> ForRun[Remembered[A]]:
        """Proof and rights are judged of what is sent again too; only the step behind them is not decided anew."""
        inner = RememberSent(step=build(policy), client=self.client, sending=sending, name=name)
        return ForRun(
            step=inner,
            policy_document=policy,
            voice=self._voice,
            works_on=about.works_on,
            starts=about.starts,
        )

    def _check_mine(self, run: Run, row: RunRow) -> None:
        policy = check_client(self._engine, self._voice)
        if row.client != self.client:
            raise NotFoundError(f"{run.run_id} is not in this ledger")
        right = policy.clients[self.client].runs
        if (refusal := refuse_run_of(right, self.client, run)) is not None:
            raise refusal_error(refusal)


def _value(remembered: Remembered[A], find: Callable[[str], A]) -> A:
    return find(remembered.subject) if remembered.value is None else remembered.value
