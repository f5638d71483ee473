"""People whom a provider proved, on both databases: their answers find each other in a batch, every process sees."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from leasehold.assemble import open_authority
from leasehold.authority.sign_ins import SignedIn
from leasehold.decide.answer import Answered
from leasehold.decide.facts import Step
from leasehold.decide.provider_sign_ins import Account
from leasehold.ledger.history import check_history
from leasehold.model.decision import Reason
from leasehold.model.request import RequestState, Verdict
from leasehold.policy.document import Policy
from leasehold.testing.clock import FrozenSystem
from leasehold.testing.store_steps import lane_held
from postgres_server import PostgresServer
from stage import ERASE, POLICY, Stage

ISSUER = "https://login.acme.example"
TABLE = f"""
[sign_in.acme]
issuer = "{ISSUER}"
client_id = "leasehold"
person = "email"
people = "groups"
groups = "groups"
roles = {{ leads = ["lead"] }}
"""


@pytest.fixture(params=["sqlite", "postgres"])
def desk(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """An authority on a database, whose policy names a provider. Its ledger has to be whole afterwards."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    (tmp_path / "leasehold.toml").write_text(POLICY + TABLE)
    state: Path | str = tmp_path / "state"
    if request.param == "postgres":
        server: PostgresServer = request.getfixturevalue("postgres_server")
        state = server.url(server.fresh())
    system = FrozenSystem()
    with open_authority(tmp_path / "leasehold.toml", state=state, system=system, sweep=False) as authority:
        stage = Stage(authority=authority, system=system)
        yield stage
        assert check_history(stage.entries()) == []


def come(stage: Stage, person: str, *groups: str) -> SignedIn:
    account = Account(
        provider="acme",
        issuer=ISSUER,
        subject=person,
        person=person,
        groups=groups,
        authenticated_at=stage.system.now().seconds,
    )
    return stage.authority.sign_ins.begin_by_provider(account, address="here")[1]


class _TakenError(Exception):
    """The step was made, and is submitted by the test."""


def yes(stage: Stage, monkeypatch: pytest.MonkeyPatch, request: str, who: SignedIn) -> Step[Answered]:
    """The step by which somebody says yes, as their desk makes it."""
    asked, made = stage.authority.find_request(request), []

    def take(build: Callable[[Policy], Step[Answered]]) -> None:
        made.append(build(stage.authority.engine.active_policy()))
        raise _TakenError

    with monkeypatch.context() as patch:
        patch.setattr(stage.authority.engine, "ask", take)
        with pytest.raises(_TakenError):
            stage.desk.answer_signed_in(asked, Verdict.APPROVE, who, card_digest=asked.card_digest)
    step: Step[Answered] = made[0]
    return step


@pytest.mark.invariant("I4")
@pytest.mark.requirement("F3")
def test_two_people_of_a_group_who_answer_in_the_same_moment_are_both_counted(
    desk: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = desk.lease(ERASE)
    request = desk.ask(lease, "ticket.erase", key="a")
    steps = [
        yes(desk, monkeypatch, request, come(desk, person, "leads")) for person in ("user:joe@a.example", "user:ida")
    ]
    store = desk.authority.engine.store
    with lane_held(store):
        futures = [store.submit(step) for step in steps]
    answers = [future.result().value for future in futures]
    assert [answer and answer.state for answer in answers] == [RequestState.PENDING, RequestState.APPROVED]
    beside = desk.beside()
    assert beside.admit(lease, "ticket.erase", key="a")


@pytest.mark.invariant("I4")
def test_an_approval_ends_at_once_in_every_process_with_the_group_or_the_person(
    desk: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = desk.lease(ERASE)
    request = desk.ask(lease, "ticket.erase", key="a")
    store, beside = desk.authority.engine.store, desk.beside()
    for person in ("user:joe", "user:ida"):
        store.submit(yes(desk, monkeypatch, request, come(desk, person, "leads"))).result()
    come(beside, "user:joe")
    assert desk.refusal(lease, "ticket.erase", key="a") is Reason.APPROVAL_NEEDED
    come(beside, "user:joe", "leads")
    beside.desk.offboard("user:ida", by="op", reason="left")
    assert desk.refusal(lease, "ticket.erase", key="a") is Reason.APPROVAL_NEEDED
