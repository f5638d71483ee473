"""A run as it is drawn: the timeline's lanes, what each hop of a lease lost, the receipt with its own evidence."""

from __future__ import annotations

import base64
import re

import pytest

from leasehold.authority.receipts import checkpoint_keys
from leasehold.console import gantt, runs
from leasehold.console.gantt import WIDTH, timeline
from leasehold.console.hops import lease_hops
from leasehold.console.receipts import receipt_alone, receipt_page
from leasehold.errors import VerificationError
from leasehold.ledger.receipt import verify_receipt
from leasehold.model.call import OutcomeStatus
from office import BEN, EVA, Office
from stage import Stage


def story(stage: Stage) -> str:
    """A run with everything that a timeline can show; answers its id."""
    lease = stage.lease(
        {
            "ticket.get": {"ticket": ["T-*"]},
            "ticket.update": {"ticket": ["T-1", "T-2"]},
            "ticket.close": {"ticket": ["T-*"]},
        }
    )
    stage.pass_time(5)
    stage.use(lease, "ticket.update", key="u1")
    stage.settle(stage.admit(lease, "ticket.update", key="u2"), OutcomeStatus.FAILED)
    assert stage.refusal(lease, "ticket.update", "T-9", key="u3")
    child = stage.child(lease)
    held = stage.lease({"ticket.get": {"ticket": ["T-1"]}}, run=child)
    looking = stage.admit(held, "ticket.get")
    stage.pass_time(20)
    stage.settle(looking)
    request = stage.ask(lease, "ticket.close", "T-1", key="c1")
    stage.pass_time(30)
    stage.people.approve(request, BEN)
    stage.admit(lease, "ticket.close", "T-1", key="c1")
    stage.hold("tool:ticket")
    return lease.lease.run_id


def entries_of(stage: Stage, run_id: str):  # type: ignore[no-untyped-def]  # a tuple of entries
    return stage.authority.receipts.entries(stage.authority.run(run_id).run)


def test_timeline_has_a_lane_for_each_run_with_its_calls_waits_and_answers(stage: Stage) -> None:
    chart = timeline(entries_of(stage, story(stage)), int(stage.system.now()))
    root, child = chart.lanes
    assert (root.label, child.label) == ("bot", "helper")
    assert [span.kind for span in root.spans] == ["lease", "done", "failed", "waiting", "in_flight"]
    assert [span.kind for span in child.spans] == ["lease", "done"]
    assert sorted(mark.kind for mark in root.marks) == ["approved", "denied", "stop"]
    assert child.y >= root.y + root.height


def test_everything_stands_within_the_drawing_and_bars_do_not_cover_each_other(stage: Stage) -> None:
    chart = timeline(entries_of(stage, story(stage)), int(stage.system.now()))
    for lane in chart.lanes:
        bars = [span for span in lane.spans if span.kind != "lease"]
        for span in lane.spans:
            assert span.x >= 0
            assert span.x + span.width <= WIDTH
            assert span.y + span.height <= chart.height
        for one in bars:
            for other in bars:
                assert (
                    one is other or one.y != other.y or one.x + one.width <= other.x or other.x + other.width <= one.x
                )
    assert [tick.label for tick in chart.ticks][:2] == ["0 s", "10 s"]


@pytest.mark.parametrize(("seconds", "last"), [(1, "1 s"), (119, "105 s"), (1500, "25 min"), (7200, "2 h")])
def test_axis_has_few_ticks_whatever_the_length(stage: Stage, seconds: int, last: str) -> None:
    run = stage.start()
    chart = timeline(entries_of(stage, run.run_id), int(stage.system.now()) + seconds * 1000)
    assert len(chart.ticks) <= 9
    assert chart.ticks[-1].label == last


def test_finished_run_ends_where_its_last_entry_stands(stage: Stage) -> None:
    run = stage.start()
    stage.pass_time(10)
    stage.authority.finish(run)
    chart = timeline(entries_of(stage, run.run_id), int(stage.system.now()) + 3_600_000)
    assert [mark.kind for mark in chart.lanes[0].marks] == ["end"]
    assert chart.ticks[-1].label == "10 s"


