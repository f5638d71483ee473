"""The small worlds. Each has just enough in it to show what one family of guards prevents.

A world that is too small lets a mutant live (the first ones did), so each names `goals`: labels that its search must
come across, such as an approved call that was admitted, and how many states it has at least.
"""

from __future__ import annotations

from explorer.events import (
    ANY_TICKET,
    UPDATES,
    accepts,
    answers,
    approves,
    asks,
    breaks_glass,
    closes_glass,
    confirms_clock,
    draws,
    draws_abroad,
    ends_lease,
    finishes,
    lifts,
    lifts_breaker,
    offboards,
    removes,
    retires,
    retries,
    set_up,
    settles_abroad,
    starts,
    starts_child,
    stops,
    stops_abroad,
)
from explorer.scenario import (
    ANA,
    BEN,
    CHILD,
    CHILD_LEASE,
    CHILD_REQUEST,
    EVA,
    GLASS_LEASE,
    LEASE,
    NEXT_LEASE,
    OTHER,
    OTHER_LEASE,
    OTHER_REQUEST,
    REQUEST,
    RUN,
    Scenario,
    Script,
    policy,
)
from leasehold.model.request import Verdict

FREE = """
allow."desk.update" = { ticket = ["T-*"] }
approve."desk.update" = "none"
"""


RACE = Scenario(
    name="a budget of one",
    policies=(policy(FREE + "budget = { calls = 1 }"),),
    setup=set_up(),
    scripts=(Script("A", key="a", tries=2), Script("B", key="b", ticket="T-2")),
    ticks_ms=(3_000, 7_000, 12_000),
    losses=True,
    crashes=True,
    late=True,
    pairs=True,
    goals=frozenset({"admit A: ok", "admit B: budget", "admit A: in_flight", "admit A: outcome_unknown"}),
    states=5000,
)

RESENT = Scenario(
    name="an answer that is lost again and again",
    policies=(policy(FREE),),
    setup=set_up(),
    scripts=(Script("A", key="a"),),
    ticks_ms=(3_000, 6_000, 7_000, 12_000),
    losses=True,
    crashes=True,
    late=True,
    goals=frozenset({"admit A: ok", "admit A: already_settled", "settle A done: ok"}),
    states=300,
)

OVERRUN = Scenario(
    name="an overrun",
    policies=(
        policy("""
allow."desk.pay" = { ticket = ["T-*"] }
allow."desk.update" = { ticket = ["T-*"] }
approve."desk.pay" = "none"
approve."desk.update" = "none"
budget = { calls = 9, usd = "0.10" }
"""),
    ),
    setup=set_up({"desk.pay": ANY_TICKET, "desk.update": ANY_TICKET}),
    scripts=(
        Script("A", "desk.pay", key="a", cost=(("usd", 200_000),)),
        Script("B", "desk.pay", "T-2", key="b", cost=(("usd", 50_000),)),
        Script("C", key="c"),
    ),
    ticks_ms=(12_000,),
    crashes=True,
    late=True,
    goals=frozenset({"settle A done: ok", "admit B: ok", "admit B: completed"}),
    states=4000,
)


_ASKS = """
allow."desk.update" = { ticket = ["T-*"] }
approve."desk.update" = "call"
"""
_APPROVED = Script("A", key="a", quorum=1)
_UNSEEN = Script("B", key="b", ticket="T-2", quorum=1)

CALL_APPROVAL = Scenario(
    name="an approved call",
    policies=(policy(_ASKS), policy(_ASKS, people={ANA: ["lead"], BEN: ["none"], EVA: ["lead"]})),
    people=(ANA, BEN),
    setup=set_up(),
    scripts=(_APPROVED, _UNSEEN),
    events=(
        answers(_APPROVED, BEN),
        answers(_APPROVED, ANA),
        accepts(policy(_ASKS, people={ANA: ["lead"], BEN: ["none"], EVA: ["lead"]})),
        removes(BEN),
    ),
    ticks_ms=(3_000, 7_000),
    goals=frozenset(
        {"admit A: ok", "ana approves A: own_request", "ben approves A: ok", "ben approves A: not_entitled"}
    ),
    states=2500,
)

