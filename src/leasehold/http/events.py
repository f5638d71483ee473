"""Server-sent events: a page hears that something it shows has changed, and asks for it anew. No polling.

One registration at the store wakes a stream after commits; then the page's own `look` says whether anything that it
shows is different. A stream ends with its session.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from leasehold.authority import Authority
from leasehold.authority.sign_ins import SignedIn
from leasehold.http.problems import ProblemError

__all__ = ["Streams", "event_stream"]

PING_SECONDS = 15.0
REST_SECONDS = 0.2
"""The least time between two looks of one stream, however much is committed."""
MOST_STREAMS = 20
"""Of one session; a browser opens one a page."""


class Streams:
    """All open event streams of one server. Belongs to its event loop; `close` may be called from any thread."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority
        self._open: Counter[str] = Counter()
        self._wakers: set[Callable[[], None]] = set()
        self.is_closing = False

    def close(self) -> None:
        """End every stream soon, and open no more: the server is about to stop."""
        self.is_closing = True
        for wake in list(self._wakers):
            wake()

    def register(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Have `wake` called after commits and when the server stops; answers what ends that."""
        forget = self._authority.engine.store.changes.register(wake)
        self._wakers.add(wake)

        def end() -> None:
            forget()
            self._wakers.discard(wake)

        return end

    def check(self, session: SignedIn) -> None:
        """Return if one more stream may be opened.

        Raises:
            ProblemError: 429 or 503; this session has too many, or the server is about to stop.
        """
        if self.is_closing:
            raise ProblemError(503, "Not now", "The server is about to stop.")
        if self._open[session.session] >= MOST_STREAMS:
            raise ProblemError(429, "Too many pages", "Close some of the pages that are open here.")

    async def lines(self, session: SignedIn, look: Callable[[], str | None]) -> AsyncIterator[str]:
        """The text of one stream, until its session is over."""
        woken = asyncio.Event()
        loop = asyncio.get_running_loop()

        def wake() -> None:
            with suppress(RuntimeError):  # the loop has ended; so has the stream
                loop.call_soon_threadsafe(woken.set)

        forget = self.register(wake)
        self._open[session.session] += 1
        try:
            async for line in self._told(session, look, woken):
                yield line
        finally:
            forget()
            self._open -= Counter([session.session])

    async def _told(
        self, session: SignedIn, look: Callable[[], str | None], woken: asyncio.Event
    ) -> AsyncIterator[str]:
        yield "retry: 3000\n\n"
        told: str | None = None
        while not self.is_closing and await run_in_threadpool(self._authority.sign_ins.is_open, session):
            text = await run_in_threadpool(look)
            if text is not None and text != told:
                told = text
                yield f"event: changed\ndata: {' '.join(text.split())}\n\n"
            await asyncio.sleep(REST_SECONDS)
            try:
                async with asyncio.timeout(PING_SECONDS):
                    await woken.wait()
            except TimeoutError:
                yield ": still here\n\n"
            woken.clear()
        yield "event: over\ndata: over\n\n"


def event_stream(request: Request, look: Callable[[], str | None]) -> Response:
    """A stream that says `changed` whenever `look`, which is called in a thread, answers another text than before.

    Raises:
        ProblemError: this session has too many streams, or the server is about to stop.
    """
    streams: Streams = request.app.state.streams
    session: SignedIn = request.state.session
    streams.check(session)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(streams.lines(session, look), media_type="text/event-stream", headers=headers)
