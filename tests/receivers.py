"""Receivers on this machine for the tests of notices: real servers with real sockets, told what to answer."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Got:
    """One request as it came in."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Receiver:
    """An HTTP server. `answers` are given in turn, the last one for ever: a status, or a function that writes it."""

    got: list[Got] = field(default_factory=list)
    answers: list[Any] = field(default_factory=lambda: [204])
    url: str = ""
    port: int = 0

    def next_answer(self) -> Any:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


Handle = Callable[[Got], tuple[int, Mapping[str, str], bytes]]


@contextmanager
def http_receiver(
    handle: Handle | None = None, *, trust: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> Iterator[Receiver]:
    """A server on a free port; `handle` answers, else the receiver's own list does."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            size = int(self.headers.get("content-length", 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            got = Got(self.path, headers, self.rfile.read(size))
            receiver.got.append(got)
            if handle is not None:
                self._answer(*handle(got))
                return
            answer = receiver.next_answer()
            if callable(answer):
                answer(self)
            elif isinstance(answer, tuple):
                self._answer(*answer)
            else:
                self._answer(answer, {}, b"")

        def _answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing on stderr."""

    server = ThreadingHTTPServer((host, 0), Handler)
    server.daemon_threads = True
    if trust is not None:
        server.socket = trust.wrap_socket(server.socket, server_side=True)
    receiver.port = server.server_address[1]
    receiver.url = f"{'https' if trust else 'http'}://{host}:{receiver.port}/hook"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
