"""Three authorities over one PostgreSQL server, killed -9 in turn under their clients; then all is held to the ledger.

The authorities are `leasehold serve`; agents, guards, people and an operator call them over the network (`storm`). What
each of them was answered has to stand in the ledger, once, as it was answered, and the ledger has to be a possible one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from threading import Event
from typing import Protocol

import pytest
from fleet import DOOR, Fleet, Machine
from storm import BALANCED, Reach, Told, tried
from storm_agents import Agent, AsyncHost, GuardedAgent
from storm_people import Operator, Person, Stranger

from figures import Figures
from leasehold.aio import AsyncRemoteAuthority
from leasehold.cli.public_keys import read_public_keys
from leasehold.client.desk import RemoteDesk
from leasehold.client.remote import RemoteAuthority
from leasehold.ledger.detail import amounts, text, texts
from leasehold.ledger.entry import Entry, EntryKind
from leasehold.ledger.export import VerifiedLedger, verify_export
from leasehold.ledger.history import check_history
from leasehold.ledger.receipt import check_complete, verify_receipt
from leasehold.ledger.replay import Past
from leasehold.model.call import CallState, OutcomeStatus
from leasehold.model.lease import HeldLease
from leasehold.model.request import Verdict
from leasehold.model.run import RunAttempt
from leasehold.model.scope import Scope
from postgres_server import PostgresServer

MACHINES = 3
KILLS = 6
ROUNDS, TOGETHER, TIMES = 5, 50, 20  # leases at a time, each of which two authorities are asked so often for a call
TENANTS = ("acme", "globex")
PEOPLE = {"acme": "user:ben", "globex": "user:gil"}
OPERATOR = "user:eva"

POLICY = """
version = 1
authority = "fleet"
[people]
"user:ben" = ["acme-lead", "acme-desk"]
"user:gil" = ["globex-lead", "globex-desk"]
"user:eva" = ["operator"]
[roles]
operator = { can = ["revoke", "hold", "lift", "query"], tenants = ["*"] }
acme-desk = { can = ["hold", "query"], tenants = ["acme"] }
globex-desk = { can = ["hold", "query"], tenants = ["globex"] }
[actions]
"ticket.update" = { effect = "write", args = { ticket = "ticket_id" } }
"ticket.close" = { effect = "write", args = { ticket = "ticket_id" } }
[clients."ticket-door"]
door = { tool = "ticket", environment = "prod" }
"""
POLICY += "".join(
    f"""
