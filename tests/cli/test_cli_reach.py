"""`leasehold policy diff`: every call that became possible, and with whom, in words and as data."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from terminal import Terminal

UPDATE_TAKES_TICKETS = """\
version = 1
authority = "acme"
[people]
"user:ben" = ["lead"]
[actions]
"ticket.get" = { effect = "read", args = { ticket = "id" } }
"ticket.count" = { effect = "read" }
"ticket.tag" = { effect = "write", args = { ticket = "id" } }
"ticket.close" = { effect = "destructive", args = { ticket = "id" }, implies = ["ticket.tag"] }
[routes.support]
for = { agents = ["bot"], tenants = ["acme"], environments = ["prod"] }
allow."ticket.get" = { ticket = ["T-*"] }
allow."ticket.tag" = { ticket = ["T-*"] }
allow."ticket.close" = { ticket = ["T-*"] }
approvers = ["lead"]
delegation = { depth = 1, children = 1, actions = ["ticket.get"] }
"""
FOR = "for agents bot; tenants acme; environments prod"
EDITS = {
    "values": (
        'allow."ticket.tag" = { ticket = ["T-*"] }',
        'allow."ticket.tag" = { ticket = ["**"] }',
        f'support ticket.tag (write): ticket ["T-*"] -> ["**"], {FOR}; '
        'rule routes."support".allow."ticket.tag"; for example ticket=x',
    ),
    "arguments": (
        '"ticket.get" = { effect = "read", args = { ticket = "id" } }',
        '"ticket.get" = { effect = "read", args = { ticket = "number" } }',
        f'support ticket.get (read): ticket ["T-*"] -> unchecked, {FOR}; rule actions."ticket.get".args; '
        "for example ticket=T-",
    ),
    "agents": (
        'agents = ["bot"]',
        'agents = ["bot", "helper"]',
        'support ticket.get (read): can be called with ticket ["T-*"] (before: agents bot), for agents helper; '
        'tenants acme; environments prod; rule routes."support".for.agents; for example ticket=T-',
    ),
    "quorum": (
        'approvers = ["lead"]',
        'approvers = ["lead"]\nquorum = 1',
        "support ticket.close (destructive): approval call by 2 of lead -> approval call by 1 of lead, "
        f'{FOR}; rule routes."support".quorum; for example ticket=T-',
    ),
    "approvers": (
        'approvers = ["lead"]',
        'approvers = ["boss"]',
        f"support ticket.tag (write): other people suffice, lead (user:ben) -> boss, {FOR}; "
        'rule routes."support".approvers; for example ticket=T-',
    ),
    "delegation": (
        'actions = ["ticket.get"]',
        'actions = ["ticket.get", "ticket.close"]',
        f"support ticket.close (destructive): child runs may call it, nothing -> depth 1, {FOR}; "
        'rule routes."support".delegation; for example ticket=T-',
    ),
    "implied": (
        'actions = ["ticket.get"]',
        'actions = ["ticket.get", "ticket.close"]',
        f"support ticket.tag (write): child runs reach it through ticket.close, nothing -> depth 1, {FOR}; "
        'rule actions."ticket.close".implies; for example ticket=T-',
    ),
    "no attributes": (
        "[routes.support]\n",
        '[routes.support]\nallow."ticket.count" = {}\n',
        f"support ticket.count (read): can be called with any arguments, {FOR}; "
        'rule routes."support".allow."ticket.count"',
    ),
    "uses": (
        'implies = ["ticket.tag"]',
        'implies = ["ticket.tag"], uses = ["ticket.get"]',
        f'support ticket.get (read): the tool of ticket.close may call it with ticket ["T-*"], {FOR}; '
        'rule actions."ticket.close".uses; for example ticket=T-',
    ),
}


@pytest.mark.requirement("P5", "P7")
@pytest.mark.parametrize("name", EDITS)
def test_policy_diff_says_what_became_reachable_for_whom_and_by_which_rule(
    terminal: Terminal, tmp_path: Path, name: str
) -> None:
    before, after, line = EDITS[name]
    old, new = tmp_path / "old.toml", tmp_path / "new.toml"
    old.write_text(UPDATE_TAKES_TICKETS)
    assert before in UPDATE_TAKES_TICKETS
    new.write_text(UPDATE_TAKES_TICKETS.replace(before, after))
    shown = terminal.run("policy", "diff", "--policy", str(new), "--against", str(old), code=1).stdout
    assert f"REACHES {line}" in shown.splitlines()


def test_a_change_that_only_narrows_reaches_nothing_and_exits_0(terminal: Terminal, tmp_path: Path) -> None:
    old, new = tmp_path / "old.toml", tmp_path / "new.toml"
    old.write_text(UPDATE_TAKES_TICKETS)
    new.write_text(
        UPDATE_TAKES_TICKETS.replace('allow."ticket.get" = { ticket = ["T-*"] }\n', "").replace(
            'delegation = { depth = 1, children = 1, actions = ["ticket.get"] }\n', ""
        )
    )
    assert "REACHES" not in terminal.run("policy", "diff", "--policy", str(new), "--against", str(old)).stdout


def test_what_became_reachable_stands_in_the_json_with_a_call_that_shows_it(terminal: Terminal, tmp_path: Path) -> None:
    old, new = tmp_path / "old.toml", tmp_path / "new.toml"
    old.write_text(UPDATE_TAKES_TICKETS)
    new.write_text(
        UPDATE_TAKES_TICKETS.replace('"ticket.tag" = { ticket = ["T-*"] }', '"ticket.tag" = { ticket = ["**"] }')
    )
    found = json.loads(
        terminal.run("policy", "diff", "--policy", str(new), "--against", str(old), "--json", code=1).stdout
    )
    assert found["reach"][0]["kind"] == "call"
    assert found["reach"][0]["example"] == {"ticket": "x"}
    assert found["reach"][0]["agents"] == ["bot"]
