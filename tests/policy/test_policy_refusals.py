"""What a policy file may not say: each refused with its file, its line and the nearest name."""

from __future__ import annotations

import pytest
from policy_worlds import EXAMPLE, changed, line_of, load

from leasehold.errors import ConfigError
from leasehold.policy.load import Source, load_policy

# name of the case: what is replaced, by what, a fragment of the line at fault, a fragment of the message
REPLACED = {
    "top key": ("[people]", "[peopel]", "[peopel]", 'unknown key "peopel" in the policy; did you mean "people"?'),
    "later key": ("[people]", "[credentials]\n[people]", "[credentials]", "not enforced by this version"),
    "version": ("version = 1", "version = 2", "version = 2", "version must be the whole number 1"),
    "version as text": ("version = 1", 'version = "1"', "version", "must be the whole number 1"),
    "version as flag": ("version = 1", "version = true", "version", "not true or false"),
    "no authority": ('authority = "acme-desk"\n', "", "version", 'the policy needs "authority"'),
    "authority": ('"acme-desk"', '"acme desk"', "authority", "is not a name"),
    "authority as number": ('"acme-desk"', "7", "authority", "authority must be a name in quotes"),
    "person": ('"user:ben"', '"user ben"', '"user ben"', "is not a name"),
    "roles of a person": ('["oncall", "release"]', '"oncall"', '"user:ana"', "must be a list of names"),
    "role twice": ('["oncall", "release"]', '["oncall", "oncall"]', '"user:ana"', 'holds "oncall" twice'),
    "reserved role": ('["oncall", "release"]', '["requester"]', '"user:ana"', "is no role"),
    "reserved role powers": ("operator = {", "requester = {", "requester = {", "is no role"),
    "role key": ("can = [", "cna = [", "operator = {", 'did you mean "can"?'),
    "role power": ('"hold"', '"hodl"', "operator = {", 'unknown power "hodl"; did you mean "hold"?'),
    "role power of the future": ('"hold"', '"approve"', "operator = {", "known: hold, lift, policy, query, revoke"),
    "role without tenants": (', tenants = ["acme"] }\n\n', " }\n\n", "operator = {", 'needs "tenants"'),
    "role for nobody": ('tenants = ["acme"] }\n\n', "tenants = [] }\n\n", "operator = {", "is empty"),
    "action name": ('"db.query"  ', '"query"  ', '"query"  ', "is not tool.verb"),
    "action key": (
        'args = { ticket = "ticket_id" } }',
        'arg = { ticket = "ticket_id" } }',
        '"ticket.update"',
        '"args"?',
    ),
    "preview as number": (
        "undo = ",
        "preview = 1, undo = ",
        '"ticket.close"',
        'actions."ticket.close".preview must be',
    ),
    "action is no table": ('"db.query"      = {', '"db.query" = 1\n"db.x" = {', '"db.query" = 1', "must be a table"),
    "no effect": ('{ effect = "read", args = { table', "{ args = { table", '"db.query"', 'needs "effect"'),
    "effect": ('"read", args = { table', '"raed", args = { table', '"db.query"', 'not "raed"; did you mean "read"?'),
    "effect far off": ('"read", args = { table', '"zzz", args = { table', '"db.query"', '"destructive", not "zzz"'),
    "effect as number": ('"read", args = { table', "1, args = { table", '"db.query"', "not that number"),
    "effect as list": ('"read", args = { table', "[1], args = { table", '"db.query"', "not an array"),
    "effect as float": ('"read", args = { table', "1.5, args = { table", '"db.query"', "not a float"),
    "effect as date": ('"read", args = { table', "2026-01-01, args = { table", '"db.query"', "not a date or time"),
    "attribute name": ('{ table = "table"', '{ "ta-ble" = "table"', '"db.query"', "is not an attribute name"),
    "attribute path": ('{ table = "table"', '{ table = "ta ble"', '"db.query"', "is no argument path"),
    "attribute path as number": ('{ table = "table"', "{ table = 1", '"db.query"', "must be an argument path"),
    "implies nothing known": (
        'implies = ["ticket.update"]',
        'implies = ["ticket.updaet"]',
        '"ticket.close"',
        'did you mean "ticket.update"?',
    ),
    "implies no action": ('implies = ["ticket.update"]', 'implies = ["update"]', '"ticket.close"', "is not tool.verb"),
    "implies itself": ('implies = ["ticket.update"]', 'implies = ["ticket.close"]', '"ticket.close"', "implies itself"),
    "implies in a circle": (
        'implies = ["ticket.update"]',
        'implies = ["ticket.bulk_close"]',
        '"ticket.close"',
        "implies itself",
    ),
    "implies unmapped": (
        'implies = ["ticket.update"]',
        'implies = ["db.query"]',
        '"ticket.close"',
        "no attribute named rows, table",
    ),
    "implies something stronger": (
        'read", args = { table = "table", rows = "limit" }',
        'read", args = { version = "v" }, implies = ["db.migrate"]',
        '"db.query"',
        "which is destructive, so it cannot be read",
    ),
    "uses": ("undo = ", 'uses = ["db.qurey"], undo = ', '"ticket.close"', 'did you mean "db.query"?'),
    "key attribute": ('key = ["ticket_id"]', 'key = ["tiket"]', '"ticket.close"', 'did you mean "ticket"?'),
    "key twice": ('key = ["ticket_id"]', 'key = ["ticket", "ticket_id"]', '"ticket.close"', "ambiguous"),
    "key of two meanings": (
        'args = { table = "table", rows = "limit" }',
        'args = { a = "b", b = "a" }, key = ["a"]',
        '"db.query"',
        '"a" is ambiguous',
    ),
    "cost of calls": ("undo = ", "cost = { calls = 2 }, undo = ", '"ticket.close"', "every call counts as one"),
    "cost of time": ("undo = ", "cost = { tool_seconds = 2 }, undo = ", '"ticket.close"', "declare timeout instead"),
    "cost of children": ("undo = ", "cost = { children = 2 }, undo = ", '"ticket.close"', "delegation.children"),
    "cost as float": ("undo = ", "cost = { usd = 0.5 }, undo = ", '"ticket.close"', 'or "all" for what is left'),
    "cost without budget": (
        "undo = ",
        "cost = { tokens = 5 }, undo = ",
        "budget = { calls = 25",
        "needs a budget of tokens",
    ),
    "timeout": ("undo = ", 'timeout = "10 s", undo = ', '"ticket.close"', "must be a duration"),
    "timeout of nothing": ("undo = ", "timeout = 0, undo = ", '"ticket.close"', "must be a duration"),
    "timeout for ever": ("undo = ", 'timeout = "999999999h", undo = ', '"ticket.close"', "must be a duration"),
    "timeout as flag": ("undo = ", "timeout = true, undo = ", '"ticket.close"', "must be a duration"),
    "idempotent": ("undo = ", "idempotent = 1, undo = ", '"ticket.close"', "must be true or false"),
    "redacted attribute": ("undo = ", 'redact = ["ticket_id"], undo = ', '"ticket.close"', "always shown and logged"),
    "redact": ("undo = ", 'redact = ["a.b"], undo = ', '"ticket.close"', "is not the name of an argument"),
    "headline of an attribute": (
        "undo = ",
        'headline = "{ticket}", undo = ',
        '"ticket.close"',
        'write the argument, "ticket_id"',
    ),
    "headline that reaches in": (
        "undo = ",
        'headline = "{a.b}", undo = ',
        '"ticket.close"',
        "plain name of an argument",
    ),
    "headline with a format": (
        "undo = ",
        'headline = "{note:>9}", undo = ',
        '"ticket.close"',
        "plain name of an argument",
    ),
    "headline with a hole": ("undo = ", 'headline = "{}", undo = ', '"ticket.close"', "plain name of an argument"),
    "headline half open": ("undo = ", 'headline = "{note", undo = ', '"ticket.close"', "headline is no template"),
    "hidden text": ("undo = ", 'headline = "a\\u202Eb", undo = ', '"ticket.close"', "hidden character U+202E"),
    "empty text": ("undo = ", 'headline = "", undo = ', '"ticket.close"', "a text of 1 to 500 characters"),
    "acceptance by nobody": ("[people]", '[policy]\naccept = "two"\n[people]', "accept =", "and 0 could"),
    "acceptance by three": ("[people]", '[policy]\naccept = "three"\n[people]', "accept =", 'one of "one", "two"'),
    "acceptance mistyped": ("[people]", '[policy]\nacept = "two"\n[people]', "acept =", 'did you mean "accept"?'),
    "route name": ('[routes."ci/deploy"]', '[routes."ci//deploy"]', '[routes."ci//deploy"]', "path segment"),
    "route key": ("run_ttl =", "runttl =", "runttl =", 'did you mean "run_ttl"?'),
    "route order": ("run_ttl =", "after = []\nrun_ttl =", "after =", "must be a table"),
    "route order of nothing": ("run_ttl =", 'after."ticket.close" = []\nrun_ttl =', "after.", "name what comes first"),
    "route order of an unknown action": (
        "run_ttl =",
        'after."ticket.clos" = ["ticket.update"]\nrun_ttl =',
        "after.",
        'did you mean "ticket.close"?',
    ),
    "route order after an unknown action": (
        "run_ttl =",
        'after."ticket.close" = ["ticket.updat"]\nrun_ttl =',
        "after.",
        'did you mean "ticket.update"?',
    ),
    "route order in a circle": (
        "run_ttl =",
        'after."ticket.close" = ["ticket.update"]\nafter."ticket.update" = ["ticket.close"]\nrun_ttl =',
        'after."ticket.update"',
        "done before itself",
    ),
    "route order in a circle through what is implied": (
        "run_ttl =",
        'after."ticket.update" = ["ticket.close"]\nrun_ttl =',
        "after.",
        "done before itself",
    ),
    "route without for": (
        'for = { agents = ["migrator"], tenants = ["acme"], environments = ["prod"] }\n',
        "",
        '[routes."db/migrate"]',
        'needs "for"',
    ),
    "route for no tenants": (
        'agents = ["migrator"], tenants = ["acme"],',
        'agents = ["migrator"],',
        'agents = ["migrator"]',
        'needs "tenants"',
    ),
    "route for nobody": ('agents = ["migrator"]', "agents = []", "agents = []", "is for nobody"),
    "route for all and one": ('agents = ["migrator"]', 'agents = ["*", "migrator"]', 'agents = ["*"', "is not a name"),
    "route for typo": (
        'agents = ["migrator"]',
        'agent = ["migrator"]',
        'agent = ["migrator"]',
        'did you mean "agents"?',
    ),
    "allow unknown": ('allow."db.migrate"', 'allow."db.migrat"', 'allow."db.migrat"', 'unknown action "db.migrat"'),
    "allow without quotes": ('allow."db.migrate"', "allow.db.migrate", "allow.db.migrate", "is not tool.verb"),
    "allow nothing": (
        'allow."db.migrate"  = { version = ["0042"] }\nallow."db.rollback" = { version = ["0041"] }',
        "allow = {}",
        "allow = {}",
        "a route that allows nothing is no route",
    ),
    "allow no table": (
        'allow."db.migrate"  = { version = ["0042"] }',
        'allow."db.migrate" = 1',
        'allow."db.migrate"',
        "must be a table",
    ),
    "allow unknown attribute": (
        '"db.migrate"  = { version',
        '"db.migrate"  = { versoin',
        "versoin",
        'did you mean "version"?',
    ),
    "allow bad attribute name": (
        '"db.migrate"  = { version',
        '"db.migrate"  = { "ver sion"',
        '"ver sion"',
        "is not an attribute name",
    ),
    "allow too few attributes": (
        ", replicas = { max = 3 } }\napp",
        " }\napp",
        'allow."deploy.prod.release:create"',
        'write replicas = ["**"]',
    ),
    "allow what implies more": (
        'approvers = ["release"]',
        'allow."ticket.close" = { ticket = ["T-1"] }\napprovers = ["release"]',
        '["T-1"]',
        "ticket.close implies ticket.update, which route ci/deploy does not allow",
    ),
    "constraint": ("{ max = 3 }", "{ maximum = 3 }", "maximum", "a constraint table has min, max or max_length"),
    "constraint with a float": ("{ max = 3 }", "{ max = 3.5 }", "max = 3.5", "an integer within"),
    "constraint upside down": ("{ max = 3 }", "{ max = 3, min = 4 }", "max = 3", "holds nothing"),
    "constraint pattern": ('["T-*"]', '["T-*-x"]', '"T-*-x"', "kept for patterns"),
    "constraint escape": ('["T-*"]', '["a/../T-*"]', '"a/../T-*"', "path segment"),
    "deny unknown": ("run_ttl =", 'deny = ["db.qeury"]\nrun_ttl =', "deny =", 'did you mean "db.query"?'),
    "deny nothing": ("run_ttl =", 'deny = ["db.q*"]\nrun_ttl =', "deny =", "is not a name"),
    "approve unknown": (
        'approve."ticket.close"',
        'approve."ticket.clsoe"',
        'approve."ticket.clsoe"',
        'did you mean "ticket.close"?',
    ),
    "approve not offered": (
        'approve."ticket.close"',
        'approve."db.query"',
        'approve."db.query"',
        'does not allow "db.query"',
    ),
    "approve mode": ('= "call"', '= "calls"', 'approve."ticket.close"', 'did you mean "call"?'),
    "approvers missing": ('approvers = ["dba"]\n', "", '[routes."db/migrate"]', 'approve."db.migrate" = "none"'),
    "approvers typo": (
        'approvers = ["support-lead"]',
        'approvers = ["suport-lead"]',
        'approvers = ["suport-lead"]',
        'did you mean "support-lead"?',
    ),
    "approvers own and others": (
        'approvers = ["support-lead"]',
        'approvers = ["requester", "support-lead"]',
        'approvers = ["requester',
        "stands alone",
    ),
    "approvers own destructive": (
        'approvers = ["dba"]',
        'approvers = ["requester"]',
        'approvers = ["requester"]',
        "db.migrate is destructive",
    ),
    "approvers own but two": (
        'approvers = ["support-lead"]',
        'approvers = ["requester"]\nquorum = 2',
        "quorum = 2",
        "can never be reached",
    ),
    "quorum": ("run_ttl =", "quorum = 0\nrun_ttl =", "quorum = 0", "from 1 to 20"),
    "ttl": ("run_ttl =", 'ttl = "16m"\nrun_ttl =', 'ttl = "16m"', "a lease lives at most 900 s"),
    "run ttl": ('run_ttl = "30m"', 'run_ttl = "30 minutes"', "run_ttl =", "must be a duration"),
    "budget unit": ("calls = 25", "call = 25", "budget = { call", 'no action costs "call"; did you mean "calls"?'),
    "budget as float": ("calls = 25", "calls = 2.5", "budget = {", "is no amount"),
    "budget of children": ("calls = 25", "children = 25", "budget = {", "delegation.children limits children"),
    "ends_on unknown": (
        'ends_on = ["ticket.close"]',
        'ends_on = ["ticket.closed"]',
        "ends_on =",
        'did you mean "ticket.close"?',
    ),
    "ends_on not offered": ('ends_on = ["ticket.close"]', 'ends_on = ["db.query"]', "ends_on =", "does not allow"),
    "breaker of nothing": ("{ errors = { percent = 50, of = 20 } }", "{}", "breaker =", 'needs "errors", "denials"'),
    "breaker key": ("{ errors", "{ error", "breaker =", 'did you mean "errors"?'),
    "breaker without a window": ("percent = 50, of = 20", "percent = 50", "breaker =", 'needs "of"'),
    "breaker rate key": ("of = 20", "off = 20", "breaker =", 'unknown key "off"'),
    "breaker of no calls": ("of = 20", "of = 0", "breaker =", "from 1 to 200"),
    "breaker with too long a memory": ("of = 20", "of = 201", "breaker =", "from 1 to 200"),
    "breaker at zero": ("percent = 50", "percent = 0", "breaker =", "from 1 to 100"),
    "breaker as a float": ("percent = 50", "percent = 50.0", "breaker =", "from 1 to 100"),
    "breaker as text": ("{ percent = 50, of = 20 }", '"50% of 20"', "breaker =", "must be a table"),
    "break-glass of a route that is none": (
        '[break_glass."support/close"]',
        '[break_glass."support/clos"]',
        "[break_glass",
        'did you mean "support/close"?',
    ),
    "break-glass key": ("openers =", "opener =", "opener =", 'did you mean "openers"?'),
    "break-glass without confirmers": ('confirmers = ["support-lead"]\n', "", "[break_glass", 'needs "confirmers"'),
    "break-glass for nobody": ('openers = ["oncall"]', "openers = []", "openers =", "is for nothing"),
    "break-glass of a rule that is none": (
        'skips = ["approve"]',
        'skips = ["aprove"]',
        "skips =",
        'did you mean "approve"?',
    ),
    "break-glass of the budget": (
        'skips = ["approve"]',
        'skips = ["budget"]',
        "skips =",
        "no rule that can be skipped",
    ),
    "break-glass for a quarter of an hour and more": ("minutes = 10", "minutes = 16", "minutes =", "from 1 to 15"),
    "break-glass for what the route has not": (
        'actions = ["ticket.close", "ticket.update"]\nskips',
        'actions = ["db.query", "ticket.update"]\nskips',
        'actions = ["db.query"',
        'does not allow "db.query"',
    ),
    "break-glass without what is implied": (
        'actions = ["ticket.close", "ticket.update"]\nskips',
        'actions = ["ticket.close"]\nskips',
        'actions = ["ticket.close"]',
        "ticket.close implies ticket.update",
    ),
    "an agent named break-glass": (
        '["migrator"]',
        '["break-glass"]',
        'for = { agents = ["break-glass"]',
        "no agent may bear that name",
    ),
    "delegation key": ("depth = 1", "dept = 1", "delegation =", 'did you mean "depth"?'),
    "delegation without depth": ("depth = 1, ", "", "delegation =", 'needs "depth"'),
    "delegation too deep": ("depth = 1", "depth = 9", "delegation =", "from 0 to 8"),
    "delegation unknown": (
        'actions = ["ticket.update"] }',
        'actions = ["ticket.updat"] }',
        "delegation =",
        'did you mean "ticket.update"?',
    ),
    "test key": ("needs_approval =", "need_approval =", "need_approval =", 'did you mean "needs_approval"?'),
    "test route": ('route = "support/close"', 'route = "support/closed"', "route = ", 'did you mean "support/close"?'),
    "test without route": ('route = "support/close"\n', "", "[[tests]]", 'needs "route"'),
    "test action": ('refuses = ["db.query"', 'refuses = ["db.qury"', "refuses =", 'did you mean "db.query"?'),
    "tests are no array": ("[[tests]]", "[tests]", "[tests]", "an array of tables: [[tests]]"),
    "no toml": ("version = 1", "version = ", "version = ", "this is not TOML"),
    "yaml": ("version = 1", "version: 1", "version: 1", "this is not TOML"),
    "a key twice": ("run_ttl =", "budget = {}\nrun_ttl =", "budget = {}", "this is not TOML"),
}


