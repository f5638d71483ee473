"""A passkey made of software: real keys and real bytes of WebAuthn, for tests to use rightly and wrongly."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TypeAlias

import cbor2
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from leasehold.token import base64url
from leasehold.token.passkey import Assertion

PrivateKey: TypeAlias = EllipticCurvePrivateKey | Ed25519PrivateKey | RSAPrivateKey

PRESENT_AND_VERIFIED = 0x05
_NEW_CREDENTIAL = 0x40


def _new_key() -> PrivateKey:
    return generate_private_key(SECP256R1())


@dataclass
class Authenticator:
    """One passkey on pages of `origin`. `count` is what it says it has signed; None: always zero, as synced ones do."""

    origin: str
    key: PrivateKey = field(default_factory=_new_key)
    credential: bytes = b"credential-one-1"
    count: int | None = 0
    flags: int = PRESENT_AND_VERIFIED

    @property
    def host(self) -> str:
        return self.origin.partition("://")[2].partition(":")[0]

    @property
    def public_key(self) -> str:
        """base64url of its SubjectPublicKeyInfo."""
        spki = self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return base64url.encode(spki)

    def make(self, options: str) -> str:
        """What `navigator.credentials.create` gives for these options, as JSON."""
        wanted = json.loads(options)
        client = self.client_data("webauthn.create", wanted["challenge"])
        attested = bytes(16) + len(self.credential).to_bytes(2, "big") + self.credential + self._cose()
        data = self._data(self.flags | _NEW_CREDENTIAL) + attested
        attestation = cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data})
        response = {
            "clientDataJSON": base64url.encode(client),
            "attestationObject": base64url.encode(attestation),
            "transports": ["internal"],
        }
        return self._json(response)

    def use(self, options: str) -> str:
        """What `navigator.credentials.get` gives for these options, as JSON."""
        used = self.sign(base64url.decode(json.loads(options)["challenge"]))
        return self._json(
            {
                "authenticatorData": used.authenticator_data,
                "clientDataJSON": used.client_data,
                "signature": used.signature,
                "userHandle": None,
            }
        )

    def sign(self, challenge: bytes, client_data: bytes | None = None) -> Assertion:
        """Its assertion over a challenge; `client_data` stands in for what an honest browser writes."""
        if self.count is not None:
            self.count += 1
        client = client_data or self.client_data("webauthn.get", base64url.encode(challenge))
        data = self._data(self.flags)
        return Assertion(
            credential=base64url.encode(self.credential),
            authenticator_data=base64url.encode(data),
            client_data=base64url.encode(client),
            signature=base64url.encode(self._sign(data + hashlib.sha256(client).digest())),
        )

    def client_data(self, kind: str, challenge: str, **more: object) -> bytes:
        """What a browser writes of the page."""
        members = {"type": kind, "challenge": challenge, "origin": self.origin, "crossOrigin": False, **more}
        return json.dumps(members).encode()

    def _data(self, flags: int) -> bytes:
        return hashlib.sha256(self.host.encode()).digest() + bytes([flags]) + (self.count or 0).to_bytes(4, "big")

    def _sign(self, data: bytes) -> bytes:
        match self.key:
            case EllipticCurvePrivateKey():
                return self.key.sign(data, ECDSA(SHA256()))
            case Ed25519PrivateKey():
                return self.key.sign(data)
            case RSAPrivateKey():
                return self.key.sign(data, PKCS1v15(), SHA256())

    def _cose(self) -> bytes:
        public = self.key.public_key()
        match self.key:
            case EllipticCurvePrivateKey():
                point = public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
                return cbor2.dumps({1: 2, 3: -7, -1: 1, -2: point[1:33], -3: point[33:]})
            case Ed25519PrivateKey():
                return cbor2.dumps({1: 1, 3: -8, -1: 6, -2: public.public_bytes(Encoding.Raw, PublicFormat.Raw)})
            case RSAPrivateKey():
                numbers = self.key.public_key().public_numbers()
                return cbor2.dumps({1: 3, 3: -257, -1: numbers.n.to_bytes(256, "big"), -2: b"\x01\x00\x01"})

    def _json(self, response: dict[str, object]) -> str:
        name = base64url.encode(self.credential)
        return json.dumps({"id": name, "rawId": name, "type": "public-key", "response": response})