_READS = """
allow."desk.read" = { ticket = ["T-*"] }
approve."desk.read" = "call"
"""
_READ_A = Script("A", "desk.read", key=None, quorum=1)
_READ_B = Script("B", "desk.read", key=None, quorum=1)

APPROVED_ONCE = Scenario(
    name="one approval, two calls",
    policies=(policy(_READS),),
    people=(BEN, EVA),
    setup=set_up({"desk.read": ANY_TICKET}),
    scripts=(_READ_A, _READ_B),
    events=(answers(_READ_A, BEN), answers(_READ_A, EVA, Verdict.DENY)),
    ticks_ms=(3_000, 12_000),
    crashes=True,
    pairs=True,
    goals=frozenset({"admit A: ok", "admit B: ok", "admit A: approval_denied", "settle A not_started: ok"}),
    states=3000,
)

LEASE_APPROVAL = Scenario(
    name="an approved lease",
    policies=(
        policy('allow."desk.erase" = { ticket = ["T-1"] }\napprove."desk.erase" = "lease"'),
        policy(
            'allow."desk.erase" = { ticket = ["T-1"] }\napprove."desk.erase" = "lease"',
            people={ANA: ["lead"], BEN: ["none"], EVA: ["lead"]},
        ),
    ),
    people=(ANA, BEN, EVA),
    setup=(starts(), asks({"desk.erase": {"ticket": ["T-1"]}})),
    scripts=(Script("A", "desk.erase", key="a"),),
    events=(
        approves(ANA),
        approves(BEN),
        approves(EVA),
        accepts(
            policy(
                'allow."desk.erase" = { ticket = ["T-1"] }\napprove."desk.erase" = "lease"',
                people={ANA: ["lead"], BEN: ["none"], EVA: ["lead"]},
            )
        ),
        draws(),
        draws(REQUEST, NEXT_LEASE),
    ),
    lease_quorum=2,
    goals=frozenset({"draw 1: ok", "draw 1: approval_needed", "admit A: ok", "ana approves 1: own_request"}),
    states=400,
)

TREE = Scenario(
    name="a parent and its child",
    policies=(
        policy(
            FREE
            + 'approve."desk.close" = "none"\nallow."desk.close" = { ticket = ["T-*"] }\nbudget = { calls = 1 }\n'
            + 'delegation = { depth = 3, children = 2, actions = ["desk.update"] }'
        ),
    ),
    setup=(*set_up({"desk.update": ANY_TICKET, "desk.close": ANY_TICKET}, depth=1), starts_child()),
    scripts=(Script("A", key="a"), Script("C", key="c", lease=CHILD_LEASE)),
    events=(
        asks(UPDATES, run=CHILD, request=CHILD_REQUEST),
        draws(CHILD_REQUEST, CHILD_LEASE),
        stops("revoke", f"lease:{LEASE}"),
        finishes(),
        retries(),
    ),
    ticks_ms=(3_000, 7_000),
    goals=frozenset({"draw 2: ok", "admit C: ok", "admit C: budget", "admit C: revoked", "admit C: run_finished"}),
    states=6000,
)

ENDING = Scenario(
    name="a lease that ends with its work",
    policies=(
        policy(
            FREE
            + 'allow."desk.close" = { ticket = ["T-*"] }\napprove."desk.close" = "none"\nends_on = ["desk.close"]\n'
            + 'delegation = { depth = 1, children = 1, actions = ["desk.update"] }'
        ),
    ),
    setup=set_up({"desk.update": ANY_TICKET, "desk.close": ANY_TICKET}),
    scripts=(
        Script("end", "desk.close", key="a", ends=REQUEST, outcomes=("done", "failed", "no_effect")),
        Script("B", key="b", lease=NEXT_LEASE),
    ),
    events=(draws(REQUEST, NEXT_LEASE), starts_child()),
    ticks_ms=(12_000,),
    crashes=True,
    pairs=True,
    goals=frozenset({"admit B: ending", "admit B: ok", "draw 4: ending", "draw 4: completed", "start child: ending"}),
    states=1600,
)

