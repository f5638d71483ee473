"""`leasehold demo`, run as its user runs it: a process of its own, real git, real tests, a real ledger."""

from __future__ import annotations

import base64
import json
import os
import pty
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from leasehold.cli.program import program
from leasehold.cli.surroundings import Surroundings
from leasehold.system import RealSystem

ROOT = Path(__file__).parent.parent.parent
LIMIT = 120


@dataclass(frozen=True)
class Played:
    """What a demo showed and left behind."""

    code: int
    shown: str
    folder: Path

    @property
    def words(self) -> str:
        """The text on one line, however it was wrapped."""
        return " ".join(self.shown.split())

    def receipt(self) -> dict[str, object]:
        """The statement's predicate, as the receipt has it."""
        envelope = json.loads((self.folder / "evidence" / "receipt.json").read_bytes())
        predicate: dict[str, object] = json.loads(base64.b64decode(envelope["payload"]))["predicate"]
        return predicate


def environment(home: Path, **more: str) -> dict[str, str]:
    """What a bare machine gives a command."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "XDG_STATE_HOME": str(home / "state"),
        "NO_COLOR": "1",
        "COLUMNS": "100",
        **more,
    }


def command(folder: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "leasehold", "demo", "--keep", str(folder), *options]


def play(home: Path, *options: str, cwd: Path, **more: str) -> Played:
    folder = home / "demo"
    done = subprocess.run(
        command(folder, *options),
        cwd=cwd,
        env=environment(home, **more),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    return Played(done.returncode, done.stdout, folder)


def play_at_terminal(home: Path, answer: str, *options: str, cwd: Path) -> Played:
    """Play it with a terminal of its own, at which the answer has been typed ahead."""
    folder = home / "demo"
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command(folder, "--interactive", *options),
        cwd=cwd,
        env=environment(home, TERM="dumb"),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    os.write(ours, f"{answer}\n".encode())
    shown = bytearray()
    try:
        while piece := os.read(ours, 65536):
            shown += piece
    except OSError:  # the other side is closed: on Linux a terminal says so with an error
        pass
    finally:
        os.close(ours)
    return Played(process.wait(LIMIT), shown.decode().replace("\r\n", "\n"), folder)


def leasehold(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Another process, in a folder with nothing but the exported files."""
    return subprocess.run(
        [sys.executable, "-m", "leasehold", *arguments],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )


def git(folder: Path, *arguments: str, **more: str) -> str:
    own = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, **more}
    identity = ("-c", "user.name=Someone", "-c", "user.email=someone@example.invalid")
    done = subprocess.run(
        ["git", *identity, *arguments],
        cwd=folder,
        env={"PATH": os.environ["PATH"], **own},
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=True,
    )
    return done.stdout.strip()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Played:
    """One demo outside every checkout, without colour, answered by the script."""
    home = tmp_path_factory.mktemp("small")
    return play(home, cwd=home)


def make_repository(folder: Path) -> Path:
    """A repository of somebody, with a dependency, a test and hooks that nobody may run."""
    source = folder / "theirs"
    source.mkdir()
    git(source, "init", "--quiet", "--initial-branch=trunk")
    (source / "pyproject.toml").write_text("[project]\nname = 'x'\ndependencies = ['not-installed-here >= 1.4']\n")
    (source / "test_sum.py").write_text(
        "import unittest\n\n\nclass SumTest(unittest.TestCase):\n"
        "    def test_sum(self):\n        self.assertEqual(1 + 1, 2)\n"
    )
    git(source, "add", ".")
    git(source, "commit", "--quiet", "--message=Begin")
    return source


# what the terminal shows


def test_it_ends_well_and_without_colour(small: Played) -> None:
    assert small.code == 0, small.shown
    assert "\x1b" not in small.shown
    assert max(map(len, small.shown.replace(str(small.folder), "demo").splitlines())) <= 140


@pytest.mark.requirement("B12")
@pytest.mark.parametrize(
    ("doing", "answer"),
    [
        ("tries to push the branch", "REFUSED not_granted: the lease does not grant repo.push"),
        ("tries to edit Makefile", "REFUSED out_of_range: this call of repo.edit is outside what the lease grants"),
        ('changes "click>=8.0" to', "WAITS approval_needed: people have to approve this exact call first"),
        ("the lost worker wakes up", "REFUSED stale_attempt: this belongs to attempt 1"),
        ("tries to commit", "REFUSED not_granted: the lease does not grant repo.commit"),
        ("wants to run them once more", "REFUSED revoked:"),
        ("reads pyproject.toml once more", "REFUSED completed:"),
    ],
)
def test_each_refusal_is_shown_with_its_reason(small: Played, doing: str, answer: str) -> None:
    assert doing in small.words
    told = small.words.split(doing, 1)[1].split("door", 1)[1]
    assert told.strip().startswith(answer)


