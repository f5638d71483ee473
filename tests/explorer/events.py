"""What may happen in a small world besides calls, each as an event that the search places everywhere it fits."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from explorer import steps
from explorer.scenario import CHILD, EVA, GLASS_RUN, LEASE, NEXT_LEASE, REQUEST, RUN, Event, Script, key_of_person
from explorer.world import World
from leasehold.decide.facts import Step
from leasehold.decide.finish import EndLease, FinishRun, RetireStop
from leasehold.decide.glass import CloseGlass
from leasehold.decide.govern import AcceptPolicy, ConfirmClock, RemovePerson
from leasehold.decide.issue import DrawLease
from leasehold.decide.offboard import Offboard
from leasehold.decide.retry import Retry
from leasehold.decide.rows import RunRow, StopRow
from leasehold.decide.settle import Settle
from leasehold.decide.stop import Lift, Stop
from leasehold.decide.voices import KeyVoice
from leasehold.model.call import Outcome, OutcomeStatus
from leasehold.model.request import Verdict
from leasehold.model.scope import Scope
from leasehold.policy.document import Policy

Allow = Mapping[str, Mapping[str, object]]

ANY_TICKET = {"ticket": ["T-*"]}
UPDATES: Allow = {"desk.update": ANY_TICKET}


def starts(run: str = RUN, tenant: str = "acme", after: tuple[str, ...] = ()) -> Event:
    """A run of its own starts."""
    return Event(f"start {run[-1]}", lambda world, rules: steps.start(rules, run, tenant=tenant), after=after)


def asks(
    allow: Allow = UPDATES, *, run: str = RUN, request: str = REQUEST, depth: int = -1, tenant: str = "acme"
) -> Event:
    """A run asks for a lease."""
    return Event(
        f"ask {request[-1]}",
        lambda world, rules: steps.ask(world, rules, run, request, allow, depth=depth, tenant=tenant),
    )


def draws(request: str = REQUEST, lease: str = LEASE, tenant: str = "acme") -> Event:
    """A lease is drawn."""
    return Event(f"draw {lease[-1]}", lambda world, rules: steps.draw(world, rules, request, lease, tenant))


def set_up(allow: Allow = UPDATES, *, depth: int = -1, run: str = RUN) -> tuple[Event, ...]:
    """What most worlds begin with: a run with a lease."""
    return (starts(run), asks(allow, run=run, depth=depth), draws())


def answers(script: Script, person: str, verdict: Verdict = Verdict.APPROVE, after: tuple[str, ...] = ()) -> Event:
    """A person answers the request that was made for a script's call."""
    return Event(
        f"{person[5:]} {verdict}s {script.name}",
        lambda world, rules: steps.answer(world, rules, steps.request_for(world, script), person, verdict),
        after=after,
    )


def approves(person: str, request: str = REQUEST) -> Event:
    """A person approves a request for a lease."""
    return Event(
        f"{person[5:]} approves {request[-1]}", lambda world, rules: steps.answer(world, rules, request, person)
    )


def accepts(rules: Policy, number: int = 1) -> Event:
    """Another policy becomes the active one."""
    return Event(
        f"accept policy {number}",
        lambda world, active: AcceptPolicy(policy_document=rules, active=active, by="operator"),
    )


def stops(
    kind: str, scope: str, tenant: str = "acme", *, built_with: Policy | None = None, after: tuple[str, ...] = ()
) -> Event:
    """An operator revokes or holds a scope, asking with an older policy if `built_with` is one."""
    return Event(
        f"{kind} {scope}",
        lambda world, rules: Stop(
            policy_document=built_with or rules,
            tenant=tenant,
            scope=Scope.parse(scope),
            kind=kind,
            by="operator",
            reason="",
        ),
        after=after,
    )


def lifts(scope: str) -> Event:
    """Eva, who may, lifts a hold."""
    return Event(
        f"lift {scope}",
        lambda world, rules: Lift(
            policy_document=rules,
            tenant="acme",
            scope=Scope.parse(scope),
            voice=KeyVoice(person=EVA, public_key=key_of_person(EVA).to_bytes()),
            reason="",
        ),
        after=(f"hold {scope}",),
    )