KEYS = Scenario(
    name="one key, several tries",
    policies=(policy(FREE),),
    setup=set_up(),
    scripts=(Script("A", tries=2, outcomes=("done", "failed")), Script("B", lease=NEXT_LEASE)),
    events=(draws(REQUEST, NEXT_LEASE),),
    ticks_ms=(12_000,),
    crashes=True,
    late=True,
    pairs=True,
    goals=frozenset(
        {"admit A: ok", "admit B: ok", "admit B: in_flight", "admit B: already_done", "admit B: outcome_unknown"}
    ),
    states=450,
)

_SYNCS = 'allow."desk.sync" = { ticket = ["T-*"] }\napprove."desk.sync" = "none"\n'

REPEATED = Scenario(
    name="one key of an idempotent action",
    policies=(policy(_SYNCS),),
    setup=set_up({"desk.sync": ANY_TICKET}),
    scripts=(
        Script("A", "desk.sync", tries=2, is_idempotent=True, outcomes=("done", "failed")),
        Script("B", "desk.sync", lease=NEXT_LEASE, is_idempotent=True),
        Script("C", "desk.sync", "T-2", is_idempotent=True),
    ),
    events=(draws(REQUEST, NEXT_LEASE),),
    ticks_ms=(12_000,),
    crashes=True,
    goals=frozenset({"admit A: ok", "admit B: in_flight", "admit B: already_done", "admit C: conflict"}),
    states=2500,
)

RETRIED = Scenario(
    name="attempts and renewals",
    policies=(policy(FREE),),
    setup=set_up(),
    scripts=(Script("A", key="a"), Script("B", key="b", lease=NEXT_LEASE)),
    events=(draws(REQUEST, NEXT_LEASE), retries(), ends_lease()),
    ticks_ms=(7_000,),
    pairs=True,
    goals=frozenset({"admit A: stale_attempt", "admit A: expired", "admit B: ok"}),
    states=800,
)

CLOCK = Scenario(
    name="a clock that jumps back",
    policies=(policy(FREE),),
    setup=set_up(),
    scripts=(Script("A", key="a"), Script("B", key="b", lease=NEXT_LEASE), Script("C", key="c", lease=OTHER_LEASE)),
    events=(
        draws(REQUEST, NEXT_LEASE),
        confirms_clock(),
        starts(OTHER, after=("confirm clock",)),
        asks(run=OTHER, request=OTHER_REQUEST),
        draws(OTHER_REQUEST, OTHER_LEASE),
    ),
    ticks_ms=(7_000,),
    skew_ms=-3_600_000,
    goals=frozenset({"admit A: clock", "admit A: stale_epoch", "draw 4: clock", "draw 4: stale_epoch", "admit C: ok"}),
    states=2400,
)

RESTORED = Scenario(
    name="a database that was restored",
    policies=(policy(FREE),),
    setup=set_up(),
    scripts=(Script("A", key="a"), Script("B", key="b", lease=NEXT_LEASE)),
    events=(stops("revoke", f"run:{RUN}"), draws(REQUEST, NEXT_LEASE)),
    backups=True,
    goals=frozenset({"admit A: stale_epoch", "admit A: ok", "draw 4: stale_epoch"}),
    states=2200,
)

_NARROW = FREE.replace('"T-*"', '"T-2"')
_CHILDREN = 'delegation = { depth = 1, children = 1, actions = ["desk.update"] }'
_NARROWER = policy(_NARROW + _CHILDREN)
_CHILDLESS = policy(
    FREE + _CHILDREN.replace("desk.update", "desk.close") + '\nallow."desk.close" = { ticket = ["T-*"] }'
)

