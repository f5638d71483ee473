"""All routes by all actions: the same as `explain` says of each, and on which ways else an action is reached."""

from __future__ import annotations

import pytest
from hypothesis import given
from policy_worlds import EXAMPLE, changed, load, policies

from leasehold.policy.document import Policy
from leasehold.policy.explain import explain_route
from leasehold.policy.matrix import matrix

POLICY = load(EXAMPLE)


@pytest.mark.requirement("P3")
def test_the_matrix_has_a_cell_where_a_route_names_an_action() -> None:
    found = matrix(POLICY)
    assert found.routes == ("ci/deploy", "db/migrate", "support/close")
    assert found.actions == tuple(sorted(POLICY.actions))
    assert set(found.cells["db/migrate"]) == {"db.migrate", "db.rollback"}


@given(policies())
def test_each_cell_is_what_explain_says(policy: Policy) -> None:
    for name, cells in matrix(policy).cells.items():
        assert [cell.row for cell in cells.values()] == explain_route(policy, name)
        assert {cell.route for cell in cells.values()} == {name}


@pytest.mark.requirement("P5")
def test_a_cell_names_the_other_ways_to_its_action() -> None:
    cells = matrix(POLICY).cells["support/close"]
    assert cells["ticket.update"].implied_by == ("ticket.close",)
    assert (cells["ticket.update"].delegable, cells["ticket.close"].delegable) == ("yes", "")
    through = changed('actions = ["ticket.update"] }', 'actions = ["ticket.close"] }')
    assert matrix(load(through)).cells["support/close"]["ticket.update"].delegable == "through ticket.close"
    uses = load(changed('undo = "db.rollback" }', 'undo = "db.rollback", uses = ["db.rollback"] }'))
    assert matrix(uses).cells["db/migrate"]["db.rollback"].used_by == ("db.migrate",)


def test_a_denied_action_is_reached_on_no_way() -> None:
    denied = load(changed("run_ttl =", 'deny = ["ticket.close"]\nrun_ttl ='))
    cells = matrix(denied).cells["support/close"]
    assert cells["ticket.update"].implied_by == ()
    assert (cells["ticket.close"].row.denied_by, cells["ticket.close"].delegable) == ("ticket.close", "")
