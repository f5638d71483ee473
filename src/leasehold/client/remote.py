"""An authority on another machine, with the verbs of the embedded one. What `leasehold.connect` answers."""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from leasehold.client.credentials import Given, bearer
from leasehold.client.door import RemoteDoor
from leasehold.client.place import Place, find_place
from leasehold.client.runs import RemoteRuns
from leasehold.errors import ConfigError, InvalidError
from leasehold.model.api import ALL_DEPTH
from leasehold.model.lease import HeldLease
from leasehold.model.request import Request
from leasehold.model.run import RunAttempt
from leasehold.system import RealSystem, System

if TYPE_CHECKING:
    from leasehold.client.api import Api, Line

__all__ = ["DEADLINE_SECONDS", "RemoteAuthority", "connect", "open_line"]

DEADLINE_SECONDS = 10.0


def connect(
    url: str,
    credential: Given,
    *,
    doors: Mapping[str, Given] | None = None,
    trust: ssl.SSLContext | None = None,
    deadline_seconds: float = DEADLINE_SECONDS,
    system: System | None = None,
) -> RemoteAuthority:
    """Connect to the authority at `https://host`, at `unix:/path`, or at `http://127.0.0.1:port` on this machine.

    `credential` is an API key or a token of a trusted issuer, or a function that answers the one of the moment. It has
    one scope: that of an agent host, or that of one tool's door. Who is both names the credentials of its doors in
    `doors`, by tool. Nothing is asked yet; `deadline_seconds` bound each question with all its tries. `trust` says
    which certificates count, by default those of the system.

    Raises:
        InvalidError: the address is plain http to another machine, or the credential cannot be one.
        ConfigError: the extra `client` is not installed.
    """
    line = open_line(find_place(url, trust), system or RealSystem(), deadline_seconds)
    doors_of = {tool: line.as_caller(bearer(given)) for tool, given in (doors or {}).items()}
    return RemoteAuthority(line.as_caller(bearer(credential)), doors_of)


def open_line(place: Place, system: System, deadline_seconds: float) -> Line:
    """The connections to one place, none of them open yet.

    Raises:
        InvalidError: the deadline cannot be one.
        ConfigError: the extra `client` is not installed.
    """
    try:
        from leasehold.client.api import Line
    except ModuleNotFoundError as error:
        raise ConfigError(f"the client is not installed ({error.name}); run: pip install 'leasehold[client]'") from None
    if not 0 < deadline_seconds <= 300:
        raise InvalidError("a deadline is more than 0 and at most 300 seconds")
    return Line(place, system, deadline_seconds)


class RemoteAuthority:
    """The everyday verbs of an authority, over HTTP. Threads may share it; close it when done, or use it with `with`.

    A program that ends without has reports of calls arrive all the same, for as long as `close` would.

    Whatever it cannot learn from the authority in time is an `UnavailableError`, and the call must not be made: nothing
    is decided here. `runs` has the rest of what an agent host may ask.
    """

    def __init__(self, api: Api, doors: Mapping[str, Api]) -> None:
        self._api = api
        self._doors = dict(doors)
        self.runs = RemoteRuns(api)

    def __repr__(self) -> str:
        return f"<RemoteAuthority {self._api.place}>"

    def door(self, tool: str, environment: str) -> RemoteDoor:
        """The door of one tool in one environment; the credential has to be its own."""
        return RemoteDoor(self._doors.get(tool, self._api), tool, environment)

    def start(
        self,
        *,
        agent: str,
        purpose: str,
        route: str = "",
        tenant: str = "",
        environment: str = "",
        requested_by: str = "",
        parent: HeldLease | None = None,
        subject_token: str = "",
    ) -> RunAttempt:
        """Start a run, or a child run under a lease (`RemoteRuns.submit_start`)."""
        return self.runs.submit_start(
            agent=agent,
            purpose=purpose,
            route=route,
            tenant=tenant,
            environment=environment,
            requested_by=requested_by,
            parent=parent,
            subject_token=subject_token,
        ).result()

    def retry(self, run: RunAttempt) -> RunAttempt:
        """Begin the next attempt: what older attempts hold is dead from here on."""
        return self.runs.submit_retry(run).result()

    def run(self, run_id: str) -> RunAttempt:
        """Take a run up again in another process."""
        return self.runs.submit_resume(run_id).result()

    def request(
        self,
        run: RunAttempt,
        allow: Mapping[str, Mapping[str, object]],
        *,
        reason: str,
        budget: Mapping[str, object] | None = None,
        ttl_seconds: int = 0,
        delegation_depth: int = ALL_DEPTH,
        tried: Sequence[str] = (),
    ) -> Request:
        """Ask for a lease; where people have to agree, `wait` waits for them."""
        return self.runs.submit_request(
            run,
            allow,
            reason=reason,
            budget=budget,
            ttl_seconds=ttl_seconds,
            delegation_depth=delegation_depth,
            tried=tried,
        ).result()

    def find_request(self, request_id: str) -> Request:
        """A request by its id."""
        return self.runs.submit_find_request(request_id).result()

    def wait(self, request: Request | str, timeout: float | None = None) -> HeldLease:
        """Wait for people, then draw a live lease (`RemoteRuns.wait`)."""
        return self.runs.wait(request, timeout)

    def renew(self, lease: HeldLease) -> HeldLease:
        """Draw the next lease of the same request."""
        return self.runs.submit_renew(lease).result()

    def escalate(
        self,
        run: RunAttempt,
        action: str,
        attributes: Mapping[str, object],
        *,
        reason: str,
        seconds: int = 60,
        timeout: float | None = None,
        tried: Sequence[str] = (),
    ) -> HeldLease:
        """A lease for one operation, dead after a minute (`RemoteRuns.escalate`)."""
        return self.runs.escalate(run, action, attributes, reason=reason, seconds=seconds, timeout=timeout, tried=tried)

    def finish(self, run: RunAttempt) -> bytes:
        """Finish a run and everything under it, and answer its signed receipt (a DSSE envelope)."""
        return self.runs.submit_finish(run).result()

    def receipt(self, run: RunAttempt) -> bytes:
        """The signed receipt of a run as of now."""
        return self.runs.submit_receipt(run.run_id).result()

    def close(self) -> None:
        """Let reports of calls arrive, for two seconds at most, end what else is under way, let the connections go."""
        self._api.close()

    def __enter__(self) -> RemoteAuthority:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
