"""A small discrete-event model of authorities, lanes, group commits and logs, in simulated seconds.

Called by the scale benchmark, which measures its costs on this machine, compares it with what can be run here, and asks
it what cannot. A call is two steps, admit and settle; each costs its authority some work before the lane takes it. A
lane takes what has arrived, holds its log's lock while it decides, has the database work and the log be synced, and
answers. Of one authority one thread computes at a time; a database's log syncs one group at a time.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from statistics import quantiles
from typing import TypeAlias

Act: TypeAlias = Callable[[], None]

LARGEST_BATCH = 256
PATIENCE = 4
"""How often a lane lets go of the interpreter for callers that it has just answered."""


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What things take, in seconds: of the authority's processor, of the database's, of its disk, of the network."""

    front: float
    """Of a step, outside the lane: the caller's own work, the token, the answer."""
    batch: float
    """Of a batch, in the lane, however large."""
    step: float
    """Of each step of it, in the lane."""
    database_batch: float
    database_step: float
    sync: float
    wire: float = 0.0
    """Of all round trips of a batch together."""


class World:
    """Simulated time, and what happens next in it."""

    def __init__(self) -> None:
        self.now = 0.0
        self._acts: list[tuple[float, int, Act]] = []
        self._numbers = count()

    def later(self, seconds: float, act: Act) -> None:
        """Have something happen so much later; of things at the same time, in the order they were asked for."""
        heapq.heappush(self._acts, (self.now + seconds, next(self._numbers), act))

    def run(self, until: float) -> None:
        """Let time pass."""
        while self._acts and self._acts[0][0] <= until:
            self.now, _, act = heapq.heappop(self._acts)
            act()
        self.now = until


class Servers:
    """So many of a kind, processors or the one holder of a lock, given to who asks first. `busy` are seconds in use."""

    def __init__(self, world: World, number: int) -> None:
        self._world = world
        self._number = number
        self._free = number
        self._waiting: deque[Act] = deque()
        self._since = 0.0
        self._busy = 0.0

    def take(self, then: Act) -> None:
        """Go on once there is one."""
        if self._free:
            self._count()
            self._free -= 1
            then()
        else:
            self._waiting.append(then)

    def give_back(self) -> None:
        """Let the next one have it."""
        if self._waiting:
            self._world.later(0.0, self._waiting.popleft())
        else:
            self._count()
            self._free += 1

    def use(self, seconds: float, then: Act) -> None:
        """Have one for so long, and go on."""

        def begin() -> None:
            self._world.later(seconds, end)

        def end() -> None:
            self.give_back()
            then()

        self.take(begin)

    def share(self, seconds: float) -> float:
        """How much of the time of all of them was used, of the `seconds` that have passed."""
        self._count()
        return self._busy / (self._number * seconds)

    def _count(self) -> None:
        self._busy += (self._number - self._free) * (self._world.now - self._since)
        self._since = self._world.now


class Disk:
    """A database's own log: one sync at a time, and what arrives meanwhile shares the next one."""

    def __init__(self, world: World, seconds: float) -> None:
        self._world = world
        self._seconds = seconds
        self._waiting: list[Act] = []
        self._is_syncing = False
        self.syncs = 0

    def sync(self, then: Act) -> None:
        """Go on once what was written is durable."""
        self._waiting.append(then)
        if not self._is_syncing:
            self._begin()

    def _begin(self) -> None:
        group, self._waiting = self._waiting, []
        self._is_syncing = True
        self.syncs += 1

        def end() -> None:
            self._is_syncing = False
            if self._waiting:
                self._begin()
            for then in group:
                then()

        self._world.later(self._seconds, end)


@dataclass
class Database:
    """Processors, a disk, and one lock for each log."""

    processors: Servers
    disk: Disk
    locks: list[Servers]


class Authority:
    """One process: one interpreter, on a host's processors."""

    def __init__(self, world: World, host: Servers) -> None:
        self.interpreter = Servers(world, 1)
        self._host = host

    def compute(self, seconds: float, then: Act) -> None:
        """Have the interpreter for so long, and go on."""

        def end() -> None:
            self.interpreter.give_back()
            then()

        self.interpreter.take(lambda: self._host.use(seconds, end))


@dataclass
class Lane:
    """What one authority writes of one log. Owned by its simulation."""

    world: World
    costs: Costs
    authority: Authority
    database: Database
    log: int
    largest: int = LARGEST_BATCH
    batches: int = 0
    steps: int = 0
    _arrived: deque[Act] = field(default_factory=deque)
    _is_running: bool = False
    _last: int = 0

    def submit(self, answered: Act) -> None:
        """Hand a step in."""
        self._arrived.append(answered)
        if not self._is_running:
            self._is_running = True
            self.world.later(0.0, self._begin)

    def _begin(self, patience: int = PATIENCE) -> None:
        """Let those who were just answered ask again, as the real lane does, then wait for the log."""
        if patience and len(self._arrived) < self._last:
            self.authority.compute(0.0, lambda: self._begin(patience - 1))
        else:
            lock = self.database.locks[self.log]
            lock.take(lambda: self._decide(lock))

    def _decide(self, lock: Servers) -> None:
        batch = [self._arrived.popleft() for _ in range(min(self.largest, len(self._arrived)))]
        self._last = len(batch)
        self.batches += 1
        self.steps += len(batch)
        costs, size = self.costs, len(batch)

        def work() -> None:
            self.database.processors.use(costs.database_batch + size * costs.database_step, commit)

        def commit() -> None:
            self.database.disk.sync(lambda: self.world.later(costs.wire, answer))

        def answer() -> None:
            lock.give_back()
            for answered in batch:
                answered()
            self._is_running = bool(self._arrived)
            if self._is_running:
                self._begin()

        self.authority.compute(costs.batch + size * costs.step, work)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What stands where: hosts of authorities, authorities, databases, logs; and who writes which log.

    `authorities_of_log` says how many authorities get the calls of one log: one, where a balancer sends each tenant to
    its own. `shares_host` puts the database on the first authority's processors, as on a single machine.
    """

    authorities: int = 1
    processors_of_host: int = 2
    databases: int = 1
    processors_of_database: int = 2
    logs: int = 1
    authorities_of_log: int = 1
    shares_host: bool = False
    largest_batch: int = LARGEST_BATCH


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a simulation. `admissions` are seconds that an admission took, from when the call was made."""

    seconds: float
    calls: int
    admissions: Sequence[float]
    steps_of_batch: float
    interpreters: Sequence[float]
    locks: Sequence[float]
    databases: Sequence[float]
    syncs: int
    inside: float
    """Steps that were on their way, on average."""
    step_seconds: float
    """What a step took, on average."""

    @property
    def calls_per_second(self) -> float:
        """How many calls were settled."""
        return self.calls / self.seconds

    def admission(self, part: float) -> float:
        """The time below which this part of all admissions stayed."""
        return quantiles(self.admissions, n=1000, method="inclusive")[max(0, round(part * 1000) - 1)]


