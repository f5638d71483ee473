"""The API of an authority in memory behind a real server, and callers that send exactly what a test says."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

from argon2 import PasswordHasher
from starlette.types import ASGIApp

from clients import CLIENT_POLICY, api_key
from leasehold.console.pages import console_pages
from leasehold.http.app import create_app
from leasehold.http.events import Streams
from leasehold.http.passwords import Passwords
from leasehold.http.site import Site
from leasehold.model.canonical import encode
from leasehold.testing.fixtures import key_of_person
from leasehold.token.keys import SigningKey
from leasehold.token.person_call import PersonCall, body_digest
from served import served
from stage import Stage

_NUMBERS = count()


@dataclass(frozen=True)
class Told:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of a problem."""
        assert self.headers["content-type"] == "application/problem+json", (self.status, self.body)
        problem = self.json
        assert problem["status"] == self.status
        assert problem["title"]
        return str(problem["type"]).removeprefix("urn:leasehold:problem:")


class Program:
    """Somebody with a credential, or without. Each request goes over a connection of its own."""

    def __init__(self, port: int, credential: str = "") -> None:
        self.port = port
        self.credential = credential

    def send(self, method: str, path: str, body: object = None, **headers: str) -> Told:
        """Send one request; a `body` that is not bytes travels as JSON. `_` in names of headers is `-`."""
        data = body if isinstance(body, bytes) else b"" if body is None else encode(body)
        given = {"Authorization": f"Bearer {self.credential}"} if self.credential else {}
        if body is not None:
            given["Content-Type"] = "application/json"
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        return self.raw(method, path, data, list(given.items()))

    def raw(self, method: str, path: str, data: bytes, headers: list[tuple[str, str]]) -> Told:
        """Send one request with these headers and no others but `Host` and `Content-Length`."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.putrequest(method, path, skip_accept_encoding=True)
            for name, value in headers:
                connection.putheader(name, value)
            if data and not {name.lower() for name, _ in headers} & {"content-length", "transfer-encoding"}:
                connection.putheader("Content-Length", str(len(data)))
            connection.endheaders(data or None)
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Told(response.status, found, response.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Told:
        return self.send("GET", path, **headers)

    def post(self, path: str, body: object = None, *, key: str = "", **headers: str) -> Told:
        """Send one POST, under an idempotency key of its own."""
        return self.send("POST", path, body, Idempotency_Key=key or f"key-{next(_NUMBERS)}", **headers)


class Person(Program):
    """A person who signs each request with their key."""

    def __init__(self, port: int, stage: Stage, name: str) -> None:
        super().__init__(port)
        self.name = name
        self.key: SigningKey = key_of_person(name)
        self._stage = stage
        stage.people.signatory(name)

    def token(self, method: str, path: str, data: bytes = b"", **changed: Any) -> str:
        """A JWT for one request."""
        now = self._stage.system.now().seconds
        said: dict[str, Any] = {
            "person": self.name,
            "authority": self._stage.authority.engine.identity.issuer,
            "issued_at": now,
            "expires_at": now + 60,
            "jti": f"jti-{next(_NUMBERS):016d}",
            "method": method,
            "target": path,
            "body": body_digest(data),
        }
        return PersonCall(**(said | changed)).sign(self.key)

    def send(self, method: str, path: str, body: object = None, **headers: str) -> Told:
        data = body if isinstance(body, bytes) else b"" if body is None else encode(body)
        return Program(self.port, self.token(method, path, data)).send(method, path, body, **headers)


class ApiHouse:
    """The stage of clients behind a server."""

    def __init__(self, stage: Stage, port: int, streams: Streams) -> None:
        self.stage = stage
        self.port = port
        self.streams = streams

    def program(self, client: str) -> Program:
        """A client with a key."""
        return Program(self.port, api_key(self.stage, client))

    def person(self, name: str) -> Person:
        return Person(self.port, self.stage, name)

    def nobody(self, credential: str = "") -> Program:
        return Program(self.port, credential)


@contextmanager
def api_house(text: str = CLIENT_POLICY) -> Iterator[ApiHouse]:
    """An authority, its API, and the pages beside it."""
    stage = Stage(text)
    streams = Streams(stage.authority)

    def make(site: Site) -> ASGIApp:
        cheap = Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
        return create_app(stage.authority, console_pages(), site=site, streams=streams, passwords=cheap)

    with served(make) as port:
        try:
            yield ApiHouse(stage, port, streams)
        finally:
            streams.close()
    stage.close()
