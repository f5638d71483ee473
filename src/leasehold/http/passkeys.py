"""Passkeys in the browser: the options that pages hand to `navigator.credentials`, and what comes back in a form.

Nothing is remembered between the two: the challenge of an answer is made of the answer, that of a sign-in or of a new
passkey of the browser's own cookie. New passkeys are read by py_webauthn; what they sign later is verified by
`leasehold.token.passkey`, as it is offline.
"""

from __future__ import annotations

import hashlib
import hmac

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from msgspec import Struct, json
from starlette.requests import Request
from webauthn import generate_registration_options, options_to_json, verify_registration_response
from webauthn.helpers import decode_credential_public_key, decoded_public_key_to_cryptography
from webauthn.helpers.cose import COSEAlgorithmIdentifier
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from leasehold.authority.person_desk import PersonDesk
from leasehold.errors import InvalidError
from leasehold.http.site import Site
from leasehold.model import canonical
from leasehold.model.glass import Opening
from leasehold.model.ids import RequestId
from leasehold.model.request import Verdict
from leasehold.token import base64url
from leasehold.token.passkey import Assertion, answer_challenge, check_passkey_key, opening_challenge, policy_challenge
from leasehold.token.proposal import PolicyStatement

__all__ = [
    "NewPasskey",
    "answer_options",
    "is_passkey_page",
    "new_passkey_options",
    "opening_options",
    "policy_options",
    "read_assertion",
    "read_new_passkey",
    "sign_in_challenge",
    "sign_in_options",
    "site_of",
]

_ALGORITHMS = [
    COSEAlgorithmIdentifier.EDDSA,
    COSEAlgorithmIdentifier.ECDSA_SHA_256,
    COSEAlgorithmIdentifier.RSASSA_PKCS1_v1_5_SHA_256,
]
_MAX_CREDENTIAL_BYTES = 32_768
_NOT_READ = (LookupError, TypeError, ValueError)
"""What py_webauthn raises besides its own errors, of keys that lack a part or are not on their curve."""


class NewPasskey(Struct, frozen=True, kw_only=True):
    """A passkey that an authenticator has just made: its id and SubjectPublicKeyInfo as base64url, and its count."""

    credential: str
    public_key: str
    count: int


def site_of(request: Request) -> Site:
    """Under which names this server answers."""
    site: Site = request.app.state.site
    return site


def is_passkey_page(request: Request) -> bool:
    """Whether passkeys can be used on the page that was asked for."""
    site = site_of(request)
    return f"{site.scheme}://{request.headers.get('host', '').lower()}" == site.passkey_origin


# using one


def sign_in_challenge(cookie: bytes) -> bytes:
    """What a passkey signs to sign in: bound to this browser's id, which signing in and out replace."""
    return hmac.digest(cookie, b"leasehold passkey sign-in v1", "sha256")


def sign_in_options(site: Site, cookie: bytes) -> str:
    """Options for `navigator.credentials.get` on the sign-in page, as JSON; any passkey of this site will do."""
    return _request_options(site, sign_in_challenge(cookie), ())


def answer_options(viewer: PersonDesk, site: Site, request_id: str, card_digest: str, verdict: Verdict) -> str:
    """Options for `navigator.credentials.get` by which this person's passkey signs one answer to one card, as JSON."""
    challenge = answer_challenge(RequestId(request_id), card_digest, verdict, viewer.person)
    return _request_options(site, challenge, tuple(known.credential for known in viewer.passkeys()))


def policy_options(viewer: PersonDesk, site: Site, statement: PolicyStatement) -> str:
    """The same for their word on a policy that waits for a second person."""
    return _request_options(site, policy_challenge(statement), tuple(known.credential for known in viewer.passkeys()))


def opening_options(viewer: PersonDesk, site: Site, opening: Opening) -> str:
    """The same for their part in opening a break-glass."""
    challenge = opening_challenge(opening, viewer.person)
    return _request_options(site, challenge, tuple(known.credential for known in viewer.passkeys()))


def _request_options(site: Site, challenge: bytes, credentials: tuple[str, ...]) -> str:
    options = {
        "challenge": base64url.encode(challenge),
        "rpId": site.passkey_host,
        "userVerification": "required",
        "allowCredentials": [{"type": "public-key", "id": credential} for credential in credentials],
    }
    return json.encode(options).decode()


def read_assertion(text: str) -> Assertion:
    """The assertion in a form: the JSON of what `navigator.credentials.get` gave.

    Raises:
        InvalidError: it is none.
    """
    match canonical.decode(text.encode(), max_bytes=_MAX_CREDENTIAL_BYTES):
        case {
            "id": str(credential),
            "type": "public-key",
            "response": {"authenticatorData": str(data), "clientDataJSON": str(client), "signature": str(signature)},
        }:
            return Assertion(credential=credential, authenticator_data=data, client_data=client, signature=signature)
    raise InvalidError("this is not what a passkey signed")


# making one


def _new_challenge(cookie: bytes) -> bytes:
    return hmac.digest(cookie, b"leasehold passkey new v1", "sha256")


def new_passkey_options(viewer: PersonDesk, site: Site, cookie: bytes) -> str:
    """Options for `navigator.credentials.create`, as JSON. An authenticator that has one already is no use."""
    options = generate_registration_options(
        rp_id=site.passkey_host,
        rp_name="Leasehold",
        user_name=viewer.person,
        user_id=hashlib.sha256(b"leasehold person " + viewer.person.encode()).digest(),
        challenge=_new_challenge(cookie),
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.REQUIRED, user_verification=UserVerificationRequirement.REQUIRED
        ),
        exclude_credentials=[
            PublicKeyCredentialDescriptor(id=base64url.decode(known.credential)) for known in viewer.passkeys()
        ],
        supported_pub_key_algs=_ALGORITHMS,
    )
    return options_to_json(options)


def read_new_passkey(text: str, site: Site, cookie: bytes) -> NewPasskey:
    """The passkey in a form: the JSON of what `navigator.credentials.create` gave for this browser.

    Raises:
        InvalidError: it is none, or was not made for this page and challenge, or has a key that will not do.
    """
    if len(text) > _MAX_CREDENTIAL_BYTES:
        raise InvalidError("this is longer than any passkey")
    try:
        made = verify_registration_response(
            credential=text,
            expected_challenge=_new_challenge(cookie),
            expected_rp_id=site.passkey_host,
            expected_origin=site.passkey_origin,
            require_user_verification=True,
            supported_pub_key_algs=_ALGORITHMS,
        )
        key = decoded_public_key_to_cryptography(decode_credential_public_key(made.credential_public_key))
    except WebAuthnException as error:
        raise InvalidError(f"this passkey cannot be taken: {error}") from None
    except _NOT_READ:
        raise InvalidError("this passkey cannot be taken: its key is none") from None
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    check_passkey_key(spki)
    return NewPasskey(
        credential=base64url.encode(made.credential_id), public_key=base64url.encode(spki), count=made.sign_count
    )
