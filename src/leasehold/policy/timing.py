"""When a route is open: weekly hours in a named zone, and freezes. Called by decide, explain, diff and the loader.

A window is judged by what a clock on the wall of its zone reads: from its first minute up to, not including, its end.
So an hour that the clocks skip opens nothing, and one that they show twice counts both times. Zone data
is the system's, or that of the `tzdata` package where it has none (decision 0012); a zone that is in neither is closed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from zoneinfo import ZoneInfo, available_timezones

from leasehold.errors import InvalidError
from leasehold.model.decision import Decision, Reason, deny
from leasehold.model.text import visible
from leasehold.policy.document import Day, Freeze, Hours, Policy, Route
from leasehold.policy.evaluate import implied
from leasehold.policy.wording import route_rule

__all__ = [
    "MINUTES_OF_DAY",
    "binding_freezes",
    "binding_hours",
    "check_zone",
    "covered_minutes",
    "frozen_spans",
    "is_open",
    "refuse_time",
    "show_freeze",
    "show_hours",
    "show_minutes",
    "show_spans",
    "show_timing",
]

MINUTES_OF_DAY = 24 * 60
_DAYS_AHEAD = 15
_TRIES = 100
_DAYS = tuple(Day)


def check_zone(name: str) -> str:
    """Return `name` if it is an IANA zone that this machine knows.

    Raises:
        InvalidError: it is not; abbreviations such as CET, which mean no place, are refused too.
    """
    if "/" not in name and name != "UTC":
        raise InvalidError(f'"{visible(name[:80])}" is no zone: write an IANA name such as "Europe/Berlin", or "UTC"')
    if _zone(name) is None:
        near = get_close_matches(name, sorted(available_timezones()), n=1)
        hint = f'; did you mean "{near[0]}"?' if near else ""
        raise InvalidError(f'this machine knows no time zone "{visible(name[:80])}"{hint}')
    return name


def refuse_time(policy: Policy, route: Route, action: str, now_seconds: int) -> Decision | None:
    """Why no call of the action may be made at this moment, and when it opens next; None if it may."""
    if not route.freeze and not route.hours:  # as nearly always
        return None
    names = (action, *implied(policy, action))
    freezes, hours = binding_freezes(route, names), binding_hours(route, names)
    frozen = next((each for each in freezes if each.from_seconds <= now_seconds < each.until_seconds), None)
    if frozen is not None:
        return deny(
            Reason.FROZEN,
            f"{route.name} is frozen: {frozen.reason}",
            rule=f"{route_rule(route.name)}.freeze",
            check=f"now {_utc(now_seconds)} is not in the freeze {show_freeze(frozen)}",
            enough=_opens_next(freezes, hours, now_seconds),
        )
    for windows in hours:
        if not any(is_open(each, now_seconds) for each in windows):
            return deny(
                Reason.OUTSIDE_HOURS,
                f"{action} is outside the hours of {route.name}",
                rule=f"{route_rule(route.name)}.hours",
                check=f"now {_local(windows[0].zone, now_seconds)} is in {_show_all(windows)}",
                enough=_opens_next(freezes, hours, now_seconds),
            )
    return None


def binding_freezes(route: Route, names: Iterable[str]) -> tuple[Freeze, ...]:
    """The freezes that bind an action, given with all that it implies: those that name none, or one of these."""
    wanted = set(names)
    return tuple(each for each in route.freeze if not each.actions or not wanted.isdisjoint(each.actions))


def binding_hours(route: Route, names: Iterable[str]) -> tuple[tuple[Hours, ...], ...]:
    """For each of the names that hours bind, the windows of which one has to be open; all of these have to be met."""
    found = (tuple(each for each in route.hours if not each.actions or name in each.actions) for name in names)
    return tuple(dict.fromkeys(windows for windows in found if windows))


def is_open(hours: Hours, seconds: int) -> bool:
    """Whether the wall clock of the zone reads a time inside this window."""
    zone = _zone(hours.zone)
    if zone is None:
        return False
    wall = datetime.fromtimestamp(seconds, zone)
    minute = wall.hour * 60 + wall.minute
    return _DAYS[wall.weekday()] in hours.days and hours.from_minute <= minute < hours.to_minute


def covered_minutes(windows: Iterable[Hours]) -> frozenset[int]:
    """The minutes of the week, from Monday 00:00 on the wall, that windows of one zone are open."""
    return frozenset(
        _DAYS.index(day) * MINUTES_OF_DAY + minute
        for each in windows
        for day in each.days
        for minute in range(each.from_minute, each.to_minute)
    )


def frozen_spans(freezes: Iterable[Freeze]) -> list[tuple[int, int]]:
    """When any of these freezes is on, as separate spans of Unix seconds, sorted, each end excluded."""
    spans: list[tuple[int, int]] = []
    for start, end in sorted((each.from_seconds, each.until_seconds) for each in freezes):
        if spans and start <= spans[-1][1]:
            spans[-1] = (spans[-1][0], max(end, spans[-1][1]))
        else:
            spans.append((start, end))
    return spans


# When it opens next


def _opens_next(freezes: Sequence[Freeze], hours: Sequence[Sequence[Hours]], now_seconds: int) -> str:
    """The first moment that nothing here closes, in words; nothing if it is not found soon."""
    moment = now_seconds
    for _ in range(_TRIES):
        frozen = [each.until_seconds for each in freezes if each.from_seconds <= moment < each.until_seconds]
        shut = [windows for windows in hours if not any(is_open(each, moment) for each in windows)]
        if frozen:
            moment = max(frozen)
        elif shut:
            openings = [_next_opening(each, moment) for each in shut[0]]
            opens = min((at for at in openings if at is not None), default=None)
            if opens is None:
                return ""
            moment = opens
        else:
            zone = hours[0][0].zone if hours else "UTC"
            return f"a call made when it opens next: {_local(zone, moment)} ({_utc(moment)})"
    return ""


def _next_opening(hours: Hours, after: int) -> int | None:
    """The first moment after this one at which the window opens; None if that is not within two weeks."""
    zone = _zone(hours.zone)
    if zone is None:
        return None
    today = datetime.fromtimestamp(after, zone).date()
    days = (datetime.combine(today + timedelta(days=ahead), datetime.min.time()) for ahead in range(-1, _DAYS_AHEAD))
    return min((at for day in days for at in _openings(hours, zone, day) if at > after), default=None)


def _openings(hours: Hours, zone: ZoneInfo, midnight: datetime) -> Iterator[int]:
    """The moments at which the window opens: the first minute of a day on the wall, or a clock change around it."""
    first = midnight + timedelta(minutes=hours.from_minute)
    moments = [int(first.replace(tzinfo=zone, fold=fold).timestamp()) for fold in (0, 1)]
    moments += _clock_changes(zone, int(midnight.replace(tzinfo=UTC).timestamp()))
    return (at for at in moments if is_open(hours, at) and not is_open(hours, at - 1))


def _clock_changes(zone: ZoneInfo, midnight: int) -> list[int]:
    """The moment at which the zone's offset changes around this day, if it does."""
    low, high = midnight - 14 * 3600, midnight + 38 * 3600
    if _offset(zone, low) == _offset(zone, high):
        return []
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _offset(zone, middle) == _offset(zone, low) else (low, middle)
    return [high]


