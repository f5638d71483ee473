"""Breadth-first search over every state of a small world, so that the first counter-example is a shortest one."""

from __future__ import annotations

import dataclasses
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import permutations
from typing import TypeVar

from explorer.invariants import BrokenInvariantError, check_end
from explorer.play import Move, happenings, play, questions
from explorer.scenario import BEGIN_MS, Scenario, key_of_person
from explorer.world import Slot, World, fingerprint, submit
from leasehold.decide.facts import Step
from leasehold.decide.govern import AddPerson
from leasehold.decide.rows import ControlRow

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Violation:
    """A broken invariant and the shortest way to it."""

    invariant: str
    message: str
    trace: tuple[str, ...]

    def __str__(self) -> str:
        steps = "\n".join(f"  {number}. {step}" for number, step in enumerate(self.trace, 1))
        return f"{self.invariant}: {self.message}\n{steps}"


@dataclasses.dataclass(frozen=True)
class Exploration:
    """What a search found: how much it saw, the labels it came across, and the first violation if there is one."""

    scenario: str
    states: int
    transitions: int
    seconds: float
    labels: frozenset[str]
    violation: Violation | None

    def __str__(self) -> str:
        return (
            f"{self.scenario:52} {self.states:6} states {self.transitions:7} transitions {self.seconds:5.1f} s  "
            f"{'holds' if self.violation is None else self.violation.invariant}"
        )


def explore(scenario: Scenario, *, limit: int = 20_000) -> Exploration:
    """Visit every state of a small world once, until all are seen or an invariant is broken.

    Raises:
        AssertionError: there are more than `limit` states; the world is not small.
    """
    began = time.monotonic()
    labels: set[str] = set()
    parents: dict[object, tuple[object, str]] = {}
    first = begin(scenario)
    root = fingerprint(first)
    seen, waiting, transitions = {root}, deque([(first, root)]), 0
    violation = None
    while waiting and violation is None:
        world, mark = waiting.popleft()
        try:
            for name, after in _successors(scenario, world, labels):
                transitions += 1
                reached = fingerprint(after)
                if reached not in seen:
                    seen.add(reached)
                    parents[reached] = (mark, name)
                    waiting.append((after, reached))
        except BrokenInvariantError as broken:
            violation = Violation(broken.invariant, broken.message, (*_trace(parents, mark), broken.move))
        assert len(seen) <= limit, f"{scenario.name} has more than {limit} states"
    seconds = time.monotonic() - began
    return Exploration(scenario.name, len(seen), transitions, seconds, frozenset(labels), violation)


def _trace(parents: Mapping[object, tuple[object, str]], mark: object) -> tuple[str, ...]:
    names: list[str] = []
    while mark in parents:
        mark, name = parents[mark]
        names.append(name)
    return tuple(reversed(names))


def _successors(scenario: Scenario, world: World, labels: set[str]) -> Iterator[tuple[str, World]]:
    """Every state that one move leads to, with the move's name."""
    found = False
    for name, happen in happenings(scenario, world):
        found = True
        yield name, _named(name, happen)
    asked = questions(scenario, world)
    for moves, is_lost in _batches(scenario, asked):
        name = " + ".join(move.name for move in moves) + (" (answer lost)" if is_lost else "")
        after, said = _named(name, partial(play, scenario, world, moves, is_lost=is_lost))
        labels.update(said)
        found = True
        yield name, after
    if not found:
        _named("(nothing more can happen)", partial(check_end, world))


def _batches(scenario: Scenario, asked: Sequence[Move]) -> Iterator[tuple[tuple[Move, ...], bool]]:
    """The questions one by one, with the answer heard or lost, and where the scenario says so two in one batch."""
    for move in asked:
        yield (move,), False
        if scenario.losses and move.index is not None:
            yield (move,), True
    if scenario.pairs:
        for pair in permutations(asked, 2):
            if pair[0].index is None or pair[0].index != pair[1].index:
                yield pair, False


def _named(name: str, happen: Callable[[], T]) -> T:
    try:
        return happen()
    except BrokenInvariantError as broken:
        broken.move = name
        raise


def begin(scenario: Scenario) -> World:
    """The first state: a database with its people, and what the scenario's setup did."""
    policy = scenario.policies[0]
    control = ControlRow(
        log="log",
        issuer="issuer",
        epoch=1,
        epoch_since=0,
        policy=policy.hash,
        policy_since=0,
        last_time_ms=BEGIN_MS,
        size=0,
        frontier=b"",
    )
    world = World(rows={}, control=control, clock_ms=BEGIN_MS, slots=tuple(Slot() for _ in scenario.scripts))
    for person in scenario.people:
        key = key_of_person(person)
        world = _must(world, AddPerson(person=person, public_key=key.to_bytes(), key_id=key.kid, by="explorer"))
    for event in scenario.setup:
        step = event.build(world, policy)
        assert step is not None, f"{scenario.name}: {event.name} cannot be asked for"
        world = _must(world, step)
    return world


def _must(world: World, step: Step[object]) -> World:
    decided = submit(world, [step])
    assert decided.answers[0].decision.is_allowed, decided.answers[0].decision.describe()
    return decided.world