class Simulation:
    """A layout at work. Run it once."""

    def __init__(self, layout: Layout, costs: Costs, *, seed: int = 1) -> None:
        self._layout = layout
        self._costs = costs
        self._chance = random.Random(seed)
        self.world = world = World()
        host = Servers(world, layout.processors_of_host)
        self.authorities = [
            Authority(world, host if layout.shares_host else Servers(world, layout.processors_of_host))
            for _ in range(layout.authorities)
        ]
        of_database = layout.logs // layout.databases
        self.databases = [
            Database(
                host if layout.shares_host else Servers(world, layout.processors_of_database),
                Disk(world, costs.sync),
                [Servers(world, 1) for _ in range(of_database)],
            )
            for _ in range(layout.databases)
        ]
        self.lanes = [
            [self._lane(log, place) for place in range(layout.authorities_of_log)]
            for log in range(of_database * layout.databases)
        ]
        self._calls = 0
        self._admissions: list[float] = []
        self._inside = 0
        self._area = 0.0
        self._changed = 0.0
        self._step_seconds = 0.0
        self._steps = 0

    def _lane(self, log: int, place: int) -> Lane:
        """The lane of one of the authorities that get the calls of a log."""
        layout = self._layout
        database, lock = divmod(log, layout.logs // layout.databases)
        authority = (log * layout.authorities_of_log + place) % layout.authorities
        return Lane(
            self.world,
            self._costs,
            self.authorities[authority],
            self.databases[database],
            lock,
            layout.largest_batch,
        )

    def callers(self, number: int, seconds: float) -> Outcome:
        """So many callers, each of whom makes its next call once the last one is settled.

        It takes so long, or longer, until as many calls as there are callers are settled.
        """
        for caller in range(number):
            lane = self._pick(caller)
            self.world.later(0.0, lambda lane=lane: self._call(lane, repeat=True))
        return self._finish(seconds, lambda: self._calls >= number)

    def arrivals(self, per_second: float, seconds: float, *, tool_seconds: float = 0.0) -> Outcome:
        """Calls that come by chance, whatever became of those before; each tool takes so long.

        It takes so many `seconds`, or longer, until some calls are admitted.
        """
        lanes = len(self.lanes) * self._layout.authorities_of_log

        def arrive() -> None:
            self.world.later(self._chance.expovariate(per_second), arrive)
            self._call(self._pick(self._chance.randrange(lanes)), tool_seconds)

        self.world.later(self._chance.expovariate(per_second), arrive)
        return self._finish(seconds, lambda: len(self._admissions) > 1)

    def _pick(self, number: int) -> Lane:
        lanes = self.lanes[number % len(self.lanes)]
        return lanes[number // len(self.lanes) % len(lanes)]

    def _call(self, lane: Lane, tool_seconds: float = 0.0, *, repeat: bool = False) -> None:
        began = self.world.now

        def admitted() -> None:
            self._admissions.append(self.world.now - began)
            self.world.later(tool_seconds, lambda: self._step(lane, settled))

        def settled() -> None:
            self._calls += 1
            if repeat:
                self._call(lane, tool_seconds, repeat=True)

        self._step(lane, admitted)

    def _step(self, lane: Lane, then: Act) -> None:
        began = self.world.now
        self._move(1)

        def answered() -> None:
            self._move(-1)
            self._steps += 1
            self._step_seconds += self.world.now - began
            then()

        lane.authority.compute(self._costs.front, lambda: lane.submit(answered))

    def _move(self, by: int) -> None:
        self._area += self._inside * (self.world.now - self._changed)
        self._changed = self.world.now
        self._inside += by

    def _finish(self, seconds: float, is_enough: Callable[[], bool]) -> Outcome:
        self.world.run(seconds)
        while not is_enough():
            seconds *= 2
            self.world.run(seconds)
        self._move(0)
        lanes = [lane for of_log in self.lanes for lane in of_log]
        return Outcome(
            seconds=seconds,
            calls=self._calls,
            admissions=self._admissions,
            steps_of_batch=sum(lane.steps for lane in lanes) / max(1, sum(lane.batches for lane in lanes)),
            interpreters=[authority.interpreter.share(seconds) for authority in self.authorities],
            locks=[lock.share(seconds) for database in self.databases for lock in database.locks],
            databases=[database.processors.share(seconds) for database in self.databases],
            syncs=sum(database.disk.syncs for database in self.databases),
            inside=self._area / seconds,
            step_seconds=self._step_seconds / max(1, self._steps),
        )
