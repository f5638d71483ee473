"""The server of the HTTP benchmark, in a process of its own: what is really served, and two things to compare it with.

`python -m benchmarks.http_server DATABASE LEASES FOLDER SECRET` opens an authority over an SQLite file or a PostgreSQL
URL, with keys made of 32 bytes in hex; several with the same secret are one authority. It makes so many leases, writes
their tokens to a file, says in one JSON line where it is, and serves until stdin ends: pages and API behind the checks
that `leasehold serve` has, with a line of the log for each request.

`/bench/empty` answers an empty request; `/bench/checked` reads the very body of an admission and verifies its token as
the real endpoint does, without a store. Both stand in the same server, before everything else that a request passes.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from uuid import uuid4

import msgspec
from starlette.types import ASGIApp, Receive, Scope, Send

from benchmarks.leases import multiply, token_of
from benchmarks.postgres import opener
from benchmarks.stage import POLICY, Stage
from leasehold.console.pages import console_pages
from leasehold.http.app import create_app
from leasehold.http.exchanges import Observed
from leasehold.http.logs import LogFormat, RequestLog
from leasehold.http.server import Wiring, listen, run_server
from leasehold.http.site import Site
from leasehold.model.api import AdmitBody
from leasehold.store.postgres_connection import PostgresPlace

_MADE_SINGLY = 100
_EMPTY = [(b"content-length", b"0")]


class Yardsticks:
    """The application, with the two yardsticks in front of it."""

    def __init__(self, app: ASGIApp, stage: Stage) -> None:
        self._app = app
        self._engine = stage.authority.engine
        self._answer = msgspec.json.encode(stage.pair(stage.lease().token_for("ticket")))
        self._headers = [(b"content-length", b"%d" % len(self._answer)), (b"content-type", b"application/json")]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/bench/empty":
            await receive()
            await _answer(send, _EMPTY, b"")
        elif scope["path"] == "/bench/checked":
            self._check((await receive())["body"])
            await _answer(send, self._headers, self._answer)
        else:
            await self._app(scope, receive, send)

    def _check(self, body: bytes) -> None:
        asked = msgspec.json.decode(body, type=AdmitBody)
        asked.call.to_call()
        now = self._engine.system.now()
        self._engine.lease_keys.authenticate(asked.token, audience="ticket", environment="prod", now=now)


async def _answer(send: Send, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def main() -> None:
    """Serve until stdin ends."""
    database, leases, folder, secret = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), bytes.fromhex(sys.argv[4])
    is_postgres = database.startswith("postgresql:")
    open_store = opener(PostgresPlace.parse(database)) if is_postgres else None
    stage = Stage(Path(database), open_store, policy=POLICY + CLIENTS, secret=secret)
    tokens = folder / f"tokens-{uuid4().hex}"
    tokens.write_text("\n".join(_tokens(stage, leases)))
    key = stage.authority.clients.add_key("ticket-door", ttl_seconds=86_400, by="benchmark").text
    listener = listen("127.0.0.1", 0)
    port = listener.getsockname()[1]

    def wait_for_the_end() -> None:
        sys.stdin.read()
        os.kill(os.getpid(), signal.SIGTERM)

    with (folder / f"log-{uuid4().hex}").open("w") as log:
        app = create_app(stage.authority, console_pages(), site=Site.loopback(port))
        stands_first = Yardsticks(Observed(app, [RequestLog(LogFormat.TEXT, log)]), stage)
        print(msgspec.json.encode({"port": port, "key": key, "tokens": str(tokens)}).decode(), flush=True)
        threading.Thread(target=wait_for_the_end, daemon=True).start()
        run_server(stands_first, [listener], Wiring())
    stage.close()


def _tokens(stage: Stage, leases: int) -> list[str]:
    """A token of each lease; many leases are copies of one, written by the database itself."""
    held = stage.lease()
    if leases <= _MADE_SINGLY:
        return [held.token_for("ticket"), *(stage.lease().token_for("ticket") for _ in range(leases - 1))]
    with stage.closed() as connection:
        multiply(connection, held, leases)
    return [token_of(stage, held, number) for number in range(leases)]


CLIENTS = """
[clients."ticket-door"]
door = { tool = "ticket", environment = "prod" }
"""


if __name__ == "__main__":
    main()
