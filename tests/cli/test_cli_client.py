"""`leasehold client`: programs of the policy, and keys for those that have nothing better."""

from __future__ import annotations

import pytest
from terminal import Terminal

from leasehold.cli.exits import ExitCode

CLIENTS = """
[issuers."https://token.example"]
audience = "https://lease.example"
[clients."launcher"]
runs = { agents = ["*"], routes = ["*"], tenants = ["acme"], environments = ["prod"] }
identity = { issuer = "https://token.example", claims = { sub = "ci" } }
[clients."door"]
door = { tool = "ticket", environment = "prod" }
"""


@pytest.fixture
def with_clients(terminal: Terminal) -> Terminal:
    terminal.policy.write_text(terminal.policy.read_text() + CLIENTS)
    return terminal


def test_clients_are_listed_with_what_they_may_do_and_how_they_are_known(with_clients: Terminal) -> None:
    with_clients.run("client", "key", "add", "door")
    listed = with_clients.json("client", "list")
    assert [(each["client"], each["keys"]) for each in listed] == [("door", 1), ("launcher", 0)]
    shown = with_clients.run("client", "list").stdout
    assert "door of ticket in prod" in shown
    assert "runs of * on * in acme, prod" in shown
    assert "https://token.example" in shown


def test_key_is_shown_once_and_removed_by_its_id(with_clients: Terminal) -> None:
    made = with_clients.json("client", "key", "add", "door", "--days", "7")
    assert made["key"].startswith(f"lhk_{made['key_id']}_")
    (listed,) = with_clients.json("client", "key", "list")
    assert made["key"].rpartition("_")[2] not in str(listed)
    assert listed["expires_at"] - listed["made_at"] == 7 * 86_400
    assert "(over)" not in with_clients.run("client", "key", "list").stdout
    assert with_clients.json("client", "key", "remove", made["key_id"])["status"] == "removed"
    assert with_clients.json("client", "key", "list") == []


def test_nobody_gets_a_key_whom_the_policy_does_not_name(with_clients: Terminal) -> None:
    assert with_clients.run("client", "key", "add", "nobody", code=ExitCode.DENIED).stdout == ""


def test_doctor_names_keys_and_clients_that_cannot_say_who_they_are(with_clients: Terminal) -> None:
    with_clients.start()
    found = [each["code"] for each in with_clients.json("doctor")["findings"]]
    assert "client-without-proof" in found
    with_clients.run("client", "key", "add", "door")
    found = [each["code"] for each in with_clients.json("doctor")["findings"]]
    assert "client-key" in found
    assert "client-without-proof" not in found
