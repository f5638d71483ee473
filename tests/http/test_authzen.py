"""AuthZEN 1.0: the certification fixture, the interoperability payloads, and the Access Request profile."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import pytest
from oauth_house import OAuthHouse

from leasehold.authority.door import EmbeddedDoor
from leasehold.decide.chain import Chain
from leasehold.http.authzen import deciding
from leasehold.ledger.entry import EntryKind
from leasehold.ledger.history import check_history
from leasehold.model.call import Call
from leasehold.model.request import Verdict
from served import Browser, Reply, served
from stage import ANA, BEN

# The fixture of certification/authorization-api-1_0-scenario.md (openid/authzen), as a policy and two people's leases.
FIXTURE = """\
version = 1
authority = "authzen"
[people]
"user:ana" = ["lead"]
"user:ben" = ["lead"]
[actions]
"record.read"   = { effect = "read", args = { record = "resource.id" } }
"record.write"  = { effect = "write", args = { record = "resource.id" }, key = ["record"] }
"record.delete" = { effect = "destructive", args = { record = "resource.id", soft = "action.properties.soft" }, key = ["record"] }
"record.share"  = { effect = "write", args = { record = "resource.id" }, key = ["record"] }
"record.tool"   = { effect = "write", args = { name = "name" } }
[routes."records"]
for = { agents = ["app"], tenants = ["acme"], environments = ["prod"] }
allow."record.read" = { record = ["**"] }
allow."record.write" = { record = ["**"] }
allow."record.delete" = { record = ["**"], soft = [true, false] }
allow."record.share" = { record = ["**"] }
allow."record.tool" = { name = ["**"] }
approve."record.write" = "none"
approve."record.delete" = "none"
approve."record.share" = "call"
approve."record.tool" = "none"
approvers = ["lead"]
[clients."record-door"]
door = { tool = "record", environment = "prod" }
[clients."todo-door"]
door = { tool = "todo", environment = "prod" }
[clients."staging-door"]
door = { tool = "record", environment = "staging" }
[clients."launcher"]
runs = { agents = ["app"], routes = ["records"], tenants = ["acme"], environments = ["prod"] }
"""  # noqa: E501 - a policy is read by the line

TODO = """
[actions]
"todo.can_read_user"   = { effect = "read", args = { user = "resource.id" } }
"todo.can_read_todos"  = { effect = "read" }
"todo.can_create_todo" = { effect = "write", args = { todo = "resource.id" }, key = ["todo"] }
"todo.can_update_todo" = { effect = "write", args = { todo = "resource.id", owner = "resource.properties.ownerID" }, key = ["todo"] }
"todo.can_delete_todo" = { effect = "write", args = { todo = "resource.id", owner = "resource.properties.ownerID" }, key = ["todo"] }
"""  # noqa: E501 - a policy is read by the line
TODO_ROUTE = """
[routes."todos"]
for = { agents = ["app"], tenants = ["acme"], environments = ["prod"] }
allow."todo.can_read_user" = { user = ["**"] }
allow."todo.can_read_todos" = {}
allow."todo.can_create_todo" = { todo = ["**"] }
allow."todo.can_update_todo" = { todo = ["**"], owner = ["**"] }
allow."todo.can_delete_todo" = { todo = ["**"], owner = ["**"] }
approve."todo.can_create_todo" = "none"
approve."todo.can_update_todo" = "none"
approve."todo.can_delete_todo" = "none"
"""
TEXT = FIXTURE.replace("[actions]\n", TODO.lstrip("\n"), 1) + TODO_ROUTE

ALICE, BOB = {"type": "user", "id": "alice"}, {"type": "user", "id": "bob"}
ONE, TWO = {"type": "record", "id": "record-1"}, {"type": "record", "id": "record-2"}
READ, WRITE = {"name": "read"}, {"name": "write"}
LEASES = {
    "user:alice": {
        "record.read": {"record": ["record-1"]},
        "record.write": {"record": ["record-1"]},
        "record.delete": {"record": ["record-1"], "soft": [True]},
        "record.share": {"record": ["record-1"]},
        "record.tool": {"name": ["x"]},
    },
    "user:bob": {"record.read": {"record": ["record-1"]}, "record.write": {"record": ["record-2"]}},
}


class Records(OAuthHouse):
    """The fixture behind a server."""

    def __init__(self) -> None:
        super().__init__(TEXT)
        clients = self.stage.authority.clients
        named = ("record-door", "todo-door", "staging-door", "launcher")
        self.keys = {name: clients.add_key(name, ttl_seconds=86_400, by="op") for name in named}
        for person, allow in LEASES.items():
            self.lease(person, "records", allow)

    def lease(self, person: str, route: str, allow: Mapping[str, Mapping[str, object]], *, tenant: str = "acme") -> str:
        """A run for somebody, and its lease."""
        start = self.stage.authority.start
        run = start(agent="app", route=route, tenant=tenant, environment="prod", requested_by=person, purpose="work")
        request = self.stage.authority.request(run, allow, reason="work")
        return self.stage.authority.wait(request, 5).lease.lease_id

    def ask(self, path: str, body: object, client: str = "record-door", **headers: str) -> Reply:
        """Send JSON as a gateway does."""
        usual = {"Content-Type": "application/json", "Authorization": f"Bearer {self.secret(client)}"}
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        method = "GET" if body == b"" and "requests/" in path else "POST"
        return Browser(self.port).send(method, f"/access/v1/{path}", text, {**usual, **headers})

    def decide(self, subject: object, action: object, resource: object, **more: object) -> bool:
        return self.answer(subject, action, resource, **more)["decision"] is True

    def answer(self, subject: object, action: object, resource: object, **more: object) -> dict[str, object]:
        body = {"subject": subject, "action": action, "resource": resource, **more}
        reply = self.ask("evaluation", body)
        assert (reply.status, reply.headers["content-type"]) == (200, "application/json"), reply.text
        return json.loads(reply.text)


@pytest.fixture
def records() -> Iterator[Records]:
    house = Records()
    with served(house.build) as port:
        house.port = port
        yield house
        house.streams.close()
    assert check_history(house.stage.entries()) == []
    house.stage.close()


# Certification


def test_the_decisions_of_the_fixture_with_identifiers_and_with_properties(records: Records) -> None:
    archived = TWO | {"properties": {"status": "archived"}}
    admin = BOB | {"properties": {"role": "admin"}}
    before = len(records.stage.entries())
    for subject, action, resource, expected in (
        (ALICE, READ, ONE, True),
        (ALICE, WRITE, ONE, True),
        (BOB, READ, ONE, True),
        (BOB, WRITE, ONE, False),
        (ALICE, WRITE, archived, False),
        (admin, WRITE, archived, True),
        (ALICE, {"name": "delete", "properties": {"soft": True}}, ONE, True),
        (ALICE, {"name": "delete", "properties": {"soft": False}}, ONE, False),
        (ALICE | {"properties": {"department": "Sales"}}, READ | {"properties": {"method": "GET"}}, ONE, True),
    ):
        for _ in range(2):
            assert records.decide(subject, action, resource) is expected
    assert records.decide(ALICE, READ, ONE, context={"time": "2025-06-27T18:03-07:00", "ip": "192.168.1.1"})
    assert records.decide(ALICE, READ, ONE, foo="bar", futureField={"nested": True})
    assert len(records.stage.entries()) == before
    assert records.stage.authority.engine.store.queries.open_calls(["acme"]) == ()


@pytest.mark.case(118)
@pytest.mark.parametrize("path", ["evaluation", "evaluations"])
def test_what_cannot_be_read_is_400_and_names_what_is_wrong(records: Records, path: str) -> None:
    good = {"subject": ALICE, "action": READ, "resource": ONE}
    for body in (
        *({name: value for name, value in good.items() if name != left} for left in good),
        good | {"subject": {"id": "alice"}},
        good | {"subject": {"type": "user"}},
        good | {"action": {}},
        good | {"resource": {"id": "record-1"}},
        good | {"resource": {"type": "record"}},
        good | {"subject": "alice"},
        good | {"action": {"name": 123}},
        good | {"action": {"name": "no verb!"}},
        good | {"context": {"idempotency_key": 7}},
        good | {"context": []},
        b"{",
        b"",
        b"[]",
        b'{"subject": 1, "subject": 2}',
    ):
        reply = records.ask(path, body)
        assert (reply.status, json.loads(reply.text)["type"]) == (400, "urn:leasehold:problem:invalid"), body
    for kind in ("text/plain", "", "application/x-www-form-urlencoded"):
        assert records.ask(path, good, Content_Type=kind).status == 400


def test_the_callers_own_number_comes_back(records: Records) -> None:
    good = {"subject": ALICE, "action": READ, "resource": ONE}
    assert records.ask("evaluation", good, X_Request_ID="a-1").headers["x-request-id"] == "a-1"
    assert len(records.ask("evaluation", good).headers["x-request-id"]) == 16
    assert records.ask("evaluation", good, X_Request_ID="x y").headers["x-request-id"] != "x y"
    assert records.ask("evaluation", b"{", X_Request_ID="a-2").headers["x-request-id"] == "a-2"


def test_a_batch_answers_in_order_each_with_what_the_batch_says_for_all(records: Records) -> None:
    def decisions(**body: object) -> list[bool]:
        reply = records.ask("evaluations", body)
        assert reply.status == 200, reply.text
        return [one["decision"] for one in json.loads(reply.text)["evaluations"]]

    actions = [{"action": READ}, {"action": WRITE}]
    assert decisions(subject=BOB, resource=ONE, evaluations=actions) == [True, False]
    resources = [{"resource": ONE}, {"resource": TWO}]
    assert decisions(subject=ALICE, action=WRITE, evaluations=resources) == [True, False]
    three = [{"action": WRITE}, {"action": READ}, {"action": WRITE}]
    for semantic, expected in (
        ("execute_all", [False, True, False]),
        ("deny_on_first_deny", [False]),
        ("permit_on_first_permit", [False, True]),
    ):
        options = {"evaluations_semantic": semantic}
        assert decisions(subject=BOB, resource=ONE, evaluations=three, options=options) == expected
    single = json.loads(records.ask("evaluations", {"subject": ALICE, "action": READ, "resource": ONE}).text)
    assert single == {"decision": True}
    for wrong in (
        {"evaluations": 1},
        {"evaluations": [1]},
        {"evaluations": [{}] * 101},
        {"options": {"evaluations_semantic": "x"}},
    ):
        body = {"subject": ALICE, "action": READ, "resource": ONE, **wrong}
        assert records.ask("evaluations", body).status == 400


def test_the_metadata_names_the_endpoints_that_there_are(records: Records) -> None:
    found = json.loads(Browser(records.port).get("/.well-known/authzen-configuration").text)
    assert found["policy_decision_point"] == records.origin
    for name in ("access_evaluation_endpoint", "access_evaluations_endpoint", "access_request_endpoint"):
        path = found[name].removeprefix(f"{records.origin}/access/v1/")
        assert records.ask(path, b"{").status == 400
    assert found["capabilities"] == ["urn:openid:authzen:capability:access-request"]


# Interoperability: the 40 + 3 cases of interop/authzen-todo-backend, from the table that they stand for.

_ID = "CiRmZD{}2MTRkMy1jMzlhLTQ3ODEtYjdiZC04Yjk2ZjVhNTEwMGQSBWxvY2Fs"
RICK, MORTY, SUMMER, BETH, JERRY = (_ID.format(letter) for letter in "AEIMQ")
TODOS = {
    MORTY: ("7240d0db-8ff0-41ec-98b2-34a096273b91", "morty@the-citadel.com"),
    RICK: ("7240d0db-8ff0-41ec-98b2-34a096273b92", "rick@the-citadel.com"),
    SUMMER: ("7240d0db-8ff0-41ec-98b2-34a096273b93", "summer@the-smiths.com"),
    BETH: ("7240d0db-8ff0-41ec-98b2-34a096273b94", "beth@the-smiths.com"),
    JERRY: ("7240d0db-8ff0-41ec-98b2-34a096273b95", "jerry@the-smiths.com"),
}
EDITORS = (MORTY, SUMMER)


def granted(person: str) -> dict[str, dict[str, object]]:
    """What the application's roles mean as a lease: rick is an evil genius, two edit what is theirs, two look."""
    looks: dict[str, dict[str, object]] = {"todo.can_read_user": {"user": ["**"]}, "todo.can_read_todos": {}}
    owner = ["**"] if person == RICK else [TODOS[person][1]]
    edits = {name: {"todo": ["**"], "owner": owner} for name in ("todo.can_update_todo", "todo.can_delete_todo")}
    creates = {"todo.can_create_todo": {"todo": ["**"]}}
    return looks | (creates | edits if person in (RICK, *EDITORS) else {})


