"""`leasehold doctor`: each weakness is found, explained, and answered with what to do; looking changes nothing."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from terminal import Terminal

from leasehold.authority.desk import Signatory
from leasehold.config import StateFiles, read_key_ring
from leasehold.model.request import Verdict
from leasehold.token.keys import DocumentType


def codes(terminal: Terminal) -> dict[str, str]:
    """What was found, by code."""
    return {entry["code"]: entry["severity"] for entry in terminal.json("doctor")["findings"]}


@pytest.fixture
def healthy(terminal: Terminal) -> Terminal:
    """A state in use, with people who can answer and no rule that is laxer than usual."""
    text = terminal.policy.read_text()
    for lax in (
        'approve."ticket.tag"   = "none"\n',
        'approve."deploy.prod.release:create" = "lease"\n',
        'approve."db.drop" = "lease"\n',
    ):
        text = text.replace(lax, "")
    terminal.policy.write_text(text.replace('allows = ["ticket.get", "ticket.tag"]', 'allows = ["ticket.get"]'))
    terminal.people()
    terminal.start()
    return terminal


def test_a_healthy_installation_is_told_only_what_embedded_mode_cannot_do(healthy: Terminal) -> None:
    result = healthy.run("doctor", "--strict")
    assert result.stdout.splitlines() == [
        "WARNING same-account: "
        "ADVISORY: the authority's keys and database belong to the account that runs this command",
        "    why: an agent that runs code or edits files under this account can reach them; approvals say same account",
        "    do:  run agents that execute code under another account and let them in by leasehold serve --socket, "
        "or run the authority on another host",
        "0 serious, 1 to think about",
    ]


def test_looking_changes_nothing(healthy: Terminal) -> None:
    def contents() -> dict[str, bytes]:
        return {
            path.name: path.read_bytes() for path in healthy.state.rglob("*") if path.suffix in (".db", ".json", ".key")
        }

    before = contents()
    healthy.run("doctor")
    assert contents() == before


def test_files_that_others_can_read_are_serious(healthy: Terminal) -> None:
    (healthy.state / "people" / "user:ben.keys.json").chmod(0o640)
    assert codes(healthy)["weak-mode"] == "serious"
    refused = healthy.run("doctor", "--strict", code=1)
    assert "chmod 600" in refused.stdout
    healthy.state.chmod(0o755)
    assert f"chmod 700 {healthy.state}" in healthy.run("doctor").stdout


@pytest.mark.case(12)
def test_keys_that_were_rotated_on_another_machine_and_not_copied_here_are_serious(healthy: Terminal) -> None:
    ring = StateFiles(healthy.state).key_ring(DocumentType.LEASE)
    older = ring.read_bytes()
    healthy.run("keys", "rotate", "lease")
    with healthy.authority() as authority:
        authority.sweep.run_once()
    assert "key-behind" not in codes(healthy)
    ring.write_bytes(older)
    assert codes(healthy)["key-behind"] == "serious"
    assert "key-behind: " + str(ring) in healthy.run("doctor").stdout
    ring.write_bytes(b"{}")
    assert {"key-behind", "key-unusable"} & {*codes(healthy)} == {"key-unusable"}


def test_a_policy_that_others_can_change_is_named(healthy: Terminal) -> None:
    healthy.policy.chmod(0o666)
    assert codes(healthy)["policy-writable"] == "warning"


def test_a_file_in_a_folder_of_policies_that_others_can_change_is_named(healthy: Terminal) -> None:
    folder = healthy.policy.parent / "policy"
    folder.mkdir(mode=0o700)
    healthy.policy.rename(folder / "desk.toml").chmod(0o666)
    found = healthy.run("doctor", "--policy", str(folder))
    assert f"chmod go-w {folder / 'desk.toml'}" in found.stdout


def test_a_policy_that_cannot_be_looked_at_is_a_finding(healthy: Terminal) -> None:
    healthy.policy.unlink()
    healthy.policy.symlink_to("nowhere.toml")
    assert codes(healthy)["policy-unusable"] == "serious"
    found = healthy.run("doctor", "--policy", "x" * 300).stdout
    assert "policy-unusable" in found
    assert "File name too long" in found


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_state_of_another_account_is_not_the_same_account(healthy: Terminal) -> None:
    os.chown(healthy.state, 65534, -1)
    assert "same-account" not in codes(healthy)


@pytest.mark.case(52)
@pytest.mark.requirement("L7")
def test_a_clock_that_was_set_back_is_serious_until_an_operator_confirms_it(healthy: Terminal) -> None:
    healthy.system.jump(seconds=-1)
    assert codes(healthy)["clock-behind"] == "warning"
    healthy.system.jump(seconds=-3600)
    assert codes(healthy)["clock-behind"] == "serious"
    assert "leasehold db confirm-clock" in healthy.run("doctor").stdout
    assert healthy.run("db", "confirm-clock").stdout == "epoch: 2\n"
    assert "clock-behind" not in codes(healthy)


@pytest.mark.case(96)
def test_a_missing_or_old_checkpoint_copy_is_found(healthy: Terminal) -> None:
    anchor = healthy.state / "anchor.json"
    old = anchor.read_bytes()
    with healthy.authority() as authority:
        authority.desk.add_person("user:kim", authority.engine.identity.leases.newest.public(), by="x")
        anchor.write_bytes(old)
        assert codes(healthy)["anchor-behind"] == "warning"
        anchor.unlink()
        assert codes(healthy)["anchor-missing"] == "serious"


@pytest.mark.case(96)
def test_database_that_was_rolled_back_is_found_as_every_opening_finds_it(healthy: Terminal) -> None:
    old = (healthy.state / "leasehold.db").read_bytes()
    healthy.start()
    (healthy.state / "leasehold.db").write_bytes(old)
    assert "rolled back" in healthy.run("run", "list", code=1).stderr
    assert codes(healthy)["anchor-ahead"] == "serious"
    assert "leasehold db restore" in healthy.run("doctor").stdout


def test_state_that_cannot_be_had_now_is_not_said_to_need_a_check(healthy: Terminal) -> None:
    where = healthy.state / "database.url"
    where.write_text("postgresql:///gone?host=/nowhere\n")
    where.chmod(0o600)
    (finding,) = (one for one in healthy.json("doctor")["findings"] if one["code"] == "state-unusable")
    assert "cannot be reached" in finding["what"]
    assert finding["remedy"] == "bring back what is named above; what runs goes on by itself then"


def test_keys_that_are_missing_or_damaged_are_serious(healthy: Terminal) -> None:
    (healthy.state / "receipt.keys.json").write_text("{}")
    assert codes(healthy)["key-unusable"] == "serious"


def test_a_database_that_cannot_be_read_is_serious_and_no_traceback(healthy: Terminal) -> None:
    for path in healthy.state.glob("leasehold.db*"):
        path.unlink()
    (healthy.state / "leasehold.db").write_bytes(b"this is no database, however long it is" * 100)
    (healthy.state / "leasehold.db").chmod(0o600)
    assert codes(healthy)["state-unusable"] == "serious"


@pytest.mark.requirement("P12")
def test_lax_rules_and_requesters_who_approve_are_listed(terminal: Terminal) -> None:
    text = terminal.policy.read_text()
    terminal.policy.write_text(text.replace('approvers = ["lead"]\nttl', 'approvers = ["requester"]\nttl'))
    found = terminal.json("doctor")["findings"]
    by_code = {(entry["code"], entry["what"]) for entry in found}
    assert ("requester-approves", 'routes."ci/deploy".approvers says requester, usual is somebody else') in by_code
    assert any(code == "lax-rule" and "ticket.tag" in what for code, what in by_code)


def test_where_no_policy_is_the_next_step_is_to_write_or_to_name_one(terminal: Terminal) -> None:
    terminal.policy.unlink()
    finding, *_ = terminal.json("doctor")["findings"]
    assert (finding["code"], finding["remedy"]) == ("policy-unusable", "leasehold init, or name yours with --policy")


def test_roles_that_nobody_holds_and_routes_that_nobody_can_approve_are_listed(healthy: Terminal) -> None:
    text = healthy.policy.read_text()
    healthy.policy.write_text(text.replace('"user:eva" = ["lead", "dba", "operator"]', '"user:eva" = ["lead"]'))
    found = {entry["code"]: entry["what"] for entry in healthy.json("doctor")["findings"]}
    assert found["role-unheld"] == "nobody holds the role operator"
    assert found["too-few-approvers"] == "approvers that db/drop needs: 2; that it names and that have a key here: 1"
    assert found["policy-differs"] == "the policy file is not the policy in force"


def test_a_policy_whose_tests_fail_or_that_cannot_be_read_is_found(terminal: Terminal) -> None:
    terminal.start()
    terminal.policy.write_text(terminal.policy.read_text().replace('refuses = ["db.drop"]', 'refuses = ["ticket.get"]'))
    assert codes(terminal)["policy-test-fails"] == "warning"
    terminal.policy.write_text("nonsense")
    assert {"policy-unusable", "same-account"} <= codes(terminal).keys()
    alone = terminal.run("doctor", "--policy", str(terminal.policy), "--json", plain=True)
    assert [entry["code"] for entry in json.loads(alone.stdout)["findings"]] == ["policy-unusable"]


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is closed to root")
def test_state_that_cannot_be_entered_is_a_finding_and_no_error(healthy: Terminal) -> None:
    healthy.state.chmod(0o000)
    try:
        found = codes(healthy)
        assert found["state-unusable"] == "serious"
        assert "too-few-approvers" not in found, "of a state that cannot be read nobody knows who has a key"
    finally:
        healthy.state.chmod(0o700)


def test_before_a_first_run_only_the_policy_is_looked_at(terminal: Terminal, tmp_path: Path) -> None:
    assert set(codes(terminal)) == {"lax-rule", "too-few-approvers"}
    assert not terminal.state.exists()
    terminal.state.mkdir(mode=0o700)
    assert set(codes(terminal)) == {"lax-rule", "same-account", "too-few-approvers"}


@pytest.mark.requirement("F2")
def test_a_rule_that_is_approved_out_of_habit_is_listed(healthy: Terminal) -> None:
    key = read_key_ring(healthy.state / "people" / "user:ben.keys.json", DocumentType.ANSWER).newest
    with healthy.authority() as authority:
        for number in range(20):
            run = authority.start(
                agent="bot", route="support", tenant="acme", environment="prod", requested_by="user:ana", purpose="x"
            )
            request = authority.request(run, {"ticket.update": {"ticket": [f"T-{number}"]}}, reason="asked")
            authority.desk.answer(request, Verdict.APPROVE, Signatory(person="user:ben", key=key))
    (found,) = [entry for entry in healthy.json("doctor")["findings"] if entry["code"] == "rubber-stamp"]
    assert found["what"] == "support: ticket.update (lease): 20 of 20 approved, half of them within 0.0 s"
    assert "make it a policy" in found["remedy"]
    shown = healthy.run("request", "load")
    assert shown.stdout.splitlines()[0].split("\t")[1:] == [
        "whose",
        "asked",
        "approved",
        "denied",
        "open",
        "share",
        "median",
    ]
    assert "approved out of habit: support: ticket.update (lease)" in shown.stderr
    total, rule, ben = healthy.json("request", "load", "--since", "today")
    assert (total["asked"], rule["is_rubber_stamp"], ben["subject"]) == (20, True, "user:ben")
    assert healthy.json("request", "load", "--since", "2030-01-01")[0]["asked"] == 0


@pytest.mark.requirement("P15")
def test_a_breaker_that_tripped_is_found_until_it_is_lifted(healthy: Terminal) -> None:
    rule = "breaker = { errors = { percent = 100, of = 1 } }"
    text = healthy.policy.read_text()
    healthy.policy.write_text(text.replace('[routes."support"]', f'[routes."support"]\n{rule}'))
    healthy.run("policy", "accept", "--digest", healthy.json("policy", "diff")["after"].partition(":")[2])
    healthy.run("exec", "--lease", healthy.lease(), "ticket.get", "--ticket_id", "T-1", "--", "false", code=1)
    found = {entry["code"]: entry for entry in healthy.json("doctor")["findings"]}["breaker-tripped"]
    assert found["what"] == (
        "route:support is held in acme by routes.support.breaker.errors: "
        "1 of the last 1 settled calls failed or ended unknown"
    )
    assert "rule:routes.support.breaker.errors" in healthy.run("stops").stdout
    healthy.run(*found["remedy"].replace("PERSON", "user:eva").replace("...", "fine").split()[1:])
    assert "breaker-tripped" not in codes(healthy)


def test_before_anything_ran_it_says_that_nobody_has_a_key_to_answer_with(terminal: Terminal) -> None:
    found = terminal.json("doctor")["findings"]
    short = [entry["what"] for entry in found if entry["code"] == "too-few-approvers"]
    assert "approvers that support needs: 1; that it names and that have a key here: 0" in short, found


def test_issuers_in_the_clear_and_listed_keys_that_are_none_are_found(healthy: Terminal) -> None:
    more = (
        '\n[issuers."http://127.0.0.1:9000"]\naudience = "leasehold"\nnetworks = ["127.0.0.0/8"]\n'
        '[issuers."https://a.example"]\naudience = "leasehold"\nkeys = [{ kty = "EC", x = "eA" }]\n'
        '[issuers."https://b.example"]\naudience = "leasehold"\n'
    )
    healthy.policy.write_text(healthy.policy.read_text() + more)
    found = codes(healthy)
    assert (found["issuer-in-the-clear"], found["issuer-keys-unusable"]) == ("warning", "serious")
    words = healthy.run("doctor").stdout
    assert "the keys of http://127.0.0.1:9000 are fetched without TLS" in words
    assert "the keys listed for https://a.example cannot be used" in words