@pytest.mark.requirement("P1", "P5", "P7")
@pytest.mark.case(20, 22)
@pytest.mark.parametrize("name", REPLACED)
def test_a_faulty_file_is_refused_at_the_line_at_fault(name: str) -> None:
    old, new, at, message = REPLACED[name]
    text = changed(old, new)
    with pytest.raises(ConfigError) as caught:
        load(text)
    assert message in str(caught.value)
    assert caught.value.line == line_of(at, text)
    assert str(caught.value).startswith(f"leasehold.toml:{caught.value.line}: ")


APPENDED = {
    "unknown default": ("[defaults]\ntimout = 3\n", "timout", 'did you mean "timeout"?'),
    "maximum above fifteen minutes": ('[defaults]\nmax_ttl = "20m"\n', "max_ttl", "no lease can be signed for longer"),
    "default ttl above the maximum": ('[defaults]\nttl = "20m"\n', "ttl =", "a lease lives at most 900 s"),
    "default budget unit": ("[defaults]\nbudget = { cals = 3 }\n", "budget = { cals", 'did you mean "calls"?'),
    "a list element on its own line": (
        '[[tests]]\nroute = "ci/deploy"\nrefuses = [\n  "db.query",\n  "db.qqq",\n]\n',
        '"db.qqq"',
        'unknown action "db.qqq"',
    ),
    "unclosed at the end": ('[[tests]]\nroute = "ci', 'route = "ci', "this is not TOML"),
}


