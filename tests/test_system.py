"""Clock and chance: the real ones keep their promises, the frozen ones stand still and repeat."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasehold.errors import InvalidError
from leasehold.model.ids import check_id
from leasehold.model.instant import Instant
from leasehold.system import DatabaseTime, RealSystem, System, make_id
from leasehold.testing.clock import FrozenSystem

times = st.integers(0, 2**48 - 1).map(Instant)
randomness = st.binary(min_size=10, max_size=10)


@pytest.fixture(params=["real", "frozen"])
def system(request: pytest.FixtureRequest) -> System:
    return RealSystem() if request.param == "real" else FrozenSystem()


@pytest.mark.parametrize("prefix", ["run", "req", "lease", "adm"])
def test_a_new_id_is_one_of_its_kind_and_never_comes_twice(system: System, prefix: str) -> None:
    ids = [system.new_id(prefix) for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert all(check_id(each, prefix) == each for each in ids)


def test_random_bytes_come_in_the_asked_number_and_differ(system: System) -> None:
    assert [len(system.random_bytes(count)) for count in (0, 1, 32)] == [0, 1, 32]
    assert system.random_bytes(32) != system.random_bytes(32)


def test_no_clock_runs_backwards_by_itself(system: System) -> None:
    boots = [system.boot_milliseconds() for _ in range(100)]
    assert boots == sorted(boots)
    assert system.now() >= 1_700_000_000_000


@pytest.mark.case(48)
def test_durations_are_measured_on_a_clock_that_goes_on_in_sleep_where_there_is_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if hasattr(time, "CLOCK_BOOTTIME"):
        before = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
        assert before <= RealSystem().boot_milliseconds() <= before + 60_000
        monkeypatch.delattr(time, "CLOCK_BOOTTIME")
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1_000_000
    assert before <= RealSystem().boot_milliseconds() <= before + 60_000


def test_an_id_is_a_ulid_as_its_specification_spells_it() -> None:
    # The example of the ULID specification: time 1469918176385 begins with 01ARYZ6S41.
    assert make_id("run", Instant(1_469_918_176_385), bytes(10)) == "run_01ARYZ6S410000000000000000"
    assert make_id("run", Instant(2**48 - 1), bytes([255] * 10)) == "run_7ZZZZZZZZZZZZZZZZZZZZZZZZZ"


@given(earlier=times, later=times, first=randomness, second=randomness)
def test_ids_of_later_milliseconds_sort_later(earlier: Instant, later: Instant, first: bytes, second: bytes) -> None:
    if earlier == later:
        assert (make_id("run", earlier, first) == make_id("run", later, second)) is (first == second)
    else:
        order = make_id("run", earlier, first) < make_id("run", later, second)
        assert order is (earlier < later)


@pytest.mark.parametrize(
    ("prefix", "now", "random"),
    [
        ("run", -1, bytes(10)),
        ("run", 2**48, bytes(10)),
        ("run", 0, bytes(9)),
        ("Run", 0, bytes(10)),
        ("r", 0, bytes(10)),
        ("run_", 0, bytes(10)),
    ],
)
def test_an_id_that_could_not_be_read_back_is_not_made(prefix: str, now: int, random: bytes) -> None:
    with pytest.raises(InvalidError):
        make_id(prefix, Instant(now), random)


def test_a_frozen_system_stands_still_until_it_is_told() -> None:
    system = FrozenSystem(seconds=100)
    assert [system.now(), system.now(), system.boot_milliseconds()] == [100_000, 100_000, 0]
    assert system.advance(seconds=2, milliseconds=5) == system.now() == 102_005
    assert system.boot_milliseconds() == 2005


@pytest.mark.case(47)
def test_a_jump_moves_the_wall_clock_alone() -> None:
    system = FrozenSystem(seconds=10_000)
    assert system.jump(seconds=-3600) == system.now() == 6_400_000
    assert system.boot_milliseconds() == 0
    with pytest.raises(InvalidError, match="jump"):
        system.advance(seconds=-1)


def test_frozen_systems_of_one_seed_repeat_and_of_two_differ() -> None:
    def sample(seed: int) -> list[object]:
        system = FrozenSystem(seed=seed)
        return [system.new_id("run"), system.random_bytes(8), system.new_id("lease")]

    assert sample(1) == sample(1)
    assert sample(1) != sample(2)


def test_threads_may_share_a_frozen_system() -> None:
    system = FrozenSystem(seconds=0)

    def step(_: int) -> str:
        system.advance(milliseconds=1)
        return system.new_id("run")

    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(step, range(500)))
    assert len(set(ids)) == 500
    assert system.now() == system.boot_milliseconds() == 500


def test_ids_are_different_over_many_drawings_and_threads() -> None:
    system = RealSystem()
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: system.new_id("run").removeprefix("run_")[10:], range(2000)))
    assert len(set(made)) == len(made)


def test_process_that_was_forked_takes_no_chance_that_its_parent_drew(monkeypatch: pytest.MonkeyPatch) -> None:
    system = RealSystem()
    system.new_id("run")
    inherited = {make_id("run", Instant(0), piece)[-16:] for _, piece in system._drawn}
    assert len(inherited) > 10
    monkeypatch.setattr("leasehold.system.os.getpid", lambda: -1)
    assert inherited.isdisjoint(system.new_id("run")[-16:] for _ in range(200))


def test_time_of_a_database_is_what_was_heard_of_it_and_what_has_passed_since() -> None:
    """Whatever the machine's own wall clock does meanwhile."""

    class Machine(RealSystem):
        wall, boot = 1_000_000, 500

        def now(self) -> Instant:
            return Instant(self.wall)

        def boot_milliseconds(self) -> int:
            return self.boot

    machine = Machine()
    system = DatabaseTime(machine)
    assert system.now() == 1_000_000
    system.hear(Instant(9_000_000))
    machine.boot, machine.wall = 1500, 7
    assert system.now() == 9_001_000
    system.hear(Instant(2_000_000))
    assert system.now() == 2_000_000
    assert system.new_id("run") > make_id("run", Instant(1_999_999), bytes([255] * 10))
