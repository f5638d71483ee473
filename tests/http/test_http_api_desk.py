"""People at the API's Desk: their key signs each request, and they see and do what they may in the console."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest

from api_house import ApiHouse, Person, api_house
from clients import HOST
from leasehold.ledger.entry import EntryKind
from leasehold.model.canonical import encode
from leasehold.model.request import Request, Verdict
from leasehold.token.person import AnswerStatement
from stage import BEN, EVA, KIM

CLOSE = {"ticket.close": {"ticket": ["T-1"]}}
NEVER = "_01JZ8Q5X0M3V7K2N9B4C6D8E0F"


@pytest.fixture
def house() -> Iterator[ApiHouse]:
    with api_house() as house:
        yield house


def waiting(house: ApiHouse, tenant: str = "acme", ticket: str = "T-1") -> Request:
    run = house.stage.start(tenant=tenant)
    return house.stage.authority.request(run, {"ticket.close": {"ticket": [ticket]}}, reason="customer asked")


def answer(house: ApiHouse, person: Person, request: Request, verdict: Verdict = Verdict.APPROVE) -> dict[str, Any]:
    """The body of an answer to the card that the person looked at."""
    card = person.get(f"/v1/desk/requests/{request.request_id}/card").json
    now = house.stage.system.now().seconds
    statement = AnswerStatement(
        request_id=request.request_id,
        card_digest=card["footer"]["card_digest"],
        verdict=verdict,
        answered_at=now,
        person=person.name,
    )
    return {
        "verdict": verdict,
        "card_digest": statement.card_digest,
        "shown": hashlib.sha256(encode(card["card"])).hexdigest(),
        "answered_at": now,
        "signature": statement.sign(person.key),
        "reason": "seen",
    }


def test_person_reads_a_card_and_answers_it(house: ApiHouse) -> None:
    request, ben = waiting(house), house.person(BEN)
    items = ben.get("/v1/desk/requests").json["items"]
    assert [item["request"]["request_id"] for item in items] == [request.request_id]
    assert (items[0]["refusal"], items[0]["missing"]) == (None, 1)
    path = f"/v1/desk/requests/{request.request_id}/answer"
    body = answer(house, ben, request)
    told = ben.post(path, body)
    assert told.json == {"state": "approved", "approvals_missing": 0}
    assert house.stage.entries(EntryKind.REQUEST_ANSWERED)[-1].detail["proof"] == "key"
    again = ben.post(path, body)
    assert (again.status, again.code) == (409, "not_pending")


def test_answer_counts_only_with_the_signature_of_who_asks(house: ApiHouse) -> None:
    request, ben, eva = waiting(house), house.person(BEN), house.person(EVA)
    path = f"/v1/desk/requests/{request.request_id}/answer"
    body = answer(house, ben, request)
    assert eva.post(path, body).code == "bad_signature"
    assert ben.post(path, body | {"verdict": "deny"}).code == "bad_signature"
    assert ben.post(path, body | {"signature": "x"}).code == "bad_signature"
    assert ben.post(path, body | {"card_digest": "x"}).code == "invalid"
    assert ben.post(path, body | {"shown": "0" * 64}).code == "card_changed"
    assert ben.post(path, body | {"shown": "0"}).code == "invalid"
    assert ben.post(path, {name: body[name] for name in body if name != "shown"}).code == "invalid"
    assert ben.post(path, body | {"verdict": "maybe"}).code == "invalid"
    assert ben.post(f"/v1/desk/requests/req{NEVER}/answer", body).status == 404
    assert house.stage.desk.pending() == (request,)


def test_powers_of_roles_hold_as_in_the_console(house: ApiHouse) -> None:
    kim, eva = house.person(KIM), house.person(EVA)
    run = house.stage.start()
    body = {"scope": f"run:{run.run_id}", "reason": "leak"}
    for act in ("revoke", "hold", "lift"):
        assert kim.post(f"/v1/desk/{act}", body).code == "not_entitled"
    held = eva.post("/v1/desk/hold", {"scope": "tool:ticket", "reason": "look"})
    assert held.json == {"scope": "tool:ticket", "in_flight": [], "unreadable": []}
    (stop,) = eva.get("/v1/desk/stops").json["items"]
    assert (stop["scope"], stop["kind"], stop["by"], stop["reason"]) == ("tool:ticket", "hold", EVA, "look")
    assert [stop["scope"] for stop in kim.get("/v1/desk/stops").json["items"]] == ["tool:ticket"]
    assert eva.post("/v1/desk/lift", {"scope": "tool:ticket", "reason": "fine"}).json["scope"] == "tool:ticket"
    lease = house.stage.lease()
    admission = house.stage.admit(lease, "ticket.update", key="a")
    revoked = eva.post("/v1/desk/revoke", {"scope": f"run:{lease.lease.run_id}", "reason": "leak"})
    assert [call["admission_id"] for call in revoked.json["in_flight"]] == [admission.admission_id]
    assert eva.post("/v1/desk/hold", {"scope": "nothing", "reason": "x"}).code == "invalid"


def test_person_sees_only_what_they_may(house: ApiHouse) -> None:
    kim, ben = house.person(KIM), house.person(BEN)
    here, there = waiting(house), waiting(house, "globex")
    seen = [item["request"]["request_id"] for item in kim.get("/v1/desk/requests").json["items"]]
    assert seen == [here.request_id]
    assert kim.get(f"/v1/desk/requests/{there.request_id}/card").status == 404
    lease = house.stage.lease(run=house.stage.start(tenant="globex")).lease
    assert kim.get(f"/v1/desk/leases/{lease.lease_id}").status == 404
    assert ben.get(f"/v1/desk/leases/{lease.lease_id}").json["status"] == "active"
    assert {entry["tenant"] for entry in kim.get("/v1/desk/entries").json["items"]} == {"acme"}
    assert kim.get("/v1/desk/entries?tenant=globex").json["items"] == []
    assert ben.get("/v1/desk/entries").json == {"items": [], "next": ""}


def test_entries_and_inbox_come_in_pages(house: ApiHouse) -> None:
    eva = house.person(EVA)
    requests = [waiting(house, ticket=f"T-{number}").request_id for number in range(3)]
    first = eva.get("/v1/desk/requests?limit=2").json
    rest = eva.get(f"/v1/desk/requests?limit=2&after={first['next']}").json
    found = [item["request"]["request_id"] for item in (*first["items"], *rest["items"])]
    assert (found, rest["next"]) == (requests, "")
    indexes: list[int] = []
    path = "/v1/desk/entries?limit=3"
    while path:
        page = eva.get(path).json
        indexes += [entry["index"] for entry in page["items"]]
        path = f"/v1/desk/entries?limit=3&before={page['next']}" if page["next"] else ""
    assert indexes == sorted(indexes, reverse=True)
    assert len(set(indexes)) == len(indexes) == len(house.stage.entries())
    assert eva.get("/v1/desk/entries?limit=201").code == "invalid"
    assert eva.get(f"/v1/desk/entries?run=run{NEVER}&action=a&decision=deny").json["items"] == []


def test_lease_is_shown_as_doors_judge_it(house: ApiHouse) -> None:
    lease, eva = house.stage.lease(), house.person(EVA)
    house.stage.use(lease, "ticket.update", key="a")
    told = eva.get(f"/v1/desk/leases/{lease.lease.lease_id}").json
    assert (told["status"], told["left"]["calls"]) == ("active", 19_000_000)
    house.stage.hold(f"run:{lease.lease.run_id}")
    assert eva.get(f"/v1/desk/leases/{lease.lease.lease_id}").json["status"] == "held"


def test_client_has_no_desk_and_a_person_no_runs(house: ApiHouse) -> None:
    assert house.program(HOST).get("/v1/desk/requests").status == 401
    assert house.person(EVA).get(f"/v1/runs/run{NEVER}").status == 401