@pytest.mark.requirement("L3")
@pytest.mark.parametrize("name", APPENDED)
def test_a_fault_at_the_end_is_refused_at_its_line(name: str) -> None:
    more, at, message = APPENDED[name]
    text = f"{EXAMPLE}{more}"
    with pytest.raises(ConfigError) as caught:
        load(text)
    assert message in str(caught.value)
    assert caught.value.line == len(EXAMPLE.splitlines()) + line_of(at, more)


def test_no_file_is_no_policy() -> None:
    with pytest.raises(ConfigError, match="there is no policy file"):
        load_policy([])


def test_an_empty_file_needs_a_version_first() -> None:
    with pytest.raises(ConfigError, match=r'leasehold\.toml:1: the policy needs "version"'):
        load("")


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ('[routes."ci/deploy"]\n', r'b\.toml:1: routes\."ci/deploy" already stands in a\.toml, line 20'),
        (
            '\n[actions]\n"db.query" = { effect = "read" }\n',
            r'b\.toml:3: actions\."db\.query" already stands in a\.toml',
        ),
        ('[people]\n"user:ana" = []\n', r'b\.toml:2: people\."user:ana" already'),
        ("[roles.operator]\n", r"b\.toml:1: roles\.operator already"),
        ("version = 1\n", r"b\.toml:1: version already stands in a\.toml, line 1"),
        ('authority = "other"\n', r"b\.toml:1: authority already"),
        ("[defaults]\n", None),
        ("routes = 3\n", r"b\.toml:1: routes must be a table"),
    ],
)
def test_nothing_may_stand_in_two_files(second: str, message: str | None) -> None:
    files = [Source("a.toml", EXAMPLE), Source("b.toml", second)]
    if message is None:
        assert load_policy(files) == load(EXAMPLE)
        return
    with pytest.raises(ConfigError, match=message):
        load_policy(files)