def _offset(zone: ZoneInfo, seconds: int) -> timedelta | None:
    return datetime.fromtimestamp(seconds, zone).utcoffset()


def _zone(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError):  # the ways in which the standard library says that it has no such zone
        return None


# Words


def show_hours(hours: Hours) -> str:
    """`mon-fri 09:00-17:00 Europe/Berlin`."""
    return f"{_show_days(hours.days)} {_clock(hours.from_minute)}-{_clock(hours.to_minute)} {hours.zone}"


def show_freeze(freeze: Freeze) -> str:
    """`2026-12-19T23:00:00Z to 2027-01-02T23:00:00Z`."""
    return show_spans([(freeze.from_seconds, freeze.until_seconds)])


def show_spans(spans: Iterable[tuple[int, int]]) -> str:
    """Spans of Unix seconds, in UTC."""
    return ", ".join(f"{_utc(start)} to {_utc(end)}" for start, end in spans)


def show_timing(route: Route, names: Sequence[str]) -> tuple[str, ...]:
    """The rules of time that bind an action, given with all that it implies, in words."""
    hours = (f"open {_show_all(windows)}" for windows in binding_hours(route, names))
    freezes = (f"frozen {show_freeze(each)}: {each.reason}" for each in binding_freezes(route, names))
    return (*hours, *freezes)


def show_minutes(minutes: Iterable[int]) -> str:
    """Minutes of the week as spans: `mon 17:00-18:00, sat 09:00-12:00`."""
    spans: list[list[int]] = []
    for minute in sorted(minutes):
        if spans and minute == spans[-1][1] and minute % MINUTES_OF_DAY:
            spans[-1][1] = minute + 1
        else:
            spans.append([minute, minute + 1])
    return ", ".join(
        f"{_DAYS[start // MINUTES_OF_DAY]} {_clock(start % MINUTES_OF_DAY)}-{_clock((end - 1) % MINUTES_OF_DAY + 1)}"
        for start, end in spans
    )


def _show_all(windows: Iterable[Hours]) -> str:
    return " or ".join(map(show_hours, windows))


def _show_days(days: Sequence[Day]) -> str:
    places = sorted(map(_DAYS.index, days))
    is_run = len(places) > 2 and places == list(range(places[0], places[-1] + 1))
    return f"{_DAYS[places[0]]}-{_DAYS[places[-1]]}" if is_run else ", ".join(_DAYS[place] for place in places)


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


def _utc(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _local(zone: str, seconds: int) -> str:
    wall = datetime.fromtimestamp(seconds, _zone(zone) or UTC)
    return f"{_DAYS[wall.weekday()]} {wall:%Y-%m-%d %H:%M:%S} {zone}"
