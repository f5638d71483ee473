"""Introspection (RFC 7662) and revocation (RFC 7009): what a token is worth now, and the end of it.

A client is told of tokens of its own runs, a door of tokens for it. Of every other token it learns that it is not
active, which is also all that is said of one that never was: nobody can try tokens out here.
"""

from __future__ import annotations

from collections.abc import Mapping

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from leasehold.authority import Authority
from leasehold.authority.tokens import LiveToken, Tokens
from leasehold.errors import Denied, NotFoundError
from leasehold.http.oauth.answers import OAuthError, json_answer
from leasehold.http.oauth.clients import Client, Clients, read_proof, unknown_client
from leasehold.http.oauth.details import scope_of
from leasehold.http.oauth.params import Params, read_params
from leasehold.model.budget import amounts_to_json
from leasehold.model.decision import Reason
from leasehold.model.grant import grants_to_json
from leasehold.model.scope import Scope, ScopeKind
from leasehold.token.codec import GRANT_TYPE

__all__ = ["Inspection", "act_claim", "details_json"]


class Inspection:
    """The two endpoints. Threads may share it."""

    def __init__(self, authority: Authority, clients: Clients) -> None:
        self._authority = authority
        self._clients = clients
        self._tokens = Tokens(authority.engine)

    async def introspect(self, request: Request) -> Response:
        """Whether a token is active, and what it says."""
        client, params = await self._asker(request)
        try:
            found = await run_in_threadpool(self._found, client, params.need("token"))
        except Denied:  # of a run that is past the client's right by now
            found = None
        if found is None or not found.is_active:
            return json_answer({"active": False})
        return json_answer(_described(found))

    async def revoke(self, request: Request) -> Response:
        """Revoke a lease and all that it was drawn from. A token that is not known is revoked already."""
        client, params = await self._asker(request)
        if client.startable is None:
            raise OAuthError("unauthorized_client", "a door stops nothing; people and the run's own client do")
        found = await run_in_threadpool(self._found, client, params.need("token"))
        if found is not None and not _is_over(found):
            await run_in_threadpool(self._end, client, found)
        return json_answer({})

    async def _asker(self, request: Request) -> tuple[Client, Params]:
        params = await read_params(request)
        client = await self._clients.prove(read_proof(request, params))
        if client is None:
            raise unknown_client("this proves no client")
        return client, params

    def _found(self, client: Client, token: str) -> LiveToken | None:
        """A token that this client may know of."""
        found = self._tokens.read(token)
        if found is None or not _concerns(client, found):
            return None
        return found

    def _end(self, client: Client, found: LiveToken) -> None:
        scope = Scope(ScopeKind.LEASE, found.verified.lease_id)
        self._authority.desk.revoke(scope, by=f"client:{client.name}", reason="revoked by its client (RFC 7009)")


def _is_over(found: LiveToken) -> bool:
    """Whether the lease is over for good: then what it was drawn from may go on, for nobody revoked that."""
    return found.refusal is not None and found.refusal.reason in (Reason.EXPIRED, Reason.REVOKED, Reason.RUN_FINISHED)


def _concerns(client: Client, found: LiveToken) -> bool:
    said = found.verified
    if client.door is not None:
        return client.door == (said.audience, said.environment)
    try:
        client.runs.resume(said.run_id)
    except NotFoundError:
        return False
    return True


def _described(found: LiveToken) -> Mapping[str, object]:
    """An active token as RFC 7662 and the RFCs that extend it describe it."""
    said = found.verified
    bound = {"cnf": {"jkt": said.cnf_jkt}, "token_type": "DPoP"} if said.cnf_jkt else {"token_type": "Bearer"}
    return {
        "active": True,
        "iss": said.issuer,
        "sub": said.run_id,
        "aud": said.audience,
        "client_id": said.agent,
        "jti": said.lease_id,
        "iat": said.issued_at,
        "nbf": said.issued_at,
        "exp": said.expires_at,
        "scope": scope_of(said.route),
        "authorization_details": details_json(found),
        **bound,
        **({"act": act_claim(found.actors)} if len(found.actors) > 1 else {}),
        "tenant": said.tenant,
        "environment": said.environment,
        "route": said.route,
        "requested_by": said.requested_by,
        "approved_by": said.approved_by,
        "budget_left": amounts_to_json(found.left),
    }


def details_json(found: LiveToken) -> list[dict[str, object]]:
    """What is alive of a token's grants, as RFC 9396 details."""
    written = grants_to_json(found.grants)
    return [
        {"type": GRANT_TYPE, "actions": [action], "constraints": constraints}
        for action, constraints in sorted(written.items())
    ]


def act_claim(actors: tuple[str, ...]) -> dict[str, object]:
    """Who acts for whom (RFC 8693, section 4.1): the outermost acts now, those inside delegated to it."""
    first, *others = actors
    return {"sub": first, **({"act": act_claim(tuple(others))} if others else {})}
