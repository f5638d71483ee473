"""A balancer of connections: ends TLS and hands each one to the next authority that takes it.

What a fleet has in front of it, as small as it can be: no health checks, no retries. An authority that died is left out
because nobody listens there; what was under way with it is cut off, and its client sees that.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Sequence

__all__ = ["Balancer"]

_PIECE = 65_536


class Balancer:
    """Listens at `port` of this machine from the start; `serve` begins to pass on, `close` ends it. Owns its thread."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._targets: Sequence[int] = ()
        self._turn = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="balancer")

    def serve(self, targets: Sequence[int]) -> None:
        """Pass connections on to these ports of this machine, in turn."""
        self._targets = targets
        self._thread.start()

    def close(self) -> None:
        """Cut off what is left."""
        if self._thread.ident is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        self._loop.close()
        self._listener.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = asyncio.start_server(self._pass, sock=self._listener, ssl=self._context)
        self._loop.run_until_complete(server)
        self._loop.run_forever()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, ssl.SSLError):
            back, forth = await self._connected()
            ways = [asyncio.create_task(_pump(reader, forth)), asyncio.create_task(_pump(back, writer))]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()
            forth.close()
        writer.close()

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to the next authority that listens.

        Raises:
            OSError: none does.
        """
        for _ in self._targets:
            self._turn += 1
            with contextlib.suppress(ConnectionError):
                return await asyncio.open_connection("127.0.0.1", self._targets[self._turn % len(self._targets)])
        raise ConnectionError("nobody listens")


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, ssl.SSLError):
        while piece := await reader.read(_PIECE):
            writer.write(piece)
            await writer.drain()
