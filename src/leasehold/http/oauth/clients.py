"""Who asks at an OAuth door: one client, proven in one way.

Called by the token endpoint, introspection and revocation. A client is one of the policy's; what proves it is an API
key as the usual client secret, or a token of a trusted issuer as the usual client assertion. How either is verified is
not known here.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Protocol
from urllib.parse import unquote_plus

import msgspec
from starlette.requests import Request as HttpRequest

from leasehold.authority.clients import KEY_PREFIX
from leasehold.authority.door import EmbeddedDoor
from leasehold.http.oauth.answers import ASK_FOR_PROOF, OAuthError
from leasehold.http.oauth.metadata import JWT_CLIENT
from leasehold.http.oauth.params import Params
from leasehold.model.decision import Decision
from leasehold.model.lease import HeldLease
from leasehold.model.request import Request
from leasehold.model.run import RequesterProof, Run, RunAttempt

__all__ = [
    "Client",
    "ClientRuns",
    "Clients",
    "Proof",
    "Startable",
    "brings_proof",
    "read_bearer",
    "read_proof",
    "unknown_client",
]


class Startable(msgspec.Struct, frozen=True, kw_only=True):
    """What a client may start runs for; `*` stands for any."""

    agents: tuple[str, ...]
    routes: tuple[str, ...]
    tenants: tuple[str, ...]
    environments: tuple[str, ...]


class ClientRuns(Protocol):
    """The runs of one client: what it may start, and go on with. All else is not found."""

    def start(
        self,
        *,
        agent: str,
        route: str = "",
        tenant: str = "",
        environment: str = "",
        requested_by: str = "",
        purpose: str,
        parent: HeldLease | None = None,
        requester_proof: RequesterProof = RequesterProof.ASSERTED,
    ) -> RunAttempt:
        """Start a run, or a child run under a lease of a run of this client."""
        ...

    def request(
        self, run: RunAttempt, allow: Mapping[str, Mapping[str, object]], *, reason: str, ttl_seconds: int = 0
    ) -> Request:
        """Ask for a lease."""
        ...

    def find_request(self, request_id: str) -> Request:
        """A request of a run of this client."""
        ...

    def resume(self, run_id: str) -> RunAttempt:
        """A run of this client."""
        ...

    def submit_draw(self, request: Request) -> Future[HeldLease]:
        """Draw the next lease of an approved request."""
        ...

    def submit_first_draw(self, request: Request) -> Future[HeldLease]:
        """Draw the first lease of a request; refused as `replayed` where one was drawn before."""
        ...

    def end(self, run: Run, why: str) -> object:
        """End a run."""
        ...


class Client(Protocol):
    """One client of the policy, proven for this request."""

    @property
    def name(self) -> str:
        """Its name in the policy."""
        ...

    @property
    def door(self) -> tuple[str, str] | None:
        """The tool and environment that it is the door of, if it is one."""
        ...

    def open_door(self) -> EmbeddedDoor | None:
        """That door, each of its steps behind the client's proof and right; None where it is none."""
        ...

    @property
    def startable(self) -> Startable | None:
        """What it may start, if it starts runs."""
        ...

    def refuse(self, run: Run) -> Decision | None:
        """Why it may not start a run like this one; the step that starts it asks the same."""
        ...

    @property
    def is_public(self) -> bool:
        """Whether it has nothing to prove itself with, so that a code and its verifier have to do."""
        ...

    @property
    def runs(self) -> ClientRuns:
        """Its runs."""
        ...


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """What a request brings to say which client it is from: a key or a token, and the name that it gives, if any."""

    name: str
    secret: str = ""
    assertion: str = ""


class Clients(Protocol):
    """Knows the clients."""

    async def prove(self, proof: Proof) -> Client | None:
        """The client that this proves; None where it proves none."""
        ...

    async def person_of(self, token: str) -> str:
        """The person whom a token of a trusted issuer names.

        Raises:
            InvalidError: it names none.
        """
        ...

    def named(self, name: str, redirect_uri: str) -> Client | None:
        """The client of a name, which proves nothing; None unless its rule lists exactly this address."""
        ...


def brings_proof(request: HttpRequest, params: Params) -> bool:
    """Whether a request brings anything at all to prove its client with."""
    return "authorization" in request.headers or bool(params.get("client_secret") or params.get("client_assertion"))


def read_proof(request: HttpRequest, params: Params) -> Proof:
    """What a request brings as its client's proof: exactly one of the ways of RFC 6749 and RFC 7523.

    Raises:
        OAuthError: it brings none, several, or one that cannot be read.
    """
    headers = request.headers.getlist("authorization")
    found: list[Proof] = []
    if headers:
        found.append(_basic(headers[0]) if len(headers) == 1 else Proof(name=""))
    if params.get("client_secret"):
        found.append(Proof(name=params.need("client_id"), secret=params.need("client_secret")))
    if params.get("client_assertion"):
        params.choose("client_assertion_type", JWT_CLIENT)
        found.append(Proof(name=params.get("client_id"), assertion=params.need("client_assertion")))
    if len(found) != 1 or not (found[0].secret or found[0].assertion):
        raise unknown_client("say which client this is, in one way: its secret or an assertion")
    name = params.get("client_id")
    if name and found[0].name not in ("", name):
        raise unknown_client("two names of a client")
    return msgspec.structs.replace(found[0], name=name or found[0].name)


def read_bearer(request: HttpRequest) -> Proof | None:
    """The one bearer credential of a request, None where it brings another or none."""
    headers = request.headers.getlist("authorization")
    scheme, _, credential = headers[0].partition(" ") if len(headers) == 1 else ("", "", "")
    if scheme.lower() != "bearer" or not credential.isascii() or not credential:
        return None
    is_key = credential.startswith(KEY_PREFIX)
    return Proof(name="", secret=credential) if is_key else Proof(name="", assertion=credential)


def unknown_client(words: str) -> OAuthError:
    """The answer to who does not prove to be a client."""
    return OAuthError("invalid_client", words, status=401, headers=ASK_FOR_PROOF)


def _basic(header: str) -> Proof:
    """Name and secret of HTTP Basic, each form-encoded before (RFC 6749, section 2.3.1)."""
    scheme, _, text = header.partition(" ")
    try:
        name, colon, secret = base64.b64decode(text.strip(), validate=True).decode("ascii").partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return Proof(name="")
    if scheme.lower() != "basic" or not colon:
        return Proof(name="")
    return Proof(name=unquote_plus(name), secret=unquote_plus(secret))
