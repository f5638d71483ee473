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
from leasehold.decide.rows import AUTHORITY_WIDE, RequestRow
from leasehold.errors import Denied, LeaseholdError
from leasehold.http.api_calls import Answer, ApiCall, take_stream
from leasehold.http.api_reading import ApiProblemError
from leasehold.http.callers import Caller, stranger
from leasehold.http.events import PING_SECONDS, REST_SECONDS, HeldStream, Streams
from leasehold.model.api import EventLine, StandingStop
from leasehold.policy.client_rule import ANYTHING, ClientRule

__all__ = ["EventStreams"]

_ENCODER = msgspec.json.Encoder()


class EventStreams:
    """The open streams of one server. Belongs to its event loop; ended with the others when the server stops."""

    def __init__(self, authority: Authority, streams: Streams) -> None:
        self._authority = authority
        self._streams = streams

    async def answer(self, call: ApiCall) -> Answer:
        """A stream of what concerns this client, until its credential counts no more."""
        if self._streams.is_closing:
            raise ApiProblemError("unavailable", "the server is about to stop")
        watch = _Watch(self._authority, call.client)
        await run_in_threadpool(watch.check)
        give_back = take_stream(self._streams, call.client.client)
        return HeldStream(self._lines(watch), give_back, {"X-Accel-Buffering": "no"})

    async def _lines(self, watch: _Watch) -> AsyncIterator[str]:
        woken = asyncio.Event()
        loop = asyncio.get_running_loop()

        def wake() -> None:
            with suppress(RuntimeError):  # the loop has ended; so has the stream
                loop.call_soon_threadsafe(woken.set)

        forget = self._streams.register(wake)
        try:
            async for line in self._told(watch, woken):
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
        self._known: dict[str, bool] = {}

    def check(self) -> ClientRule:
        """What the client may do now.

        Raises:
            Denied: the credential counts no more.
            StoreError: the database cannot be read.
        """
        engine, until = self._authority.engine, self._caller.expires_at
        if until is not None and engine.system.now().reached(until):
            raise stranger("the token that this was asked with is over")
        return check_client(engine, self._caller.voice).clients[self._caller.client]

    def look(self) -> list[str]:
        """The events since the last look.

        Raises:
            Denied, StoreError: as `check`.
        """
        rule = self.check()
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
        self._known = {row.request_id: self._is_mine(row) for row in rows}
        mine = {row.request_id: row.tenant for row in rows if self._known[row.request_id]}
        waited = {request: tenant for request, tenant in self._pending.items() if _works_in(rule, tenant)}
        gone = {request: tenant for request, tenant in waited.items() if request not in mine}
        self._pending = mine
        return [self._line(request, tenant) for request, tenant in sorted(gone.items())]

    def _is_mine(self, row: RequestRow) -> bool:
        """Whether a request is of a run of this client, which never changes: it is read once, not after each commit."""
        found = self._known.get(row.request_id)
        if found is not None:
            return found
        return self._authority.engine.run_row(row.tenant, row.run_id).client == self._caller.client

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
