"""Answers given together: the list is frozen before it is confirmed, and every request gets a result of its own."""

from __future__ import annotations

import pytest

from forms import approve, fields, items, send
from leasehold.model.request import Request
from office import ANA, BEN, EVA, KIM, Office
from served import Reply


def preview(office: Office, name: str, *requests: Request) -> Reply:
    """The page that asks whether exactly these are to be answered."""
    query = "&".join(f"id={request.request_id}" for request in requests)
    return office.signed_in(name).get(f"/answers?{query}")


@pytest.mark.requirement("F2")
def test_list_is_what_was_shown_and_nothing_that_came_later(office: Office) -> None:
    first, second = office.asks(ticket_id="T-1"), office.asks(ticket_id="T-2")
    client = office.signed_in(BEN)
    page = client.get(f"/answers?id={first.request_id}&id={second.request_id}")
    late = office.asks(ticket_id="T-3")
    office.stage.pass_time(1)
    reply = send(client, {**fields(page, "/answers"), "verdict": "approve"}, items(page))
    assert "Approved: 2 of 2" in reply.text
    assert [office.state_of(each) for each in (first, second, late)] == ["approved", "approved", "pending"]


def test_list_that_was_changed_is_refused_whole(office: Office) -> None:
    first, second = office.asks(ticket_id="T-1"), office.asks(ticket_id="T-2")
    client = office.signed_in(BEN)
    page = client.get(f"/answers?id={first.request_id}")
    office.stage.pass_time(1)
    form = {**fields(page, "/answers"), "verdict": "approve"}
    smuggled = [*items(page), f"{second.request_id} {second.card_digest}"]
    assert send(client, form, smuggled).status == 403
    assert send(client, form, []).status == 403
    assert {office.state_of(first), office.state_of(second)} == {"pending"}


def test_destructive_and_two_person_requests_are_never_on_the_list(office: Office) -> None:
    close, erase = office.asks(), office.asks("ticket.erase")
    page = preview(office, BEN, close, erase)
    assert len(items(page)) == 1
    assert "it is destructive: answer it on its own card" in page.text
    assert "None of these can be answered together" in preview(office, BEN, erase).text
    assert "None of these can be answered together" in preview(office, KIM, close).text


def test_one_that_was_answered_meanwhile_takes_no_other_along(office: Office) -> None:
    first, second = office.asks(ticket_id="T-1"), office.asks(ticket_id="T-2")
    client = office.signed_in(BEN)
    page = client.get(f"/answers?id={first.request_id}&id={second.request_id}")
    approve(office, office.signed_in(ANA), first)
    reply = send(client, {**fields(page, "/answers"), "verdict": "deny", "reason": "no"}, items(page))
    assert "Denied: 1 of 2" in reply.text
    assert "not done: " in reply.text
    assert [office.state_of(each) for each in (first, second)] == ["approved", "denied"]


def test_approving_together_waits_as_one_card_does(office: Office) -> None:
    request = office.asks()
    client = office.signed_in(BEN)
    page = client.get(f"/answers?id={request.request_id}")
    reply = send(client, {**fields(page, "/answers"), "verdict": "approve"}, items(page))
    assert reply.status == 409
    assert "That was quick" in reply.text
    assert office.state_of(request) == "pending"


def test_number_of_requests_answered_together_is_bounded(office: Office) -> None:
    client = office.signed_in(EVA)
    assert client.get("/answers").status == 400
    request = office.asks()
    many = "&".join(f"id={request.request_id[:-2]}{index:02d}" for index in range(51))
    assert client.get(f"/answers?{many}").status == 400
    assert client.get(f"/answers?id={request.request_id}&id={request.request_id}").text.count('name="item"') == 1


@pytest.mark.parametrize("form", [{"verdict": "maybe"}, {"verdict": "deny", "reason": "a" * 2001}])
def test_answer_that_is_none_answers_none_of_them(office: Office, form: dict[str, str]) -> None:
    request = office.asks()
    client = office.signed_in(BEN)
    page = client.get(f"/answers?id={request.request_id}")
    assert send(client, {**fields(page, "/answers"), **form}, items(page)).status == 400
    assert office.state_of(request) == "pending"