NARROWED = Scenario(
    name="a policy that narrows",
    policies=(policy(FREE + _CHILDREN), _NARROWER, _CHILDLESS),
    setup=(*set_up(), starts_child(), asks({"desk.update": {"ticket": ["T-1"]}}, run=CHILD, request=CHILD_REQUEST)),
    scripts=(
        Script("A", key="a", refused_by=frozenset({1})),
        Script("C", key="c", lease=CHILD_LEASE, refused_by=frozenset({1, 2})),
        Script("D", key="d", ticket="T-2", lease=CHILD_LEASE, refused_by=frozenset({0, 1, 2})),
    ),
    events=(draws(CHILD_REQUEST, CHILD_LEASE), accepts(_NARROWER, 1), accepts(_CHILDLESS, 2)),
    pairs=True,
    goals=frozenset({"admit A: policy_denies", "admit C: ok", "admit C: no_delegation", "admit D: out_of_range"}),
    states=300,
)

_LESS = policy(FREE + "budget = { calls = 1 }")

CHEAPER = Scenario(
    name="a policy that gives less",
    policies=(policy(FREE + "budget = { calls = 2 }"), _LESS),
    setup=set_up(),
    scripts=(Script("A", key="a"), Script("B", key="b")),
    events=(accepts(_LESS),),
    goals=frozenset({"admit A: ok", "admit B: ok", "admit B: budget"}),
    states=100,
)

FROZEN = Scenario(
    name="a route that is closed for a while",
    policies=(
        policy(FREE + "freeze = [{ from = 2027-01-15T08:00:02Z, until = 2027-01-15T08:00:05Z, reason = 'fair' }]"),
    ),
    setup=set_up(),
    scripts=(Script("A", key="a", tries=2), Script("B", key="b", lease=NEXT_LEASE)),
    events=(draws(REQUEST, NEXT_LEASE),),
    ticks_ms=(2_000, 3_000, 5_000),
    closed_ms=(2_000, 5_000),
    goals=frozenset({"admit A: ok", "admit A: frozen", "admit B: frozen", "draw 4: frozen", "draw 4: ok"}),
    states=100,
)

_READS_FIRST = 'allow."desk.read" = { ticket = ["T-*"] }\nafter."desk.update" = ["desk.read"]\n'

ORDERED = Scenario(
    name="a call that comes after another",
    policies=(policy(FREE + _READS_FIRST),),
    setup=set_up({"desk.read": ANY_TICKET, "desk.update": ANY_TICKET}),
    scripts=(
        Script("first", "desk.read", key=None, tries=2, outcomes=("done", "failed")),
        Script("B", key="b", follows=0),
    ),
    events=(retries(),),
    ticks_ms=(3_000, 6_000),
    crashes=True,
    late=True,
    pairs=True,
    goals=frozenset({"admit B: out_of_order", "admit B: prerequisite_open", "admit B: ok", "settle first failed: ok"}),
    states=300,
)

_CLOSES = 'allow."desk.close" = { ticket = ["T-*"] }\napprove."desk.close" = "none"\n'
_PLAIN, _IMPLYING = policy(FREE + _CLOSES), policy(FREE + _CLOSES, implies=["desk.update"])

REIMPLIED = Scenario(
    name="a stop built under an older policy",
    policies=(_PLAIN, _IMPLYING),
    setup=set_up({"desk.update": ANY_TICKET, "desk.close": ANY_TICKET}),
    scripts=(Script("A", "desk.close", key="a"),),
    events=(accepts(_IMPLYING), stops("revoke", "action:desk.update", built_with=_PLAIN)),
    ticks_ms=(12_000,),
    pairs=True,
    goals=frozenset({"admit A: ok"}),
    states=100,
)

_AUDITS = 'allow."desk.audit" = { ticket = ["T-*"] }\napprove."desk.audit" = "none"\n'

SUBCALL = Scenario(
    name="a call on behalf of a call",
    policies=(policy(FREE + _AUDITS + 'ends_on = ["desk.audit"]\nbudget = { calls = 2 }'),),
    setup=set_up({"desk.update": ANY_TICKET, "desk.audit": ANY_TICKET}),
    scripts=(
        Script("above", "desk.audit", key="a", ends=REQUEST),
        Script("sub", key="b", parent=0),
        Script("B", key="c"),
    ),
    ticks_ms=(9_000,),
    crashes=True,
    goals=frozenset({"admit sub: ok", "admit sub: parent_call_over", "admit B: ending"}),
    states=1200,
)


