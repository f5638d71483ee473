"""Every pair of state and event, those that have a next state and those that are an error."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import pytest

from leasehold.decide.lifecycles import (
    CALL_TABLE,
    LEASE_TABLE,
    REQUEST_TABLE,
    RUN_TABLE,
    CallEvent,
    LeaseEvent,
    LeaseState,
    RequestEvent,
    RunEvent,
    RunState,
    advance,
)
from leasehold.errors import TransitionError
from leasehold.model.call import CallState
from leasehold.model.request import RequestState

# The arrows of DESIGN §4, written a second time: a row "before event after" each.
REQUEST = """
pending approve approved
pending deny denied
pending time_out expired
pending withdraw withdrawn
pending supersede superseded
approved use used
approved lapse lapsed
used use used
used return approved
used complete completed
"""
LEASE = """
active expire expired
active exhaust exhausted
active complete completed
active supersede superseded
active revoke revoked
"""
CALL = """
admitted done done
admitted fail failed
admitted not_start not_started
admitted time_out unknown
"""
RUN = "open finish finished"

Table = Mapping[tuple[StrEnum, StrEnum], StrEnum]
CYCLES: list[tuple[Table, type[StrEnum], type[StrEnum], str]] = [
    (REQUEST_TABLE, RequestState, RequestEvent, REQUEST),
    (LEASE_TABLE, LeaseState, LeaseEvent, LEASE),
    (CALL_TABLE, CallState, CallEvent, CALL),
    (RUN_TABLE, RunState, RunEvent, RUN),
]
PAIRS = [
    pytest.param(table, state, event, arrows, id=f"{states.__name__}-{state}-{event}")
    for table, states, events, arrows in CYCLES
    for state in states
    for event in events
]


@pytest.mark.parametrize(("table", "state", "event", "arrows"), PAIRS)
def test_each_pair_of_state_and_event_has_the_next_state_of_the_design_or_is_an_error(
    table: Table, state: StrEnum, event: StrEnum, arrows: str
) -> None:
    expected = {(before, what): after for before, what, after in map(str.split, arrows.strip().splitlines())}
    if (state, event) in expected:
        assert advance(table, state, event) == expected[(state, event)]
    else:
        with pytest.raises(TransitionError, match=f"{event} cannot happen to what is {state}"):
            advance(table, state, event)


@pytest.mark.invariant("I8")
@pytest.mark.parametrize(
    ("table", "ends"),
    [
        (REQUEST_TABLE, {"denied", "expired", "withdrawn", "superseded", "lapsed", "completed"}),
        (LEASE_TABLE, {"expired", "exhausted", "completed", "superseded", "revoked"}),
        (CALL_TABLE, {"done", "failed", "not_started", "unknown"}),
        (RUN_TABLE, {"finished"}),
    ],
)
def test_nothing_leads_out_of_an_end(table: Table, ends: set[str]) -> None:
    befores, afters = {before for before, _ in table}, set(table.values())
    assert afters - befores == ends
