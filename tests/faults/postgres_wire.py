"""A wire between a store and its PostgreSQL server that can be cut before a COMMIT arrives, or before its answer."""

from __future__ import annotations

import selectors
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from pathlib import Path

_COMMIT = b"COMMIT\x00"
_PANIC = b"SPANIC\x00VPANIC\x00C58030\x00Mcould not fsync file\x00\x00"
"""A server's last words when its disk fails behind a commit that is in the log: the next start finds it there."""


class Cut(Enum):
    """Where the next COMMIT is cut off."""

    NOT_AT_ALL = 0
    BEFORE_IT_ARRIVES = 1
    BEFORE_ITS_ANSWER = 2
    BY_A_SERVER_THAT_FAILS = 3


class Wire:
    """A socket in `folder` that leads to the server's. `next_cut` is used once; `is_down` lets nobody new through."""

    def __init__(self, server: Path, folder: Path) -> None:
        self.folder = folder
        self.next_cut = Cut.NOT_AT_ALL
        self.is_down_after = False  # whether nobody gets through once it was cut
        self.is_down = False
        self._server = str(server / ".s.PGSQL.5432")
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / ".s.PGSQL.5432"))
        self._listener.listen(16)
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Let nobody through any more."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.is_down:
                client.close()
                continue
            threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        server = socket.socket(socket.AF_UNIX)
        server.connect(self._server)
        with client, server, selectors.DefaultSelector() as selector, suppress(OSError):
            for end in (client, server):
                selector.register(end, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    data = key.fileobj.recv(65536)  # type: ignore[union-attr]  # both are sockets
                    if not data:
                        return
                    if key.fileobj is client and data.endswith(_COMMIT) and self._cuts(client, server, data):
                        return
                    (server if key.fileobj is client else client).sendall(data)

    def _cuts(self, client: socket.socket, server: socket.socket, data: bytes) -> bool:
        cut, self.next_cut = self.next_cut, Cut.NOT_AT_ALL
        if cut is Cut.NOT_AT_ALL:
            return False
        self.is_down = self.is_down_after
        if cut is not Cut.BEFORE_IT_ARRIVES:
            server.sendall(data)
            server.recv(65536)
        if cut is Cut.BY_A_SERVER_THAT_FAILS:
            client.sendall(b"E" + (len(_PANIC) + 4).to_bytes(4, "big") + _PANIC)
        return True


@contextmanager
def wired(server: Path, folder: Path) -> Iterator[Wire]:
    """A wire to a server's folder while the block lasts."""
    wire = Wire(server, folder)
    try:
        yield wire
    finally:
        wire.close()
