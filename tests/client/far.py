"""The stage of the authority's tests, its agents and doors on another machine: the same words, said over HTTP.

The server is the real one with its API; each client has a key of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from clients import api_key
from leasehold.authority import Authority
from leasehold.client.remote import RemoteAuthority
from leasehold.http.api import create_api
from leasehold.http.events import Streams
from leasehold.testing.clock import FrozenSystem
from stage import POLICY, Stage, policy

CLIENTS = """
[clients."host"]
runs = { agents = ["*"], routes = ["*"], tenants = ["*"], environments = ["*"] }
[clients."ticket@prod"]
door = { tool = "ticket", environment = "prod" }
[clients."ticket@staging"]
door = { tool = "ticket", environment = "staging" }
[clients."mail@staging"]
door = { tool = "mail", environment = "staging" }
[clients."mail@prod"]
door = { tool = "mail", environment = "prod" }
[clients."nowhere@prod"]
door = { tool = "nowhere", environment = "prod" }
"""
FAR_POLICY = POLICY + CLIENTS
HOST = "host"


class Switch:
    """The application of the server that a module of tests shares; each test puts its own there, and sees who came."""

    def __init__(self) -> None:
        self.app: ASGIApp | None = None
        self.asked: list[str] = []

    def serve(self, authority: Authority) -> Streams:
        """Put the API of an authority there; its streams end when they are closed."""
        streams = Streams(authority)
        self.app = create_api(authority, streams=streams)
        return streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        self.asked.append(scope["path"])
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

    def __init__(self, near: Authority, far: Callable[[str], RemoteAuthority], system: FrozenSystem) -> None:
        super().__init__(authority=near, system=system)
        self._far = far
        self.authority = FarAuthority(near, far(HOST))  # type: ignore[assignment]  # with the verbs that tests use
        self.authority.door = self.door  # type: ignore[method-assign, assignment]
        self.authority.runs = FarRuns(near.runs, far(HOST).runs)  # type: ignore[assignment]

    def door(self, tool: str = "ticket", environment: str = "prod") -> Any:
        return self._far(f"{tool}@{environment}").door(tool, environment)

    def accept(self, text: str) -> None:
        """As everywhere, but that the clients stay what they are."""
        self.desk.accept_policy(policy(text + CLIENTS), by="test")


class FarRuns:
    """The rest of what agent hosts may ask, over the network where it can be asked there."""

    def __init__(self, near: Any, far: Any) -> None:
        self._near = near
        self._far = far

    def __getattr__(self, name: str) -> Any:
        return getattr(self._far, name, None) or getattr(self._near, name)


def key_of(near: Authority, client: str) -> str:
    """A new key of a client."""
    return api_key(Stage(authority=near, system=FrozenSystem()), client)
