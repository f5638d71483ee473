"""What the tests of remote faces share: one real server a module, and a stage whose agents and doors are far off."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import cache

import pytest
from api_server import ApiServer
from far import FarStage, Switch

from leasehold.client.remote import RemoteAuthority, connect
from leasehold.ledger.history import check_history
from leasehold.testing.clock import FrozenSystem
from leasehold.testing.fixtures import memory_authority
from served import served
from stage import POLICY


@pytest.fixture(scope="module")
def switch() -> Switch:
    return Switch()


@pytest.fixture(scope="module")
def port(switch: Switch) -> Iterator[int]:
    with served(lambda _: switch) as port:
        yield port


@pytest.fixture
def stage(switch: Switch, port: int) -> Iterator[FarStage]:
    """As the stage of the embedded authority, all that agents and guards ask sent over HTTP."""
    system = FrozenSystem()
    near = memory_authority(POLICY, system=system)
    switch.app = ApiServer(near).app
    with ExitStack() as clients, near:

        @cache
        def far(tool: str = "agent", environment: str = "host") -> RemoteAuthority:
            url, credential = f"http://127.0.0.1:{port}", f"{tool}@{environment}"
            return clients.enter_context(connect(url, credential, system=system))

        stage = FarStage(near, far, system)
        yield stage
        assert check_history(stage.entries()) == []
