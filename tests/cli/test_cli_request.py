"""`leasehold request`: people see the card, and say yes to exactly that."""

from __future__ import annotations

from pathlib import Path

import pytest
from terminal import Terminal

UPDATE = "ticket.update ticket=T-1"


@pytest.fixture
def pending(terminal: Terminal) -> str:
    """A request that a lead has to answer."""
    terminal.people()
    return terminal.ask(terminal.start(), UPDATE)


def drop(terminal: Terminal) -> str:
    """A destructive request that two people have to answer."""
    terminal.people()
    return terminal.ask(terminal.start("db/drop"), "db.drop table=old")


@pytest.mark.requirement("P9", "L10")
def test_a_person_at_a_terminal_sees_the_card_and_confirms(terminal: Terminal, pending: str) -> None:
    result = terminal.run("request", "approve", pending, "--as", "user:ben", typing="y\n")
    assert result.stdout == "approved\n"
    assert "ticket.update  WRITE" in result.stderr
    assert f"Approve ticket.update - acme / prod? [{terminal.digest(pending)}]" in result.stderr
    assert "same account" in result.stderr


@pytest.mark.parametrize("typed", ["n\n", "\n"])
def test_anything_but_a_yes_is_a_no_that_answers_nothing(terminal: Terminal, pending: str, typed: str) -> None:
    assert (
        "nothing was done"
        in terminal.run("request", "approve", pending, "--as", "user:ben", typing=typed, code=1).stderr
    )
    assert terminal.json("request", "inspect", pending)["state"] == "pending"


def test_without_a_terminal_the_digest_has_to_be_named(terminal: Terminal, pending: str) -> None:
    refused = terminal.run("request", "approve", pending, "--as", "user:ben", code=2)
    assert "pass --digest" in refused.stderr
    for digest in ("1234567", "zzzzzzzz", "00000000"):
        terminal.run("request", "approve", pending, "--as", "user:ben", "--digest", digest, code=2)
    assert terminal.json("request", "inspect", pending)["state"] == "pending"
    assert terminal.approve(pending).stdout == "approved\n"


@pytest.mark.requirement("P12")
def test_a_destructive_action_has_to_be_typed_by_name_and_needs_two_people(terminal: Terminal) -> None:
    request = drop(terminal)
    wrong = terminal.run("request", "approve", request, "--as", "user:ben", typing="yes\ny\n", code=1)
    assert "nothing was done" in wrong.stderr
    first = terminal.run("request", "approve", request, "--as", "user:ben", typing="db.drop\ny\n")
    assert first.stdout == "pending; 1 more approval is needed\n"
    assert "0 of 2 so far" in first.stderr
    second = terminal.run("request", "approve", request, "--as", "user:eva", typing="db.drop\ny\n")
    assert "1 of 2 so far (user:ben)" in second.stderr
    assert second.stdout == "approved\n"


@pytest.mark.requirement("F3", "P12")
def test_only_entitled_people_with_their_own_key_can_approve(terminal: Terminal, pending: str) -> None:
    digest = terminal.digest(pending)
    assert "no key of user:kim" in terminal.run("request", "approve", pending, "--as", "user:kim", code=2).stderr
    terminal.run("person", "add", "user:ana")
    own = terminal.run("request", "approve", pending, "--as", "user:ana", "--digest", digest, code=3)
    assert "own_request" in own.stderr
    stolen = terminal.state / "people" / "user:eva.keys.json"
    forged = terminal.run(
        "request", "approve", pending, "--as", "user:ben", "--key", str(stolen), "--digest", digest, code=3
    )
    assert "bad_signature" in forged.stderr


def test_a_name_without_its_kind_is_answered_with_the_person_who_was_meant(terminal: Terminal, pending: str) -> None:
    refused = terminal.run("request", "approve", pending, "--as", "ben", typing="y\n", code=2)
    assert "there is no key of ben here; did you mean user:ben?" in refused.stderr
    nobody = terminal.run("request", "approve", pending, "--as", "bob", typing="y\n", code=2)
    assert "make one with: leasehold person add bob" in nobody.stderr


def test_a_key_file_may_stand_elsewhere(terminal: Terminal, tmp_path: Path) -> None:
    key = tmp_path / "ben.key"
    terminal.run("person", "add", "user:ben", "--key", str(key))
    request = terminal.ask(terminal.start(), UPDATE)
    digest = terminal.digest(request)
    terminal.run("request", "approve", request, "--as", "user:ben", "--digest", digest, code=2)
    assert terminal.run(
        "request", "approve", request, "--as", "user:ben", "--key", str(key), "--digest", digest
    ).stdout == "approved\n"  # fmt: skip


def test_a_no_needs_no_second_question_and_its_words_reach_the_agent(terminal: Terminal, pending: str) -> None:
    assert terminal.run("request", "deny", pending, "--as", "user:ben", "--reason", "wrong ticket").stdout == "denied\n"
    shown = terminal.run("request", "inspect", pending).stdout.splitlines()
    assert shown[-2:] == ["state: denied", "deny by user:ben at 2026-05-06 12:00:00 UTC, same account: wrong ticket"]
    terminal.run("lease", "draw", pending, code=3)


