"""One server process: bound first, so that its address can be told; ended by SIGTERM or SIGINT without loose ends.

Called by `leasehold serve`, from the main thread.
"""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import signal
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from leasehold.errors import ConfigError
from leasehold.http.connections import Connection, Ending, Limits, Others, sweep

__all__ = ["Server", "Wiring", "fitting_limits", "listen", "run_server"]

_LAST_SECONDS = 5
"""How long requests under way may take to end once the server stops."""
_TICKS_A_SWEEP = 10
_BACKLOG = 2048
_OTHER_FILES = 128
"""Files that the store and its readers may have open, with some to spare."""
_YOUNG_OBJECTS = 20_000
"""How many more objects there have to be before the youngest are searched for cycles."""


def listen(host: str, port: int, *, option: str = "--port") -> socket.socket:
    """A socket that is bound and takes connections; `option` is what its address came from.

    Raises:
        ConfigError: the address is not one of this machine, or taken.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        why = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)
        raise ConfigError(
            f"cannot listen at {host} port {port}: {why}; name another with {option} (0 takes any), "
            "or stop what is there"
        ) from None
    # Connections inherit it. Without, the second piece of an answer waits until the first is acknowledged: 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def fitting_limits() -> Limits:
    """The limits, with no more connections than this process may open files, less what the store needs."""
    limits = Limits()
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if soft == resource.RLIM_INFINITY:
        return limits
    return replace(limits, connections=max(16, min(limits.connections, soft - _OTHER_FILES)))


def _tell_nobody(why: Ending) -> None:
    """Why a connection was ended, where nobody counts it."""


def _nothing() -> None:
    """What is to be done before the server waits for requests to end, where nothing is."""


@dataclass(frozen=True, kw_only=True)
class Wiring:
    """How an application meets the network.

    Of requests from `proxies` the address is the one that `X-Forwarded-For` names last that is none of them. `local` is
    what answers on unix sockets, `by_port` on ports of their own. `stopping` is called when the server begins to stop,
    to end what would not end by itself; `ended` is told why the server ended a connection.
    """

    stopping: Callable[[], None] = _nothing
    proxies: Sequence[str] = ()
    local: ASGIApp | None = None
    by_port: Mapping[int, ASGIApp] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    ended: Callable[[Ending], None] = _tell_nobody


def run_server(app: ASGIApp, listeners: Sequence[socket.socket], wiring: Wiring) -> None:
    """Serve until a signal says to stop; then let requests under way end."""
    with _signals_that_only_stop_the_server(), _cycles_sought_less_often():
        Server(app, wiring).run(sockets=list(listeners))


class Server(uvicorn.Server):
    """uvicorn's, which looks after slow connections, and says that it stops before it waits for requests to end."""

    def __init__(self, app: ASGIApp, wiring: Wiring) -> None:
        super().__init__(_config(app, wiring))
        self._stopping = wiring.stopping

    async def on_tick(self, counter: int) -> bool:
        """What uvicorn does ten times a second."""
        if counter % _TICKS_A_SWEEP == 0:
            sweep(self.server_state.connections, asyncio.get_running_loop().time())
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Say so, then stop as uvicorn does."""
        self._stopping()
        await super().shutdown(sockets)


def _config(app: ASGIApp, wiring: Wiring) -> uvicorn.Config:
    others = Others(local=wiring.local, by_port=wiring.by_port)
    connection = partial(Connection, limits=wiring.limits, others=others, ended=wiring.ended)
    return uvicorn.Config(
        app,
        loop="uvloop",
        http=connection,  # type: ignore[arg-type]  # uvicorn calls what it is given, class or not
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="error",
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=bool(wiring.proxies),
        forwarded_allow_ips=list(wiring.proxies),
        timeout_graceful_shutdown=_LAST_SECONDS,
        backlog=_BACKLOG,
    )


@contextmanager
def _signals_that_only_stop_the_server() -> Iterator[None]:
    """uvicorn raises the signal that stopped it once more when it is done, which would kill us before we close."""

    def nothing_more(number: int, frame: FrameType | None) -> None:
        """The server has stopped already."""

    before = {number: signal.signal(number, nothing_more) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _cycles_sought_less_often() -> Iterator[None]:
    """Python looks for cycles whenever there are 700 objects more, as a few requests under way have.

    It finds them alive, and looks through them again: a fifth of all processor time. A call that is admitted and
    settled leaves no cycle behind, one that is refused a hundred objects.
    """
    before = gc.get_threshold()
    gc.set_threshold(_YOUNG_OBJECTS, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
