"""The program itself: cheap to load, words instead of tracebacks, documented exit codes, and the page about it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from reference import page
from terminal import Terminal

from leasehold.cli.exits import ExitCode, code_of, words_of
from leasehold.cli.files import MAX_INPUT_BYTES, write_output
from leasehold.cli.output import show_table
from leasehold.cli.program import COMMANDS, program
from leasehold.cli.surroundings import Surroundings
from leasehold.errors import (
    ApprovalNeeded,
    ConfigError,
    Denied,
    InvalidError,
    LeaseholdError,
    NotFoundError,
    StoreError,
    TokenError,
    TransitionError,
    UnavailableError,
    VerificationError,
)
from leasehold.model.decision import Reason, deny

ROOT = Path(__file__).parent.parent.parent


def loaded_by(code: str) -> set[str]:
    """The modules that a fresh interpreter has after some code."""
    script = f"import sys; {code}; print(*sys.modules)"
    return set(
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    )


def test_importing_the_command_line_is_cheap() -> None:
    modules = loaded_by("import leasehold.cli")
    assert not {"click", "rich", "apsw", "cryptography", "msgspec"} & modules


def test_the_overview_loads_no_command() -> None:
    code = "from leasehold.cli.program import program; program(['--help'], standalone_mode=False)"
    assert not {"rich", "apsw", "cryptography", "leasehold.assemble"} & loaded_by(code)


def test_the_program_runs_as_a_module_and_says_its_version() -> None:
    done = subprocess.run([sys.executable, "-m", "leasehold", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0.1.0"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_of_the_overview_can_be_had(terminal: Terminal, name: str) -> None:
    assert terminal.run(name, "--help", plain=True).stdout.startswith(f"Usage: program {name} ")


def test_a_command_that_does_not_exist_exits_2(terminal: Terminal) -> None:
    assert "No such command" in terminal.run("leese", code=2).stderr


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("approve", "'request approve'"),
        ("requests", "'request'"),
        ("verify", "'ledger verify', 'receipt verify'"),
        ("approv", "'request approve'"),
    ],
)
def test_a_command_that_is_misspelt_or_stands_below_another_is_named(
    terminal: Terminal, written: str, meant: str
) -> None:
    assert f"No such command '{written}'. Did you mean {meant}?" in terminal.run(written, code=2).stderr


def test_the_overview_of_a_group_cuts_no_sentence_short() -> None:
    for name in COMMANDS:
        shown = CliRunner().invoke(program, [name, "--help"], env={"COLUMNS": "60"}, catch_exceptions=False).stdout
        assert "..." not in shown.partition("Commands:")[2], name


MISTAKES = {
    "a folder without a policy": (("run", "list"), "name it with --policy"),
    "a scope without a name": (("hold", "tool", "--reason", "r"), "'tool' is no scope; write all, or one of these"),
    "nobody to be asked about a policy": (("policy", "accept"), "8 hex digits of the hash that policy check prints"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_what_to_do(terminal: Terminal, mistake: str) -> None:
    words, told = MISTAKES[mistake]
    if "without a policy" in mistake:
        terminal.policy.unlink()
    else:
        terminal.run("run", "list")
        terminal.policy.write_text(terminal.policy.read_text().replace('"user:ana" = ["oncall"]', ""))
    assert told in terminal.run(*words, code=2).stderr


def test_a_key_for_a_person_without_a_role_says_whom_the_policy_means(terminal: Terminal) -> None:
    assert "did you mean user:ben?" in terminal.run("person", "add", "ben").stderr
    assert 'add "user:kim" = ["ROLE"] under [people]' in terminal.run("person", "add", "user:kim").stderr


DECISION = deny(Reason.NOT_GRANTED, "no")
ERRORS = [
    (ApprovalNeeded(deny(Reason.APPROVAL_NEEDED, "wait"), "req_x"), 4),
    (Denied(deny(Reason.APPROVAL_NEEDED, "wait")), 4),
    (Denied(deny(Reason.APPROVAL_EXPIRED, "late")), 4),
    (Denied(deny(Reason.APPROVAL_DENIED, "no")), 3),
    (Denied(DECISION), 3),
    (Denied(deny(Reason.HELD, "held")), 3),
    *(
        (Denied(deny(reason, "over")), 5)
        for reason in (Reason.EXPIRED, Reason.REVOKED, Reason.STALE_ATTEMPT, Reason.ENDED)
    ),
    (TokenError("signature", "bad"), 3),
    (ConfigError("bad", path="leasehold.toml", line=3), 2),
    (InvalidError("bad"), 2),
    (NotFoundError("gone"), 1),
    (StoreError("bad"), 1),
    (UnavailableError("locked"), 1),
    (VerificationError("bad", index=3), 1),
    (TransitionError("bad"), 1),
]


@pytest.mark.parametrize(("error", "code"), ERRORS, ids=lambda value: type(value).__name__)
def test_each_kind_of_error_has_its_exit_code(error: LeaseholdError, code: int) -> None:
    assert code_of(error) == ExitCode(code)


def test_an_error_says_what_to_do_and_hides_nothing() -> None:
    assert "leasehold request inspect req_x" in words_of(ApprovalNeeded(deny(Reason.APPROVAL_NEEDED, "wait"), "req_x"))
    assert "leasehold.toml:3: bad" in words_of(ConfigError("bad", path="leasehold.toml", line=3))
    assert words_of(InvalidError("a\x1bb\nc")) == "a<U+001B>b\nc"
    assert "look before you repeat" in words_of(StoreError("lost", maybe_persisted=True))


def test_an_error_leaves_stdout_alone_and_no_traceback(terminal: Terminal) -> None:
    terminal.policy.unlink()
    result = terminal.run("run", "list", code=2)
    assert result.stdout == ""
    assert "write one with: leasehold init" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_first_policy_is_announced_on_stderr(terminal: Terminal) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "leasehold",
            "run",
            "list",
            "--state",
            str(terminal.state),
            "--policy",
            str(terminal.policy),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == ""
    assert done.stderr.startswith(f"leasehold: this state is new: {terminal.state}; its policy is sha256:")


@pytest.mark.parametrize("path", ["folder", "nowhere/x"])
def test_files_that_cannot_be_read_or_written_exit_2(terminal: Terminal, tmp_path: Path, path: str) -> None:
    (tmp_path / "folder").mkdir()
    terminal.run("receipt", "inspect", str(tmp_path / path), code=2)
    terminal.run("keys", "export", "-o", str(tmp_path / "nowhere" / "x"), code=2)
    terminal.run("ledger", "verify", str(tmp_path / path), "--key", str(tmp_path / path), code=2)


def test_a_file_larger_than_any_that_is_ours_exits_2(terminal: Terminal, tmp_path: Path) -> None:
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(MAX_INPUT_BYTES + 1)
    assert "is larger than" in terminal.run("receipt", "inspect", str(tmp_path / "huge"), code=2).stderr


def test_an_output_that_could_not_be_finished_does_not_stay(tmp_path: Path) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"half"
        raise VerificationError("the rest is damaged")

    with pytest.raises(VerificationError):
        write_output(tmp_path / "out", pieces())
    assert not (tmp_path / "out").exists()


def test_the_state_stands_in_the_users_state_directory_by_default(terminal: Terminal, tmp_path: Path) -> None:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("LEASEHOLD")}
    subprocess.run(
        [sys.executable, "-m", "leasehold", "person", "add", "user:ben"],
        cwd=tmp_path,
        env={**environ, "XDG_STATE_HOME": str(tmp_path / "home")},
        check=True,
        capture_output=True,
    )
    assert (tmp_path / "home" / "leasehold" / "acme-desk" / "people" / "user:ben.keys.json").exists()


def test_shells_can_complete_commands(terminal: Terminal) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "leasehold"],
        env={**os.environ, "_LEASEHOLD_COMPLETE": "bash_complete", "COMP_WORDS": "leasehold le", "COMP_CWORD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert set(done.stdout.split()) == {"plain,lease", "plain,ledger"}


def test_a_process_reads_its_own_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "20")
    around = Surroundings.of_this_process()
    assert (around.has_colour, around.width) == (False, 40)
    assert around.account.startswith("account:")


def test_an_account_without_a_name_is_named_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 987_654)
    assert Surroundings.of_this_process().account == "account:987654"


def test_tables_for_programs_have_one_line_each_whatever_stands_in_them(capsys: pytest.CaptureFixture[str]) -> None:
    show_table(["a", "b"], [["x\ty", "z\nz"]], is_terminal=False, width=80)
    assert capsys.readouterr().out == "a\tb\nx<U+0009>y\tz<U+000A>z\n"


def test_the_page_about_the_command_line_is_what_the_program_says() -> None:
    assert (ROOT / "docs/cli.md").read_text() == page(program), "write it again with: python tests/cli/reference.py"
