"""`leasehold break-glass`: two people at one terminal, minutes, a countdown, and a review that doctor waits for."""

from __future__ import annotations

import pytest
from click.testing import Result
from terminal import Terminal

from leasehold.authority.glass import Wish
from leasehold.ledger.entry import EntryKind
from leasehold.model.glass import Skippable
from leasehold.store.queries import LedgerQuery

pytestmark = [pytest.mark.requirement("P16"), pytest.mark.case(117)]

TABLE = """
[break_glass."support"]
openers = ["oncall"]
confirmers = ["lead"]
actions = ["ticket.close", "ticket.update"]
skips = ["approve"]
"""
YES = "break glass\ny\n"


@pytest.fixture
def glass(terminal: Terminal) -> Terminal:
    """A terminal whose policy has a break-glass, with keys for Ana, Ben and Eva."""
    terminal.policy.write_text(terminal.policy.read_text() + TABLE)
    terminal.people()
    terminal.run("person", "add", "user:ana")
    return terminal


def opens(terminal: Terminal, *more: str, typing: str | None = YES + YES, code: int = 0) -> Result:
    where = ("--route", "support", "--tenant", "acme", "--environment", "prod", "--action", "ticket.close")
    what = ("--skip", "approve", "--minutes", "5", "--reason", "nobody answers", "--as", "user:ana")
    return terminal.run("break-glass", "open", *where, *what, "--second", "user:ben", *more, typing=typing, code=code)


def used(terminal: Terminal, name: str, *command: str, code: int = 0, key: str = "a", **rest: str) -> Result:
    words = ("ticket.close", "--ticket_id", "T-1", "--", *command)
    who = rest.get("person", "user:ana")
    return terminal.run("break-glass", "use", "--as", who, "--key", key, name, *words, typing="", code=code)


def kinds(terminal: Terminal) -> list[str]:
    with terminal.authority() as authority:
        found = authority.desk.search(LedgerQuery(tenants=["acme"], agent="break-glass"))
    return [entry.kind for entry in reversed(found) if entry.detail.get("alarm") == "break_glass"]


def test_both_see_the_same_words_and_type_what_stands_there(glass: Terminal) -> None:
    result = opens(glass)
    assert result.stderr.count("reason: nobody answers\n") == 2
    assert "user:ben, do you want this? [" in result.stderr
    lines = dict(line.split(": ", 1) for line in result.stdout.splitlines())
    assert lines["glass"].startswith("glass_")
    assert lines["ends-in"] == "05m00s"
    assert "this was alarmed" in result.stderr
    assert kinds(glass) == [EntryKind.GLASS_OPENED]


@pytest.mark.parametrize("typing", ["no\n", "break glass\nn\n", YES + "no\n", YES + "break glass\nn\n"])
def test_either_can_say_no_and_nothing_is_recorded(glass: Terminal, typing: str) -> None:
    opens(glass, typing=typing, code=1)
    assert kinds(glass) == []


def test_without_a_terminal_there_is_nobody(glass: Terminal) -> None:
    assert "for people at a terminal" in opens(glass, typing=None, code=2).stderr
    name = glass_of(opens(glass))
    use = ("break-glass", "use", "--as", "user:ana", name, "ticket.close", "--ticket_id", "T-1", "--", "true")
    assert "for people at a terminal" in glass.run(*use, code=2).stderr
    assert "no such option" in opens(glass, "--digest", "abcdef12", code=2).stderr.lower()


def glass_of(result: Result) -> str:
    return result.stdout.partition("glass: ")[2].splitlines()[0]


def test_its_opener_runs_a_command_past_the_approval(glass: Terminal) -> None:
    name = glass_of(opens(glass))
    glass.system.advance(seconds=60)
    done = used(glass, name, "true")
    assert done.stderr == "break-glass ends in 04m00s\n"
    used(glass, name, "false", key="b", code=1)
    used(glass, name, "true", key="a", code=3)
    used(glass, name, "true", person="user:ben", code=3)
    glass.system.advance(seconds=240)
    used(glass, name, "true", key="c", code=5)
    alarms = kinds(glass)
    assert alarms[:3] == [EntryKind.GLASS_OPENED, EntryKind.CALL_ADMITTED, EntryKind.CALL_ADMITTED]
    assert set(alarms[3:]) == {EntryKind.CALL_DENIED}


