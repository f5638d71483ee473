"""A provider on this machine at which people sign in: authorization code, PKCE, ID tokens that it really signs."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote_plus, urlencode, urlsplit

from issuer import Issuer
from leasehold.token import base64url

CLIENT = "leasehold"


@dataclass
class Code:
    """What a code was given for. It is redeemed once."""

    query: dict[str, str]
    claims: dict[str, Any]
    is_used: bool = False


@dataclass
class Provider(Issuer):
    """`claims` are of whoever is in front of it, `now` is its clock. `change` spoils ID tokens before they are signed,
    `make` signs them in another way, `answer_more` and `more` spoil answers and the document.
    """

    claims: dict[str, Any] = field(default_factory=dict)
    now: Callable[[], int] = lambda: 0
    change: Callable[[dict[str, Any]], dict[str, Any]] = lambda claims: claims
    make: Callable[[dict[str, Any]], str] | None = None
    answer_more: dict[str, str] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)
    secret: str = ""
    codes: dict[str, Code] = field(default_factory=dict)
    forms: list[dict[str, str]] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        return {
            **super().document(),
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": True,
            **self.more,
        }

    def authorize(self, address: str) -> str:
        """Where a browser that was led to `address` is led back to, once its person has proven who they are."""
        query = dict(parse_qsl(urlsplit(address).query, strict_parsing=True))
        assert query["response_type"] == "code"
        assert query["client_id"] == CLIENT
        assert query["scope"].split()[0] == "openid"
        assert query["code_challenge_method"] == "S256"
        code = f"code-{len(self.codes)}"
        proven = self.now() if query["max_age"] == "0" else self.now() - 60
        self.codes[code] = Code(query, {"auth_time": proven, **self.claims})
        answer = {"code": code, "state": query["state"], "iss": self.url, **self.answer_more}
        return f"{query['redirect_uri']}?{urlencode({name: value for name, value in answer.items() if value})}"

    def answer(self, path: str) -> tuple[int, Mapping[str, str], bytes]:
        if path.startswith("/authorize?"):
            self.asked.append("/authorize")
            return 302, {"location": self.authorize(path)}, b""
        return super().answer(path)

    def take(self, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, Mapping[str, str], bytes]:
        """The token endpoint."""
        form = dict(parse_qsl(body.decode(), strict_parsing=True))
        self.forms.append(form)
        found = self.codes.get(form["code"])
        client = form.get("client_id", "")
        if self.secret:
            pair = base64.b64decode(headers["authorization"].removeprefix("Basic ")).decode()
            client, secret = map(unquote_plus, pair.split(":"))
            if secret != self.secret:
                return 401, {}, b'{"error": "invalid_client"}'
        if path != "/token" or found is None or found.is_used or client != CLIENT:
            return 400, {}, b'{"error": "invalid_grant"}'
        challenge = base64url.encode(hashlib.sha256(form["code_verifier"].encode()).digest())
        if challenge != found.query["code_challenge"] or form["redirect_uri"] != found.query["redirect_uri"]:
            return 400, {}, b'{"error": "invalid_grant"}'
        found.is_used = True
        return 200, {}, json.dumps(self.tokens(found)).encode()

    def tokens(self, code: Code) -> dict[str, Any]:
        access = "access-of-" + code.query["nonce"]
        said = {
            "sub": "sub-1",
            "aud": CLIENT,
            "iat": self.now(),
            "exp": self.now() + 300,
            "nonce": code.query["nonce"],
            "at_hash": base64url.encode(hashlib.sha256(access.encode()).digest()[:16]),
            **code.claims,
        }
        said = {name: value for name, value in self.change(said).items() if value is not None}
        token = self.make(said) if self.make is not None else self.sign(said)
        return {"access_token": access, "token_type": "Bearer", "id_token": token}
