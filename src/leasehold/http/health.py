"""Whether the process is alive (`/healthz`) and fit for work (`/readyz`). For load balancers and supervisors.

They are asked under any name and by anybody, so they tell nothing of what is inside: a word for each check that fails.
What asks is a program, so another method than GET and HEAD is told in a problem document, not on a page.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from enum import StrEnum

from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from leasehold.authority import Authority
from leasehold.decide.facts import StepAnswer
from leasehold.decide.probe import Probe
from leasehold.errors import LeaseholdError
from leasehold.http.api import send_problem
from leasehold.model.decision import Reason
from leasehold.model.instant import Instant
from leasehold.model.problem import Problem

__all__ = ["Check", "Health", "Readiness"]

PATIENCE_SECONDS = 2.0
KEPT_SECONDS = 1.0

_LOG = logging.getLogger("leasehold.health")
_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_OTHER_METHOD = Problem.of_code("method_not_allowed", "this takes GET and HEAD")


class Check(StrEnum):
    """What may be amiss."""

    STORE = "store"
    CLOCK = "clock"
    KEYS = "keys"
    STOPPING = "stopping"


class Readiness:
    """Finds out what is amiss, at most once in `kept_seconds` however often it is asked. Belongs to one event loop.

    `keys` raises where the signing keys cannot be read, `is_stopping` says that the server is about to end.
    """

    def __init__(
        self,
        authority: Authority,
        *,
        keys: Callable[[], object],
        is_stopping: Callable[[], bool],
        patience_seconds: float = PATIENCE_SECONDS,
        kept_seconds: float = KEPT_SECONDS,
    ) -> None:
        self._authority = authority
        self._keys = keys
        self._is_stopping = is_stopping
        self._patience_seconds = patience_seconds
        self._kept_seconds = kept_seconds
        self._asked: asyncio.Task[tuple[Check, ...]] | None = None
        self._found_at = 0.0
        self._told: tuple[Check, ...] = ()

    async def failed(self) -> Sequence[Check]:
        """The checks that fail; none if all is well."""
        if self._is_stopping():
            return (Check.STOPPING,)
        now = asyncio.get_running_loop().time()
        if self._asked is None or (self._asked.done() and now - self._found_at > self._kept_seconds):
            self._asked = asyncio.create_task(self._find())
        return await asyncio.shield(self._asked)

    async def _find(self) -> tuple[Check, ...]:
        found = (*await self._ask_store(), *await asyncio.to_thread(self._read_keys))
        self._found_at = asyncio.get_running_loop().time()
        if found != self._told:
            self._told = found
            _LOG.log(logging.WARNING if found else logging.INFO, "%s", _words(found))
        return found

    async def _ask_store(self) -> tuple[Check, ...]:
        """Have the lane answer a step that wants nothing. One that comes too late is withdrawn."""
        asked: Future[StepAnswer[Instant]] = self._authority.engine.store.submit(Probe())
        try:
            async with asyncio.timeout(self._patience_seconds):
                answer = await asyncio.wrap_future(asked)
        except (LeaseholdError, TimeoutError):
            return (Check.STORE,)
        return (Check.CLOCK,) if answer.decision.reason is Reason.CLOCK else ()

    def _read_keys(self) -> tuple[Check, ...]:
        try:
            self._keys()
        except (LeaseholdError, OSError):
            return (Check.KEYS,)
        return ()


class Health:
    """Answers both paths before anything else looks at a request; everything else goes on to the application."""

    def __init__(self, app: ASGIApp, readiness: Readiness) -> None:
        self._app = app
        self._readiness = readiness

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or scope["path"] not in ("/healthz", "/readyz"):
            await self._app(scope, receive, send)
        elif scope["method"] in ("GET", "HEAD"):
            await (await self._answer(Request(scope)))(scope, receive, send)
        else:
            await send_problem(scope, send, _OTHER_METHOD, {"Allow": "GET, HEAD", **_HEADERS})

    async def _answer(self, request: Request) -> PlainTextResponse:
        failed = await self._readiness.failed() if request.url.path == "/readyz" else ()
        return PlainTextResponse(f"{_words(failed)}\n", status_code=503 if failed else 200, headers=_HEADERS)


def _words(failed: Sequence[Check]) -> str:
    return f"not ready: {', '.join(failed)}" if failed else "ok"
