"""What an agent can write, it writes: the policy file, the environment, keys of its own. None of it is listened to."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

import leasehold
from leasehold.authority.desk import Signatory
from leasehold.cli.program import program
from leasehold.cli.surroundings import Surroundings
from leasehold.errors import Denied
from leasehold.model.decision import Reason
from leasehold.model.proposal import PolicyVerdict
from leasehold.testing.clock import FrozenSystem
from leasehold.testing.fixtures import key_of_person
from stage import GET, POLICY, Stage, changed, policy, reason_of

pytestmark = [pytest.mark.requirement("P7", "P8"), pytest.mark.case(112)]

WIDER = changed('allow."ticket.get"    = { ticket = ["T-*"] }', 'allow."ticket.get" = { ticket = ["**"] }')
TWO = changed("[people]", '[policy]\naccept = "two"\n[people]\n"user:max" = ["governor"]\n"user:zoe" = ["governor"]')
TWO = changed("[roles]", '[roles]\ngovernor = { can = ["policy"], tenants = ["*"] }', TWO)


def call(authority: leasehold.Authority, ticket: str) -> object:
    """What an agent does with a run of its own."""
    run = authority.start(
        agent="bot", route="desk", tenant="acme", environment="prod", requested_by="user:ana", purpose="read"
    )
    lease = authority.wait(authority.request(run, {"ticket.get": {"ticket": [ticket]}}, reason="x"), 5)
    guard = leasehold.Guard("ticket", authority, environment="prod")
    with guard.call(lease, "get", {"ticket_id": ticket}) as capability:
        return capability.arguments


def test_a_policy_file_that_a_tool_rewrote_changes_nothing_now_or_at_the_next_start(tmp_path: Path) -> None:
    path, state = tmp_path / "leasehold.toml", tmp_path / "state"
    path.write_text(POLICY)
    with leasehold.open(path, state=state, system=FrozenSystem()) as authority:
        before = authority.engine.active_policy().hash
        call(authority, "T-1")
        path.write_text(WIDER)
        assert reason_of(lambda: call(authority, "X-1")) is Reason.OUT_OF_RANGE
    with leasehold.open(path, state=state, system=FrozenSystem(seed=1)) as authority:
        assert authority.engine.active_policy().hash == before
        assert reason_of(lambda: call(authority, "X-1")) is Reason.OUT_OF_RANGE


def test_variables_that_the_command_line_reads_are_nothing_to_the_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, other = tmp_path / "leasehold.toml", tmp_path / "other.toml"
    path.write_text(POLICY)
    other.write_text(WIDER)
    monkeypatch.setenv("LEASEHOLD_POLICY", str(other))
    monkeypatch.setenv("LEASEHOLD_STATE", str(tmp_path / "elsewhere"))
    with leasehold.open(path, state=tmp_path / "state", system=FrozenSystem()) as authority:
        assert authority.engine.active_policy().hash == policy(POLICY).hash
        assert reason_of(lambda: call(authority, "X-1")) is Reason.OUT_OF_RANGE
    assert not (tmp_path / "elsewhere").exists()


def test_policy_text_in_arguments_and_results_is_text() -> None:
    stage = Stage()
    lease = stage.lease(GET)
    admitted = stage.admit(lease, "ticket.get", ticket_id="T-1", note=WIDER)
    stage.settle(admitted, touched=(WIDER[:200],))
    assert stage.authority.engine.active_policy().hash == policy(POLICY).hash
    assert stage.refusal(lease, "ticket.get", "X-1") is Reason.OUT_OF_RANGE
    stage.close()


def test_a_script_of_the_agent_cannot_widen_a_policy_that_takes_two(tmp_path: Path) -> None:
    """Even with the whole command line: it can propose nothing without a key, and confirm nothing with its own."""

    path, state = tmp_path / "leasehold.toml", tmp_path / "state"
    path.write_text(TWO)
    with leasehold.open(path, state=state, system=FrozenSystem()) as authority:
        before = authority.engine.active_policy().hash
    wider = changed("calls = 20", "calls = 9999", TWO)
    path.write_text(wider)
    digest = policy(wider).hash
    environ = {**os.environ, "LEASEHOLD_POLICY": str(path), "LEASEHOLD_STATE": str(state)}
    around = Surroundings(system=FrozenSystem(seed=2), is_interactive=False, is_terminal=False, width=100)
    for words, code in (
        (("policy", "accept"), 2),
        (("policy", "accept", "--digest", digest), 4),
        (("policy", "accept", "--digest", digest, "--as", "user:max"), 2),
        (("person", "add", "user:mallory"), 0),
        (("policy", "accept", "--digest", digest, "--as", "user:mallory"), 3),
        (("policy", "confirm", digest, "--digest", digest, "--as", "user:mallory"), 1),
    ):
        result = CliRunner().invoke(program, words, obj=around, env=environ)
        assert result.exit_code == code, (words, result.output)
    with leasehold.open(path, state=state, system=FrozenSystem(seed=3)) as authority:
        assert authority.engine.active_policy().hash == before


def test_a_key_that_the_agent_made_is_nobody_elses_word() -> None:
    stage = Stage(TWO)
    wider = policy(changed("calls = 20", "calls = 9999", TWO))
    stage.authority.proposals.propose(wider, policy(TWO), stage.people.signatory("user:max"))
    stage.people.signatory("user:zoe")
    forged = Signatory(person="user:zoe", key=key_of_person("user:agent"))
    proposal = stage.authority.proposals.find(wider.hash)
    with pytest.raises(Denied) as refused:
        stage.authority.proposals.answer(proposal, PolicyVerdict.CONFIRM, forged)
    assert refused.value.decision.reason is Reason.BAD_SIGNATURE
    assert stage.authority.engine.active_policy().hash == policy(TWO).hash
    stage.close()
