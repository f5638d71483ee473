"""From policy files to one accepted `Policy`. Called by the configuration and by `leasehold policy check`.

Fails closed: a key that the language does not have, a name that nothing declares, and what this version cannot enforce
are refused with file, line and the nearest known name. DESIGN §7 describes the language.
"""

from __future__ import annotations

from collections.abc import Container, Sequence

from leasehold.errors import ConfigError
from leasehold.model.grant import check_action
from leasehold.policy.action_table import read_action
from leasehold.policy.checks import find_problems
from leasehold.policy.client_table import read_client
from leasehold.policy.document import POLICY_VERSION, Acceptance, Policy, PolicyTest, Power, RolePowers
from leasehold.policy.glass_table import read_glass
from leasehold.policy.issuer_table import read_issuer
from leasehold.policy.lines import KeyPath
from leasehold.policy.notice_table import read_notice_rule
from leasehold.policy.reader import Places, Source, Table, fault, parse_source, show_path, suggest
from leasehold.policy.route_table import read_audience, read_defaults, read_route
from leasehold.policy.sign_in_table import read_sign_in

__all__ = ["Source", "load_policy"]

_SETTINGS = ("version", "authority", "policy", "defaults")
_NAMED = ("people", "roles", "actions", "routes", "notices", "clients", "break_glass", "issuers", "sign_in")


def load_policy(sources: Sequence[Source]) -> Policy:
    """Return the policy that the files say together.

    Raises:
        ConfigError: with the file and line of the first fault.
    """
    if not sources:
        raise ConfigError("there is no policy file")
    top = _merge([parse_source(source) for source in sources])
    top.need("version", "authority")
    version = top.whole("version", POLICY_VERSION, POLICY_VERSION)
    defaults = read_defaults(top.table("defaults"))
    policy = Policy(
        version=version,
        authority=top.name("authority"),
        people=_people(top.table("people")),
        roles={name: _role(name, table) for name, table in top.table("roles").entries().items()},
        actions={name: read_action(name, table) for name, table in top.table("actions").entries().items()},
        routes={name: read_route(name, table, defaults) for name, table in top.table("routes").entries().items()},
        notices={name: read_notice_rule(name, table) for name, table in top.table("notices").entries().items()},
        clients={name: read_client(name, table) for name, table in top.table("clients").entries().items()},
        defaults=defaults,
        tests=tuple(_test(table) for table in top.array("tests")),
        accept=_acceptance(top.table("policy")),
        break_glass={name: read_glass(name, table) for name, table in top.table("break_glass").entries().items()},
        issuers={name: read_issuer(name, table) for name, table in top.table("issuers").entries().items()},
        sign_in={name: read_sign_in(name, table) for name, table in top.table("sign_in").entries().items()},
    )
    problems = find_problems(policy)
    if problems:
        raise fault(problems[0].message, _with_indexes(problems[0].keys, top.value), top.places)
    return policy


def _merge(files: Sequence[Table]) -> Table:
    """One document out of several files: named tables are joined, tests follow each other, nothing may stand twice."""
    merged: dict[str, object] = {}
    named: dict[str, dict[str, object]] = {key: {} for key in _NAMED}
    tests: list[object] = []
    places: Places = {}
    for file in files:
        file.close((*_SETTINGS, *_NAMED, "tests"), not_yet=("credentials",))
        for key in _SETTINGS:
            if key in file.value:
                _refuse_repeat((key,), merged, file, places)
                merged[key] = file.value[key]
        for key, joined in named.items():
            for name, entry in file.table(key).value.items():
                _refuse_repeat((key, name), joined, file, places)
                joined[name] = entry
        more_tests = file.array("tests")
        _join_places(places, file.places, len(tests))
        tests += [table.value for table in more_tests]
    return Table({**merged, **named, "tests": tests}, (), places)


def _with_indexes(keys: KeyPath, document: object) -> KeyPath:
    """The same keys with each name that a list holds replaced by its index there, as places have it."""
    if not keys:
        return ()
    key = keys[0]
    if isinstance(document, list):
        key = str(document.index(key)) if key in document else key
        return (key, *_with_indexes(keys[1:], document[int(key)]))
    return (key, *_with_indexes(keys[1:], document.get(key) if isinstance(document, dict) else None))


def _refuse_repeat(keys: KeyPath, so_far: Container[str], file: Table, places: Places) -> None:
    if keys[-1] in so_far:
        first = places[keys]
        raise file.fault(f"{show_path(keys)} already stands in {first.path}, line {first.line}", *keys)


def _join_places(places: Places, more: Places, tests_before: int) -> None:
    for keys, place in more.items():
        is_of_test = len(keys) > 1 and keys[0] == "tests"
        moved = ("tests", str(int(keys[1]) + tests_before), *keys[2:]) if is_of_test else keys
        places.setdefault(moved, place)


def _people(table: Table) -> dict[str, tuple[str, ...]]:
    return {table.checked_name((person,), person): table.names(person) for person in table.value}


def _role(name: str, table: Table) -> RolePowers:
    table.checked_name((), name)
    table.close(("can", "tenants"))
    table.need("can", "tenants")
    powers = table.names("can")
    for word in powers:
        if word not in list(Power):
            raise table.fault(f'{show_path((*table.keys, "can"))}: unknown power "{word}"{suggest(word, Power)}', "can")
    return RolePowers(name=name, can=tuple(map(Power, powers)), tenants=read_audience(table, "tenants"))


def _acceptance(table: Table) -> Acceptance:
    table.close(("accept",))
    return table.choice("accept", Acceptance) if "accept" in table.value else Acceptance.ONE


def _test(table: Table) -> PolicyTest:
    table.close(("route", "allows", "needs_approval", "refuses"))
    table.need("route")
    return PolicyTest(
        route=table.name("route"),
        allows=table.names("allows", check_action),
        needs_approval=table.names("needs_approval", check_action),
        refuses=table.names("refuses", check_action),
    )
