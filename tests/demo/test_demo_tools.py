"""The demo's repository tools: files are opened where they were allowed, and nowhere else."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from leasehold.assemble import MEMORY, open_authority
from leasehold.cli.demonstration.dependency import Update, find_update
from leasehold.cli.demonstration.files import MAX_FILE_BYTES, Tree
from leasehold.cli.demonstration.git import Git, create
from leasehold.cli.demonstration.policy import AGENT, ENVIRONMENT, POLICY, REQUESTER, ROUTE, TENANT, TOOL
from leasehold.cli.demonstration.tools import RepositoryTools
from leasehold.cli.demonstration.trial import TestRunner
from leasehold.config import POLICY_NAME
from leasehold.errors import InvalidError, LeaseholdError
from leasehold.guard import Guard
from leasehold.model.lease import HeldLease


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    root = tmp_path / "root"
    (root / "src").mkdir(parents=True)
    (root / "src" / "module.py").write_text("x = 1\n")
    (root / ".git").mkdir()
    (root / ".git" / "config").write_text("[core]\n")
    (tmp_path / "secret").write_text("secret")
    (root / "link").symlink_to(tmp_path / "secret")
    (root / "src" / "below").symlink_to(tmp_path)
    (root / "large").write_bytes(b"x" * (MAX_FILE_BYTES + 1))
    (root / "image").write_bytes(b"\xff\xfe")
    os.mkfifo(root / "pipe")
    return Tree(root)


def test_a_file_below_the_root_is_read_and_replaced(tree: Tree, tmp_path: Path) -> None:
    path = tmp_path / "root" / "src" / "module.py"
    path.chmod(0o640)
    assert tree.read("src/module.py") == "x = 1\n"
    tree.replace("src/module.py", "x = 2\n")
    assert path.read_text() == "x = 2\n"
    assert path.stat().st_mode & 0o777 == 0o640
    assert sorted(each.name for each in path.parent.iterdir()) == ["below", "module.py"]


@pytest.mark.case(32)
@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("link", "leads over a link"),
        ("src/below/secret", "leads over a link"),
        ("../secret", "not the name of a file"),
        ("src/../../secret", "not the name of a file"),
        ("/etc/passwd", "not the name of a file"),
        ("src//module.py", "not the name of a file"),
        ("src/module.py\0", "not the name of a file"),
        ("", "not the name of a file"),
        (".git/config", "belongs to git itself"),
        (".GIT/config", "belongs to git itself"),
        ("src", "not a regular file"),
        ("pipe", "not a regular file"),
        ("large", "larger than"),
        ("image", "not UTF-8"),
        ("missing", "No such file"),
        ("src/module.py/below", "leads over a link"),
    ],
)
def test_what_leads_elsewhere_is_neither_read_nor_replaced(tree: Tree, tmp_path: Path, name: str, why: str) -> None:
    with pytest.raises(InvalidError, match=why):
        tree.read(name)
    with pytest.raises(InvalidError, match=why):
        tree.replace(name, "mine")
    assert (tmp_path / "secret").read_text() == "secret"
    assert (tmp_path / "root" / ".git" / "config").read_text() == "[core]\n"


@pytest.mark.case(32)
def test_another_name_for_the_same_file_keeps_the_old_text(tree: Tree, tmp_path: Path) -> None:
    os.link(tmp_path / "secret", tmp_path / "root" / "hard")
    tree.replace("hard", "mine")
    assert tree.read("hard") == "mine"
    assert (tmp_path / "secret").read_text() == "secret"


def test_a_leftover_beside_a_file_is_never_written_over(tree: Tree, tmp_path: Path) -> None:
    (tmp_path / "root" / "src" / ".module.py.new").symlink_to(tmp_path / "secret")
    with pytest.raises(InvalidError, match="File exists"):
        tree.replace("src/module.py", "mine")
    assert tree.read("src/module.py") == "x = 1\n"
    assert (tmp_path / "secret").read_text() == "secret"


INSTALLED = {"old": "1.2", "new": "2.10.1", "same": "1.0.0", "odd": "2!3"}


@pytest.mark.parametrize(
    ("requirements", "expected"),
    [
        ('"new>=2.9"', Update(name="new", old='"new>=2.9"', new='"new>=2.10.1"')),
        ("'new >= 2'", Update(name="new", old="'new >= 2'", new="'new >= 2.10.1'")),
        ('"old>=1.3", "new>=2"', Update(name="new", old='"new>=2"', new='"new>=2.10.1"')),
        ('"same>=1"', Update(name="same", old='"same>=1"', new='"same>=2"')),
        ('"odd>=1.9"', Update(name="odd", old='"odd>=1.9"', new='"odd>=1.10"')),
        ('"unknown>=0.3.1"', Update(name="unknown", old='"unknown>=0.3.1"', new='"unknown>=0.3.2"')),
        ('"a1>=1"', Update(name="a1", old='"a1>=1"', new='"a1>=2"')),
        ('"new>=1,<3", "new==1", "new[extra]>=1", "new"', None),
        ('"new>=1", "new>=1"', None),
        ("1", None),
        ("", None),
    ],
)
def test_the_first_floor_that_can_be_raised_is_raised(requirements: str, expected: Update | None) -> None:
    found = find_update(f"[project]\nname = 'x'\ndependencies = [{requirements}]\n", INSTALLED.get)
    assert found == expected


@pytest.mark.parametrize("text", ["", "[", "project = 1", "[project]\ndependencies = 'new>=1'"])
def test_what_is_no_project_offers_nothing(text: str) -> None:
    assert find_update(text, INSTALLED.get) is None


# the tools, through their guard


@dataclass(frozen=True)
class Bench:
    """A lease for everything that the policy allows, and the tools, over a repository in a folder."""

    root: Path
    tools: RepositoryTools
    lease: HeldLease


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    (tmp_path / POLICY_NAME).write_text(POLICY)
    files = {"pyproject.toml": "a a\n", "other": "b\n"}
    repository = create(Git(os.environ), tmp_path / "root", files)
    (repository.root / "linked").symlink_to(tmp_path / POLICY_NAME)
    with open_authority(tmp_path / POLICY_NAME, state=MEMORY, sweep=False) as authority:
        guard = Guard(TOOL, authority, environment=ENVIRONMENT)
        runner = TestRunner(repository.root, os.environ)
        run = authority.start(
            agent=AGENT, route=ROUTE, tenant=TENANT, environment=ENVIRONMENT, requested_by=REQUESTER, purpose="try"
        )
        branch = {"branch": ["agent/*"]}
        allow = {"repo.read": {"path": ["**"]}, "repo.branch": branch, "repo.commit": branch, "repo.open": branch}
        lease = authority.wait(authority.request(run, allow, reason="try"))
        yield Bench(repository.root, RepositoryTools(guard, repository, runner, tmp_path / "change.patch"), lease)


@pytest.mark.case(32)
def test_a_link_that_the_lease_would_cover_is_not_followed(bench: Bench) -> None:
    assert bench.tools.read(bench.lease, "other") == "b\n"
    with pytest.raises(InvalidError, match="leads over a link"):
        bench.tools.read(bench.lease, "linked")


def test_a_branch_that_is_not_the_current_one_is_not_committed_to(bench: Bench) -> None:
    with pytest.raises(InvalidError, match="the current branch is main, not agent/x"):
        bench.tools.commit(bench.lease.once("commit"), "agent/x", "no")


def test_git_refuses_what_is_no_branch_name(bench: Bench) -> None:
    with pytest.raises(LeaseholdError, match="check-ref-format failed"):
        bench.tools.branch(bench.lease.once("branch"), "agent/x y")


def test_without_git_it_says_what_is_needed(tmp_path: Path) -> None:
    with pytest.raises(LeaseholdError, match="git is needed"):
        Git({"PATH": str(tmp_path)}).run(tmp_path, "status")
