"""What travels over HTTP: strict both ways, and every problem is the error that it stands for."""

from __future__ import annotations

import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasehold.errors import (
    ApprovalNeeded,
    Denied,
    Edited,
    InvalidError,
    LeaseholdError,
    NotFoundError,
    StoreError,
    TransitionError,
    UnavailableError,
)
from leasehold.model.api import AdmitBody, Body, CallBody, RequestBody
from leasehold.model.call import Call, HolderProof, Outcome, OutcomeStatus, ParentCall
from leasehold.model.canonical import encode
from leasehold.model.card import Change
from leasehold.model.decision import Decision, Reason
from leasehold.model.endpoints import ENDPOINTS, EndpointName
from leasehold.model.grant import Grant, parse_constraint
from leasehold.model.ids import AdmissionId
from leasehold.model.preview import Preview, PreviewMade
from leasehold.model.problem import STATUSES, Problem, error_of, problem_of, status_of

ADMISSION = AdmissionId("adm_01JZ8Q5X0M3V7K2N9B4C6D8E0F")
CALL = Call(
    action="ticket.close",
    arguments=encode({"ticket_id": "T-1", "note": "höhe"}),
    admission_id=ADMISSION,
    key="T-1:close",
    call_id="call-1",
    trace_id="0af7651916cd43dd8448eb211c80319c",
    parent=ParentCall(
        admission_id=ADMISSION,
        allow={"ticket.close": Grant("ticket.close", {"ticket": parse_constraint(["T-*", "U-1"])})},
    ),
    tool_authority=True,
    tool_schema="sha256:0",
    preview=PreviewMade(admission_id=ADMISSION, preview=Preview(changes=(Change("status", "open", "closed"),))),
)


def test_call_is_the_same_after_it_travelled() -> None:
    body = AdmitBody(token="a.b.c", call=CallBody.of_call(CALL))
    read = msgspec.json.decode(msgspec.json.encode(body), type=AdmitBody)
    assert read == body
    assert read.call.to_call() == CALL


def test_call_without_parent_and_preview_is_the_same_after_it_travelled() -> None:
    plain = Call(action="ticket.get", arguments=encode({}), admission_id=ADMISSION)
    assert CallBody.of_call(plain).to_call() == plain


def test_arguments_that_are_no_object_do_not_travel() -> None:
    listed = Call(action="ticket.get", arguments=b"[1]", admission_id=ADMISSION)
    with pytest.raises(InvalidError, match="one object"):
        CallBody.of_call(listed)


@pytest.mark.parametrize("proof", [None, HolderProof(jwt="a.b.c", method="POST", url="https://tickets.example/close")])
def test_proof_travels_beside_the_call_that_it_came_with(proof: HolderProof | None) -> None:
    call = msgspec.structs.replace(CALL, holder_proof=proof)
    sent = msgspec.json.decode(msgspec.json.encode(AdmitBody.of_call("x.y.z", call)), type=AdmitBody)
    assert (sent.token, sent.to_call()) == ("x.y.z", call)
    assert "proof" not in msgspec.to_builtins(sent.call)


def test_grant_of_a_parent_call_that_is_no_grant_is_refused() -> None:
    data = msgspec.to_builtins(CallBody.of_call(CALL))
    data["parent"]["allow"] = {"ticket.close": {"ticket": ["a/../b"]}}
    with pytest.raises(InvalidError):
        msgspec.convert(data, CallBody).to_call()


@pytest.mark.parametrize("endpoint", [each for each in ENDPOINTS.values() if each.body], ids=lambda each: each.name)
def test_body_with_a_member_that_nobody_knows_is_refused(endpoint: object) -> None:
    shape = endpoint.body  # type: ignore[attr-defined]
    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        msgspec.convert({"nobody_knows_this": 1}, shape)


