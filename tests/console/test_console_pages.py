"""Every page through the real server, without a browser: what it shows, to whom, and what it refuses."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from forms import answer, approve, fields
from office import ANA, BEN, EVA, KIM, TEXT, Office


def test_inbox_lists_what_waits_for_me_and_what_waits_for_others(office: Office) -> None:
    office.asks(ticket_id="T-7")
    assert "Close ticket T-7" in office.signed_in(BEN).get("/").text
    page = office.signed_in(KIM).get("/").text
    assert "Nothing waits for you." in page
    assert "Not yours to answer" in page


def test_requests_that_say_the_same_stand_together(office: Office) -> None:
    first, second = office.asks(ticket_id="T-7"), office.asks(ticket_id="T-7")
    page = office.signed_in(BEN).get("/").text
    assert page.count("Close ticket T-7") == 3  # once as headline, and with each of the two boxes
    assert f'value="{first.request_id}"' in page
    assert f'value="{second.request_id}"' in page


def test_card_says_what_is_asked_in_the_order_of_importance(office: Office) -> None:
    request = office.asks(ticket_id="T-7", note="fixed")
    page = office.signed_in(BEN).get(f"/requests/{request.request_id}").text
    order = ["Close ticket T-7", "fixed", "How far it reaches", "reopen within 24 h", "Not allowed", "customer asked"]
    places = [page.index(words) for words in order]
    assert places == sorted(places)
    assert page.index('value="deny" checked') < page.index('value="approve"')
    assert "0 of 1" in page


@pytest.mark.requirement("P10", "L10", "B6")
def test_card_that_was_shown_long_enough_can_be_approved(office: Office) -> None:
    request = office.asks()
    client = office.signed_in(BEN)
    reply = approve(office, client, request)
    assert (reply.status, reply.location) == (303, f"/requests/{request.request_id}")
    assert office.state_of(request) == "approved"
    page = client.get(reply.location).text
    assert "approved" in page
    assert BEN in page
    assert '<form class="decide"' not in page


def test_approval_right_after_the_card_was_shown_is_not_taken(office: Office) -> None:
    request = office.asks()
    client = office.signed_in(BEN)
    reply = answer(client, request, "approve")
    assert reply.status == 409
    assert "That was quick" in reply.text
    assert office.state_of(request) == "pending"
    office.stage.pass_time(1)
    assert answer(client, request, "approve", seen=reply).status == 303
    assert office.state_of(request) == "approved"


def test_denial_is_taken_at_once_with_its_words(office: Office) -> None:
    request = office.asks()
    client = office.signed_in(BEN)
    assert answer(client, request, "deny", reason="not on a Friday").status == 303
    assert office.state_of(request) == "denied"
    assert "not on a Friday" in client.get(f"/requests/{request.request_id}").text


def test_what_cannot_be_undone_is_to_be_looked_at_longer(office: Office) -> None:
    request = office.asks("ticket.erase")
    client = office.signed_in(BEN)
    assert approve(office, client, request, seconds=2).status == 409
    assert approve(office, client, request, seconds=3).status == 303


def test_second_person_sees_the_first_approval_and_completes_it(office: Office) -> None:
    request = office.asks("ticket.erase")
    assert approve(office, office.signed_in(BEN), request, seconds=3).status == 303
    assert office.state_of(request) == "pending"
    client = office.signed_in(ANA)
    page = client.get(f"/requests/{request.request_id}").text
    assert "1 of 2" in page
    assert BEN in page
    assert approve(office, client, request, seconds=3).status == 303
    assert office.state_of(request) == "approved"


def test_card_that_changed_while_it_was_looked_at_is_shown_again(office: Office) -> None:
    request = office.asks("ticket.erase")
    client = office.signed_in(ANA)
    seen = client.get(f"/requests/{request.request_id}")
    approve(office, office.signed_in(BEN), request, seconds=3)
    reply = answer(client, request, "approve", seen=seen)
    assert reply.status == 409
    assert "It changed while you looked" in reply.text
    assert office.state_of(request) == "pending"


@pytest.mark.case(85)
def test_card_that_is_cut_cannot_be_approved_before_the_whole_was_shown(office: Office) -> None:
    request = office.asks(note="a" * 400 + " and then delete everything")
    client = office.signed_in(BEN)
    seen = client.get(f"/requests/{request.request_id}")
    assert "delete everything" not in seen.text
    assert "more characters" in seen.text
    assert 'value="approve"' not in seen.text
    office.stage.pass_time(5)
    reply = answer(client, request, "approve", seen=seen)
    assert reply.status == 409
    assert "Here is the whole" in reply.text
    assert "delete everything" in reply.text
    assert office.state_of(request) == "pending"
    office.stage.pass_time(1)
    assert answer(client, request, "approve", seen=client.get(f"/requests/{request.request_id}?whole=1")).status == 409
    office.stage.pass_time(1)
    assert answer(client, request, "approve", seen=reply).status == 303


def test_sight_of_another_card_does_not_count(office: Office) -> None:
    one, other = office.asks(ticket_id="T-1"), office.asks(ticket_id="T-2")
    client = office.signed_in(BEN)
    stolen = fields(client.get(f"/requests/{one.request_id}"), f"/requests/{one.request_id}/answer")["sight"]
    office.stage.pass_time(5)
    reply = answer(client, other, "approve", sight=stolen)
    assert reply.status == 409
    assert office.state_of(other) == "pending"


def test_token_of_another_card_changes_nothing(office: Office) -> None:
    one, other = office.asks(ticket_id="T-1"), office.asks(ticket_id="T-2")
    client = office.signed_in(BEN)
    stolen = fields(client.get(f"/requests/{one.request_id}"), f"/requests/{one.request_id}/answer")
    reply = client.post(f"/requests/{other.request_id}/answer", {**stolen, "verdict": "deny"})
    assert reply.status == 403
    assert {office.state_of(one), office.state_of(other)} == {"pending"}


@pytest.mark.case(76)
def test_second_answer_is_told_that_it_came_too_late(office: Office) -> None:
    request = office.asks()
    mine, yours = office.signed_in(BEN), office.signed_in(ANA)
    seen = yours.get(f"/requests/{request.request_id}")
    assert approve(office, mine, request).status == 303
    reply = answer(yours, request, "deny", seen=seen)
    assert reply.status == 409
    assert "came too late" in reply.text
    assert office.state_of(request) == "approved"


def test_card_past_its_time_is_expired_and_not_denied(office: Office) -> None:
    request = office.asks()
    client = office.signed_in(BEN)
    seen = client.get(f"/requests/{request.request_id}")
    office.stage.pass_time(601)
    reply = answer(client, request, "approve", seen=seen)
    assert reply.status == 409
    assert ">expired<" in client.get(f"/requests/{request.request_id}").text
    assert office.state_of(request) == "pending"
    office.stage.sweep()
    assert office.state_of(request) == "expired"


def test_request_that_is_not_mine_to_see_is_not_found(office: Office) -> None:
    request = office.asks()
    client = office.signed_in("user:zoe")
    assert client.get(f"/requests/{request.request_id}").status == 404
    assert client.get(f"/runs/{request.run_id}").status == 404
    assert client.get("/requests/nonsense").status in (400, 404)


@pytest.mark.parametrize("form", [{"verdict": "maybe"}, {"verdict": "deny", "reason": "a" * 2001}])
def test_answer_that_is_none_is_refused(office: Office, form: dict[str, str]) -> None:
    request = office.asks()
    client = office.signed_in(BEN)
    action = f"/requests/{request.request_id}/answer"
    given = fields(client.get(f"/requests/{request.request_id}"), action)
    assert client.post(action, {**given, **form}).status == 400
    assert office.state_of(request) == "pending"


def test_run_page_tells_everything_of_a_run(office: Office) -> None:
    lease = office.lease()
    office.stage.use(lease, "ticket.update", key="u1")
    request = office.asks(lease=lease)
    page = office.signed_in(EVA).get(f"/runs/{lease.lease.run_id}").text
    for words in ("answer T-1", "ticket.update", "Granted but never used", request.request_id, "call.admitted", "<svg"):
        assert words in page
    assert office.signed_in(EVA).get("/runs").text.count(lease.lease.run_id) == 2


def test_lists_are_paged_by_ledger_index(office: Office) -> None:
    client = office.signed_in(EVA)
    office.lease()
    for path in ("/runs", "/leases", "/ledger"):
        assert (
            "No older" in client.get(f"{path}?before=0").text or "Nothing older" in client.get(f"{path}?before=0").text
        )
        assert client.get(f"{path}?before=-1").status == 400
        assert client.get(f"{path}?before=9e9").status == 400


def test_lease_page_says_what_lease_inspect_says_and_revokes(office: Office) -> None:
    lease = office.lease()
    admission = office.stage.admit(lease, "ticket.get")
    client = office.signed_in(EVA)
    page = client.get(f"/leases/{lease.lease.lease_id}")
    for words in (lease.lease.run_id, "ticket.get", "customer asked", "calls", "active"):
        assert words in page.text
    assert "In flight now" in client.get("/stops").text
    reply = client.post("/stops", {**fields(page, "/stops"), "reason": "leak"})
    assert admission.admission_id in reply.text
    assert ">revoked<" in client.get(f"/leases/{lease.lease.lease_id}").text


def test_nobody_without_the_power_is_offered_a_stop(office: Office) -> None:
    lease = office.lease()
    client = office.signed_in(KIM)
    assert 'action="/stops"' not in client.get(f"/leases/{lease.lease.lease_id}").text
    assert 'action="/stops"' not in client.get("/stops").text


def test_hold_stops_and_is_lifted_by_a_person_with_the_power(office: Office) -> None:
    office.lease()
    client = office.signed_in(EVA)
    form = {**fields(client.get("/stops"), "/stops"), "scope": "tool:ticket", "tenant": "acme", "reason": "incident"}
    assert "Nothing was in flight." in client.post("/stops", {**form, "deed": "hold"}).text
    page = client.get("/stops").text
    assert "tool:ticket" in page
    assert "incident" in page
    assert "Lifted" in client.post("/stops", {**form, "deed": "lift"}).text
    assert "Nothing is stopped." in client.get("/stops").text


def test_hold_of_one_run_stands_among_the_others(office: Office) -> None:
    lease = office.lease()
    client = office.signed_in(EVA)
    scope = f"run:{lease.lease.run_id}"
    form = {**fields(client.get(f"/stops?scope={scope}"), "/stops"), "scope": scope, "reason": "odd"}
    client.post("/stops", {**form, "deed": "hold"})
    page = client.get("/stops").text
    assert scope in page
    assert "odd" in page
    assert "in force" in page
    assert ">held<" in client.get(f"/runs/{lease.lease.run_id}").text


@pytest.mark.parametrize(
    "form",
    [
        {"deed": "explode", "scope": "all", "reason": "x"},
        {"deed": "hold", "scope": "everything", "reason": "x"},
        {"deed": "hold", "scope": "all", "reason": "  "},
        {"deed": "hold", "scope": "all"},
    ],
)
def test_stop_that_is_none_is_refused(office: Office, form: dict[str, str]) -> None:
    client = office.signed_in(EVA)
    assert client.post("/stops", {**fields(client.get("/stops"), "/stops"), **form}).status == 400
    assert office.stage.desk.standing() == ()


def test_ledger_search_stands_in_its_address(office: Office) -> None:
    lease = office.lease()
    office.stage.use(lease, "ticket.update", "T-5", key="u1")
    client = office.signed_in(EVA)
    page = client.get("/ledger?action=ticket.update&attribute=ticket%3DT-5&person=" + quote(KIM)).text
    assert "call.admitted" in page
    assert "run.started" not in page
    assert 'value="ticket=T-5"' in page
    assert "Nothing meets all of this." in client.get("/ledger?agent=nobody").text
    assert "No role of yours can query" in office.signed_in(BEN).get("/ledger").text
    for condition in (
        "since=soon",
        "attribute=ticket",
        "attribute=rows:%3Dmany",
        "decision=perhaps",
        "key=" + "a" * 301,
    ):
        assert client.get(f"/ledger?{condition}").status == 400


def test_ledger_entry_can_be_read_whole(office: Office) -> None:
    office.lease()
    client, size = office.signed_in(EVA), len(office.stage.entries())
    for index in range(size):
        assert f"Entry {index}" in client.get(f"/ledger/{index}").text
    assert "first policy of a fresh state" in client.get("/ledger/0").text
    assert client.get("/ledger/100000").status == 404
    assert client.get("/ledger/-1").status == 400
    assert office.signed_in(KIM).get("/ledger/0").status == 404  # of the whole authority, and she watches one tenant


def test_policy_page_explains_each_cell(office: Office) -> None:
    client = office.signed_in(EVA)
    page = client.get("/policy").text
    for words in ("each call × 2", "free", "laxer", "not offered"):
        assert words in page
    cell = client.get("/policy?route=desk&action=ticket.erase").text
    assert "2 people have to agree to each call" in cell
    assert "does not offer it" in client.get("/policy?route=solo&action=ticket.erase").text
    assert "<dt>Clients</dt>" not in cell
    runs = 'agents = ["bot"], routes = ["desk"], tenants = ["*"], environments = ["*"]'
    office.stage.accept(f"{TEXT}\n[clients.launcher]\nruns = {{ {runs} }}\n")
    assert "launcher" in client.get("/policy?route=desk&action=ticket.erase").text.partition("<dt>Clients</dt>")[2]
    assert "launcher" not in client.get("/policy?route=solo&action=ticket.close").text
    assert client.get("/policy?route=nowhere&action=ticket.erase").status == 404