TENANTS = Scenario(
    name="two tenants",
    policies=(policy(FREE),),
    setup=(
        *set_up(),
        starts(OTHER, "globex"),
        asks(run=OTHER, request=OTHER_REQUEST, tenant="globex"),
        draws(OTHER_REQUEST, OTHER_LEASE, "globex"),
    ),
    scripts=(Script("A"), Script("G", lease=OTHER_LEASE, tenant="globex")),
    events=(
        stops("revoke", "all", "globex"),
        stops_abroad(f"run:{RUN}"),
        settles_abroad(),
        draws_abroad(),
    ),
    pairs=True,
    goals=frozenset({"admit A: ok", "admit G: ok", "admit G: revoked", "globex: settle: not_found"}),
    states=700,
)


LEAVER = Scenario(
    name="a person leaves",
    policies=(policy(FREE),),
    people=(ANA,),
    setup=set_up(),
    scripts=(Script("A", key="a"), Script("N", key="n", lease=OTHER_LEASE)),
    events=(
        offboards(ANA),
        starts(OTHER),
        asks(run=OTHER, request=OTHER_REQUEST),
        draws(OTHER_REQUEST, OTHER_LEASE),
        retires(f"person:{ANA}", tenant="", after="offboard ana"),
    ),
    pairs=True,
    goals=frozenset({"offboard ana: ok", "start 3: revoked", "start 3: ok", "admit A: revoked", "admit N: revoked"}),
    states=300,
)


BREAKER = Scenario(
    name="a breaker on errors",
    policies=(policy(FREE + "breaker = { errors = { percent = 60, of = 3 } }"),),
    people=(EVA,),
    setup=set_up(),
    scripts=(
        Script("A", key="a", outcomes=("failed",)),
        Script("B", key="b", outcomes=("done", "failed")),
        Script("C", key="c", outcomes=("failed",)),
    ),
    events=(lifts_breaker(),),
    ticks_ms=(12_000,),
    crashes=True,
    breaker=("errors", 2, 3),
    goals=frozenset({"admit C: held", "settle C failed: ok", "lift the breaker: ok", "admit C: ok"}),
    states=1000,
)

DENIALS = Scenario(
    name="a breaker on denials",
    policies=(policy(FREE + "breaker = { denials = { percent = 60, of = 3 } }"),),
    people=(EVA,),
    setup=set_up(),
    scripts=(
        Script("A", key="a"),
        Script("B", key="b", ticket="T-2"),
        Script("X", key="x", ticket="X-1", refused_by=frozenset({0})),
    ),
    events=(lifts_breaker(),),
    pairs=True,
    breaker=("denials", 2, 3),
    goals=frozenset({"admit X: out_of_range", "admit X: held", "admit A: held", "lift the breaker: ok"}),
    states=300,
)


_GLASS = policy(
    FREE
    + 'allow."desk.erase" = { ticket = ["T-*"] }\n[break_glass.work]\nopeners = ["lead"]\nconfirmers = ["lead"]\n'
    + 'actions = ["desk.erase", "desk.update"]\nskips = ["approve"]\nminutes = 1'
)

BROKEN_GLASS = Scenario(
    name="two people break glass",
    policies=(_GLASS,),
    people=(ANA, BEN),
    setup=(),
    scripts=(
        Script("P", "desk.erase", key="p", lease=GLASS_LEASE, by_person=True),
        Script("G", key="g", lease=GLASS_LEASE, refused_by=frozenset({0})),
    ),
    events=(breaks_glass(), closes_glass(), stops("hold", "all"), removes(BEN)),
    ticks_ms=(3_000, 12_000),
    goals=frozenset(
        {"break glass: ok", "break glass: held", "admit P: ok", "admit P: held", "admit P: bad_signature"}
        | {"admit G: bad_token", "admit P: expired", "close glass: ok", "break glass: bad_signature"}
    ),
    states=400,
)

