"""A person's desk over the network: each request signed for itself, and an answer for exactly what was shown."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from cutting import Cut, cutting
from far import FarStage
from msgspec.structs import replace
from scripted import answer, says, scripted

from leasehold.client.desk import PersonKey, RemoteDesk, connect_desk, read_person_key
from leasehold.config import create_private
from leasehold.errors import ConfigError, Denied, InvalidError, NotFoundError, UnavailableError
from leasehold.model.api import StoppedAnswer
from leasehold.model.decision import Reason
from leasehold.model.request import Request, RequestState, Verdict
from leasehold.model.scope import Scope
from leasehold.testing.fixtures import key_of_person
from leasehold.token import base64url
from leasehold.token.jwk import private_jwks
from leasehold.token.keys import DocumentType, KeyRing
from stage import ANA, BEN, EVA

CLOSE = {"ticket.close": {"ticket": ["T-1"]}}


def desk_of(stage: FarStage, port: int, person: str, *, authority: str = "", seconds: float = 10) -> RemoteDesk:
    stage.people.signatory(person)
    return connect_desk(
        f"http://127.0.0.1:{port}",
        person,
        key_of_person(person),
        authority=authority or stage.authority.engine.identity.issuer,
        deadline_seconds=seconds,
        system=stage.system,
    )


def waiting(stage: FarStage) -> Request:
    return stage.authority.request(stage.start(by=ANA), CLOSE, reason="customer asked")


def test_key_of_a_person_is_read_from_the_file_that_was_made_for_them_and_from_no_other(tmp_path: Path) -> None:
    mine, other = (
        KeyRing(DocumentType.ANSWER, (key_of_person(BEN),)),
        KeyRing(DocumentType.LEASE, (key_of_person(BEN),)),
    )
    for name, ring in (("mine", mine), ("other", other)):
        create_private(tmp_path / name, private_jwks(ring).encode())
    assert read_person_key(tmp_path / "mine").kid == key_of_person(BEN).kid
    with pytest.raises(ConfigError):
        read_person_key(tmp_path / "other")
    (tmp_path / "mine").chmod(0o644)
    with pytest.raises(ConfigError, match="chmod"):
        read_person_key(tmp_path / "mine")


@pytest.mark.requirement("P12", "F3")
def test_person_sees_what_waits_and_answers_the_card_that_was_shown(stage: FarStage, port: int) -> None:
    request = waiting(stage)
    with desk_of(stage, port, BEN) as desk:
        (item,) = desk.inbox().items
        shown = desk.card(item.request.request_id)
        answered = desk.answer(shown, Verdict.APPROVE, reason="seen")

    assert shown.card.request_id == request.request_id
    assert (answered.state, answered.approvals_missing) == (RequestState.APPROVED, 0)
    assert stage.authority.wait(request, 10).lease.approved_by == (BEN,)


def test_requester_and_strangers_cannot_answer(stage: FarStage, port: int) -> None:
    request = waiting(stage)
    with desk_of(stage, port, BEN) as ben, desk_of(stage, port, ANA) as ana:
        shown = ben.card(request.request_id)
        with pytest.raises(Denied) as denied:
            ana.answer(shown, Verdict.APPROVE)
        assert denied.value.decision.reason is Reason.OWN_REQUEST
        with pytest.raises(NotFoundError):
            ben.card("req_01JZ8Q5X0M3V7K2N9B4C6D8E0F")
    with connect_desk(
        f"http://127.0.0.1:{port}", BEN, key_of_person("somebody else"), authority="x", system=stage.system
    ) as stranger:
        with pytest.raises(Denied) as denied:
            stranger.inbox()
        assert denied.value.decision.reason is Reason.UNKNOWN_CLIENT


def test_operator_holds_lifts_revokes_and_reads_the_ledger(stage: FarStage, port: int) -> None:
    lease = stage.lease()
    call = stage.admit(lease, "ticket.update", key="k")
    with desk_of(stage, port, EVA) as desk:
        held = desk.hold(Scope.parse("tool:ticket"), reason="look", tenant="acme")
        assert [each.admission_id for each in held.in_flight] == [call.admission_id]
        assert [(stop.scope, stop.by) for stop in desk.stops().items] == [("tool:ticket", EVA)]
        desk.lift(Scope.parse("tool:ticket"), reason="fine", tenant="acme")
        assert desk.lease(lease.lease.lease_id).status == "active"
        desk.revoke(Scope.parse(f"lease:{lease.lease.lease_id}"), reason="leak", tenant="acme")
        assert desk.lease(lease.lease.lease_id).status != "active"
        page = desk.entries(run=lease.lease.run_id, limit=2)
        rest = desk.entries(run=lease.lease.run_id, limit=100, before=page.next)
    assert len(page.items) == 2
    assert {item["run"] for item in (*page.items, *rest.items)} == {lease.lease.run_id}
    with pytest.raises(InvalidError), desk_of(stage, port, EVA) as desk:
        desk.entries(nothing="x")


@pytest.mark.case(10)
def test_server_that_is_another_authority_can_use_nothing_that_it_hears(stage: FarStage, port: int) -> None:
    waiting(stage)
    with desk_of(stage, port, BEN, authority="urn:other") as desk, pytest.raises(Denied) as denied:
        desk.inbox()
    assert denied.value.decision.reason is Reason.UNKNOWN_CLIENT


@pytest.mark.case(74)
def test_server_between_that_shows_another_card_gets_no_answer_to_the_true_one(stage: FarStage, port: int) -> None:
    request = waiting(stage)
    with desk_of(stage, port, BEN) as desk:
        true = desk.card(request.request_id)
        harmless = replace(true, card=replace(true.card, headline="read ticket T-1"))
        with (
            scripted(says(answer(msgspec.json.encode(harmless)))) as between,
            desk_of(stage, between.port, BEN) as deceived,
        ):
            shown = deceived.card(request.request_id)
        with pytest.raises(Denied) as denied:
            desk.answer(shown, Verdict.APPROVE)
        assert denied.value.decision.reason is Reason.CARD_CHANGED
        assert desk.answer(true, Verdict.APPROVE).state is RequestState.APPROVED


def test_desk_takes_no_answer_to_another_question(stage: FarStage, port: int) -> None:
    first, second = stage.lease(), stage.lease()
    with desk_of(stage, port, EVA) as desk:
        of_second = msgspec.json.encode(desk.lease(second.lease.lease_id))
    stopped = msgspec.json.encode(StoppedAnswer(scope="tool:mail"))
    acts: list[tuple[bytes, Callable[[RemoteDesk], object]]] = [
        (of_second, lambda desk: desk.lease(first.lease.lease_id)),
        (stopped, lambda desk: desk.hold(Scope.parse("tool:ticket"), reason="look")),
    ]
    for body, act in acts:
        with (
            scripted(says(answer(body))) as between,
            desk_of(stage, between.port, EVA) as desk,
            pytest.raises(UnavailableError, match="another question"),
        ):
            act(desk)


@pytest.mark.parametrize("cut", [Cut.AFTER, Cut.AMID, Cut.BLAMED_AFTER])
def test_answer_of_a_person_is_not_sent_twice_and_they_are_told_to_look(stage: FarStage, port: int, cut: Cut) -> None:
    request = waiting(stage)
    with cutting(port, seed=0, cuts=(cut,)) as proxy, desk_of(stage, proxy.port, BEN) as desk:
        proxy.is_quiet = True
        shown = desk.card(request.request_id)
        proxy.is_quiet = False
        sent = len(proxy.made)
        with pytest.raises(UnavailableError) as raised:
            desk.answer(shown, Verdict.APPROVE)
        assert len(proxy.made) == sent + 1
        proxy.is_quiet = True
        assert desk.card(request.request_id).footer.approved_by == (BEN,)
    assert raised.value.maybe_persisted is True


@pytest.mark.requirement("P18")
def test_persons_key_stands_in_no_log_error_or_repr(
    stage: FarStage, port: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    key = key_of_person(BEN)
    with desk_of(stage, port, BEN) as desk:
        desk.inbox()
        shown = [repr(desk), repr(PersonKey(BEN, key, "x", stage.system)), caplog.text]
    secret = key.private.private_bytes_raw()
    assert not any(text in "".join(shown) for text in (base64url.encode(secret), secret.hex(), "eyJ"))
