"""The clients of the policy, as the OAuth doors meet them. Made by `leasehold serve`.

An API key is the client's secret, a token of a trusted issuer its assertion. A client whose rule lists addresses for
browsers is also known by such an address alone, for what a person consents to and for the code that comes of it; each
step asks again whether the rule still lists it.
"""

from __future__ import annotations

from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool

from leasehold.authority import Authority, EmbeddedDoor
from leasehold.authority.clients import check_client
from leasehold.decide.clients import ClientVoice, refuse_run_of
from leasehold.errors import Denied
from leasehold.http.callers import Callers
from leasehold.http.oauth.clients import Client, ClientRuns, Proof, Startable
from leasehold.model.decision import Decision
from leasehold.model.run import Run
from leasehold.policy.client_rule import ClientRule

__all__ = ["PolicyClients"]


@dataclass(frozen=True, kw_only=True)
class _PolicyClient:
    """One client of the policy, as it was a moment ago; `voice` is what its steps are judged by."""

    authority: Authority
    rule: ClientRule
    voice: ClientVoice
    is_public: bool = False

    @property
    def name(self) -> str:
        """Its name in the policy."""
        return self.rule.name

    @property
    def door(self) -> tuple[str, str] | None:
        """The tool and environment that it is the door of, if it is one."""
        return (self.rule.door.tool, self.rule.door.environment) if self.rule.door is not None else None

    def open_door(self) -> EmbeddedDoor | None:
        """That door, each of its steps behind the client's proof and right; None where it is none."""
        return self.authority.client_door(self.voice, self.rule.door) if self.rule.door is not None else None

    @property
    def startable(self) -> Startable | None:
        """What it may start, if it starts runs."""
        right = self.rule.runs
        if right is None:
            return None
        return Startable(
            agents=right.agents, routes=right.routes, tenants=right.tenants, environments=right.environments
        )

    def refuse(self, run: Run) -> Decision | None:
        """Why it may not start a run like this one; the step that starts it asks the same."""
        return refuse_run_of(self.rule.runs, self.name, run)

    @property
    def runs(self) -> ClientRuns:
        """Its runs."""
        return self.authority.client_runs(self.voice)


class PolicyClients:
    """Knows the clients of the active policy. Belongs to one server; threads may share it."""

    def __init__(self, authority: Authority, callers: Callers) -> None:
        self._authority = authority
        self._callers = callers

    async def prove(self, proof: Proof) -> Client | None:
        """The client that this proves; None where it proves none.

        Asked of the database each time: much at these doors is read, with no step behind it that would ask again.
        """
        try:
            if proof.assertion:
                caller = await self._callers.of_token(proof.assertion)
            else:
                caller = await run_in_threadpool(self._callers.of_key, proof.secret)
            policy = await run_in_threadpool(check_client, self._authority.engine, caller.voice)
        except Denied:
            return None
        if proof.name not in ("", caller.client):
            return None
        return _PolicyClient(authority=self._authority, rule=policy.clients[caller.client], voice=caller.voice)

    async def person_of(self, token: str) -> str:
        """The person whom a token of a trusted issuer names.

        Raises:
            InvalidError: it names none.
        """
        return await self._callers.of_subject(token)

    def named(self, name: str, redirect_uri: str) -> Client | None:
        """The client of a name, which proves nothing, where its rule lists exactly this address."""
        rule = self._authority.engine.active_policy().clients.get(name)
        if rule is None or redirect_uri not in rule.redirects:
            return None
        voice = ClientVoice(client=name, redirect=redirect_uri)
        is_public = rule.identity is None and not self._authority.clients.had_key(name)
        return _PolicyClient(authority=self._authority, rule=rule, voice=voice, is_public=is_public)
