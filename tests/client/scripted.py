"""A server that does exactly what a test says with each connection: it lies, breaks off, or says nothing."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

Act = Callable[[socket.socket], None]


def answer(body: bytes, status: str = "200 OK", *headers: str, kind: str = "application/json") -> bytes:
    """One whole answer."""
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def says(*pieces: bytes) -> Act:
    """Read one request, send these, and close."""

    def act(connection: socket.socket) -> None:
        read_request(connection)
        for piece in pieces:
            connection.sendall(piece)

    return act


def closes(connection: socket.socket) -> None:
    """Read one request and say nothing."""
    read_request(connection)


def read_request(connection: socket.socket) -> bytes:
    """One request, head and body."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += _received(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")]
    while len(body) < int(lengths[0] if lengths else 0):
        body += _received(connection)
    return head + b"\r\n\r\n" + body


def _received(connection: socket.socket) -> bytes:
    data = connection.recv(65_536)
    if not data:
        raise ConnectionResetError
    return data


class Scripted:
    """`port` is where it listens; `requests` are those that `Recorder` acts have kept."""

    def __init__(self, acts: Sequence[Act], context: ssl.SSLContext | None) -> None:
        self._acts = list(acts)
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.connections = 0
        self._thread = threading.Thread(target=self._serve, name="scripted-server")
        self._thread.start()

    def _serve(self) -> None:
        """Each connection gets the next act, the last act all further ones."""
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            act = self._acts.pop(0) if len(self._acts) > 1 else self._acts[0]
            self.connections += 1
            try:
                with self._context.wrap_socket(connection, server_side=True) if self._context else connection as safe:
                    act(safe)
            except OSError:
                connection.close()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


@contextmanager
def scripted(*acts: Act, context: ssl.SSLContext | None = None) -> Iterator[Scripted]:
    """Serve these acts until the block ends."""
    server = Scripted(acts, context)
    try:
        yield server
    finally:
        server.close()
