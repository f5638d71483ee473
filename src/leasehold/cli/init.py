"""`leasehold init`: a commented policy with passing tests, to be changed by its owner."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import click

from leasehold.cli.files import write_output
from leasehold.config import POLICY_NAME

__all__ = ["init", "starter_policy"]

_FOREIGN = re.compile(r"[^A-Za-z0-9._-]+")


@click.command("init")
@click.argument("path", type=click.Path(path_type=Path), default=Path(POLICY_NAME))
def init(path: Path) -> None:
    """Write a commented policy with passing tests, to PATH or leasehold.toml. What stands there is never replaced."""
    target = path / POLICY_NAME if path.is_dir() else path
    write_output(target, [starter_policy(target.resolve().parent.name).encode()])
    target.chmod(target.stat().st_mode & ~0o022)  # many systems let an account's group write what it makes
    click.echo(str(target))
    click.echo(
        "next: change it to your tools, then: leasehold policy test, leasehold person add, leasehold doctor", err=True
    )


def starter_policy(name: str) -> str:
    """The text of a first policy for an authority of about this name."""
    authority = _FOREIGN.sub("-", name).strip("-._") or "desk"
    text = files("leasehold.cli").joinpath("starter.toml").read_text(encoding="utf-8")
    return text.replace("@AUTHORITY@", authority[:100])
