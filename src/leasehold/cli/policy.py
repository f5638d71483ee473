"""`leasehold policy`: check, test, explain, compare, accept. Deciding stands in `leasehold.policy`; this shows it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import click

from leasehold.assemble import read_policy
from leasehold.authority.governing import state_of
from leasehold.cli.asking import confirm
from leasehold.cli.backtest import backtest_lines, backtest_value, open_past
from leasehold.cli.exits import ExitCode, Failure
from leasehold.cli.explained import call_lines, route_lines, who_lines
from leasehold.cli.groups import CommandGroup
from leasehold.cli.pairs import parse_attributes
from leasehold.cli.session import Session, with_session
from leasehold.errors import ConfigError, Denied, InvalidError
from leasehold.model.decision import Reason, deny
from leasehold.model.grant import check_attributes
from leasehold.model.plain import escape
from leasehold.model.proposal import PolicyVerdict, ProposalState
from leasehold.model.times import parse_time, show_time
from leasehold.policy.cases import Mismatch, run_tests
from leasehold.policy.client_rule import ClientRule
from leasehold.policy.diff import Change, diff
from leasehold.policy.document import Acceptance, Policy
from leasehold.policy.explain import LaxRule, explain_call, explain_route, laxer_rules
from leasehold.policy.programs import ClientGain, client_gains, startable
from leasehold.policy.reach import Reach, reach
from leasehold.policy.shortage import people_without_a_kind
from leasehold.policy.telling import change_words, client_gain_words, is_in_reach, reach_words

__all__ = ["lax_words", "policy"]

_QUESTION = "Make this policy the active one?"
_SEEN = "the hash that policy check prints"


@click.group(cls=CommandGroup)
def policy() -> None:
    """Check, test, explain, compare and accept policies."""


@policy.command("check")
@with_session
@click.argument("file", required=False, type=click.Path(path_type=Path))
def check(session: Session, file: Path | None) -> None:
    """Read the policy, run its tests, and name what is laxer than usual. Exit 0 fine, 1 a test fails, 2 a bad file.

    FILE stands in for --policy.
    """
    path = file or session.policy_path
    found = read_policy(path)
    mismatches, lax = run_tests(found), laxer_rules(found)
    unlikely = [
        f"people.{person} is named without a kind; say user:{person}" for person in people_without_a_kind(found)
    ]
    value = {
        "hash": found.hash,
        "authority": found.authority,
        "actions": len(found.actions),
        "routes": len(found.routes),
        "tests": len(found.tests),
        "mismatches": mismatches,
        "laxer": lax,
        "unlikely": unlikely,
    }
    counts = f"{len(found.actions)} actions, {len(found.routes)} routes, {len(found.tests)} tests"
    session.give(
        value,
        [
            f"{path}: {counts}, {found.hash}",
            *(f"laxer than usual: {lax_words(rule)}" for rule in lax),
            *(f"hardly meant: {escape(words)}" for words in unlikely),
            *map(_mismatch_words, mismatches),
        ],
    )
    _fail_on(mismatches)


@policy.command("test")
@with_session
@click.argument("file", required=False, type=click.Path(path_type=Path))
def test(session: Session, file: Path | None) -> None:
    """Run the policy's own [[tests]]. Exit 0 all hold, 1 one does not, 2 a bad file.

    FILE stands in for --policy.
    """
    found = read_policy(file or session.policy_path)
    mismatches = run_tests(found)
    total = sum(len(case.allows) + len(case.needs_approval) + len(case.refuses) for case in found.tests)
    session.give(
        {"expectations": total, "mismatches": mismatches},
        [*map(_mismatch_words, mismatches), f"{total - len(mismatches)} of {total} expectations hold"],
    )
    _fail_on(mismatches)


@policy.command("explain")
@with_session
@click.argument("route", required=False)
@click.argument("action", required=False)
@click.option("--attribute", "pairs", multiple=True, metavar="NAME=VALUE", help="What the call would give it.")
def explain(session: Session, route: str | None, action: str | None, pairs: Sequence[str]) -> None:
    """Say what a route comes to: each action, who has to agree, and the rule behind it.

    Without a ROUTE all of them, what roles can do, whose tokens count, and what clients may start over the network.
    With an ACTION and its attributes, what would become of that one call.
    """
    found = read_policy(session.policy_path)
    if route is not None and action is not None:
        explained = explain_call(found, route, action, check_attributes(parse_attributes(pairs)))
        session.give(explained, call_lines(explained))
        return
    names = [route] if route is not None else sorted(found.routes)
    tables = {name: explain_route(found, name) for name in names}
    lines = [line for name, rows in tables.items() for line in route_lines(found, name, rows)]
    value: dict[str, object] = {"routes": tables}
    if route is None:
        lines += who_lines(found)
        value |= {
            "roles": found.roles,
            "issuers": found.issuers,
            "sign_in": found.sign_in,
            "clients": {name: _client_value(found, rule) for name, rule in found.clients.items()},
        }
    session.give(value, lines)


@policy.command("diff")
@with_session
@click.option(
    "--against", type=click.Path(path_type=Path), help="Another policy file; by default the one that is active."
)
@click.option("--backtest", is_flag=True, help="Also replay the ledger's calls against the policy file.")
@click.option("--since", help="Only calls since then: today, 2h, 2026-05-06 or 2026-05-06T12:00:00Z; days are UTC.")
def diff_policies(session: Session, against: Path | None, since: str | None, *, backtest: bool) -> None:
    """List what the policy file changes and what of it widens, then every call that became possible, lost an approval,
    or is reached through another action, and all that clients gain, with the rule responsible. Exit 0 if nothing
    widens, 1 if something does.

    With --backtest also which calls of the ledger would now be allowed, be denied, or need people, and where it cannot
    tell. The state is only read.
    """
    if since is not None and not backtest:
        raise InvalidError("--since says which calls are replayed; it goes with --backtest")
    new = read_policy(session.policy_path)
    if backtest:
        with open_past(session) as past:
            old = past.active() if against is None else read_policy(against)
            begin = None if since is None else parse_time(since, session.around.system.now())
            replayed = past.replay(session, new, begin)
    else:
        old, replayed = _active(session) if against is None else read_policy(against), None
    changes, reached, gained = diff(old, new), reach(old, new), client_gains(old, new)
    value: dict[str, object] = {
        "before": old.hash,
        "after": new.hash,
        "changes": changes,
        "reach": reached,
        "clients": gained,
    }
    lines = _difference_lines(changes, reached, gained)
    if replayed is not None:
        value["backtest"] = backtest_value(replayed)
        lines += backtest_lines(replayed)
    session.give(value, lines)
    if any(change.widens for change in changes):
        raise Failure("this widens what may be done", ExitCode.FAILED)


@policy.command("accept")
@with_session
@click.option("--digest", metavar="HEX", help="At least 8 digits of the policy's hash, as policy check prints it.")
@click.option("--as", "person", metavar="PERSON", help="Who proposes it, where what widens takes two people.")
@click.option("--key", type=click.Path(path_type=Path), help="The person's key file.")
def accept(session: Session, digest: str | None, person: str | None, key: Path | None) -> None:
    """Show what the policy file changes, and make it the active policy.

    At a terminal you are asked, and have to type "widen" where it widens something. Scripts name the hash instead.

    Where the active policy has accept = "two" in [policy], one that widens is only proposed, --as PERSON, signed with
    their key, and exit is 4: it waits for another person's policy confirm.
    """
    new = read_policy(session.policy_path)
    if mismatches := run_tests(new):
        raise ConfigError(f"its own tests fail: {_mismatch_words(mismatches[0])}", path=str(session.policy_path))
    with session.authority() as authority:
        old = authority.engine.active_policy()
        widened = _show_widening(session, old, new)
        if old.hash != new.hash:
            words = ["widen"] if widened else []
            confirm(session, _QUESTION, digest=new.hash, given=digest, words=words, seen=_SEEN)
        if person is not None and widened and old.accept is Acceptance.TWO:
            proposal = authority.proposals.propose(new, old, session.signatory(person, key))
            session.give({"active": old.hash, "proposed": new.hash, "proposal": proposal}, [new.hash])
            raise Failure(f"it waits for another person: leasehold policy confirm {new.hash}", ExitCode.APPROVAL)
        if person is not None:
            session.say("this takes one person, whoever is at this terminal; --as is left aside")
        accepted = authority.desk.accept_policy(new, by=session.around.account, widened=widened, replaces=old.hash)
    session.give({"active": accepted, "widened": widened}, [accepted])


@policy.command("confirm")
@with_session
@click.argument("hash_", metavar="HASH")
@click.option("--as", "person", required=True, metavar="PERSON", help="Who confirms; not who proposed.")
@click.option("--key", type=click.Path(path_type=Path), help="The person's key file.")
@click.option("--digest", metavar="HEX", help="At least 8 digits of the hash of the policy that was seen.")
@click.option("--refuse", is_flag=True, help="Say no; who proposed it takes it back like this.")
def confirm_policy(
    session: Session, hash_: str, person: str, key: Path | None, digest: str | None, *, refuse: bool
) -> None:
    """Show what a proposed policy changes, and make it the active one as the second person, signed with their key."""
    with session.authority() as authority:
        signatory = session.signatory(person, key)
        proposal = authority.proposals.find(hash_)
        row, state = proposal.row, state_of(proposal.row, session.around.system.now().seconds)
        if state is not ProposalState.PENDING:
            raise Denied(deny(Reason.NOT_PENDING, f"this proposal is {state}", check="state == pending"))
        waits = f"waits until {show_time(row.answer_by)}"
        session.say(escape(f"proposed by {row.person} {show_time(row.proposed_at)}, {waits}"))
        _show_widening(session, proposal.replaces, proposal.policy)
        verdict = PolicyVerdict.REFUSE if refuse else PolicyVerdict.CONFIRM
        if not refuse:
            confirm(session, _QUESTION, digest=proposal.policy.hash, given=digest, words=["widen"], seen=_SEEN)
        state = authority.proposals.answer(proposal, verdict, signatory)
    session.give({"policy": proposal.policy.hash, "state": state}, [f"{state} {proposal.policy.hash}"])


def _show_widening(session: Session, old: Policy, new: Policy) -> list[str]:
    """Say what changes and what that comes to; answers the lines of the keys that widen."""
    changes = diff(old, new)
    if changes:
        for line in _difference_lines(changes, reach(old, new), client_gains(old, new)):
            session.say(line)
    return [change_words(change) for change in changes if change.widens]


def _client_value(found: Policy, rule: ClientRule) -> dict[str, object]:
    """A client's rule, and what it may start by it."""
    return {"rule": rule, "startable": startable(found, rule)}


