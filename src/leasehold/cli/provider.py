"""`leasehold provider`: where people sign in with OpenID Connect, and the secrets of our clients there."""

from __future__ import annotations

import click

from leasehold.cli.groups import CommandGroup
from leasehold.cli.session import Session, with_session
from leasehold.config import PROVIDER_SECRET, read_secrets, write_secrets
from leasehold.errors import InvalidError, NotFoundError
from leasehold.policy.reader import suggest

__all__ = ["provider"]


@click.group(cls=CommandGroup)
def provider() -> None:
    """List the providers at which people sign in, and set our secrets there."""


@provider.command("list")
@with_session
def list_providers(session: Session) -> None:
    """List the providers of the active policy, and whether the secrets that they need are here."""
    with session.authority() as authority:
        rules = authority.engine.active_policy().sign_in
    files = session.files()
    found = [
        {
            "provider": name,
            "issuer": rule.issuer,
            "client": rule.client_id,
            "secret": "none" if not rule.secret else "here" if read_secrets(files.provider_secret(name)) else "missing",
        }
        for name, rule in sorted(rules.items())
    ]
    session.give(found, ["  ".join(row.values()) for row in found])
    if not found:
        session.say("the active policy names no provider; see docs/people.md")


@provider.command("secret")
@with_session
@click.argument("name", metavar="PROVIDER")
def secret(session: Session, name: str) -> None:
    """Set the secret of our client at a PROVIDER: a private file in the state directory, never in the policy.

    It is asked for, or read from stdin.
    """
    with session.authority() as authority:
        rules = authority.engine.active_policy().sign_in
    if name not in rules:
        raise NotFoundError(f"the active policy names no provider {name!r}{suggest(name, rules)}")
    if not rules[name].secret:
        raise InvalidError(f"sign_in.{name} does not say secret = true, so none is used")
    given = str(click.prompt(f"The secret of our client at {name}", hide_input=True, err=True)).strip()
    path = session.files().provider_secret(name)
    write_secrets(path, {PROVIDER_SECRET: given})
    session.give({"provider": name, "file": str(path)}, [f"file: {path}"])
