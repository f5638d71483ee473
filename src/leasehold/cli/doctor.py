"""`leasehold doctor`: what weakens this installation. It reads only; the database is opened for reading alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from leasehold.assemble import read_policy
from leasehold.authority.load import read_load
from leasehold.cli.checkup import (
    Finding,
    Severity,
    check_account,
    check_anchor,
    check_approvers,
    check_breakers,
    check_clock,
    check_keys,
    check_load,
    check_modes,
    check_policy,
    check_policy_file,
)
from leasehold.cli.exits import ExitCode, Failure
from leasehold.cli.session import Session, with_session
from leasehold.config import StateFiles, read_anchor
from leasehold.decide.lifecycles import PersonState
from leasehold.decide.rows import AUTHORITY_WIDE, ControlRow, StopRow
from leasehold.errors import ConfigError, LeaseholdError
from leasehold.ledger.load import Load
from leasehold.model.instant import Instant
from leasehold.model.plain import escape
from leasehold.policy.document import Policy
from leasehold.store.sqlite import open_read_only

__all__ = ["doctor"]

_LOAD_WINDOW_MS = 7 * 86_400_000


@click.command("doctor")
@with_session
@click.option("--strict", is_flag=True, help="Exit 1 if anything serious was found.")
def doctor(session: Session, *, strict: bool) -> None:
    """Look for what weakens this installation: what is so, why it matters, what to do about it."""
    findings = [*_examine(session)]
    serious = [finding for finding in findings if finding.severity is Severity.SERIOUS]
    lines = [line for finding in findings for line in _lines(finding)]
    summary = f"{len(serious)} serious, {len(findings) - len(serious)} to think about"
    session.give({"findings": findings, "serious": len(serious)}, [*lines, summary])
    if strict and serious:
        raise Failure("something serious was found", ExitCode.FAILED)


def _examine(session: Session) -> Iterator[Finding]:
    yield from check_policy_file(session.policy_path)
    policy: Policy | None = None
    try:
        policy = read_policy(session.policy_path)
    except ConfigError as error:
        yield _broken("policy-unusable", error, "nothing can be opened with it", "leasehold policy check")
    directory = _directory(session, policy)
    found: _Found | None = None
    if directory is not None and directory.exists():
        files = StateFiles(directory)
        try:
            yield from check_modes(files)
            yield from check_account(directory)
            if files.database.exists():
                yield from check_keys(files)
                now = session.around.system.now()
                found = _look(files, now)
                yield from check_anchor(read_anchor(files.anchor), found.control)
                yield from check_clock(found.control, now)
                yield from check_breakers(found.stops)
                yield from check_load(found.load)
        except (LeaseholdError, OSError) as error:
            yield _broken("state-unusable", error, "nothing is executed until it is mended", "leasehold db check")
    if policy is not None:
        yield from check_policy(policy, found.control.policy if found else "")
        if found is not None:
            yield from check_approvers(policy, found.with_keys)


def _directory(session: Session, policy: Policy | None) -> Path | None:
    return session.directory() if session.state is not None or policy is not None else None


@dataclass(frozen=True)
class _Found:
    """What a database says: its log's row, who has a key, which stops there are, what people were asked of late."""

    control: ControlRow
    with_keys: frozenset[str]
    stops: tuple[StopRow, ...]
    load: Load


def _look(files: StateFiles, now: Instant) -> _Found:
    """Read a database that may be in use."""
    reader = open_read_only(files.database)
    try:
        queries = reader.queries
        with_keys = frozenset(row.person for row in queries.people([AUTHORITY_WIDE]) if row.state == PersonState.ACTIVE)
        load = read_load(queries, since=Instant(max(0, int(now) - _LOAD_WINDOW_MS)), until=now)
        stops = queries.stops([AUTHORITY_WIDE, *queries.tenants()])
        return _Found(control=queries.control(), with_keys=with_keys, stops=stops, load=load)
    finally:
        reader.close()


def _broken(code: str, error: LeaseholdError | OSError, why: str, remedy: str) -> Finding:
    return Finding(code=code, severity=Severity.SERIOUS, what=str(error), why=why, remedy=remedy)


def _lines(finding: Finding) -> Iterator[str]:
    yield f"{finding.severity.upper()} {finding.code}: {escape(finding.what)}"
    yield f"    why: {escape(finding.why)}"
    yield f"    do:  {escape(finding.remedy)}"
