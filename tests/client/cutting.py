"""A proxy between a client and its server that loses what passes where a test says, for real, at the sockets."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from random import Random

from scripted import answer, read_request


class Cut(StrEnum):
    """What happens to one exchange."""

    NOTHING = "nothing"
    BEFORE = "before the server hears of it"
    AFTER = "after the server answered, before the client hears of it"
    AMID = "in the middle of the answer"
    REPEATED = "the server hears it twice"
    BLAMED = "the proxy says in its own words that no server is there, and asked none"
    BLAMED_AFTER = "the proxy says so of an answer that the server gave and it lost"


_BLAME = ("502 Bad Gateway", "503 Service Unavailable", "504 Gateway Time-out")


class CuttingProxy:
    """Passes requests on to `target`, one at a time, each as `choose` says. Owns its threads."""

    def __init__(self, target: int, random: Random, cuts: tuple[Cut, ...]) -> None:
        self._target = target
        self._random = random
        self._cuts = cuts
        self._lock = threading.Lock()  # guards the random source and `made`
        self.made: list[Cut] = []
        self.is_quiet = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            while True:
                request = read_request(connection)
                cut = self._choose()
                if cut is Cut.BEFORE:
                    return
                told = b"" if cut is Cut.BLAMED else self._asked(request)
                if cut is Cut.REPEATED:
                    told = self._asked(request)
                if cut is Cut.AFTER:
                    return
                if cut is Cut.AMID:
                    connection.sendall(told[: len(told) // 2])
                    return
                connection.sendall(self._blame() if cut in (Cut.BLAMED, Cut.BLAMED_AFTER) else told)

    def _blame(self) -> bytes:
        """What a balancer says for a server; it keeps the connection, on which the client asks again."""
        with self._lock:
            status = self._random.choice(_BLAME)
        return answer(f"<html><body><h1>{status}</h1></body></html>".encode(), status, kind="text/html")

    def _choose(self) -> Cut:
        with self._lock:
            cut = Cut.NOTHING if self.is_quiet else self._random.choice(self._cuts)
            self.made.append(cut)
            return cut

    def _asked(self, request: bytes) -> bytes:
        """The server's whole answer; the connection to it is for this request alone."""
        with socket.create_connection(("127.0.0.1", self._target), timeout=20) as server:
            server.sendall(request.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
            told = b""
            while piece := server.recv(65_536):
                told += piece
            return told


@contextmanager
def cutting(target: int, *, seed: int, cuts: tuple[Cut, ...] = tuple(Cut)) -> Iterator[CuttingProxy]:
    """Stand between a client and `target` until the block ends."""
    proxy = CuttingProxy(target, Random(seed), cuts)
    try:
        yield proxy
    finally:
        proxy.close()
