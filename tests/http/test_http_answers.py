"""People decide over HTTP: once, on what they were shown, from our own pages; and hear when something changes."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from house import House
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from leasehold.http.events import MOST_STREAMS, Places
from leasehold.http.server import listen
from leasehold.http.sessions import COOKIE
from leasehold.ledger.entry import EntryKind
from leasehold.model.decision import Reason
from leasehold.model.request import RequestState
from served import Browser
from stage import ANA, AUDIT, BEN, ERASE, EVA, KIM


def form_of(browser: Browser, request: str, verdict: str = "approve") -> dict[str, str]:
    """The form that a browser was shown for a request, filled in."""
    page = browser.get(f"/request/{request}")
    digest = page.text.partition('name="digest" value="')[2].partition('"')[0]
    return {"token": page.token("/answer"), "request": request, "digest": digest, "verdict": verdict}


def state(house: House, request: str) -> str:
    return house.stage.desk.request_row(house.stage.authority.find_request(request)).state


@pytest.mark.requirement("F3", "P11", "P12")
def test_two_people_decide_in_their_browsers_and_the_call_starts_once(house: House) -> None:
    lease = house.stage.lease(ERASE)
    request = house.stage.ask(lease, "ticket.erase", key="a")
    ben, eva = house.signed_in(BEN), house.signed_in(EVA)
    assert ben.post("/answer", form_of(ben, request)).text == '{"state":"pending","missing":1}'
    assert house.stage.refusal(lease, "ticket.erase", key="a") is Reason.APPROVAL_NEEDED
    assert eva.post("/answer", form_of(eva, request)).text == '{"state":"approved","missing":0}'
    admitted = house.stage.admit(lease, "ticket.erase", key="a")
    assert house.stage.refusal(lease, "ticket.erase", key="b") is Reason.APPROVAL_NEEDED
    house.stage.settle(admitted)
    proofs = [entry.detail["proof"] for entry in house.stage.entries(EntryKind.REQUEST_ANSWERED)]
    assert proofs == ["session", "session"]


@pytest.mark.case(114)
def test_answer_from_elsewhere_or_with_anothers_token_changes_nothing(house: House) -> None:
    lease = house.stage.lease(AUDIT)
    request, other = house.stage.ask(lease, "ticket.audit"), house.stage.ask(lease, "ticket.audit", "T-2")
    ben, eva = house.signed_in(BEN), house.signed_in(EVA)
    mine, theirs, second = form_of(ben, request), form_of(eva, request), form_of(ben, other)
    evil = {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}
    for form, headers in (
        (mine, evil),
        (mine, {**evil, "Content-Type": "text/plain"}),
        (mine, {"Sec-Fetch-Site": "same-site"}),
        ({**mine, "token": ""}, {}),
        ({**mine, "token": theirs["token"]}, {}),
        ({**mine, "token": second["token"]}, {}),
        ({**mine, "digest": second["digest"]}, {}),
        ({**second, "request": request}, {}),
        ({name: value for name, value in mine.items() if name != "token"}, {}),
    ):
        assert ben.post("/answer", form, **headers).status == 403
    assert ben.post("/answer", {**mine, "verdict": "maybe"}).status == 400
    assert state(house, request) == state(house, other) == RequestState.PENDING
    assert house.stage.entries(EntryKind.REQUEST_ANSWERED) == []
    assert ben.post("/answer", mine).status == 200


@pytest.mark.case(76, 114)
def test_answer_that_is_sent_again_has_no_second_effect(house: House) -> None:
    request = house.stage.ask(house.stage.lease(AUDIT), "ticket.audit")
    ben, eva = house.signed_in(BEN), house.signed_in(EVA)
    form, late = form_of(ben, request), form_of(eva, request, "deny")
    assert ben.post("/answer", form).status == 200
    assert ben.post("/answer", form).status == 409
    assert eva.post("/answer", late).status == 409
    assert state(house, request) == RequestState.APPROVED


def test_token_is_worth_nothing_after_signing_out(house: House) -> None:
    request = house.stage.ask(house.stage.lease(AUDIT), "ticket.audit")
    ben = house.signed_in(BEN)
    form, cookies = form_of(ben, request), dict(ben.cookies)
    ben.post("/sign-out", {"token": ben.get("/").token("/sign-out")})
    assert Browser(house.port, cookies=cookies).post("/answer", form).status == 403
    assert house.signed_in(BEN).post("/answer", form).status == 403
    assert state(house, request) == RequestState.PENDING


@pytest.mark.requirement("F3", "P12")
def test_who_may_not_answer_is_told_why(house: House) -> None:
    request = house.stage.ask(house.stage.lease(AUDIT), "ticket.audit")
    for person, word in ((KIM, "no role"), (ANA, "requester")):
        browser = house.signed_in(person)
        reply = browser.post("/answer", form_of(browser, request))
        assert reply.status == 403
        assert word in reply.text
    assert house.signed_in("user:nobody").get(f"/request/{request}").status == 404
    assert state(house, request) == RequestState.PENDING


@pytest.mark.parametrize("wanted", ["req_x", "lease_01JZ8Q5X0M3V7K2N9B4C6D8E0F", "%00", "..%2f..", "req_" + "0" * 26])
def test_request_that_is_none_is_a_plain_page(house: House, wanted: str) -> None:
    reply = house.signed_in(BEN).get(f"/request/{wanted}")
    assert reply.status in (400, 404)
    assert "Traceback" not in reply.text


def test_no_form_makes_a_fault_whatever_stands_in_it(house: House) -> None:
    request = house.stage.ask(house.stage.lease(AUDIT), "ticket.audit")
    browser = house.signed_in(BEN)
    good = form_of(browser, request)
    paths = st.sampled_from(["/answer", "/sign-in", "/sign-out", "/", "/request/x", "/events"])
    texts = st.one_of(st.text(max_size=40), st.sampled_from(sorted(good.values())), st.just("../" * 9))
    forms = st.dictionaries(st.sampled_from([*good, "person", "password", "next", "x"]), texts, max_size=7)

    @settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(path=paths, form=forms, has_cookie=st.booleans())
    def send(path: str, form: dict[str, str], *, has_cookie: bool) -> None:
        sent = {name: text.encode("utf-8", "ignore").decode() for name, text in form.items()}
        client = Browser(house.port, cookies=dict(browser.cookies) if has_cookie else {COOKIE: "x"})
        reply = client.post(path, sent)
        assert 300 <= reply.status < 500
        house.stage.pass_time(1)

    send()
    assert state(house, request) == RequestState.PENDING


# hearing


class Listener:
    """A page that listens to the event stream."""

    def __init__(self, port: int, cookies: dict[str, str]) -> None:
        cookie = "; ".join(f"{name}={value}" for name, value in cookies.items())
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self._socket.sendall(f"GET /events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nCookie: {cookie}\r\n\r\n".encode())
        self._file = self._socket.makefile("rb")
        self.status = int(self._file.readline().split()[1])
        self.headers = dict(line.decode().strip().lower().split(": ", 1) for line in iter(self._file.readline, b"\r\n"))

    def next(self) -> str:
        """The next event's name and data; empty once the stream has ended."""
        name = ""
        for raw in self._file:
            line = raw.decode().strip()
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                return f"{name} {line.removeprefix('data: ')}"
        return ""

    def close(self) -> None:
        self._file.close()
        self._socket.close()


