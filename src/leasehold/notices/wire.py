"""One HTTP request to a receiver that was checked: no redirects, no proxies, no cookies, bounded in size.

Called by the webhook and Slack channels, and by `leasehold.http` to ask issuers for their keys. The library sends
requests and nothing else; where a connection goes is ours (decision 0015). The caller bounds the time.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpcore
import msgspec

from leasehold.model.address import Endpoint
from leasehold.notices.channel import DeliveryError
from leasehold.notices.reach import Resolve, allowed_address

__all__ = ["MAX_ANSWER_BYTES", "Reply", "get", "post"]

MAX_ANSWER_BYTES = 65_536
_TRY_SECONDS = 10.0


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What a receiver answered. `headers` are by lower-case name; of a body that is too long nothing is kept."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class _Way:
    """Where a connection may go, who says where names are, and whose certificates count."""

    networks: Sequence[str]
    resolve: Resolve
    trust: ssl.SSLContext | None


class _Pinned(httpcore.AnyIOBackend):
    """Connects to the address that was checked, whatever name it is asked for; TLS still proves the name."""

    def __init__(self, address: str) -> None:
        self._address = address

    async def connect_tcp(
        self,
        host: str,  # noqa: ARG002 - the library's signature; the name was resolved and checked before
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect. See `httpcore.AsyncNetworkBackend`."""
        return await super().connect_tcp(self._address, port, timeout, local_address, socket_options)


async def post(
    endpoint: Endpoint,
    body: bytes,
    headers: Mapping[str, str],
    *,
    networks: Sequence[str],
    resolve: Resolve,
    trust: ssl.SSLContext | None = None,
) -> Reply:
    """Send a POST and return what came back, whatever its status.

    Raises:
        DeliveryError: the receiver may not be connected to, did not answer, or not in HTTP.
    """
    return await _exchange("POST", endpoint, body, headers, _Way(networks, resolve, trust))


async def get(
    endpoint: Endpoint,
    headers: Mapping[str, str],
    *,
    networks: Sequence[str],
    resolve: Resolve,
    trust: ssl.SSLContext | None = None,
) -> Reply:
    """Send a GET and return what came back, whatever its status.

    Raises:
        DeliveryError: as `post`.
    """
    return await _exchange("GET", endpoint, b"", headers, _Way(networks, resolve, trust))


async def _exchange(method: str, endpoint: Endpoint, body: bytes, headers: Mapping[str, str], way: _Way) -> Reply:
    address = await allowed_address(endpoint, way.networks, way.resolve)
    pool = httpcore.AsyncConnectionPool(
        ssl_context=way.trust or ssl.create_default_context(),
        http1=True,
        http2=False,
        network_backend=_Pinned(address),
    )
    bounds = {"timeout": dict.fromkeys(("connect", "read", "write", "pool"), _TRY_SECONDS)}
    sent = list(headers.items())
    try:
        async with pool, pool.stream(method, str(endpoint), headers=sent, content=body, extensions=bounds) as response:
            return Reply(
                status=response.status,
                headers={name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers},
                body=await _body(response),
            )
    except httpcore.TimeoutException:
        raise DeliveryError("the receiver did not answer in time") from None
    except (httpcore.NetworkError, OSError) as error:
        raise DeliveryError(_words(error)) from None
    except httpcore.ProtocolError:
        raise DeliveryError("the receiver does not answer in HTTP") from None


async def _body(response: httpcore.Response) -> bytes:
    body = b""
    async for part in response.aiter_stream():
        body += part
        if len(body) > MAX_ANSWER_BYTES:
            return b""
    return body


def _words(error: Exception) -> str:
    """What went wrong, without the library's text, which can hold names of hosts and parts of answers."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return "the receiver's certificate was not accepted"
        cause = cause.__cause__ or cause.__context__
    return "the receiver cannot be reached"
