"""`leasehold policy accept --as` and `policy confirm`: a widening in the hands of two people at their terminals."""

from __future__ import annotations

import pytest
from terminal import Terminal

WIDE = ("replicas = { max = 3 }", "replicas = { max = 9 }")


def change(terminal: Terminal, *changes: tuple[str, str]) -> None:
    """Edit the policy file."""
    text = terminal.policy.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    terminal.policy.write_text(text)


def governed(terminal: Terminal) -> str:
    """A policy that takes two people to widen, with eva and ben as those, and a file that widens it."""
    change(
        terminal,
        ("[people]", '[policy]\naccept = "two"\n[people]'),
        ('"user:ben" = ["lead", "dba"]', '"user:ben" = ["lead", "dba", "governor"]\n"user:zoe" = ["governor"]'),
        ("[roles]", '[roles]\ngovernor = { can = ["policy"], tenants = ["*"] }'),
    )
    terminal.start()
    for person in ("user:ben", "user:zoe"):
        terminal.run("person", "add", person)
    change(terminal, WIDE)
    return str(terminal.json("policy", "check")["hash"])


@pytest.mark.requirement("P7")
def test_one_person_proposes_and_another_confirms_what_both_were_shown(terminal: Terminal) -> None:
    digest = governed(terminal)
    alone = terminal.run("policy", "accept", "--digest", digest, code=4)
    assert "policy confirm" in alone.stderr
    proposed = terminal.run("policy", "accept", "--as", "user:ben", typing="widen\ny\n", code=4)
    assert proposed.stdout == f"{digest}\n"
    assert f"leasehold policy confirm {digest}" in proposed.stderr
    assert "REACHES" in terminal.run("policy", "diff", code=1).stdout
    assert "own" in terminal.run("policy", "confirm", digest, "--as", "user:ben", typing="widen\ny\n", code=3).stderr
    shown = terminal.run("policy", "confirm", digest, "--as", "user:zoe", typing="widen\ny\n")
    assert "proposed by user:ben" in shown.stderr
    assert "REACHES ci/deploy deploy.prod.release:create" in shown.stderr
    assert shown.stdout == f"confirmed {digest}\n"
    assert terminal.run("policy", "diff").stdout == "nothing changes\n"
    entries = terminal.json("ledger", "query")
    assert [entry["kind"] for entry in entries if entry["kind"].startswith("policy.")] == [
        "policy.accepted",
        "policy.answered",
        "policy.answered",
        "policy.proposed",
        "policy.accepted",
    ]


@pytest.mark.requirement("P7")
def test_a_proposal_is_refused_or_taken_back(terminal: Terminal) -> None:
    digest = governed(terminal)
    terminal.run("policy", "accept", "--as", "user:ben", "--digest", digest, code=4)
    terminal.run("policy", "accept", "--as", "user:zoe", "--digest", digest, code=3)
    assert terminal.line("policy", "confirm", digest, "--as", "user:ben", "--refuse") == f"refused {digest}"
    over = terminal.run("policy", "confirm", digest, "--as", "user:zoe", "--digest", digest, code=3).stderr
    assert "this proposal is refused" in over
    assert "REACHES" not in over
    assert "nobody has proposed" in terminal.run("policy", "confirm", "sha256:0", "--as", "user:zoe", code=1).stderr


def test_what_narrows_needs_no_second_person(terminal: Terminal) -> None:
    governed(terminal)
    change(terminal, (WIDE[1], "replicas = { max = 2 }"))
    digest = str(terminal.json("policy", "check")["hash"])
    accepted = terminal.run("policy", "accept", "--as", "user:ben", "--digest", digest)
    assert accepted.stdout == f"{digest}\n"
    assert "takes one person" in accepted.stderr


@pytest.mark.requirement("P7")
def test_doctor_names_a_policy_that_waits_for_a_second_person(terminal: Terminal) -> None:
    digest = governed(terminal)
    assert "policy-waits" not in terminal.run("doctor").stdout
    terminal.run("policy", "accept", "--as", "user:ben", "--digest", digest, code=4)
    found = terminal.run("doctor").stdout
    assert "WARNING policy-waits: user:ben proposed" in found
    assert f"leasehold policy confirm {digest}" in found
    terminal.run("policy", "confirm", digest, "--as", "user:zoe", "--digest", digest)
    assert "policy-waits" not in terminal.run("doctor").stdout
