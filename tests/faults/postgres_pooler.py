"""A pooler between stores and their PostgreSQL server, which lends sessions as PgBouncer does: by its modes.

It lets everybody in by itself, and gives a session of the server to whoever asks something: until they leave
(`session`), or until their transaction is over (`transaction`), the one that came back last first.
"""

from __future__ import annotations

import os
import socket
import threading
from contextlib import suppress
from pathlib import Path

_SOCKET = ".s.PGSQL.5432"
_IDLE = b"I"
_READY = b"Z\x00\x00\x00\x05I"


class Pooler:
    """A socket in `folder` that leads to the server's. `mode` may be changed while it is in use.

    While `is_paused`, who asks for a session is let in and waits.
    """

    def __init__(self, server: Path, folder: Path) -> None:
        self.folder = folder
        self.mode = "session"
        self.is_paused = False
        self._server = str(server / _SOCKET)
        self._lock = threading.Lock()  # guards the list
        self._free: list[socket.socket] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / _SOCKET))
        self._listener.listen(64)
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Let nobody through any more."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        for session in self._free:
            session.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        session: socket.socket | None = None
        with client, suppress(OSError, EOFError):
            size = int.from_bytes(_exactly(client, 4), "big")
            opening = size.to_bytes(4, "big") + _exactly(client, size - 4)
            client.sendall(self._welcome(opening))
            while True:
                question = _until(client, b"QSX")
                if question[-5:] == b"X\x00\x00\x00\x04":
                    break
                while self.is_paused:
                    _wait_for_end(client)
                session = session or self._taken(opening)
                session.sendall(question)
                answer = _until(session, b"Z")
                if self.mode == "transaction" and answer.endswith(_IDLE):
                    session = self._give_back(session)
                client.sendall(answer)
        if session is not None:
            session.close()

    def _welcome(self, opening: bytes) -> bytes:
        """What the server says to who comes in, but with a number of our own in place of its session's."""
        session, said = self._begun(opening)
        self._give_back(session)
        key = said.rindex(b"K\x00\x00\x00\x0c")
        return said[: key + 5] + os.urandom(8) + _READY

    def _begun(self, opening: bytes) -> tuple[socket.socket, bytes]:
        session = socket.socket(socket.AF_UNIX)
        session.connect(self._server)
        session.sendall(opening)
        return session, _until(session, b"Z")

    def _taken(self, opening: bytes) -> socket.socket:
        with self._lock:
            if self._free:
                return self._free.pop()
        return self._begun(opening)[0]

    def _give_back(self, session: socket.socket) -> None:
        with self._lock:
            self._free.append(session)


def _exactly(end: socket.socket, count: int) -> bytes:
    read = b""
    while len(read) < count:
        piece = end.recv(count - len(read))
        if not piece:
            raise EOFError
        read += piece
    return read


def _until(end: socket.socket, last: bytes) -> bytes:
    """Whole messages up to one of a kind that is in `last`."""
    read = b""
    while True:
        head = _exactly(end, 5)
        read += head + _exactly(end, int.from_bytes(head[1:], "big") - 4)
        if head[0] in last:
            return read


def _wait_for_end(client: socket.socket) -> None:
    """Return only by the error that the client has gone."""
    while client.recv(65536):
        pass
    raise EOFError
