"""The pytest plugin that turns the `[[tests]]` of policy files into tests, and the fixtures that tools' tests use."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from leasehold.errors import ConfigError
from leasehold.testing.clock import FrozenSystem
from leasehold.testing.fixtures import Approvers, key_of_person, memory_authority
from stage import POLICY

PLUGIN = "leasehold.testing.pytest_plugin"
TESTS = """
[[tests]]
route = "desk"
allows = ["ticket.get"]
needs_approval = ["ticket.erase", "ticket.audit"]
refuses = ["mail.purge"]

[[tests]]
route = "solo"
refuses = ["ticket.get"]
"""


class _Seen:
    """What a run of pytest reported: outcomes by name, and what was said of failures."""

    def __init__(self) -> None:
        self.outcomes: dict[str, str] = {}
        self.said = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call":
            self.outcomes[report.nodeid] = report.outcome
        self.said += report.longreprtext

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self.said += report.longreprtext


def _pytest(folder: Path) -> _Seen:
    """Run pytest over a folder of its own."""
    seen = _Seen()
    quiet = [f"-pno:{name}" for name in ("cacheprovider", "randomly", "terminal", "cov")]
    pytest.main([*quiet, f"--rootdir={folder}", f"-c{folder / 'none.ini'}", str(folder)], plugins=[seen])
    return seen


@pytest.mark.requirement("P7")
def test_each_expectation_of_a_policy_is_a_test(tmp_path: Path) -> None:
    (tmp_path / "ops").mkdir()
    (tmp_path / "ops" / "leasehold.toml").write_text(POLICY + TESTS)
    (tmp_path / "other.toml").write_text("broken")
    (tmp_path / "none.ini").write_text("")
    assert _pytest(tmp_path).outcomes == {
        "ops/leasehold.toml::desk: allows ticket.get": "passed",
        "ops/leasehold.toml::desk: needs_approval ticket.audit": "passed",
        "ops/leasehold.toml::desk: needs_approval ticket.erase": "passed",
        "ops/leasehold.toml::desk: refuses mail.purge": "passed",
        "ops/leasehold.toml::solo: refuses ticket.get": "passed",
    }


@pytest.mark.requirement("P7")
def test_an_expectation_that_does_not_hold_fails_with_what_the_policy_says(tmp_path: Path) -> None:
    (tmp_path / "none.ini").write_text("")
    text = POLICY + TESTS.replace('allows = ["ticket.get"]', 'allows = ["ticket.close"]')
    (tmp_path / "leasehold.toml").write_text(text)
    seen = _pytest(tmp_path)
    failed = [name for name, outcome in seen.outcomes.items() if outcome == "failed"]
    assert failed == ["leasehold.toml::desk: allows ticket.close"]
    assert seen.said.startswith("route desk needs approval for ticket.close: ")


@pytest.mark.requirement("P7")
def test_a_policy_that_does_not_load_is_an_error_with_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "none.ini").write_text("")
    (tmp_path / "leasehold.toml").write_text("version = 1\nauthorty = 1\n")
    seen = _pytest(tmp_path)
    assert seen.outcomes == {}
    assert "leasehold.toml:2" in seen.said
    assert "authority" in seen.said


def test_the_plugin_imports_nothing_of_leasehold_until_there_is_a_policy() -> None:
    """Every project of the environment loads it."""
    assert [entry.value for entry in entry_points(group="pytest11", name="leasehold")] == [PLUGIN]
    program = f"import sys, {PLUGIN}; print(*sorted(name for name in sys.modules if name.startswith('leasehold')))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["leasehold", "leasehold.testing", PLUGIN]


def test_an_authority_in_memory_is_fresh_frozen_and_quiet() -> None:
    with memory_authority(POLICY) as one, memory_authority(POLICY) as two:
        run = one.start(
            agent="bot", route="desk", tenant="acme", environment="prod", requested_by="user:ana", purpose="look"
        )
        assert two.engine.store.queries.tenants() == ()
        request = one.request(
            run, {"ticket.erase": {"ticket": ["T-1"]}, "ticket.close": {"ticket": ["T-1"]}}, reason="x"
        )
        assert Approvers(one).deny(request, "user:ben").state == "denied"
    with pytest.raises(ConfigError, match=r"leasehold\.toml:1"):
        memory_authority("vers = 1", system=FrozenSystem(seed=3))


def test_the_keys_of_people_in_tests_follow_from_their_names() -> None:
    assert key_of_person("user:ben").public() == key_of_person("user:ben").public()
    assert key_of_person("user:ben").public() != key_of_person("user:eva").public()
