"""What `leasehold doctor` looks for: plain functions from what was found to findings.

Each finding says what is so, why it matters, and what to do. Nothing here changes anything.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from leasehold.authority.chat import SIGNING_SECRET
from leasehold.cli.policy import lax_words
from leasehold.config import Anchor, StateFiles, read_key_ring, read_secrets, weak_modes, writable_policy
from leasehold.decide.breaker import BY_RULE
from leasehold.decide.glass import REVIEW_SECONDS
from leasehold.decide.lifecycles import GlassState
from leasehold.decide.proposals import is_waiting
from leasehold.decide.rows import (
    ClientKeyRow,
    ControlRow,
    CursorRow,
    DeliveryRow,
    GlassRow,
    ProposalRow,
    SigningKeyRow,
    StopRow,
)
from leasehold.errors import ConfigError, InvalidError
from leasehold.ledger.load import Load
from leasehold.model import canonical
from leasehold.model.instant import Instant
from leasehold.model.times import show_time
from leasehold.policy.cases import run_tests
from leasehold.policy.document import REQUESTER, Policy
from leasehold.policy.evaluate import group_roles
from leasehold.policy.explain import laxer_rules
from leasehold.policy.shortage import people_without_a_kind, routes_short_of_approvers
from leasehold.token.foreign import read_foreign_keys
from leasehold.token.keys import DocumentType

if TYPE_CHECKING:
    from leasehold.store.postgres_check import Surroundings

__all__ = [
    "Finding",
    "Severity",
    "check_account",
    "check_anchor",
    "check_approvers",
    "check_breakers",
    "check_clients",
    "check_clock",
    "check_clocks",
    "check_glasses",
    "check_issuers",
    "check_keys",
    "check_listed_keys",
    "check_load",
    "check_modes",
    "check_newest_keys",
    "check_notices",
    "check_person_claims",
    "check_policy",
    "check_policy_file",
    "check_proposals",
    "check_providers",
    "check_revocations",
    "check_server",
]

_TOLERATED_MS = 2000
_SHOWN = 5
FREE_CLAIMS = ("given_name", "family_name", "name", "nickname", "preferred_username", "profile", "website")
"""Of these OpenID Connect Core §5.7 says that nobody may rely on them to tell people apart."""


class Severity(StrEnum):
    """How much a finding matters: `serious` breaks a promise, `warning` weakens one."""

    SERIOUS = "serious"
    WARNING = "warning"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that weakens the installation. `code` never changes its meaning."""

    code: str
    severity: Severity
    what: str
    why: str
    remedy: str


def check_modes(files: StateFiles) -> Iterator[Finding]:
    """Paths of the state that other accounts can read or write."""
    for path in weak_modes(files):
        mode = "700" if path.is_dir() else "600"
        yield Finding(
            code="weak-mode",
            severity=Severity.SERIOUS,
            what=f"other accounts can read or change {path}",
            why="whoever reads a key can sign in its owner's name",
            remedy=f"chmod {mode} {path}, and rotate what may have been read: leasehold keys rotate",
        )


def check_policy_file(path: Path) -> Iterator[Finding]:
    """Policy files that other accounts can change, or the folder of them."""
    for writable in writable_policy(path):
        yield Finding(
            code="policy-writable",
            severity=Severity.WARNING,
            what=f"other accounts can change {writable}",
            why="a change does nothing before it is accepted, but it may be accepted unread",
            remedy=f"chmod go-w {writable}",
        )


def check_account(directory: Path) -> Iterator[Finding]:
    """State that belongs to the account that asks, which is then the account that agents run under."""
    if directory.stat().st_uid == os.geteuid():
        yield Finding(
            code="same-account",
            severity=Severity.WARNING,
            what="ADVISORY: the authority's keys and database belong to the account that runs this command",
            why="an agent that runs code or edits files under this account can reach them; approvals say same account",
            remedy="run agents that execute code under another account and let them in by leasehold serve --socket, "
            "or run the authority on another host",
        )


