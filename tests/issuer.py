"""An issuer on this machine that really signs and serves: keys, discovery document, key set, over HTTP or TLS."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar

import trustme
from joserfc import jws
from joserfc.jwk import ECKey, OKPKey, RSAKey

Key = ECKey | RSAKey | OKPKey


def make_key(algorithm: str = "ES256", kid: str = "one") -> Key:
    """A fresh key for an algorithm."""
    members = {"kid": kid, "alg": algorithm, "use": "sig"}
    if algorithm in ("EdDSA", "Ed25519"):
        return OKPKey.generate_key("Ed25519", members)
    if algorithm.startswith("ES"):
        return ECKey.generate_key({"256": "P-256", "384": "P-384", "512": "P-521"}[algorithm[2:]], members)
    return RSAKey.generate_key(2048, members)


def sign(key: Key, claims: Mapping[str, object], **header: object) -> str:
    """A compact token; `header` changes its members, None takes one out."""
    members = {"typ": "JWT", "alg": key.get("alg"), "kid": key.kid, **header}
    kept = {name: value for name, value in members.items() if value is not None}
    algorithm = str(kept["alg"])
    registry = jws.JWSRegistry(algorithms=[algorithm], strict_check_header=False)
    return jws.serialize_compact(kept, json.dumps(claims), key, [algorithm], registry)


def key_set(*keys: Key) -> bytes:
    """The public key set of keys."""
    return json.dumps({"keys": [key.as_dict(private=False) for key in keys]}).encode()


@dataclass
class Issuer:
    """What it answers can be changed while it serves. `asked` are the paths that it was asked for, in order."""

    keys: list[Key] = field(default_factory=lambda: [make_key()])
    url: str = ""
    port: int = 0
    asked: list[str] = field(default_factory=list)
    pages: dict[str, Callable[[], tuple[int, Mapping[str, str], bytes]]] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        return {"issuer": self.url, "jwks_uri": f"{self.url}/jwks"}

    def sign(self, claims: Mapping[str, object], **header: object) -> str:
        """A token of this issuer, with its newest key."""
        return sign(self.keys[-1], {"iss": self.url, **claims}, **header)

    def answer(self, path: str) -> tuple[int, Mapping[str, str], bytes]:
        self.asked.append(path)
        if path in self.pages:
            return self.pages[path]()
        if path == "/.well-known/openid-configuration":
            return 200, {}, json.dumps(self.document()).encode()
        if path == "/jwks":
            return 200, {}, key_set(*self.keys)
        return 404, {}, b""

    def take(self, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, Mapping[str, str], bytes]:
        """Nothing can be posted to a plain issuer."""
        return 404, {}, b""


AnyIssuer = TypeVar("AnyIssuer", bound=Issuer)


@contextmanager
def serving(issuer: AnyIssuer, trust: ssl.SSLContext | None = None) -> Iterator[AnyIssuer]:
    """Serve an issuer on a free port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._give(*issuer.answer(self.path))

        def do_POST(self) -> None:
            sent = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(int(sent.get("content-length", 0)))
            self._give(*issuer.take(self.path, sent, body))

        def _give(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in {"content-length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing on stderr."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if trust is not None:
        server.socket = trust.wrap_socket(server.socket, server_side=True)
    issuer.port = server.server_address[1]
    host = "localhost" if trust is not None else "127.0.0.1"
    issuer.url = issuer.url or f"{'https' if trust else 'http'}://{host}:{issuer.port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield issuer
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def tls() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """What a server on `localhost` shows, and what a client takes it by."""
    authority = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.issue_cert("localhost").configure_cert(server)
    authority.configure_trust(client)
    return server, client
