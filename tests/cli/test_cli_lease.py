"""`leasehold lease`: what an operator sees of a lease, and how it is ended."""

from __future__ import annotations

import pytest
from terminal import Terminal

from leasehold.guard import Guard


@pytest.mark.requirement("L13", "L1")
def test_lease_inspect_prints_what_was_granted_to_whom_by_whom_and_what_is_left(terminal: Terminal) -> None:
    lease = terminal.deploy_lease()
    terminal.system.advance(seconds=226)
    lines = terminal.run("lease", "inspect", lease).stdout.splitlines()
    run = terminal.json("lease", "inspect", lease)["subject"]
    assert lines == [
        f"subject: {run}",
        "scope: deploy.prod -> release:create,release:status",
        "resource: replicas max 3, payments-api / staging",
        "approved-by: user:ben",
        "reason: promote already-built artifact for smoke test",
        "budget-left: calls 100 of 100, tool_seconds 600 of 600",
        "expires-in: 08m14s",
        "status: active",
    ]


@pytest.mark.requirement("L13", "L6")
def test_lease_revoke_says_status_reason_and_what_was_in_flight(terminal: Terminal) -> None:
    lease = terminal.lease()
    with terminal.authority() as authority:
        held = authority.engine.held(authority.desk.lease_status(lease).chain[-1].lease)
        guard = Guard("ticket", authority, environment="prod")
        with guard.call(held, "get", {"ticket_id": "T-1"}) as capability:
            lines = terminal.run("lease", "revoke", lease, "--reason", "rollout completed").stdout.splitlines()
            assert lines == [
                "status: revoked",
                "reason: rollout completed",
                f"in-flight: ticket.get of {capability.run_id} ({capability.admission_id})",
            ]
    assert "status: revoked" in terminal.run("lease", "inspect", lease).stdout
    terminal.run("lease", "renew", lease, code=5)


def test_a_revoke_without_calls_in_flight_says_so(terminal: Terminal) -> None:
    lease = terminal.lease()
    found = terminal.json("lease", "revoke", lease, "--reason", "over")
    assert found == {
        "scope": f"lease:{lease}",
        "status": "revoked",
        "reason": "over",
        "in_flight": [],
        "unreadable": [],
    }
    again = terminal.run("lease", "revoke", lease, "--reason", "again")
    assert again.stdout.endswith("in-flight: none\n")
    request = again.stderr.strip().removeprefix("no other lease is drawn from its request ").removesuffix(" either")
    assert "revoked" in terminal.run("lease", "draw", request, code=5).stderr


@pytest.mark.requirement("L15")
def test_lease_renew_draws_the_next_lease_of_the_same_request(terminal: Terminal) -> None:
    lease = terminal.lease()
    terminal.system.advance(seconds=200)
    renewed = terminal.line("lease", "renew", lease)
    assert renewed != lease
    assert {entry["lease_id"] for entry in terminal.json("lease", "list")} == {lease, renewed}


def test_lease_list_leaves_out_what_is_over_unless_asked(terminal: Terminal) -> None:
    lease = terminal.lease()
    assert lease in terminal.run("lease", "list").stdout
    terminal.system.advance(seconds=300)
    assert terminal.run("lease", "list").stderr.endswith("nothing found\n")
    listed = terminal.json("lease", "list", "--all")
    assert [(entry["lease_id"], entry["state"]) for entry in listed] == [(lease, "expired")]


def test_a_stopped_lease_is_listed_as_what_stopped_it(terminal: Terminal) -> None:
    held, revoked = terminal.lease(), terminal.lease()
    terminal.run("hold", f"lease:{held}", "--reason", "look at it")
    terminal.run("lease", "revoke", revoked, "--reason", "over")
    states = {entry["lease_id"]: entry["state"] for entry in terminal.json("lease", "list", "--all")}
    assert states == {held: "held", revoked: "revoked"}


@pytest.mark.requirement("F1")
def test_drawing_a_lease_before_people_decided_exits_4(terminal: Terminal) -> None:
    terminal.people()
    request = terminal.ask(terminal.start(), "ticket.update ticket=T-1")
    assert "approval_needed" in terminal.run("lease", "draw", request, code=4).stderr
    assert "not decided yet" in terminal.run("lease", "draw", request, "--wait", "0.01", code=4).stderr
    terminal.approve(request)
    assert terminal.line("lease", "draw", request, "--wait", "5").startswith("lease_")


@pytest.mark.requirement("F1")
def test_a_request_that_nobody_answered_in_time_is_an_expiry_and_exits_4(terminal: Terminal) -> None:
    request = terminal.ask(terminal.start(), "ticket.update ticket=T-1")
    terminal.system.advance(seconds=601)
    terminal.run("lease", "draw", request, code=4)


def test_a_lease_of_anything_is_shown_as_any(terminal: Terminal) -> None:
    terminal.policy.write_text(
        terminal.policy.read_text().replace(
            '"ticket.get"    = { ticket = ["T-*"] }', '"ticket.get" = { ticket = ["**"] }'
        )
    )
    lease = terminal.lease("ticket.get ticket=**", 'ticket.tag ticket=T-1 level:={\\"max\\":2,\\"min\\":0}')
    fields = terminal.run("lease", "inspect", lease).stdout
    assert "resource: ticket any, level max 2 min 0, T-1 / prod" in fields
    assert "approved-by: policy" in fields
    assert "scope: ticket -> get,tag" in fields


def test_a_lease_that_is_not_here_exits_1_and_a_name_that_is_no_id_exits_2(terminal: Terminal) -> None:
    terminal.start()
    terminal.run("lease", "inspect", "lease_01JZ8Q5X0M3V7K2N9B4C6D8E0F", code=1)
    assert "no lease id" in terminal.run("lease", "revoke", "nonsense", "--reason", "x", code=2).stderr


def test_the_id_of_something_else_is_no_lease_and_not_a_damaged_one(terminal: Terminal) -> None:
    run_id = terminal.start()
    for words in (("lease", "inspect", run_id), ("lease", "renew", run_id)):
        assert "no lease id" in terminal.run(*words, code=2).stderr
    assert "no lease id" in terminal.run("exec", "--lease", run_id, "ticket.get", "--", "true", code=2).stderr
