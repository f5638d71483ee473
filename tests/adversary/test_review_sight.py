"""What people see is what counts, and of other tenants nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from leasehold.authority.person_desk import PersonDesk
from leasehold.model.request import Verdict
from leasehold.policy.document import Policy
from stage import BEN, ERASE, EVA, KIM, POLICY, Stage, changed

HASH = "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaA"
LIZ, TOM = "user:liz", "user:tom"
ABROAD = """
[routes."abroad"]
for = { agents = ["bot"], tenants = ["globex"], environments = ["prod"] }
allow."vault.open" = { door = ["D-1"] }
approvers = ["globex-lead"]

[break_glass."abroad"]
openers = ["globex-lead"]
confirmers = ["globex-op"]
actions = ["vault.open"]
skips = ["approve"]
minutes = 5

[notices."globex-hook"]
kind = "webhook"
url = "https://globex.example/hook"
events = ["alarm"]
tenants = ["globex"]

[[tests]]
route = "abroad"
refuses = ["ticket.get"]
"""
TENANTS = changed(
    "[actions]",
    'globex-op = { can = ["query", "hold"], tenants = ["globex"] }\n\n'
    '[actions]\n"vault.open" = { effect = "write", args = { door = "door" } }',
    changed(
        '"user:kim" = ["watcher"]',
        '"user:kim" = ["watcher"]\n"user:liz" = ["globex-op"]\n"user:tom" = ["globex-lead", "globex-op"]',
        POLICY,
    ),
)


@pytest.fixture
def tenants() -> Iterator[Stage]:
    stage = Stage(TENANTS + ABROAD)
    stage.start()
    stage.start(tenant="globex")
    yield stage
    stage.close()


def desk_of(stage: Stage, person: str) -> PersonDesk:
    sign_ins = stage.authority.sign_ins
    known = sign_ins.of(person)
    used = known[0].sign_in if known else sign_ins.set_password(person, HASH, by="op")
    return stage.authority.person_desk(sign_ins.begin(person, used, address="")[1])


def document(stage: Stage, person: str) -> Policy:
    return desk_of(stage, person).policy().document


@pytest.mark.invariant("I10")
def test_policy_tells_nobody_of_the_people_channels_and_actions_of_other_tenants(tenants: Stage) -> None:
    mine = document(tenants, KIM)
    assert "abroad" not in mine.routes
    assert not {LIZ, TOM} & mine.people.keys()
    assert "globex-op" not in mine.roles
    assert (mine.notices, mine.break_glass, mine.tests) == ({}, {}, ())
    assert "vault.open" not in mine.actions
    assert {"ticket.close", "ticket.update", "mail.send"} <= mine.actions.keys()
    theirs = document(tenants, LIZ)
    assert {"abroad", "desk"} <= theirs.routes.keys()
    assert theirs.people[TOM] == ("globex-lead", "globex-op")
    assert set(theirs.notices) == {"globex-hook"}
    assert set(theirs.break_glass) == {"abroad"}
    assert "watcher" not in theirs.roles


@pytest.mark.invariant("I10")
def test_who_may_see_nothing_learns_nothing_from_the_policy_and_who_may_see_all_has_it_whole(tenants: Stage) -> None:
    nothing = document(tenants, "user:nobody")
    assert (nothing.routes, nothing.roles, nothing.people, nothing.actions, nothing.notices) == ({}, {}, {}, {}, {})
    assert document(tenants, EVA) == tenants.authority.engine.active_policy()


@pytest.mark.case(76, 80)
def test_one_person_who_says_yes_by_key_and_by_password_is_shown_as_one(stage: Stage) -> None:
    request = stage.authority.find_request(stage.ask(stage.lease(ERASE), "ticket.erase", key="a"))
    stage.people.approve(request, BEN)
    answered = desk_of(stage, BEN).answer(request.request_id, Verdict.APPROVE, card_digest=request.card_digest)
    assert (answered.state, answered.approvals_missing) == ("pending", 1)
    assert stage.desk.footer(request).approved_by == (BEN,)


@pytest.mark.case(80)
def test_a_yes_that_does_not_count_any_more_is_not_shown_as_given(stage: Stage) -> None:
    request = stage.authority.find_request(stage.ask(stage.lease(ERASE), "ticket.erase", key="a"))
    stage.people.approve(request, BEN)
    stage.desk.remove_person(BEN, by="op")
    assert stage.desk.footer(request).approved_by == ()
