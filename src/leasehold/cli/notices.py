"""`leasehold notices`: which channels there are, what became of what they were to be told, and trying them."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Collection, Mapping, Sequence

import click

from leasehold.authority.chat import SIGNING_SECRET
from leasehold.cli.exits import ExitCode, Failure
from leasehold.cli.groups import CommandGroup
from leasehold.cli.session import Session, with_session
from leasehold.config import read_secrets, write_secrets
from leasehold.decide.lifecycles import DeliveryState
from leasehold.decide.rows import DeliveryRow
from leasehold.errors import InvalidError, LeaseholdError, NotFoundError
from leasehold.model.instant import Instant
from leasehold.model.notice import ChannelKind
from leasehold.model.plain import escape
from leasehold.model.times import show_time
from leasehold.notices.wording import test_notice
from leasehold.policy.document import NoticeRule, Policy
from leasehold.store.queries import MAX_LISTED, Queries

__all__ = ["notices"]

_ENTROPY = 32


@click.group(cls=CommandGroup)
def notices() -> None:
    """See and try how people are told what happens; the channels stand in the policy."""


@notices.command("list")
@with_session
@click.option("--limit", type=click.IntRange(1, MAX_LISTED), default=50, show_default=True)
@click.option(
    "--only", "states", multiple=True, type=click.Choice([str(state) for state in DeliveryState]), help="Only those."
)
def list_notices(session: Session, limit: int, states: Sequence[str]) -> None:
    """List what was to be told and what became of it, the newest first."""
    with session.authority() as authority:
        policy = authority.engine.active_policy()
        rows = [row for row in _rows(authority.engine.store.queries, limit) if not states or row.state in states]
    session.give_table(
        [_value(row) for row in rows],
        ("notice", "channel", "event", "about", "state", "tries", "next or last", "why"),
        [_cells(row) for row in rows],
    )
    for name, rule in sorted(policy.notices.items()):
        session.say(f"{escape(name)}: {rule.kind} to {escape(_place(rule))}, {_secret_words(session, rule)}")
    if not policy.notices:
        session.say("the active policy names no channel; see docs/notices.md")


@notices.command("test")
@with_session
@click.argument("channel")
def try_channel(session: Session, channel: str) -> None:
    """Send a test notice over a CHANNEL now, and say whether it arrived."""
    with session.authority() as authority:
        rule = _rule(authority.engine.active_policy(), channel)
        system = session.around.system
        notice = test_notice(
            system.new_id("ntc"), channel, by=session.around.account, at=system.now().seconds, console=rule.console
        )
        try:
            asyncio.run(authority.outbox.send_now(rule, notice))
        except (LeaseholdError, TimeoutError) as error:
            words = str(error) or "nothing came back in time"
            raise Failure(f"it did not arrive: {words}", ExitCode.FAILED) from None
    session.give({"notice": notice.notice_id, "channel": channel, "status": "delivered"}, ["status: delivered"])


@notices.command("retry")
@with_session
@click.argument("ids", nargs=-1, metavar="[NOTICE]...")
def retry(session: Session, ids: Sequence[str]) -> None:
    """Try again what was given up, all of it or the NOTICEs named, and deliver whatever is due."""
    with session.authority() as authority:
        rows = _given_up(authority.engine.store.queries, ids)
        for row in rows:
            authority.outbox.retry(row)
        tried = authority.outbox.run_once()
        after = {row.delivery_id: row for row in _rows(authority.engine.store.queries, MAX_LISTED)}
    found = [after.get(row.delivery_id, row) for row in rows]
    session.give(
        {"retried": [_value(row) for row in found], "tried": tried},
        [*(f"{row.delivery_id}: {row.state}" for row in found), f"tried: {tried}"],
    )


@notices.command("secret")
@with_session
@click.argument("channel")
@click.option("--add", is_flag=True, help="Keep the webhook keys that are there, so that receivers can change over.")
@click.option("--symmetric", is_flag=True, help="For a webhook: a shared key (v1) for receivers that know no v1a.")
@click.option("--signing", is_flag=True, help="For Slack: the app's signing secret, by which answers from there count.")
def secret(session: Session, channel: str, *, add: bool, symmetric: bool, signing: bool) -> None:
    """Set the secret of a CHANNEL: a private file in the state directory, never in the policy.

    For a webhook a signing key is made, and what its receiver needs to verify is printed. A Slack bot's token or
    signing secret or a mail password is asked for, or read from stdin.
    """
    with session.authority() as authority:
        rule = _rule(authority.engine.active_policy(), channel)
    path = session.files().channel_secrets(channel)
    if signing and rule.kind is not ChannelKind.SLACK:
        raise InvalidError("--signing is for Slack")
    if rule.kind is not ChannelKind.WEBHOOK:
        if add or symmetric:
            raise InvalidError("--add and --symmetric are for webhooks")
        _take_secret(session, rule, SIGNING_SECRET if signing else rule.secret_name or "password")
        return
    from leasehold.notices.webhook import verifying_key

    key = _make_key(session.around.system.random_bytes(_ENTROPY), symmetric=symmetric)
    before = read_secrets(path).get("keys", "").split() if add else []
    write_secrets(path, {"keys": " ".join([key, *before])})
    public = verifying_key(key)
    session.give({"channel": channel, "file": str(path), "verify_with": public}, [public])
    session.say(f"give this to the receiver; the signing key is in {path}")


def _take_secret(session: Session, rule: NoticeRule, name: str) -> None:
    """Ask for one secret of a channel, and keep its others."""
    path = session.files().channel_secrets(rule.name)
    given = str(click.prompt(f"The {name.replace('_', ' ')} of {rule.name}", hide_input=True, err=True)).strip()
    write_secrets(path, {**read_secrets(path), name: given})
    session.give({"channel": rule.name, "file": str(path)}, [f"file: {path}"])


def _make_key(seed: bytes, *, symmetric: bool) -> str:
    return f"{'whsec' if symmetric else 'whsk'}_{base64.b64encode(seed).decode()}"


def _rule(policy: Policy, channel: str) -> NoticeRule:
    rule = policy.notices.get(channel)
    if rule is None:
        raise NotFoundError(f"the active policy names no channel {channel!r}; it has: {_listed(policy.notices)}")
    return rule


def _listed(names: Collection[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _rows(queries: Queries, limit: int) -> tuple[DeliveryRow, ...]:
    return queries.deliveries(None, limit=limit)


def _given_up(queries: Queries, ids: Sequence[str]) -> list[DeliveryRow]:
    rows = {row.delivery_id: row for row in _rows(queries, MAX_LISTED)}
    for wanted in ids:
        if wanted not in rows:
            raise NotFoundError(f"{wanted} is none of the newest {MAX_LISTED} notices")
    listed = [rows[wanted] for wanted in ids] if ids else list(rows.values())
    return [row for row in listed if ids or row.state == DeliveryState.GIVEN_UP]


def _secret_words(session: Session, rule: NoticeRule) -> str:
    """Whether the channel has what it needs, without a word of it."""
    if not rule.secret_name:
        return "which needs no secret"
    try:
        known = read_secrets(session.files().channel_secrets(rule.name))
    except LeaseholdError as error:
        return f"whose secret cannot be used: {error}"
    if not known.get(rule.secret_name):
        return f"without its secret: leasehold notices secret {rule.name}"
    if rule.reviewers and not known.get(SIGNING_SECRET):
        return f"whose answers do not count before: leasehold notices secret {rule.name} --signing"
    return "whose secret is here"


def _place(rule: NoticeRule) -> str:
    return ", ".join(rule.to) or rule.url


def _value(row: DeliveryRow) -> Mapping[str, object]:
    return {
        "notice": row.delivery_id,
        "channel": row.channel,
        "event": row.event,
        "about": row.subject,
        "tenant": row.tenant,
        "entry": row.entry,
        "state": row.state,
        "attempts": row.attempts,
        "due_ms": row.due_ms,
        "fault": row.fault,
    }


def _cells(row: DeliveryRow) -> tuple[str, ...]:
    when = show_time(Instant(row.due_ms).seconds)
    return (row.delivery_id, row.channel, row.event, row.subject, row.state, str(row.attempts), when, row.fault)