def test_long_run_is_drawn_and_listed_as_far_as_a_browser_stays_quick(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gantt, "MOST_DRAWN", 3)
    monkeypatch.setattr(runs, "MOST_LISTED", 4)
    lease = office.lease()
    for number in range(5):
        office.stage.use(lease, "ticket.update", key=f"u{number}")
    run_id = lease.lease.run_id
    (lane,) = timeline(entries_of(office.stage, run_id), int(office.stage.system.now())).lanes
    assert len([span for span in lane.spans if span.kind == "done"]) == 3
    assert lane.left_out == 2
    page = office.signed_in(EVA).get(f"/runs/{run_id}").text
    assert "2 earlier ones are not drawn" in page
    assert "earlier entries stand" in page


def test_hop_shows_what_it_kept_and_what_it_lost(stage: Stage) -> None:
    run_id = story(stage)
    offered = stage.authority.engine.active_policy().routes["desk"].allow
    root, child = lease_hops(entries_of(stage, run_id), offered)
    lost = {action.action for action in child.actions if action.is_lost}
    assert lost == {"ticket.update", "ticket.close"}
    assert (root.depth, child.depth, child.agent) == (0, 1, "helper")
    kept = next(action for action in child.actions if action.action == "ticket.get")
    assert [(value.name, value.now, value.was) for value in kept.values] == [("ticket", "T-1", "T-*")]
    update = next(action for action in root.actions if action.action == "ticket.update")
    assert update.values[0].was == "T-*"


def test_leases_drawn_in_turn_are_one_hop(stage: Stage) -> None:
    lease = stage.lease()
    stage.pass_time(100)
    stage.authority.renew(lease)
    (hop,) = lease_hops(entries_of(stage, lease.lease.run_id), {})
    assert len(hop.leases) == 2


def test_receipt_page_carries_the_envelope_that_verifies(office: Office) -> None:
    run_id = story(office.stage)
    identity = office.stage.authority.engine.identity
    keys = {key.keyid: key.public().public for key in identity.receipts.keys}
    logs = checkpoint_keys(identity.issuer, identity.checkpoints)
    client = office.signed_in(EVA)
    alone = client.get(f"/runs/{run_id}/receipt.html")
    assert alone.headers["content-disposition"] == f'attachment; filename="{run_id}.html"'
    data = re.search(r'href="data:application/json;base64,([^"]+)" download', alone.text)
    assert data is not None
    verified = verify_receipt(base64.b64decode(data[1]), keys, logs)
    assert verified.run == run_id
    assert f"sha256:{verified.digest}" in alone.text
    assert f"leasehold receipt verify {run_id}.intoto.jsonl --key authority.pub" in alone.text
    envelope = client.get(f"/runs/{run_id}/receipt.intoto.jsonl")
    assert verify_receipt(envelope.text.rstrip("\n").encode(), keys, logs).run == run_id


def test_kept_receipt_needs_nothing_else(stage: Stage) -> None:
    run = stage.start()
    text = receipt_alone(receipt_page(stage.authority.finish(run)))
    assert "<script" not in text
    for address in re.findall(r'(?:href|src)="([^"]*)"', text):
        assert address.startswith(("data:", "/requests/", "/runs/"))
    assert 'rel="stylesheet" href="data:text/css;base64,' in text


@pytest.mark.parametrize("payload", [b"{}", b'{"predicate":{}}', b'{"predicate":1}'])
def test_envelope_that_holds_no_receipt_is_refused(stage: Stage, payload: bytes) -> None:
    body = base64.b64encode(payload).decode()
    signatures = '[{"keyid":"x","sig":"AAAA"}]'
    envelope = f'{{"payload":"{body}","payloadType":"application/vnd.in-toto+json","signatures":{signatures}}}'
    with pytest.raises(VerificationError):
        receipt_page(envelope.encode())