[clients."{tenant}-host"]
runs = {{ agents = ["*"], routes = ["*"], tenants = ["{tenant}"], environments = ["prod"] }}
[routes."{tenant}/each"]
for = {{ agents = ["bot"], tenants = ["{tenant}"], environments = ["prod"] }}
allow."ticket.update" = {{ ticket = ["T-*"] }}
allow."ticket.close" = {{ ticket = ["T-*"] }}
approve."ticket.update" = "none"
approve."ticket.close" = "call"
approvers = ["{tenant}-lead"]
budget = {{ calls = 40, tool_seconds = 100000 }}
delegation = {{ depth = 1, children = 2, actions = ["ticket.update"] }}
[routes."{tenant}/whole"]
for = {{ agents = ["bot"], tenants = ["{tenant}"], environments = ["prod"] }}
allow."ticket.update" = {{ ticket = ["T-*"] }}
allow."ticket.close" = {{ ticket = ["T-*"] }}
approve."ticket.update" = "lease"
approve."ticket.close" = "lease"
approvers = ["{tenant}-lead"]
budget = {{ calls = 40, tool_seconds = 100000 }}
"""
    for tenant in TENANTS
)
POLICY += """
[routes.many]
for = { agents = ["bot"], tenants = ["acme"], environments = ["prod"] }
allow."ticket.update" = { ticket = ["T-*"] }
approve."ticket.update" = "none"
budget = { calls = 1000000, tool_seconds = 100000000 }
"""


class Living(Protocol):
    """Somebody of the storm."""

    def live(self) -> None:
        """A piece of their life."""
        ...


@dataclass(frozen=True)
class Storm:
    """What is left of it: what everybody was told, and the ledger as an auditor verifies it."""

    told: Told
    ledger: VerifiedLedger
    fleet: Fleet

    def of(self, *kinds: EntryKind) -> list[Entry]:
        """The entries of some kinds."""
        return [entry for entry in self.ledger.entries if entry.kind in kinds]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, postgres_server: PostgresServer) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("fleet")
    fleet = Fleet(folder, POLICY, postgres_server.url(postgres_server.fresh()), machines=MACHINES)
    with closing(fleet):
        fleet.set_up([DOOR, *(f"{tenant}-host" for tenant in TENANTS)], [*PEOPLE.values(), OPERATOR])
        fleet.start()
        yield fleet
        assert fleet.stop() == [0] * MACHINES
    assert not any("Traceback" in machine.log.read_text() for machine in fleet.machines)


@pytest.fixture(scope="module")
def storm(fleet: Fleet, postgres_server: PostgresServer) -> Storm:
    """Everybody at work while one authority after the other is killed, and the database's server crashes once."""
    told, ended, over = Told(), Event(), Event()
    with ExitStack() as held, ThreadPoolExecutor(20) as pool:
        agents, others = everybody(fleet, told, held)
        working = [pool.submit(loop, each, ended, told) for each in agents]
        answering = [pool.submit(loop, each, over, told) for each in others]
        try:
            kill_in_turn(fleet, told, postgres_server)
        except BaseException as failure:
            told.give_up(failure)
            raise
        finally:
            ended.set()
            wait(working)
            over.set()
        wait(answering)
        if told.failure is not None:
            raise told.failure
    keys = read_public_keys(fleet.public.read_bytes())
    with fleet.open() as authority:
        return Storm(told, verify_export(authority.receipts.export(), keys.log), fleet)


def loop(somebody: Living, ended: Event, told: Told) -> None:
    try:
        while not ended.is_set():
            somebody.live()
    except BaseException as failure:
        told.give_up(failure)
        raise


def kill_in_turn(fleet: Fleet, told: Told, postgres_server: PostgresServer) -> None:
    """One machine after the other, each after some answers; what was killed starts again while the others go on."""
    chance = Random(4)
    for number in range(KILLS):
        told.wait_for(chance.randrange(60, 120))
        machine = fleet.machines[number % MACHINES]
        machine.kill()
        if number == KILLS // 2:
            postgres_server.stop("immediate")
            postgres_server.start()
        machine.start()
    for machine in fleet.machines:
        machine.wait_until_up()
    told.wait_until(lambda: everybody_did_their_part(told))


def everybody(fleet: Fleet, told: Told, held: ExitStack) -> tuple[list[Living], list[Living]]:
    """Agents, and those who answer and stop them. Some go to the authorities themselves, some to the balancer."""

    def hosts(tenant: str, places: Sequence[Machine | None]) -> Reach[RemoteAuthority]:
        made = [held.enter_context(fleet.agents_at(place, f"{tenant}-host")) for place in places]
        return Reach(told, made, Random(len(tenant)))

    def desks(person: str) -> Reach[RemoteDesk]:
        return Reach(told, [held.enter_context(fleet.desk_at(place, person)) for place in fleet.machines], Random(1))

    async def connect() -> AsyncRemoteAuthority:
        return AsyncRemoteAuthority(fleet.agents_at(None, "acme-host"))

    each: Sequence[Machine | None] = fleet.machines
    agents: list[Living] = [AsyncHost(connect, told, "acme")]
    others: list[Living] = []
    for number, tenant in enumerate(TENANTS):
        agents.append(Agent(hosts(tenant, each), tenant, Random(number)))
        agents.append(Agent(hosts(tenant, each), tenant, Random(10 + number)))
        agents.append(GuardedAgent(hosts(tenant, [None]), tenant, Random(20 + number)))
        others.append(Person(desks(PEOPLE[tenant]), PEOPLE[tenant], tenant, Random(30 + number)))
    others.append(Stranger(hosts("globex", [None]), desks(PEOPLE["globex"]), "acme", Random(40)))
    others.append(Operator(desks(OPERATOR).places, hosts("acme", each).places, told, Random(50)))
    return agents, others


