"""`request approve` of several, and `request edit`: a table first, one question, a result for each."""

from __future__ import annotations

import pytest
from terminal import Terminal

from leasehold.authority.batches import Item
from leasehold.cli.batch import batch_digest

pytestmark = pytest.mark.requirement("F2")


def ask(terminal: Terminal, *tickets: str) -> list[str]:
    """Requests that a lead has to answer."""
    terminal.people()
    return [terminal.ask(terminal.start(), f"ticket.update ticket={ticket}") for ticket in tickets]


def digest_of(terminal: Terminal, *requests: str) -> str:
    cards = [terminal.json("request", "inspect", request)["card_digest"] for request in requests]
    return batch_digest([Item(request_id=one, card_digest=card) for one, card in zip(requests, cards, strict=True)])


def test_several_are_shown_as_a_table_asked_about_once_and_answered_one_by_one(terminal: Terminal) -> None:
    one, two = ask(terminal, "T-1", "T-2")
    result = terminal.run("request", "approve", one, two, "--as", "user:ben", typing="y\n")
    for shown in (
        one,
        two,
        "ticket.update - acme / prod",
        "      ticket  T-1",
        "Approve 2 of these 2?",
    ):
        assert shown in result.stderr
    assert [line.split("\t")[:2] for line in result.stdout.splitlines()[1:]] == [[one, "approved"], [two, "approved"]]


def test_a_no_to_the_batch_answers_none_of_it(terminal: Terminal) -> None:
    one, two = ask(terminal, "T-1", "T-2")
    terminal.run("request", "approve", one, two, "--as", "user:ben", typing="n\n", code=1)
    assert {terminal.json("request", "inspect", each)["state"] for each in (one, two)} == {"pending"}


def test_a_script_names_the_digest_of_the_whole_batch(terminal: Terminal) -> None:
    one, two = ask(terminal, "T-1", "T-2")
    for wrong in (terminal.digest(one), digest_of(terminal, two, one)[7:20], digest_of(terminal, one)[7:20]):
        terminal.run("request", "approve", one, two, "--as", "user:ben", "--digest", wrong, code=2)
    given = digest_of(terminal, one, two)[7:20]
    told = terminal.json("request", "approve", one, two, "--as", "user:ben", "--digest", given)
    assert [each["state"] for each in told] == ["approved", "approved"]


@pytest.mark.requirement("P12")
def test_what_cannot_be_approved_together_stays_out_and_says_why(terminal: Terminal) -> None:
    (one,) = ask(terminal, "T-1")
    drop = terminal.ask(terminal.start("db/drop"), "db.drop table=old")
    result = terminal.run("request", "approve", one, drop, "--as", "user:ben", typing="y\n", code=3)
    assert "! stays out: nothing in it is destructive does not hold; answer this one by itself" in result.stderr
    assert "Approve 1 of these 2?" in result.stderr
    assert "1 of 2 were not approved" in result.stderr
    assert [line.split("\t")[1] for line in result.stdout.splitlines()[1:]] == ["approved", "not answered"]


@pytest.mark.requirement("F3")
@pytest.mark.case(82, 84)
def test_the_table_names_what_could_deceive(terminal: Terminal) -> None:
    terminal.people()
    requests = [terminal.ask(terminal.start(), f"ticket.update ticket={ticket}") for ticket in ("T-\u0430", "T-2")]
    result = terminal.run("request", "approve", *requests, "--as", "user:ben", typing="n\n", code=1)
    assert "U+0430 CYRILLIC SMALL LETTER A" in result.stderr


def test_a_request_is_edited_and_somebody_else_has_to_approve_it(terminal: Terminal) -> None:
    (one,) = ask(terminal, "T-1")
    edited = terminal.run("request", "edit", one, "--as", "user:ben", "--allow", "ticket.update ticket=T-2")
    new = edited.stdout.strip()
    assert "ticket.update ticket" in edited.stderr
    assert "T-1 -> T-2" in edited.stderr
    assert terminal.json("request", "inspect", one)["state"] == "superseded"
    assert (
        "own_request"
        in terminal.run("request", "approve", new, "--as", "user:ben", "--digest", terminal.digest(new), code=3).stderr
    )
    value = terminal.json("request", "inspect", new)
    assert (value["card"]["edited_from"], value["card"]["editors"]) == (one, ["user:ben"])


def test_an_edit_names_one_grant_for_each_action(terminal: Terminal) -> None:
    (one,) = ask(terminal, "T-1")
    twice = ("--allow", "ticket.update ticket=T-2", "--allow", "ticket.update ticket=T-3")
    terminal.run("request", "edit", one, "--as", "user:ben", *twice, code=2)
    terminal.run("request", "edit", one, "--as", "user:ben", code=2)
    terminal.run("request", "edit", one, "--as", "user:ben", "--set", "note=x", code=2)