def test_nested_members_that_nobody_knows_are_refused() -> None:
    body = msgspec.to_builtins(AdmitBody(token="a.b.c", call=CallBody.of_call(CALL)))
    for path in (("call",), ("call", "parent"), ("call", "preview"), ("call", "preview", "preview")):
        changed = msgspec.json.decode(msgspec.json.encode(body))
        target = changed
        for name in path:
            target = target[name]
        target["nobody_knows_this"] = 1
        with pytest.raises(msgspec.ValidationError, match="unknown field"):
            msgspec.convert(changed, AdmitBody)
    row = {"name": "a", "before": "b", "after": "c", "nobody_knows_this": 1}
    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        msgspec.convert(row, Change)


def test_values_are_never_taken_for_another_type() -> None:
    for wrong in ({"attempt": "1"}, {"attempt": True}, {"attempt": 0}, {"attempt": 1.5}):
        body = {"allow": {}, "reason": "because", **wrong}
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(body, RequestBody)


def test_outcome_travels_as_it_is() -> None:
    outcome = Outcome(status=OutcomeStatus.DONE, cost={"usd": 5}, touched=("T-1",))
    assert msgspec.json.decode(msgspec.json.encode(outcome), type=Outcome) == outcome


def test_every_endpoint_stands_in_the_table_once() -> None:
    assert list(ENDPOINTS) == list(EndpointName)
    assert len({(each.method, each.path) for each in ENDPOINTS.values()}) == len(ENDPOINTS)


def test_every_body_and_query_of_ours_is_closed() -> None:
    for each in ENDPOINTS.values():
        for shape in (each.body, each.query):
            assert shape is None or issubclass(shape, Body) or shape is Outcome


def test_only_unsafe_endpoints_take_bodies_and_keys() -> None:
    for each in ENDPOINTS.values():
        assert each.method in ("GET", "POST")
        assert each.method == "POST" or (each.body is None and not each.is_keyed)
        assert re.fullmatch(r"/v1(/[a-z_]+|/\{[a-z]+_id\})+", each.path)


DECISION = Decision(reason=Reason.BUDGET, message="too dear", rule="routes.a.budget", check="2 <= 1", enough="1")
NEEDED = Decision(reason=Reason.APPROVAL_NEEDED, message="ask", request_id="req_1", words="Why?")
EDITED = Decision(reason=Reason.EDITED, message="it was edited", request_id="req_2")


@pytest.mark.parametrize(
    "error",
    [
        Denied(DECISION),
        Denied(Decision(reason=Reason.NOT_FOUND, message="nothing")),
        Denied(NEEDED),
        ApprovalNeeded(NEEDED, "req_1"),
        Edited(EDITED, "req_2", '{"a":1}'),
        Edited(EDITED, "req_2", None),
        InvalidError("this is no grant"),
        NotFoundError("there is no such thing, or it is not yours to see"),
        StoreError("the database cannot be used right now; send the same again", maybe_persisted=True),
    ],
    ids=lambda error: type(error).__name__,
)
def test_error_is_the_same_after_it_travelled(error: LeaseholdError) -> None:
    problem = problem_of(error)
    if type(error) is Denied and error.decision is NEEDED:
        error = ApprovalNeeded(NEEDED, "req_1")  # there is a request to wait on
    again = error_of(msgspec.json.decode(msgspec.json.encode(problem), type=Problem))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)


def test_what_went_wrong_inside_is_not_told() -> None:
    for error in (StoreError("/var/lib/secret.db is locked"), TransitionError("a table lacks a pair")):
        problem = problem_of(error)
        assert "secret" not in problem.detail
        assert "table" not in problem.detail
        assert isinstance(error_of(problem), UnavailableError)


def test_members_that_say_nothing_are_left_out() -> None:
    assert msgspec.json.decode(msgspec.json.encode(problem_of(NotFoundError("x")))) == {
        "type": "urn:leasehold:problem:not_found",
        "title": "Not found",
        "status": 404,
        "detail": "there is no such thing, or it is not yours to see",
    }


@given(st.sampled_from(list(Reason)))
def test_every_reason_has_a_status_with_a_title(reason: Reason) -> None:
    problem = Problem.of_decision(Decision(reason=reason, message="no"))
    assert problem.status == status_of(reason)
    assert problem.status in {status for status, _ in STATUSES.values()}
    assert problem.code == reason
