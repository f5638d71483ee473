"""Programs that call over the network do what the policy lets them, with runs of their own, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future

import pytest
from msgspec.structs import replace

from clients import CLIENT_POLICY, GUARD, HOST, ISSUER, MAIL, OTHER, api_key, client_stage, door_of, runs_of, voice_of
from leasehold.authority.client_door import ClientDoor
from leasehold.authority.client_runs import ClientRuns
from leasehold.authority.clients import PresentedKey
from leasehold.authority.desk import KeyHolder
from leasehold.decide import clients
from leasehold.decide.clients import ClientVoice, ForDoor, ForgetSent, ForRun, Remembered, RememberSent, Sending
from leasehold.decide.facts import Changes, Facts, StepAnswer
from leasehold.decide.rows import AUTHORITY_WIDE, SentRow
from leasehold.decide.start import Start
from leasehold.errors import ApprovalNeeded, InvalidError, NotFoundError
from leasehold.ledger.entry import EntryKind
from leasehold.model.call import CallState, Outcome, OutcomeStatus
from leasehold.model.card import card_sha256
from leasehold.model.decision import Reason
from leasehold.model.ids import RunId
from leasehold.model.instant import Instant
from leasehold.model.request import RequestState, Verdict
from leasehold.model.run import RequesterProof, RunAttempt
from leasehold.policy.client_rule import DoorRight
from leasehold.token.person import AnswerStatement
from stage import ANA, BEN, CLOSE, UPDATE, Stage, changed, reason_of

EXACT = {"ticket.close": {"ticket": ["T-1"]}}
DONE = Outcome(status=OutcomeStatus.DONE)
PROD_DOOR = 'door = { tool = "ticket", environment = "prod" }\n[clients."sec'


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = client_stage()
    yield stage
    stage.close()


def start(runs: ClientRuns, **rest: str) -> RunAttempt:
    given = {"agent": "bot", "route": "desk", "tenant": "acme", "environment": "prod", "requested_by": ANA}
    return runs.start(purpose="answer T-1", **(given | rest))


# keys


def test_key_is_shown_once_and_only_its_digest_is_kept(stage: Stage) -> None:
    made = stage.authority.clients.add_key(HOST, ttl_seconds=60, by="op")
    secret = made.text.rpartition("_")[2]
    assert secret not in repr(made)
    (row,) = stage.authority.clients.keys()
    assert (row.client, len(row.digest), row.expires_at - row.made_at) == (HOST, 32, 60)
    assert secret.encode() not in row.digest
    (entry,) = stage.entries(EntryKind.CLIENT_KEY_ADDED)
    assert entry.detail == {"client": HOST, "key": row.key_id, "expires_at": row.expires_at, "by": "op"}


def test_only_clients_of_the_active_policy_get_keys_and_not_for_longer_than_a_year(stage: Stage) -> None:
    assert reason_of(lambda: api_key(stage, "nobody")) is Reason.NOT_FOUND
    for seconds in (0, 366 * 86_400 + 1):
        with pytest.raises(InvalidError):
            api_key(stage, HOST, ttl_seconds=seconds)


@pytest.mark.parametrize("text", ["", "lhk_", "lhk_01JZ8Q5X0M3V7K2N9B4C6D8E0F_short", "lhk_x_" + "a" * 43, "Bearer"])
def test_what_has_not_the_form_of_a_key_is_none(text: str) -> None:
    assert PresentedKey.parse(text) is None


def test_key_of_an_id_that_there_is_already_is_refused(stage: Stage) -> None:
    made = stage.authority.clients.add_key(HOST, ttl_seconds=60, by="op")
    stage.authority.engine.system.new_id = lambda _: f"key_{made.row.key_id}"  # type: ignore[method-assign]
    assert reason_of(lambda: api_key(stage, HOST)) is Reason.CONFLICT


@pytest.mark.parametrize("how", ["removed", "expired", "another secret", "another client's", "unknown", "client gone"])
def test_credential_that_counts_for_nothing_starts_nothing(stage: Stage, how: str) -> None:
    key = api_key(stage, HOST)
    runs, voice = runs_of(stage, HOST, key=key), voice_of(key, HOST)
    run = start(runs)
    match how:
        case "removed":
            stage.authority.clients.remove_key(f"lhk_{voice.key_id}", by="op")
            assert stage.authority.clients.keys() == ()
        case "expired":
            stage.pass_time(3600)
        case "another secret":
            runs = stage.authority.client_runs(replace(voice, digest=bytes(32)))
        case "another client's":
            runs = stage.authority.client_runs(replace(voice, client=OTHER))
        case "unknown":
            runs = stage.authority.client_runs(replace(voice, key_id="01JZ8Q5X0M3V7K2N9B4C6D8E0F"))
        case _:
            stage.accept(changed('[clients."host"]', '[clients."renamed"]', CLIENT_POLICY))
    acts: list[Callable[[], object]] = [
        lambda: start(runs),
        lambda: runs.resume(run.run_id),
        lambda: runs.retry(run),
        lambda: runs.end(run.run, "done", attempt=1),
        lambda: runs.request(run, UPDATE, reason="x"),
    ]
    for act in acts:
        assert reason_of(act) is Reason.UNKNOWN_CLIENT


def test_removing_a_key_twice_finds_nothing(stage: Stage) -> None:
    key = voice_of(api_key(stage, HOST), HOST).key_id
    stage.authority.clients.remove_key(key, by="op")
    assert reason_of(lambda: stage.authority.clients.remove_key(key, by="op")) is Reason.NOT_FOUND
    assert stage.entries(EntryKind.CLIENT_KEY_REMOVED)[0].detail == {"client": HOST, "key": key, "by": "op"}


def test_identity_counts_while_the_policy_names_exactly_it(stage: Stage) -> None:
    identity = stage.authority.engine.active_policy().clients[OTHER].identity
    assert identity is not None
    assert identity.matches(ISSUER, {"sub": "repo:acme/app", "ref": "main", "more": 1})
    assert not identity.matches(ISSUER + "/", {"sub": "repo:acme/app", "ref": "main"})
    assert not identity.matches(ISSUER, {"sub": "repo:acme/app"})
    assert not identity.matches(ISSUER, {"sub": ["repo:acme/app"], "ref": "main"})
    voice = replace(voice_of(api_key(stage, OTHER), OTHER), key_id="", identity=identity)
    runs = stage.authority.client_runs(voice)
    run = start(runs)
    assert runs.resume(run.run_id).attempt == 1
    stage.accept(changed('ref = "main"', 'ref = "release"', CLIENT_POLICY))
    assert reason_of(lambda: start(runs)) is Reason.UNKNOWN_CLIENT
    assert reason_of(lambda: runs.resume(run.run_id)) is Reason.UNKNOWN_CLIENT


@pytest.mark.case(110)
def test_an_address_stands_for_a_client_while_the_policy_lists_exactly_it(stage: Stage) -> None:
    address = "http://127.0.0.1:7777/back"
    with_address = changed(f'[clients."{OTHER}"]', f'[clients."{OTHER}"]\nredirects = ["{address}"]', CLIENT_POLICY)
    stage.accept(with_address)
    voice = ClientVoice(client=OTHER, redirect=address)
    runs = stage.authority.client_runs(voice)
    run = start(runs)
    assert runs.resume(run.run_id).attempt == 1
    for wrong in (
        replace(voice, redirect=f"{address}/"),
        replace(voice, client=HOST),
        replace(voice, client="nobody"),
        replace(voice, key_id="01JZ8Q5X0M3V7K2N9B4C6D8E0F"),
    ):
        assert reason_of(lambda wrong=wrong: start(stage.authority.client_runs(wrong))) is Reason.UNKNOWN_CLIENT
    stage.accept(CLIENT_POLICY)
    assert reason_of(lambda: start(runs)) is Reason.UNKNOWN_CLIENT


def test_the_first_lease_of_a_request_is_had_once_through_the_client_too(stage: Stage) -> None:
    runs = runs_of(stage, HOST)
    request = runs.request(start(runs), UPDATE, reason="x")
    assert runs.submit_first_draw(request).result().lease.request_id == request.request_id
    assert reason_of(lambda: runs.submit_first_draw(request).result()) is Reason.REPLAYED
    assert reason_of(lambda: runs_of(stage, OTHER).submit_first_draw(request).result()) is Reason.NOT_FOUND


# rights


@pytest.mark.parametrize(
    "beyond", [{"agent": "migrator"}, {"route": "staging"}, {"tenant": "initech"}, {"environment": "staging"}]
)
def test_launcher_starts_only_what_its_rule_names(stage: Stage, beyond: dict[str, str]) -> None:
    runs = runs_of(stage, HOST)
    assert reason_of(lambda: start(runs, **beyond)) is Reason.CLIENT_MAY_NOT
    assert stage.entries(EntryKind.RUN_STARTED) == []


def test_guard_starts_no_runs_and_a_launcher_stands_at_no_door(stage: Stage) -> None:
    assert reason_of(lambda: start(runs_of(stage, GUARD))) is Reason.CLIENT_MAY_NOT
    run = stage.start()
    with pytest.raises(NotFoundError):
        runs_of(stage, GUARD).resume(run.run_id)
    lease = stage.lease()
    door = stage.authority.client_door(
        voice_of(api_key(stage, HOST), HOST), DoorRight(tool="ticket", environment="prod")
    )
    assert (
        reason_of(lambda: door.admit(lease.token_for("ticket"), stage.call("ticket.update", key="a")))
        is Reason.CLIENT_MAY_NOT
    )


def test_right_that_was_narrowed_ends_what_was_started_with_it(stage: Stage) -> None:
    runs = runs_of(stage, HOST)
    run = start(runs)
    stage.accept(
        changed(
            'tenants = ["acme", "globex"], environments = ["prod"] }\n[clients."other',
            'tenants = ["globex"], environments = ["prod"] }\n[clients."other',
            CLIENT_POLICY,
        )
    )
    assert reason_of(lambda: runs.request(run, UPDATE, reason="x")) is Reason.CLIENT_MAY_NOT
    assert reason_of(lambda: runs.resume(run.run_id)) is Reason.CLIENT_MAY_NOT


def test_another_clients_run_looks_like_what_never_was(stage: Stage) -> None:
    mine, theirs = runs_of(stage, HOST), runs_of(stage, OTHER)
    run = start(mine)
    request = mine.request(run, UPDATE, reason="x")
    lease = mine.submit_draw(request).result()
    embedded = stage.start()
    reads: list[Callable[[], object]] = [
        lambda: theirs.resume(run.run_id),
        lambda: theirs.find_request(request.request_id),
        lambda: theirs.find_lease(lease.lease.lease_id),
        lambda: mine.resume(embedded.run_id),
    ]
    for read in reads:
        with pytest.raises(NotFoundError):
            read()
    steps: list[Callable[[], object]] = [
        lambda: theirs.retry(run),
        lambda: theirs.request(run, UPDATE, reason="x"),
        lambda: theirs.submit_draw(request).result(),
        lambda: theirs.end(run.run, "done", attempt=1),
        lambda: theirs.start(agent="helper", purpose="x", parent=lease),
    ]
    for step in steps:
        assert reason_of(step) is Reason.NOT_FOUND


def test_run_remembers_the_client_that_started_it_and_so_do_its_children(stage: Stage) -> None:
    runs = runs_of(stage, HOST)
    run = start(runs)
    assert stage.entries(EntryKind.RUN_STARTED)[0].detail["client"] == HOST
    assert runs.look(run.run_id)[1].client == HOST
    lease = runs.submit_draw(runs.request(run, UPDATE, reason="x")).result()
    assert runs.find_lease(lease.lease.lease_id) == lease.lease
    child = runs.start(agent="helper", purpose="look it up", parent=runs.find_lease(lease.lease.lease_id))
    assert runs.look(child.run_id)[1].client == HOST
    assert reason_of(lambda: runs.start(agent="other", purpose="x", parent=lease)) is Reason.CLIENT_MAY_NOT
    runs.end(run.run, "done", attempt=1)
    assert runs.look(child.run_id)[1].state == "finished"


def test_requester_that_a_token_proved_is_written_down_as_proven(stage: Stage) -> None:
    run = runs_of(stage, HOST).start(
        agent="bot",
        route="desk",
        tenant="acme",
        environment="prod",
        requested_by=ANA,
        purpose="x",
        requester_proof=RequesterProof.PROVEN,
    )
    assert run.run.requester_proof == "proven"
    assert stage.entries(EntryKind.RUN_STARTED)[0].detail["requester"] == "proven"
    lease = stage.lease(run=run)
    child = stage.child(lease)
    assert child.run.requester_proof == "proven"


# sending again


def test_same_request_sent_again_answers_the_same_and_does_nothing(stage: Stage) -> None:
    key = api_key(stage, HOST)

    def runs(sent: str, body: str = "body") -> ClientRuns:
        return runs_of(stage, HOST, key=key, sent=sent, body=body)

    run = start(runs("start"))
    request = runs("ask").request(run, UPDATE, reason="x")
    lease = runs("draw").submit_draw(request).result()
    retried = runs("retry").retry(run)
    size = len(stage.entries())
    assert start(runs("start")) == run
    assert runs("ask").request(run, UPDATE, reason="x") == request
    assert runs("draw").submit_draw(request).result() == lease
    assert runs("retry").retry(run) == retried == RunAttempt(run=run.run, attempt=2)
    assert len(stage.entries()) == size


def test_same_key_for_another_request_is_a_conflict(stage: Stage) -> None:
    key = api_key(stage, HOST)
    start(runs_of(stage, HOST, key=key, sent="k", body="one"))
    assert reason_of(lambda: start(runs_of(stage, HOST, key=key, sent="k", body="two"))) is Reason.CONFLICT
    start(runs_of(stage, OTHER, sent="k", body="three"))  # another client's keys are its own


def test_refusal_is_not_remembered(stage: Stage) -> None:
    key = api_key(stage, HOST)
    stage.hold("tenant:acme", tenant="acme")
    assert reason_of(lambda: start(runs_of(stage, HOST, key=key, sent="k"))) is Reason.HELD
    stage.lift("tenant:acme", tenant="acme")
    assert start(runs_of(stage, HOST, key=key, sent="k")).attempt == 1


def test_what_was_sent_before_is_not_told_to_whom_the_key_was_taken_from(stage: Stage) -> None:
    key = api_key(stage, HOST)
    start(runs_of(stage, HOST, key=key, sent="k"))
    stage.authority.clients.remove_key(voice_of(key, HOST).key_id, by="op")
    assert reason_of(lambda: start(runs_of(stage, HOST, key=key, sent="k"))) is Reason.UNKNOWN_CLIENT


# waiting


def test_waiting_for_people_ends_with_their_word_and_with_the_time(stage: Stage) -> None:
    runs = runs_of(stage, HOST)
    run = start(runs)
    request = runs.request(run, EXACT, reason="customer confirmed")
    assert runs.submit_state(request, 0).result(5) is RequestState.PENDING
    waiting, cancelled = runs.submit_state(request, 60_000), runs.submit_state(request, 60_000)
    cancelled.cancel()
    stage.people.approve(request, BEN)
    assert waiting.result(5) is RequestState.APPROVED
    late = runs.request(run, {"ticket.close": {"ticket": ["T-2"]}}, reason="asked for")
    stage.pass_time(601)
    assert runs.submit_state(late, 60_000).result(5) is RequestState.EXPIRED


def test_waiting_ends_when_the_request_is_stopped_or_cannot_be_read(stage: Stage) -> None:
    runs = runs_of(stage, HOST)
    request = runs.request(start(runs), EXACT, reason="customer confirmed")
    lost = replace(request, tenant="globex")
    with pytest.raises(NotFoundError):
        runs.submit_state(lost, 60_000).result(5)
    stage.revoke(f"request:{request.request_id}")
    assert runs.submit_state(request, 60_000).result(5) is RequestState.PENDING


def test_withdrawing_is_for_the_own_request(stage: Stage) -> None:
    runs = runs_of(stage, HOST)
    request = runs.request(start(runs), EXACT, reason="customer confirmed")
    assert reason_of(lambda: runs_of(stage, OTHER).withdraw(request)) is Reason.NOT_FOUND
    assert runs.withdraw(request) is RequestState.WITHDRAWN


# doors


def test_guard_admits_and_settles_at_its_own_door(stage: Stage) -> None:
    lease, door = stage.lease(), door_of(stage, GUARD)
    call = stage.call("ticket.update", key="a")
    admission = door.admit(lease.token_for("ticket"), call)
    assert admission.client == GUARD
    assert stage.entries(EntryKind.CALL_ADMITTED)[0].detail["client"] == GUARD
    assert door.admit(lease.token_for("ticket"), call).admission_id == admission.admission_id
    assert door.settle(admission.admission_id, DONE).state is CallState.DONE
    assert door.settle(admission.admission_id, DONE).state is CallState.DONE
    assert door.submit_settled(admission.admission_id, 0).result(5)


def test_only_the_guard_that_was_admitted_settles(stage: Stage) -> None:
    lease, door, second = stage.lease(), door_of(stage, GUARD), door_of(stage, "second-ticket-door")
    call = stage.call("ticket.update", key="a")
    admission = door.admit(lease.token_for("ticket"), call)
    for other in (second, door_of(stage, MAIL)):
        with pytest.raises(NotFoundError):
            other.settle(admission.admission_id, DONE)
    # one that got hold of the admission in another way is refused in the step
    second._engine.admissions.put((second._client, admission.admission_id), admission)
    assert reason_of(lambda: second.settle(admission.admission_id, DONE)) is Reason.NOT_FOUND
    assert reason_of(lambda: second.admit(lease.token_for("ticket"), call)) is Reason.CONFLICT
    assert door.settle(admission.admission_id, DONE).state is CallState.DONE


def test_open_state_settles_what_a_guard_was_admitted_for(stage: Stage) -> None:
    lease = stage.lease()
    admission = door_of(stage, GUARD).admit(lease.token_for("ticket"), stage.call("ticket.update", key="a"))
    assert stage.settle(admission).state is CallState.DONE


def test_door_that_the_policy_took_away_admits_nothing(stage: Stage) -> None:
    lease, door = stage.lease(), door_of(stage, GUARD)
    stage.accept(changed(PROD_DOOR, PROD_DOOR.replace("prod", "staging"), CLIENT_POLICY))
    assert (
        reason_of(lambda: door.admit(lease.token_for("ticket"), stage.call("ticket.update", key="a")))
        is Reason.CLIENT_MAY_NOT
    )


def test_guard_is_asked_to_wait_for_people_as_embedded(stage: Stage) -> None:
    lease = stage.lease(CLOSE)
    with pytest.raises(ApprovalNeeded):
        door_of(stage, GUARD).submit_admit(lease.token_for("ticket"), stage.call("ticket.close", key="a")).result(5)


def test_clock_that_was_set_back_stops_clients_but_not_their_settlements(stage: Stage) -> None:
    key, door = api_key(stage, HOST), door_of(stage, GUARD)
    run = start(runs_of(stage, HOST, key=key))
    admission = door.admit(stage.lease().token_for("ticket"), stage.call("ticket.update", key="a"))
    stage.system.jump(seconds=-60)
    assert reason_of(lambda: start(runs_of(stage, HOST, key=key))) is Reason.CLOCK
    assert reason_of(lambda: start(runs_of(stage, HOST, key=key, sent="k"))) is Reason.CLOCK
    assert reason_of(lambda: api_key(stage, HOST)) is Reason.CLOCK
    stage.authority.clients.remove_key(voice_of(key, HOST).key_id, by="op")
    assert door.settle(admission.admission_id, DONE).state is CallState.DONE
    assert run.attempt == 1


def test_admission_is_read_as_it_stands(stage: Stage) -> None:
    lease, door = stage.lease(), door_of(stage, GUARD)
    admission = door.admit(lease.token_for("ticket"), stage.call("ticket.update", key="a"))
    assert door.is_at_hand(lease.token_for("ticket"))
    assert door.is_known(admission.admission_id)
    assert not door.is_at_hand("a.b.c")
    assert door.look(admission.admission_id) == (CallState.ADMITTED, None, None)
    stage.hold("tool:ticket", tenant="acme")
    state, refusal, end = door.look(admission.admission_id)
    assert (state, refusal and refusal.reason, end) == (CallState.ADMITTED, Reason.HELD, None)
    door.settle(admission.admission_id, DONE)
    state, _, end = door.look(admission.admission_id)
    assert (state, end and end.reason) == (CallState.DONE, Reason.ENDED)
    with pytest.raises(NotFoundError):
        door.look(stage.door().new_admission_id())


def test_who_stands_at_another_door_by_now_or_has_no_credential_reads_nothing(stage: Stage) -> None:
    """What is read has no step that would ask."""
    key = api_key(stage, GUARD)
    lease, door = stage.lease(), door_of(stage, GUARD, key=key)
    call = stage.call("ticket.update", key="a")
    admission_id = door.admit(lease.token_for("ticket"), call).admission_id
    moved = changed(PROD_DOOR, PROD_DOOR.replace("prod", "staging"), CLIENT_POLICY)
    for text, reason in ((moved, Reason.CLIENT_MAY_NOT), (CLIENT_POLICY, Reason.UNKNOWN_CLIENT)):
        stage.accept(text)
        if reason is Reason.UNKNOWN_CLIENT:
            stage.authority.clients.remove_key(voice_of(key, GUARD).key_id, by="op")
        assert reason_of(lambda: door.look(admission_id)) is reason


def test_key_holder_is_not_signed_in(stage: Stage) -> None:
    ben = stage.people.signatory(BEN)
    desk = stage.authority.person_desk(KeyHolder(person=BEN, voice=ben.voice))
    request = stage.authority.request(stage.start(), EXACT, reason="x")
    assert desk.waiting(request.request_id).proof is None
    assert reason_of(lambda: desk.session) is Reason.NOT_SIGNED_IN
    assert reason_of(lambda: desk.answer(request.request_id, Verdict.APPROVE, card_digest="x")) is Reason.NOT_SIGNED_IN
    said = AnswerStatement(
        request_id=request.request_id,
        card_digest=request.card_digest,
        verdict=Verdict.APPROVE,
        answered_at=stage.system.now().seconds,
        person=ANA,
    )
    assert reason_of(lambda: desk.record_answer(said, "x", shown="0" * 64)) is Reason.BAD_SIGNATURE
    own = replace(said, person=BEN)
    assert reason_of(lambda: desk.record_answer(own, "x", shown="0" * 64)) is Reason.CARD_CHANGED
    shown = card_sha256(desk.card(request.request_id))
    assert reason_of(lambda: desk.record_answer(own, "x", shown=shown)) is Reason.BAD_SIGNATURE


def test_look_that_comes_too_late_for_who_went_away_ends_quietly(stage: Stage) -> None:
    runs = runs_of(stage, HOST)
    request = runs.request(start(runs), EXACT, reason="x")
    gone: Future[RequestState] = Future()
    gone.cancel()
    assert runs._has_state(request, 0, gone)


def test_step_that_is_remembered_keeps_the_policy_that_it_was_built_with(stage: Stage) -> None:
    run = start(runs_of(stage, HOST)).run
    policy = stage.authority.engine.active_policy()
    starting = Start(policy_document=policy, run=replace(run, run_id=RunId("run_01JZ8Q5X0M3V7K2N9B4C6D8E0F")))
    sending = Sending(key="k", digest="d")
    step = RememberSent(step=starting, client=HOST, sending=sending, name=lambda made: made.run_id)
    assert (step.policy, step.needs_clock) == (policy.hash, True)
    assert stage.authority.engine.ask(lambda _: step).subject == starting.run.run_id


def test_what_was_sent_is_remembered_for_a_week_and_then_forgotten_whether_or_not_it_was_swept(stage: Stage) -> None:
    sent = {"key": api_key(stage, HOST, ttl_seconds=30 * 86_400), "sent": "k"}
    first = start(runs_of(stage, HOST, **sent)).run_id
    early = ForgetSent(sent=((HOST, "k"), (HOST, "never sent")))
    stage.pass_time(clients.SENT_SECONDS - 1)
    assert stage.authority.engine.ask(lambda _: early) == 0
    assert start(runs_of(stage, HOST, **sent)).run_id == first
    stage.pass_time(1)
    second = start(runs_of(stage, HOST, **sent)).run_id
    assert second != first
    stage.pass_time(clients.SENT_SECONDS)
    stage.sweep()
    assert stage.authority.engine.row(SentRow, AUTHORITY_WIDE, HOST, "k") is None
    assert start(runs_of(stage, HOST, **sent)).run_id not in (first, second)


# each guard taken away is caught by a test above


def _nothing(*_: object, **__: object) -> None:
    """A guard that lets everything through."""


def _forgetful(
    step: RememberSent[object], facts: Facts, now: Instant
) -> tuple[StepAnswer[Remembered[object]], Changes]:
    """A step that remembers nothing of what was sent."""
    answer, changes = step.step.decide(facts, now)
    value = None if answer.value is None else Remembered(subject="", value=answer.value)
    return StepAnswer(answer.decision, value), changes


MUTANTS: dict[str, tuple[object, str, Callable[[Stage], None]]] = {
    "the credential": (
        clients,
        "refuse_client",
        lambda stage: test_credential_that_counts_for_nothing_starts_nothing(stage, "removed"),
    ),
    "whose run it is": (ForRun, "_refuse_runs", test_another_clients_run_looks_like_what_never_was),
    "what may be started": (
        clients,
        "refuse_run_of",
        lambda stage: test_launcher_starts_only_what_its_rule_names(stage, {"tenant": "globex", "agent": "migrator"}),
    ),
    "which door it is": (ForDoor, "_refuse_door", test_only_the_guard_that_was_admitted_settles),
    "of what is read": (
        ClientDoor,
        "_check_asker",
        test_who_stands_at_another_door_by_now_or_has_no_credential_reads_nothing,
    ),
    "what was sent": (RememberSent, "decide", test_same_key_for_another_request_is_a_conflict),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_each_guard_of_clients_is_needed(stage: Stage, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    holder, guard, shown = MUTANTS[name]
    monkeypatch.setattr(holder, guard, _forgetful if guard == "decide" else _nothing)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        shown(stage)
