"""What a step would answer, without taking it: nothing is written, nobody is asked, no budget is touched.

Called for people who are about to ask for something (the consent page shows the card that would come of it) and for
programs that ask what the answer would be. It is the same pure decision over what is committed, so it cannot be of
another opinion; and it is true of one moment and starts nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from leasehold.authority.engine import Engine
from leasehold.decide.facts import (
    ActiveStops,
    AllOpenCalls,
    Changes,
    Facts,
    Index,
    OpenCalls,
    PendingRequests,
    Ref,
    RequestsOfCall,
    Step,
    StepAnswer,
    key_of,
)
from leasehold.decide.rows import Row
from leasehold.errors import TransitionError
from leasehold.model.instant import Instant
from leasehold.model.request import RequestState

__all__ = ["Rehearsal"]

A = TypeVar("A")


class Rehearsal:
    """One train of thought: each step sees what those before it would have changed. Not shared by threads.

    `run_id` is the run whose requests are looked through, where a step asks for the requests of a call.
    """

    def __init__(self, engine: Engine, run_id: str = "") -> None:
        self._queries = engine.store.queries
        control = self._queries.control()
        self._facts = Facts(control)
        self._now = max(engine.system.now(), Instant(control.last_time_ms))  # as in the lane
        self._run_id = run_id
        self._known: set[Ref | Index] = set()

    def ask(self, step: Step[A]) -> tuple[StepAnswer[A], Changes]:
        """What a step would answer, and what it would have written."""
        needs = tuple(step.keys())
        needs = tuple(need for need in needs if need not in self._known)
        refs = [need for need in needs if isinstance(need, Ref)]
        for ref, row in zip(refs, self._queries.rows(refs), strict=True):
            self._facts.load(ref, row)
        for need in needs:
            if isinstance(need, Index):
                self._facts.load_index(need, self._bucket(need))
        self._known.update(needs)
        answer, changes = step.decide(self._facts, self._now)
        self._facts.apply(changes)
        self._known.update(Ref(type(row), key_of(row)) for row in changes.rows)
        return answer, changes

    def _bucket(self, index: Index) -> Iterable[Row]:
        match index:
            case ActiveStops():
                return [row for row in self._queries.stops([index.bucket[0]]) if row.is_active]
            case PendingRequests():
                rows = self._queries.requests_of_run(*index.bucket)
                return [row for row in rows if row.state == RequestState.PENDING]
            case RequestsOfCall():
                tenant, digest = index.bucket
                return [row for row in self._queries.requests_of_run(tenant, self._run_id) if row.call_digest == digest]
            case OpenCalls():
                return self._queries.open_calls([index.bucket[0]])
            case AllOpenCalls():
                return self._queries.open_calls(self._queries.tenants())
            case _:
                raise TransitionError(f"{type(index).__name__} cannot be rehearsed")