def lifts_breaker() -> Event:
    """Eva lifts what a breaker holds."""

    def build(world: World, rules: Policy) -> Step[object] | None:
        hold = world.row(StopRow, "acme", "route:work", "hold")
        return lifts("route:work").build(world, rules) if isinstance(hold, StopRow) and hold.is_active else None

    return Event("lift the breaker", build)


def breaks_glass(**changes: object) -> Event:
    """Ana opens break-glass and Ben confirms it, for erasing; some of it may be wrong."""
    name = " ".join(("break glass", *(f"{key}={value}" for key, value in changes.items())))
    return Event(name, lambda world, rules: steps.open_glass(world, rules, **changes))


def closes_glass() -> Event:
    """Somebody ends it."""

    def build(world: World, rules: Policy) -> Step[object] | None:
        run = steps.find_run(world, GLASS_RUN)
        return None if run is None else CloseGlass(finish=FinishRun(run=run, why="done"))

    return Event("close glass", build)


def finishes(run: str = RUN) -> Event:
    """A run finishes."""

    def build(world: World, rules: Policy) -> Step[object] | None:
        found = steps.find_run(world, run)
        return None if found is None else FinishRun(run=found, why="done")

    return Event(f"finish {run[-1]}", build)


def retries() -> Event:
    """A run begins its next attempt."""

    def build(world: World, rules: Policy) -> Step[object] | None:
        run, row = steps.find_run(world, RUN), world.row(RunRow, "acme", RUN)
        return Retry(run=run, from_attempt=row.attempt) if run is not None and isinstance(row, RunRow) else None

    return Event("retry", build)


def starts_child() -> Event:
    """A child run starts under the root's lease."""
    return Event("start child", lambda world, rules: steps.start_child(world, rules, CHILD, LEASE))


def ends_lease() -> Event:
    """The sweep writes down that the root's lease is over, if it is."""

    def build(world: World, rules: Policy) -> Step[object] | None:
        chain = steps.chain_of(world, LEASE)
        return EndLease(lease=chain[-1].lease, run=chain[-1].run) if chain else None

    return Event("end 1", build)


def confirms_clock() -> Event:
    """An operator says that the clock, which jumped, is right."""
    return Event(
        "confirm clock",
        lambda world, rules: ConfirmClock(clock_ms=world.database_ms, by="operator") if world.skew_ms else None,
    )


def removes(person: str) -> Event:
    """A person's key is taken away."""
    return Event(f"remove {person[5:]}", lambda world, rules: RemovePerson(person=person, by="operator"))


def offboards(person: str) -> Event:
    """A person is let go."""
    return Event(
        f"offboard {person[5:]}",
        lambda world, rules: Offboard(policy_document=rules, person=person, by="operator", reason=""),
    )


def stops_abroad(scope: str) -> Event:
    """Another tenant's operator tries to stop something here."""
    return Event(f"globex: revoke {scope}", stops("revoke", scope, "globex").build, is_foreign=True)


def settles_abroad() -> Event:
    """Another tenant tries to settle the first call."""

    def build(world: World, rules: Policy) -> Step[object] | None:
        admission = world.slots[0].admission
        if admission is None:
            return None
        outcome = Outcome(status=OutcomeStatus.NOT_STARTED)
        return Settle(admission=replace(admission, tenant="globex"), outcome=outcome, tool="desk", environment="prod")

    return Event("globex: settle", build, is_foreign=True)


def draws_abroad() -> Event:
    """Another tenant tries to draw a lease of a request here."""

    def build(world: World, rules: Policy) -> Step[object] | None:
        step = steps.draw(world, rules, REQUEST, NEXT_LEASE)
        if step is None:
            return None
        return DrawLease(
            policy_document=rules,
            run=replace(step.run, tenant="globex"),
            request=replace(step.request, tenant="globex"),
            lease_id=step.lease_id,
        )

    return Event("globex: draw", build, is_foreign=True)


def retires(scope: str, *, tenant: str = "acme", after: str = "") -> Event:
    """The sweep takes a revoke out of the list that admissions read, once nothing older is open."""

    def build(world: World, rules: Policy) -> Step[object]:
        open_runs = [row.recorded for row in world.rows.values() if isinstance(row, RunRow) and row.state == "open"]
        oldest = min(open_runs, default=world.control.size)
        return RetireStop(tenant=tenant, scope=scope, oldest_open=oldest)

    return Event("retire", build, after=(after or f"revoke {scope}",))