def check_keys(files: StateFiles) -> Iterator[Finding]:
    """Signing keys that are missing, not private, or damaged."""
    for document_type in (DocumentType.LEASE, DocumentType.RECEIPT, DocumentType.CHECKPOINT):
        try:
            read_key_ring(files.key_ring(document_type), document_type)
        except ConfigError as error:
            yield Finding(
                code="key-unusable",
                severity=Severity.SERIOUS,
                what=str(error),
                why=f"nothing can be signed as a {document_type} without it",
                remedy="put it back from a backup, with mode 600",
            )


def check_newest_keys(files: StateFiles, noted: Collection[SigningKeyRow]) -> Iterator[Finding]:
    """Keys that were rotated on another machine, whose files this one has not got."""
    for row in noted:
        document_type = DocumentType(row.document)
        try:
            ring = read_key_ring(files.key_ring(document_type), document_type)
        except ConfigError:
            continue  # check_keys says so
        if row.is_ahead_of([key.kid for key in ring.keys], ring.newest.created_at):
            yield Finding(
                code="key-behind",
                severity=Severity.SERIOUS,
                what=f"{files.key_ring(document_type)} lacks {row.kid}, a newer key that other machines have",
                why="leases that it signs are refused here, and soon elsewhere those that an older one signs",
                remedy="copy the *.keys.json files from the machine where keys were rotated, with mode 600; if they "
                "are lost: leasehold keys rotate",
            )


def check_anchor(anchor: Anchor | None, control: ControlRow) -> Iterator[Finding]:
    """A checkpoint copy outside the database that is missing, behind, or of more than the database has."""
    if anchor is None:
        yield Finding(
            code="anchor-missing",
            severity=Severity.SERIOUS,
            what="there is no copy of the ledger's head outside the database",
            why="a database that was rolled back would not be noticed, so none is opened without it",
            remedy="find out who removed it; put anchor.json back from a backup of the keys, or: leasehold db restore",
        )
    elif (anchor.epoch, anchor.size) > (control.epoch, control.size):
        yield Finding(
            code="anchor-ahead",
            severity=Severity.SERIOUS,
            what=f"the database stands at epoch {control.epoch} with {control.size} ledger entries, anchor.json "
            f"remembers epoch {anchor.epoch} with {anchor.size}",
            why="it was rolled back or replaced, and is not opened: what ended since could live again",
            remedy="put the newest database back, or declare a restore with: leasehold db restore",
        )
    elif (anchor.epoch, anchor.size) < (control.epoch, control.size):
        yield Finding(
            code="anchor-behind",
            severity=Severity.WARNING,
            what=f"the head kept outside counts {anchor.size} entries, the ledger {control.size}",
            why="the newest entries could be rolled back unseen",
            remedy="the process that writes brings it up to date; if none runs, any command that opens the state does",
        )


def check_breakers(stops: Collection[StopRow]) -> Iterator[Finding]:
    """Routes that a breaker holds."""
    for stop in stops:
        if stop.is_active and stop.by.startswith(BY_RULE):
            yield Finding(
                code="breaker-tripped",
                severity=Severity.WARNING,
                what=f"{stop.scope} is held in {stop.tenant} by {stop.by.removeprefix(BY_RULE)}: {stop.reason}",
                why="nothing starts there until a person has looked and lifts it",
                remedy=f"leasehold lift {stop.scope} --tenant {stop.tenant} --as PERSON --reason ...",
            )


def check_glasses(glasses: Collection[GlassRow], now: Instant) -> Iterator[Finding]:
    """Break-glass that nobody has written about in time. One whose end nobody wrote down is over all the same."""
    for row in glasses:
        due = {GlassState.OPEN: row.ends_at + REVIEW_SECONDS, GlassState.CLOSED: row.review_by}.get(
            GlassState(row.state)
        )
        if due is not None and now.reached(due):
            yield Finding(
                code="review-overdue",
                severity=Severity.SERIOUS,
                what=f"{row.glass_id} of {row.opener} on {row.route} in {row.tenant} was not reviewed in time",
                why="rules were skipped, and nobody has written whether that was right",
                remedy=f"leasehold break-glass close {row.glass_id}, then review it as somebody else"
                if row.state == GlassState.OPEN
                else f"leasehold break-glass review {row.glass_id} --as PERSON --words ...",
            )


