"""`leasehold init` and `leasehold policy`: write, check, test, explain, compare, accept."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from terminal import Terminal

import leasehold
from leasehold.assemble import open_authority

NARROW = ('["T-*"] }\nallow."ticket.update"', '["T-1*"] }\nallow."ticket.update"')
WIDE = ("replicas = { max = 3 }", "replicas = { max = 9 }")


def change(terminal: Terminal, change: tuple[str, str]) -> None:
    """Edit the policy file."""
    text = terminal.policy.read_text()
    assert change[0] in text
    terminal.policy.write_text(text.replace(*change))


@pytest.mark.requirement("P7")
def test_init_writes_a_policy_whose_tests_pass_and_replaces_nothing(terminal: Terminal, tmp_path: Path) -> None:
    folder = tmp_path / "My Project!"
    folder.mkdir()
    assert terminal.line("init", str(folder)) == str(folder / "leasehold.toml")
    found = terminal.json("policy", "check", "--policy", str(folder / "leasehold.toml"))
    assert (found["authority"], found["mismatches"], found["laxer"], found["tests"]) == ("My-Project", [], [], 1)
    before = (folder / "leasehold.toml").read_text()
    assert "stands there already" in terminal.run("init", str(folder), code=2).stderr
    assert (folder / "leasehold.toml").read_text() == before
    terminal.run("init", str(tmp_path / "nowhere" / "x.toml"), code=2)


def test_init_writes_a_policy_that_no_other_account_can_change_whatever_the_umask(
    terminal: Terminal, tmp_path: Path
) -> None:
    before = os.umask(0o002)
    try:
        terminal.run("init", str(tmp_path / "new.toml"))
    finally:
        os.umask(before)
    assert (tmp_path / "new.toml").stat().st_mode & 0o022 == 0


@pytest.mark.requirement("P7")
def test_the_ten_lines_of_the_readme_need_one_yes_on_the_policy_that_init_writes(
    terminal: Terminal, tmp_path: Path
) -> None:
    policy, state = tmp_path / "mine.toml", tmp_path / "state-of-mine"
    terminal.run("init", str(policy))
    mine = ("--policy", str(policy), "--state", str(state))
    terminal.run("person", "add", "user:ben", *mine)
    with open_authority(policy, state=state, system=terminal.system, sweep=False) as authority:
        guard = leasehold.Guard("ticket", authority, environment="prod")

        @guard.action("close")
        def close_ticket(capability: leasehold.Capability, ticket_id: str, note: str) -> str:
            capability.touched(f"ticket/{ticket_id}")
            return f"{ticket_id} closed: {note}"

        run = authority.start(
            agent="support-bot",
            route="support/close",
            tenant="acme",
            environment="prod",
            requested_by="user:ana",
            purpose="answer ticket T-18421",
        )
        request = authority.request(run, {"ticket.close": {"ticket": ["T-18421"]}}, reason="customer confirmed the fix")
        terminal.run("request", "approve", "--as", "user:ben", *mine, request.request_id, typing="y\n")
        lease = authority.wait(request, timeout=10)
        assert close_ticket(lease.once("T-18421:close"), ticket_id="T-18421", note="fixed") == "T-18421 closed: fixed"
        authority.finish(run)


def test_policy_explain_says_whose_tokens_count(terminal: Terminal) -> None:
    more = (
        '[issuers."https://token.actions.githubusercontent.com"]\naudience = "leasehold"\n'
        '[issuers."https://a.example"]\naudience = "leasehold"\nkeys = "https://a.example/jwks"\n'
    )
    change(terminal, ("[actions]", f"{more}[actions]"))
    assert terminal.run("policy", "explain").stdout.splitlines()[-2:] == [
        "issuer https://a.example: tokens for leasehold, keys from https://a.example/jwks",
        "issuer https://token.actions.githubusercontent.com: tokens for leasehold, keys found by its own document",
    ]


def test_policy_explain_says_what_clients_may_start_and_what_makes_somebody_one(terminal: Terminal) -> None:
    runs = 'agents = ["bot"], routes = ["support"], tenants = ["acme"], environments'
    more = (
        '[issuers."https://a.example"]\naudience = "leasehold"\n'
        f'[clients.ci]\nruns = {{ {runs} = ["*"] }}\nredirects = ["https://app.example/back"]\n'
        'identity = { issuer = "https://a.example", claims = { sub = "main" } }\n'
        f'[clients.idle]\nruns = {{ {runs} = ["moon"] }}\n'
        '[clients.gate]\ndoor = { tool = "ticket", environment = "prod" }\n'
    )
    change(terminal, ("[actions]", f"{more}[actions]"))
    assert terminal.run("policy", "explain").stdout.splitlines()[-7:] == [
        "client ci, by a token of https://a.example: sub = main, or an API key",
        "    may start runs on support, for agents bot; tenants acme; environments prod",
        "    has browsers sent back to https://app.example/back",
        "client gate, by an API key",
        "    stands at the door of ticket in prod for every tenant",
        "client idle, by an API key",
        "    may start nothing",
    ]
    lines = terminal.run("policy", "explain", "support").stdout.splitlines()
    assert lines[1] == "  client ci may start runs on support, for agents bot; tenants acme; environments prod"
    found = terminal.json("policy", "explain")["clients"]["ci"]
    assert found["rule"]["runs"]["environments"] == ["*"]
    assert [each["environments"] for each in found["startable"]] == [["prod"]]
    terminal.start()
    change(terminal, ("moon", "prod"))
    gained = "client idle: may start runs on support, for agents bot; tenants acme; environments prod"
    shown = terminal.run("policy", "diff", code=1).stdout
    assert f'REACHES {gained}; rule clients."idle".runs.environments' in shown


@pytest.mark.requirement("P7")
def test_policy_check_and_test_read_the_file_that_is_named(terminal: Terminal, tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    terminal.run("init", str(other))
    assert terminal.run("policy", "check", str(other)).stdout.startswith(f"{other}: 4 actions, 1 routes, 1 tests, ")
    assert terminal.run("policy", "test", str(other)).stdout == "4 of 4 expectations hold\n"
    missing = terminal.run("policy", "check", str(tmp_path / "nowhere.toml"), code=2)
    assert "nowhere.toml: there is no such file" in missing.stderr


def test_a_folder_without_a_usable_name_gets_a_plain_one(tmp_path: Path, terminal: Terminal) -> None:
    (tmp_path / "+++").mkdir()
    terminal.run("init", str(tmp_path / "+++"))
    assert terminal.json("policy", "check", "--policy", str(tmp_path / "+++"))["authority"] == "desk"


@pytest.mark.requirement("P7")
def test_policy_test_exits_0_if_all_hold_1_if_not_and_2_for_a_bad_file(terminal: Terminal) -> None:
    assert terminal.run("policy", "test").stdout == "5 of 5 expectations hold\n"
    change(terminal, ('allows = ["ticket.get", "ticket.tag"]', 'allows = ["ticket.get", "ticket.close"]'))
    failed = terminal.run("policy", "test", code=1)
    assert failed.stdout.splitlines()[0].startswith(
        "tests.0: support ticket.close: expected allows, got needs_approval"
    )
    assert failed.stdout.splitlines()[-1] == "4 of 5 expectations hold"
    assert terminal.run("policy", "check", code=1).stdout.count("tests.0:") == 1
    change(terminal, ('effect = "read"', 'efect = "read"'))
    bad = terminal.run("policy", "test", code=2)
    assert "leasehold.toml:13: " in bad.stderr
    assert 'did you mean "effect"?' in bad.stderr


@pytest.mark.requirement("P7")
def test_policy_check_counts_and_names_what_is_laxer_than_usual(terminal: Terminal) -> None:
    lines = terminal.run("policy", "check").stdout.splitlines()
    assert lines[0].startswith(f"{terminal.policy}: 7 actions, 3 routes, 1 tests, sha256:")
    assert 'laxer than usual: routes."db/drop".approve."db.drop" (db.drop) says lease, usual is call' in lines


def test_policy_explain_names_each_action_who_agrees_and_why(terminal: Terminal) -> None:
    lines = terminal.run("policy", "explain", "support").stdout.splitlines()
    assert lines[0] == "support: agents bot; tenants acme, globex; environments prod; lease 300 s, run 1800 s"
    assert '  ticket.close write: approval call by 1 of lead (routes."support".approve."ticket.close")' in lines
    assert "    implies ticket.update" in lines
    assert "  ticket.update write: approval call, lease for exact values by 1 of lead" in "\n".join(lines)
    assert "laxer than usual" in "\n".join(lines)
    assert set(terminal.json("policy", "explain")["routes"]) == {"ci/deploy", "db/drop", "support"}
    assert 'did you mean "support"?' in terminal.run("policy", "explain", "suport", code=2).stderr


def test_policy_explain_says_which_powers_the_holder_of_the_state_needs_no_role_for(terminal: Terminal) -> None:
    more = 'auditor = { can = ["query"], tenants = ["acme"] }\nlifter = { can = ["lift"], tenants = ["*"] }\n'
    change(terminal, ("[actions]", f"{more}[actions]"))
    assert terminal.run("policy", "explain").stdout.splitlines()[-3:] == [
        "role operator, tenants *: hold, lift, query, revoke; "
        "whoever holds the state needs no role for hold, query, revoke",
        "role auditor, tenants acme: query; whoever holds the state needs no role for query",
        "role lifter, tenants *: lift",
    ]
    assert "role " not in terminal.run("policy", "explain", "support").stdout


@pytest.mark.requirement("P15", "P16")
def test_policy_explain_says_what_stops_a_route_and_who_may_go_past_its_rules(terminal: Terminal) -> None:
    breaker = "breaker = { errors = { percent = 50, of = 20 }, denials = { percent = 80, of = 50 } }"
    breaker += '\nafter."ticket.close" = ["ticket.get"]'
    change(terminal, ('[routes."support"]', f'[routes."support"]\n{breaker}'))
    terminal.policy.write_text(
        terminal.policy.read_text()
        + '\n[break_glass."support"]\nopeners = ["oncall"]\nconfirmers = ["dba", "lead"]\n'
        + 'actions = ["ticket.close", "ticket.update"]\nskips = ["approve", "freeze"]\nminutes = 10\n'
    )
    lines = terminal.run("policy", "explain", "support").stdout.splitlines()
    assert lines[1:3] == [
        "  breaker: errors 50% of 20, denials 80% of 50",
        "  break-glass: oncall with dba, lead may skip approve, freeze for ticket.close, ticket.update, 10 min",
    ]
    assert "    after a done call of ticket.get" in lines
    assert "breaker" not in terminal.run("policy", "explain", "db/drop").stdout


def test_policy_explain_shows_what_a_deny_list_takes_out(terminal: Terminal) -> None:
    change(terminal, ('approvers = ["lead"]\nbudget', 'deny = ["ticket.tag"]\napprovers = ["lead"]\nbudget'))
    change(terminal, ('allows = ["ticket.get", "ticket.tag"]', 'allows = ["ticket.get"]'))
    assert "  ticket.tag write: denied by ticket.tag" in terminal.run("policy", "explain", "support").stdout


def test_policy_explain_answers_for_one_call(terminal: Terminal) -> None:
    allowed = terminal.run("policy", "explain", "support", "ticket.close", "--attribute", "ticket=T-1")
    assert allowed.stdout.splitlines() == [
        'ticket.close write: allowed; rule: routes."support".allow."ticket.close"',
        'under a lease as wide as the route: approval call by 1 of lead (routes."support".approve."ticket.close")',
        'under a lease for exactly this: approval call by 1 of lead (routes."support".approve."ticket.close")',
    ]
    free = terminal.run("policy", "explain", "support", "ticket.get", "--attribute", "ticket=T-1").stdout
    assert "approval none" in free
    denied = terminal.run("policy", "explain", "support", "ticket.close", "--attribute", "ticket=X-1").stdout
    assert "out_of_range" in denied
    assert "under a lease" not in denied


@pytest.mark.requirement("P7")
def test_policy_diff_lists_each_change_and_exits_1_if_something_widens(terminal: Terminal) -> None:
    terminal.start()
    assert terminal.run("policy", "diff").stdout == "nothing changes\n"
    change(terminal, NARROW)
    narrowed = terminal.run("policy", "diff").stdout
    assert narrowed == '       support ticket.get allow.ticket: ["T-*"] becomes ["T-1*"]\n'
    change(terminal, WIDE)
    widened = terminal.run("policy", "diff", code=1)
    assert 'REACHES ci/deploy deploy.prod.release:create (write): replicas {"max": 3} -> {"max": 9}' in widened.stdout
    assert "WIDENS" not in widened.stdout  # the same value is not said twice
    assert "widens what may be done" in widened.stderr


def test_policies_of_two_files_can_be_compared_without_a_state(terminal: Terminal, tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text(terminal.policy.read_text().replace(*NARROW).replace('"user:ben" = ["lead", "dba"]\n', ""))
    shown = terminal.run("policy", "diff", "--against", str(other), code=1).stdout
    assert "people.user:ben: lead is new" in shown
    assert not terminal.state.exists()
    back = terminal.run("policy", "diff", "--policy", str(other), "--against", str(terminal.policy)).stdout
    assert "people.user:ben: lead is gone" in back


@pytest.mark.requirement("P7")
def test_a_changed_file_does_nothing_until_a_person_accepts_it(terminal: Terminal) -> None:
    run = terminal.start()
    before = terminal.json("policy", "accept")["active"]
    change(terminal, NARROW)
    assert terminal.ask(run, "ticket.get ticket=T-2").startswith("req_")
    terminal.run("policy", "accept", code=2)
    assert "nothing was done" in terminal.run("policy", "accept", typing="n\n", code=1).stderr
    accepted = terminal.run("policy", "accept", typing="y\n")
    assert accepted.stdout.strip() != before
    assert 'becomes ["T-1*"]' in accepted.stderr
    terminal.run("request", "make", run, "--allow", "ticket.get ticket=T-2", "--reason", "x", code=3)


@pytest.mark.requirement("P7")
def test_accepting_what_widens_takes_a_word_and_alarms(terminal: Terminal) -> None:
    terminal.start()
    change(terminal, WIDE)
    terminal.run("policy", "accept", typing="y\ny\n", code=1)
    terminal.run("policy", "accept", typing="widen\ny\n")
    entry = next(entry for entry in terminal.json("ledger", "query") if entry["kind"] == "policy.accepted")
    assert entry["detail"]["alarm"] == "widened"
    assert entry["person"] == "account:test"
    assert entry["detail"]["widened"] == [
        'ci/deploy deploy.prod.release:create allow.replicas: {"max": 3} becomes {"max": 9}'
    ]


def test_a_script_accepts_the_policy_whose_hash_it_names(terminal: Terminal) -> None:
    terminal.start()
    change(terminal, WIDE)
    digest = terminal.json("policy", "check")["hash"]
    terminal.run("policy", "accept", "--digest", "0" * 16, code=2)
    assert terminal.line("policy", "accept", "--digest", digest) == digest


def test_a_policy_that_fails_its_own_tests_is_not_accepted(terminal: Terminal) -> None:
    terminal.start()
    change(terminal, ('refuses = ["db.drop"]', 'refuses = ["db.drop", "ticket.get"]'))
    assert "its own tests fail" in terminal.run("policy", "accept", typing="y\n", code=2).stderr


def test_person_who_is_named_without_a_kind_is_pointed_at(terminal: Terminal) -> None:
    terminal.policy.write_text(terminal.policy.read_text().replace('"user:eva" =', '"eva" ='))
    assert "hardly meant: people.eva is named without a kind; say user:eva" in terminal.run("policy", "check").stdout
    assert terminal.json("policy", "check")["unlikely"] == ["people.eva is named without a kind; say user:eva"]
    assert "person-without-kind: [people] names eva without a kind" in terminal.run("doctor").stdout
