"""Settings for all tests: Hypothesis without deadlines (machines are noisy; no test asserts a time), and the stage."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from leasehold.ledger.history import check_history
from stage import Stage

settings.register_profile("leasehold", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("leasehold")


@pytest.fixture
def stage() -> Iterator[Stage]:
    """A fresh authority in memory, with one policy, a clock to turn and people with keys.

    Whatever a test did there, an auditor who reads the ledger afterwards must find every invariant whole.
    """
    stage = Stage()
    yield stage
    assert check_history(stage.entries()) == []
    stage.close()