@pytest.mark.requirement("B12", "L10")
def test_the_card_is_shown_and_approved_by_somebody_else_with_a_key_that_the_demo_made(small: Played) -> None:
    card = small.words.split("WAITS", 1)[1].split("door", 1)[0]
    assert '"click>=8.0" becomes "click>=' in card
    assert "what changes, as the tool says pyproject.toml, line 4 " in card
    assert "NOT ALLOWED repo.branch, repo.commit, repo.look, repo.open, repo.push, repo.read, repo.test" in card
    assert "made user:ben a key; user:ana asked" in card
    assert "user:ben approves" in card
    assert "allowed approved for exactly these arguments" in small.words


@pytest.mark.requirement("B12", "L6")
def test_the_revocation_names_the_call_that_is_under_way(small: Played) -> None:
    assert "revoked; in flight: repo.test (adm_" in small.words


@pytest.mark.requirement("B12")
def test_the_child_really_ran_the_tests(small: Played) -> None:
    assert "(exit 0)" in small.words
    assert "2 passed" in small.words or "OK (exit 0)" in small.words


def test_it_says_where_everything_lies(small: Played) -> None:
    for name in ("small-project", "change.patch", "evidence", "state"):
        assert str(small.folder / name) in small.shown
        assert (small.folder / name).exists()


# what it leaves behind


@pytest.mark.requirement("B12")
def test_the_change_applies_to_the_commit_that_the_work_began_from(small: Played, tmp_path: Path) -> None:
    repository = small.folder / "small-project"
    assert git(repository, "branch", "--show-current") == "agent/click"
    assert git(repository, "status", "--porcelain", "--untracked-files=no") == ""
    git(tmp_path, "clone", "--quiet", "--branch=main", str(repository), "base")
    git(tmp_path / "base", "apply", "--check", str(small.folder / "change.patch"))
    git(tmp_path / "base", "apply", str(small.folder / "change.patch"))
    changed = (tmp_path / "base" / "pyproject.toml").read_text()
    assert "click>=8.0" not in changed
    assert changed == (repository / "pyproject.toml").read_text()


@pytest.mark.requirement("B10", "B12")
def test_receipt_and_ledger_verify_from_the_exported_files_alone(small: Played, tmp_path: Path) -> None:
    for name in ("receipt.json", "ledger.jsonl", "authority.pub"):
        (tmp_path / name).write_bytes((small.folder / "evidence" / name).read_bytes())
    receipt = leasehold(
        tmp_path, "receipt", "verify", "receipt.json", "--key", "authority.pub", "--ledger", "ledger.jsonl"
    )
    assert receipt.returncode == 0, receipt.stderr
    ledger = leasehold(tmp_path, "ledger", "verify", "ledger.jsonl", "--key", "authority.pub", "--history")
    assert ledger.returncode == 0, ledger.stderr
    damaged = (tmp_path / "ledger.jsonl").read_text().replace("repo.push", "repo.pull", 1)
    (tmp_path / "ledger.jsonl").write_text(damaged)
    assert leasehold(tmp_path, "ledger", "verify", "ledger.jsonl", "--key", "authority.pub").returncode == 1


@pytest.mark.requirement("B9", "B10", "B12")
def test_the_receipt_tells_of_one_lease_ended_by_the_change_and_of_a_child_that_was_revoked(small: Played) -> None:
    receipt = small.receipt()
    refused = [(each["action"], each["reason"]) for each in receipt["denied"]["listed"]]  # type: ignore[index]
    assert ("repo.push", "not_granted") in refused
    assert ("repo.edit", "out_of_range") in refused
    assert ("repo.branch", "stale_attempt") in refused
    used = [each for each in receipt["used"] if each["run"] == receipt["run"]["run"]]  # type: ignore[attr-defined,index]
    written = [each for each in used if each["effect"] == "write"]
    assert [each["action"] for each in written] == ["repo.branch", "repo.edit", "repo.commit", "repo.open"]
    assert len({each["lease"] for each in written}) == 1
    assert [each["approvedBy"] for each in written if each["action"] == "repo.edit"] == [["user:ben"]]
    lease = next(each for each in receipt["granted"] if each["lease"] == written[0]["lease"])  # type: ignore[attr-defined]
    assert lease["ended"]["why"] == "completed"
    (child,) = receipt["children"]  # type: ignore[misc]
    assert child["ended"]["why"] == "revoked"
    assert child["run"]["parentRun"] == receipt["run"]["run"]  # type: ignore[index]
    assert [each["action"] for each in child["denied"]["listed"]] == ["repo.commit", "repo.test"]


# other repositories, other answers


@pytest.mark.requirement("B12")
def test_in_a_checkout_it_works_on_a_clone_of_that(tmp_path: Path) -> None:
    before = git(ROOT, "rev-parse", "HEAD") if (ROOT / ".git").exists() else ""
    played = play(tmp_path, cwd=ROOT)
    assert played.code == 0, played.shown
    assert (f"a clone of {ROOT}" if before else "a small project") in played.words
    if before:
        assert git(ROOT, "rev-parse", "HEAD") == before
        assert git(played.folder / "repository", "remote") == ""
    assert "(exit 0)" in played.words


