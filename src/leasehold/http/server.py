"""One server process: bound first, so that its address can be told; ended by SIGTERM or SIGINT without loose ends.

Called by `leasehold serve`, from the main thread.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from leasehold.errors import ConfigError
from leasehold.http.events import Streams

__all__ = ["listen", "run_server"]

_LAST_SECONDS = 5
"""How long requests under way may take to end once the server stops."""


def listen(host: str, port: int) -> socket.socket:
    """A socket that is bound and takes connections.

    Raises:
        ConfigError: the address is not one of this machine, or taken.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        why = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)
        raise ConfigError(
            f"cannot listen at {host} port {port}: {why}; name another with --port (0 takes any), or stop what is there"
        ) from None


def run_server(app: ASGIApp, listener: socket.socket, streams: Streams, *, proxies: Sequence[str] = ()) -> None:
    """Serve until a signal says to stop; then let requests under way end, and event streams at once.

    Of requests from `proxies` the address is the one that `X-Forwarded-For` names last that is none of them.
    """
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=bool(proxies),
        forwarded_allow_ips=list(proxies),
        timeout_graceful_shutdown=_LAST_SECONDS,
    )
    with _signals_that_only_stop_the_server():
        _Server(config, streams).run(sockets=[listener])


class _Server(uvicorn.Server):
    """Ends event streams before it waits for requests to end, for they do not end by themselves."""

    def __init__(self, config: uvicorn.Config, streams: Streams) -> None:
        super().__init__(config)
        self._streams = streams

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._streams.close()
        await super().shutdown(sockets)


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
