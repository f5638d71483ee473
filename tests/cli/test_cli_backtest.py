"""`leasehold policy diff --backtest`: the calls of a real ledger against a changed file, with the state only read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from terminal import Terminal

from leasehold.authority import Authority
from leasehold.authority.sign_ins import SignedIn
from leasehold.cli import backtest
from leasehold.decide.provider_sign_ins import Account
from leasehold.errors import Denied, StoreError
from leasehold.guard import Guard
from leasehold.model.request import Verdict
from leasehold.store.sqlite import open_read_only


def call(authority: Authority, tickets: dict[str, list[str]], asked: list[str]) -> None:
    """A run that gets and tags some tickets, and one that asks for what its lease does not have."""
    run = authority.start(
        agent="bot", route="support", tenant="acme", environment="prod", requested_by="user:ana", purpose="x"
    )
    allow = {f"ticket.{verb}": {"ticket": names} for verb, names in tickets.items()}
    lease = authority.wait(authority.request(run, allow, reason="x"), 5)
    guard = Guard("ticket", authority, environment="prod")
    for ticket in asked:
        try:
            with guard.call(lease, "get", {"ticket_id": ticket}):
                pass
        except Denied:
            continue


@pytest.fixture
def used(terminal: Terminal) -> Terminal:
    """A state in which three gets passed and one was refused."""
    with terminal.authority() as authority:
        call(authority, {"get": ["T-*"]}, ["T-1", "T-2", "T-2", "X-1"])
    return terminal


def change(terminal: Terminal, old: str, new: str) -> None:
    text = terminal.policy.read_text()
    assert old in text
    terminal.policy.write_text(text.replace(old, new))


NARROW = ('allow."ticket.get"    = { ticket = ["T-*"] }', 'allow."ticket.get"    = { ticket = ["T-1*"] }')
WIDE = ('allow."ticket.get"    = { ticket = ["T-*"] }', 'allow."ticket.get"    = { ticket = ["**"] }')


@pytest.mark.requirement("P7")
def test_calls_that_would_be_denied_or_allowed_are_counted_with_examples(used: Terminal) -> None:
    change(used, *NARROW)
    lines = used.run("policy", "diff", "--backtest").stdout.splitlines()
    told = next(line for line in lines if "->" in line and "admitted" in line)
    assert told.startswith('admitted -> denied: 2 x support ticket.get; routes."support".allow."ticket.get"; entries ')
    assert "4 calls replayed, 2 would fare as they did" in lines
    assert sum(line.startswith("not told: ") for line in lines) == len(backtest.LIMITS)
    change(used, NARROW[1], WIDE[1])
    found = json.loads(used.run("policy", "diff", "--backtest", "--json", code=1).stdout)
    (group,) = found["backtest"]["groups"]
    assert (group["was"], group["now"], group["count"]) == ("refused", "allowed", 1)
    assert found["backtest"]["not_told"] == list(backtest.LIMITS)
    entries = {entry["index"]: entry for entry in used.json("ledger", "query")}
    assert entries[group["examples"][0]]["attributes"] == {"ticket": ["X-1"]}


PROVIDER = """
[sign_in.acme]
issuer = "https://login.acme.example"
client_id = "leasehold"
person = "email"
people = "groups"
groups = "groups"
roles = { leads = ["lead"], night = ["oncall"] }
"""


def come(authority: Authority, person: str, group: str) -> SignedIn:
    """Somebody signs in at the provider, who says which group they are in."""
    account = Account(
        provider="acme",
        issuer="https://login.acme.example",
        subject=person,
        person=person,
        groups=(group, "others"),
        authenticated_at=authority.engine.system.now().seconds,
    )
    return authority.sign_ins.begin_by_provider(account, address="here")[1]


def close(authority: Authority, ticket: str) -> None:
    """A call that somebody agreed to whom only the provider's group makes an approver."""
    run = authority.start(
        agent="bot", route="support", tenant="acme", environment="prod", requested_by="user:ana", purpose="x"
    )
    request = authority.request(run, {"ticket.update": {"ticket": [ticket]}}, reason="x")
    authority.desk.answer_signed_in(
        request, Verdict.APPROVE, come(authority, "user:kim", "leads"), card_digest=request.card_digest
    )
    lease = authority.wait(request, 5)
    with Guard("ticket", authority, environment="prod").call(lease.once(ticket), "update", {"ticket_id": ticket}):
        pass
    authority.finish(run)


@pytest.mark.requirement("P7", "F3")
def test_approvals_of_people_of_a_providers_groups_count_as_they_did_while_the_policy_still_says_so(
    terminal: Terminal,
) -> None:
    terminal.policy.write_text(terminal.policy.read_text() + PROVIDER)
    with terminal.authority() as authority:
        close(authority, "T-1")
        session = come(authority, "user:kim", "night")
        authority.sign_ins.remove("user:kim", session.sign_in, by="user:kim")
        authority.desk.offboard("user:kim", by="me", reason="left")
    assert "1 calls replayed, 1 would fare as they did" in terminal.run("policy", "diff", "--backtest").stdout
    told = {
        ('leads = ["lead"]', 'leads = ["oncall"]'): "admitted -> needs_people: 1 x support ticket.update",
        ('leads = ["oncall"]', 'chiefs = ["lead"]'): "admitted -> untold: 1 x support ticket.update; whether those",
        (PROVIDER.replace('leads = ["lead"]', 'chiefs = ["lead"]'), ""): "admitted -> needs_people: 1 x",
    }
    for change_of, line in told.items():
        change(terminal, *change_of)
        code = 1 if change_of[1] else 0
        assert line in terminal.run("policy", "diff", "--backtest", code=code).stdout


def test_only_calls_since_a_time_are_replayed(used: Terminal) -> None:
    used.system.advance(seconds=7200)
    assert "0 calls replayed" in used.run("policy", "diff", "--backtest", "--since", "1h").stdout
    assert "4 calls replayed" in used.run("policy", "diff", "--backtest", "--since", "3h").stdout
    assert "goes with --backtest" in used.run("policy", "diff", "--since", "1h", code=2).stderr


def test_the_state_is_only_read(used: Terminal, tmp_path: Path) -> None:
    files = sorted(path for path in used.state.rglob("*") if path.is_file() and "-shm" not in path.name)
    before = {path: path.read_bytes() for path in files}
    other = tmp_path / "other.toml"
    other.write_text(used.policy.read_text())
    change(used, *NARROW)
    used.run("policy", "diff", "--backtest")
    used.run("policy", "diff", "--backtest", "--against", str(other))
    assert {path: path.read_bytes() for path in files} == before


def test_a_long_ledger_says_how_far_it_is(used: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backtest, "_SLICE", 2)
    monkeypatch.setattr(backtest, "_PROGRESS", 4)
    shown = used.run("policy", "diff", "--backtest")
    assert "4 of " in shown.stderr
    assert "4 calls replayed" in shown.stdout


def test_a_state_without_its_policies_cannot_be_replayed(used: Terminal) -> None:
    with pytest.raises(StoreError, match="no policy"):
        backtest.Past(open_read_only(used.state / "leasehold.db").queries).policy("sha256:0")
