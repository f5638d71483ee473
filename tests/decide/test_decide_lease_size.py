"""A lease that no token can carry is refused before people are asked for it, and never recorded."""

from __future__ import annotations

import pytest

from leasehold.errors import Denied
from leasehold.ledger.entry import EntryKind
from leasehold.model.decision import Reason
from leasehold.token.codec import MAX_TOKEN_CHARACTERS, token_characters
from leasehold.token.keys import SigningKey
from stage import Stage, changed

HOLDER = SigningKey.generate(bytes(32)).kid
LONG = [f"T-{number:040d}" for number in range(250)]


def test_a_request_whose_token_would_be_too_long_is_refused_before_anybody_is_asked(stage: Stage) -> None:
    with pytest.raises(Denied) as denied:
        stage.authority.request(stage.start(), {"ticket.close": {"ticket": LONG}}, reason="all of them")
    assert denied.value.decision.reason is Reason.TOO_LARGE
    assert "fewer values" in denied.value.decision.enough
    assert stage.desk.pending() == ()
    assert stage.entries(EntryKind.REQUEST_DENIED)[-1].reason == Reason.TOO_LARGE


def test_what_is_refused_at_one_tool_only_counts_that_tools_grants(stage: Stage) -> None:
    half = {"ticket": LONG[:70]}
    lease = stage.lease({"ticket.get": half, "mail.send": half}).lease
    for tool in lease.audiences:
        bound = stage.authority.engine.token(lease, tool, HOLDER)
        assert len(bound) == token_characters(lease, tool, stage.authority.engine.identity.issuer)
        assert len(bound) <= MAX_TOKEN_CHARACTERS


def test_the_longest_lease_fits_a_token_that_is_bound_to_a_key(stage: Stage) -> None:
    """Who proves to hold a key gets its tokens bound; by then people have agreed and the lease is drawn."""
    for count in range(140, 0, -1):
        try:
            lease = stage.lease({"ticket.get": {"ticket": LONG[:count]}}).lease
        except Denied:
            continue
        break
    assert count > 100
    assert stage.authority.engine.token(lease, "ticket", HOLDER)


def test_a_lease_that_grew_too_long_since_it_was_asked_for_is_not_recorded(stage: Stage) -> None:
    """Names of approvers stand in it; those that a later policy brings may be longer than all that were known."""
    run = stage.start()
    for count in range(len(LONG), 0, -1):
        try:
            request = stage.authority.request(run, {"ticket.close": {"ticket": LONG[:count]}}, reason="many")
        except Denied:
            continue
        break
    long_name = f"user:{'n' * 150}"
    stage.accept(changed('"user:eva" =', f'"{long_name}" = ["lead"]\n"user:eva" ='))
    stage.people.approve(request, long_name)
    with pytest.raises(Denied) as denied:
        stage.authority.wait(request, 5)
    assert denied.value.decision.reason is Reason.TOO_LARGE
    assert stage.entries(EntryKind.LEASE_DENIED)[-1].reason == Reason.TOO_LARGE
    assert stage.authority.engine.store.queries.leases_of_run(run.tenant, run.run_id) == ()
