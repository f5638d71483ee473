"""Authorization codes (RFC 6749, section 4.1) with PKCE (RFC 7636). Made by the consent page, redeemed for a lease.

A code names a request that was made when its person consented. It is worth nothing without the verifier of its
challenge, and nothing to another client or at another address. Consent made it; whether people have to agree is another
question, which the request answers.
"""

from __future__ import annotations

import hashlib
import hmac
import re

import msgspec

from leasehold.authority import Authority
from leasehold.errors import InvalidError
from leasehold.http.oauth.answers import OAuthError
from leasehold.model.canonical import prepare
from leasehold.token import base64url
from leasehold.token.digest import derive_purpose_key
from leasehold.token.sealed import open_note, seal_note

__all__ = ["CODE_SECONDS", "Code", "Codes", "is_challenge"]

CODE_SECONDS = 600
"""As long as RFC 6749 lets a code live, because people may have to agree in the meantime."""

_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")


class Code(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a code stands for. `expires_at` is in Unix seconds.

    `holder` is the thumbprint of the key that the client wants its token bound to (`dpop_jkt`, RFC 9449, section 10):
    who redeems it has to prove to hold that one.
    """

    client: str
    redirect_uri: str
    challenge: str
    request_id: str
    run_id: str
    audience: str
    expires_at: int
    holder: str = ""


prepare(Code)


def is_challenge(text: str) -> bool:
    """Whether this can be the challenge of S256, the only method here, or another SHA-256."""
    return _CHALLENGE.fullmatch(text) is not None


class Codes:
    """Makes codes and reads them. Every process with the authority's keys knows all of them."""

    def __init__(self, authority: Authority) -> None:
        self._engine = authority.engine
        self._key = derive_purpose_key(self._engine.identity.digest_key, "authorization code")

    def make(self, code: Code) -> str:
        """The text of a code."""
        return seal_note(code, self._key)

    def read(self, text: str, *, client: str, redirect_uri: str, verifier: str) -> Code:
        """The code, if this client may redeem it here and now. Whether it was redeemed before the step says.

        Raises:
            OAuthError: it may not; in each case in the same words, so that nobody learns which part was right.
        """
        try:
            code = open_note(text, Code, self._key)
        except InvalidError:
            raise _unfit() from None
        challenge = base64url.encode(hashlib.sha256(verifier.encode("utf-8", "replace")).digest())
        is_theirs = code.client == client and code.redirect_uri == redirect_uri
        is_verified = _VERIFIER.fullmatch(verifier) is not None and hmac.compare_digest(challenge, code.challenge)
        if not is_theirs or not is_verified or self._engine.system.now().reached(code.expires_at):
            raise _unfit()
        return code


def _unfit() -> OAuthError:
    return OAuthError("invalid_grant", "this code is not for this client, address and verifier, or not any more")
