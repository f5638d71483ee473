"""`leasehold doctor`: what weakens this installation. It changes nothing.

The database is opened for reading alone; whether its server has room is tried by what is never committed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import click

from leasehold.assemble import find_surroundings, has_database, open_reader, read_policy
from leasehold.authority.load import read_load
from leasehold.cli.checkup import (
    Finding,
    Severity,
    check_account,
    check_anchor,
    check_approvers,
    check_breakers,
    check_clients,
    check_clock,
    check_clocks,
    check_glasses,
    check_issuers,
    check_keys,
    check_listed_keys,
    check_load,
    check_modes,
    check_newest_keys,
    check_notices,
    check_person_claims,
    check_policy,
    check_policy_file,
    check_proposals,
    check_providers,
    check_revocations,
    check_server,
)
from leasehold.cli.exits import ExitCode, Failure
from leasehold.cli.session import Session, with_session
from leasehold.config import Anchor, StateFiles, is_there, read_anchor
from leasehold.decide.govern import revocations_need
from leasehold.decide.lifecycles import DeliveryState, PersonState
from leasehold.decide.rows import (
    AUTHORITY_WIDE,
    ClientKeyRow,
    ControlRow,
    CursorRow,
    DeliveryRow,
    GlassRow,
    ProposalRow,
    SigningKeyRow,
    StopRow,
)
from leasehold.decide.signing_keys import signing_key_need
from leasehold.errors import ConfigError, LeaseholdError, UnavailableError
from leasehold.ledger.load import Load
from leasehold.model.canonical import decode
from leasehold.model.instant import Instant
from leasehold.model.plain import escape
from leasehold.policy.document import Policy
from leasehold.store.queries import MAX_LISTED
from leasehold.token.keys import DocumentType

__all__ = ["doctor"]

_RINGS = [signing_key_need(kind) for kind in (DocumentType.LEASE, DocumentType.RECEIPT, DocumentType.CHECKPOINT)]
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
    policy: Policy | None = None
    try:
        yield from check_policy_file(session.policy_path)
        policy = read_policy(session.policy_path)
    except ConfigError as error:
        yield _broken("policy-unusable", error, "nothing can be opened with it", _remedy_for(session.policy_path))
    directory = _directory(session, policy)
    found: _Found | None = None
    unread = False
    if directory is not None:
        files = StateFiles(directory, session.url)
        try:
            if is_there(directory):
                yield from check_modes(files)
                yield from check_account(directory)
                if has_database(files):
                    yield from check_keys(files)
                    yield from check_server(find_surroundings(files))
                    here = session.around.system.now()
                    found = _look(files, here)
                    yield from _examine_database(files, found, here)
        except (LeaseholdError, OSError) as error:
            unread = found is None
            yield _broken("state-unusable", error, "nothing is executed until it is mended", _remedy(error))
    if policy is not None:
        yield from check_policy(policy, found.control.policy if found else "")
        yield from check_issuers(policy)
        yield from check_listed_keys(policy)
        yield from check_person_claims(policy)
        if not unread:
            yield from check_approvers(policy, found.with_keys if found else frozenset())


def _examine_database(files: StateFiles, found: _Found, here: Instant) -> Iterator[Finding]:
    """All that is looked at in a database by its own clock, and this machine's (`here`) beside it."""
    now = found.clock or here
    yield from check_newest_keys(files, found.signing_keys)
    yield from check_anchor(found.anchor, found.control)
    yield from check_clock(found.control, now)
    yield from check_clocks(found.clock, here)
    yield from check_revocations(found.revocations)
    yield from check_breakers(found.stops)
    yield from check_load(found.load)
    yield from check_glasses(found.glasses, now)
    yield from check_proposals(found.proposals, found.control, now)
    if found.policy is not None:
        yield from check_clients(found.policy, found.client_keys, now)
        yield from check_providers(found.policy, files)
        yield from check_notices(found.policy, files, found.given_up)


def _directory(session: Session, policy: Policy | None) -> Path | None:
    return session.directory() if session.state is not None or policy is not None else None


@dataclass(frozen=True)
class _Found:
    """What a database says, and before it what stands outside: the anchor, its log's row and clock, who has a key,
    what was stopped, skipped and proposed, what people were asked, the policy in force, which notices did not arrive
    of late, whether revocations are paused, the keys of clients, and the newest that the authority signs with."""

    anchor: Anchor | None
    control: ControlRow
    clock: Instant | None
    with_keys: frozenset[str]
    stops: tuple[StopRow, ...]
    glasses: tuple[GlassRow, ...]
    proposals: tuple[ProposalRow, ...]
    load: Load
    policy: Policy | None
    given_up: tuple[DeliveryRow, ...]
    revocations: CursorRow | None
    client_keys: tuple[ClientKeyRow, ...]
    signing_keys: tuple[SigningKeyRow, ...]


def _look(files: StateFiles, here: Instant) -> _Found:
    """Read a database that may be in use. What stands outside is read first: a writer goes on, and keeps it last."""
    anchor = read_anchor(files.anchor)
    reader = open_reader(files)
    try:
        queries = reader.queries
        control, clock = queries.control(), reader.clock()  # in this order, or a writer's next batch is ahead of it
        now = clock or here
        with_keys = frozenset(row.person for row in queries.people([AUTHORITY_WIDE]) if row.state == PersonState.ACTIVE)
        since = Instant(max(0, int(now) - _LOAD_WINDOW_MS))
        notices = queries.deliveries(None, limit=MAX_LISTED)
        body = queries.document(AUTHORITY_WIDE, control.policy)
        return _Found(
            anchor=anchor,
            control=control,
            clock=clock,
            with_keys=with_keys,
            stops=queries.stops(None),
            glasses=queries.glasses(None),
            proposals=queries.proposals(),
            load=read_load(queries, since=since, until=now),
            policy=None if body is None else Policy.from_json(decode(body)),
            revocations=cast("CursorRow | None", queries.rows([revocations_need()])[0]),
            given_up=tuple(row for row in notices if row.state == DeliveryState.GIVEN_UP and row.due_ms >= since),
            client_keys=queries.client_keys(),
            signing_keys=tuple(row for row in queries.rows(_RINGS) if isinstance(row, SigningKeyRow)),
        )
    finally:
        reader.close()


def _broken(code: str, error: LeaseholdError | OSError, why: str, remedy: str) -> Finding:
    return Finding(code=code, severity=Severity.SERIOUS, what=str(error), why=why, remedy=remedy)


def _remedy_for(policy: Path) -> str:
    """What to do about a policy that cannot be read."""
    try:
        is_missing = not is_there(policy)
    except ConfigError:
        is_missing = False  # it cannot even be looked for
    return "leasehold init, or name yours with --policy" if is_missing else "leasehold policy check"


def _remedy(error: LeaseholdError | OSError) -> str:
    """What to do about a state that cannot be read; one that cannot be had at the moment is not looked through."""
    if isinstance(error, UnavailableError):
        return "bring back what is named above; what runs goes on by itself then"
    return "leasehold db check"


def _lines(finding: Finding) -> Iterator[str]:
    yield f"{finding.severity.upper()} {finding.code}: {escape(finding.what)}"
    yield f"    why: {escape(finding.why)}"
    yield f"    do:  {escape(finding.remedy)}"
