"""What a child may do, its parent may do: narrowing against an independent oracle (threat cases 37, 38, 40)."""

from __future__ import annotations

import random
from functools import cache
from itertools import pairwise

import pytest
from containment_oracle import UNIVERSE, Value, Written, passes, permits, segments

from leasehold.model.grant import (
    Attributes,
    Constraint,
    Grant,
    MaxLength,
    OneOf,
    Range,
    grants_from_json,
    grants_to_json,
    grants_within,
    parse_constraint,
)

WrittenGrants = dict[str, dict[str, Written]]

NAMES = [*segments("ab", 2), "a/b", "b/a", "ab/a"]
ENTRIES: list[object] = [
    *NAMES,
    *(f"{name}*" for name in NAMES),
    *(f"{name}/*" for name in NAMES[:4]),
    *(f"{name}/**" for name in NAMES[:4]),
    "*", "0", "1", "1.0", 0, 1, 2, 3, True, False,
]  # fmt: skip
TABLES: list[Written] = [
    {"max_length": 1}, {"max_length": 2}, {"max_length": 9},
    *({"min": low, "max": high} for low in (0, 1, 2) for high in (2, 3)),
    *({"max": high} for high in (0, 3)), *({"min": low} for low in (0, 3)),
    {"min": "0", "max": "1"}, {"min": "0.5", "max": "2"}, {"max": "1.0"}, {"min": "1"}, {"max": "3"}, {"min": "-1"},
]  # fmt: skip


def random_constraint(chance: random.Random) -> Written:
    """A written constraint: mostly a short list, sometimes a table, sometimes anything at all."""
    kind = chance.random()
    if kind < 0.05:
        return ["**"]
    if kind < 0.3:
        return chance.choice(TABLES)
    return chance.sample(ENTRIES, chance.choice((1, 1, 2, 3)))


def show(constraint: Constraint) -> str:
    return str(constraint.to_json())


@cache
def passing(written: str) -> frozenset[tuple[type, Value]]:
    """By the oracle, the values of the universe that pass; each with its type, because True == 1."""
    return frozenset((type(value), value) for value in UNIVERSE if passes(READ[written], value))


READ: dict[str, Written] = {}


def listed(written: Written) -> frozenset[tuple[type, Value]]:
    READ.setdefault(repr(written), written)
    return passing(repr(written))


def is_known_to_be_cautious(child: Constraint, parent: Constraint) -> bool:
    """Ranges and lengths are never compared with lists value by value; refusing what would fit is the safe side."""
    return isinstance(child, Range | MaxLength) and type(child) is not type(parent)


@pytest.mark.requirement("B9")
@pytest.mark.case(15, 38)
def test_every_constraint_lets_exactly_the_values_through_that_the_oracle_does() -> None:
    chance = random.Random(38)
    for _ in range(300):
        written = random_constraint(chance)
        constraint = parse_constraint(written)
        through = {(type(value), value) for value in UNIVERSE if constraint.covers(value)}
        assert through == listed(written), show(constraint)


@pytest.mark.requirement("B9")
@pytest.mark.invariant("I6")
@pytest.mark.case(37, 38)
def test_within_agrees_with_listing_every_value_over_forty_thousand_pairs() -> None:
    chance = random.Random(37)
    written = [random_constraint(chance) for _ in range(200)]
    parsed = [parse_constraint(each) for each in written]
    lists = [listed(each) for each in written]
    seen_within = 0
    for child, inside in zip(parsed, lists, strict=True):
        for parent, outside in zip(parsed, lists, strict=True):
            claimed = child.within(parent)
            seen_within += claimed
            if claimed:
                assert inside <= outside, f"{show(child)} is not within {show(parent)}"
            elif not is_known_to_be_cautious(child, parent):
                assert not inside <= outside, f"{show(child)} is within {show(parent)}"
    assert seen_within > 2_000


def narrower(chance: random.Random, written: Written) -> Written:
    """A constraint that the model says is within another; the other itself where none is found quickly."""
    parent = parse_constraint(written)
    for _ in range(5):
        candidate = random_constraint(chance)
        if parse_constraint(candidate).within(parent):
            return candidate
    if isinstance(written, list) and len(written) > 1:
        return chance.sample(written, len(written) - 1)
    return written


ACTIONS = ("t.one", "t.two", "u.three")
ATTRIBUTES = {"t.one": ("a",), "t.two": ("a", "b"), "u.three": ()}


def random_grants(chance: random.Random) -> WrittenGrants:
    names = chance.sample(ACTIONS, chance.choice((1, 2, 3)))
    return {name: {key: random_constraint(chance) for key in ATTRIBUTES[name]} for name in names}