def todo(person: str) -> dict[str, object]:
    todo_id, owner = TODOS[person]
    return {"type": "todo", "id": todo_id, "properties": {"ownerID": owner}}


def test_the_interoperability_payloads_of_the_todo_application_are_decided_as_expected(records: Records) -> None:
    for person in TODOS:
        records.lease(f"user:{person}", "todos", granted(person))

    def decisions(path: str, body: object) -> object:
        reply = records.ask(path, body, "todo-door")
        assert reply.status == 200, reply.text
        return json.loads(reply.text)

    asked = 0
    for person, (_, mail) in TODOS.items():
        edits, all_edits = person in (RICK, *EDITORS), person == RICK
        other = MORTY if person == RICK else RICK
        for action, resource, expected in (
            ("can_read_user", {"type": "user", "id": "beth@the-smiths.com"}, True),
            ("can_read_user", {"type": "user", "id": mail}, True),
            ("can_read_todos", {"type": "todo", "id": "todo-1"}, True),
            ("can_create_todo", {"type": "todo", "id": "todo-1"}, edits),
            ("can_update_todo", todo(other), all_edits),
            ("can_update_todo", todo(person), edits),
            ("can_delete_todo", todo(other), all_edits),
            ("can_delete_todo", todo(person), edits),
        ):
            body = {"subject": {"type": "user", "id": person}, "action": {"name": action}, "resource": resource}
            assert decisions("evaluation", body)["decision"] is expected, body
            asked += 1
    assert asked == 40
    for person, owners, expected in (
        (RICK, (RICK, JERRY), [True, True]),
        (MORTY, (RICK, MORTY), [False, True]),
        (JERRY, (RICK, JERRY), [False, False]),
    ):
        body = {
            "subject": {"type": "user", "id": person},
            "action": {"name": "can_update_todo"},
            "evaluations": [{"resource": todo(owner)} for owner in owners],
        }
        assert [one["decision"] for one in decisions("evaluations", body)["evaluations"]] == expected