@pytest.mark.requirement("P9")
@pytest.mark.case(90, 95, 100)
@pytest.mark.invariant("I1", "I2", "I3", "I4", "I5", "I6", "I7", "I8")
def test_history_of_killed_authorities_breaks_no_invariant(storm: Storm, figures: Figures) -> None:
    told = storm.told
    assert check_history(storm.ledger.entries) == []
    figures(
        f"{MACHINES} authorities on PostgreSQL, {KILLS} killed, the server crashed once: {told.count} answers, "
        f"{told.lost} lost and asked again, {len(storm.of(EntryKind.CALL_ADMITTED))} admissions, "
        f"{len(told.answers)} answers of people, {len(told.stops)} stops, {len(told.receipts)} receipts; "
        f"{len(storm.ledger.entries)} entries checked"
    )


def test_everybody_did_what_the_storm_is_for(storm: Storm) -> None:
    """Or what is asked of the rest of it would be asked of nothing."""
    assert everybody_did_their_part(storm.told)
    assert {entry.tenant for entry in storm.of(EntryKind.CALL_ADMITTED)} == set(TENANTS)


def everybody_did_their_part(told: Told) -> bool:
    """Yes and no of people, revokes and holds, approved and delegated calls; lost answers, and all that was tried."""
    verdicts = {verdict for _, verdict in told.answers.values()}
    kinds = {stop.kind for stop in told.stops}
    tried = [told.lost, told.denied, told.done, told.asked_again, told.after_stops, told.foreign, told.receipts]
    return (
        (len(verdicts), len(kinds)) == (2, 2)
        and all(tried)
        and any(admission.approval for admission in told.admitted.values())
        and any(len(admission.lease_chain) > 1 for admission in told.admitted.values())
    )


def test_nobody_was_answered_what_may_not_be_said(storm: Storm) -> None:
    assert storm.told.wrong == []


@pytest.mark.case(72, 90)
@pytest.mark.invariant("I7", "I8")
def test_all_that_any_authority_answered_stands_there_once_as_it_was_answered(storm: Storm) -> None:
    told = storm.told
    assert set(told.runs) <= unique(storm.of(EntryKind.RUN_STARTED), "run").keys()
    assert set(told.requests) <= unique(storm.of(EntryKind.REQUEST_MADE), "request").keys()
    assert set(told.leases) <= unique(storm.of(EntryKind.LEASE_ISSUED), "lease").keys()
    admitted = unique(storm.of(EntryKind.CALL_ADMITTED), "admission")
    settled = unique(storm.of(EntryKind.CALL_SETTLED), "admission")
    for name, admission in told.admitted.items():
        entry = admitted[name]
        assert (entry.tenant, entry.run, entry.lease) == (admission.tenant, admission.run_id, admission.lease_id)
        assert (entry.action, entry.key, entry.approval) == (admission.action, admission.key, admission.approval or "")
        assert amounts(entry, "reserved") == admission.reserved
    for name, (outcome, answer) in told.settled.items():
        entry = settled[name]
        assert (entry.outcome, entry.duration_micros) == (outcome.status, outcome.duration_micros)
        assert (answer.state, answer.charged, answer.late) == (CallState(outcome.status), entry.cost, False)
    assert {settled[name].outcome for name in told.done} == {OutcomeStatus.DONE}


