"""What a program sent: its body, query and headers, read so strictly that nothing can be taken in two ways.

Called by the API before any handler. What is malformed, too long, doubled or of another type is an `InvalidError` or a
`ApiProblemError` of its own status, and nothing was done.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import TypeVar
from urllib.parse import parse_qsl

import msgspec
from starlette.datastructures import Headers
from starlette.types import Receive, Scope

from leasehold.decide.clients import Sending
from leasehold.errors import InvalidError
from leasehold.model.canonical import decode, encode, prepare
from leasehold.model.endpoints import ENDPOINTS, Endpoint
from leasehold.model.problem import Problem

__all__ = ["ApiProblemError", "Disconnected", "limit_of", "read_body", "read_query", "read_sending"]

S = TypeVar("S", bound=msgspec.Struct)

MAX_BODY_BYTES = 65_536
MAX_CALL_BYTES = 1_310_720
"""Arguments of a call may take a mebibyte, as embedded, beside all else that an admission says."""
MAX_QUERY_CHARACTERS = 4096
IDEMPOTENCY_KEY = "idempotency-key"

_VISIBLE = re.compile(r"[\x21-\x7e]{1,200}")
_JSON = re.compile(r'application/json( *; *charset="?utf-8"?)?', re.IGNORECASE)

prepare(*(shape for each in ENDPOINTS.values() for shape in (each.body, each.query) if shape is not None))


class ApiProblemError(Exception):
    """A request cannot be answered as asked, for a reason that is no decision. Caught by the API."""

    def __init__(self, code: str, detail: str, *, headers: Mapping[str, str] | None = None) -> None:
        self.problem = Problem.of_code(code, detail)
        self.headers = headers or {}
        super().__init__(detail)


class Disconnected(Exception):  # noqa: N818 - nobody is there to be told of an error
    """The caller went before its request was whole."""


def limit_of(endpoint: Endpoint) -> int:
    """How long the body of a request may be."""
    return MAX_CALL_BYTES if endpoint.path == "/v1/admissions" else MAX_BODY_BYTES


async def read_body(headers: Headers, receive: Receive, endpoint: Endpoint) -> tuple[msgspec.Struct | None, bytes]:
    """The body as its type, and its bytes as they came; None and nothing where the endpoint takes none.

    Raises:
        ApiProblemError: it is too long, or of another media type.
        InvalidError: it is no such body.
    """
    data = await _read(headers, receive, limit_of(endpoint))
    if endpoint.body is None:
        if data:
            raise InvalidError("this takes no body")
        return None, b""
    if not _JSON.fullmatch(_only(headers, "content-type")) or "content-encoding" in headers:
        raise ApiProblemError("unsupported_media_type", "send application/json, UTF-8, without a content encoding")
    return _convert(decode(data, max_bytes=limit_of(endpoint)), endpoint.body, strict=True), data


async def _read(headers: Headers, receive: Receive, limit: int) -> bytes:
    declared = headers.get("content-length", "0")
    if not declared.isascii() or not declared.isdecimal() or len(declared) > len(str(limit)) or int(declared) > limit:
        raise _too_large(limit)
    pieces: list[bytes] = []
    length = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise Disconnected
        pieces.append(message.get("body", b""))
        length += len(pieces[-1])
        if length > limit:
            raise _too_large(limit)
        if not message.get("more_body", False):
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _too_large(limit: int) -> ApiProblemError:
    return ApiProblemError("too_large", f"a body has at most {limit} bytes here", headers={"Connection": "close"})


def read_query(scope: Scope, shape: type[msgspec.Struct] | None) -> msgspec.Struct | None:
    """The query as its type: each name once, every name known; None where the endpoint takes none.

    Raises:
        InvalidError: it is no such query.
    """
    text: bytes = scope.get("query_string", b"")
    if shape is None:
        if text:
            raise InvalidError("this takes no query")
        return None
    if len(text) > MAX_QUERY_CHARACTERS:
        raise InvalidError(f"a query has at most {MAX_QUERY_CHARACTERS} characters")
    try:
        pairs = parse_qsl(
            text.decode("ascii"), keep_blank_values=True, strict_parsing=bool(text), errors="strict", max_num_fields=32
        )
    except ValueError:
        raise InvalidError("this query cannot be read; write name=value&name=value, percent-encoded UTF-8") from None
    members = dict(pairs)
    if len(members) != len(pairs):
        raise InvalidError("this query names something twice")
    if any("\0" in text for pair in pairs for text in pair):
        raise InvalidError("a query holds no NUL character")
    return _convert(members, shape, strict=False)


def read_sending(headers: Headers, endpoint: Endpoint, path: str, body: bytes) -> Sending | None:
    """The caller's own name for this request, where its endpoint needs one, and the digest of all that it says.

    Raises:
        InvalidError: the header is missing, stands twice, or cannot be one.
    """
    if not endpoint.is_keyed:
        return None
    key = _only(headers, IDEMPOTENCY_KEY)
    if not _VISIBLE.fullmatch(key):
        raise InvalidError(
            "this needs the header Idempotency-Key, once: 1 to 200 visible ASCII characters, random; the same only "
            "where the same request is sent again"
        )
    # By its canonical bytes two requests are the same however they were spelled.
    canonical = encode(decode(body), max_bytes=2 * len(body) + 64) if body else b""
    said = b"\n".join((endpoint.method.encode(), path.encode("utf-8", "surrogatepass"), canonical))
    return Sending(key=key, digest=hashlib.sha256(said).hexdigest())


def _only(headers: Headers, name: str) -> str:
    """A header that may stand once; empty where it is missing or stands more often."""
    values = headers.getlist(name)
    return values[0] if len(values) == 1 else ""


def _convert(value: object, shape: type[S], *, strict: bool) -> S:
    try:
        return msgspec.convert(value, shape, strict=strict)
    except (msgspec.ValidationError, RecursionError) as error:
        raise InvalidError(str(error)) from None
