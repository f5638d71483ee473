"""What the tests of HTTP adapters share: a guarded ticket service under a real server, and who calls it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from desk_service import Caller, Desk, desk_app, running

from leasehold.guard import Guard
from stage import Stage


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def guard(stage: Stage) -> Guard:
    return Guard("ticket", stage.authority, environment="prod")


@pytest.fixture
def port(desk: Desk, guard: Guard) -> Iterator[int]:
    with running(desk_app(desk, guard)) as port:
        yield port


@pytest.fixture
def caller(stage: Stage, port: int) -> Caller:
    """Somebody with a lease to read and to update tickets T-*."""
    lease = stage.lease({"ticket.get": {"ticket": ["T-*"]}, "ticket.update": {"ticket": ["T-*"]}})
    return Caller(port, lease)