@pytest.mark.case(72)
@pytest.mark.invariant("I7")
def test_what_a_client_asked_again_by_itself_was_made_once(storm: Storm) -> None:
    runs = {entry.run for entry in storm.of(EntryKind.RUN_STARTED) if text(entry, "purpose") == BALANCED}
    assert len(runs) > 0
    assert runs <= set(storm.told.runs)
    made = {entry.request for entry in storm.of(EntryKind.REQUEST_MADE) if entry.run in runs}
    assert made <= set(storm.told.requests)


@pytest.mark.requirement("F1", "P11")
@pytest.mark.case(76, 90)
@pytest.mark.invariant("I4", "I8")
def test_what_people_answered_stands_there_once_and_is_what_their_agents_were_told(storm: Storm) -> None:
    told = storm.told
    counted = [entry for entry in storm.of(EntryKind.REQUEST_ANSWERED) if entry.decision != "deny"]
    answered = unique(counted, "request")
    for request, (person, verdict) in told.answers.items():
        assert (answered[request].person, answered[request].detail["verdict"]) == (person, verdict)
    assert {answered[request].detail["verdict"] for request in told.denied} == {Verdict.DENY}
    settled = {entry.admission: entry.outcome for entry in storm.of(EntryKind.CALL_SETTLED)}
    used = Counter(
        entry.approval
        for entry in storm.of(EntryKind.CALL_ADMITTED)
        if entry.approval and settled.get(entry.admission) != CallState.NOT_STARTED
    )
    assert set(used.values()) == {1}
    assert {answered[request].detail["verdict"] for request in used} == {Verdict.APPROVE}


@pytest.mark.requirement("L6", "P15")
@pytest.mark.case(53, 63)
@pytest.mark.invariant("I1")
def test_stops_that_one_authority_answered_stand_there_and_were_obeyed_by_the_others(storm: Storm) -> None:
    kinds = {"revoke": EntryKind.REVOKED, "hold": EntryKind.HELD}
    for stop in storm.told.stops:
        recorded = [entry for entry in storm.of(kinds[stop.kind]) if entry.tenant == stop.tenant]
        assert stop.scope in {entry.scope for entry in recorded}
        assert stop.in_flight in [set(texts(entry, "in_flight")) for entry in recorded if entry.scope == stop.listing]
    assert set(storm.told.after_stops) <= {"revoked", "held", "completed", "run_finished", "UnavailableError"}


@pytest.mark.case(103)
@pytest.mark.invariant("I2", "I3", "I7")
def test_tool_ledger_receipts_and_accounts_agree(storm: Storm) -> None:
    executed: Counter[tuple[str, str]] = Counter()
    past = Past()
    for entry in storm.ledger.entries:
        past.take(entry)
        if entry.kind is EntryKind.CALL_SETTLED and entry.outcome != CallState.NOT_STARTED:
            executed[entry.run, entry.key] += 1
    assert set(storm.told.executions.values()) == {1}
    assert executed == storm.told.executions
    with storm.fleet.open() as authority:
        rows = [
            row
            for account, tenant in {**storm.told.runs, **storm.told.requests}.items()
            for row in authority.engine.store.queries.accounts(tenant, account)
        ]
    for row in rows:
        reckoned = past.account(row.tenant, row.account, row.unit)
        assert (row.settled + row.unknown, row.reserved) == (reckoned.spent, reckoned.reserved)
        assert row.unknown == 0
        assert row.settled + row.reserved <= row.limit
    assert len(rows) > len(storm.told.runs)


@pytest.mark.invariant("I10")
def test_nothing_of_one_tenant_is_told_to_another_or_stands_in_its_entries(storm: Storm) -> None:
    assert set(storm.told.foreign) <= {"NotFoundError", "Denied"}
    tenants: dict[str, set[str]] = {}
    for entry in storm.ledger.entries:
        for name in (entry.run, entry.parent_run, entry.request, entry.lease, entry.admission, *entry.parents):
            tenants.setdefault(name, set()).add(entry.tenant)
    del tenants[""]
    assert max(map(len, tenants.values())) == 1


