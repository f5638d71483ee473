"""One sign-in at a provider, without the network: what is sent there, and what its answer has to say to count.

OpenID Connect Core 1.0 with the authorization code flow, PKCE (RFC 7636) and the issuer in the answer (RFC 9207). The
server remembers nothing in between: state, nonce and verifier are made of the secret in this browser's cookie, so an
answer that was begun in another browser, or before the cookie was replaced, says nothing here (decision 0019).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

import msgspec

from leasehold.decide.provider_sign_ins import Account
from leasehold.errors import InvalidError
from leasehold.model.canonical import Json
from leasehold.model.instant import Instant
from leasehold.model.text import check_identifier
from leasehold.policy.document import SignInRule
from leasehold.token import base64url
from leasehold.token.foreign import SKEW_SECONDS, IssuerClaims

__all__ = [
    "FLOW_SECONDS",
    "Flow",
    "account_of",
    "authorize_url",
    "begin_flow",
    "check_answer",
    "read_flow",
    "token_form",
]

FLOW_SECONDS = 600
"""How long somebody may take to prove who they are."""

_CONTEXT = b"leasehold provider v1\0"
_MAX_STATE = 6000
_MAX_GROUPS = 2000


class _State(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What travels in `state`: which provider, since when, where to go on, and whether it is a proof once more."""

    provider: str
    began: int
    next: str
    again: bool
    chance: str


_DECODER = msgspec.json.Decoder(_State)


@dataclass(frozen=True)
class Flow:
    """One sign-in under way. `state` stands in the addresses of both directions; nonce and verifier follow from it."""

    about: _State
    state: str
    nonce: str
    verifier: str

    @property
    def challenge(self) -> str:
        """What the provider is told of the verifier (S256)."""
        return base64url.encode(hashlib.sha256(self.verifier.encode()).digest())


def begin_flow(cookie: bytes, provider: str, *, now: Instant, chance: bytes, next_path: str, again: bool) -> Flow:
    """Begin a sign-in in the browser that has this cookie."""
    about = _State(provider=provider, began=now.seconds, next=next_path, again=again, chance=base64url.encode(chance))
    body = base64url.encode(msgspec.json.encode(about))
    return _flow(cookie, about, f"{body}.{base64url.encode(_mac(cookie, 'state', body))}")


def read_flow(cookie: bytes, provider: str, state: str, now: Instant) -> Flow:
    """The sign-in that an answer belongs to.

    Raises:
        InvalidError: it was begun in another browser, at another provider, too long ago, or never.
    """
    body, _, mac = state.partition(".")
    expected = base64url.encode(_mac(cookie, "state", body)) if cookie else ""
    if not cookie or len(state) > _MAX_STATE or not hmac.compare_digest(mac.encode(), expected.encode()):
        raise InvalidError("this sign-in was not begun in this browser")
    try:
        about = _DECODER.decode(base64url.decode(body))
    except msgspec.ValidationError:
        raise InvalidError("this sign-in was begun before this server was changed") from None
    if about.provider != provider:
        raise InvalidError("this sign-in was begun at another provider")
    if now.reached(about.began + FLOW_SECONDS):
        raise InvalidError(f"this sign-in took longer than {FLOW_SECONDS // 60} minutes")
    return _flow(cookie, about, state)


def _flow(cookie: bytes, about: _State, state: str) -> Flow:
    nonce, verifier = (base64url.encode(_mac(cookie, use, state)) for use in ("nonce", "verifier"))
    return Flow(about, state, nonce, verifier)


def _mac(cookie: bytes, use: str, text: str) -> bytes:
    return hmac.digest(cookie, b"\0".join((_CONTEXT, use.encode(), text.encode())), "sha256")


def authorize_url(rule: SignInRule, endpoint: str, flow: Flow, redirect_uri: str) -> str:
    """Where the browser goes to prove who is in front of it. Once more means that it has to be done anew."""
    again = {"prompt": "login", "max_age": "0"} if flow.about.again else {"max_age": str(rule.max_age_seconds)}
    query = {
        "response_type": "code",
        "client_id": rule.client_id,
        "redirect_uri": redirect_uri,
        "scope": " ".join(("openid", *rule.scopes)),
        "state": flow.state,
        "nonce": flow.nonce,
        "code_challenge": flow.challenge,
        "code_challenge_method": "S256",
        **again,
    }
    return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}"