def test_what_the_policy_does_not_list_is_denied(glass: Terminal) -> None:
    assert "there is no key of user:kim here" in opens(glass, "--second", "user:kim", code=2).stderr
    assert "not_entitled" in opens(glass, "--as", "user:eva", code=3).stderr
    assert "policy_denies" in opens(glass, "--action", "ticket.get", code=3).stderr
    assert kinds(glass) == [EntryKind.GLASS_REFUSED, EntryKind.GLASS_REFUSED]


def test_it_is_closed_reviewed_and_listed(glass: Terminal) -> None:
    assert glass.run("break-glass", "list").stderr == "nothing found\n"
    name = glass_of(opens(glass))
    assert "05m00s" in glass.run("break-glass", "list").stdout
    closed = glass.run("break-glass", "close", name)
    assert closed.stdout.startswith("status: closed\nreview-by: ")
    assert f"leasehold break-glass review {name} --as PERSON --words" in closed.stderr
    assert "review by" in glass.run("break-glass", "list").stdout
    assert "review-overdue" not in {each["code"] for each in glass.json("doctor")["findings"]}
    glass.system.advance(seconds=86_400)
    found = {each["code"]: each for each in glass.json("doctor")["findings"]}["review-overdue"]
    assert found["what"] == f"{name} of user:ana on support in acme was not reviewed in time"
    review = ("break-glass", "review", name, "--words", "it was right", "--as")
    assert "own_request" in glass.run(*review, "user:ana", code=3).stderr
    assert "own_request" in glass.run(*review, "user:ben", code=3).stderr
    assert glass.run(*review, "user:eva").stdout == "status: reviewed\n"
    assert "reviewed by user:eva" in glass.run("break-glass", "list").stdout
    assert [each["status"] for each in glass.json("break-glass", "list")] == ["reviewed"]
    assert "review-overdue" not in {each["code"] for each in glass.json("doctor")["findings"]}


def test_a_lease_of_it_is_of_no_use_to_anybody_else(glass: Terminal) -> None:
    name = glass_of(opens(glass))
    lease = f"lease_{name.partition('_')[2]}"
    words = ("ticket.close", "--ticket_id", "T-1", "--", "true")
    assert "bad_token" in glass.run("exec", "--lease", lease, "--key", "a", *words, code=3).stderr
    assert glass.json("lease", "inspect", lease)["status"] == "active"
    glass.run("lease", "renew", lease, code=3)


def test_one_whose_end_nobody_wrote_down_is_over_all_the_same(glass: Terminal) -> None:
    name = glass_of(opens(glass))
    glass.system.advance(seconds=300)
    assert "over; close it" in glass.run("break-glass", "list").stdout
    assert "review-overdue" not in {each["code"] for each in glass.json("doctor")["findings"]}
    glass.system.advance(seconds=86_400)
    found = {each["code"]: each for each in glass.json("doctor")["findings"]}["review-overdue"]
    assert found["remedy"] == f"leasehold break-glass close {name}, then review it as somebody else"
    glass.run("break-glass", "close", name)
    glass.run("break-glass", "review", name, "--words", "late", "--as", "user:eva")
    assert "review-overdue" not in {each["code"] for each in glass.json("doctor")["findings"]}


def test_list_says_what_waits_in_the_console_and_what_was_never_opened(glass: Terminal) -> None:
    with glass.authority() as authority:
        sign_ins, desks = authority.sign_ins, {}
        for person in ("user:ana", "user:ben"):
            sign_in = sign_ins.set_password(person, "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2g", by="op")
            desks[person] = authority.person_desk(sign_ins.begin(person, sign_in, address="here")[1]).glass
        wanted = Wish(
            opener="user:ana",
            second="user:ben",
            tenant="acme",
            environment="prod",
            route="support",
            actions=("ticket.close",),
            skips=(Skippable.APPROVE,),
            minutes=5,
            reason="nobody answers",
        )
        ana = desks["user:ana"]
        waits, declined = (ana.propose(ana.draft(wanted)).glass_id for _ in range(2))
        desks["user:ben"].decline(declined)
    shown = glass.run("break-glass", "list").stdout
    assert "waits for user:ben, in the console" in shown
    assert "never opened" in shown
    assert "run_" in glass.run("break-glass", "close", waits, code=1).stderr
