"""A receipt's summary read back as typed values, by whoever shows it."""

from __future__ import annotations

import pytest

from leasehold.errors import VerificationError
from leasehold.ledger.lines import entry_line
from leasehold.ledger.reading import read_summary
from leasehold.ledger.summary import summarise
from leasehold.model.call import OutcomeStatus
from stage import EVA, UPDATE, Stage


def test_summary_of_a_run_is_read_whole(stage: Stage) -> None:
    lease = stage.lease()
    stage.use(lease, "ticket.update", key="u1")
    stage.settle(stage.admit(lease, "ticket.update", key="u2"), OutcomeStatus.FAILED, error="no such ticket")
    entries = stage.authority.receipts.entries(stage.authority.run(lease.lease.run_id).run)
    summary = read_summary(summarise(entries))
    assert summary.run.run == lease.lease.run_id
    assert [(call.action, call.outcome) for call in summary.used] == [
        ("ticket.update", "done"),
        ("ticket.update", "failed"),
    ]
    assert summary.never_used == []


@pytest.mark.parametrize("predicate", [{}, {"run": 1}, {"asked": "nothing"}])
def test_what_is_no_summary_is_refused(predicate: dict[str, object]) -> None:
    with pytest.raises(VerificationError, match="cannot be read"):
        read_summary(predicate)


def test_line_of_an_entry_says_who_about_what_and_how_it_came_out(stage: Stage) -> None:
    lease = stage.lease({**UPDATE, "ticket.close": {"ticket": ["T-*"]}})
    stage.use(lease, "ticket.update", key="u1")
    request = stage.ask(lease, "ticket.close", key="c1")
    stage.people.approve(request, EVA)
    stage.hold("tool:mail")
    lines = {line.kind: line for line in map(entry_line, stage.entries())}
    admitted = lines["call.admitted"]
    assert (admitted.who, admitted.about, admitted.outcome) == ("bot", "ticket.update ticket=T-1", "allow")
    assert admitted.seconds == admitted.time_ms // 1000
    assert lines["request.answered"].outcome == "allow approved by user:eva"
    assert (lines["stop.held"].who, lines["stop.held"].about) == ("op", "tool:mail")
    assert lines["lease.issued"].about == lease.lease.lease_id
