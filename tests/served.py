"""A real server on a free loopback port, and a client that sends exactly what a test says, with a browser's manners."""

from __future__ import annotations

import asyncio
import http.client
import re
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlencode

import uvicorn
from starlette.applications import Starlette
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from leasehold.console.entrance import problem_page
from leasehold.http.gates import Gates
from leasehold.http.headers import StrictHeaders
from leasehold.http.problems import exception_handlers
from leasehold.http.server import Server, Wiring
from leasehold.http.site import Site
from leasehold.testing.clock import FrozenSystem


class _Prompt(uvicorn.Server):
    """uvicorn's, which looks every 2 milliseconds, not every 100, whether it has to stop and whether all is answered.

    What stands in for a wait of uvicorn's is all that differs: hundreds of tests have a server of their own.
    """

    async def main_loop(self) -> None:
        await self.on_tick(0)
        while not self.should_exit:
            await asyncio.sleep(_LOOK_SECONDS)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        try:
            async with asyncio.timeout(self.config.timeout_graceful_shutdown):
                while self.server_state.connections or self.server_state.tasks:
                    await asyncio.sleep(_LOOK_SECONDS)
        except TimeoutError:
            for task in self.server_state.tasks:
                task.cancel()
        for server in self.servers:
            await server.wait_closed()
        await self.lifespan.shutdown()


_LOOK_SECONDS = 0.002


@contextmanager
def served(make: Callable[[Site], ASGIApp], *, port: int = 0, last_seconds: int | None = None) -> Iterator[int]:
    """Serve an application until the block ends; answers its port, which is any unless one is given.

    `last_seconds` is how long requests may still take then; without, until they are answered.
    """
    listener = socket.create_server(("127.0.0.1", port))
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as `leasehold.http.server.listen` does
    port = listener.getsockname()[1]
    config = uvicorn.Config(
        make(Site.loopback(port)),
        log_level="critical",
        lifespan="on",
        loop="uvloop",
        http="httptools",
        timeout_graceful_shutdown=last_seconds,
    )
    server = _Prompt(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])), name="test-server")
    thread.start()
    try:
        yield port
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def behind_gates(routes: Sequence[BaseRoute], site: Site) -> ASGIApp:
    """These routes behind what stands before every handler of ours: strict headers, checks of host, origin and size."""
    app = Starlette(routes=routes, exception_handlers=exception_handlers(problem_page))
    gates = Gates(app, site, problem_page)
    return StrictHeaders(gates, FrozenSystem(), is_https=site.scheme == "https")


@contextmanager
def wired(make: Callable[[Site], ASGIApp], wiring: Wiring, *more: socket.socket) -> Iterator[int]:
    """Serve an application with the connections that `leasehold serve` has, until the block ends; answers its port."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    port = int(listener.getsockname()[1])
    server = Server(make(Site.loopback(port)), wiring)
    thread = threading.Thread(target=lambda: server.run(sockets=[listener, *more]), name="test-server")
    thread.start()
    try:
        yield port
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


@dataclass(frozen=True)
class Reply:
    """What came back. `text` is the body."""

    status: int
    headers: Mapping[str, str]
    text: str
    set_cookies: tuple[str, ...] = ()

    @property
    def location(self) -> str:
        return self.headers.get("location", "")

    def token(self, action: str = "") -> str:
        """The token of the form that posts to `action`; of the page's first form where none is named."""
        forms = re.findall(r"<form[^>]*>.*?</form>", self.text, re.DOTALL)
        mine = [form for form in forms if not action or f'action="{action}"' in form]
        found = re.search(r'name="token" value="([^"]*)"', mine[0] if mine else "")
        assert found, f"no form for {action or 'anything'} in {self.text[:500]}"
        return found[1]


@dataclass
class Browser:
    """One browser: keeps cookies as the headers say, and says where a request comes from."""

    port: int
    host: str = ""
    cookies: dict[str, str] = field(default_factory=dict)

    def get(self, path: str, **headers: str) -> Reply:
        return self.send("GET", path, b"", headers)

    def post(self, path: str, form: Mapping[str, str] | bytes, **headers: str) -> Reply:
        """Send a form from one of the server's own pages, unless `headers` say otherwise."""
        body = form if isinstance(form, bytes) else urlencode(form).encode()
        usual = {"Sec-Fetch-Site": "same-origin", "Content-Type": "application/x-www-form-urlencoded"}
        return self.send("POST", path, body, {**usual, **headers})

    def send(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        """Send a request; names of headers are written with `_` for `-`, and an empty value leaves one out."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        named.setdefault("Host", self.host or f"127.0.0.1:{self.port}")
        if self.cookies:
            named.setdefault("Cookie", "; ".join(f"{name}={value}" for name, value in self.cookies.items()))
        if body or method == "POST":
            named.setdefault("Content-Length", str(len(body)))
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in named.items():
                if value:
                    connection.putheader(name, value)
            connection.endheaders(body or None)
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        return self._kept(Reply(answer.status, _lower(answer), text, tuple(answer.headers.get_all("Set-Cookie", []))))

    def _kept(self, reply: Reply) -> Reply:
        for line in reply.set_cookies:
            name, _, rest = line.partition("=")
            value = rest.partition(";")[0]
            if value and "Max-Age=0" not in line:
                self.cookies[name] = value
            else:
                self.cookies.pop(name, None)
        return reply


def _lower(answer: http.client.HTTPResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in answer.getheaders()}
