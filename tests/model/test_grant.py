"""Names, values, constraints and grants: what may be written, what passes, what is refused (threat cases 15, 24-31)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasehold.errors import InvalidError
from leasehold.model.grant import (
    ANY,
    Grant,
    MaxLength,
    OneOf,
    Prefix,
    Range,
    check_action,
    check_attribute_name,
    check_attributes,
    check_deny_pattern,
    grants_from_json,
    grants_to_json,
    matches_action,
    parse_constraint,
    split_action,
)
from leasehold.model.text import MAX_VALUE

REPO = parse_constraint(["repo/a"])
BELOW = parse_constraint(["repo/a/*"])
DEEP = parse_constraint(["repo/a/**"])


@pytest.mark.requirement("L9")
@pytest.mark.case(24)
@pytest.mark.parametrize(
    ("value", "exact", "below", "deep"),
    [
        ("repo/a", True, False, False),
        ("repo/ab", False, False, False),
        ("repo/a/b", False, True, True),
        ("repo/a/b/c", False, False, True),
        ("repo/A", False, False, False),
        ("xrepo/a", False, False, False),
        ("repo", False, False, False),
        ("", False, False, False),
    ],
)
def test_a_path_is_matched_by_segments(value: str, exact: bool, below: bool, deep: bool) -> None:
    assert (REPO.covers(value), BELOW.covers(value), DEEP.covers(value)) == (exact, below, deep)
    assert ANY.covers(value)


@pytest.mark.requirement("L9", "P1")
@pytest.mark.case(24, 25, 26, 29, 30, 19, 16)
@pytest.mark.parametrize(
    "value",
    [
        "repo/a/../b", "repo/a//b", "repo/a/.", "repo/a/", "/etc", "..", ".", "../x", "a/./b",
        "a%2e%2e", "a%252e", "a%2fb", "a%5Cb", "a%c0%ae", "a%00", "a;x=1", "a\\b",
        "a\n", "a ", " a", "a\0", "a\tb", "\ufeffa", "a\u200bb", "a\u202eb", "a\u00adb", "a\u3164b", "a\ufe0f",
        "e\u0301", "\u212a", "\ud800", "a\ue000", "a*", "a*b", "", "x" * (MAX_VALUE + 1),
    ],
)  # fmt: skip
def test_a_value_that_two_readers_could_take_differently_is_refused(value: str) -> None:
    with pytest.raises(InvalidError):
        check_attributes({"path": value})
    if not value.endswith("*"):
        with pytest.raises(InvalidError):
            parse_constraint([value])


@pytest.mark.case(26, 27, 28, 30)
@pytest.mark.parametrize(
    ("allowed", "other"),
    [
        ("K", "k"),
        ("admin", "аdmin"),
        ("s", "ſ"),
        ("i", "ı"),
        ("1", "１"),
        ("a/c", "℀"),
        ("..x", "．．x"),
        ("a b", "a+b"),
        ("a?b", "axb"),
        ("a[b]", "ab"),
        ("a,b", "a"),
        ("T-1", "t-1"),
    ],
)
def test_look_alikes_and_pattern_characters_are_taken_exactly(allowed: str, other: str) -> None:
    constraint = parse_constraint([allowed])
    assert constraint.covers(check_attributes({"it": allowed})["it"][0])
    assert not constraint.covers(check_attributes({"it": other})["it"][0])
    assert not parse_constraint([f"{allowed}*"]).covers(other)


@pytest.mark.case(15)
def test_values_of_another_type_never_pass_but_for_any() -> None:
    values = [1, "1", True, "true", 0, False, "0"]
    for allowed in values:
        passed = [value for value in values if parse_constraint([allowed]).covers(value)]
        assert [(type(value), value) for value in passed] == [(type(allowed), allowed)]
    assert all(ANY.covers(value) for value in values)
    assert parse_constraint([True]) != parse_constraint([1])
    assert parse_constraint([1]) == parse_constraint([1])
    assert hash(parse_constraint([True])) != hash(parse_constraint([1]))
    assert parse_constraint([1]) != "[1]"


@pytest.mark.parametrize(
    ("table", "inside", "outside"),
    [
        ({"max": 3}, [3, 0, -(2**53) + 1], [4, "3", True, False, 2**53]),
        ({"min": 1}, [1, 2**53 - 1], [0, -1, "1", True, 2**60]),
        ({"min": 1, "max": 1}, [1], [0, 2, "1", True]),
        (
            {"max": "1.00"},
            ["1", "0.999999", "-5", "1.000000"],
            ["1.000001", 1, "1.0000001", "1e0", "１", " 1", "1\n", "+1"],
        ),
        ({"min": "-0.5", "max": "0"}, ["-0.5", "0", "-0", "-0.000001"], ["-0.500001", "0.000001", 0, "01", ".1", "1."]),
        ({"max_length": 2}, ["", "ab", "é", "１２"], ["abc", 1, True]),
    ],
)
def test_ranges_and_lengths_hold_their_bounds(
    table: dict[str, object], inside: list[object], outside: list[object]
) -> None:
    constraint = parse_constraint(table)
    assert [value for value in inside if not constraint.covers(value)] == []
    assert [value for value in outside if constraint.covers(value)] == []
    assert constraint.to_json() == dict(sorted(table.items()))
    assert not constraint.is_exact


@pytest.mark.requirement("P1")
@pytest.mark.case(14, 15)
@pytest.mark.parametrize(
    ("written", "message"),
    [
        ([], "1 to 256 values"),
        (list(range(257)), "1 to 256 values"),
        (["a", "a"], "stands twice"),
        (["a*", "a*"], "stands twice"),
        ([None], "type NoneType"),
        ([1.5], "1.5 is no string"),
        ([float("nan")], "nan is no string"),
        ([["a"]], "type list"),
        ([2**53], "outside"),
        ([10**5000], "outside"),
        ([-(2**53)], "outside"),
        (["a**"], "stands alone or after a '/'"),
        (["***"], "stands alone or after a '/'"),
        (["a*b*"], "kept for patterns"),
        (["/*"], "path segment"),
        (["a//*"], "path segment"),
        (["../*"], "must not be"),
        (["a\n*"], "hidden character"),
        ({}, "min, max or max_length"),
        ({"max": 1, "max_length": 2}, "min, max or max_length"),
        ({"regex": "a"}, "min, max or max_length"),
        ({1: 2}, "min, max or max_length"),
        ({"max": True}, "an integer within"),
        ({"max": 1.5}, "an integer within"),
        ({"max": None}, "needs min or max"),
        ({"min": 1, "max": "3"}, "both integers or both decimal strings"),
        ({"max": "1.0000001"}, "decimal string"),
        ({"max": "x"}, "decimal string"),
        ({"max": 10**5000}, "an integer within"),
        ({"min": 2, "max": 1}, "holds nothing"),
        ({"min": "0.2", "max": "0.1"}, "holds nothing"),
        ({"max_length": 0}, "positive integer"),
        ({"max_length": True}, "positive integer"),
        ({"max_length": "3"}, "positive integer"),
        ("T-*", "write a list"),
        (3, "write a list"),
        (None, "write a list"),
    ],
)
def test_a_constraint_that_is_unclear_or_empty_is_refused(written: object, message: str) -> None:
    with pytest.raises(InvalidError, match=message):
        parse_constraint(written)


def test_a_list_is_kept_in_one_order_and_written_back() -> None:
    mixed = parse_constraint(["b*", "b", 2, True, "a", "a/**", 1])
    assert mixed == parse_constraint(["a/**", 1, True, "a", "b", "b*", 2])
    assert mixed.to_json() == [True, 1, 2, "a", "b", "a/**", "b*"]
    assert parse_constraint(mixed.to_json()) == mixed
    assert (ANY.to_json(), ANY.is_any, ANY.is_exact) == (["**"], True, False)
    assert parse_constraint(["**"]) == ANY
    assert parse_constraint(["a"]).is_exact


def test_any_is_within_nothing_but_any() -> None:
    for narrower in (OneOf(("a",)), Range(max=1), MaxLength(3), OneOf((), (Prefix("a"),))):
        assert narrower.within(ANY)
        assert not ANY.within(narrower)
    assert ANY.within(ANY)


@pytest.mark.case(15, 16)
@pytest.mark.parametrize(
    "values", [{"a": None}, {"a": []}, {"a": [None]}, {"a": ["x", None]}, {"a": 1.0}, {"a": {}}, {"a": [["x"]]}]
)
def test_a_missing_null_empty_or_nested_attribute_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(InvalidError, match="attribute a"):
        check_attributes(values)


def test_attributes_are_checked_value_by_value() -> None:
    assert check_attributes({"a": "x", "b": [1, True], "c": ("y",)}) == {"a": ("x",), "b": (1, True), "c": ("y",)}


GRANT = Grant("t.close", {"ticket": OneOf(("T-1", "T-2")), "level": Range(max=3)})


@pytest.mark.requirement("L9")
def test_a_grant_covers_a_call_only_as_a_whole() -> None:
    assert GRANT.covers({"ticket": ("T-1",), "level": (3,)})
    assert GRANT.covers({"ticket": ("T-1", "T-2"), "level": (3,)})
    assert GRANT.failing({"ticket": ("T-1",), "level": (3,)}) is None
    assert GRANT.failing({"ticket": ("T-1", "T-3"), "level": (3,)}) == "ticket"
    assert GRANT.failing({"ticket": (), "level": (3,)}) == "ticket"
    assert GRANT.failing({"level": (3,)}) == "ticket"
    assert GRANT.failing({"ticket": ("T-1",), "level": (3,), "more": (1,)}) == "more"
    assert GRANT.failing({}) == "level"
    assert Grant("t.look").covers({})
    assert not GRANT.is_exact
    assert Grant("t.close", {"ticket": OneOf(("T-1",))}).is_exact


@pytest.mark.requirement("C4")
def test_narrowing_takes_bare_values_lists_and_tables_and_never_widens() -> None:
    assert GRANT.narrow({"ticket": "T-1"}).attributes["ticket"] == OneOf(("T-1",))
    assert GRANT.narrow({"level": 2}).attributes["level"] == OneOf((2,))
    assert GRANT.narrow({"level": {"min": 1, "max": 2}}).within(GRANT)
    assert GRANT.narrow({}) == GRANT
    for wider in (
        {"ticket": "T-3"},
        {"ticket": ["**"]},
        {"level": 4},
        {"level": True},
        {"other": 1},
        {"level": {"min": 0}},
    ):
        with pytest.raises(InvalidError, match="not within what"):
            GRANT.narrow(wider)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ([], "write a table of actions"),
        ({"t.close": ["T-1"]}, "write a table of attributes"),
        ({"close": {}}, "is not tool.verb"),
        ({"t.close": {"ti-cket": ["x"]}}, "is not an attribute name"),
        ({"t.close": {"ticket": []}}, "t.close: ticket: a list of 1"),
    ],
)
def test_written_grants_are_refused_with_action_and_attribute(written: object, message: str) -> None:
    with pytest.raises(InvalidError, match=message):
        grants_from_json(written)


def test_grants_are_written_in_sorted_order() -> None:
    written = {"t.b": {"y": ["1"], "x": {"max": 2}}, "t.a": {}}
    shown = grants_to_json(grants_from_json(written))
    assert list(shown) == ["t.a", "t.b"]
    assert list(shown["t.b"]) == ["x", "y"]


@pytest.mark.parametrize(
    ("name", "tool", "verb"),
    [
        ("ticket.close", "ticket", "close"),
        ("deploy.prod.release:create", "deploy.prod", "release:create"),
        ("a/b.c-d_e", "a/b", "c-d_e"),
    ],
)
def test_an_action_is_split_at_its_last_dot(name: str, tool: str, verb: str) -> None:
    assert check_action(name) == name
    assert split_action(name) == (tool, verb)


@pytest.mark.requirement("P1")
@pytest.mark.case(24, 27, 28, 29)
@pytest.mark.parametrize(
    "name",
    ["close", "", ".close", "ticket.", "ticket..close", "ticket.cl ose", "ticket.close\n", "ticket.a/b", "ticket.*",
     "*", "tіcket.close", "ticket.ｃlose", "a/../b.c", "a//b.c", "x" * 200 + ".y", 7, None],
)  # fmt: skip
def test_what_is_no_tool_and_verb_is_no_action(name: object) -> None:
    with pytest.raises(InvalidError):
        check_action(name)


@pytest.mark.parametrize("name", ["", "1a", "a-b", "a b", "a" * 65, "a\n", "é", 3])
def test_what_is_no_attribute_name_is_refused(name: object) -> None:
    with pytest.raises(InvalidError, match="is not an attribute name"):
        check_attribute_name(name)


@pytest.mark.requirement("P1")
@pytest.mark.case(31)
def test_a_deny_pattern_names_one_action_or_all_below_a_tool() -> None:
    for pattern in ("ticket.close", "deploy.prod.*", "ticket.*", "*"):
        assert check_deny_pattern(pattern) == pattern
    assert matches_action("deploy.*", "deploy.prod.release:create")
    assert matches_action("deploy.prod.*", "deploy.prod.release:create")
    assert matches_action("*", "anything.at_all")
    for other in ("deploy.production.create", "deployment.x", "deploy"):
        assert not matches_action("deploy.prod.*", other)
    assert not matches_action("ticket.close", "ticket.closed")


@pytest.mark.requirement("P1")
@pytest.mark.parametrize(
    "pattern", ["", "ticket", "ticket*", "**", "*.close", "ticket.cl*", ".*", "a..*.*", "ticket.* ", "Ticket.é"]
)
def test_a_deny_pattern_that_could_match_nothing_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidError):
        check_deny_pattern(pattern)


@given(st.text(max_size=30))
def test_any_text_is_either_a_value_that_matches_only_itself_or_refused(text: str) -> None:
    try:
        (value,) = check_attributes({"it": text})["it"]
    except InvalidError:
        return
    assert value == text
    assert parse_constraint([text]).covers(text)
    assert ANY.covers(text)
    assert not parse_constraint([text]).covers(text + "x")
    assert parse_constraint([text + "*"]).covers(text + "x")
    assert not parse_constraint([text + "*"]).covers(text + "/x")


class Counted(str):
    """A string that counts how often it is looked at."""

    looks = 0

    def startswith(self, *arguments: object) -> bool:
        type(self).looks += 1
        return super().startswith(*arguments)  # type: ignore[arg-type]  # passed on as it came


@pytest.mark.case(36)
def test_matching_looks_once_at_a_value_for_each_entry_however_long_it_is() -> None:
    entries = ["ab/" * size + "x*" for size in range(1, 257)]
    constraint = parse_constraint(entries)
    Counted.looks = 0
    assert not constraint.covers(Counted("ab/" * (MAX_VALUE // 3)))
    assert Counted.looks == len(entries)
