"""Server-sent events: a page hears that something it shows has changed, and asks for it anew. No polling.

One registration at the store wakes a stream after commits; then the page's own `look` says whether anything that it
shows is different. A stream ends with its session.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import ExitStack, suppress

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from leasehold.authority import Authority
from leasehold.authority.sign_ins import SignedIn
from leasehold.http.problems import ProblemError

__all__ = ["HeldStream", "Places", "Streams", "event_stream"]

PING_SECONDS = 15.0
REST_SECONDS = 0.2
"""The least time between two looks of one stream, however much is committed."""
MOST_STREAMS = 20
"""Of one session, which opens one a page; of one client, whose host opens one a process."""
MOST_WAITS = 256
"""Of one client at a time; each is looked at again after every commit."""
MOST_HELD = 512
"""Answers that are held back for programs at a time, whoever they are: waiting must not take every connection."""


class Places:
    """How many streams each of many has open. Owns its lock: pages ask in threads, the interface in its event loop."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._taken: Counter[str] = Counter()

    def take(self, who: str) -> bool:
        """Take a place before a stream begins, so that many at once are not more; False where there is none left."""
        with self._lock:
            if self._taken[who] >= self._most:
                return False
            self._taken[who] += 1
            return True

    def give_back(self, who: str) -> None:
        """Give one back."""
        with self._lock:
            self._taken -= Counter([who])

    @property
    def taken(self) -> int:
        """How many are taken, by whomever."""
        with self._lock:
            return self._taken.total()


class HeldStream(StreamingResponse):
    """An event stream that gives its place back when its answer has ended, also if it never began."""

    def __init__(self, lines: AsyncIterator[str], give_back: Callable[[], None], headers: Mapping[str, str]) -> None:
        super().__init__(lines, media_type="text/event-stream", headers=headers)
        self._give_back = give_back

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, and give the place back."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._give_back()


class Streams:
    """All open event streams of one server. Belongs to its event loop; `close` may be called from any thread.

    It counts what the server holds back, on its port and its socket together: streams of sessions, streams and waits
    of clients, and those of all clients in `held`, of all sessions in `pages`, each under one name.
    """

    def __init__(self, authority: Authority, *, most_held: int = MOST_HELD) -> None:
        self._authority = authority
        self.places = Places(MOST_STREAMS)
        self.of_clients = Places(MOST_STREAMS)
        self.waits = Places(MOST_WAITS)
        self.held = Places(most_held)
        self.pages = Places(most_held // 2)
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

    def take(self, session: SignedIn) -> Callable[[], None]:
        """Take a place for one more stream of a page; answers what gives it back.

        Raises:
            ProblemError: 429 or 503; this session or all of them have too many, or the server is about to stop.
        """
        if self.is_closing:
            raise ProblemError(503, "Not now", "The server is about to stop.")
        with ExitStack() as stack:
            for places, who in ((self.places, session.session), (self.pages, "everybody")):
                if not places.take(who):
                    raise ProblemError(429, "Too many pages", "Close some of the pages that are open here.")
                stack.callback(places.give_back, who)
            return stack.pop_all().close

    async def lines(self, session: SignedIn, look: Callable[[], str | None]) -> AsyncIterator[str]:
        """The text of one stream, until its session is over."""
        woken = asyncio.Event()
        loop = asyncio.get_running_loop()

        def wake() -> None:
            with suppress(RuntimeError):  # the loop has ended; so has the stream
                loop.call_soon_threadsafe(woken.set)

        forget = self.register(wake)
        try:
            async for line in self._told(session, look, woken):
                yield line
        finally:
            forget()

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
    give_back = streams.take(session)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return HeldStream(streams.lines(session, look), give_back, headers)
