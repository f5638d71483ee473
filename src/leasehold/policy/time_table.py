"""A route's `hours` and `freeze` to their values. Called by `route_table`.

Nothing about time is guessed: a window names its zone, a freeze has dates with an offset.
"""

from __future__ import annotations

import re
from datetime import datetime

from leasehold.model.grant import check_action
from leasehold.policy.document import Day, Freeze, Hours
from leasehold.policy.reader import Table, show_path, suggest
from leasehold.policy.timing import MINUTES_OF_DAY, check_zone

__all__ = ["read_freezes", "read_hours"]

_HOURS = ("days", "from", "to", "zone", "actions")
_FREEZE = ("from", "until", "reason", "actions")
_CLOCK = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
_LAST = datetime.fromisoformat("9999-01-01T00:00:00+00:00").timestamp()


def read_hours(route: Table) -> tuple[Hours, ...]:
    """Return the windows of a route: one table, or an array of them.

    Raises:
        ConfigError: at the key at fault.
    """
    if "hours" not in route.value:
        return ()
    tables = route.array("hours") if isinstance(route.value["hours"], list) else [route.table("hours")]
    if not tables:
        raise route.fault(f"{show_path((*route.keys, 'hours'))} is empty; leave it out, or write a window", "hours")
    return tuple(map(_read_window, tables))


def _read_window(table: Table) -> Hours:
    table.close(_HOURS)
    table.need("days", "from", "to", "zone")
    start, end = _minute(table, "from"), _minute(table, "to")
    if start >= end:
        raise table.fault(
            f"{show_path(table.keys)} ends before it begins; a window past midnight is two, the first to 24:00", "to"
        )
    return Hours(
        days=_days(table),
        from_minute=start,
        to_minute=end,
        zone=table.checked(("zone",), check_zone, table.text("zone")),
        actions=_some_actions(table),
    )


def _days(table: Table) -> tuple[Day, ...]:
    where = show_path((*table.keys, "days"))
    names = table.names("days")
    for name in names:
        if name not in list(Day):
            raise table.fault(f'{where}: unknown day "{name}"{suggest(name, Day)}', "days")
    if not names:
        raise table.fault(f"{where} is empty, so it would never be open", "days")
    return tuple(day for day in Day if day in names)


def _minute(table: Table, key: str) -> int:
    text = table.text(key)
    if key == "to" and text == "24:00":
        return MINUTES_OF_DAY
    found = _CLOCK.fullmatch(text)
    if found is None:
        raise table.fault(f'{show_path((*table.keys, key))} must be a time such as "09:00", not "{text}"', key)
    return int(found[1]) * 60 + int(found[2])


def read_freezes(route: Table) -> tuple[Freeze, ...]:
    """Return the freezes of a route, the first first.

    Raises:
        ConfigError: at the key at fault.
    """
    freezes = map(_read_freeze, route.array("freeze"))
    return tuple(sorted(freezes, key=lambda each: (each.from_seconds, each.until_seconds, each.reason, each.actions)))


def _read_freeze(table: Table) -> Freeze:
    table.close(_FREEZE)
    table.need(*_FREEZE[:3])
    start, end = _moment(table, "from"), _moment(table, "until")
    if start >= end:
        raise table.fault(f"{show_path(table.keys)} is over before it begins", "until")
    return Freeze(
        from_seconds=start,
        until_seconds=end,
        reason=table.text("reason"),
        actions=_some_actions(table),
    )


def _moment(table: Table, key: str) -> int:
    value = table.value[key]
    if not isinstance(value, datetime) or value.tzinfo is None or value.microsecond:
        raise table.fault(
            f"{show_path((*table.keys, key))} must be a date and time with its offset, in whole seconds and without "
            "quotes, such as 2026-12-20T00:00:00+01:00",
            key,
        )
    seconds = int(value.timestamp())
    if not 0 <= seconds < _LAST:
        raise table.fault(f"{show_path((*table.keys, key))} must lie between the years 1970 and 9998", key)
    return seconds


def _some_actions(table: Table) -> tuple[str, ...]:
    names = table.names("actions", check_action)
    if "actions" in table.value and not names:
        raise table.fault(
            f"{show_path((*table.keys, 'actions'))} is empty, so the rule would bind nothing; leave it out to bind "
            "every action",
            "actions",
        )
    return names
