"""Editing what waits: typed fields, the same action, judged anew, and somebody else approves."""

from __future__ import annotations

import json

import msgspec
import pytest

from forms import approve, fields
from leasehold.console.editing import FieldKind, edit_fields, read_edit
from leasehold.errors import InvalidError
from leasehold.model.grant import grants_to_json
from leasehold.model.request import Request
from office import ANA, BEN, EVA, KIM, Office
from served import Reply


def edit(office: Office, name: str, request: Request, **changed_fields: str) -> Reply:
    """Open the form as somebody, change some fields, and send it."""
    client = office.signed_in(name)
    action = f"/requests/{request.request_id}/edit"
    page = client.get(action)
    values = {field.name: field.text for field in edit_fields(office.viewer(name).waiting(request.request_id))}
    kept = {f"g{index}": action_name for index, action_name in enumerate(sorted(request.allow))}
    own = kept if request.kind == "lease" else {}
    return client.post(action, {**fields(page, action), **values, **own, **changed_fields})


def arguments_of(office: Office, request_id: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(office.viewer(EVA).card(request_id).exact_arguments)
    return found


def successor(reply: Reply) -> str:
    """The id of the request that an edit led to."""
    assert reply.status == 303, reply.text
    return reply.location.removeprefix("/requests/")


@pytest.mark.requirement("F2")
def test_edited_call_takes_the_place_of_the_one_that_waited(office: Office) -> None:
    request = office.asks(ticket_id="T-7", note="fixed")
    made = successor(edit(office, BEN, request, v0="fixed in 2.4.1"))
    assert arguments_of(office, made) == {"ticket_id": "T-7", "note": "fixed in 2.4.1"}
    assert office.state_of(request) == "superseded"
    old = office.signed_in(BEN).get(f"/requests/{request.request_id}").text
    assert f'href="/requests/{made}"' in old
    assert "is in its place" in old
    new = office.signed_in(EVA).get(f"/requests/{made}").text
    assert "fixed -&gt; fixed in 2.4.1" in new
    assert BEN in new


def test_who_edited_may_not_approve_and_somebody_else_may(office: Office) -> None:
    made = successor(edit(office, BEN, office.asks(note="fixed"), v0="mended"))
    edited = office.stage.authority.find_request(made)
    page = office.signed_in(BEN).get(f"/requests/{made}").text
    assert "Not yours to answer" in page
    assert approve(office, office.signed_in(ANA), edited).status == 303
    assert office.state_of(edited) == "approved"


def test_fields_are_typed_by_what_the_agent_sent(office: Office) -> None:
    request = office.asks(count=3, flag=True, tags=["a"], note="one\ntwo", short="x")
    kinds = {field.label: field.kind for field in edit_fields(office.viewer(BEN).waiting(request.request_id))}
    assert kinds == {
        "count": FieldKind.JSON,
        "flag": FieldKind.SWITCH,
        "note": FieldKind.TEXT,
        "short": FieldKind.WORDS,
        "tags": FieldKind.JSON,
        "ticket_id": FieldKind.WORDS,
    }


def test_values_are_read_back_as_their_types(office: Office) -> None:
    request = office.asks(count=3, flag=True, note="one\ntwo", ticket_id="T-7")
    made = successor(edit(office, BEN, request, v0="4", v1="no", v2="one\r\n<U+0020 ×4>three"))
    assert arguments_of(office, made) == {"count": 4, "flag": False, "note": "one\n    three", "ticket_id": "T-7"}


def test_what_is_left_alone_stays_exactly_what_the_agent_wrote(office: Office) -> None:
    odd = "a    b\u202e\n\tc"
    request = office.asks(note=odd, other="x")
    made = successor(edit(office, BEN, request, v1="y"))
    assert arguments_of(office, made) == {"ticket_id": "T-1", "note": odd, "other": "y"}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "nothing is edited"),
        ({"v0": "4 apples"}, "count is no JSON"),
        ({"v1": "maybe"}, "flag is yes or no"),
        ({"v2": "X-1"}, "Refused"),
        ({"v2": "T-\u200b1"}, "hidden character"),
    ],
)
def test_edit_that_cannot_be_is_shown_again_with_what_was_typed(
    office: Office, values: dict[str, str], words: str
) -> None:
    request = office.asks(count=3, flag=True)
    reply = edit(office, BEN, request, reason="too many", **values)
    assert reply.status in (400, 409)
    assert words in reply.text
    assert 'value="too many"' in reply.text
    assert office.state_of(request) == "pending"


def test_lease_is_narrowed_value_by_value_and_action_by_action(office: Office) -> None:
    run = office.stage.start(by=KIM)
    allow = {"ticket.close": {"ticket": ["T-1", "T-2"]}, "ticket.get": {"ticket": ["T-*"]}}
    request = office.stage.authority.request(run, allow, reason="asked")
    made = successor(edit(office, BEN, request, g1="", v0="T-1"))
    grants = office.stage.authority.find_request(made).allow
    assert grants_to_json(grants) == {"ticket.close": {"ticket": ["T-1"]}}


def test_lease_can_get_no_more_than_its_route_offers(office: Office) -> None:
    run = office.stage.start(by=KIM)
    request = office.stage.authority.request(run, {"ticket.close": {"ticket": ["T-1"]}}, reason="asked")
    reply = edit(office, BEN, request, v0="X-1")
    assert reply.status == 409
    assert "X-1" in reply.text
    assert office.state_of(request) == "pending"


def test_nobody_edits_what_is_not_theirs_to_answer_or_answered(office: Office) -> None:
    request = office.asks(note="fixed")
    seen = office.signed_in(BEN)
    form = fields(seen.get(f"/requests/{request.request_id}/edit"), f"/requests/{request.request_id}/edit")
    assert (
        office.signed_in(KIM).get(f"/requests/{request.request_id}/edit").location == f"/requests/{request.request_id}"
    )
    office.stage.people.deny(request, EVA)
    assert seen.post(f"/requests/{request.request_id}/edit", {**form, "v0": "x"}).status == 409
    assert office.state_of(request) == "denied"


def test_token_of_another_card_edits_nothing(office: Office) -> None:
    one, other = office.asks(note="a"), office.asks(ticket_id="T-2", note="b")
    client = office.signed_in(BEN)
    form = fields(client.get(f"/requests/{one.request_id}/edit"), f"/requests/{one.request_id}/edit")
    assert client.post(f"/requests/{other.request_id}/edit", {**form, "v0": "c"}).status == 403
    assert office.state_of(other) == "pending"


def test_call_with_a_redacted_argument_is_not_edited(office: Office) -> None:
    waiting = office.viewer(BEN).waiting(office.asks(note="secret").request_id)
    hidden = msgspec.structs.replace(waiting, card=msgspec.structs.replace(waiting.card, exact_arguments=""))
    with pytest.raises(InvalidError, match="redacts"):
        edit_fields(hidden)
    with pytest.raises(InvalidError, match="not kept"):
        read_edit(msgspec.structs.replace(waiting, card=None), {})