@contextmanager
def listening(house: House, browser: Browser) -> Iterator[Listener]:
    listener = Listener(house.port, browser.cookies)
    try:
        yield listener
    finally:
        listener.close()


def test_page_hears_of_what_it_shows_and_of_nothing_else(house: House) -> None:
    lease = house.stage.lease(AUDIT)
    with listening(house, house.signed_in(BEN)) as page:
        assert page.status == 200
        assert page.headers["content-type"].startswith("text/event-stream")
        assert page.headers["x-accel-buffering"] == "no"
        assert page.headers["cache-control"] == "no-store"
        assert page.next() == "changed nothing"
        house.stage.start(route="staging", environment="staging")
        request = house.stage.ask(lease, "ticket.audit")
        assert page.next() == f"changed {request}"
        house.stage.people.deny(request, EVA)
        assert page.next() == "changed nothing"


def test_stream_ends_when_its_person_signs_out(house: House) -> None:
    browser = house.signed_in(BEN)
    with listening(house, browser) as page:
        assert page.next() == "changed nothing"
        browser.post("/sign-out", {"token": browser.get("/").token("/sign-out")})
        assert page.next() == "over over"


def test_streams_end_and_none_begins_when_the_server_stops(house: House) -> None:
    browser = house.signed_in(BEN)
    with listening(house, browser) as page:
        assert page.next() == "changed nothing"
        closing = threading.Thread(target=house.close_streams)
        closing.start()
        assert page.next() == "over over"
        closing.join()
        assert browser.get("/events").status == 503


def test_streams_of_one_session_are_bounded_and_given_back(house: House) -> None:
    browser = house.signed_in(BEN)
    pages = [Listener(house.port, browser.cookies) for _ in range(MOST_STREAMS)]
    for page in pages:
        assert page.next() == "changed nothing"
    assert browser.get("/events").status == 429
    house.streams.pages = Places(0)
    assert house.signed_in(EVA).get("/events").status == 429
    assert house.streams.places.taken == MOST_STREAMS
    house.streams.pages = Places(MOST_STREAMS)
    for page in pages:
        page.close()
    with listening(house, house.signed_in(EVA)) as page:
        assert page.next() == "changed nothing"


def test_stream_needs_somebody_who_is_signed_in(house: House) -> None:
    with listening(house, house.browser()) as page:
        assert page.status == 303


def test_pieces_of_an_answer_do_not_wait_for_each_other() -> None:
    with listen("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()) as caller:
        connection, _ = listener.accept()
        with connection, caller:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