def test_a_no_to_another_card_is_refused(terminal: Terminal, pending: str) -> None:
    terminal.run("request", "deny", pending, "--as", "user:ben", "--digest", "00000000", code=2)
    digest = terminal.digest(pending)
    assert terminal.run("request", "deny", pending, "--as", "user:ben", "--digest", digest).stdout == "denied\n"


def test_who_may_not_answer_or_comes_late_is_told_before_the_card(terminal: Terminal, pending: str) -> None:
    terminal.run("person", "add", "user:ana")
    for person, word in (("user:ana", "own_request"), ("user:ben", "not_pending")):
        for verb in ("approve", "deny"):
            told = terminal.run("request", verb, pending, "--as", person, typing="y\n", code=3)
            assert word in told.stderr
            assert "customer confirmed" not in told.stderr
        if person == "user:ana":
            terminal.approve(pending)


@pytest.mark.requirement("P11")
def test_approving_what_is_approved_changes_nothing(terminal: Terminal, pending: str) -> None:
    terminal.approve(pending)
    again = terminal.run(
        "request", "approve", pending, "--as", "user:eva", "--digest", terminal.digest(pending), code=3
    )
    assert "not_pending" in again.stderr


def test_the_list_shows_what_waits_and_until_when(terminal: Terminal, pending: str) -> None:
    terminal.system.advance(seconds=60)
    result = terminal.run("request", "list")
    assert result.stdout.splitlines()[0] == "request\tstate\tkind\twhat\trun\tanswer within"
    assert result.stdout.splitlines()[1].startswith(f"{pending}\tpending\tlease\tticket.update - acme / prod\trun_")
    assert result.stdout.endswith("09m00s\n")


@pytest.mark.requirement("F1")
def test_a_request_that_nobody_answered_in_time_is_listed_as_expired_not_denied(
    terminal: Terminal, pending: str
) -> None:
    run = terminal.json("request", "inspect", pending)["run_id"]
    terminal.system.advance(seconds=600)
    assert terminal.json("request", "list") == []
    assert [entry["state"] for entry in terminal.json("request", "list", "--run", run)] == ["expired"]
    late = terminal.run("request", "approve", pending, "--as", "user:ben", "--digest", terminal.digest(pending), code=3)
    assert "expired unanswered" in late.stderr


def test_a_stopped_request_is_shown_as_stopped(terminal: Terminal, pending: str) -> None:
    terminal.run("hold", f"request:{pending}", "--reason", "look at it")
    assert terminal.json("request", "inspect", pending)["state"] == "held"
    terminal.run("revoke", f"request:{pending}", "--reason", "no")
    assert terminal.json("request", "inspect", pending)["state"] == "revoked"


def test_a_requester_can_take_a_request_back(terminal: Terminal, pending: str) -> None:
    assert terminal.line("request", "withdraw", pending) == "withdrawn"
    terminal.run("request", "withdraw", pending, code=3)


def test_a_drawn_table_folds_and_leaves_nothing_out(terminal: Terminal, pending: str) -> None:
    drawn = terminal.run("request", "list", drawn=True).stdout
    assert "…" not in drawn
    assert "".join(drawn.split()).count("pending") == 1
    assert terminal.run("request", "list", "--run", terminal.start(), drawn=True).stderr == "nothing found\n"


@pytest.mark.requirement("L5")
def test_asking_for_less_than_the_route_offers(terminal: Terminal) -> None:
    run = terminal.start()
    asked = terminal.json(
        "request", "make", run, "--allow", "ticket.get ticket=T-1", "--reason", "look", "--budget", "calls:=3",
        "--ttl", "60",
    )  # fmt: skip
    assert asked["state"] == "approved"
    lease = terminal.json("lease", "inspect", terminal.line("lease", "draw", asked["request"]))
    assert lease["budget"]["calls"] == 3
    assert lease["expires_in_seconds"] == 60


def test_asking_for_more_than_the_route_offers_is_denied(terminal: Terminal) -> None:
    run = terminal.start()
    denied = terminal.run("request", "make", run, "--allow", "db.drop table=old", "--reason", "x", code=3)
    assert "db.drop" in denied.stderr
    twice = ("--allow", "ticket.get ticket=T-1", "--allow", "ticket.get ticket=T-2")
    assert "twice" in terminal.run("request", "make", run, *twice, "--reason", "x", code=2).stderr


@pytest.mark.case(82)
@pytest.mark.requirement("F3")
def test_what_an_agent_writes_cannot_move_the_approvers_terminal(terminal: Terminal) -> None:
    terminal.people()
    request = terminal.ask(terminal.start(), UPDATE, reason="fine\x1b[2J\x1b[H\u202eerased")
    for words in (
        ("inspect", request),
        ("deny", request, "--as", "user:ben", "--reason", "no\x1b[2J"),
        ("inspect", request),
    ):
        result = terminal.run("request", *words)
        assert "\x1b" not in result.output
        assert "\u202e" not in result.output
    assert "fine<U+001B>[2J<U+001B>[H<U+202E>erased" in result.stdout
