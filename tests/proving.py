"""Proofs of possession as a client makes them (RFC 9449), signed with Ed25519."""

from __future__ import annotations

import hashlib
import json

from joserfc.jwk import OKPKey

from leasehold.token import base64url

__all__ = ["make_proof"]


def make_proof(key: OKPKey, *, token: str | None = None, **claims: object) -> str:
    """A proof by this key that says what is given; for a token, if one is named. A claim that is None is left out."""
    said: dict[str, object] = {"jti": "one"}
    if token is not None:
        said["ath"] = base64url.encode(hashlib.sha256(token.encode()).digest())
    said = {name: value for name, value in (said | claims).items() if value is not None}
    header = {"typ": "dpop+jwt", "alg": "Ed25519", "jwk": key.as_dict(private=False)}
    text = ".".join(base64url.encode(json.dumps(part).encode()) for part in (header, said))
    return f"{text}.{base64url.encode(key.private_key.sign(text.encode()))}"
