"""Clients of the stage: programs that call over the network, each with a key, and what they ask with it."""

from __future__ import annotations

import hashlib

from leasehold.authority import EmbeddedDoor
from leasehold.authority.client_runs import ClientRuns
from leasehold.authority.clients import PresentedKey
from leasehold.decide.clients import ClientVoice, Sending
from leasehold.policy.client_rule import DoorRight
from stage import POLICY, Stage

HOST, OTHER, GUARD, MAIL = "host", "other-host", "ticket-door", "mail-door"
ISSUER = "https://token.example"

CLIENTS = """
[issuers."https://token.example"]
audience = "https://lease.example"
[clients."host"]
runs = { agents = ["bot", "helper"], routes = ["desk"], tenants = ["acme", "globex"], environments = ["prod"] }
[clients."other-host"]
runs = { agents = ["*"], routes = ["*"], tenants = ["acme"], environments = ["*"] }
identity = { issuer = "https://token.example", claims = { sub = "repo:acme/app", ref = "main" } }
[clients."ticket-door"]
door = { tool = "ticket", environment = "prod" }
[clients."second-ticket-door"]
door = { tool = "ticket", environment = "prod" }
[clients."mail-door"]
door = { tool = "mail", environment = "prod" }
"""
CLIENT_POLICY = POLICY + CLIENTS


def client_stage() -> Stage:
    """The stage under the policy that names clients."""
    return Stage(CLIENT_POLICY)


def api_key(stage: Stage, client: str, *, ttl_seconds: int = 3600) -> str:
    """A new API key."""
    return stage.authority.clients.add_key(client, ttl_seconds=ttl_seconds, by="test").text


def voice_of(key: str, client: str) -> ClientVoice:
    """Who speaks with a key."""
    presented = PresentedKey.parse(key)
    assert presented is not None
    return ClientVoice(client=client, key_id=presented.key_id, digest=presented.digest)


def runs_of(stage: Stage, client: str, *, key: str = "", sent: str = "", body: str = "") -> ClientRuns:
    """The runs of a client; `sent` is its name for the request in hand, `body` what that says."""
    voice = voice_of(key or api_key(stage, client), client)
    digest = hashlib.sha256(body.encode()).hexdigest()
    return stage.authority.client_runs(voice, Sending(key=sent, digest=digest) if sent else None)


def door_of(stage: Stage, client: str, *, key: str = "") -> EmbeddedDoor:
    """The door of a client."""
    right = stage.authority.engine.active_policy().clients[client].door or DoorRight(tool="x", environment="y")
    return stage.authority.client_door(voice_of(key or api_key(stage, client), client), right)