# Whose question it is


def test_of_who_has_many_runs_so_many_leases_are_looked_at_and_those_of_the_newest_runs(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deciding, "_MOST_LEASES", 2)
    asked, rehearse = [], EmbeddedDoor.rehearse

    def counted(door: EmbeddedDoor, chain: Chain, call: Call) -> object:
        asked.append(chain[-1].lease.lease_id)
        return rehearse(door, chain, call)

    monkeypatch.setattr(EmbeddedDoor, "rehearse", counted)
    assert records.decide(ALICE, READ, ONE)
    todos = {"todo.can_read_todos": {}}
    tool, _ = (
        records.lease("user:alice", "records", {"record.tool": {"name": ["y"]}}),
        records.lease("user:alice", "todos", todos),
    )
    asked.clear()
    assert not records.decide(ALICE, READ, ONE)
    assert asked == [tool], "the newest run's lease is not of this door, and the oldest one's is past the bound"


@pytest.mark.case(10)
@pytest.mark.invariant("I10")
def test_of_a_lease_for_another_door_nothing_is_told_not_even_where_it_is_for(records: Records) -> None:
    lease_id = records.lease("user:alice", "records", {"record.read": {"record": ["record-9"]}})
    run_id = records.stage.authority.engine.chain("acme", lease_id)[-1].run.run_id
    question = {"action": READ, "resource": ONE}
    strangers = [{"type": "lease", "id": "lease_01JZ8Q5X0M3V7K2N9B4C6D8E0F"}, {"type": "user", "id": "nobody"}]
    told = set()
    for client in ("staging-door", "todo-door"):
        for subject in ({"type": "lease", "id": lease_id}, {"type": "run", "id": run_id}, *strangers):
            told.add(records.ask("evaluation", question | {"subject": subject}, client).text)
    assert len(told) == 1, told


