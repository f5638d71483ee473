"""`leasehold revoke`, `hold`, `lift` and `person`: stopping is easy, lifting takes a person, leavers leave whole."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from terminal import WHERE, Terminal

from leasehold.authority.door import EmbeddedDoor
from leasehold.errors import Denied
from leasehold.model.call import Call, Outcome, OutcomeStatus
from leasehold.model.canonical import encode
from leasehold.model.decision import Reason
from leasehold.model.scope import ScopeKind

PROD = ("--environment", "prod")


@pytest.mark.requirement("P15", "L6")
def test_a_hold_stops_what_would_start_until_a_person_lifts_it(terminal: Terminal) -> None:
    terminal.people()
    lease = terminal.lease()
    held = terminal.run("hold", "all", "--reason", "incident 7")
    assert held.stdout.startswith("status: held\nreason: incident 7\n")
    assert held.stderr == "to end this: leasehold lift all --as PERSON --reason ...\n"
    terminal.run("run", "start", "--route", "support", "--environment", "prod", *WHERE, code=3)
    assert terminal.json("lease", "inspect", lease)["status"] == "held"
    assert "not_entitled" in terminal.run("lift", "all", "--reason", "over", "--as", "user:ben", code=3).stderr
    assert terminal.run("lift", "all", "--reason", "over", "--as", "user:eva").stdout == "status: lifted\n"
    assert terminal.json("lease", "inspect", lease)["status"] == "active"
    terminal.run("lift", "all", "--reason", "over", "--as", "user:eva", code=3)


@pytest.mark.requirement("P15", "L13")
def test_what_is_stopped_now_is_listed_with_who_and_why(terminal: Terminal) -> None:
    assert terminal.run("stops").stderr == "nothing found\n"
    run = terminal.start()
    terminal.run("hold", f"run:{run}", "--reason", "looks odd")
    terminal.run("hold", "tool:ticket", "--reason", "incident 7", "--tenant", "acme")
    terminal.run("revoke", "agent:other", "--reason", "compromised")
    shown = [line.split("\t") for line in terminal.run("stops").stdout.splitlines()[1:]]
    assert [(line[0], line[1], line[2], line[4], line[5]) for line in shown] == [
        ("agent:other", "every", "revoke", "account:test", "compromised"),
        (f"run:{run}", "acme", "hold", "account:test", "looks odd"),
        ("tool:ticket", "acme", "hold", "account:test", "incident 7"),
    ]
    found = terminal.json("stops")
    assert {stop["at"] for stop in found} == {terminal.system.now().seconds}
    assert [stop["tenant"] for stop in found] == ["", "acme", "acme"]


def test_a_stop_of_a_name_that_the_policy_does_not_know_says_so(terminal: Terminal) -> None:
    for words in ("hold", "revoke"):
        said = terminal.run(words, "tool:tickets", "--reason", "incident").stderr
        assert said.startswith('the active policy has no tool tickets; did you mean "ticket"?')
    assert "has no" not in terminal.run("hold", "tool:ticket", "--reason", "incident").stderr
    assert "has no" not in terminal.run("revoke", "agent:unheard-of", "--reason", "incident").stderr


def test_a_role_is_needed_to_lift_and_for_no_other_power(terminal: Terminal) -> None:
    terminal.policy.write_text(terminal.policy.read_text().replace('["revoke", "hold", "lift", "query"]', "[]"))
    terminal.people()
    terminal.start()
    terminal.run("hold", "agent:bot", "--reason", "x")
    terminal.run("revoke", "agent:bot", "--reason", "x")
    assert "run.started" in terminal.run("ledger", "query", "--json").stdout
    assert "not_entitled" in terminal.run("lift", "agent:bot", "--reason", "x", "--as", "user:eva", code=3).stderr


@pytest.mark.requirement("P15")
def test_a_revoke_of_a_scope_ends_its_runs_for_good(terminal: Terminal) -> None:
    run = terminal.start()
    assert terminal.json("revoke", "agent:bot", "--reason", "compromised")["scope"] == "agent:bot"
    assert terminal.json("run", "inspect", run)["state"] == "finished"
    terminal.start()


def test_a_stop_can_be_of_one_tenant(terminal: Terminal) -> None:
    acme = terminal.start()
    globex = terminal.line(
        "run", "start", "--route", "support", "--environment", "prod", *WHERE[:2], "--tenant", "globex", *WHERE[4:]
    )
    terminal.run("revoke", "agent:bot", "--reason", "x", "--tenant", "globex")
    assert terminal.json("run", "inspect", acme)["state"] == "open"
    assert terminal.json("run", "inspect", globex)["state"] == "finished"


@pytest.mark.parametrize("scope", ["everything", "lease:", "lease:x", "action:close", "all:x"])
def test_a_scope_that_is_none_exits_2(terminal: Terminal, scope: str) -> None:
    terminal.run("hold", scope, "--reason", "x", code=2)


@pytest.mark.requirement("L13")
def test_a_mistake_in_the_policy_file_keeps_nobody_from_stopping(terminal: Terminal) -> None:
    lease = terminal.lease()
    terminal.policy.write_text("version = 1\nauthority = 'acme-desk'\nrutes = {}\n")
    stopped = terminal.run("lease", "revoke", lease, "--reason", "now")
    assert stopped.stdout.startswith("status: revoked")
    assert "cannot be read" in stopped.stderr
    terminal.run("lease", "inspect", lease, code=2)
    terminal.run("hold", "all", "--reason", "x", "--policy", str(terminal.policy), plain=True, code=2)


def test_stopping_where_there_is_no_state_says_so(terminal: Terminal) -> None:
    terminal.policy.write_text("")
    assert "there is no state" in terminal.run("hold", "all", "--reason", "x", code=2).stderr


def test_person_add_makes_a_private_key_file_and_says_what_their_word_counts_for(terminal: Terminal) -> None:
    added = terminal.json("person", "add", "user:ben")
    mode = stat.S_IMODE(Path(added["file"]).stat().st_mode)
    assert (mode, added["roles"]) == (0o600, ["dba", "lead"])
    assert terminal.json("person", "add", "user:ben")["key_id"] == added["key_id"]
    stranger = terminal.run("person", "add", "user:kim")
    assert "roles: none" in stranger.stdout
    assert "counts for nothing yet" in stranger.stderr
    assert [entry["person"] for entry in terminal.json("person", "list")] == ["user:ben", "user:kim"]
    assert "user:ben\tactive\tdba, lead\t" in terminal.run("person", "list").stdout


def test_a_person_has_one_key(terminal: Terminal, tmp_path: Path) -> None:
    terminal.run("person", "add", "user:ben")
    other = terminal.run("person", "add", "user:ben", "--key", str(tmp_path / "other.key"), code=3)
    assert "has a key already" in other.stderr


def test_a_removed_persons_word_counts_no_more_and_their_key_file_is_gone(terminal: Terminal) -> None:
    terminal.people()
    request = terminal.ask(terminal.start(), "ticket.update ticket=T-1")
    removed = terminal.run("person", "remove", "user:ben")
    assert "was deleted" in removed.stderr
    terminal.run("request", "approve", request, "--as", "user:ben", "--digest", terminal.digest(request), code=2)
    terminal.run("person", "remove", "user:ben", code=3)
    assert terminal.json("person", "add", "user:ben")["roles"] == ["dba", "lead"]


@pytest.mark.requirement("B4")
def test_offboarding_is_one_command(terminal: Terminal) -> None:
    key = Path(terminal.json("person", "add", "user:ana")["file"])
    run = terminal.start()
    left = terminal.run("person", "offboard", "user:ana", "--reason", "left the company")
    *said, entry, in_flight = left.stdout.splitlines()
    assert said == ["status: offboarded", "reason: left the company", "access: removed"]
    assert (entry.partition(":")[0], in_flight) == ("entry", "in-flight: none")
    assert "the policy still names user:ana (oncall)" in left.stderr
    assert terminal.json("run", "inspect", run)["state"] == "finished"
    assert [entry["state"] for entry in terminal.json("person", "list")] == ["left"]
    assert not key.exists()
    assert "was let go" in terminal.run("run", "start", "--route", "support", *PROD, *WHERE, code=5).stderr


@pytest.mark.requirement("B4")
def test_offboarding_again_says_that_it_was_done(terminal: Terminal) -> None:
    first = terminal.json("person", "offboard", "user:kim", "--reason", "left")
    assert (first["status"], first["access"], first["roles"], first["in_flight"]) == ("offboarded", "none", [], [])
    again = terminal.run("person", "offboard", "user:kim", "--reason", "left")
    assert again.stdout.startswith("status: offboarded before\n")
    assert f"entry: {first['entry']}\n" in again.stdout
    assert again.stderr == ""
    assert "user:kim\tleft\tnone\tnone" in terminal.run("person", "list").stdout


@pytest.mark.requirement("B4", "F3")
def test_offboarding_says_what_nobody_else_can_approve_or_do(terminal: Terminal) -> None:
    terminal.people()
    left = terminal.run("person", "offboard", "user:eva", "--reason", "left")
    assert "approvers with keys that db/drop needs: 2; that are left: 1;" in left.stderr
    assert "nobody else whom the policy names can hold, lift, query, revoke" in left.stderr
    assert "that support needs" not in left.stderr
    value = terminal.json("person", "offboard", "user:eva", "--reason", "left")
    assert [(short["route"], short["ready"]) for short in value["short"]] == [("db/drop", ["user:ben"])]
    assert value["powers"] == ["hold", "lift", "query", "revoke"]


SCOPES = {
    "lease": lambda held: f"lease:{held.lease_id}",
    "request": lambda held: f"request:{held.request_id}",
    "run": lambda held: f"run:{held.run_id}",
    "person": lambda held: "person:user:ana",
    "agent": lambda held: "agent:bot",
    "tool": lambda held: "tool:ticket",
    "action": lambda held: "action:ticket.tag",
    "tenant": lambda held: "tenant:acme",
    "environment": lambda held: "environment:prod",
    "route": lambda held: "route:support",
    "all": lambda held: "all",
}


@pytest.mark.requirement("P15", "L6", "L13")
@pytest.mark.invariant("I1")
@pytest.mark.case(53, 63)
@pytest.mark.parametrize("words", ["hold", "revoke"])
@pytest.mark.parametrize("kind", ScopeKind)
def test_every_scope_can_be_stopped_from_a_terminal(terminal: Terminal, kind: ScopeKind, words: str) -> None:
    terminal.people()
    lease_id = terminal.lease("ticket.tag ticket=T-1 level:=1")
    with terminal.authority() as authority:
        chain = authority.desk.lease_status(lease_id).chain
        held, door = authority.engine.held(chain[-1].lease), authority.door("ticket", "prod")
        token = held.token_for("ticket")
        under_way = door.admit(token, tag(door, "first"))
        scope = SCOPES[kind](held.lease)
        stopped = terminal.json(words, scope, "--reason", "incident 7")
        assert [call["admission"] for call in stopped["in_flight"]] == [under_way.admission_id]
        with pytest.raises(Denied) as refused:
            door.admit(token, tag(door, "second"))
        assert refused.value.decision.reason == {"hold": Reason.HELD, "revoke": Reason.REVOKED}[words]
        door.settle(under_way.admission_id, Outcome(status=OutcomeStatus.DONE))
        if words == "hold":
            terminal.run("lift", scope, "--reason", "over", "--as", "user:eva")
            door.admit(token, tag(door, "second"))
        else:
            terminal.run("lift", scope, "--reason", "over", "--as", "user:eva", code=3)


def tag(door: EmbeddedDoor, key: str) -> Call:
    """A fresh try of one write."""
    arguments = encode({"ticket_id": "T-1", "level": 1})
    return Call(action="ticket.tag", arguments=arguments, admission_id=door.new_admission_id(), key=key)
