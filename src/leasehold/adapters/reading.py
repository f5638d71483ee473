"""From one HTTP request to the one value that is decided on, and to the bytes that the handler then reads.

Called by `leasehold.adapters.asgi`. Arguments come from the path, from declared query parameters and from the members
of one JSON object; each name from one place only. The handler gets the canonical bytes of what was decided on, so that
no second reader can take the request otherwise (threat cases 13-17).
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import parse_qsl, quote

from leasehold.adapters.answering import RequestError
from leasehold.adapters.messages import Headers, Receive, Scope
from leasehold.errors import InvalidError
from leasehold.guard.permit import ProvenToken
from leasehold.model import canonical
from leasehold.model.call import HolderProof, check_key
from leasehold.model.canonical import Json
from leasehold.model.lease import Token

__all__ = [
    "BODY_DIGEST",
    "BODY_TYPE",
    "MAX_BODY_BYTES",
    "Asked",
    "Body",
    "GoneError",
    "check_overrides",
    "read_credentials",
    "read_request",
]

MAX_BODY_BYTES = canonical.MAX_BYTES
BODY_DIGEST = "body_sha256"
"""The argument that stands for a body of `Body.BYTES`."""
BODY_TYPE = "body_type"
"""The argument beside it: as what the handler reads these bytes, the boundaries of a form included."""

_BODY_SECONDS = 30
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
_QUOTED = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"')
_JSON_TYPE = re.compile(r'application/json(?:;\s*charset="?utf-8"?)?', re.IGNORECASE)
_OVERRIDES = frozenset(
    {b"x-http-method-override", b"x-http-method", b"x-method-override", b"x-original-url", b"x-rewrite-url"}
)
_NOT_PASSED_ON = frozenset({b"authorization", b"content-length", b"dpop", b"transfer-encoding"})


class Body(StrEnum):
    """What an endpoint takes as its body; its author says so."""

    JSON = "json"
    """Nothing, or one JSON object whose members are arguments."""
    BYTES = "bytes"
    """Anything. Its SHA-256 in hex is the argument `body_sha256`, its Content-Type the argument `body_type`: what is
    approved are these bytes, read as this."""


class GoneError(Exception):
    """The caller left before it had sent everything; there is nobody to answer."""


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """What the headers present. The token never shows."""

    permit: Token | ProvenToken = field(repr=False)
    key: str | None
    trace_id: str


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The arguments that are decided on, and the body and headers that the handler reads."""

    arguments: Mapping[str, object]
    body: bytes
    headers: Sequence[tuple[bytes, bytes]]


def read_credentials(scope: Scope, origin: str) -> Credentials:
    """Return the lease's token, the idempotency key and the trace that a request names.

    `origin` is under what scheme, host and port callers know this service; a token that is bound to a key comes with a
    proof for exactly this address.

    Raises:
        RequestError: there is no lease, or a header is there twice or says nothing that can be read.
    """
    headers: Headers = scope["headers"]
    check_overrides(headers)
    traced = _TRACEPARENT.fullmatch(_only(headers, b"traceparent") or "")
    return Credentials(
        permit=_permit(scope, origin),
        key=_key(_only(headers, b"idempotency-key")),
        trace_id=traced[1] if traced else "",
    )


def check_overrides(headers: Headers) -> None:
    """Refuse headers that would make another request of this one.

    Raises:
        RequestError: there is one.
    """
    if any(_plain(name) in _OVERRIDES for name, _ in headers):
        raise RequestError(400, "override", "a request is what its method and path say; no header may say otherwise")


async def read_request(
    scope: Scope, receive: Receive, *, body: Body, query: Sequence[str], max_body_bytes: int
) -> Asked:
    """Read a request whole.

    Raises:
        RequestError: it is too large or too slow, not JSON, has an argument twice or one that is not declared.
        GoneError: the caller left.
    """
    raw = await _read_body(scope, receive, max_body_bytes)
    arguments: dict[str, object] = dict(scope.get("path_params") or {})
    _add(arguments, _query(scope.get("query_string", b""), query), "the query")
    if body is Body.BYTES:
        _add(arguments, _of_bytes(scope["headers"], raw), "the body")
    else:
        members = _members(scope["headers"], raw)
        _add(arguments, members, "the body")
        raw = canonical.encode(members) if raw else b""
    kept = [(name, value) for name, value in scope["headers"] if _plain(name) not in _NOT_PASSED_ON]
    return Asked(arguments=arguments, body=raw, headers=[*kept, (b"content-length", str(len(raw)).encode())])


