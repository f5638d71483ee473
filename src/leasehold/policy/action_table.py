"""One entry of `[actions]` to one `ActionRule`. Called by `load`."""

from __future__ import annotations

from collections.abc import Mapping

from leasehold.errors import InvalidError
from leasehold.model.budget import CALLS, CHILDREN, TOOL_SECONDS, amounts_from_json
from leasehold.model.effect import Effect
from leasehold.model.grant import check_action, check_attribute_name
from leasehold.policy.document import ActionRule
from leasehold.policy.paths import check_argument_name, check_path
from leasehold.policy.reader import Table, show_path, suggest

__all__ = ["read_action"]

_KEYS = (
    "effect",
    "args",
    "implies",
    "undo",
    "key",
    "cost",
    "timeout",
    "idempotent",
    "fresh",
    "uses",
    "redact",
    "headline",
    "preview",
)
_OWN_UNITS = {
    CALLS: "every call counts as one",
    CHILDREN: "a route's delegation.children limits them",
    TOOL_SECONDS: "declare timeout instead",
}


def read_action(name: str, table: Table) -> ActionRule:
    """Return the rule that a table declares.

    Raises:
        ConfigError: at the key at fault.
    """
    table.checked((), check_action, name)
    table.close(_KEYS)
    table.need("effect")
    args = _args(table.table("args"))
    return ActionRule(
        name=name,
        effect=table.choice("effect", Effect),
        args=args,
        implies=table.names("implies", check_action),
        undo=table.text("undo"),
        key=_key(table, args),
        cost=_cost(table.table("cost")),
        timeout_seconds=table.declared_seconds("timeout"),
        idempotent=table.flag("idempotent"),
        fresh_seconds=table.declared_seconds("fresh"),
        uses=table.names("uses", check_action),
        redact=table.names("redact", check_argument_name),
        headline=table.text("headline"),
        preview=table.checked(("preview",), check_action, table.text("preview")) if "preview" in table.value else "",
    )


def _args(table: Table) -> dict[str, str]:
    args = {}
    for attribute, path in table.value.items():
        table.checked((attribute,), check_attribute_name, attribute)
        if not isinstance(path, str):
            raise table.fault(f"{show_path((*table.keys, attribute))} must be an argument path in quotes", attribute)
        args[attribute] = table.checked((attribute,), check_path, path)
    return args


def _key(table: Table, args: Mapping[str, str]) -> tuple[str, ...]:
    """The attributes that make the key; the argument that one attribute is read from may stand for that attribute."""
    where = show_path((*table.keys, "key"))
    attributes: set[str] = set()
    for word in table.names("key", check_path):
        meant = {attribute for attribute, path in args.items() if word in (attribute, path)}
        if not meant:
            raise table.fault(f'{where}: "{word}" is no attribute of this action{suggest(word, args)}', "key")
        if len(meant) > 1 or meant & attributes:
            raise table.fault(f'{where}: "{word}" is ambiguous; name each attribute of the key once', "key")
        attributes |= meant
    return tuple(sorted(attributes))


def _cost(table: Table) -> dict[str, int | None]:
    where = show_path(table.keys)
    for unit in table.value:
        if unit in _OWN_UNITS:
            raise table.fault(f"{where}: {unit} cannot be declared as a cost; {_OWN_UNITS[unit]}", unit)
    counted = {unit: 0 if amount == "all" else amount for unit, amount in table.value.items()}
    try:
        amounts = amounts_from_json(counted, where)
    except InvalidError as error:
        raise table.fault(f'{error}, or "all" for what is left') from None
    return {unit: None if table.value[unit] == "all" else amount for unit, amount in amounts.items()}
