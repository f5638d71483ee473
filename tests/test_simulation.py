"""The model of the scale benchmark answers what is known: of queues, of closed circles of callers, of shared locks."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from benchmarks.scale import lane_limit
from benchmarks.simulation import Costs, Disk, Layout, Servers, Simulation, World

MILLISECOND = 0.001
NOTHING = Costs(front=0.0, batch=0.0, step=0.0, database_batch=0.0, database_step=0.0, sync=0.0)
COSTS = Costs(front=0.0001, batch=0.0005, step=0.00005, database_batch=0.0003, database_step=0.00004, sync=0.001)
ALONE = Layout(processors_of_host=4, processors_of_database=4)


def test_one_caller_waits_for_each_part_of_both_of_its_steps() -> None:
    found = Simulation(ALONE, replace(COSTS, wire=0.0002)).callers(1, 50.0)
    step = 0.0001 + 0.0005 + 0.00005 + 0.0003 + 0.00004 + 0.001 + 0.0002
    assert found.calls_per_second == pytest.approx(1 / (2 * step), rel=0.001)
    assert found.admission(0.5) == pytest.approx(step)
    assert found.steps_of_batch == 1


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_a_single_server_that_always_takes_as_long_makes_calls_wait_as_pollaczek_and_khinchine_say(load: float) -> None:
    world, chance = World(), random.Random(3)
    server = Servers(world, 1)
    waits: list[float] = []

    def arrive() -> None:
        began = world.now
        world.later(chance.expovariate(load), arrive)
        server.use(1.0, lambda: waits.append(world.now - began - 1.0))

    world.later(0.0, arrive)
    world.run(100_000.0)
    assert sum(waits) / len(waits) == pytest.approx(load / (2 * (1 - load)), rel=0.05)
    assert server.share(100_000.0) == pytest.approx(load, rel=0.02)


@pytest.mark.parametrize("callers", [16, 64, 256])
def test_callers_that_ask_again_at_once_stand_in_one_batch(callers: int) -> None:
    """The lane waits for those it has just answered, so a round of all of them is one batch of them all."""
    found = Simulation(ALONE, COSTS).callers(callers, 10.0)
    lane = 0.0005 + callers * 0.00005 + 0.0003 + callers * 0.00004 + 0.001
    assert found.steps_of_batch == pytest.approx(callers, rel=0.02)
    assert found.calls_per_second == pytest.approx(callers / 2 / (lane + callers * 0.0001), rel=0.02)


def test_more_callers_than_a_batch_holds_are_served_in_several() -> None:
    found = Simulation(replace(ALONE, largest_batch=8), COSTS).callers(64, 5.0)
    assert found.steps_of_batch == pytest.approx(8, rel=0.02)


def test_a_machine_so_slow_that_nothing_is_done_in_time_is_simulated_for_longer() -> None:
    slow = replace(COSTS, step=0.5)
    assert 0.4 < Simulation(ALONE, slow).callers(128, 0.5).calls_per_second < 1.1
    assert Simulation(ALONE, slow).arrivals(100.0, 0.05).admission(0.5) > 0.5


@pytest.mark.parametrize("rate", [100.0, 1000.0, 1800.0])
def test_what_is_inside_is_what_arrives_times_how_long_it_stays(rate: float) -> None:
    found = Simulation(ALONE, COSTS).arrivals(rate, 10.0)
    assert found.inside == pytest.approx(2 * found.calls_per_second * found.step_seconds, rel=0.02)
    assert found.calls_per_second == pytest.approx(rate, rel=0.1)


def test_more_than_a_lane_can_carry_is_not_carried() -> None:
    limit = lane_limit(COSTS, 256)
    found = Simulation(ALONE, COSTS).arrivals(3 * limit, 5.0)
    assert found.calls_per_second < 1.02 * limit
    assert found.inside > 1000


def test_a_log_has_one_lane_however_many_authorities_write_it() -> None:
    """What takes turns under a lock does not grow with those who take turns; the work outside it does."""
    costs = replace(COSTS, front=0.0)
    one = Simulation(ALONE, costs).callers(64, 5.0)
    four = Simulation(replace(ALONE, authorities=4, authorities_of_log=4), costs).callers(64, 5.0)
    assert four.calls_per_second < one.calls_per_second
    assert sum(four.locks) == pytest.approx(1.0, rel=0.01)
    busy = replace(COSTS, front=0.01)
    one = Simulation(ALONE, busy).callers(64, 60.0)
    four = Simulation(replace(ALONE, authorities=4, authorities_of_log=4), busy).callers(64, 60.0)
    assert four.calls_per_second == pytest.approx(4 * one.calls_per_second, rel=0.1)


def test_logs_that_share_nothing_add_up() -> None:
    one = Simulation(ALONE, COSTS).callers(32, 5.0)
    apart = replace(ALONE, authorities=5, logs=5, databases=5)
    assert Simulation(apart, COSTS).callers(160, 5.0).calls_per_second == pytest.approx(
        5 * one.calls_per_second, rel=0.02
    )


def test_logs_of_one_database_share_its_disk_in_groups() -> None:
    """Of five lanes that were answered together one begins a sync and the others share the next: two for all five."""
    costs = replace(NOTHING, sync=MILLISECOND)
    found = Simulation(replace(ALONE, authorities=5, logs=5), costs).callers(5, 10.0)
    assert found.syncs == pytest.approx(10.0 / MILLISECOND, rel=0.01)
    assert found.calls_per_second == pytest.approx(5 / 2 / (2 * MILLISECOND), rel=0.01)


def test_a_database_with_one_processor_carries_what_one_can() -> None:
    costs = replace(NOTHING, database_batch=MILLISECOND)
    found = Simulation(replace(ALONE, authorities=4, logs=4, processors_of_database=1), costs).callers(4, 10.0)
    assert found.calls_per_second == pytest.approx(500, rel=0.01)
    assert found.databases[0] == pytest.approx(1.0, rel=0.01)


def test_a_sync_that_begins_takes_nobody_along_who_comes_later() -> None:
    world = World()
    disk = Disk(world, 1.0)
    done: list[tuple[str, float]] = []
    disk.sync(lambda: done.append(("first", world.now)))
    world.later(0.5, lambda: disk.sync(lambda: done.append(("second", world.now))))
    world.later(0.9, lambda: disk.sync(lambda: done.append(("third", world.now))))
    world.run(10.0)
    assert done == [("first", 1.0), ("second", 2.0), ("third", 2.0)]
    assert disk.syncs == 2


def test_tools_keep_nobody_from_the_lane() -> None:
    found = Simulation(ALONE, COSTS).arrivals(500.0, 30.0, tool_seconds=2.0)
    assert found.admission(0.99) < 0.02
    assert found.calls_per_second == pytest.approx(500 * 28 / 30, rel=0.05)


def test_the_same_seed_gives_the_same_answer() -> None:
    first, second = (Simulation(ALONE, COSTS, seed=9).arrivals(800.0, 5.0) for _ in range(2))
    assert first == second
    assert first != Simulation(ALONE, COSTS, seed=10).arrivals(800.0, 5.0)
