"""One entry of `[break_glass]` to one `GlassRule`: which rules of a route two people may skip. Called by `load`."""

from __future__ import annotations

from leasehold.model.glass import MAX_MINUTES, Skippable
from leasehold.model.grant import check_action
from leasehold.policy.document import GlassRule
from leasehold.policy.reader import Table, show_path, suggest

__all__ = ["read_glass"]

_KEYS = ("openers", "confirmers", "actions", "skips", "minutes")


def read_glass(route: str, table: Table) -> GlassRule:
    """Return what may be skipped on a route, and by whom. Nothing is assumed but the longest time.

    Raises:
        ConfigError: at the key at fault.
    """
    table.close(_KEYS)
    table.need("openers", "confirmers", "actions", "skips")
    lists = {key: table.names(key) for key in ("openers", "confirmers", "skips")}
    lists["actions"] = table.names("actions", check_action)
    for key, names in lists.items():
        if not names:
            raise table.fault(
                f"{show_path((*table.keys, key))} is empty, so the entry is for nothing; take it out", key
            )
    for word in lists["skips"]:
        if word not in list(Skippable):
            where = show_path((*table.keys, "skips"))
            raise table.fault(f'{where}: "{word}" is no rule that can be skipped{suggest(word, Skippable)}', "skips")
    return GlassRule(
        route=route,
        openers=lists["openers"],
        confirmers=lists["confirmers"],
        actions=lists["actions"],
        skips=tuple(map(Skippable, lists["skips"])),
        minutes=table.whole("minutes", 1, MAX_MINUTES) if "minutes" in table.value else MAX_MINUTES,
    )
