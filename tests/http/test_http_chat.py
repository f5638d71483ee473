"""People answer in Slack: where the policy says so, on whole cards alone, as Slack itself said it, and once."""

from __future__ import annotations

import hmac
import json
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chat_desk import (
    ANAS,
    BENS,
    BENS_OTHER,
    EVAS,
    REVIEWERS,
    SECRET,
    STRANGER,
    TEAM,
    ChatDesk,
    chat_desk,
    form_body,
    reviewed_rule,
)
from leasehold.authority.chat import ChatReview
from leasehold.authority.proofs import check_answers
from leasehold.authority.receipts import checkpoint_keys
from leasehold.decide import answer, approvals
from leasehold.errors import ConfigError, Denied
from leasehold.http.gates import SLACK_PATH
from leasehold.ledger.entry import EntryKind
from leasehold.ledger.history import check_history
from leasehold.ledger.reading import SummaryTold, read_summary
from leasehold.ledger.receipt import verify_receipt
from leasehold.model.decision import Reason
from leasehold.model.request import RequestState
from leasehold.notices.channels import Channels
from leasehold.notices.slack_press import read_press
from leasehold.policy.document import NoticeRule
from receivers import http_receiver
from served import Browser
from stage import AUDIT, BEN, EVA, POLICY, changed

HASH = "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaA"
TWO_PEOPLE = changed('approvers = ["lead"]\nanswer_within', 'approvers = ["lead"]\nquorum = 2\nanswer_within')


@pytest.fixture
def desk() -> Iterator[ChatDesk]:
    with chat_desk() as desk:
        yield desk
        assert check_history(desk.stage.entries()) == []


def verified_summary(desk: ChatDesk, receipt: bytes) -> SummaryTold:
    """What a receipt says, verified with the public keys alone."""
    identity = desk.stage.authority.engine.identity
    keys = {key.keyid: key.public().public for key in identity.receipts.keys}
    verified = verify_receipt(receipt, keys, checkpoint_keys(identity.issuer, identity.checkpoints))
    return read_summary(verified.predicate)


def answers(desk: ChatDesk) -> list[tuple[str, str]]:
    """Who answered and what became of it, refused answers included."""
    return [(entry.person, entry.reason) for entry in desk.stage.entries(EntryKind.REQUEST_ANSWERED)]


# what it is for


@pytest.mark.requirement("F2", "F3")
def test_a_person_approves_in_the_chat_and_the_copy_is_rewritten_without_buttons(desk: ChatDesk) -> None:
    lease = desk.stage.lease(AUDIT)
    request = desk.stage.ask(lease, "ticket.audit", key="k")
    desk.stage.tell()
    assert [button["text"]["text"] for button in desk.slack.buttons()] == ["Deny", "Approve"]
    assert desk.press().status == 200
    assert desk.state(request) is RequestState.APPROVED
    desk.stage.tell()
    assert desk.slack.titles() == ["Approved"]
    assert desk.slack.buttons() == []
    desk.stage.settle(desk.stage.admit(lease, "ticket.audit", key="k"))
    assert desk.slack.whispers == []


def test_ledger_and_receipt_say_that_slack_said_it_and_that_nobody_else_can_verify_that(desk: ChatDesk) -> None:
    run = desk.stage.start()
    request = desk.stage.ask(desk.stage.lease(AUDIT, run=run), "ticket.audit", key="k")
    desk.stage.tell()
    desk.press()
    (entry,) = desk.stage.entries(EntryKind.REQUEST_ANSWERED)
    told = {name: entry.detail[name] for name in ("proof", "channel", "speaker", "signed_at")}
    assert told == {"proof": "chat", "channel": "desk", "speaker": f"{TEAM}/{BENS}", "signed_at": desk.now}
    assert "signature" not in entry.detail
    assert SECRET not in repr(entry)
    assert check_answers(desk.stage.entries()).chat == 1
    assert "1 in a chat, which nobody can verify" in check_answers(desk.stage.entries()).describe()
    summary = verified_summary(desk, desk.stage.authority.finish(run))
    (answer,) = next(asked.answers for asked in summary.asked if asked.request == request)
    assert (answer.proof, answer.channel, answer.speaker) == ("chat", "desk", f"{TEAM}/{BENS}")
    assert "a chat that told the authority" in summary.asserted_by["answers"]