@pytest.mark.invariant("I10")
def test_a_lease_in_one_tenant_says_nothing_of_a_resource_in_another(records: Records) -> None:
    both = TEXT.replace(
        'tenants = ["acme"], environments = ["prod"] }\nallow', 'tenants = ["*"], environments = ["prod"] }\nallow'
    )
    records.stage.accept(both)
    records.lease("user:alice", "records", {"record.read": {"record": ["record-5"]}}, tenant="globex")
    five = {"type": "record", "id": "record-5"}
    for resource in (ONE, five):
        why = records.answer(ALICE, READ, resource)
        assert (why["decision"], "context.tenant" in why["context"]["enough"]) == (False, True)
    for tenant, resource, expected in (
        ("acme", ONE, True),
        ("globex", ONE, False),
        ("acme", five, False),
        ("globex", five, True),
        ("initech", five, False),
        (["acme"], ONE, False),
    ):
        assert records.decide(ALICE, READ, resource, context={"tenant": tenant}) is expected


@pytest.mark.case(118)
def test_a_batch_about_who_has_many_leases_is_no_way_to_keep_the_server_at_work(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deciding, "_MOST_LOOKED_AT", 3)
    records.lease("user:bob", "records", {"record.read": {"record": ["record-8"]}})
    asked = {"subject": BOB, "action": READ, "evaluations": [{"resource": ONE}] * 3}
    found = json.loads(records.ask("evaluations", asked).text)["evaluations"]
    assert [one["decision"] for one in found] == [True, False, False]
    assert found[-1]["context"]["reason"] == "too_large"


