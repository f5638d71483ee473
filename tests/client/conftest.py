"""What the tests of remote faces share: one real server a module, and a stage whose agents and doors are far off."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import cache

import pytest
from far import FAR_POLICY, HOST, FarStage, Switch, key_of

from leasehold.client.remote import RemoteAuthority, connect
from leasehold.ledger.history import check_history
from leasehold.policy.load import Source, load_policy
from leasehold.testing.clock import FrozenSystem
from leasehold.testing.fixtures import memory_authority
from served import served


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
    near = memory_authority(FAR_POLICY, system=system)
    streams = switch.serve(near)
    with near, ExitStack() as clients:
        clients.callback(streams.close)

        keys = {client: key_of(near, client) for client in load_policy([Source("", FAR_POLICY)]).clients}

        @cache
        def far(client: str) -> RemoteAuthority:
            return clients.enter_context(
                connect(f"http://127.0.0.1:{port}", keys.get(client, keys[HOST]), system=system)
            )

        stage = FarStage(near, far, system)
        yield stage
        assert check_history(stage.entries()) == []
