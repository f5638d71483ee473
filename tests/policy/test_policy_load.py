"""A policy file becomes one accepted policy: what each key comes to, what holds where nothing is said."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from policy_worlds import EXAMPLE, changed, line_of, load

from leasehold.errors import ConfigError, InvalidError
from leasehold.model.budget import MICROS
from leasehold.model.effect import ApprovalMode, Effect
from leasehold.policy.cases import run_tests
from leasehold.policy.document import Breaker, Policy, Power, Rate
from leasehold.policy.lines import key_lines
from leasehold.policy.load import Source, load_policy

SMALL = """\
version = 1
authority = "solo"
[actions]
"note.write" = { effect = "write", args = { page = "page" } }
[routes.notes]
for = { agents = ["*"], tenants = ["me"], environments = ["*"] }
allow."note.write" = { page = ["**"] }
approvers = ["requester"]
"""


@pytest.mark.requirement("P3", "P4", "P7")
def test_the_example_policy_loads_and_its_own_tests_pass() -> None:
    policy = load(EXAMPLE)
    assert run_tests(policy) == []
    assert sorted(policy.routes) == ["ci/deploy", "db/migrate", "support/close"]
    assert policy.roles["operator"].can == tuple(sorted(set(Power) - {Power.POLICY}))
    assert policy.people["user:ana"] == ("oncall", "release")


@pytest.mark.requirement("P3", "B8", "B9")
def test_a_route_says_all_that_its_table_says() -> None:
    route = load(EXAMPLE).routes["support/close"]
    assert route.budget == {"calls": 25 * MICROS, "tool_seconds": 60 * MICROS, "usd": MICROS}
    assert (route.run_ttl_seconds, route.answer_within_seconds) == (1800, 600)
    assert (route.ttl_seconds, route.max_ttl_seconds) == (300, 900)
    assert route.approve == {"ticket.update": ApprovalMode.NONE, "ticket.close": ApprovalMode.CALL}
    assert (route.delegation.depth, route.delegation.children) == (1, 2)
    assert route.delegation.actions == ("ticket.update",)
    assert route.breaker == Breaker(errors=Rate(percent=50, of=20))
    assert route.ends_on == ("ticket.close",)


@pytest.mark.requirement("B8", "B9", "L8")
def test_what_a_route_does_not_say_is_finite_and_delegates_nothing() -> None:
    route = load(EXAMPLE).routes["ci/deploy"]
    assert route.budget == {"calls": 100 * MICROS, "tool_seconds": 600 * MICROS}
    assert (route.delegation.depth, route.delegation.children, route.delegation.actions) == (0, 0, ())
    assert route.breaker is None


def test_defaults_reach_every_route_that_does_not_say_otherwise() -> None:
    text = (
        SMALL + '[defaults]\nbudget = { calls = 7 }\ntimeout = "5s"\nanswer_within = "2h"\nttl = 60\nrun_ttl = "1h"\n'
    )
    policy = load(text)
    route = policy.routes["notes"]
    assert route.budget == {"calls": 7 * MICROS, "tool_seconds": 600 * MICROS}
    assert (route.answer_within_seconds, route.ttl_seconds, route.run_ttl_seconds) == (7200, 60, 3600)
    assert policy.defaults.timeout_seconds == 5


@pytest.mark.requirement("P15")
@pytest.mark.parametrize(
    ("percent", "of", "limit"), [(50, 20, 10), (50, 5, 3), (1, 1, 1), (100, 200, 200), (1, 200, 2)]
)
def test_a_rate_is_reached_by_the_first_whole_number_of_calls_that_is_no_less(
    percent: int, of: int, limit: int
) -> None:
    assert Rate(percent=percent, of=of).limit == limit


@pytest.mark.requirement("L3")
def test_a_ttl_of_its_own_is_also_the_longest_that_a_route_gives() -> None:
    route = load(changed("approvers", 'ttl = "2m"\napprovers', SMALL)).routes["notes"]
    assert (route.ttl_seconds, route.max_ttl_seconds) == (120, 120)


@pytest.mark.requirement("L3")
def test_a_lower_maximum_lowers_the_default_ttl_too() -> None:
    route = load(SMALL + '[defaults]\nmax_ttl = "1m"\n').routes["notes"]
    assert (route.ttl_seconds, route.max_ttl_seconds) == (60, 60)


def test_an_action_says_all_that_its_table_says() -> None:
    wide = (
        '{ effect = "write", args = { page = "page" }, cost = { usd = "0.05", tokens = "all" }, timeout = "10s", '
        'idempotent = true, fresh = "20s", uses = ["note.write"], redact = ["body"], headline = "Write {page} {{x}}" }'
    )
    text = changed('{ effect = "write", args = { page = "page" } }', wide, SMALL)
    text = changed("approvers", "budget = { usd = 1, tokens = 500 }\napprovers", text)
    rule = load(text).actions["note.write"]
    assert rule.effect is Effect.WRITE
    assert rule.cost == {"usd": 50_000, "tokens": None}
    assert (rule.timeout_seconds, rule.fresh_seconds, rule.idempotent) == (10, 20, True)
    assert (rule.uses, rule.redact, rule.headline) == (("note.write",), ("body",), "Write {page} {{x}}")


@pytest.mark.requirement("P14")
def test_a_key_may_be_named_by_the_argument_that_its_attribute_is_read_from() -> None:
    assert load(EXAMPLE).actions["ticket.close"].key == ("ticket",)
    assert load(changed('key = ["ticket_id"]', 'key = ["ticket"]')).actions["ticket.close"].key == ("ticket",)


def test_several_files_make_one_policy_whatever_their_order() -> None:
    head, tail = EXAMPLE.split("[routes.", 1)
    one = load(EXAMPLE)
    files = [Source("a.toml", head), Source("b.toml", "[routes." + tail)]
    assert load_policy(files) == one
    assert load_policy(files[::-1]).hash == one.hash


def test_the_tests_of_a_later_file_are_faulted_at_their_own_line() -> None:
    second = '[[tests]]\nroute = "ci/deploy"\nrefuses = ["db.query"]\n[[tests]]\nroute = "ci/deplo"\n'
    with pytest.raises(ConfigError, match=r'b\.toml:5: unknown route "ci/deplo"; did you mean "ci/deploy"\?'):
        load_policy([Source("a.toml", EXAMPLE), Source("b.toml", second)])


def test_hash_covers_what_decides_and_not_tests_order_or_comments() -> None:
    policy = load(EXAMPLE)
    assert policy.hash.startswith("sha256:")
    assert len(policy.hash) == len("sha256:") + 64
    assert load("# a word\n" + EXAMPLE).hash == policy.hash
    assert load(EXAMPLE.split("[[tests]]")[0]).hash == policy.hash
    assert load(changed('["oncall", "release"]', '["release", "oncall"]')).hash == policy.hash
    assert load(changed("replicas = { max = 3 }", "replicas = { max = 4 }")).hash != policy.hash
    assert load(changed("24 h", "23 h")).hash != policy.hash


def test_a_stored_policy_is_read_back_equal() -> None:
    policy = load(EXAMPLE)
    again = Policy.from_json(policy.to_json())
    assert again == policy
    assert again.hash == policy.hash


@pytest.mark.parametrize("damage", [{"versoin": 1}, {"version": 2}, {"routes": {"x": {}}}, {"actions": []}])
def test_a_stored_policy_of_another_shape_is_refused(damage: dict[str, object]) -> None:
    with pytest.raises(InvalidError):
        Policy.from_json({**load(EXAMPLE).to_json(), **damage})


@pytest.mark.requirement("P2")
def test_an_unclassified_action_is_destructive() -> None:
    policy = load(EXAMPLE)
    assert not policy.is_classified("db.drop")
    assert policy.action("db.drop").effect is Effect.DESTRUCTIVE
    assert policy.route("nowhere") is None


ODD_TOML = '''\
# every way to write a key
a = 1
"b.c" = { "d e" = "}", f.'g' = [1, { h = "]" }, [2, 3]] }
i = """
j = "not a key"
"""
k = \'\'\'
[not.a.table]\'\'\'
l = """a ""quoted"" end"""""
[m."n"] # [x]
o = "a \\" # b"
p = [
  "one", # comment, with = and [
  "two",
]
[[q]]
r = 1
[[q]]
[q.s]
t = 2026-01-01T00:00:00Z
'''


def test_every_key_is_found_on_its_line() -> None:
    lines = key_lines(ODD_TOML)
    assert lines["a",] == 2
    assert lines["b.c", "d e"] == lines["b.c", "f", "g", "1", "h"] == 3
    assert (lines["i",], lines["k",], lines["l",]) == (4, 7, 9)
    assert (lines["m", "n"], lines["m", "n", "o"]) == (10, 11)
    assert (lines["m", "n", "p", "0"], lines["m", "n", "p", "1"]) == (13, 14)
    assert (lines["q", "0", "r"], lines["q", "1"], lines["q", "1", "s", "t"]) == (17, 18, 20)
    assert key_lines(ODD_TOML.replace("\n", "\r\n")) == lines


def paths_of(value: object, keys: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    if isinstance(value, dict):
        below = [paths_of(member, (*keys, name)) for name, member in value.items()]
    elif isinstance(value, list):
        below = [paths_of(member, (*keys, str(index))) for index, member in enumerate(value)]
    else:
        below = []
    return set().union({keys} if keys else set(), *below)


def test_the_lines_of_the_example_are_those_of_all_its_keys() -> None:
    for text in (EXAMPLE, ODD_TOML, SMALL):
        assert key_lines(text).keys() == paths_of(tomllib.loads(text))


KEYS = st.sampled_from(["a", "b-1", '"c.d"', "'e'", '"f\\"g"', "h.i", 'j . "k"'])
SCALARS = st.sampled_from(
    ["1", "true", '"x"', "'#'", '"]"', '"""m\nn"""', "'''o\n''p'''", "1.5", "2026-01-01", '"\\\\"']
)
TOML_VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda members: "[" + ",\n".join(members) + "]"),
        st.dictionaries(KEYS, inner, max_size=2).map(
            lambda table: "{ " + ", ".join(f"{key} = {value}" for key, value in table.items()) + " }"
        ),
    ),
    max_leaves=8,
)


@given(
    st.lists(
        st.tuples(st.sampled_from(["", "\n", "# c\n", "[t]\n", "[u.v]\n", "[[w]]\n"]), KEYS, TOML_VALUES), max_size=5
    )
)
def test_every_key_of_any_toml_text_is_found(parts: list[tuple[str, str, str]]) -> None:
    text = "".join(f"{before}{key} = {value}\n" for before, key, value in parts)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    lines = key_lines(text)
    assert lines.keys() == paths_of(document)
    assert all(1 <= line <= text.count("\n") + 1 for line in lines.values())


def test_line_of_finds_what_the_loader_names() -> None:
    text = changed('approvers = ["dba"]', 'approvers = ["dba"]\nquorum = 0')
    with pytest.raises(ConfigError) as caught:
        load(text)
    assert caught.value.line == line_of("quorum", text)
    assert caught.value.path == "leasehold.toml"
