"""A request for authorization (RFC 6749, section 4.1.1), judged before anybody is asked. Pure but for the clients.

Called by the consent page, when it is shown and again when it is sent. What makes the client or its address doubtful
is told to the person and never sent anywhere; everything else goes back to the client, with the issuer (RFC 9207), so
that an answer cannot be taken for another server's.
"""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode, urlsplit

import msgspec

from leasehold.http.oauth.answers import OAuthError
from leasehold.http.oauth.clients import Client, Clients
from leasehold.http.oauth.codes import is_challenge
from leasehold.http.oauth.details import Asked, read_asked
from leasehold.http.oauth.params import Params, checked
from leasehold.http.oauth.tokens import read_audience
from leasehold.http.problems import ProblemError

__all__ = ["Authorizing", "BackError", "read_authorizing"]

_MAX_FIELDS = 64
_MAX_STATE = 1024


class BackError(Exception):
    """Not authorized, and the client is told: `location` is where the browser goes."""

    def __init__(self, location: str, error: OAuthError) -> None:
        self.location = location
        self.error = error
        super().__init__(error.words)


class Authorizing(msgspec.Struct, frozen=True, kw_only=True):
    """What a client wants a person to authorize, and where the answer goes."""

    client: str
    redirect_uri: str
    state: str
    issuer: str
    challenge: str = ""
    holder: str = ""
    audience: str = ""
    asked: Asked | None = None

    def back(self, **answer: str) -> str:
        """The address of the client with an answer in it."""
        parts = urlsplit(self.redirect_uri)
        said = {**answer, **({"state": self.state} if self.state else {}), "iss": self.issuer}
        query = "&".join(filter(None, (parts.query, urlencode(said))))
        return parts._replace(query=query).geturl()

    def refused(self, error: OAuthError) -> BackError:
        """The way back to the client with an error."""
        return BackError(self.back(error=error.error, error_description=error.description), error)


def read_authorizing(query: str, clients: Clients, issuer: str) -> tuple[Client, Authorizing]:
    """What a query asks for.

    Raises:
        ProblemError: the client or the address is not known; nobody is sent anywhere.
        BackError: something else is wrong, and the client is told.
    """
    params = _params(query)
    client = clients.named(params.get("client_id"), params.get("redirect_uri"))
    if client is None:
        raise ProblemError(
            400,
            "Nobody we know",
            "The page that sent you here names a program that is not registered with this address. Nothing was done, "
            "and you are not sent back there.",
        )
    wanted = Authorizing(
        client=client.name,
        redirect_uri=params.get("redirect_uri"),
        state=params.get("state"),
        issuer=issuer,
    )
    try:
        return client, _completed(wanted, params)
    except OAuthError as error:
        raise wanted.refused(error) from None


def _params(query: str) -> Params:
    try:
        pairs = parse_qsl(
            query, keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=_MAX_FIELDS
        )
        lists: dict[str, tuple[str, ...]] = {}
        for name, value in pairs:
            lists[name] = (*lists.get(name, ()), value)
        return checked(lists)
    except (ValueError, OAuthError):
        raise ProblemError(400, "Not readable", "What sent you here cannot be read. Nothing was done.") from None


def _completed(wanted: Authorizing, params: Params) -> Authorizing:
    if params.get("response_type") != "code":
        raise OAuthError("unsupported_response_type", "the only response_type here is code")
    if params.get("response_mode") not in ("", "query"):
        raise OAuthError("invalid_request", "answers come in the query")
    if len(wanted.state) > _MAX_STATE:
        raise OAuthError("invalid_request", "this state is too long")
    if params.get("code_challenge_method") != "S256" or not is_challenge(params.get("code_challenge")):
        raise OAuthError("invalid_request", "a code needs a challenge of the method S256")
    if params.get("dpop_jkt") and not is_challenge(params.get("dpop_jkt")):
        raise OAuthError("invalid_request", "dpop_jkt is the SHA-256 thumbprint of a key")
    if params.get("prompt") == "none":
        raise OAuthError("interaction_required", "a person has to look at each of these")
    asked, audience = read_asked(params), read_audience(params)
    if asked.run.requested_by:
        raise OAuthError("invalid_authorization_details", "who signs in is who asks; the detail names nobody")
    return msgspec.structs.replace(
        wanted,
        challenge=params.get("code_challenge"),
        holder=params.get("dpop_jkt"),
        audience=audience,
        asked=asked,
    )
