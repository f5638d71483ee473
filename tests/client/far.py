"""The stage of the authority's tests, its agents and doors on another machine: the same words, said over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from leasehold.authority import Authority
from leasehold.client.remote import RemoteAuthority
from leasehold.testing.clock import FrozenSystem
from stage import Stage


class Switch:
    """The application of the server that a module of tests shares; each test puts its own there."""

    def __init__(self) -> None:
        self.app: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
        else:
            assert self.app is not None
            await self.app(scope, receive, send)


async def _live(receive: Receive, send: Send) -> None:
    while (await receive())["type"] != "lifespan.shutdown":
        await send({"type": "lifespan.startup.complete"})
    await send({"type": "lifespan.shutdown.complete"})


class FarAuthority:
    """What agents and guards ask goes over the network, what operators, people and tests look at does not."""

    def __init__(self, near: Authority, far: RemoteAuthority) -> None:
        self.near = near
        self.far = far
        for verb in ("start", "retry", "run", "request", "find_request", "wait", "renew", "escalate", "finish"):
            setattr(self, verb, getattr(far, verb))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.near, name)


class FarStage(Stage):
    """A stage whose `authority` is far off. `far` answers the client of an agent host, or of the door that it names."""

    def __init__(self, near: Authority, far: Callable[..., RemoteAuthority], system: FrozenSystem) -> None:
        super().__init__(authority=near, system=system)
        self._far = far
        self.authority = FarAuthority(near, far())  # type: ignore[assignment]  # with the verbs that tests use
        self.authority.door = self.door  # type: ignore[method-assign, assignment]
        self.authority.runs = FarRuns(near.runs, far().runs)  # type: ignore[assignment]

    def door(self, tool: str = "ticket", environment: str = "prod") -> Any:
        return self._far(tool, environment).door(tool, environment)


class FarRuns:
    """The rest of what agent hosts may ask, over the network where it can be asked there."""

    def __init__(self, near: Any, far: Any) -> None:
        self._near = near
        self._far = far

    def __getattr__(self, name: str) -> Any:
        return getattr(self._far, name, None) or getattr(self._near, name)