def test_what_people_could_lift_is_told_whatever_other_leases_lack(records: Records) -> None:
    records.lease("user:bob", "records", {"record.share": {"record": ["record-7"]}})
    why = records.answer(BOB, {"name": "share"}, {"type": "record", "id": "record-7"})
    assert (why["context"]["reason"], "access_request" in why["context"]) == ("approval_needed", True)


@pytest.mark.case(10)
def test_only_a_door_asks_and_only_about_itself(records: Records) -> None:
    good = {"subject": ALICE, "action": READ, "resource": ONE}
    assert json.loads(records.ask("evaluation", good, "staging-door").text)["decision"] is False
    assert json.loads(records.ask("evaluation", good, "todo-door").text)["decision"] is False
    full = good | {"action": {"name": "record.read"}}
    assert json.loads(records.ask("evaluation", full).text)["decision"] is True
    assert json.loads(records.ask("evaluation", full, "todo-door").text)["decision"] is False
    assert records.ask("evaluation", good, "launcher").status == 403
    for header in ("", "Basic eDp5", "Bearer lhk_x", "Bearer", f"Bearer {records.secret('record-door')}x"):
        reply = records.ask("evaluation", good, Authorization=header)
        error = ', error="invalid_token"' if header else ""
        assert (reply.status, reply.headers["www-authenticate"]) == (401, f'Bearer realm="leasehold"{error}')


def test_a_lease_or_a_run_may_be_named_and_only_one_that_is_alive_counts(records: Records) -> None:
    lease_id = records.lease("user:alice", "records", {"record.read": {"record": ["record-9"]}})
    run_id = records.stage.authority.engine.chain("acme", lease_id)[-1].run.run_id
    nine = {"type": "record", "id": "record-9"}
    for subject in (
        {"type": "lease", "id": lease_id},
        {"type": "run", "id": run_id},
        ALICE,
        {"type": "p", "id": "user:alice"},
    ):
        assert records.decide(subject, READ, nine)
    for subject in ({"type": "lease", "id": "x"}, {"type": "run", "id": "x"}, {"type": "lease", "id": run_id}, BOB):
        assert not records.decide(subject, READ, nine)
    records.stage.revoke(f"lease:{lease_id}")
    why = records.answer({"type": "lease", "id": lease_id}, READ, nine)
    assert (why["decision"], why["context"]["reason"]) == (False, "revoked")
    assert not records.decide(ALICE, READ, nine)


def test_the_tools_own_arguments_are_judged_where_the_context_has_them(records: Records) -> None:
    tool = {"type": "tool", "id": "record"}
    for name, expected in (("x", True), ("y", False)):
        context = {"arguments": {"name": name}, "idempotency_key": "k1"}
        assert records.decide(ALICE, {"name": "tool"}, tool, context=context) is expected
    why = records.answer(ALICE, {"name": "tool"}, tool, context={"arguments": {"name": "x"}})
    assert why["context"]["reason"] == "key_needed"


