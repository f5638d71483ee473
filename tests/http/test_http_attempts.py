"""How often somebody may try to sign in: by whatever name, from however many addresses, and whoever else tries."""

from __future__ import annotations

import pytest
from house import House

from leasehold.http.attempts import Attempts
from leasehold.testing.clock import FrozenSystem
from stage import BEN

pytestmark = pytest.mark.requirement("F3")


def tried(attempts: Attempts, tries: list[tuple[str, str]]) -> int:
    """How many of these tries were let in."""
    return sum(attempts.begin(name, address) == 0 for name, address in tries)


def test_one_person_is_guessed_at_under_one_name_however_it_is_typed(house: House) -> None:
    house.person(BEN)
    browser = house.browser()
    token = browser.get("/sign-in").token("/sign-in")
    typed = ["ben", "user:ben", " ben", "ben  ", "\tben", "  user:ben", "\nben\n", "ben\r", " ben "]
    forms = [{"token": token, "person": name, "password": "wrong horse battery"} for name in typed]
    assert [browser.post("/sign-in", form).status for form in forms] == [403] * 5 + [429] * 4
    assert house.hasher.asked == 5


def test_addresses_of_one_network_are_one_address() -> None:
    attempts = Attempts(FrozenSystem())
    assert tried(attempts, [(f"user:{name}", f"2001:db8:0:7::{name:x}") for name in range(60)]) == 20
    assert tried(attempts, [("user:ben", "2001:db8:0:8::1")]) == 1
    assert tried(attempts, [(f"user:x{name}", f"::ffff:192.0.2.{name}") for name in range(60)]) == 60
    assert tried(attempts, [("user:ben", f"::ffff:192.0.2.{bits}") for bits in (99, 99, 99)]) == 3
    assert tried(attempts, [("user:ben", "192.0.2.99")] * 9) == 2


def test_what_is_not_let_in_pushes_nothing_out_that_is_remembered() -> None:
    attempts = Attempts(FrozenSystem())
    assert tried(attempts, [("user:ben", f"192.0.2.{last}") for last in range(90)]) == 50
    assert tried(attempts, [(f"user:{name}", "198.51.100.1") for name in range(20_100)]) == 20
    assert attempts.begin("user:ben", "203.0.113.1") > 0


def test_strangers_do_not_keep_somebody_out_where_they_came_in_before() -> None:
    attempts = Attempts(FrozenSystem())
    attempts.begin("user:ben", "203.0.113.1")
    attempts.succeeded("user:ben", "203.0.113.1")
    assert tried(attempts, [("user:ben", f"192.0.2.{last}") for last in range(90)]) == 50
    assert attempts.begin("user:ben", "203.0.113.2") > 0
    assert tried(attempts, [("user:ben", "203.0.113.1")] * 9) == 5
    assert attempts.begin("user:ben", "203.0.113.1") > 0


def test_what_is_kept_is_bounded_and_forgotten_after_an_hour() -> None:
    system = FrozenSystem()
    attempts = Attempts(system)
    for name in range(20_001):
        attempts.succeeded(f"user:{name}", "203.0.113.1")
    assert tried(attempts, [("user:0", f"192.0.2.{last}") for last in range(90)]) == 50
    assert attempts.begin("user:0", "203.0.113.1") > 0
    assert tried(attempts, [("user:ben", "not an address")] * 9) == 5
    system.advance(seconds=3601)
    assert tried(attempts, [("user:ben", "not an address")] * 9) == 5
