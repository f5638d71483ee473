"""The policy as a value: actions, routes, people and what they may do. Made by `load`, judged by `evaluate`.

Nothing here reads files. A document that the loader has accepted is stored as JSON under its hash and read back equal,
so that every entry of the ledger can name the exact rules that it was decided by.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum
from functools import cached_property
from typing import Any, TypeAlias, assert_never

import msgspec

from leasehold.errors import InvalidError
from leasehold.model.budget import CALLS, MICROS, TOOL_SECONDS
from leasehold.model.canonical import Json, encode, prepare
from leasehold.model.effect import ApprovalMode, Effect
from leasehold.model.glass import Skippable
from leasehold.model.grant import Grant, grants_from_json, grants_to_json
from leasehold.model.lease import DEFAULT_TTL_SECONDS, HARD_MAX_TTL_SECONDS
from leasehold.model.notice import ChannelKind, NoticeEvent
from leasehold.policy.client_rule import ClientRule

__all__ = [
    "DISCOVERY",
    "EVERYONE",
    "LISTED",
    "POLICY_VERSION",
    "REQUESTER",
    "Acceptance",
    "ActionRule",
    "Breaker",
    "Day",
    "Defaults",
    "Delegation",
    "Freeze",
    "GlassRule",
    "Hours",
    "IssuerRule",
    "NoticeRule",
    "Policy",
    "PolicyTest",
    "Power",
    "PublicJwk",
    "Rate",
    "RolePowers",
    "Route",
    "RouteTerms",
    "SignInRule",
    "WhoComesIn",
]

POLICY_VERSION = 1
EVERYONE = "*"
"""Stands alone in a list of agents, tenants or environments and means any."""
REQUESTER = "requester"
"""Stands alone in `approvers` and means the person whose run it is."""
DISCOVERY, LISTED = "discovery", "listed"
"""Where an issuer's keys are, where that is no address: behind its own document, or in the policy itself."""

PublicJwk: TypeAlias = tuple[tuple[str, str], ...]
"""The members of a public key (RFC 7517), sorted by name."""


class Power(StrEnum):
    """What a role may do at the Desk. Answering requests is no power: the approvers of a route do that.

    Of a person who is signed in all are asked for; embedded only that to lift and that to have a say over policies,
    because whoever holds the open state may stop, and can read all there is.
    """

    REVOKE = "revoke"
    HOLD = "hold"
    LIFT = "lift"
    QUERY = "query"
    POLICY = "policy"

    @property
    def is_enforced(self) -> bool:
        """Whether it is refused also to those who hold the open state."""
        return self in (Power.LIFT, Power.POLICY)


class Acceptance(StrEnum):
    """How many people it takes to make a policy active that widens the one that says so."""

    ONE = "one"
    TWO = "two"


class WhoComesIn(StrEnum):
    """Whom a provider may sign in: people who are known here already, or also whoever is in one of the groups."""

    KNOWN = "known"
    GROUPS = "groups"


class ActionRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an action is: its effect, where its attributes are read from, what it implies and costs at most.

    `args` maps an attribute to the argument path it is read from; `key` names the attributes that make its idempotency
    key; `cost` the most that one call can spend, in millionths, None meaning all that is left; `redact` the arguments
    that are never shown. Of `timeout_seconds` None means undeclared, of `fresh_seconds` that any live lease will do.
    `preview` is the read of the same tool that says what a call would change, before people are asked.
    """

    name: str
    effect: Effect
    args: dict[str, str] = {}
    implies: tuple[str, ...] = ()
    undo: str = ""
    key: tuple[str, ...] = ()
    cost: dict[str, int | None] = {}
    timeout_seconds: int | None = None
    idempotent: bool = False
    fresh_seconds: int | None = None
    uses: tuple[str, ...] = ()
    redact: tuple[str, ...] = ()
    headline: str = ""
    preview: str = ""


def _built_in_budget() -> dict[str, int]:
    """Finite, and small enough that a run that went astray stops soon."""
    return {CALLS: 100 * MICROS, TOOL_SECONDS: 600 * MICROS}


class Delegation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How deep and to how many children a run may delegate, and which of its route's actions. By default nothing."""

    depth: int = 0
    children: int = 0
    actions: tuple[str, ...] = ()