def check_answer(answer: Mapping[str, str], rule: SignInRule, document: Mapping[str, Json]) -> str:
    """The code in the provider's answer.

    Raises:
        InvalidError: it is another issuer's answer (mix-up), or a no.
    """
    is_promised = document.get("authorization_response_iss_parameter_supported") is True
    if answer.get("iss", "" if is_promised else rule.issuer) != rule.issuer:
        raise InvalidError("this answer is of another issuer")
    if "error" in answer:
        raise InvalidError("the provider said no")
    code = answer.get("code", "")
    if not 1 <= len(code) <= 4096 or not code.isprintable():
        raise InvalidError("the provider's answer has no code")
    return code


def token_form(rule: SignInRule, flow: Flow, code: str, redirect_uri: str) -> bytes:
    """What the token endpoint is sent for a code."""
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": redirect_uri,
        "code_verifier": flow.verifier,
        **({} if rule.secret else {"client_id": rule.client_id}),
    }
    return urlencode(form).encode()


def account_of(
    rule: SignInRule, flow: Flow, token: IssuerClaims, access_token: str | None, algorithm: str, now: Instant
) -> Account:
    """What a verified ID token says of who is in front of this browser.

    Groups come from it alone: what an endpoint says over the wire nobody signed.

    Raises:
        InvalidError: it is for another browser, client or time, or does not name the person as the policy has it.
    """
    claims = token.claims
    _check_binding(claims, rule, flow, access_token, algorithm)
    return Account(
        provider=rule.name,
        issuer=token.issuer,
        subject=token.subject,
        person=person_named(claims, rule),
        groups=_groups(claims, rule),
        authenticated_at=_authenticated_at(claims, rule, flow, now),
    )


def _check_binding(
    claims: Mapping[str, Json], rule: SignInRule, flow: Flow, access_token: str | None, algorithm: str
) -> None:
    nonce = claims.get("nonce")
    if not isinstance(nonce, str) or not hmac.compare_digest(nonce.encode(), flow.nonce.encode()):
        raise InvalidError("the ID token was not made for this sign-in")
    if claims.get("azp", rule.client_id) != rule.client_id:
        raise InvalidError("the ID token was given to another client")
    if "at_hash" in claims and (access_token is None or claims["at_hash"] != _half_hash(access_token, algorithm)):
        raise InvalidError("the ID token and the access token do not belong together")


def _half_hash(text: str, algorithm: str) -> str:
    """The left half of the digest, by the hash of the token's own algorithm (OpenID Connect Core §3.1.3.6)."""
    name = "sha512" if algorithm in ("EdDSA", "Ed25519") else f"sha{algorithm[2:]}"
    digest = hashlib.new(name, text.encode()).digest()
    return base64url.encode(digest[: len(digest) // 2])


def _authenticated_at(claims: Mapping[str, Json], rule: SignInRule, flow: Flow, now: Instant) -> int:
    """When they proved there who they are: it was asked for, so it has to be said."""
    at = claims.get("auth_time")
    if not isinstance(at, int) or isinstance(at, bool) or at < 0:
        raise InvalidError("the ID token does not say when the person proved who they are (auth_time)")
    earliest = flow.about.began if flow.about.again else now.seconds - rule.max_age_seconds
    if not earliest - SKEW_SECONDS <= at <= now.seconds + SKEW_SECONDS:
        raise InvalidError("the person proved who they are too long ago; it has to be done anew")
    return at


def person_named(claims: Mapping[str, Json], rule: SignInRule) -> str:
    """The person that verified claims of a provider name, by the claim that the policy says.

    Raises:
        InvalidError: they name none.
    """
    value = claims.get(rule.person)
    if not isinstance(value, str):
        raise InvalidError(f"the ID token does not name the person ({rule.person})")
    if rule.person == "email" and claims.get("email_verified") is not True:
        raise InvalidError("the provider has not verified the mail address that names the person")
    return check_identifier(f"user:{value}", "the person's name")


def _groups(claims: Mapping[str, Json], rule: SignInRule) -> tuple[str, ...]:
    value = claims.get(rule.groups, []) if rule.groups else []
    if not isinstance(value, list) or len(value) > _MAX_GROUPS:
        raise InvalidError(f"the claim {rule.groups} is no list of groups")
    groups = tuple(group for group in value if isinstance(group, str))
    if len(groups) != len(value):
        raise InvalidError(f"the claim {rule.groups} is no list of groups")
    return groups