@pytest.mark.requirement("B10")
@pytest.mark.invariant("I9")
def test_receipts_verify_offline_and_leave_nothing_out(storm: Storm, tmp_path: Path) -> None:
    keys = read_public_keys(storm.fleet.public.read_bytes())
    for run, envelope in storm.told.receipts.items():
        receipt = verify_receipt(envelope, keys.receipt_keys(), keys.log)
        check_complete(receipt, storm.ledger)
        assert receipt.run == run
    shown = tmp_path / "receipt.json"
    shown.write_bytes(envelope)
    said = storm.fleet.command("receipt", "verify", str(shown), "--key", str(storm.fleet.public))
    assert said.startswith(f"verified: the receipt of {run}")
    storm.fleet.command("db", "check")


@pytest.mark.requirement("L6", "B8")
@pytest.mark.invariant("I1")
@pytest.mark.case(53, 63)
def test_revoke_that_one_authority_answered_is_obeyed_by_the_others_at_once(fleet: Fleet, figures: Figures) -> None:
    """The others are asked after the answer alone; half of the stops revoke a lease, half hold a request."""
    told = Counter[str]()
    with ExitStack() as held, ThreadPoolExecutor(16) as pool:
        first, *others = [held.enter_context(fleet.agents_at(each, "acme-host", seconds=60)) for each in fleet.machines]
        desk = held.enter_context(fleet.desk_at(fleet.machines[0], OPERATOR, seconds=60))

        def stop(numbered: tuple[int, HeldLease]) -> None:
            number, lease = numbered[0], numbered[1].lease
            if number % 2:
                desk.revoke(Scope.parse(f"lease:{lease.lease_id}"), reason="trial", tenant="acme")
            else:
                desk.hold(Scope.parse(f"request:{lease.request_id}"), reason="trial", tenant="acme")

        for _ in range(ROUNDS):
            leases = list(pool.map(partial(draw, first), [started(first)] * TOGETHER))
            tokens = [lease.token_for("ticket") for lease in leases]
            assert tried(others, tokens) == {"admitted": len(others) * TOGETHER}
            list(pool.map(stop, enumerate(leases)))
            told += tried(others, tokens * TIMES)
    figures(
        f"{told.total()} admissions asked of two authorities after a third had answered the stop: "
        f"{told['admitted']} went through"
    )
    assert told.total() == ROUNDS * TOGETHER * TIMES * len(others) >= 10_000
    assert set(told) == {"revoked", "held"}


@pytest.mark.requirement("B8")
@pytest.mark.invariant("I2")
@pytest.mark.case(65)
def test_of_sixty_four_callers_at_every_authority_with_a_budget_of_one_exactly_one_is_admitted(fleet: Fleet) -> None:
    """A program that has the database open itself is one of those who are asked."""
    with ExitStack() as held, fleet.open() as near:
        far = [held.enter_context(fleet.agents_at(each, "acme-host", seconds=60)) for each in fleet.machines]
        for _ in range(10):
            token = draw(far[0], started(far[0]), {"calls": 1}).token_for("ticket")
            assert tried([*far, near], [token] * 16) == {"admitted": 1, "budget": 63}


def started(authority: RemoteAuthority) -> RunAttempt:
    """A run with money for everything."""
    where = {"route": "many", "tenant": "acme", "environment": "prod"}
    return authority.start(agent="bot", requested_by="user:ana", purpose="trial", **where)


def draw(authority: RemoteAuthority, run: RunAttempt, budget: dict[str, object] | None = None) -> HeldLease:
    """A lease of a request of its own."""
    request = authority.request(run, {"ticket.update": {"ticket": ["T-*"]}}, reason="trial", budget=budget)
    return authority.wait(request)


def unique(entries: Sequence[Entry], name: str) -> dict[str, Entry]:
    """Entries by what they are about, which stands there once."""
    found = {getattr(entry, name): entry for entry in entries}
    assert len(found) == len(entries), name
    return found
