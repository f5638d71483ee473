"""One stream of server-sent events for a client: what is stopped where it has rights, and requests that were decided.

Nobody polls: a registration at the store wakes the stream after commits, a look tells what is new, and what is the same
as before is not told again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import msgspec
from starlette.concurrency import run_in_threadpool

from leasehold.authority import Authority
from leasehold.authority.clients import check_client
from leasehold.authority.standing import Standing, standing_stops
from leasehold.decide.rows import AUTHORITY_WIDE
from leasehold.errors import Denied, LeaseholdError
from leasehold.http.api_calls import Answer, ApiCall
from leasehold.http.api_reading import ApiProblemError
from leasehold.http.callers import Caller
from leasehold.http.events import PING_SECONDS, REST_SECONDS, HeldStream, Places, Streams
from leasehold.model.api import EventLine, StandingStop
from leasehold.policy.client_rule import ANYTHING, ClientRule

__all__ = ["MOST_STREAMS", "EventStreams"]

MOST_STREAMS = 20
"""Of one client; a host opens one a process."""
_ENCODER = msgspec.json.Encoder()


class EventStreams:
    """The open streams of one server. Belongs to its event loop; ended with the others when the server stops."""

    def __init__(self, authority: Authority, streams: Streams) -> None:
        self._authority = authority
        self._streams = streams
        self._places = Places(MOST_STREAMS)

    async def answer(self, call: ApiCall) -> Answer:
        """A stream of what concerns this client, until its credential counts no more."""
        if self._streams.is_closing:
            raise ApiProblemError("unavailable", "the server is about to stop")
        if not self._places.take(call.client.client):
            raise ApiProblemError("too_many", f"a client has at most {MOST_STREAMS} streams open")
        headers = {"X-Accel-Buffering": "no"}
        return HeldStream(self._lines(call.client), self._places, call.client.client, headers)

    async def _lines(self, caller: Caller) -> AsyncIterator[str]:
        woken = asyncio.Event()
        loop = asyncio.get_running_loop()

        def wake() -> None:
            with suppress(RuntimeError):  # the loop has ended; so has the stream
                loop.call_soon_threadsafe(woken.set)

        forget = self._streams.register(wake)
        try:
            async for line in self._told(_Watch(self._authority, caller), woken):
                yield line
        finally:
            forget()

    async def _told(self, watch: _Watch, woken: asyncio.Event) -> AsyncIterator[str]:
        yield "retry: 3000\n\n"
        while not self._streams.is_closing:
            try:
                lines = await run_in_threadpool(watch.look)
            except Denied:
                break
            except LeaseholdError:
                lines = []  # nobody can tell now; the next commit, or the next while, asks again
            for line in lines:
                yield line
            await asyncio.sleep(REST_SECONDS)
            try:
                async with asyncio.timeout(PING_SECONDS):
                    await woken.wait()
            except TimeoutError:
                yield ": still here\n\n"
            woken.clear()
        yield "event: over\ndata: {}\n\n"


class _Watch:
    """What one stream has told so far. Looked at by one thread at a time."""

    def __init__(self, authority: Authority, caller: Caller) -> None:
        self._authority = authority
        self._caller = caller
        self._told: tuple[StandingStop, ...] | None = None
        self._pending: dict[str, str] = {}

    def look(self) -> list[str]:
        """The events since the last look.

        Raises:
            Denied: the credential counts no more.
            StoreError: the database cannot be read.
        """
        policy = check_client(self._authority.engine, self._caller.voice)
        rule = policy.clients[self._caller.client]
        lines = self._decided(rule) if rule.runs is not None else []
        stops = tuple(_shown(stop) for stop in standing_stops(self._authority.engine) if _concerns(rule, stop))
        if stops != self._told:
            self._told = stops
            lines.append(_event("stops", EventLine(stops=stops)))
        return lines

    def _decided(self, rule: ClientRule) -> list[str]:
        """Requests of this client's runs that waited at the last look and do not any more, where it still works."""
        engine = self._authority.engine
        queries = engine.store.queries
        tenants = [tenant for tenant in queries.tenants() if _works_in(rule, tenant)]
        rows = queries.pending_requests(tenants)
        mine = {
            row.request_id: row.tenant
            for row in rows
            if engine.run_row(row.tenant, row.run_id).client == self._caller.client
        }
        waited = {request: tenant for request, tenant in self._pending.items() if _works_in(rule, tenant)}
        gone = {request: tenant for request, tenant in waited.items() if request not in mine}
        self._pending = mine
        return [self._line(request, tenant) for request, tenant in sorted(gone.items())]

    def _line(self, request_id: str, tenant: str) -> str:
        row = self._authority.engine.request_row(tenant, request_id)
        return _event("request", EventLine(request_id=request_id, run_id=row.run_id, state=row.state))


def _concerns(rule: ClientRule, stop: Standing) -> bool:
    """Whether a client may know of a stop: of every tenant, or of one that it works in."""
    return stop.tenant == AUTHORITY_WIDE or _works_in(rule, stop.tenant)


def _works_in(rule: ClientRule, tenant: str) -> bool:
    """Whether a client has anything to do in a tenant. A door works in all of them."""
    return rule.runs is None or rule.runs.tenants == (ANYTHING,) or tenant in rule.runs.tenants


def _shown(stop: Standing) -> StandingStop:
    """Without who did it and why, which is for people."""
    return StandingStop(tenant=stop.tenant, scope=stop.scope, kind=stop.kind, at=stop.at)


def _event(name: str, line: EventLine) -> str:
    return f"event: {name}\ndata: {_ENCODER.encode(line).decode()}\n\n"