def check_proposals(proposals: Collection[ProposalRow], control: ControlRow, now: Instant) -> Iterator[Finding]:
    """Policies that wait for a second person: whoever proposed one may think that it is in force."""
    for row in proposals:
        if is_waiting(row, control, now):
            yield Finding(
                code="policy-waits",
                severity=Severity.WARNING,
                what=f"{row.person} proposed {row.policy}, and it waits for a second person until "
                + show_time(row.answer_by),
                why="it widens what may be done, and does nothing until somebody else confirms it",
                remedy=f"leasehold policy confirm {row.policy} --as PERSON, or the same with --refuse",
            )


def check_clients(policy: Policy, keys: Collection[ClientKeyRow], now: Instant) -> Iterator[Finding]:
    """API keys, which are secrets that lie about, and clients that have no way to say who they are."""
    live = [row for row in keys if row.client in policy.clients and not now.reached(row.expires_at)]
    for row in live:
        yield Finding(
            code="client-key",
            severity=Severity.WARNING,
            what=f"the client {row.client} has the API key {row.key_id} until {show_time(row.expires_at)}",
            why="whoever copies it is that client; a workload's own short-lived token cannot be copied for later",
            remedy=f'identity under [clients."{row.client}"], then leasehold client key remove {row.key_id}',
        )
    for name, rule in sorted(policy.clients.items()):
        if rule.identity is None and not rule.redirects and not any(row.client == name for row in live):
            yield Finding(
                code="client-without-proof",
                severity=Severity.WARNING,
                what=f"the client {name} has neither an identity nor an API key that counts",
                why="nothing can call in its name",
                remedy=f"leasehold client key add {name}, or an identity in the policy",
            )


def check_clock(control: ControlRow, now: Instant) -> Iterator[Finding]:
    """A clock that reads earlier than the last recorded time."""
    behind = control.last_time_ms - int(now)
    if behind > 0:
        yield Finding(
            code="clock-behind",
            severity=Severity.SERIOUS if behind > _TOLERATED_MS else Severity.WARNING,
            what=f"the clock reads {behind} ms before the last recorded time",
            why="all but stopping is refused while it is more than 2 s behind, so that nothing that ended lives again",
            remedy="set the clock right; if it is right, say so: leasehold db confirm-clock",
        )


def check_clocks(database: Instant | None, now: Instant) -> Iterator[Finding]:
    """A clock of this machine that differs from the database's, by which everything is decided."""
    apart = 0 if database is None else abs(int(now) - int(database))
    if apart > _TOLERATED_MS:
        yield Finding(
            code="clocks-differ",
            severity=Severity.WARNING,
            what=f"the clocks of this machine and of the database are {apart / 1000:.1f} s apart",
            why="the database's counts; countdowns, and tokens that say when they begin, seem wrong here",
            remedy="have both machines set by the same time server",
        )


def check_server(around: Surroundings | None) -> Iterator[Finding]:
    """A PostgreSQL server that has no room, may lose what it has confirmed, or lets in accounts without a part here."""
    if around is not None and around.is_full:
        yield Finding(
            code="database-full",
            severity=Severity.SERIOUS,
            what=f"the server's disk has no room for another megabyte of the database {around.database}",
            why="what has to be written is refused, and that is every call and every stop; reading goes on",
            remedy="make room on that disk; what runs goes on by itself then",
        )
    if around is not None and around.lossy:
        yield Finding(
            code="server-may-lose",
            severity=Severity.SERIOUS,
            what=f"the database's server has {' and '.join(around.lossy)} off",
            why="after a power cut what was answered may be gone; until that is mended nothing is executed",
            remedy="set it to on, and reload the server's settings",
        )
    if around is not None and around.strangers:
        more = len(around.strangers) - _SHOWN
        yield Finding(
            code="strangers-connect",
            severity=Severity.WARNING,
            what=f"{', '.join(around.strangers[:_SHOWN])}{f' and {more} more' if more > 0 else ''} may connect to the "
            f"database {around.database} and have no part in it",
            why="whoever may connect can hold the log's lock, so that nothing is decided, or use up the connections",
            remedy=f'REVOKE CONNECT ON DATABASE "{around.database}" FROM PUBLIC, and grant it to who needs it',
        )