@pytest.mark.case(17)
def test_a_file_that_is_too_deep_or_too_long_is_refused_without_a_crash() -> None:
    with pytest.raises(ConfigError, match="nested too deeply"):
        load("version = " + "[" * 100_000)
    with pytest.raises(ConfigError, match="at most 1048576 characters"):
        load("#" * 1_048_577)


@pytest.mark.parametrize("role", ["night-shift", "release-manager-emea"])
def test_a_role_that_nobody_holds_and_that_is_near_none_loads(role: str) -> None:
    policy = load(changed('approvers = ["dba"]', f'approvers = ["{role}"]'))
    assert policy.routes["db/migrate"].approvers == (role,)


def test_a_denied_action_needs_no_approvers() -> None:
    text = changed('approvers = ["dba"]\n', 'deny = ["db.*"]\n')
    assert load(text).routes["db/migrate"].approvers == ()


def test_a_deny_of_a_tool_that_is_not_there_yet_loads() -> None:
    assert load(changed("run_ttl =", 'deny = ["secrets.*"]\nrun_ttl =')).routes["support/close"].deny == ("secrets.*",)


def test_an_unknown_name_is_answered_with_the_known_ones_only_if_they_are_few() -> None:
    many = "".join(f'"many.verb{number}" = {{ effect = "read" }}\n' for number in range(20))
    for more, expected in (("", "; known: db.migrate"), (many, "zzzz.qqqq")):
        text = (
            changed('"db.query"      =', f'{more}"db.query" =')
            + '[[tests]]\nroute = "ci/deploy"\nrefuses = ["zzzz.qqqq"]\n'
        )
        with pytest.raises(ConfigError) as caught:
            load(text)
        assert expected in str(caught.value)
        assert ("known:" in str(caught.value)) is (more == "")
