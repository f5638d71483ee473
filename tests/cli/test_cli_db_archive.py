"""`leasehold db archive`: cards of finished runs go for good, on both databases, and everything else stays."""

from __future__ import annotations

import pytest
from terminal import Terminal

from leasehold.config import create_private, open_state
from postgres_server import PostgresServer

GRANT = "ticket.get ticket=T-1"
CARD_ALONE = b'"requester_may_approve"'
"""A word that stands in stored cards and nowhere else."""


@pytest.fixture(params=["sqlite", "postgres"])
def kept(request: pytest.FixtureRequest, terminal: Terminal) -> Terminal:
    """A terminal whose state is on one of the two."""
    if request.param == "postgres":
        server: PostgresServer = request.getfixturevalue("postgres_server")
        create_private(open_state(terminal.state).database_url, server.url(server.fresh()).encode())
    return terminal


def finish(terminal: Terminal) -> tuple[str, str]:
    """A finished run and its request."""
    run = terminal.start()
    asked = terminal.ask(run, GRANT)
    terminal.run("run", "finish", run)
    return run, asked


@pytest.mark.requirement("L12")
def test_cards_of_finished_runs_go_and_everything_still_verifies(kept: Terminal) -> None:
    run, asked = finish(kept)
    open_run = kept.start()
    waiting = kept.ask(open_run, GRANT)
    kept.system.advance(seconds=86_400)
    before = ("--before", "yesterday")
    assert kept.json("db", "archivable", *before)["runs"] == []
    assert kept.json("db", "archive", *before, "--reason", "x", "--digest", "0" * 8) == {"erased": 0, "kept": 0}
    kept.system.advance(seconds=2 * 86_400)
    listed = kept.json("db", "archivable", *before)
    assert [(each["run"], each["cards"][0]["request"]) for each in listed["runs"]] == [(run, asked)]
    shown = kept.run("db", "archivable", *before)
    assert run in shown.stdout
    assert listed["digest"] in shown.stderr
    archive = ("db", "archive", *before, "--reason", "30 days are over")
    assert "nobody can be asked" in kept.run(*archive, code=2).stderr
    assert "not the digest" in kept.run(*archive, "--digest", "0" * 8, code=2).stderr
    assert kept.json(*archive, "--digest", listed["digest"][:8]) == {"erased": 1, "kept": 0}
    inspected = kept.json("request", "inspect", asked)
    assert (inspected["card"], inspected["card_digest"]) == (None, listed["runs"][0]["cards"][0]["card_digest"])
    assert "card erased; its digest was " in kept.run("request", "inspect", asked).stdout
    assert "(card erased)" in kept.run("request", "list", "--run", run).stdout
    assert kept.json("request", "inspect", waiting)["card"] is not None
    assert kept.run("db", "check").stdout == "the database is whole\n"
    verify(kept, run)


def verify(terminal: Terminal, run: str) -> None:
    """An auditor with the export, the receipt and the public keys finds all of it whole."""
    receipt, exported, keys = (str(terminal.folder / name) for name in ("receipt.json", "all.jsonl", "authority.pub"))
    terminal.run("run", "finish", run, "-o", receipt)
    terminal.run("ledger", "export", "-o", exported)
    terminal.run("keys", "export", "-o", keys)
    terminal.run("ledger", "verify", exported, "--key", keys, "--history")
    terminal.run("receipt", "verify", receipt, "--key", keys)
    assert "; card erased 2026-" in terminal.run("receipt", "inspect", receipt).stdout


def test_a_person_types_what_cannot_be_taken_back(kept: Terminal) -> None:
    finish(kept)
    kept.system.advance(seconds=60)
    archive = ("db", "archive", "--before", "10s", "--reason", "x")
    assert "nothing was done" in kept.run(*archive, typing="yes\n", code=1).output
    assert kept.run(*archive, typing="erase\ny\n").stdout.endswith("cards erased: 1\n")
    assert kept.run(*archive, typing="erase\ny\n").stdout.endswith("cards erased: 0\n")


def test_what_is_yet_to_come_is_no_time_to_archive_by(kept: Terminal) -> None:
    kept.start()
    assert "yet to come" in kept.run("db", "archivable", "--before", "2999-01-01", code=2).stderr


def test_a_file_holds_nothing_of_an_erased_card(terminal: Terminal) -> None:
    finish(terminal)
    terminal.system.advance(seconds=60)
    assert CARD_ALONE in (terminal.state / "leasehold.db").read_bytes()
    terminal.run("db", "archive", "--before", "10s", "--reason", "x", typing="erase\ny\n")
    for path in terminal.state.glob("leasehold.db*"):
        assert CARD_ALONE not in path.read_bytes(), path.name


def test_a_file_that_somebody_still_reads_is_said_to_hold_it_still(terminal: Terminal) -> None:
    finish(terminal)
    terminal.system.advance(seconds=60)
    with terminal.authority() as other:
        connection = other.engine.store.queries._tables._readers._make()
        connection.execute("BEGIN; SELECT * FROM cards")
        done = terminal.run("db", "archive", "--before", "10s", "--reason", "x", typing="erase\ny\n")
        assert "say this again later" in done.stderr
        connection.close()
    terminal.run("db", "archive", "--before", "10s", "--reason", "x")
    assert CARD_ALONE not in (terminal.state / "leasehold.db").read_bytes()
