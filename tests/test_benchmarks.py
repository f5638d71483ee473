"""The benchmark programs, at sizes that mean nothing: each one runs, and prints its table with its targets."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks.__main__ import PROGRAMS
from benchmarks.report import Line, Table, Target, render

ROOT = Path(__file__).resolve().parents[1]


def run_program(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


@pytest.mark.parametrize("name", PROGRAMS)
def test_each_benchmark_prints_its_ratios_beside_their_targets(name: str, tmp_path: Path) -> None:
    done = run_program(name, "--quick", "--folder", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "processors" in done.stdout.splitlines()[0]
    assert "| ratio" in done.stdout
    assert " met " in done.stdout
    assert "round 1 of" in done.stderr


def test_scratch_databases_are_removed_afterwards(tmp_path: Path) -> None:
    assert run_program("verify", "--quick", "--folder", str(tmp_path)).returncode == 0
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_benchmark_is_a_usage_error_that_names_those_there_are() -> None:
    done = run_program("speed")
    assert done.returncode == 2
    assert "there are verify, admit" in done.stderr


def test_a_table_says_whether_each_target_is_met() -> None:
    table = Table(
        "Two of each",
        [
            Line("low enough", 1e-6, 0.5, "one", Target(1.0)),
            Line("too high", 2e-3, 1.5, "one", Target(1.0)),
            Line("share enough", 3.0, 0.9, "one", Target(0.5, at_least=True)),
            Line("share too small", 1e-6, 0.05, "one", Target(0.5, at_least=True)),
            Line("no target", 1e-6),
        ],
    )
    verdicts = [
        line.rsplit("|", 2)[1].strip() for line in render(table).splitlines() if "enough" in line or "too" in line
    ]
    assert verdicts == ["met", "not met", "met", "not met"]