def _plain(name: bytes) -> bytes:
    """The name of a header as its readers take it: CGI and WSGI know no difference between `_` and `-`."""
    return name.lower().replace(b"_", b"-")


def _of_bytes(headers: Headers, raw: bytes) -> Mapping[str, object]:
    return {BODY_DIGEST: hashlib.sha256(raw).hexdigest(), BODY_TYPE: _only(headers, b"content-type") or ""}


def _only(headers: Headers, wanted: bytes) -> str | None:
    """The one value of a header, None where it is missing."""
    values = [value for name, value in headers if _plain(name) == wanted]
    if len(values) > 1:
        error = "invalid_request" if wanted == b"authorization" else None
        raise RequestError(400, "repeated_header", f"{wanted.decode()} is there twice", error=error)
    return values[0].decode("latin-1") if values else None


def _permit(scope: Scope, origin: str) -> Token | ProvenToken:
    header, proof = _only(scope["headers"], b"authorization"), _only(scope["headers"], b"dpop")
    if header is None:
        raise RequestError(401, "lease_needed", "send a lease for this service: Authorization: Bearer …", error="")
    scheme, _, token = header.partition(" ")
    schemes = ("bearer", "dpop") if origin else ("bearer",)
    if scheme.lower() not in schemes or not _TOKEN.fullmatch(token):
        raise RequestError(
            401, "lease_needed", "Authorization is Bearer, one space, and the lease's token", error="invalid_request"
        )
    if (scheme.lower() == "dpop") != (proof is not None):
        raise RequestError(
            401, "proof_needed", "the scheme DPoP and one DPoP header belong together", error="invalid_request"
        )
    if proof is None:
        return Token(token)
    url = origin + quote(scope["path"], safe="/~!$&'()*+,;=:@-._")
    return ProvenToken(token=Token(token), proof=HolderProof(jwt=proof, method=scope["method"], url=url))


def _key(header: str | None) -> str | None:
    """The key. In quotes, as a structured field (RFC 9651), it is the same key as without."""
    if header is None:
        return None
    quoted = _QUOTED.fullmatch(header)
    try:
        return check_key(re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else header)
    except InvalidError as error:
        raise RequestError(400, "invalid_key", f"Idempotency-Key: {error}") from None


async def _read_body(scope: Scope, receive: Receive, max_bytes: int) -> bytes:
    length = _only(scope["headers"], b"content-length") or "0"
    if not (length.isascii() and length.isdigit()) or int(length[:20]) > max_bytes:
        raise RequestError(413, "body_too_large", f"the body may have {max_bytes} bytes")
    if _only(scope["headers"], b"content-encoding") not in (None, "identity"):
        raise RequestError(415, "encoded_body", "send the body as it is, without Content-Encoding")
    parts: list[bytes] = []
    left = max_bytes
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise GoneError
                parts.append(message.get("body", b""))
                left -= len(parts[-1])
                if left < 0:
                    raise RequestError(413, "body_too_large", f"the body may have {max_bytes} bytes")
                if not message.get("more_body", False):
                    return b"".join(parts)
    except TimeoutError:
        raise RequestError(408, "body_too_slow", f"the body did not arrive within {_BODY_SECONDS} s") from None


def _query(text: bytes, declared: Sequence[str]) -> Mapping[str, object]:
    try:
        pairs = (
            parse_qsl(
                text.decode("ascii"), keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=100
            )
            if text
            else []
        )
    except ValueError:
        raise RequestError(400, "bad_query", "the query cannot be read") from None
    found: dict[str, object] = {}
    for name, value in pairs:
        if name not in declared:
            raise RequestError(400, "undeclared_query", f"this endpoint takes no query parameter {name[:60]!r}")
        _add(found, {name: value}, "the query")
    return found


def _members(headers: Headers, raw: bytes) -> dict[str, Json]:
    if not raw:
        return {}
    if not _JSON_TYPE.fullmatch(_only(headers, b"content-type") or ""):
        raise RequestError(415, "not_json", "send the arguments as one JSON object: Content-Type: application/json")
    try:
        value = canonical.decode(raw)
    except InvalidError as error:
        raise RequestError(400, "not_json", str(error)) from None
    if not isinstance(value, dict):
        raise RequestError(400, "not_json", "the arguments are one JSON object")
    return value


def _add(arguments: dict[str, object], more: Mapping[str, object], where: str) -> None:
    twice = sorted(arguments.keys() & more.keys())
    if twice:
        raise RequestError(400, "argument_twice", f"{where} names {twice[0][:60]!r}, which stands elsewhere already")
    arguments.update(more)
