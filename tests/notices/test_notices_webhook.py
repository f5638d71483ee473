"""Webhooks: signed to the Standard Webhooks scheme, thin, and never anywhere but to the address that was checked."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from standardwebhooks import Webhook

from leasehold.errors import InvalidError
from leasehold.model.notice import ChannelKind, Notice
from leasehold.notices.channel import DeliveryError
from leasehold.notices.webhook import MAX_PAYLOAD_BYTES, WebhookChannel, WebhookKey, payload, verifying_key
from notice_desk import CONSOLE, WHSEC, NoticeStage, webhook_rule
from receivers import Got, Receiver, http_receiver
from stage import BEN, CLOSE

SEED = bytes(range(32))
WHSK = "whsk_" + base64.b64encode(SEED).decode()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with http_receiver() as receiver:
        yield receiver


@pytest.fixture
def told(receiver: Receiver) -> Iterator[NoticeStage]:
    stage = NoticeStage(webhook_rule(receiver.url, more=f'console = "{CONSOLE}"'))
    yield stage
    stage.close()


def signed(got: Got) -> bytes:
    return b".".join((got.headers["webhook-id"].encode(), got.headers["webhook-timestamp"].encode(), got.body))


def verify_v1a(got: Got, public: str) -> None:
    """What a receiver of the asymmetric scheme does, written from the specification.

    Raises:
        InvalidSignature: none of the signatures is that key's.
    """
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public.removeprefix("whpk_")))
    for version, signature in (part.split(",") for part in got.headers["webhook-signature"].split(" ")):
        if version == "v1a":
            key.verify(base64.b64decode(signature), signed(got))
            return
    raise InvalidSignature


def test_a_waiting_request_is_told_with_a_link_and_without_arguments(told: NoticeStage, receiver: Receiver) -> None:
    request = told.ask_close("T-77")
    assert told.tell() == 1
    (got,) = receiver.got
    body = got.json
    assert set(body) == {"type", "timestamp", "data"}
    assert (body["type"], body["timestamp"]) == ("request.waiting", "2026-05-06T12:00:00Z")
    assert body["data"]["request"] == request
    assert body["data"]["link"] == f"{CONSOLE}/requests/{request}"
    assert body["data"]["state"] == "pending"
    assert "T-77" not in got.body.decode(), "no argument leaves this way"
    assert "customer asked" not in got.body.decode(), "nor do an agent's words"
    assert len(got.body) < 20_000
    assert told.states() == [("request.waiting", "delivered")]


def test_the_payload_in_the_documents_has_the_members_of_a_real_one(told: NoticeStage, receiver: Receiver) -> None:
    told.ask_close()
    told.tell()
    page = (Path(__file__).parents[2] / "docs" / "notices.md").read_text()
    shown = json.loads(page.split("```json\n")[1].split("```")[0])
    real = receiver.got[0].json
    assert list(shown) == list(real)
    assert list(shown["data"]) == list(real["data"])
    assert {name: shown["data"][name] for name in ("title", "state", "is_over", "tenant")} == {
        name: real["data"][name] for name in ("title", "state", "is_over", "tenant")
    }


def test_the_reference_library_verifies_the_symmetric_signature(
    told: NoticeStage, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    told.ask_close()
    told.tell()
    (got,) = receiver.got
    monkeypatch.setattr(Webhook, "_Webhook__verify_timestamp", lambda _, text: _moment(int(text)))
    assert Webhook(WHSEC).verify(got.body, got.headers) == json.loads(got.body)
    with pytest.raises(Exception, match="No matching signature"):
        Webhook(WHSEC).verify(got.body + b" ", got.headers)


def _moment(seconds: int) -> object:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC)


def test_each_key_signs_so_that_keys_can_be_rotated_and_asymmetric_ones_verify(
    told: NoticeStage, receiver: Receiver
) -> None:
    told.given.secrets["hook"]["keys"] = f"{WHSEC} {WHSK}"
    told.ask_close()
    told.tell()
    (got,) = receiver.got
    versions = [part.split(",")[0] for part in got.headers["webhook-signature"].split(" ")]
    assert versions == ["v1", "v1a"]
    verify_v1a(got, verifying_key(WHSK))
    other = "whsk_" + base64.b64encode(bytes(32)).decode()
    with pytest.raises(InvalidSignature):
        verify_v1a(got, verifying_key(other))


def test_a_private_key_may_bring_its_public_half_if_it_is_its_own() -> None:
    public = Ed25519PrivateKey.from_private_bytes(SEED).public_key().public_bytes_raw()
    both = "whsk_" + base64.b64encode(SEED + public).decode()
    assert verifying_key(both) == verifying_key(WHSK) == "whpk_" + base64.b64encode(public).decode()
    assert verifying_key(WHSEC) == WHSEC
    with pytest.raises(InvalidError, match="damaged"):
        WebhookKey("whsk_" + base64.b64encode(SEED + bytes(32)).decode())


@pytest.mark.parametrize(
    "text", ["", "whsec_", "whsec_AAAA", "whsk_AAAA", "secret", WHSEC[:-1] + "!", "whpk_" + "A" * 43 + "="]
)
def test_what_is_no_signing_key_is_refused(text: str) -> None:
    with pytest.raises(InvalidError, match="whsec_"):
        WebhookKey(text)


@pytest.mark.parametrize(
    ("answer", "state", "fault"),
    [
        (200, "delivered", ""),
        (500, "waiting", "the receiver answered 500"),
        (404, "waiting", "the receiver answered 404"),
        (410, "given_up", "the receiver answered 410: it is gone for good"),
        ((302, {"location": "http://127.0.0.1:1/x"}, b""), "waiting", "the receiver answered 302, a redirect"),
        ((200, {}, b"x" * 100_000), "delivered", ""),
    ],
)
def test_what_a_receiver_answers_decides_what_becomes_of_the_notice(
    told: NoticeStage, receiver: Receiver, answer: object, state: str, fault: str
) -> None:
    receiver.answers = [answer]
    told.ask_close()
    told.tell()
    (row,) = told.deliveries()
    assert row.state == state
    assert row.fault.startswith(fault)
    assert len(receiver.got) == 1, "a redirect is not followed"


def test_a_receiver_that_asks_to_wait_is_left_alone_for_as_long(told: NoticeStage, receiver: Receiver) -> None:
    receiver.answers = [(429, {"retry-after": "120"}, b""), 204]
    told.ask_close()
    told.tell()
    told.pass_time(119)
    assert told.tell() == 0
    told.pass_time(1)
    assert told.tell() == 1
    assert [row.state for row in told.deliveries()] == ["delivered"]


@pytest.mark.parametrize(
    "raw",
    [
        b"garbage\r\n\r\n",
        b"",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 50_000 + b"\r\n",
    ],
)
def test_a_receiver_that_speaks_no_http_is_a_failed_try(told: NoticeStage, receiver: Receiver, raw: bytes) -> None:
    def write(handler: object) -> None:
        handler.wfile.write(raw)  # type: ignore[attr-defined]
        handler.close_connection = True  # type: ignore[attr-defined]

    receiver.answers = [write]
    told.ask_close()
    told.tell()
    (row,) = told.deliveries()
    assert row.state == "waiting"
    assert row.fault.startswith("the receiver")


def test_a_receiver_that_is_down_or_slow_is_a_failed_try(
    told: NoticeStage, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as closed:  # bound while it is asked, so that nobody else listens there
        closed.bind(("127.0.0.1", 0))
        down = NoticeStage(webhook_rule(f"http://127.0.0.1:{closed.getsockname()[1]}/"))
        down.ask_close()
        down.tell()
    assert [(row.state, row.fault) for row in down.deliveries()] == [("waiting", "the receiver cannot be reached")]
    down.close()
    never = threading.Event()
    monkeypatch.setattr("leasehold.notices.wire._TRY_SECONDS", 0.3)
    receiver.answers = [lambda _: never.wait(30)]
    told.ask_close()
    told.tell()
    assert told.deliveries()[0].fault == "the receiver did not answer in time"
    never.set()


def test_a_receiver_that_answers_drop_by_drop_is_left_when_the_try_has_taken_too_long(
    told: NoticeStage, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each drop is in time, the whole never ends: what is bounded is the whole."""
    gone = threading.Event()

    def drip(handler: object) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n")  # type: ignore[attr-defined]
        while not gone.wait(0.02):
            handler.wfile.write(b"x-more: 1\r\n")  # type: ignore[attr-defined]

    monkeypatch.setattr("leasehold.authority.outbox._TRY_SECONDS", 0.3)
    receiver.answers = [drip]
    told.ask_close()
    told.tell()
    gone.set()
    (row,) = told.deliveries()
    assert (row.state, row.fault) == ("waiting", "nothing came back within 0 s")