def check_revocations(row: CursorRow | None) -> Iterator[Finding]:
    """Revocations at credential sources that a restore paused."""
    if row is not None and row.is_parked:
        yield Finding(
            code="revocations-paused",
            severity=Severity.WARNING,
            what=f"credentials are not revoked at their sources since the restore (ledger entry {row.position})",
            why="what a backup knows of them is old: a source may have given the same name to somebody else since",
            remedy="compare with the sources, then: leasehold db confirm-revocations --reason …",
        )


def check_policy(policy: Policy, active: str) -> Iterator[Finding]:
    """Rules that are laxer than usual, tests that fail, and a file that is not what is in force."""
    for rule in laxer_rules(policy):
        yield Finding(
            code="requester-approves" if rule.actual == REQUESTER else "lax-rule",
            severity=Severity.WARNING,
            what=lax_words(rule),
            why="fewer people look, or power lasts longer, than the language's defaults ask for",
            remedy="take the line out, unless it is meant",
        )
    for person in people_without_a_kind(policy):
        yield Finding(
            code="person-without-kind",
            severity=Severity.WARNING,
            what=f"[people] names {person} without a kind",
            why=f"who starts runs or signs in as user:{person} is somebody else to this policy",
            remedy=f'say "user:{person}", unless that is what they are called everywhere',
        )
    for mismatch in run_tests(policy):
        yield Finding(
            code="policy-test-fails",
            severity=Severity.WARNING,
            what=f"{mismatch.route} {mismatch.action} is expected to be {mismatch.expected}, and is {mismatch.actual}",
            why="the policy does not say what its author expects",
            remedy="leasehold policy test",
        )
    if active and policy.hash != active:
        yield Finding(
            code="policy-differs",
            severity=Severity.WARNING,
            what="the policy file is not the policy in force",
            why="what it says does nothing yet",
            remedy="leasehold policy diff, then leasehold policy accept",
        )


def check_approvers(policy: Policy, with_keys: Collection[str]) -> Iterator[Finding]:
    """Roles that nobody holds, and routes whose approvals too few people with keys can give."""
    held = {role for roles in policy.people.values() for role in roles} | group_roles(policy)
    named = {role for route in policy.routes.values() for role in route.approvers} | set(policy.roles)
    for role in sorted(named - held - {REQUESTER}):
        yield Finding(
            code="role-unheld",
            severity=Severity.WARNING,
            what=f"nobody holds the role {role}",
            why="what it alone may approve or do cannot be approved or done",
            remedy="name somebody under [people], or take the role out",
        )
    for short in routes_short_of_approvers(policy, with_keys):
        yield Finding(
            code="too-few-approvers",
            severity=Severity.WARNING,
            what=f"approvers that {short.route} needs: {short.needed}; that it names and that have a key here: "
            f"{len(short.ready)}",
            why="its requests can only expire",
            remedy="leasehold person add, for people with one of the roles " + ", ".join(short.roles),
        )