@pytest.mark.requirement("B12")
def test_a_repository_that_is_named_is_cloned_and_nothing_of_the_user_own_git_takes_part(tmp_path: Path) -> None:
    source = make_repository(tmp_path)
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    for name in ("pre-commit", "post-checkout", "commit-msg"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {tmp_path}/hook-ran\nexit 1\n")
        (hooks / name).chmod(0o755)
    (tmp_path / ".gitconfig").write_text(
        f"[core]\n hooksPath = {hooks}\n[commit]\n gpgSign = true\n[user]\n name = Somebody\n"
    )
    played = play(tmp_path, "--repo", str(source), cwd=tmp_path, GIT_DIR="/nonexistent", GIT_AUTHOR_NAME="Mallory")
    assert played.code == 0, played.shown
    assert not (tmp_path / "hook-ran").exists()
    assert "dependencies = ['not-installed-here >= 1.5']" in (played.folder / "repository/pyproject.toml").read_text()
    assert git(played.folder / "repository", "log", "-1", "--format=%an") == "Leasehold demo agent"
    assert git(source, "branch", "--list") == "* trunk"


@pytest.mark.requirement("B12", "P12")
def test_the_person_at_the_terminal_may_say_yes(tmp_path: Path) -> None:
    played = play_at_terminal(tmp_path, "y", cwd=tmp_path)
    assert played.code == 0, played.shown
    assert "do you, as user:ben, approve this? [y/N]" in played.words
    assert "user:ben approves" in played.words
    assert (played.folder / "change.patch").exists()


@pytest.mark.requirement("B12", "P4")
def test_the_person_at_the_terminal_may_say_no_and_nothing_is_changed(tmp_path: Path) -> None:
    played = play_at_terminal(tmp_path, "n", cwd=tmp_path)
    assert played.code == 0, played.shown
    assert "user:ben says no" in played.words
    assert "REFUSED approval_denied:" in played.words
    assert "click>=8.0" in (played.folder / "small-project/pyproject.toml").read_text()
    assert not (played.folder / "change.patch").exists()
    assert "history: nothing in it is impossible" in played.words
    assert [each["verdict"] for asked in played.receipt()["asked"] for each in asked["answers"]] == ["deny"]  # type: ignore[attr-defined]


@pytest.mark.requirement("B12")
def test_in_a_checkout_that_it_cannot_work_on_it_makes_a_small_project_and_says_why(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "checkout")
    played = play(tmp_path, cwd=tmp_path / "checkout")
    assert played.code == 0, played.shown
    assert "a small project, made for this demo (in this checkout, " in played.words
    assert not (played.folder / "repository").exists()


def test_without_a_terminal_nobody_is_asked(tmp_path: Path) -> None:
    played = play(tmp_path, "--interactive", cwd=tmp_path)
    assert played.code == 2
    assert "needs a terminal" in played.shown


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "mine").write_text("mine")
    played = play(tmp_path, cwd=tmp_path)
    assert played.code == 2
    assert "is not empty" in played.shown
    assert [path.name for path in played.folder.iterdir()] == ["mine"]


@pytest.mark.parametrize(
    ("files", "why"),
    [
        (None, "it is no git repository"),
        ({"README": "nothing"}, "pyproject.toml"),
        ({"pyproject.toml": "[project]\nname = 'x'\n"}, "has no dependency of the form name>=version"),
        ({"pyproject.toml": "[project]\ndependencies = ['x>=1']\n"}, "no file test_*.py can be run here"),
    ],
)
def test_a_repository_that_it_cannot_work_on_is_refused_with_the_reason(
    tmp_path: Path, files: dict[str, str] | None, why: str
) -> None:
    source = tmp_path / "theirs"
    source.mkdir()
    if files is not None:
        git(source, "init", "--quiet")
        for name, text in files.items():
            (source / name).write_text(text)
        git(source, "add", ".")
        git(source, "commit", "--quiet", "--message=Begin")
    played = play(tmp_path, "--repo", str(source), cwd=tmp_path)
    assert played.code == 2
    assert why in played.words


@pytest.mark.parametrize(("typed", "word"), [("y\n", "user:ben approves"), ("\n", "user:ben says no")])
def test_at_a_terminal_with_colour_the_words_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: str, word: str
) -> None:
    monkeypatch.chdir(tmp_path)
    around = Surroundings(system=RealSystem(), is_interactive=True, is_terminal=True, has_colour=True, width=200)
    arguments = ["demo", "--interactive", "--keep", str(tmp_path / "demo")]
    done = CliRunner().invoke(program, arguments, obj=around, input=typed, color=True)
    assert done.exit_code == 0, done.output
    assert "\x1b[31m\x1b[1mREFUSED\x1b[0m  not_granted" in done.output
    assert word in click.unstyle(done.output)
