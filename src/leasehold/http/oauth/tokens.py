"""The token endpoint: client credentials, codes, token exchange (RFC 8693), assertions of workloads (RFC 7523).

A grant says how a client proves what it may ask for; what it gets is the same in every case, and decided elsewhere. No
refresh tokens: a lease is renewed by asking for the next one of the same request.
"""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from leasehold.authority import Authority
from leasehold.errors import NotFoundError
from leasehold.http.oauth.answers import OAuthError, json_answer
from leasehold.http.oauth.clients import Client, Clients, Proof, brings_proof, read_proof, unknown_client
from leasehold.http.oauth.codes import Code, Codes
from leasehold.http.oauth.details import read_asked, scope_of
from leasehold.http.oauth.granting import Drawn, Granting, Person, unfit_subject
from leasehold.http.oauth.metadata import EXCHANGE, JWT_BEARER, TOKEN
from leasehold.http.oauth.params import Params, read_params
from leasehold.http.oauth.proofs import Proofs
from leasehold.http.site import Site
from leasehold.model.grant import grants_to_json
from leasehold.model.run import RequesterProof
from leasehold.token.codec import GRANT_TYPE

__all__ = ["TokenEndpoint", "read_audience"]

_CREDENTIALS = "client_credentials"
_CODE = "authorization_code"
_GRANTS = (_CREDENTIALS, _CODE, EXCHANGE, JWT_BEARER)
_ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - a type
_JWT = "urn:ietf:params:oauth:token-type:jwt"
_ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token"  # noqa: S105 - a type
_TOOL = "urn:leasehold:tool:"


class TokenEndpoint:
    """Gives out tokens. Threads may share it."""

    def __init__(self, authority: Authority, clients: Clients, site: Site) -> None:
        self._engine = authority.engine
        self._clients = clients
        self._granting = Granting(authority)
        self._proofs = Proofs(authority)
        self._codes = Codes(authority)
        self._url = site.origin + TOKEN

    async def give(self, request: Request) -> Response:
        """One token, or why not."""
        params = await read_params(request)
        grant = params.need("grant_type")
        if grant not in _GRANTS:
            raise OAuthError("unsupported_grant_type", f"grants here are {', '.join(_GRANTS)}")
        client = await self._client(request, params, grant)
        # Before the proof is used up and written down: a client without a credential is known by its code alone.
        code = await run_in_threadpool(self._code, client, params) if grant == _CODE else None
        holder = await self._proofs.holder(request, self._url)
        if code is not None:
            drawn = await run_in_threadpool(self._redeemed, client, code, holder)
        else:
            person = await self._person(params) if grant == EXCHANGE else None
            drawn = await run_in_threadpool(self._drawn, client, params, holder, person)
        answer = self._answer(drawn, holder) | ({"issued_token_type": _ACCESS_TOKEN} if grant == EXCHANGE else {})
        return json_answer(answer, headers=self._proofs.nonce() if holder else {})

    async def _client(self, request: Request, params: Params, grant: str) -> Client:
        if grant == JWT_BEARER:
            proof = Proof(name=params.get("client_id"), assertion=params.need("assertion"))
            client = await self._clients.prove(proof)
            if client is None:
                raise OAuthError("invalid_grant", "this assertion proves no client")
            if brings_proof(request, params):  # has to hold, too (RFC 7523, section 3.1)
                other = await self._clients.prove(read_proof(request, params))
                if other is None or other.name != client.name:
                    raise unknown_client("what is sent beside the assertion does not prove the same client")
            return client
        if grant == _CODE and not brings_proof(request, params):
            asked = (params.need("client_id"), params.need("redirect_uri"))
            named = await run_in_threadpool(self._clients.named, *asked)
            if named is None or not named.is_public:
                raise unknown_client("this client has to prove itself")
            return named
        client = await self._clients.prove(read_proof(request, params))
        if client is None:
            raise unknown_client("this proves no client")
        return client

    async def _person(self, params: Params) -> Person | None:
        """Who stands behind an exchange: a person whose token of a trusted issuer this is; None for a lease's."""
        params.choose("requested_token_type", _ACCESS_TOKEN, _JWT, default=_ACCESS_TOKEN)
        if params.choose("subject_token_type", _ACCESS_TOKEN, _JWT, _ID_TOKEN) == _ACCESS_TOKEN:
            return None
        return Person(await self._clients.person_of(params.need("subject_token")), RequesterProof.PROVEN)

    def _drawn(self, client: Client, params: Params, holder: str | None, person: Person | None) -> Drawn:
        audience = read_audience(params)
        if params.get("request_id"):
            if params.get("grant_type") == EXCHANGE:
                raise OAuthError("invalid_request", "come back for a request with client_credentials, not an exchange")
            return self._granting.draw(client, params.need("request_id"), audience)
        asked = read_asked(params)
        if params.get("actor_token"):
            raise OAuthError("invalid_request", "no actor_token is taken: the detail of the run names the agent")
        if params.get("grant_type") != EXCHANGE or person is not None:
            return self._granting.start(client, asked, audience, person)
        try:
            return self._granting.delegate(client, asked, audience, params.need("subject_token"), holder)
        except NotFoundError:
            raise unfit_subject() from None

    def _code(self, client: Client, params: Params) -> Code:
        code = self._codes.read(
            params.need("code"),
            client=client.name,
            redirect_uri=params.need("redirect_uri"),
            verifier=params.need("code_verifier"),
        )
        if self._clients.named(client.name, code.redirect_uri) is None:
            raise OAuthError("invalid_grant", "this address is not one of the client's any more")
        if read_audience(params) not in ("", code.audience):
            raise OAuthError("invalid_target", "the person was asked about another tool")
        return code

    def _redeemed(self, client: Client, code: Code, holder: str | None) -> Drawn:
        if code.holder not in ("", holder):
            raise OAuthError("invalid_grant", "this code is for who proves to hold another key")
        return self._granting.redeem(client, code)

    def _answer(self, drawn: Drawn, holder: str | None) -> dict[str, object]:
        lease = drawn.held.lease
        written = grants_to_json(lease.grants_for(drawn.audience))
        return {
            "access_token": self._engine.token(lease, drawn.audience, holder or ""),
            "token_type": "DPoP" if holder else "Bearer",
            "expires_in": max(0, lease.expires_at - self._engine.system.now().seconds),
            "scope": scope_of(lease.route),
            "authorization_details": [
                {"type": GRANT_TYPE, "actions": [action], "constraints": constraints}
                for action, constraints in written.items()
            ],
            "audience": drawn.audience,
            "lease_id": lease.lease_id,
            "run_id": lease.run_id,
            "request_id": lease.request_id,
        }


def read_audience(params: Params) -> str:
    """The tool that the token is for, as `audience` (RFC 8693) or as a `resource` address (RFC 8707)."""
    resource, audience = params.get("resource"), params.get("audience")
    if resource and not resource.startswith(_TOOL):
        raise OAuthError("invalid_target", f"a resource is {_TOOL} and the name of a tool")
    named = {name for name in (audience, resource.removeprefix(_TOOL)) if name}
    if len(named) > 1:
        raise OAuthError("invalid_target", "audience and resource name two tools")
    return next(iter(named), "")
