"""The history checker about break-glass: one lie at a time, told by somebody who rewrote the ledger."""

from __future__ import annotations

import pytest
from ledger_histories import broken
from ledger_story import BEGIN, Story
from msgspec.structs import replace

from leasehold.ledger.entry import Entry, EntryKind

pytestmark = [pytest.mark.invariant("I4"), pytest.mark.requirement("P16"), pytest.mark.case(117)]


def story(**opened: object) -> tuple[Story, Entry]:
    """A break-glass with its run and lease; `opened` replaces what its opening says."""
    told = Story()
    run = told.start(agent="break-glass")
    detail = {
        "alarm": "break_glass",
        "glass": "glass_1",
        "second": "user:ben",
        "actions": ("ticket.update",),
        "skips": ("approve",),
        "opened_at": BEGIN,
        "expires_at": BEGIN + 300,
    }
    said = replace(run, kind=EntryKind.GLASS_OPENED, lease="lease_1", person="user:ana", detail={**detail, **opened})
    told.add(said)
    return told, told.issue(told.ask(run))


def use(told: Story, lease: Entry, **fields: object) -> Entry:
    detail = {"alarm": "break_glass", "glass": "glass_1", "skipped": ("approve",), "signature": "s"}
    given = fields.pop("detail", None)
    return told.admit(lease, detail={**detail, **(given if isinstance(given, dict) else {})}, **fields)


def test_what_two_people_agreed_breaks_nothing() -> None:
    told, lease = story()
    told.settle(use(told, lease))
    told.event(EntryKind.GLASS_REVIEWED, tenant="acme", lease="lease_1", person="user:ben")
    assert broken(told) == []


@pytest.mark.parametrize(
    "lie",
    [
        {"second": "user:ana"},
        {"second": None},
        {"expires_at": BEGIN + 901},
        {"expires_at": BEGIN},
        {"alarm": None},
    ],
)
def test_it_is_opened_by_two_for_minutes_and_aloud(lie: dict[str, object]) -> None:
    told, _ = story(**lie)
    assert ("I4", 1) in broken(told)


def test_it_is_opened_for_the_one_who_opens_it() -> None:
    told, _ = story()
    told.entries[1] = replace(told.entries[1], person="user:eva")
    assert broken(told) == [("I4", 1)]


def test_a_refused_opening_opens_nothing() -> None:
    told, _ = story(second="user:ana")
    told.entries[1] = replace(told.entries[1], decision="deny")
    assert broken(told) == [("I4", 3)]  # its lease was issued without one


@pytest.mark.parametrize(
    "lie",
    [
        {"skipped": ("approve", "hours")},
        {"alarm": None},
        {"signature": None},
    ],
)
def test_a_use_skips_what_was_agreed_aloud_and_by_its_openers_word(lie: dict[str, object]) -> None:
    told, lease = story()
    use(told, lease, detail=lie)
    assert broken(told) == [("I4", 4)]


def test_a_use_is_of_an_action_that_was_agreed() -> None:
    told, lease = story(actions=("ticket.close",))
    use(told, lease)
    assert broken(told) == [("I4", 4)]


def test_a_use_past_its_minutes_is_a_violation() -> None:
    told, lease = story(expires_at=BEGIN + 60)
    told.now_ms = (BEGIN + 60) * 1000
    use(told, lease)
    assert broken(told) == [("I4", 4)]


def test_a_lease_of_an_agent_skips_nothing() -> None:
    told = Story()
    lease = told.issue(told.ask(told.start()))
    told.admit(lease, detail={"skipped": ("approve",)})
    assert broken(told) == [("I4", 3)]


def test_nobody_bears_the_name_without_an_opening_nor_has_an_opening_without_the_name() -> None:
    told = Story()
    told.issue(told.ask(told.start(agent="break-glass")))
    assert broken(told) == [("I4", 2)]
    other, lease = story()
    use(other, replace(lease, agent="support-bot"))
    assert broken(other) == [("I4", 4)]


def test_whoever_opened_it_does_not_review_it() -> None:
    told, _ = story()
    told.event(EntryKind.GLASS_REVIEWED, tenant="acme", lease="lease_1", person="user:ana")
    told.event(EntryKind.GLASS_REVIEWED, tenant="acme", lease="lease_2", person="user:ben")
    assert broken(told) == [("I4", 4), ("I4", 5)]
