"""`leasehold client`: programs that may call this authority over the network, and API keys for those without better.

What a client may do stands in the policy, under `[clients]`; here it only gets a way to say who it is.
"""

from __future__ import annotations

import click

from leasehold.cli.groups import CommandGroup
from leasehold.cli.session import Session, with_session
from leasehold.decide.rows import ClientKeyRow
from leasehold.model.plain import escape
from leasehold.model.times import show_time
from leasehold.policy.client_rule import ClientRule

__all__ = ["client"]

_DAY = 86_400


@click.group(cls=CommandGroup)
def client() -> None:
    """See programs that may call over the network, and give them keys."""


@client.command("list")
@with_session
def list_clients(session: Session) -> None:
    """List the clients of the active policy: what each may do, and how it says who it is."""
    with session.authority() as authority:
        rules, keys = authority.engine.active_policy().clients, authority.clients.keys()
    counts = {name: sum(row.client == name for row in keys) for name in rules}
    values = [{**_value(rule), "keys": counts[name]} for name, rule in sorted(rules.items())]
    table = [(name, _right(rule), _proof(rule), str(counts[name])) for name, rule in sorted(rules.items())]
    session.give_table(values, ("client", "may", "identity", "keys"), table)


@client.group("key", cls=CommandGroup)
def key() -> None:
    """Make, list and remove API keys: secrets for development, where no workload identity is at hand."""


@key.command("add")
@with_session
@click.argument("name", metavar="CLIENT")
@click.option("--days", default=90, show_default=True, type=click.IntRange(1, 366), help="How long it counts.")
def add(session: Session, name: str, days: int) -> None:
    """Make an API key and show it, once. Only its SHA-256 is kept here."""
    with session.authority() as authority:
        made = authority.clients.add_key(name, ttl_seconds=days * _DAY, by=session.around.account)
    session.give(
        {"client": name, "key_id": made.row.key_id, "expires_at": made.row.expires_at, "key": made.text}, [made.text]
    )
    session.say(f"this is shown once; whoever has it is {name} until {show_time(made.row.expires_at)}")


@key.command("list")
@with_session
def list_keys(session: Session) -> None:
    """List API keys that were not removed. Their secrets are not here."""
    with session.authority() as authority:
        rows, now = authority.clients.keys(), authority.engine.system.now()
    values = [
        {"key_id": row.key_id, "client": row.client, "made_at": row.made_at, "expires_at": row.expires_at}
        for row in rows
    ]
    table = [(row.key_id, row.client, show_time(row.made_at), _until(row, now.reached(row.expires_at))) for row in rows]
    session.give_table(values, ("key", "client", "made", "until"), table)


@key.command("remove")
@with_session
@click.argument("key_id", metavar="KEY_ID")
def remove(session: Session, key_id: str) -> None:
    """Take an API key away: it opens nothing from here on. What was started with it goes on; see revoke."""
    with session.authority_for_stops() as authority:
        row = authority.clients.remove_key(key_id, by=session.around.account)
    session.give({"key_id": row.key_id, "client": row.client, "status": row.state}, [f"status: {row.state}"])


def _value(rule: ClientRule) -> dict[str, object]:
    return {
        "client": rule.name,
        "runs": rule.runs,
        "door": rule.door,
        "identity": rule.identity,
        "redirects": rule.redirects,
    }


def _right(rule: ClientRule) -> str:
    if rule.door is not None:
        return escape(f"door of {rule.door.tool} in {rule.door.environment}")
    runs = rule.runs
    lists = (runs.agents, runs.routes, runs.tenants, runs.environments) if runs is not None else ()
    return escape("runs of {} on {} in {}, {}".format(*(", ".join(names) for names in lists)))


def _proof(rule: ClientRule) -> str:
    return escape(rule.identity.issuer) if rule.identity is not None else "none"


def _until(row: ClientKeyRow, is_over: bool) -> str:
    return f"{show_time(row.expires_at)} (over)" if is_over else show_time(row.expires_at)