@pytest.mark.requirement("F3")
def test_a_denial_needs_words_and_the_agent_gets_them(desk: ChatDesk) -> None:
    lease = desk.stage.lease(AUDIT)
    request = desk.stage.ask(lease, "ticket.audit", key="k")
    desk.stage.tell()
    assert "a denial needs words" in desk.told("deny")
    assert desk.state(request) is RequestState.PENDING
    assert desk.press("deny", words=" not before Monday ").status == 200
    assert desk.state(request) is RequestState.DENIED
    with pytest.raises(Denied) as denied:
        desk.stage.admit(lease, "ticket.audit", key="k")
    assert denied.value.decision.words == "user:ben: not before Monday"


@pytest.mark.case(85)
def test_the_card_stands_whole_in_the_message_with_the_agents_words_last(desk: ChatDesk) -> None:
    desk.asked()
    (message,) = desk.slack.messages.values()
    card = message["blocks"][1]
    assert (card["text"]["type"], card["expand"]) == ("plain_text", True)
    lines = card["text"]["text"].splitlines()
    assert lines[0] == "ticket.audit ticket T-1 - acme / prod"
    assert any(line.startswith("NOT ALLOWED: mail.purge") for line in lines)
    assert lines[-1] == "agent: reason: customer asked"
    assert "customer asked" not in json.dumps(message["blocks"][2:])


def test_two_people_are_needed_and_the_copy_counts_them() -> None:
    with chat_desk(TWO_PEOPLE) as desk:
        request = desk.asked()
        desk.press(user=BENS)
        assert desk.state(request) is RequestState.PENDING
        desk.stage.tell()
        assert "1 of 2 so far (user:ben)" in desk.slack.texts()[0]
        assert len(desk.slack.buttons()) == 2
        desk.press(user=EVAS)
        assert desk.state(request) is RequestState.APPROVED


# who says it


