"""What the token endpoint does for a proven client: start a run, or a child run, ask, and draw a lease.

Synchronous and without HTTP; called by `tokens` in a thread. Every token that goes out is that of an ordinary lease,
drawn by the step that draws all leases. Where people have to agree, the client is told which request to come back with.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from typing import NamedTuple

import msgspec

from leasehold.authority import Authority
from leasehold.authority.drafts import draft_request, draft_run
from leasehold.authority.rehearsal import Rehearsal
from leasehold.authority.tokens import LiveToken, Tokens
from leasehold.decide.request import AskLease
from leasehold.decide.rows import CardRow
from leasehold.decide.start import Start
from leasehold.errors import Denied
from leasehold.http.oauth.answers import OAuthError
from leasehold.http.oauth.clients import Client, Startable
from leasehold.http.oauth.codes import Code
from leasehold.http.oauth.details import Asked, RunAsked
from leasehold.model.card import Card, card_bytes, decode_card
from leasehold.model.decision import Reason, deny
from leasehold.model.grant import grants_from_json, grants_to_json, split_action
from leasehold.model.lease import HeldLease
from leasehold.model.request import Request, RequestState
from leasehold.model.run import RequesterProof, Run, RunAttempt
from leasehold.model.scope import Scope, ScopeKind
from leasehold.policy.document import EVERYONE
from leasehold.policy.evaluate import check_grants
from leasehold.token.digest import sha256_digest

__all__ = ["Drawn", "Granting", "Made", "Person", "Rehearsed", "unfit_subject"]

_POLL_SECONDS = 5


class Person(NamedTuple):
    """For whom a run is started, and whether a token of theirs proved it."""

    name: str
    proof: RequesterProof


class Drawn(msgspec.Struct, frozen=True, kw_only=True):
    """A lease, and for which of its tools the token is."""

    held: HeldLease
    audience: str


class Made(NamedTuple):
    """A request that was made, and for which of its tools the token will be."""

    request: Request
    audience: str


class Rehearsed(msgspec.Struct, frozen=True, kw_only=True):
    """What asking would come to: the card, and whether people would have to agree."""

    card: Card
    is_waiting: bool

    @property
    def digest(self) -> str:
        """What of it a person consents to: all but what is new each time, the names of run and request and their times.

        The policy is in it, so another one that comes to the same has to be looked at once more, too.
        """
        card = msgspec.structs.replace(self.card, run_id="", request_id="", made_at=0, answer_by=0, window_until=0)
        return sha256_digest(card_bytes(card) + (b" waits" if self.is_waiting else b""))

    @property
    def outcome(self) -> str:
        """The same in words."""
        return (
            "People have to approve it first; that you ask is no approval."
            if self.is_waiting
            else ("The policy needs nobody's approval for it.")
        )


class _Plan(NamedTuple):
    """What is going to be asked for, with all that was left out filled in."""

    run: RunAsked
    allow: Mapping[str, Mapping[str, object]]
    audience: str
    person: Person


class Granting:
    """Starts, asks, draws. Threads may share it."""

    def __init__(self, authority: Authority) -> None:
        self._engine = authority.engine
        self._desk = authority.desk
        self._tokens = Tokens(authority.engine)

    def start(self, client: Client, asked: Asked, audience: str, person: Person | None = None) -> Drawn:
        """A run of its own with a lease: what a client gets for itself, or for a person who is proven.

        Raises:
            OAuthError: the client may start none, leaves out what it would have to choose, or the audience is none.
            Denied: the policy refuses, or people have to agree first.
        """
        made = self.ask(client, asked, audience, person)
        return Drawn(held=self._drawn_at_once(client, made.request), audience=made.audience)

    def ask(self, client: Client, asked: Asked, audience: str, person: Person | None = None) -> Made:
        """The same up to the request: a run of its own, and what it asks for.

        Raises:
            OAuthError, Denied: as `start`.
        """
        plan = self._planned(client, asked, audience, person)
        said = plan.run
        run = client.runs.start(
            agent=said.agent,
            route=said.route,
            tenant=said.tenant,
            environment=said.environment,
            requested_by=plan.person.name,
            purpose=said.purpose,
            requester_proof=plan.person.proof,
        )
        return Made(request=self._request(client, run, said, plan.allow), audience=plan.audience)

    def take_back(self, client: Client, request: Request) -> None:
        """End a run that was begun just now, and what it asked for with it."""
        client.runs.end(client.runs.resume(request.run_id).run, "refused")

    def rehearse(self, client: Client, asked: Asked, audience: str, person: Person) -> Rehearsed:
        """What `ask` would come to, without doing it.

        Raises:
            OAuthError, Denied: as `start`.
        """
        plan = self._planned(client, asked, audience, person)
        policy, rehearsal = self._engine.active_policy(), Rehearsal(self._engine)
        run = self._draft_run(plan.run, plan.person)
        started, _ = rehearsal.ask(Start(policy_document=policy, run=run))
        if started.value is None:
            raise self._engine.refusal_error(started.decision)
        draft = draft_request(
            self._engine.system,
            RunAttempt(run=started.value, attempt=1),
            plan.allow,
            reason=plan.run.reason or plan.run.purpose,
            ttl_seconds=plan.run.ttl_seconds,
        )
        digester = self._engine.digester(run.tenant)
        answer, changes = rehearsal.ask(
            AskLease(policy_document=policy, digester=digester, run=started.value, request=draft)
        )
        if answer.value is None:
            raise self._engine.refusal_error(answer.decision)
        [card] = [decode_card(row.body) for row in changes.rows if isinstance(row, CardRow)]
        return Rehearsed(card=card, is_waiting=answer.value.state is RequestState.PENDING)

    def _planned(self, client: Client, asked: Asked, audience: str, person: Person | None) -> _Plan:
        if client.startable is None:
            raise OAuthError("unauthorized_client", f"{client.name} starts no runs")
        said = _completed(asked.run, client.startable)
        requester = person or Person(_need(said.requested_by, "requested_by"), RequesterProof.ASSERTED)
        if person is not None and said.requested_by not in ("", person.name):
            raise OAuthError("invalid_request", "the detail names another person than the token")
        _need(said.purpose, "purpose")
        # Before it is looked at what a route offers: of one that is not this client's nothing is told.
        if (refusal := client.refuse(self._draft_run(said, requester))) is not None:
            raise Denied(refusal)
        allow = asked.allow or self._offered(said.route)
        return _Plan(run=said, allow=allow, audience=_audience(allow, audience), person=requester)

    def delegate(self, client: Client, asked: Asked, audience: str, subject: str, holder: str | None) -> Drawn:
        """A child run under the lease whose token is handed in, with a lease within it.

        Raises:
            OAuthError: the token is not that of a live lease of this client's, or is bound to another key.
            Denied: the lease may not be delegated, or what is asked for is wider.
        """
        parent = self._tokens.read(subject)
        if parent is None or not parent.is_active or client.startable is None:
            raise unfit_subject()
        client.runs.resume(parent.verified.run_id)
        if parent.verified.cnf_jkt is not None and parent.verified.cnf_jkt != holder:
            raise unfit_subject()
        said = asked.run
        allow = asked.allow or self._delegable(parent)
        chosen = _audience(allow, audience)
        run = client.runs.start(
            agent=_need(said.agent, "agent"),
            route=said.route,
            tenant=said.tenant,
            environment=said.environment,
            requested_by=said.requested_by,
            purpose=_need(said.purpose, "purpose"),
            parent=HeldLease(lease=parent.chain[-1].lease, tokens={}),
        )
        return Drawn(held=self._drawn_at_once(client, self._request(client, run, said, allow)), audience=chosen)

    def draw(self, client: Client, request_id: str, audience: str) -> Drawn:
        """The lease of a request that was made before, once people have agreed.

        Raises:
            NotFoundError: this client has no such request.
            Denied: it still waits, or the answer is no.
        """
        request = client.runs.find_request(request_id)
        chosen = _audience(grants_to_json(request.allow), audience)
        return Drawn(held=self._draw(client, request), audience=chosen)

    def redeem(self, client: Client, code: Code) -> Drawn:
        """The one lease that a code stands for. Whoever redeems it again ends the run: one of the two has stolen it.

        Raises:
            Denied: people have not agreed yet, or said no.
            OAuthError: it was redeemed before.
        """
        request = client.runs.find_request(code.request_id)
        try:
            held = self._waited(request, client.runs.submit_first_draw(request))
        except Denied as denied:
            if denied.decision.reason is not Reason.REPLAYED:
                raise
            self._desk.revoke(Scope(ScopeKind.RUN, code.run_id), by=f"client:{client.name}", reason="code used twice")
            raise OAuthError("invalid_grant", "this code was used before; what came of it is revoked") from None
        return Drawn(held=held, audience=code.audience)

    def _request(
        self, client: Client, run: RunAttempt, said: RunAsked, allow: Mapping[str, Mapping[str, object]]
    ) -> Request:
        try:
            return client.runs.request(run, allow, reason=said.reason or said.purpose, ttl_seconds=said.ttl_seconds)
        except Denied:
            client.runs.end(run.run, "refused")  # nobody would ever go on with it
            raise

    def _drawn_at_once(self, client: Client, request: Request) -> HeldLease:
        """The first lease of a request that was made just now; where there is none to be had, the run is over."""
        try:
            return self._draw(client, request)
        except Denied:
            self.take_back(client, request)
            raise

    def _draw(self, client: Client, request: Request) -> HeldLease:
        return self._waited(request, client.runs.submit_draw(request))

    def _waited(self, request: Request, drawn: Future[HeldLease]) -> HeldLease:
        try:
            return drawn.result()
        except Denied as denied:
            if denied.decision.reason is not Reason.APPROVAL_NEEDED:
                raise
            raise OAuthError(
                "authorization_pending",
                "people have to agree first; come back with this request",
                more={"request_id": request.request_id, "run_id": request.run_id, "interval": _POLL_SECONDS},
            ) from None

    def _draft_run(self, said: RunAsked, person: Person) -> Run:
        """The run that would be started; the step that starts one sets its times."""
        return draft_run(
            self._engine.system,
            agent=said.agent,
            route=said.route,
            tenant=said.tenant,
            environment=said.environment,
            requested_by=person.name,
            purpose=said.purpose,
            requester_proof=person.proof,
        )

    def _offered(self, route: str) -> dict[str, dict[str, object]]:
        """All that a route offers and does not deny: what a scope alone asks for."""
        policy = self._engine.active_policy()
        found = policy.route(route)
        if found is None:
            raise Denied(deny(Reason.UNKNOWN_ROUTE, f"the active policy has no route {route!r}"))
        offered = {
            action: grant
            for action, grant in found.allow.items()
            if check_grants(policy, route, {action: grant}, ()).is_allowed
        }
        return grants_to_json(offered)

    def _delegable(self, parent: LiveToken) -> dict[str, dict[str, object]]:
        """All that a lease grants at this audience and its route lets be delegated."""
        route = self._engine.active_policy().route(parent.verified.route)
        actions = route.delegation.actions if route is not None else ()
        return grants_to_json({action: grant for action, grant in parent.grants.items() if action in actions})


def _completed(said: RunAsked, startable: Startable) -> RunAsked:
    """What was left out, filled in where the client may start one thing only."""
    return msgspec.structs.replace(
        said,
        agent=said.agent or _only("agent", startable.agents),
        route=said.route or _only("route", startable.routes),
        tenant=said.tenant or _only("tenant", startable.tenants),
        environment=said.environment or _only("environment", startable.environments),
    )


def _only(what: str, listed: tuple[str, ...]) -> str:
    if len(listed) != 1 or listed == (EVERYONE,):
        raise OAuthError("invalid_request", f"say which {what}; this client may start several")
    return listed[0]


def _need(said: str, what: str) -> str:
    if not said:
        raise OAuthError("invalid_request", f"the detail for the run has to say the {what}")
    return said


def _audience(allow: Mapping[str, Mapping[str, object]], wanted: str) -> str:
    """For which tool the token is: the one that was named, or the only one."""
    tools = sorted({split_action(action)[0] for action in grants_from_json(allow)})
    if wanted in tools:
        return wanted
    if wanted or len(tools) != 1:
        raise OAuthError("invalid_target", f"name one of these as audience: {', '.join(tools)}")
    return tools[0]


def unfit_subject() -> OAuthError:
    """The refusal of a subject token, the same whatever is wrong with it: whose runs there are is not told."""
    return OAuthError("invalid_request", "the subject token is not that of a live lease of this client's runs")