def test_a_payload_that_is_too_large_for_receivers_is_not_sent() -> None:
    notice = Notice(notice_id="ntc_1", event="test", at=0, tenant="", title="x" * MAX_PAYLOAD_BYTES)
    with pytest.raises(DeliveryError, match="too large") as refused:
        payload(notice)
    assert not refused.value.may_repeat


def test_without_a_key_nothing_is_sent_and_the_reason_is_kept(told: NoticeStage, receiver: Receiver) -> None:
    told.given.secrets.clear()
    told.ask_close()
    told.tell()
    assert receiver.got == []
    assert told.deliveries()[0].fault == "the channel has no signing key; make one with: leasehold notices secret"


@pytest.mark.case(101)
def test_a_damaged_key_is_named_by_no_part_of_it(told: NoticeStage) -> None:
    told.given.secrets["hook"]["keys"] = "whsec_canary7f3a"
    told.ask_close()
    told.tell()
    (row,) = told.deliveries()
    assert "secret cannot be used" in row.fault
    assert "canary" not in row.fault


# TLS


class Named:
    """A resolver of the test's own. It answers each question with the next of its answers."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def server_trust(name: str, authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


@pytest.mark.case(33)
@pytest.mark.parametrize(("name", "state"), [("hooks.example.com", "delivered"), ("evil.example.com", "waiting")])
def test_the_connection_goes_to_the_address_that_was_checked_and_tls_proves_the_name(name: str, state: str) -> None:
    """A name server that answers differently the second time is not asked a second time (DNS rebinding)."""
    authority = trustme.CA()
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    with http_receiver(trust=server_trust(name, authority)) as receiver:
        resolve = Named(["127.0.0.1"], ["10.0.0.1"])
        rule = webhook_rule(f"https://hooks.example.com:{receiver.port}/hook")
        stage = NoticeStage(rule)
        channel = WebhookChannel(stage.given, resolve=resolve, trust=trust)
        stage = NoticeStage(rule, made={ChannelKind.WEBHOOK: channel})
        stage.ask_close()
        stage.tell()
        assert [row.state for row in stage.deliveries()] == [state]
        assert resolve.asked == ["hooks.example.com"]
        if state == "delivered":
            assert receiver.got[0].headers["host"] == f"hooks.example.com:{receiver.port}"
        else:
            assert stage.deliveries()[0].fault == "the receiver's certificate was not accepted"
        stage.close()


def test_a_certificate_of_nobody_known_is_not_accepted() -> None:
    with http_receiver(trust=server_trust("hooks.example.com", trustme.CA())) as receiver:
        stage = NoticeStage(webhook_rule(f"https://hooks.example.com:{receiver.port}/hook"))
        stage.authority.outbox._channels._made[ChannelKind.WEBHOOK] = WebhookChannel(
            stage.given, resolve=Named(["127.0.0.1"])
        )
        stage.ask_close()
        stage.tell()
        assert stage.deliveries()[0].fault == "the receiver's certificate was not accepted"
        assert receiver.got == []
        stage.close()


def test_two_approvals_and_the_end_of_a_request_are_told_once_each(told: NoticeStage, receiver: Receiver) -> None:
    lease = told.lease(CLOSE)
    request = told.ask(lease, "ticket.close", key="k")
    told.tell()
    told.people.approve(request, BEN)
    told.tell()
    assert told.tell() == 0
    assert [got.json["type"] for got in receiver.got] == ["request.waiting", "request.decided"]
    assert receiver.got[1].json["data"]["state"] == "approved"
    assert receiver.got[1].json["data"]["is_over"] is True
