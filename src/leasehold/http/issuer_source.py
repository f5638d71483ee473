"""Where the keys of one issuer come from, and how long they count. Called by `issuers` and by the sign-in of people.

An issuer is asked over TLS, at an address that was checked, without redirects, bounded in size and time. What it said
is kept for ten minutes; a key id that it did not name makes us ask again, but no oftener than every ten seconds,
whatever strangers send. If it cannot be asked, its last keys count for an hour and then nothing does: a key that was
withdrawn because it was stolen must not count for as long as somebody keeps us from hearing of it.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import anyio

from leasehold.errors import InvalidError, UnavailableError
from leasehold.model import canonical
from leasehold.model.address import Endpoint, parse_endpoint
from leasehold.model.canonical import Json
from leasehold.notices.channel import DeliveryError
from leasehold.notices.reach import Resolve, resolve_name
from leasehold.notices.wire import Reply, get
from leasehold.policy.document import DISCOVERY, IssuerRule
from leasehold.system import System
from leasehold.token.foreign import ForeignKey, read_foreign_keys

__all__ = ["FRESH_SECONDS", "LAST_SECONDS", "RETRY_SECONDS", "IssuerSource", "Wire"]

FRESH_SECONDS = 600
LAST_SECONDS = 3600
RETRY_SECONDS = 10
_FETCH_SECONDS = 5.0
_HEADERS = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "leasehold"}
_WELL_KNOWN = "/.well-known/openid-configuration"


@dataclass(frozen=True)
class Wire:
    """How this process reaches others: who says where names are, and whose certificates count (None: the system's)."""

    resolve: Resolve = resolve_name
    trust: ssl.SSLContext | None = None


@dataclass(frozen=True)
class _Heard:
    """What an issuer said, and when, by the clock that only grows."""

    keys: tuple[ForeignKey, ...]
    document: Mapping[str, Json]
    at_ms: int


@dataclass
class IssuerSource:
    """One issuer as the policy has it. Used on one event loop; its lock guards what it heard."""

    rule: IssuerRule
    system: System
    wire: Wire = Wire()
    _lock: anyio.Lock = field(default_factory=anyio.Lock)
    _heard: _Heard | None = None
    _tried_ms: int | None = None
    _failure: str = ""

    async def keys(self, kid: str | None) -> Sequence[ForeignKey]:
        """The keys that count now; asks the issuer where they are old, or where none has this id.

        Raises:
            UnavailableError: it cannot be asked, and could not be for too long.
        """
        return (await self._hear(kid)).keys

    async def document(self) -> Mapping[str, Json]:
        """What the issuer says about itself (OpenID Connect Discovery 1.0).

        Raises:
            UnavailableError: as `keys`.
        """
        return (await self._hear(None)).document

    async def _hear(self, kid: str | None) -> _Heard:
        if self._is_enough(self._heard, kid):
            return self._last()
        async with self._lock:
            if not self._is_enough(self._heard, kid) and self._may_ask():
                self._tried_ms = self.system.boot_milliseconds()
                try:
                    with anyio.fail_after(_FETCH_SECONDS):
                        self._heard = await self._ask()
                    self._failure = ""
                except TimeoutError:
                    self._failure = "it did not answer in time"
                except (DeliveryError, InvalidError) as error:
                    self._failure = str(error)
            return self._last()

    def _is_enough(self, heard: _Heard | None, kid: str | None) -> bool:
        if heard is None or self._age_ms(heard) >= FRESH_SECONDS * 1000:
            return False
        return kid is None or any(key.kid == kid for key in heard.keys)

    def _may_ask(self) -> bool:
        now = self.system.boot_milliseconds()
        return self._tried_ms is None or now - self._tried_ms >= RETRY_SECONDS * 1000

    def _last(self) -> _Heard:
        if self._heard is None or self._age_ms(self._heard) >= LAST_SECONDS * 1000:
            why = self._failure or "it was not asked yet"
            raise UnavailableError(f"the keys of {self.rule.issuer} are not known: {why}; nothing of it counts")
        return self._heard

    def _age_ms(self, heard: _Heard) -> int:
        return self.system.boot_milliseconds() - heard.at_ms

    async def _ask(self) -> _Heard:
        asked_ms = self.system.boot_milliseconds()
        if self.rule.listed:
            return _Heard(read_foreign_keys(canonical.encode({"keys": self.rule.listed_keys})), {}, asked_ms)
        document: Mapping[str, Json] = {}
        place = self.rule.keys
        if place == DISCOVERY:
            document = await self._discover()
            place = self.endpoint_of(document, "jwks_uri")
        return _Heard(read_foreign_keys(await self._get(place)), document, asked_ms)

    async def _discover(self) -> Mapping[str, Json]:
        document = canonical.decode(await self._get(self.rule.issuer.removesuffix("/") + _WELL_KNOWN))
        if not isinstance(document, dict) or document.get("issuer") != self.rule.issuer:
            raise InvalidError("its document is about another issuer; names of issuers are compared exactly")
        return document

    def endpoint_of(self, document: Mapping[str, Json], name: str) -> str:
        """An address that the document names: over TLS, if the issuer's own is.

        Raises:
            InvalidError: it is missing, or no such address.
        """
        address = document.get(name)
        if not isinstance(address, str):
            raise InvalidError(f"its document names no {name}")
        parse_endpoint(address, self._schemes)
        return address

    @property
    def _schemes(self) -> tuple[str, ...]:
        """In the clear only what was listed as being on this machine."""
        return ("http", "https") if self.rule.networks else ("https",)

    async def _get(self, address: str) -> bytes:
        endpoint: Endpoint = parse_endpoint(address, self._schemes)
        reply = await get(
            endpoint, _HEADERS, networks=self.rule.networks, resolve=self.wire.resolve, trust=self.wire.trust
        )
        return _body_of(reply)


def _body_of(reply: Reply) -> bytes:
    """The body of a plain yes. A redirect is none: it would lead where nobody looked."""
    if reply.status != 200:
        raise InvalidError(f"it answered {reply.status}")
    if not reply.body:
        raise InvalidError("its answer is empty, or too long")
    return reply.body
