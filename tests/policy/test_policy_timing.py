"""When a route is open: to the minute, in its own zone, through changes of the clocks; and what a change opens."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from policy_worlds import EXAMPLE, changed, line_of, load

from leasehold.errors import ConfigError
from leasehold.model.canonical import decode, encode
from leasehold.model.decision import Reason
from leasehold.policy.diff import diff
from leasehold.policy.document import Day, Freeze, Hours, Policy, Route
from leasehold.policy.explain import explain_route
from leasehold.policy.opening import opened, thawed
from leasehold.policy.reach import ReachKind, reach
from leasehold.policy.timing import MINUTES_OF_DAY, is_open, refuse_time, show_hours, show_minutes

SUPPORT = "support/close"
OFFICE = (
    'hours = { days = ["mon", "tue", "wed", "thu", "fri"], from = "09:00", to = "17:00", zone = "Europe/Berlin" }\n'
)
FAIR = 'freeze = [{ from = 2026-12-20T00:00:00+01:00, until = 2027-01-03T00:00:00+01:00, reason = "the fair" }]\n'
BERLIN = ZoneInfo("Europe/Berlin")
EVERY_DAY = tuple(Day)
LOADED = load(EXAMPLE)


def timed(lines: str) -> Policy:
    """The example with these lines in its route of support."""
    return load(changed("run_ttl =", lines + "run_ttl ="))


def at(text: str, zone: str = "Europe/Berlin") -> int:
    """The Unix second at which the wall of a zone shows this for the first time."""
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp())


def reason(policy: Policy, seconds: int, action: str = "ticket.update") -> Reason:
    """What becomes of a call of support at this moment."""
    refusal = refuse_time(policy, policy.routes[SUPPORT], action, seconds)
    return Reason.OK if refusal is None else refusal.reason


def enough(policy: Policy, seconds: int, action: str = "ticket.update") -> str:
    """When a refused call would be let through."""
    refusal = refuse_time(policy, policy.routes[SUPPORT], action, seconds)
    assert refusal is not None
    return refusal.enough


def window(start: int, end: int, zone: str = "Europe/Berlin", days: tuple[Day, ...] = EVERY_DAY) -> Hours:
    """A window by its minutes."""
    return Hours(days=days, from_minute=start, to_minute=end, zone=zone)


@pytest.mark.requirement("F6")
def test_a_window_opens_with_its_first_minute_and_its_last_minute_is_whole() -> None:
    policy = timed(OFFICE)
    monday = at("2026-05-04 09:00")
    assert reason(policy, monday - 1) is Reason.OUTSIDE_HOURS
    assert reason(policy, monday) is Reason.OK
    assert reason(policy, at("2026-05-04 16:59:59")) is Reason.OK
    assert reason(policy, at("2026-05-04 17:00")) is Reason.OUTSIDE_HOURS
    assert reason(policy, at("2026-05-03 12:00")) is Reason.OUTSIDE_HOURS
    night = timed(OFFICE.replace('to = "17:00"', 'to = "24:00"'))
    assert reason(night, at("2026-05-04 23:59:59")) is Reason.OK
    assert reason(night, at("2026-05-05 00:00")) is Reason.OUTSIDE_HOURS


@pytest.mark.requirement("F6")
def test_a_refusal_names_the_rule_the_check_and_when_it_opens_next() -> None:
    policy = timed(OFFICE)
    refusal = refuse_time(policy, policy.routes[SUPPORT], "ticket.update", at("2026-05-08 18:30"))
    assert refusal is not None
    assert refusal.rule == f'routes."{SUPPORT}".hours'
    assert refusal.check == "now fri 2026-05-08 18:30:00 Europe/Berlin is in mon-fri 09:00-17:00 Europe/Berlin"
    assert refusal.enough == (
        "a call made when it opens next: mon 2026-05-11 09:00:00 Europe/Berlin (2026-05-11T07:00:00Z)"
    )


@pytest.mark.requirement("F6")
def test_an_hour_that_the_clocks_skip_opens_with_the_first_moment_after_it() -> None:
    night = window(2 * 60 + 30, 4 * 60)
    change = at("2026-03-29 01:59:59") + 1
    assert datetime.fromtimestamp(change, BERLIN).hour == 3
    assert not is_open(night, change - 1)
    assert is_open(night, change)
    gap = window(2 * 60, 3 * 60)
    assert not any(is_open(gap, change + minute * 60) for minute in range(-120, 120))
    policy = timed('hours = { days = ["sun"], from = "02:30", to = "04:00", zone = "Europe/Berlin" }\n')
    assert "sun 2026-03-29 03:00:00 Europe/Berlin" in enough(policy, at("2026-03-28 12:00"))
    skipped = timed('hours = { days = ["sun"], from = "02:00", to = "03:00", zone = "Europe/Berlin" }\n')
    assert "sun 2026-04-05 02:00:00" in enough(skipped, at("2026-03-28 12:00"))


@pytest.mark.requirement("F6")
def test_an_hour_that_the_clocks_show_twice_counts_both_times() -> None:
    night = window(2 * 60, 2 * 60 + 30)
    first = at("2026-10-25 02:00")
    assert [is_open(night, first + minute * 60) for minute in (0, 29, 30, 59, 60, 89, 90)] == [
        True,
        True,
        False,
        False,
        True,
        True,
        False,
    ]
    policy = timed('hours = { days = ["sun"], from = "02:00", to = "02:30", zone = "Europe/Berlin" }\n')
    assert f"({datetime.fromtimestamp(first + 3600, UTC):%Y-%m-%dT%H:%M:%SZ})" in enough(policy, first + 1800)
    into = timed('hours = { days = ["sun"], from = "01:30", to = "02:30", zone = "Europe/Berlin" }\n')
    assert f"({datetime.fromtimestamp(first + 3600, UTC):%Y-%m-%dT%H:%M:%SZ})" in enough(into, first + 1800)
    assert f"({datetime.fromtimestamp(first - 1800, UTC):%Y-%m-%dT%H:%M:%SZ})" in enough(into, at("2026-10-24 12:00"))


CHANGES = [
    (zone, at(text, zone))
    for zone, *texts in (
        ("Europe/Berlin", "2026-03-29 03:00", "2026-10-25 02:00"),
        ("America/New_York", "2026-03-08 03:00", "2026-11-01 01:00"),
        ("America/Havana", "2026-03-08 01:00", "2026-11-01 00:00"),  # at midnight, and back to it
        ("Africa/Cairo", "2026-04-24 01:00", "2026-10-29 23:00"),  # at midnight, and back to the day before
        ("Australia/Lord_Howe", "2026-04-05 01:30", "2026-10-04 02:30"),  # by half an hour
        ("Antarctica/Troll", "2026-03-29 03:00", "2026-10-25 01:00"),  # by two hours
        ("Asia/Kathmandu", "2026-05-04 00:00"),  # never
        ("UTC", "2026-05-04 00:00"),
    )
    for text in texts
]


@st.composite
def windows_at_a_change(draw: st.DrawFn) -> tuple[Hours, int]:
    """A window that opens and ends within hours of a clock change as a rule, and a moment within days of it."""
    zone, change = draw(st.sampled_from(CHANGES))
    wall = datetime.fromtimestamp(change, ZoneInfo(zone))
    near = st.integers(-90, 90).map(lambda minutes: (wall.hour * 60 + wall.minute + minutes) % MINUTES_OF_DAY)
    start = draw(near | st.integers(0, MINUTES_OF_DAY - 1))
    end = min(start + draw(st.integers(1, 120) | st.integers(1, 400)), MINUTES_OF_DAY)
    days = draw(st.just({EVERY_DAY[wall.weekday()]}) | st.sets(st.sampled_from(EVERY_DAY), min_size=1))
    moment = change + draw(st.integers(-7200, 7200) | st.integers(-2 * 86_400, 86_400))
    return window(start, end, zone, tuple(day for day in Day if day in days)), moment


@pytest.mark.requirement("F6")
@settings(max_examples=200)
@given(windows_at_a_change())
def test_the_next_opening_is_the_first_open_minute(drawn: tuple[Hours, int]) -> None:
    hours, now = drawn
    route = replace(LOADED.routes[SUPPORT], hours=(hours,))
    refusal = refuse_time(LOADED, route, "ticket.update", now)
    wall = datetime.fromtimestamp(now, ZoneInfo(hours.zone))
    minute = wall.hour * 60 + wall.minute
    should = EVERY_DAY[wall.weekday()] in hours.days and hours.from_minute <= minute < hours.to_minute
    assert (refusal is None) == should
    if refusal is None:
        return
    shown = datetime.strptime(refusal.enough.rpartition("(")[2], "%Y-%m-%dT%H:%M:%SZ)").replace(tzinfo=UTC)
    opens = int(shown.timestamp())
    assert is_open(hours, opens)
    step = 60 - now % 60
    assert not any(is_open(hours, moment) for moment in range(now + step, opens, 60))


@pytest.mark.requirement("F6")
def test_a_freeze_holds_from_its_first_second_to_the_last_before_its_end() -> None:
    policy = timed(FAIR)
    start, end = at("2026-12-20 00:00"), at("2027-01-03 00:00")
    assert [reason(policy, moment) for moment in (start - 1, start, end - 1, end)] == [
        Reason.OK,
        Reason.FROZEN,
        Reason.FROZEN,
        Reason.OK,
    ]
    refusal = refuse_time(policy, policy.routes[SUPPORT], "ticket.close", start)
    assert refusal is not None
    assert "the fair" in refusal.message
    assert refusal.check == (
        "now 2026-12-19T23:00:00Z is not in the freeze 2026-12-19T23:00:00Z to 2027-01-02T23:00:00Z"
    )
    assert "utc" not in refusal.rule
    assert "2027-01-02T23:00:00Z" in refusal.enough
    both = timed(OFFICE + FAIR)
    assert "mon 2027-01-04 09:00:00 Europe/Berlin" in enough(both, start)
    again = timed(FAIR[:-2] + ', { from = 2027-01-02T00:00:00Z, until = 2027-02-01T00:00:00Z, reason = "audit" }]\n')
    assert "2027-02-01T00:00:00Z" in enough(again, start)


@pytest.mark.requirement("F6", "P5")
def test_rules_bind_reads_too_and_what_implies_a_bound_action_cannot_dodge_them() -> None:
    reads = load(
        changed(
            "run_ttl =",
            OFFICE + 'allow."db.query" = { table = ["a"], rows = { max = 1 } }\nrun_ttl =',
        )
    )
    night = at("2026-05-04 20:00")
    assert reason(reads, night, "db.query") is Reason.OUTSIDE_HOURS
    only = timed(
        OFFICE.replace(" }", ', actions = ["ticket.update"] }') + FAIR.replace(" }]", ', actions = ["ticket.close"] }]')
    )
    assert reason(only, night, "ticket.update") is Reason.OUTSIDE_HOURS
    assert reason(only, night, "ticket.close") is Reason.OUTSIDE_HOURS
    fair = at("2026-12-22 10:00")
    assert reason(only, fair, "ticket.update") is Reason.OK
    assert reason(only, fair, "ticket.close") is Reason.FROZEN


def test_of_several_windows_for_an_action_one_has_to_be_open() -> None:
    second = OFFICE.replace("hours = ", "").strip().replace('"09:00"', '"18:00"').replace('"17:00"', '"19:00"')
    policy = timed(f"hours = [{OFFICE.strip()[8:]}, {second}]\n")
    assert reason(policy, at("2026-05-04 18:30")) is Reason.OK
    assert reason(policy, at("2026-05-04 17:30")) is Reason.OUTSIDE_HOURS
    assert "18:00:00" in enough(policy, at("2026-05-04 17:30"))


def test_a_zone_that_this_machine_lost_is_closed() -> None:
    hours = window(0, MINUTES_OF_DAY, "Mars/Olympus")
    policy = timed(OFFICE)
    route = replace(policy.routes[SUPPORT], hours=(hours,))
    refusal = refuse_time(policy, route, "ticket.update", at("2026-05-04 12:00"))
    assert refusal is not None
    assert (refusal.reason, refusal.enough) == (Reason.OUTSIDE_HOURS, "")


def test_a_route_that_thaws_piece_by_piece_for_ever_names_no_opening() -> None:
    policy = timed(OFFICE)
    begin = at("2026-05-04 12:00")
    pieces = tuple(
        Freeze(from_seconds=begin + 10 * each, until_seconds=begin + 10 * each + 10, reason="x") for each in range(200)
    )
    refusal = refuse_time(policy, replace(policy.routes[SUPPORT], freeze=pieces), "ticket.update", begin)
    assert refusal is not None
    assert refusal.enough == ""


@pytest.mark.case(23)
def test_rules_of_time_survive_storage() -> None:
    policy = timed(OFFICE + FAIR)
    assert Policy.from_json(decode(encode(policy.to_json()))) == policy
    assert policy.hash != load(EXAMPLE).hash


def test_explain_shows_what_binds_an_action() -> None:
    row = next(row for row in explain_route(timed(OFFICE + FAIR), SUPPORT) if row.action == "ticket.close")
    assert row.timing == (
        "open mon-fri 09:00-17:00 Europe/Berlin",
        "frozen 2026-12-19T23:00:00Z to 2027-01-02T23:00:00Z: the fair",
    )
    assert show_hours(window(0, 60, days=(Day.MONDAY, Day.WEDNESDAY))) == "mon, wed 00:00-01:00 Europe/Berlin"


# What the loader refuses


REFUSALS = {
    "no zone": (OFFICE.replace(', zone = "Europe/Berlin"', ""), 'needs "zone"'),
    "an abbreviation": (OFFICE.replace("Europe/Berlin", "CET"), 'write an IANA name such as "Europe/Berlin"'),
    "an offset": (OFFICE.replace("Europe/Berlin", "+01:00"), "is no zone"),
    "a mistyped zone": (OFFICE.replace("Europe/Berlin", "Europe/Berlni"), 'did you mean "Europe/Berlin"?'),
    "a zone that is a path": (OFFICE.replace("Europe/Berlin", "../etc/passwd"), "knows no time zone"),
    "a zone that is a folder": (OFFICE.replace("Europe/Berlin", "America/"), "knows no time zone"),
    "a mistyped day": (OFFICE.replace('"fri"', '"frei"'), 'unknown day "frei"; did you mean "fri"?'),
    "no day": (OFFICE.replace('["mon", "tue", "wed", "thu", "fri"]', "[]"), "would never be open"),
    "an hour that is none": (OFFICE.replace("09:00", "9:00"), 'must be a time such as "09:00"'),
    "an end before the beginning": (OFFICE.replace("17:00", "08:00"), "ends before it begins"),
    "an end that is a beginning": (OFFICE.replace("09:00", "24:00"), "must be a time"),
    "a mistyped key": (OFFICE.replace("days", "day"), 'did you mean "days"?'),
    "no window": ("hours = []\n", "is empty"),
    "no table": ('hours = "9-17"\n', "must be a table"),
    "no action": (OFFICE.replace(" }", ", actions = [] }"), "would bind nothing"),
    "an unknown action": (OFFICE.replace(" }", ', actions = ["ticket.updat"] }'), 'did you mean "ticket.update"?'),
    "a naive date": (FAIR.replace("+01:00", ""), "with its offset"),
    "a date without a time": (FAIR.replace("T00:00:00+01:00", ""), "with its offset"),
    "a date in quotes": (FAIR.replace("2026-12-20T00:00:00+01:00", '"2026-12-20T00:00:00+01:00"'), "without quotes"),
    "a split second": (FAIR.replace("2026-12-20T00:00:00+", "2026-12-20T00:00:00.5+"), "whole seconds"),
    "a time before time": (FAIR.replace("2026-12-20", "1960-12-20"), "between the years"),
    "a freeze that ends before it begins": (FAIR.replace("2027", "2025"), "over before it begins"),
    "a freeze without a reason": (FAIR.replace(', reason = "the fair"', ""), 'needs "reason"'),
    "a freeze of an unknown action": (FAIR.replace(" }]", ', actions = ["x.y"] }]'), 'does not allow "x.y"'),
}


@pytest.mark.requirement("F6")
@pytest.mark.parametrize("name", REFUSALS)
def test_what_is_not_clear_about_time_is_refused_with_its_line(name: str) -> None:
    lines, words = REFUSALS[name]
    text = changed("run_ttl =", lines + "run_ttl =")
    with pytest.raises(ConfigError) as error:
        load(text)
    assert words in str(error.value)
    assert error.value.line == line_of(lines.partition(" ")[0] + " =", text)


# What a change opens


def changes(before: str, after: str) -> list[tuple[str, bool]]:
    """What a change of rules comes to, and whether it widens."""
    return [(each.subject, each.widens) for each in diff(timed(before), timed(after))]


def items(before: str, after: str) -> set[tuple[str, str, str]]:
    """What a change of rules makes reachable."""
    return {(each.kind, each.after, each.rule) for each in reach(timed(before), timed(after))}


@pytest.mark.requirement("F6", "P5", "P7")
def test_an_order_that_is_lost_is_listed_for_what_implies_it_too() -> None:
    order = 'after."ticket.update" = ["ticket.look"]\n'
    look = '"ticket.look" = { effect = "read", args = { ticket = "ticket_id" } }\n"ticket.update" = {'
    base = changed('"ticket.update" = {', look)
    base = changed("run_ttl =", 'allow."ticket.look" = { ticket = ["T-*"] }\nrun_ttl =', base)
    without, ordered = load(base), load(changed("run_ttl =", order + "run_ttl =", base))
    assert [(each.action, each.subject, each.before, each.widens) for each in diff(ordered, without)] == [
        ("ticket.update", "after", "ticket.look", True)
    ]
    assert not any(each.widens for each in diff(without, ordered))
    assert [(each.kind, each.action, each.before, each.rule) for each in reach(ordered, without)] == [
        (ReachKind.AFTER, name, "only after ticket.look", f'routes."{SUPPORT}".after."ticket.update"')
        for name in ("ticket.close", "ticket.update")
    ]
    assert reach(without, ordered) == []
    row = next(row for row in explain_route(ordered, SUPPORT) if row.action == "ticket.close")
    assert row.timing == ("after a done call of ticket.look",)


HOURS, FREEZE = f'routes."{SUPPORT}".hours', f'routes."{SUPPORT}".freeze'


@pytest.mark.requirement("F6", "P7")
def test_removing_hours_or_a_freeze_widens_and_adding_one_does_not() -> None:
    assert changes("", OFFICE) == [("hours", False)]
    assert changes(OFFICE, "") == [("hours", True)]
    assert changes("", FAIR) == [("freeze", False)]
    assert changes(FAIR, "") == [("freeze", True)]
    assert items("", OFFICE + FAIR) == set()
    night = "mon 00:00-09:00, mon 17:00-24:00"
    assert all(after.startswith(f"open {night}") for _, after, rule in items(OFFICE, "") if rule == HOURS)
    assert items(FAIR, "") == {(ReachKind.FREEZE, "open 2026-12-19T23:00:00Z to 2027-01-02T23:00:00Z", FREEZE)}


@pytest.mark.requirement("F6", "P7")
def test_hours_are_compared_to_the_minute() -> None:
    assert items(OFFICE, OFFICE.replace("17:00", "17:01")) == {
        (
            ReachKind.HOURS,
            "open mon 17:00-17:01, tue 17:00-17:01, wed 17:00-17:01, thu 17:00-17:01, fri 17:00-17:01 Europe/Berlin",
            HOURS,
        )
    }
    assert items(OFFICE, OFFICE.replace("17:00", "16:59")) == set()
    assert items(OFFICE, OFFICE.replace("Berlin", "Paris")) == {
        (ReachKind.HOURS, "open mon-fri 09:00-17:00 Europe/Paris", HOURS)
    }
    split = OFFICE.strip()[8:]
    halves = f"hours = [{split.replace('17:00', '12:00')}, {split.replace('09:00', '12:00')}]\n"
    assert changes(OFFICE, halves) == [("hours", False)]
    assert items(OFFICE, OFFICE.replace(" }", ', actions = ["ticket.close"] }')) == {
        (ReachKind.HOURS, next(after for _, after, _ in items(OFFICE, "")), HOURS)
    }


@pytest.mark.requirement("F6", "P7")
def test_freezes_are_compared_to_the_second() -> None:
    later = FAIR.replace("2026-12-20T00:00:00", "2026-12-20T00:00:01")
    assert items(FAIR, later) == {(ReachKind.FREEZE, "open 2026-12-19T23:00:00Z to 2026-12-19T23:00:01Z", FREEZE)}
    assert items(later, FAIR) == set()
    assert changes(FAIR, FAIR.replace("the fair", "a fair")) == [("freeze", False)]


DAYS = st.lists(st.sampled_from(EVERY_DAY), min_size=1, unique=True).map(tuple)
WINDOWS = st.lists(
    st.builds(
        lambda days, start, length: window(start, min(start + length, MINUTES_OF_DAY), days=days),
        DAYS,
        st.integers(0, MINUTES_OF_DAY - 1),
        st.integers(1, 900),
    ),
    max_size=3,
).map(tuple)
FREEZES = st.lists(
    st.builds(
        lambda start, length: Freeze(from_seconds=start, until_seconds=start + length, reason="x"),
        st.integers(0, 30),
        st.integers(1, 15),
    ),
    max_size=4,
).map(tuple)


def bound(hours: tuple[Hours, ...] = (), freeze: tuple[Freeze, ...] = ()) -> Route:
    """A route with these rules of time."""
    return replace(load(EXAMPLE).routes[SUPPORT], hours=hours, freeze=freeze)


@pytest.mark.requirement("F6", "P7")
@given(WINDOWS, WINDOWS)
def test_hours_open_exactly_the_minutes_that_one_covers_and_the_other_does_not(
    old: tuple[Hours, ...], new: tuple[Hours, ...]
) -> None:
    monday = at("2026-05-04 00:00")
    week = [monday + 60 * minute for minute in range(7 * MINUTES_OF_DAY)]

    def covered(windows: tuple[Hours, ...]) -> set[int]:
        found = set()
        for each in windows:
            for day in each.days:
                start = EVERY_DAY.index(day) * MINUTES_OF_DAY
                found |= set(range(start + each.from_minute, start + each.to_minute))
        return found if windows else set(range(len(week)))

    gained = covered(new) - covered(old)
    shown = opened(bound(old), ["ticket.close"], bound(new), ["ticket.close"])
    assert shown == (f"{show_minutes(gained)} Europe/Berlin" if gained else "")
    for minute in list(gained)[:3]:
        before, after = bound(old), bound(new)
        assert refuse_time(load(EXAMPLE), before, "ticket.update", week[minute]) is not None
        assert refuse_time(load(EXAMPLE), after, "ticket.update", week[minute]) is None


@pytest.mark.requirement("F6", "P7")
@given(FREEZES, FREEZES)
def test_freezes_thaw_exactly_the_seconds_that_are_no_longer_in_one(
    old: tuple[Freeze, ...], new: tuple[Freeze, ...]
) -> None:
    def frozen(freezes: tuple[Freeze, ...]) -> set[int]:
        return {second for each in freezes for second in range(each.from_seconds, each.until_seconds)}

    gained = frozen(old) - frozen(new)
    shown = thawed(bound(freeze=old), ["ticket.close"], bound(freeze=new), ["ticket.close"])
    spans = []
    for part in filter(None, shown.split(", ")):
        start, end = (int(datetime.fromisoformat(text).timestamp()) for text in part.split(" to "))
        spans += range(start, end)
    assert sorted(spans) == sorted(gained)