def random_child(chance: random.Random, parent: WrittenGrants) -> WrittenGrants:
    """Some of the parent's actions, each narrowed; now and then one attribute is anything, which may widen it."""
    names = chance.sample(sorted(parent), chance.randint(1, len(parent)))
    is_honest = chance.random() < 0.8
    return {
        name: {
            key: narrower(chance, written) if is_honest else random_constraint(chance)
            for key, written in parent[name].items()
        }
        for name in names
    }


def random_call(chance: random.Random, grants: WrittenGrants) -> tuple[str, dict[str, list[Value]]]:
    """A call that the grants are likely to allow, or any call at all."""
    action = chance.choice(sorted(grants) if chance.random() < 0.9 else ACTIONS)
    values: dict[str, list[Value]] = {}
    for key in ATTRIBUTES[action]:
        fitting = [value for _, value in listed(grants[action][key])] if action in grants else []
        source = fitting if fitting and chance.random() < 0.9 else UNIVERSE
        values[key] = [chance.choice(source) for _ in range(chance.choice((1, 1, 2)))]
    return action, values


@pytest.mark.requirement("B9", "L8")
@pytest.mark.invariant("I6")
@pytest.mark.case(37, 38)
def test_what_the_last_of_a_chain_allows_every_link_above_it_allows() -> None:
    """Chains of one to eight links; at least a hundred thousand calls judged by the model and by the oracle."""
    chance = random.Random(9)
    checks = allowed = refused_chains = 0
    while checks < 100_000:
        chain = [random_grants(chance)]
        for _ in range(chance.randint(0, 7)):
            chain.append(random_child(chance, chain[-1]))
        parsed = [grants_from_json(link) for link in chain]
        is_contained = all(grants_within(child, parent) is None for parent, child in pairwise(parsed))
        refused_chains += not is_contained
        for _ in range(10):
            action, attributes = random_call(chance, chain[-1])
            last = parsed[-1].get(action)
            is_allowed = last is not None and last.covers(as_attributes(attributes))
            assert is_allowed == permits(chain[-1], action, attributes)
            if is_allowed and is_contained:
                allowed += 1
                for link in chain[:-1]:
                    assert permits(link, action, attributes), (chain, action, attributes)
            checks += 1
    assert allowed > 20_000
    assert refused_chains > 500


def as_attributes(values: dict[str, list[Value]]) -> Attributes:
    return {name: tuple(each) for name, each in values.items()}


@pytest.mark.requirement("B9")
@pytest.mark.case(39, 40)
@pytest.mark.parametrize(
    "child",
    [
        {"t.two": {"a": ["x", "z"], "b": {"max": 3}}},
        {"t.two": {"a": ["*"], "b": {"max": 3}}},
        {"t.two": {"a": ["x"], "b": {"max": 4}}},
        {"t.two": {"a": ["x"], "b": {"min": 0}}},
        {"t.two": {"a": ["x"], "b": ["**"]}},
        {"t.two": {"a": ["x"]}},
        {"t.two": {"a": ["x"], "b": {"max": 3}, "c": ["x"]}},
        {"t.two": {}},
        {"t.two": {"a": ["x"], "b": {"max": "3"}}},
        {"t.two": {"a": ["x"], "b": {"max_length": 1}}},
        {"t.one": {"a": ["x"], "b": {"max": 3}}},
    ],
)
def test_a_child_that_widens_adds_or_drops_anything_is_refused_by_name(child: dict[str, object]) -> None:
    parent = grants_from_json({"t.two": {"a": ["x", "y"], "b": {"max": 3}}})
    assert grants_within(grants_from_json(child), parent) == next(iter(child))


@pytest.mark.requirement("B9")
def test_a_grant_is_within_itself_and_nothing_is_within_nothing() -> None:
    parent = grants_from_json({"t.two": {"a": ["x", "y"], "b": {"max": 3}}})
    assert grants_within(parent, parent) is None
    assert grants_within({}, parent) is None
    assert grants_within(parent, {}) == "t.two"
    forged = {"t.two": Grant("t.one", parent["t.two"].attributes)}
    assert grants_within(forged, parent) == "t.two"


@pytest.mark.case(23)
def test_random_grants_survive_writing_and_reading() -> None:
    chance = random.Random(23)
    for _ in range(500):
        grants = grants_from_json(random_grants(chance))
        assert grants_from_json(grants_to_json(grants)) == grants
        assert all(
            isinstance(entry, OneOf | Range | MaxLength)
            for each in grants.values()
            for entry in each.attributes.values()
        )
