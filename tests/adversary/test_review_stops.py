"""Stops under races and misuse: what was answered as stopped stays stopped, and only where it was asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from leasehold.authority.embedded import Authority
from leasehold.authority.engine import Engine
from leasehold.authority.forgeries import ForgeryCounter
from leasehold.authority.sign_ins import FailedSignIns
from leasehold.authority.sweep import Sweep
from leasehold.errors import NotFoundError
from leasehold.model.decision import Reason
from leasehold.model.scope import Scope
from stage import EVA, GET, Stage


class Interrupted:
    """A real thing, one of whose methods is followed by something that happens elsewhere before its caller goes on."""

    def __init__(self, inner: Any, method: str, then: Callable[[], object]) -> None:
        self._inner = inner
        self._method = method
        self._then: Callable[[], object] | None = then

    def __getattr__(self, name: str) -> Any:
        return self._call if name == self._method else getattr(self._inner, name)

    def _call(self, *args: object) -> object:
        answer = getattr(self._inner, self._method)(*args)
        then, self._then = self._then, None
        if then is not None:
            then()
        return answer


class ReadingThrough:
    """A real store whose reads go through something else."""

    def __init__(self, inner: Any, queries: Interrupted) -> None:
        self._inner = inner
        self.queries = queries

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def sweep_interrupted(authority: Authority, method: str, then: Callable[[], object]) -> Sweep:
    """The sweep of an authority, with something happening right after it first reads in one way."""
    engine = authority.engine
    store: Any = ReadingThrough(engine.store, Interrupted(engine.store.queries, method, then))
    return Sweep(Engine(store, engine.system, engine.identity), authority.runs, ForgeryCounter(), FailedSignIns())


@pytest.mark.invariant("I1")
@pytest.mark.case(53, 63)
@pytest.mark.parametrize("read", ["stops", "tenants", "open_runs", "wishes"])
def test_a_sweep_does_not_retire_a_revoke_over_the_first_run_of_a_new_tenant(stage: Stage, read: str) -> None:
    """The tenant and the revoke both come while the sweep reads, whatever it has read by then."""
    stage.start()
    stage.revoke("agent:nobody")  # which is looked at, so that all of it is read
    held = []

    def meanwhile() -> None:
        held.append(stage.lease(GET, run=stage.start(tenant="globex")))
        stage.revoke("tool:ticket")

    sweep_interrupted(stage.authority, read, meanwhile).run_once()
    assert stage.refusal(held[0], "ticket.get") is Reason.REVOKED


@pytest.mark.invariant("I10")
@pytest.mark.case(57)
def test_nobody_stops_or_lifts_another_tenant_from_within_their_own(stage: Stage) -> None:
    lease = stage.lease(GET, run=stage.start(tenant="globex"))
    with pytest.raises(NotFoundError):
        stage.revoke("tenant:globex", tenant="acme")
    with pytest.raises(NotFoundError):
        stage.hold("tenant:globex", tenant="acme")
    assert stage.admit(lease, "ticket.get")
    stage.hold("tenant:globex", tenant="globex")
    with pytest.raises(NotFoundError):
        stage.desk.lift(Scope.parse("tenant:globex"), stage.people.signatory(EVA), reason="fine", tenant="acme")
    assert stage.refusal(lease, "ticket.get") is Reason.HELD
