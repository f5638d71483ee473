"""What the guard tests share: one lease, a door in memory, and the guard that stands at it."""

from __future__ import annotations

import pytest
from door import HELD, CheckedDoor, MemoryDoor

from leasehold.guard import Guard
from leasehold.model.lease import HeldLease


@pytest.fixture
def held() -> HeldLease:
    return HELD


@pytest.fixture
def door() -> MemoryDoor:
    return MemoryDoor()


@pytest.fixture
def checked_door() -> CheckedDoor:
    return CheckedDoor()


@pytest.fixture
def guard(door: MemoryDoor) -> Guard:
    return Guard("ticket", door, environment="prod")