class Day(StrEnum):
    """A day of the week, Monday first."""

    MONDAY = "mon"
    TUESDAY = "tue"
    WEDNESDAY = "wed"
    THURSDAY = "thu"
    FRIDAY = "fri"
    SATURDAY = "sat"
    SUNDAY = "sun"


class Hours(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One weekly window on the wall of a zone: from a minute of the day up to, not including, another.

    It binds every call of the route, or of these actions alone.
    """

    days: tuple[Day, ...]
    from_minute: int
    to_minute: int
    zone: str
    actions: tuple[str, ...] = ()


class Freeze(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A span of Unix seconds, its end excluded, in which no call of the route is made, or none of these actions."""

    from_seconds: int
    until_seconds: int
    reason: str
    actions: tuple[str, ...] = ()


class Rate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many of the newest calls are too many: `percent` of the last `of`. Those that are missing count as good."""

    percent: int
    of: int

    @property
    def limit(self) -> int:
        """The number of bad ones that is too many."""
        return -(-self.percent * self.of // 100)

    def __str__(self) -> str:
        return f"{self.percent}% of {self.of}"


class Breaker(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a route stops by itself, tenant by tenant: on failed and unknown calls, on denied ones."""

    errors: Rate | None = None
    denials: Rate | None = None


class GlassRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which rules of a route two people may skip together, for which actions and for how long: break-glass.

    `openers` and `confirmers` are roles; `minutes` the longest that it may stay open.
    """

    route: str
    openers: tuple[str, ...]
    confirmers: tuple[str, ...]
    actions: tuple[str, ...]
    skips: tuple[Skippable, ...]
    minutes: int


class RouteTerms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All of a route but what it offers. Times are seconds, budgets millionths by unit.

    `approve` holds only what is spelled out. `ttl_seconds` is what a lease gets unless less is asked or, up to
    `max_ttl_seconds`, more. `quorum` is None unless spelled out. Of several `hours` for an action one has to be open;
    `after` names for an action those of which the same run must have done a call before.
    """

    name: str
    agents: tuple[str, ...]
    tenants: tuple[str, ...]
    environments: tuple[str, ...]
    deny: tuple[str, ...] = ()
    approve: dict[str, ApprovalMode] = {}
    approvers: tuple[str, ...] = ()
    quorum: int | None = None
    answer_within_seconds: int = 600
    ttl_seconds: int = DEFAULT_TTL_SECONDS
    max_ttl_seconds: int = HARD_MAX_TTL_SECONDS
    run_ttl_seconds: int = 1800
    budget: dict[str, int] = msgspec.field(default_factory=_built_in_budget)
    ends_on: tuple[str, ...] = ()
    delegation: Delegation = Delegation()
    after: dict[str, tuple[str, ...]] = {}
    hours: tuple[Hours, ...] = ()
    freeze: tuple[Freeze, ...] = ()
    breaker: Breaker | None = None


class Route(RouteTerms, frozen=True, kw_only=True):
    """A named policy for one kind of work: for whom, which grants, who approves, how long, how much."""

    allow: dict[str, Grant]


class RolePowers(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the holders of a role may do at the Desk, and in which tenants."""

    name: str
    can: tuple[Power, ...]
    tenants: tuple[str, ...]


class NoticeRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One channel over which people are told of events in some tenants.

    `url` is the receiver, Slack's interface, or the mail server; `to` the Slack channel or the mail addresses; `sender`
    and `user` are mail's. `networks` are the private addresses that it may be at; public ones need no listing.
    `console` is the base of links. `reviewers` maps users of the chat to the people who may answer there; without any,
    nobody answers there.
    """

    name: str
    kind: ChannelKind
    url: str
    to: tuple[str, ...] = ()
    sender: str = ""
    user: str = ""
    events: tuple[NoticeEvent, ...]
    tenants: tuple[str, ...]
    networks: tuple[str, ...] = ()
    console: str = ""
    reviewers: dict[str, str] = {}

    @property
    def secret_name(self) -> str:
        """Which secret it needs of its private file; empty where it needs none."""
        match self.kind:
            case ChannelKind.WEBHOOK:
                return "keys"
            case ChannelKind.SLACK:
                return "token"
            case ChannelKind.EMAIL:
                return "password" if self.user else ""
            case _:
                assert_never(self.kind)

    def is_for(self, tenant: str) -> bool:
        """Whether what happens in a tenant is told here; what stands above tenants, only to channels of all of them."""
        return self.tenants == (EVERYONE,) or (tenant != "" and tenant in self.tenants)


class IssuerRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One issuer whose tokens count here, if they are for this audience. Its name is compared as it is written.

    `keys` is `discovery`, the address of its key set, or `listed`: then they are `listed`. `networks` are the private
    addresses that it may be at; public ones need no listing.
    """

    issuer: str
    audience: str
    keys: str = DISCOVERY
    listed: tuple[PublicJwk, ...] = ()
    networks: tuple[str, ...] = ()

    @property
    def listed_keys(self) -> list[dict[str, str]]:
        """The listed keys as a key set has them."""
        return [dict(members) for members in self.listed]


class SignInRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A provider at which people sign in with OpenID Connect. Its issuer is compared as it is written.

    `person` is the claim that names the person: `user:` and its value. `groups` is the claim that lists groups (empty:
    none is asked for), and `roles` says which roles each of them means, for `groups_seconds` after each sign-in.
    `max_age_seconds` is how long ago they may have proven there who they are; `secret` says that our client has one.
    """

    name: str
    issuer: str
    client_id: str
    person: str
    scopes: tuple[str, ...] = ()
    people: WhoComesIn = WhoComesIn.KNOWN
    groups: str = ""
    roles: dict[str, tuple[str, ...]] = {}
    groups_seconds: int = 8 * 3600
    max_age_seconds: int = 12 * 3600
    secret: bool = False
    networks: tuple[str, ...] = ()


class PolicyTest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the author expects of a route: actions that pass, that wait for a person, that are refused."""

    route: str
    allows: tuple[str, ...] = ()
    needs_approval: tuple[str, ...] = ()
    refuses: tuple[str, ...] = ()


class Defaults(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What holds where a route or action says nothing. All of it is finite.

    `timeout_seconds` bounds how long a call may stay open, and is reserved where the action declares none.
    `pending_per_run` is how many requests of one run may wait for people at the same time.
    """

    timeout_seconds: int = 30
    answer_within_seconds: int = 600
    ttl_seconds: int = DEFAULT_TTL_SECONDS
    max_ttl_seconds: int = HARD_MAX_TTL_SECONDS
    run_ttl_seconds: int = 1800
    budget: dict[str, int] = msgspec.field(default_factory=_built_in_budget)
    destructive_by_passkey: bool = False
    destructive_sign_in_seconds: int | None = None
    pending_per_run: int = 24


class _StoredRoute(RouteTerms, frozen=True, kw_only=True):
    allow: dict[str, dict[str, Any]]


class _StoredPolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    version: int
    authority: str
    people: dict[str, tuple[str, ...]]
    roles: dict[str, RolePowers]
    actions: dict[str, ActionRule]
    routes: dict[str, _StoredRoute]
    notices: dict[str, NoticeRule]
    defaults: Defaults
    clients: dict[str, ClientRule]
    tests: tuple[PolicyTest, ...]
    break_glass: dict[str, GlassRule]
    accept: Acceptance = Acceptance.ONE
    issuers: dict[str, IssuerRule] = {}
    sign_in: dict[str, SignInRule] = {}


prepare(_StoredPolicy)

JsonObject: TypeAlias = dict[str, Json]


class Policy(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """One version of all the rules. Roles, actions and routes stand under their own names; people hold roles."""

    version: int
    authority: str
    people: dict[str, tuple[str, ...]] = {}
    roles: dict[str, RolePowers] = {}
    actions: dict[str, ActionRule] = {}
    routes: dict[str, Route] = {}
    notices: dict[str, NoticeRule] = {}
    clients: dict[str, ClientRule] = {}
    defaults: Defaults = Defaults()
    tests: tuple[PolicyTest, ...] = ()
    accept: Acceptance = Acceptance.ONE
    break_glass: dict[str, GlassRule] = {}
    issuers: dict[str, IssuerRule] = {}
    sign_in: dict[str, SignInRule] = {}

    @cached_property
    def hash(self) -> str:
        """`sha256:` and the hex digest of the canonical JSON of everything but the tests."""
        deciding = {name: value for name, value in self.to_json().items() if name != "tests"}
        return f"sha256:{hashlib.sha256(encode(deciding)).hexdigest()}"

    @cached_property
    def implications(self) -> dict[str, tuple[str, ...]]:
        """Each action that implies others, with all that it implies in turn, sorted, itself left out."""
        return {name: _reach(self.actions, name) for name, rule in self.actions.items() if rule.implies}

    def is_classified(self, name: str) -> bool:
        """Whether the operator said what the action is."""
        return name in self.actions

    def action(self, name: str) -> ActionRule:
        """The rule of an action; one that nobody classified is destructive and has no attributes."""
        return self.actions.get(name) or ActionRule(name=name, effect=Effect.DESTRUCTIVE)

    def route(self, name: str) -> Route | None:
        """The route of that name, if there is one."""
        return self.routes.get(name)

    def breaker(self, route: str) -> Breaker | None:
        """The breaker of a route, if there is such a route and it declares one."""
        found = self.routes.get(route)
        return None if found is None else found.breaker

    def reviewer(self, channel: str, speaker: str) -> str:
        """The person whom a user of a notice channel's chat is there; empty if they are nobody."""
        rule = self.notices.get(channel)
        return rule.reviewers.get(speaker, "") if rule is not None else ""

    def to_json(self) -> JsonObject:
        """The whole document as a JSON value, tests included: what `from_json` reads back equal."""
        value: JsonObject = msgspec.to_builtins(msgspec.structs.replace(self, routes={}))
        routes: JsonObject = {
            name: {**msgspec.to_builtins(route), "allow": msgspec.to_builtins(grants_to_json(route.allow))}
            for name, route in self.routes.items()
        }
        return {**value, "routes": routes}

    @classmethod
    def from_json(cls, value: object) -> Policy:
        """Return the policy that was stored.

        Raises:
            InvalidError: the value was not made by `to_json`.
        """
        try:
            stored = msgspec.convert(value, _StoredPolicy)
        except msgspec.ValidationError as error:
            raise InvalidError(f"this is no stored policy: {error}") from None
        if stored.version != POLICY_VERSION:
            raise InvalidError(f"this program reads policies of version {POLICY_VERSION}, not {stored.version}")
        fields = msgspec.structs.asdict(stored)
        return cls(**{**fields, "routes": {name: _from_stored(route) for name, route in stored.routes.items()}})


def _from_stored(stored: _StoredRoute) -> Route:
    fields = msgspec.structs.asdict(stored)
    return Route(**{**fields, "allow": grants_from_json(stored.allow, f"routes.{stored.name}.allow")})


def _reach(actions: dict[str, ActionRule], start: str) -> tuple[str, ...]:
    """Everything that an action implies, directly or not; ends on cycles too."""
    found: set[str] = set()
    waiting = [start]
    while waiting:
        rule = actions.get(waiting.pop())
        for name in rule.implies if rule else ():
            if name not in found:
                found.add(name)
                waiting.append(name)
    return tuple(sorted(found - {start}))