MISUSED_GLASS = Scenario(
    name="one person breaks glass, or asks for more",
    policies=(_GLASS,),
    people=(ANA, BEN),
    setup=(),
    scripts=(),
    events=(
        breaks_glass(second_key=ANA),
        breaks_glass(minutes=2),
        breaks_glass(environment="staging"),
        breaks_glass(),
        stops("hold", "all"),
    ),
    pairs=True,
    goals=frozenset(
        {
            *("break glass: ok", "break glass: held", "break glass second_key=user:ana: bad_signature"),
            *("break glass minutes=2: ttl_too_long", "break glass environment=staging: policy_denies"),
        }
    ),
    states=20,
)


# One world for every scope, stopped and lifted at every moment of the root's call and of a child's


def _stopped(kind: str, scope: str, tenant: str = "acme") -> Scenario:
    subject, _, number = scope.partition("_")
    is_lifted = kind == "hold" and tenant == "acme"
    return Scenario(
        name=f"{kind} {subject} {number.lstrip('0')}".strip() + (f" in {tenant or 'every tenant'}"),
        policies=(policy(FREE + _CLOSES + _CHILDREN, implies=["desk.update"]),),
        people=(EVA,),
        setup=(
            *set_up({"desk.update": ANY_TICKET, "desk.close": ANY_TICKET}),
            starts_child(),
            asks(run=CHILD, request=CHILD_REQUEST),
            draws(CHILD_REQUEST, CHILD_LEASE),
        ),
        scripts=(Script("A", "desk.close", key="a"), Script("C", key="c", lease=CHILD_LEASE)),
        events=(stops(kind, scope, tenant), *((lifts(scope),) if is_lifted else ())),
        pairs=True,
        goals=frozenset({f"{kind} {scope}: ok", f"admit C: {'held' if kind == 'hold' else 'revoked'}", "admit C: ok"}),
        states=100,
    )


def _begun_anew(scope: str) -> Scenario:
    """A revoke, and what is begun before and after it: only the older is dead, also once the stop is retired."""
    return Scenario(
        name=f"begun before and after revoke {scope}",
        policies=(policy(FREE),),
        setup=set_up(),
        scripts=(Script("A", key="a"), Script("N", key="n", lease=OTHER_LEASE)),
        events=(
            stops("revoke", scope),
            starts(OTHER),
            asks(run=OTHER, request=OTHER_REQUEST),
            draws(OTHER_REQUEST, OTHER_LEASE),
            finishes(),
            retires(scope),
        ),
        pairs=True,
        goals=frozenset({"admit A: revoked", "admit N: revoked", "admit N: ok", "retire: ok"}),
        states=1200,
    )


_SCOPES = (
    f"lease:{LEASE}",
    f"lease:{CHILD_LEASE}",
    f"request:{REQUEST}",
    f"run:{RUN}",
    f"person:{ANA}",
    "agent:bot",
    "agent:helper",
    "tool:desk",
    "action:desk.update",
    "tenant:acme",
    "environment:prod",
    "route:work",
    "all",
)

STOPS = (
    *(_stopped(kind, scope) for scope in _SCOPES for kind in ("revoke", "hold")),
    _stopped("revoke", "all", ""),
    _stopped("hold", "all", ""),
)
ANEW = tuple(map(_begun_anew, ("agent:bot", "action:desk.update")))

WORLDS = (
    RACE,
    RESENT,
    OVERRUN,
    CALL_APPROVAL,
    APPROVED_ONCE,
    LEASE_APPROVAL,
    TREE,
    ENDING,
    KEYS,
    REPEATED,
    RETRIED,
    CLOCK,
    RESTORED,
    NARROWED,
    CHEAPER,
    FROZEN,
    ORDERED,
    REIMPLIED,
    SUBCALL,
    TENANTS,
    LEAVER,
    BREAKER,
    DENIALS,
    BROKEN_GLASS,
    MISUSED_GLASS,
    *ANEW,
    *STOPS,
)