def lax_words(rule: LaxRule) -> str:
    """A laxer rule in one line: where it stands, what it says, what is usual."""
    action = f" ({rule.action})" if rule.action else ""
    return escape(f"{rule.rule}{action} says {rule.actual}, usual is {rule.usual}")


def _active(session: Session) -> Policy:
    with session.authority() as authority:
        return authority.engine.active_policy()


def _fail_on(mismatches: Sequence[Mismatch]) -> None:
    if mismatches:
        raise Failure(f"{len(mismatches)} of the policy's own expectations do not hold", ExitCode.FAILED)


def _mismatch_words(mismatch: Mismatch) -> str:
    return escape(
        f"tests.{mismatch.test}: {mismatch.route} {mismatch.action}: expected {mismatch.expected}, "
        f"got {mismatch.actual} ({mismatch.why})"
    )


def _difference_lines(changes: Sequence[Change], reached: Sequence[Reach], gained: Iterable[ClientGain]) -> list[str]:
    """What changes, and what that comes to; a value that became wider stands once, where it says for whom."""
    shown = [change for change in changes if not (change.widens and is_in_reach(change, reached))]
    lines = [f"{'WIDENS ' if change.widens else '       '}{change_words(change)}" for change in shown]
    words = [*map(reach_words, reached), *map(client_gain_words, gained)]
    return [*lines, *(f"REACHES {each}" for each in words)] or ["nothing changes"]
