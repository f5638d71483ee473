"""The callers of the HTTP benchmark, in a process of their own: each of some connections has one request under way.

`python -m benchmarks.http_load` reads one job a line from stdin, as JSON, and answers each with a line: the seconds per
piece of work, over all connections. It speaks bare HTTP/1.1 over sockets and reads answers with httptools, because a
client library costs more than the server. An answer that is not 2xx ends it.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from functools import partial
from itertools import count, cycle, islice
from pathlib import Path
from time import perf_counter, time_ns

import httptools
import msgspec
import uvloop


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What the callers are to do.

    Attributes:
        ports: where the servers of one database are, on loopback; connections take them in turn.
        work: `empty` and `checked` are one request each, `pair` an admission and its settlement.
        connections: how many callers there are at once.
        pieces: how much work each of them does.
        key: the API key of the door.
        tokens: a file with one lease's token a line; callers take them in turn.
    """

    ports: tuple[int, ...]
    work: str
    connections: int
    pieces: int
    key: str
    tokens: str


_NUMBERS = count(time_ns())
"""Numbers of calls, which no other job of this machine used."""


def requests_of(job: Job, port: int, token: str, number: int) -> Iterator[bytes]:
    """The requests of one piece of work, ready to be sent."""
    admission = f"adm_{number:026d}"
    body = (
        f'{{"call":{{"action":"ticket.update","admission_id":"{admission}","arguments":{{"note":"looked at it, nothing '
        f'to do","ticket_id":"T-{number}"}},"key":"T-{number}:update"}},"token":"{token}"}}'
    )
    match job.work:
        case "empty":
            yield _post(job, port, "/bench/empty", "")
        case "checked":
            yield _post(job, port, "/bench/checked", body)
        case "pair":
            yield _post(job, port, "/v1/admissions", body)
            yield _post(job, port, f"/v1/admissions/{admission}/settle", '{"duration_micros":1500,"status":"done"}')
        case _:
            raise SystemExit(f"there is no work called {job.work}")


def _post(job: Job, port: int, path: str, body: str) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {job.key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return (head + body).encode()


class Caller(asyncio.Protocol):
    """One connection that does its pieces of work, one request after the other."""

    def __init__(self, job: Job, port: int, tokens: list[str]) -> None:
        loop = asyncio.get_running_loop()
        self.connected: asyncio.Future[None] = loop.create_future()
        self.done: asyncio.Future[None] = loop.create_future()
        self._job = job
        self._port = port
        self._tokens = tokens
        self._left = job.pieces
        self._requests: Iterator[bytes] = iter(())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._expect()
        self.connected.set_result(None)

    def begin(self) -> None:
        """Send the first request."""
        self._go_on()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(SystemExit(f"the server closed a connection: {error}"))

    # what the parser calls

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if not 200 <= status < 300:
            self.done.set_exception(SystemExit(f"{status}: {self._body.decode()}"))
            return
        self._expect()
        self._go_on()

    def _expect(self) -> None:
        self._body = b""
        self._parser = httptools.HttpResponseParser(self)

    def _go_on(self) -> None:
        request = next(self._requests, None)
        if request is None:
            if not self._left:
                self.done.set_result(None)
                return
            self._left -= 1
            number = next(_NUMBERS)
            self._requests = requests_of(self._job, self._port, self._tokens[number % len(self._tokens)], number)
            request = next(self._requests)
        self._transport.write(request)  # type: ignore[attr-defined]  # a transport of a stream has it

    def close(self) -> None:
        """Let the connection go."""
        self._transport.close()


async def carry_out(job: Job) -> float:
    """The seconds per piece of work."""
    tokens = Path(job.tokens).read_text().split()
    loop = asyncio.get_running_loop()
    callers = []
    for port in islice(cycle(job.ports), job.connections):
        _, caller = await loop.create_connection(partial(Caller, job, port, tokens), "127.0.0.1", port)
        callers.append(caller)
    began = perf_counter()
    for caller in callers:
        caller.begin()
    await asyncio.gather(*(caller.done for caller in callers))
    seconds = perf_counter() - began
    for caller in callers:
        caller.close()
    return seconds / (job.connections * job.pieces)


def main() -> None:
    """Carry out jobs until there are no more."""
    for line in sys.stdin:
        job = msgspec.json.decode(line, type=Job)
        print(uvloop.run(carry_out(job)), flush=True)


if __name__ == "__main__":
    main()