def check_notices(policy: Policy, files: StateFiles, given_up: Sequence[DeliveryRow]) -> Iterator[Finding]:
    """Channels of the policy in force that lack their secret, and notices that did not arrive of late."""
    for name, rule in sorted(policy.notices.items()):
        if rule.secret_name and not read_secrets(files.channel_secrets(name)).get(rule.secret_name):
            yield Finding(
                code="channel-without-secret",
                severity=Severity.WARNING,
                what=f"the channel {name} has no secret here",
                why="nothing can be sent over it, and nobody hears what it is for",
                remedy=f"leasehold notices secret {name}, then leasehold notices test {name}",
            )
        if rule.reviewers and not read_secrets(files.channel_secrets(name)).get(SIGNING_SECRET):
            yield Finding(
                code="channel-without-signing-secret",
                severity=Severity.WARNING,
                what=f"the channel {name} has reviewers and no signing secret here",
                why="its messages have buttons, and whoever presses one is not heard",
                remedy=f"leasehold notices secret {name} --signing",
            )
    for channel, count in sorted(Counter(row.channel for row in given_up).items()):
        yield Finding(
            code="notices-given-up",
            severity=Severity.WARNING,
            what=f"given up in the last 7 days over {channel}: {count}",
            why="somebody was not told of what they are to be told of",
            remedy="leasehold notices list --only given_up, mend it, then leasehold notices retry",
        )


def check_issuers(policy: Policy) -> Iterator[Finding]:
    """Issuers whose keys travel without TLS, even if only on this machine."""
    places: dict[str, tuple[str, ...]] = {name: (name, rule.keys) for name, rule in policy.issuers.items()}
    places |= {rule.issuer: (rule.issuer,) for rule in policy.sign_in.values()}
    for name, addresses in sorted(places.items()):
        if any(address.startswith("http:") for address in addresses):
            yield Finding(
                code="issuer-in-the-clear",
                severity=Severity.WARNING,
                what=f"the keys of {name} are fetched without TLS",
                why="whoever else listens at that port of this machine can say who anybody is",
                remedy="serve it over https, or list its keys in the policy",
            )


def check_providers(policy: Policy, files: StateFiles) -> Iterator[Finding]:
    """Providers of the policy in force whose secret is not here."""
    for name, rule in sorted(policy.sign_in.items()):
        if rule.secret and not read_secrets(files.provider_secret(name)):
            yield Finding(
                code="provider-without-secret",
                severity=Severity.WARNING,
                what=f"the secret of our client at {name} is not here",
                why="nobody can sign in with it",
                remedy=f"leasehold provider secret {name}",
            )


def check_person_claims(policy: Policy) -> Iterator[Finding]:
    """Claims by which people may name themselves."""
    for name, rule in sorted(policy.sign_in.items()):
        if rule.person in FREE_CLAIMS:
            yield Finding(
                code="person-claim-is-free",
                severity=Severity.WARNING,
                what=f"people who sign in at {name} are named by {rule.person}, which many providers let them choose",
                why="whoever first comes in under somebody's name is that person here",
                remedy="name them by a claim that only the provider sets, such as a verified email or an employee id",
            )


def check_listed_keys(policy: Policy) -> Iterator[Finding]:
    """Keys of issuers that stand in the policy and are none."""
    for name, rule in sorted(policy.issuers.items()):
        try:
            if rule.listed:
                read_foreign_keys(canonical.encode({"keys": rule.listed_keys}))
        except InvalidError as error:
            yield Finding(
                code="issuer-keys-unusable",
                severity=Severity.SERIOUS,
                what=f"the keys listed for {name} cannot be used: {error}",
                why="none of its tokens counts",
                remedy="copy the keys from its key set again, each with kty and its members",
            )


def check_load(load: Load) -> Iterator[Finding]:
    """Rules that people approve without reading, as far as their answers tell (requirement F2)."""
    for rule in load.rules:
        if rule.is_rubber_stamp and rule.median_ms is not None:
            yield Finding(
                code="rubber-stamp",
                severity=Severity.WARNING,
                what=f"{rule.subject}: {rule.approved} of {rule.decided} approved, "
                f"half of them within {rule.median_ms / 1000:.1f} s",
                why="nobody reads what is always approved; the one that matters will be approved unread as well",
                remedy='make it a policy (approve = "none", or "lease"), or remove it from the route',
            )