# Access requests


def test_people_are_asked_and_their_yes_counts_at_the_next_evaluation(records: Records) -> None:
    question = {"subject": ALICE, "action": {"name": "share"}, "resource": ONE}
    refused = records.answer(**question)
    hint = refused["context"]["access_request"]
    assert (refused["decision"], refused["context"]["reason"]) == (False, "approval_needed")
    assert "req_" not in json.dumps(refused), "nobody was asked yet"
    assert hint["endpoint"] == f"{records.origin}/access/v1/requests"
    assert records.stage.authority.engine.store.queries.pending_requests(["acme"]) == ()
    asked = question | {"denial": {"binding_token": hint["binding_token"], "expires_at": hint["expires_at"]}}
    reply = records.ask("requests", asked)
    task = json.loads(reply.text)["task"]
    assert (reply.status, task["status"]) == (202, "pending")
    again = json.loads(records.ask("requests", asked).text)["task"]
    assert again["id"] == task["id"]
    path = task["status_endpoint"].removeprefix(f"{records.origin}/access/v1/")
    assert records.ask(path, b"", "todo-door").status == 404
    assert records.ask(path, b"", "staging-door").status == 404
    request = records.stage.authority.find_request(task["id"])
    records.stage.desk.answer(request, Verdict.APPROVE, records.stage.people.signatory(BEN))
    done = json.loads(records.ask(path, b"").text)
    assert (done["task"]["status"], done["result"]["mode"]) == ("approved", "reevaluate")
    approval = done["result"]["approval"]
    assert records.decide(**question, context={"approval": approval})
    assert records.decide(**question)
    for other in ({"id": "req_01JZ8Q5X0M3V7K2N9B4C6D8E0F"}, "x", {}):
        assert not records.decide(**question, context={"approval": other})
    assert records.stage.entries(EntryKind.CALL_ADMITTED) == []
    assert records.ask("requests", asked).status in (403, 409)


@pytest.mark.case(74)
def test_a_request_is_about_exactly_what_was_refused(records: Records) -> None:
    question = {"subject": ALICE, "action": {"name": "share"}, "resource": ONE}
    token = records.answer(**question)["context"]["access_request"]["binding_token"]
    denial = {"denial": {"binding_token": token}}
    for body, client in (
        (question | {"denial": {"binding_token": "x"}}, "record-door"),
        (question | {"denial": {}}, "record-door"),
        (question, "record-door"),
        (question | denial | {"resource": TWO}, "record-door"),
        (question | denial | {"action": WRITE}, "record-door"),
        (question | denial | {"context": {"idempotency_key": "k"}}, "record-door"),
        (question | denial, "staging-door"),
        (question | denial, "todo-door"),
    ):
        assert records.ask("requests", body, client).status == 400
    records.stage.pass_time(600)
    assert records.ask("requests", question | denial).status == 400
    assert records.stage.authority.engine.store.queries.pending_requests(["acme"]) == ()


@pytest.mark.parametrize(("end", "status"), [("deny", "denied"), ("late", "expired"), ("revoke", "cancelled")])
def test_a_task_says_how_it_ended(records: Records, end: str, status: str) -> None:
    question = {"subject": ALICE, "action": {"name": "share"}, "resource": ONE}
    token = records.answer(**question)["context"]["access_request"]["binding_token"]
    task = json.loads(records.ask("requests", question | {"denial": {"binding_token": token}}).text)["task"]
    request = records.stage.authority.find_request(task["id"])
    match end:
        case "deny":
            records.stage.desk.answer(request, Verdict.DENY, records.stage.people.signatory(ANA), reason="no")
        case "late":
            records.stage.pass_time(601)
        case _:
            records.stage.revoke(f"request:{task['id']}")
    found = json.loads(records.ask(f"requests/{task['id']}", b"").text)
    assert (found["task"]["status"], "result" in found) == (status, False)
    for unknown in ("req_01JZ8Q5X0M3V7K2N9B4C6D8E0F", "x"):
        assert records.ask(f"requests/{unknown}", b"").status == 404