@pytest.mark.case(89)
@pytest.mark.requirement("F3")
@pytest.mark.parametrize("seconds", [-301, 301])
def test_what_slack_said_too_long_ago_or_in_the_future_is_refused(desk: ChatDesk, seconds: int) -> None:
    request = desk.asked()
    body = form_body(desk.payload())
    assert desk.deliver(body, desk.signed(body, at=desk.now + seconds)).status == 403
    assert desk.state(request) is RequestState.PENDING
    close = desk.signed(body, at=desk.now + seconds // 301 * 300)
    assert desk.deliver(body, close).status == 200
    assert desk.state(request) is RequestState.APPROVED


@pytest.mark.case(89)
def test_what_slack_did_not_sign_is_refused_before_it_is_read(desk: ChatDesk) -> None:
    request = desk.asked()
    body = form_body(desk.payload())
    good = desk.signed(body)
    stamp, signature = good["X-Slack-Request-Timestamp"], good["X-Slack-Signature"]
    forged: list[tuple[bytes, Mapping[str, str]]] = [
        (body, {}),
        (body, {"X-Slack-Signature": signature}),
        (body, {"X-Slack-Request-Timestamp": stamp}),
        (body, {**good, "X-Slack-Signature": "v0=" + "0" * 64}),
        (body, {**good, "X-Slack-Signature": signature.replace("v0=", "v1=")}),
        (body, {**good, "X-Slack-Signature": signature.upper()}),
        (body, {**good, "X-Slack-Signature": signature[:-1]}),
        (body, {**good, "X-Slack-Signature": "v0=\xe9"}),
        (body, {**good, "X-Slack-Request-Timestamp": str(int(stamp) + 1)}),
        (body, {**good, "X-Slack-Request-Timestamp": f"0{stamp}"}),
        (body, {**good, "X-Slack-Request-Timestamp": f"+{stamp}"}),
        (body, {**good, "X-Slack-Request-Timestamp": f"{stamp}.0"}),
        (body, {**good, "X-Slack-Request-Timestamp": "9" * 5000}),
        (body.replace(BENS.encode(), EVAS.encode()), good),
        (body + b"&x=1", good),
        (b"", good),
        (b"payload=not-even-json", good),
        (body, desk.signed(body, secret="another")),
        (body, desk.signed(body, secret=SECRET[:-1])),
        (body, desk.signed(b"", secret=SECRET)),
    ]
    for sent, headers in forged:
        assert desk.deliver(sent, headers).status == 403, headers
    assert desk.state(request) is RequestState.PENDING
    assert answers(desk) == []
    assert desk.slack.whispers == []
    assert desk.deliver(body, good).status == 200


@pytest.mark.case(89)
def test_a_delivery_that_comes_again_changes_nothing_even_if_it_changed_nothing_before(desk: ChatDesk) -> None:
    request = desk.asked()
    body = form_body(desk.payload())
    headers = desk.signed(body)
    desk.stage.hold(f"request:{request}")
    assert desk.deliver(body, headers).status == 200
    assert "is stopped" in desk.slack.whisper()
    desk.stage.lift(f"request:{request}")
    assert desk.deliver(body, headers).status == 200
    assert "was delivered before" in desk.slack.whisper()
    assert desk.state(request) is RequestState.PENDING
    assert desk.press().status == 200, "pressing again is another delivery"
    assert desk.state(request) is RequestState.PENDING, "but not within the same second with the same words"
    desk.stage.pass_time(1)
    desk.press()
    assert desk.state(request) is RequestState.APPROVED


@pytest.mark.case(80, 89)
def test_a_press_of_a_stranger_is_not_heard_again_once_the_policy_says_who_that_is(desk: ChatDesk) -> None:
    request = desk.asked()
    body = form_body(desk.payload(user=STRANGER))
    headers = desk.signed(body)
    desk.deliver(body, headers)
    assert "names no person for" in desk.slack.whisper()
    known = REVIEWERS.replace(f'"{TEAM}/{BENS}"', f'"{TEAM}/{STRANGER}" = "user:ben", "{TEAM}/{BENS}"')
    desk.stage.accept(POLICY + reviewed_rule(desk.base, reviewers=known))
    desk.deliver(body, headers)
    assert "was delivered before" in desk.slack.whisper()
    assert desk.state(request) is RequestState.PENDING


@pytest.mark.case(89)
@pytest.mark.parametrize("refusal", ["of a copy that is not known", "of a request that is not here"])
def test_a_press_that_meant_nothing_here_is_not_heard_again_once_it_would(
    desk: ChatDesk, monkeypatch: pytest.MonkeyPatch, refusal: str
) -> None:
    request = desk.asked()
    body = form_body(desk.payload())
    headers = desk.signed(body)
    with monkeypatch.context() as patched:
        if refusal == "of a copy that is not known":
            patched.setattr(desk.stage.authority.engine.store.queries, "deliveries_about", lambda *_: ())
        else:
            patched.setattr(NoticeRule, "is_for", lambda *_: False)
        desk.deliver(body, headers)
        desk.slack.whisper()
    desk.deliver(body, headers)
    assert "was delivered before" in desk.slack.whisper()
    assert desk.state(request) is RequestState.PENDING


def test_another_process_over_the_same_database_does_not_hear_it_again(desk: ChatDesk) -> None:
    request = desk.asked()
    body = form_body(desk.payload())
    headers = desk.signed(body)
    desk.stage.hold(f"request:{request}")
    desk.deliver(body, headers)
    desk.stage.lift(f"request:{request}")
    beside = desk.stage.beside().authority
    chat = ChatReview(beside.engine, Channels(desk.stage.given))
    delivery = chat.hear(body, headers["X-Slack-Request-Timestamp"], headers["X-Slack-Signature"])
    with pytest.raises(Denied, match="delivered before"):
        chat.answer(delivery, read_press(json.dumps(desk.payload())))
    assert desk.state(request) is RequestState.PENDING


def test_a_double_click_is_one_answer(desk: ChatDesk) -> None:
    request = desk.asked()
    first, second = desk.payload(), {**desk.payload(), "trigger_id": "another"}
    assert desk.send(first).status == 200
    assert desk.send(second).status == 200
    assert "is approved" in desk.slack.whisper()
    assert desk.state(request) is RequestState.APPROVED
    assert answers(desk) == [(BEN, ""), (BEN, "not_pending")]


@pytest.mark.case(89)
def test_the_secret_of_one_channel_says_nothing_over_another() -> None:
    with chat_desk() as desk:
        rules = reviewed_rule(desk.base) + reviewed_rule(desk.base, "other", tenants='["globex"]')
        desk.stage.accept(POLICY + rules)
        desk.stage.given.secrets["other"] = {"token": "xoxb-canary-42", "signing_secret": "of-the-other"}
        request = desk.asked()
        body = form_body(desk.payload())
        assert desk.deliver(body, desk.signed(body, secret="of-the-other")).status == 200
        assert desk.state(request) is RequestState.PENDING
        assert "not signed for the channel" in desk.slack.whisper()
        assert desk.press().status == 200
        assert desk.slack.whispers[1:] == []


def test_a_channel_without_its_signing_secret_hears_nobody_and_an_empty_one_is_none(
    desk: ChatDesk, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = desk.asked()
    body = form_body(desk.payload())
    desk.stage.given.secrets["desk"]["signing_secret"] = ""
    empty = "v0=" + hmac.digest(b"", b"v0:%d:%s" % (desk.now, body), "sha256").hex()
    headers = {"X-Slack-Request-Timestamp": str(desk.now), "X-Slack-Signature": empty}
    assert desk.deliver(body, headers).status == 403

    def damaged(channel: str) -> Mapping[str, str]:
        raise ConfigError("others can read or change it", path=f"/state/{channel}.json")

    monkeypatch.setattr(desk.stage.given, "read", damaged)
    with caplog.at_level(logging.WARNING, "leasehold.chat"):
        assert desk.press().status == 403
    assert "nobody can answer over desk: /state/desk.json: others can read" in caplog.text
    assert desk.state(request) is RequestState.PENDING


# who answers


@pytest.mark.case(80, 89)
@pytest.mark.parametrize(
    ("user", "team"), [(STRANGER, TEAM), (BENS, "T0EVIL001"), (BENS.lower(), TEAM), ("USLACKBOT", TEAM)]
)
def test_a_user_whom_the_policy_does_not_name_is_told_so_and_nothing_changes(
    desk: ChatDesk, user: str, team: str
) -> None:
    request = desk.asked()
    before = len(desk.stage.entries())
    reply = desk.press(user=user, team=team)
    if reply.status == 200:
        assert "names no person for" in desk.slack.whisper()
        assert desk.slack.whispers[-1][0] == user
    assert reply.status in (200, 400)
    assert desk.state(request) is RequestState.PENDING
    assert len(desk.stage.entries()) == before


@pytest.mark.case(80)
def test_two_users_of_one_person_are_one_person() -> None:
    with chat_desk(TWO_PEOPLE) as desk:
        request = desk.asked()
        desk.press(user=BENS)
        desk.press(user=BENS_OTHER)
        assert desk.state(request) is RequestState.PENDING
        desk.stage.people.approve(request, BEN)
        assert desk.state(request) is RequestState.PENDING, "nor with a key besides"
        desk.press(user=EVAS)
        assert desk.state(request) is RequestState.APPROVED


@pytest.mark.case(80)
def test_nobody_approves_their_own_request_in_a_chat_and_roles_hold_there(desk: ChatDesk) -> None:
    desk.stage.people.signatory("user:ana")
    request = desk.asked()
    assert "nobody approves their own request" in desk.told(user=ANAS)
    desk.stage.accept(changed('"user:ben" = ["lead", "dba"]', '"user:ben" = ["dba"]') + reviewed_rule(desk.base))
    assert "no role that desk names" in desk.told(user=BENS)
    assert desk.state(request) is RequestState.PENDING
    assert answers(desk) == [("user:ana", "own_request"), (BEN, "not_entitled")]


@pytest.mark.requirement("P12")
@pytest.mark.parametrize("how", ["removed", "offboarded", "unmapped", "mapped anew", "closed", "never known"])
def test_who_is_nobody_any_more_cannot_answer_and_answers_of_theirs_count_no_more(how: str) -> None:
    with chat_desk() as desk:
        lease = desk.stage.lease(AUDIT)
        approved = desk.stage.ask(lease, "ticket.audit", "T-1", key="a")
        desk.stage.tell()
        desk.press()
        waiting = desk.stage.ask(lease, "ticket.audit", "T-2", key="b")
        desk.stage.tell()
        _make_nobody(desk, how)
        reply = desk.press()
        assert reply.status == (404 if how == "closed" else 200)
        assert desk.state(waiting) is RequestState.PENDING
        assert desk.state(approved) is RequestState.APPROVED
        if how != "offboarded":
            assert desk.stage.refusal(lease, "ticket.audit", "T-1", key="a") is Reason.APPROVAL_NEEDED


@pytest.mark.requirement("P12")
@pytest.mark.invariant("I4")
def test_what_somebody_said_in_a_chat_before_they_were_let_go_counts_no_more_when_they_are_back(desk: ChatDesk) -> None:
    stage = desk.stage
    lease = stage.lease(AUDIT)
    stage.ask(lease, "ticket.audit", "T-1", key="a")
    stage.tell()
    desk.press()
    waiting = stage.ask(lease, "ticket.audit", "T-2", key="b")
    stage.tell()
    stage.desk.remove_person(BEN, by="op")
    stage.authority.sign_ins.set_password(BEN, HASH, by="op")
    assert stage.refusal(lease, "ticket.audit", "T-1", key="a") is Reason.APPROVAL_NEEDED
    desk.press()
    assert stage.entries(EntryKind.REQUEST_ANSWERED)[-1].decision == "deny"
    assert desk.state(waiting) is RequestState.PENDING
    assert "user:ben was added after this was asked" in desk.slack.whisper()
    newer = stage.ask(lease, "ticket.audit", "T-3", key="c")
    stage.tell()
    desk.press()
    assert desk.state(newer) is RequestState.APPROVED


@pytest.mark.parametrize("place", [approvals, answer])
def test_newcomer_who_is_taken_for_the_one_before_is_missed(monkeypatch: pytest.MonkeyPatch, place: object) -> None:
    monkeypatch.setattr(place, "refuse_newcomer", lambda *_: None)
    with chat_desk() as desk, pytest.raises((AssertionError, pytest.fail.Exception)):
        test_what_somebody_said_in_a_chat_before_they_were_let_go_counts_no_more_when_they_are_back(desk)


def _make_nobody(desk: ChatDesk, how: str) -> None:
    stage, mine = desk.stage, f"{TEAM}/{BENS}"
    match how:
        case "removed":
            stage.desk.remove_person(BEN, by="op")
        case "offboarded":
            stage.desk.offboard(BEN, by="op", reason="left")
        case "unmapped":
            stage.accept(POLICY + reviewed_rule(desk.base, reviewers=REVIEWERS.replace(f'"{mine}" = "user:ben", ', "")))
        case "mapped anew":
            others = REVIEWERS.replace(f'"{mine}" = "user:ben"', f'"{mine}" = "user:kim"')
            stage.accept(POLICY + reviewed_rule(desk.base, reviewers=others))
        case "closed":
            stage.accept(POLICY + reviewed_rule(desk.base, reviewers=""))
        case "never known":
            nobody = REVIEWERS.replace(f'"{mine}" = "user:ben"', f'"{mine}" = "user:zoe"')
            text = POLICY.replace('"user:kim"', '"user:zoe" = ["lead"]\n"user:kim"', 1)
            stage.accept(text + reviewed_rule(desk.base, reviewers=nobody))


def test_who_has_no_key_and_no_sign_in_is_told_what_is_missing(desk: ChatDesk) -> None:
    desk.stage.desk.remove_person(BEN, by="op")
    desk.asked()
    assert "user:ben is not known here" in desk.told()


# what is answered


@pytest.mark.case(85)
def test_what_does_not_fit_whole_has_no_buttons_and_cannot_be_answered_all_the_same(desk: ChatDesk) -> None:
    lease = desk.stage.lease(AUDIT)
    long = "x" * 2500 + "&" * 300
    request = desk.stage.ask(lease, "ticket.audit", ticket_id="T-1", note=long, key="k")
    desk.stage.tell()
    assert desk.slack.buttons() == []
    assert "|Open>" in desk.slack.texts()[0]
    for verdict in ("approve", "deny"):
        assert "not answered in a chat" in desk.told(verdict, words="no")
    assert desk.state(request) is RequestState.PENDING
    assert answers(desk) == []


@pytest.mark.requirement("P12")
def test_what_is_destructive_has_no_buttons_and_cannot_be_answered_all_the_same(desk: ChatDesk) -> None:
    request = desk.asked(action="ticket.erase")
    assert desk.slack.buttons() == []
    assert "|Open>" in desk.slack.texts()[0]
    assert "not answered in a chat" in desk.told()
    assert desk.state(request) is RequestState.PENDING


def test_what_became_destructive_after_it_was_posted_is_not_answered_in_a_chat(desk: ChatDesk) -> None:
    request = desk.asked()
    worse = changed('"ticket.audit"   = { effect = "read"', '"ticket.audit"   = { effect = "destructive"')
    payload = desk.payload()
    desk.stage.accept(worse + reviewed_rule(desk.base))
    assert desk.send(payload).status == 200
    assert "not answered in a chat" in desk.slack.whisper()
    assert desk.state(request) is RequestState.PENDING


@pytest.mark.case(79, 89)
@pytest.mark.parametrize(
    ("part", "value", "told"),
    [
        ("card", "hmac-sha256:" + "0" * 64, "another card"),
        ("request", "req_00000000000000000000000000", "no such request"),
        ("channel", "ops", "not signed for the channel"),
    ],
)
def test_a_button_for_another_card_request_or_channel_is_refused(
    desk: ChatDesk, part: str, value: str, told: str
) -> None:
    request = desk.asked()
    payload = desk.payload()
    button = json.loads(payload["actions"][0]["value"])
    payload["actions"][0]["value"] = json.dumps({**button, part: value})
    assert desk.send(payload).status == 200
    if part != "channel":
        assert told in desk.slack.whisper()
    assert desk.state(request) is RequestState.PENDING


@pytest.mark.case(86, 89)
@pytest.mark.parametrize(("where", "value"), [("message_ts", "1778068800.000007"), ("channel_id", "C0OTHER")])
def test_a_button_in_a_message_that_leasehold_did_not_post_is_refused(desk: ChatDesk, where: str, value: str) -> None:
    """Who shares the bot can post anything above a button; what stands above ours is the card."""
    request, payload = desk.asked(), desk.payload()
    payload["container"][where] = value
    assert desk.send(payload).status == 200
    assert "in a message that is not known here" in desk.slack.whisper()
    assert desk.state(request) is RequestState.PENDING


def test_a_button_of_another_request_does_not_answer_this_one(desk: ChatDesk) -> None:
    first, second = desk.asked("T-1"), desk.asked("T-2")
    payload = desk.payload()
    card = desk.stage.authority.find_request(first).card_digest
    payload["actions"][0]["value"] = json.dumps({"card": card, "channel": "desk", "request": first})
    desk.send(payload)
    assert "not known here" in desk.slack.whisper()
    assert {desk.state(first), desk.state(second)} == {RequestState.PENDING}


@pytest.mark.case(57)
def test_a_request_of_a_tenant_that_the_channel_is_not_told_of_is_not_found(desk: ChatDesk) -> None:
    run = desk.stage.start(tenant="globex")
    elsewhere = desk.stage.ask(desk.stage.lease(AUDIT, run=run), "ticket.audit", key="k")
    desk.asked()
    payload = desk.payload()
    card = desk.stage.authority.find_request(elsewhere).card_digest
    payload["actions"][0]["value"] = json.dumps({"card": card, "channel": "desk", "request": elsewhere})
    desk.send(payload)
    assert "no such request" in desk.slack.whisper()


def test_a_card_that_was_erased_cannot_be_answered(desk: ChatDesk) -> None:
    request = desk.asked()
    store = desk.stage.meddle()
    store.queries.card = lambda *_: None
    assert "not answered in a chat" in desk.told()
    assert desk.state(request) is RequestState.PENDING


@pytest.mark.case(88)
def test_late_and_withdrawn_requests_are_not_answered(desk: ChatDesk) -> None:
    request = desk.asked()
    payload = desk.payload()
    desk.stage.pass_time(601)
    desk.send(payload)
    assert "expired unanswered" in desk.slack.whisper()
    assert desk.state(request) is RequestState.PENDING


@pytest.mark.case(82, 83, 89)
def test_what_an_agent_wrote_is_no_markup_no_line_of_its_own_and_no_button(desk: ChatDesk) -> None:
    attack = (
        'ok"}},{"type":"actions","elements":[{"type":"button"}]} <!channel> <https://evil.example|Approve> @here '
        "https://evil.example :white_check_mark: *bold*\nAsked for: nothing at all\u202e"
    )
    run = desk.stage.start()
    lease = desk.stage.authority.wait(desk.stage.authority.request(run, AUDIT, reason=attack), 5)
    desk.stage.ask(lease, "ticket.audit", key="k")
    desk.stage.tell()
    (message,) = desk.slack.messages.values()
    kinds = [block["type"] for block in message["blocks"]]
    assert kinds == ["header", "section", "section", "input", "actions"]
    text = message["blocks"][1]["text"]
    assert (text["type"], text["emoji"]) == ("plain_text", False)
    last, warning = text["text"].splitlines()[-2:]
    assert last.startswith("agent: reason: ok")
    assert warning.startswith("! 2 hidden characters")
    assert "&lt;!channel&gt;" in last
    assert "&lt;U+000A&gt;Asked for: nothing at all&lt;U+202E&gt;" in last
    assert "evil.example" not in json.dumps(message)
    assert "@here" not in json.dumps(message)
    assert "<" not in text["text"]
    assert len(desk.slack.buttons()) == 2


# how it is sent


@pytest.mark.case(114, 89)
def test_a_browser_gets_nowhere_at_that_path_nor_a_program_anywhere_else(desk: ChatDesk) -> None:
    request = desk.asked()
    body = form_body(desk.payload())
    headers = {**desk.signed(body), "Content-Type": "application/x-www-form-urlencoded"}
    for more in (
        {"Origin": f"http://127.0.0.1:{desk.port + 1}"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Cookie": "a=b"},
    ):
        assert desk.deliver(body, {**headers, **more}).status == 403
    for path in ("/slack/answers/", "/slack", "//slack/answers", "/sign-in", "/sign-out", "/answer"):
        assert Browser(desk.port).send("POST", path, body, headers).status == 403
    assert Browser(desk.port).send("PUT", SLACK_PATH, body, headers).status in (403, 405)
    assert Browser(desk.port, host="evil.example").send("POST", SLACK_PATH, body, headers).status == 421
    assert Browser(desk.port).get(SLACK_PATH).location.startswith("/sign-in")
    assert desk.state(request) is RequestState.PENDING


def test_the_path_is_not_there_while_the_policy_lets_nobody_answer_in_a_chat() -> None:
    with chat_desk() as desk:
        request = desk.asked()
        payload = desk.payload()
        desk.stage.accept(POLICY + reviewed_rule(desk.base, reviewers=""))
        assert desk.send(payload).status == 404
        assert desk.deliver(b"", {}).status == 404
        assert desk.state(request) is RequestState.PENDING
        desk.asked("T-2")
        assert len(desk.slack.buttons()) == 2, "those of the old copy; a new one has none"


Change = Callable[[dict[str, Any]], object]


@pytest.mark.case(13, 20)
@pytest.mark.parametrize(
    "change",
    [
        lambda payload: payload.update(type="view_submission"),
        lambda payload: payload.update(actions=[]),
        lambda payload: payload["actions"].append(payload["actions"][0]),
        lambda payload: payload["actions"][0].update(action_id="approve"),
        lambda payload: payload["actions"][0].update(type="static_select"),
        lambda payload: payload["actions"][0].update(value="req"),
        lambda payload: payload["actions"][0].update(value='{"card":"a","card":"b","channel":"c","request":"d"}'),
        lambda payload: payload["actions"][0].update(value='{"card":"a","channel":"c","request":"d","more":1}'),
        lambda payload: payload["actions"][0].update(value='{"card":1,"channel":"c","request":"d"}'),
        lambda payload: payload.pop("container"),
        lambda payload: payload["container"].update(type="view"),
        lambda payload: payload["user"].pop("team_id"),
        lambda payload: payload["user"].update(id=["U0BEN"]),
        lambda payload: payload["state"]["values"]["leasehold_words"]["leasehold_words"].update(value="x" * 1001),
    ],
)
def test_what_is_signed_and_still_no_press_of_a_button_of_ours_is_refused(desk: ChatDesk, change: Change) -> None:
    request, payload = desk.asked(), desk.payload()
    change(payload)
    assert desk.send(payload).status == 400
    assert desk.state(request) is RequestState.PENDING
    assert answers(desk) == []


@pytest.mark.parametrize("state", [None, {}, {"values": {}}, {"values": []}])
def test_a_press_without_a_field_for_words_has_none(desk: ChatDesk, state: object) -> None:
    request, payload = desk.asked(), desk.payload()
    payload["state"] = state
    assert desk.send(payload).status == 200
    assert desk.state(request) is RequestState.APPROVED


@pytest.mark.case(13, 17)
def test_forms_that_two_readers_could_take_differently_are_refused(desk: ChatDesk) -> None:
    request, payload = desk.asked(), json.dumps(desk.payload())
    twice = payload[:-1] + ', "type": "block_actions"}'
    for body, status, kind in (
        (urlencode([("payload", payload), ("payload", payload)]).encode(), 400, ""),
        (urlencode([("payload", payload), ("more", "1")]).encode(), 400, ""),
        (urlencode([("other", payload)]).encode(), 400, ""),
        (urlencode([("payload", twice)]).encode(), 400, ""),
        (urlencode([("payload", payload + " x")]).encode(), 400, ""),
        (b"payload=%ff", 400, ""),
        (b"payload", 400, ""),
        (urlencode([("payload", payload)]).encode(), 415, "application/json"),
        (b"payload=" + b"x" * 70_000, 413, ""),
    ):
        headers = {**desk.signed(body), **({"Content-Type": kind} if kind else {})}
        assert desk.deliver(body, headers).status == status, body[:80]
    assert desk.state(request) is RequestState.PENDING


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.case(89)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(data=st.data())
def test_nothing_that_is_put_in_the_place_of_a_part_makes_an_error_of_ours(desk: ChatDesk, data: st.DataObject) -> None:
    if not desk.slack.messages:
        desk.asked()
    payload = desk.payload(user=STRANGER)
    part: Any = payload
    for _ in range(data.draw(st.integers(1, 3))):
        name = data.draw(st.sampled_from(sorted(part))) if isinstance(part, dict) and part else None
        if name is None or not isinstance(part[name], dict):
            break
        part = part[name]
    if isinstance(part, dict) and part:
        part[data.draw(st.sampled_from(sorted(part)))] = data.draw(_JSON)
    assert desk.send(payload).status in (200, 400)
    assert answers(desk) == []


@pytest.mark.case(33)
def test_nothing_is_ever_sent_to_an_address_that_came_along(desk: ChatDesk) -> None:
    with http_receiver() as stranger:
        desk.asked()
        payload = {**desk.payload(user=STRANGER), "response_url": stranger.url}
        payload["actions"][0]["response_url"] = stranger.url
        desk.send(payload)
        assert "names no person" in desk.slack.whisper()
        assert stranger.got == []
    assert {got.path for got in desk.slack.receiver.got} == {"/chat.postMessage", "/chat.postEphemeral"}


def test_slack_hears_that_it_was_received_though_nobody_can_be_told(
    desk: ChatDesk, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.asked()
    written = threading.Event()
    monkeypatch.setattr(caplog.handler, "emit", lambda record: (said.append(record.getMessage()), written.set()))
    said: list[str] = []
    desk.slack.errors = ["channel_not_found"]
    assert desk.press(user=STRANGER).status == 200
    assert written.wait(10)
    assert said == ["who pressed a button over desk could not be told: Slack said channel_not_found"]


def test_a_second_answer_is_heard_as_the_first_whoever_else_answers_meanwhile() -> None:
    with chat_desk(TWO_PEOPLE) as desk:
        request = desk.asked()
        desk.press()
        desk.stage.pass_time(1)
        desk.press()
        assert desk.slack.whispers == []
        assert answers(desk) == [(BEN, "")]
        assert "said approve already" in desk.told("deny", words="no")
        desk.stage.people.approve(request, EVA)
        assert desk.state(request) is RequestState.APPROVED
