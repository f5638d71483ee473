"""Every reachable state of every small world holds the invariants, and no guard of `decide` can go unnoticed."""

from __future__ import annotations

import pytest

from explorer.explore import Violation, explore
from explorer.mutants import MUTANTS, Mutant
from explorer.people_mutants import PEOPLE_MUTANTS
from explorer.people_worlds import PEOPLE_WORLDS
from explorer.program_worlds import PROGRAM_MUTANTS, PROGRAM_WORLDS
from explorer.scenario import Scenario
from explorer.worlds import KEYS, WORLDS

SAFETY = ("I1", "I2", "I3", "I4", "I5", "I6", "I7", "I8", "I10")


@pytest.mark.invariant(*SAFETY, "L2")
@pytest.mark.case(45, 47, 51, 53, 56, 57, 62, 63, 65, 66, 68, 69, 71, 72, 76, 78, 79, 80, 87, 89)
@pytest.mark.requirement("L4", "L6", "L7", "L8", "B2", "B8", "B9", "P11", "P12", "P14", "P15")
@pytest.mark.parametrize("world", [*WORLDS, *PEOPLE_WORLDS, *PROGRAM_WORLDS], ids=lambda world: world.name)
def test_no_state_of_a_small_world_breaks_an_invariant(world: Scenario) -> None:
    found = explore(world)
    print(found)
    assert found.violation is None, str(found.violation)
    assert world.goals <= found.labels, f"never seen: {sorted(world.goals - found.labels)}"
    assert found.states >= world.states


def find_violation(mutant: Mutant) -> Violation | None:
    """What the first of a mutant's worlds that notices it says."""
    for world in mutant.worlds:
        with pytest.MonkeyPatch.context() as patch:
            mutant.apply(patch)
            found = explore(world)
        if found.violation is not None:
            print(found)
            return found.violation
    return None


@pytest.mark.parametrize("mutant", [*MUTANTS, *PEOPLE_MUTANTS, *PROGRAM_MUTANTS], ids=lambda mutant: mutant.name)
def test_a_guard_that_is_taken_away_is_missed(mutant: Mutant) -> None:
    violation = find_violation(mutant)
    assert violation is not None, f"no world notices that {mutant.name}"
    print(violation)
    assert violation.invariant in mutant.breaks, str(violation)


def test_every_invariant_is_broken_by_some_mutant() -> None:
    assert {invariant for mutant in MUTANTS for invariant in mutant.breaks} >= set(SAFETY)


def test_the_trace_of_a_violation_is_a_shortest_one() -> None:
    mutant = next(each for each in MUTANTS if each.name == "no intent is written")
    violation = find_violation(mutant)
    assert violation is not None
    assert (violation.invariant, violation.trace) == ("I3", ("admit A", "start A"))
    assert str(violation).endswith("  1. admit A\n  2. start A")


def test_a_search_finds_the_same_every_time() -> None:
    first, second = explore(KEYS), explore(KEYS)
    assert (first.states, first.transitions, first.labels) == (second.states, second.transitions, second.labels)
