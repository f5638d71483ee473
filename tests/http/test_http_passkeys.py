"""Passkeys over HTTP: added, used to sign in, and made to sign exactly the answer that was given."""

from __future__ import annotations

import json
import re
from html import unescape

import cbor2
import pytest
from house import House
from msgspec.structs import replace

from authenticator import Authenticator
from leasehold.authority.proofs import check_answers
from leasehold.errors import VerificationError
from leasehold.ledger.entry import EntryKind
from leasehold.model.decision import Reason
from leasehold.model.request import RequestState
from leasehold.token import base64url
from served import Browser, Reply
from stage import AUDIT, BEN, ERASE, EVA, POLICY, Stage, changed

BY_PASSKEY = changed("[people]", "[defaults]\ndestructive_by_passkey = true\n\n[people]", POLICY)


def options_of(reply: Reply, action: str) -> str:
    """What a page hands to `navigator.credentials` for the form that posts to `action`."""
    form = next(form for form in re.findall(r"<form[^>]*>", reply.text) if f'action="{action}"' in form)
    return unescape(re.search(r'data-options="([^"]*)"', form)[1])  # type: ignore[index]


def passkey_for(house: House, browser: Browser, **made: object) -> Authenticator:
    """A passkey that somebody has added on their page."""
    passkey = Authenticator(house.passkey_origin, **made)  # type: ignore[arg-type]
    assert add(browser, passkey).location == "/account"
    return passkey


def add(browser: Browser, passkey: Authenticator) -> Reply:
    page = browser.get("/account")
    made = passkey.make(options_of(page, "/account/passkey"))
    return browser.post("/account/passkey", {"token": page.token("/account/passkey"), "credential": made})


def at_localhost(house: House, person: str) -> Browser:
    browser = house.signed_in(person)
    browser.host = f"localhost:{house.port}"
    return browser


def answer(
    browser: Browser, request: str, passkey: Authenticator | None, verdict: str = "approve", **changes: str
) -> Reply:
    """Answer on the page of a request, signed with a passkey if there is one."""
    page = browser.get(f"/request/{request}")
    digest = page.text.partition('name="digest" value="')[2].partition('"')[0]
    form = {"token": page.token("/answer"), "request": request, "digest": digest, "verdict": verdict}
    if passkey is not None:
        options = unescape(re.search(rf'data-{verdict}="([^"]*)"', page.text)[1])  # type: ignore[index]
        form["credential"] = passkey.use(options)
    return browser.post("/answer", {**form, **changes})


@pytest.mark.requirement("F3", "P11")
def test_passkey_signs_the_answer_and_anybody_can_verify_it_offline(house: House) -> None:
    lease = house.stage.lease(AUDIT)
    request = house.stage.ask(lease, "ticket.audit")
    browser = at_localhost(house, BEN)
    passkey = passkey_for(house, browser)
    assert answer(browser, request, passkey).text == '{"state":"approved","missing":0}'
    [entry] = house.stage.entries(EntryKind.REQUEST_ANSWERED)
    assert entry.detail["proof"] == "passkey"
    assert entry.detail["public_key"] == passkey.public_key
    entries = house.stage.entries()
    assert check_answers(entries).passkey == 1
    assert "1 with a passkey" in check_answers(entries).describe()
    house.stage.settle(house.stage.admit(lease, "ticket.audit"))


@pytest.mark.case(74, 80, 81)
def test_what_a_passkey_signed_counts_for_that_answer_and_that_person_alone(house: House) -> None:
    lease = house.stage.lease(AUDIT)
    one, two = house.stage.ask(lease, "ticket.audit"), house.stage.ask(lease, "ticket.audit", "T-2")
    ben, eva = at_localhost(house, BEN), at_localhost(house, EVA)
    his = passkey_for(house, ben)
    hers = passkey_for(house, eva, credential=b"credential-two-2")
    stranger = Authenticator(house.passkey_origin, credential=his.credential)
    elsewhere = Authenticator("https://evil.example", key=his.key)
    page = ben.get(f"/request/{one}")
    denied = his.use(unescape(re.search(r'data-deny="([^"]*)"', page.text)[1]))  # type: ignore[index]
    other = his.use(unescape(re.search(r'data-approve="([^"]*)"', ben.get(f"/request/{two}").text)[1]))  # type: ignore[index]
    hers_of_one = hers.use(unescape(re.search(r'data-approve="([^"]*)"', eva.get(f"/request/{one}").text)[1]))  # type: ignore[index]
    for wrong in (
        answer(ben, one, hers),
        answer(ben, one, stranger),
        answer(ben, one, elsewhere),
        answer(ben, one, None, credential=denied),
        answer(ben, one, None, credential=other),
        answer(ben, one, None, credential=hers_of_one),
    ):
        assert wrong.status == 403
    for malformed in ("{}", "null", "x", "[" * 500, '{"id":1}'):
        assert answer(ben, one, None, credential=malformed).status == 400
    assert house.stage.desk.request_row(house.stage.authority.find_request(one)).state == RequestState.PENDING
    assert house.stage.entries(EntryKind.REQUEST_ANSWERED) == []
    assert answer(ben, one, his).status == 200


@pytest.mark.case(80)
def test_copy_of_a_passkey_is_noticed_by_its_count(house: House) -> None:
    lease = house.stage.lease(ERASE)
    requests = [house.stage.ask(lease, "ticket.erase", f"T-{place}", key=str(place)) for place in range(3)]
    browser = at_localhost(house, BEN)
    passkey = passkey_for(house, browser, count=5)
    copy = Authenticator(passkey.origin, key=passkey.key, count=5)
    assert answer(browser, requests[0], passkey).status == 200
    assert answer(browser, requests[1], passkey).status == 200
    reply = answer(browser, requests[2], copy)
    assert reply.status == 403
    assert "copy" in reply.text
    assert answer(browser, requests[1], copy).status == 200, "an answer that stands already is only said again"


def test_passkey_that_never_counts_is_taken(house: House) -> None:
    request = house.stage.ask(house.stage.lease(AUDIT), "ticket.audit")
    browser = at_localhost(house, BEN)
    passkey = passkey_for(house, browser, count=None)
    assert answer(browser, request, passkey).status == 200


# a policy that demands them


@pytest.mark.requirement("P12", "F3")
@pytest.mark.invariant("I4")
def test_policy_may_demand_passkeys_for_what_is_destructive(house: House) -> None:
    house.stage.accept(BY_PASSKEY)
    lease = house.stage.lease(ERASE)
    request = house.stage.ask(lease, "ticket.erase", key="a")
    read = house.stage.ask(house.stage.lease(AUDIT), "ticket.audit")
    ben, eva = at_localhost(house, BEN), at_localhost(house, EVA)
    reply = answer(ben, request, None)
    assert (reply.status, "passkey" in reply.text) == (403, True)
    with pytest.raises(Exception, match="passkey_needed"):
        house.stage.people.approve(request, BEN)
    assert answer(ben, read, None).status == 200
    assert answer(ben, request, passkey_for(house, ben)).status == 200
    assert answer(eva, request, passkey_for(house, eva, credential=b"credential-two-2")).status == 200
    house.stage.admit(lease, "ticket.erase", key="a")


@pytest.mark.invariant("I4")
@pytest.mark.case(79)
def test_demand_made_after_the_answer_counts_at_the_use(house: House) -> None:
    lease = house.stage.lease(ERASE)
    request = house.stage.ask(lease, "ticket.erase", key="a")
    house.stage.people.approve(request, BEN, EVA)
    house.stage.accept(BY_PASSKEY)
    assert house.stage.refusal(lease, "ticket.erase", key="a") is Reason.APPROVAL_NEEDED


def test_no_is_taken_without_a_passkey(house: House) -> None:
    house.stage.accept(BY_PASSKEY)
    request = house.stage.ask(house.stage.lease(ERASE), "ticket.erase", key="a")
    assert answer(house.signed_in(BEN), request, None, "deny").text.startswith('{"state":"denied"')


def test_policy_may_demand_a_sign_in_of_a_moment_ago(house: House) -> None:
    text = changed("[people]", '[defaults]\ndestructive_sign_in_within = "5m"\n\n[people]', POLICY)
    house.stage.accept(text)
    lease = house.stage.lease(ERASE, ttl_seconds=900)
    request = house.stage.ask(lease, "ticket.erase", key="a")
    browser, other = house.signed_in(BEN), house.signed_in(EVA)
    house.stage.pass_time(301)
    reply = answer(browser, request, None)
    assert (reply.status, "sign in again" in reply.text) == (403, True)
    house.stage.people.approve(request, EVA)
    assert answer(house.signed_in(BEN), request, None).status == 200
    assert other.get("/").status == 200
    house.stage.admit(lease, "ticket.erase", key="a")


# signing in


@pytest.mark.requirement("F3")
def test_person_signs_in_with_a_passkey_alone(house: House) -> None:
    passkey = passkey_for(house, at_localhost(house, BEN))
    browser = house.browser()
    page = browser.get("/sign-in?next=/events")
    credential = passkey.use(options_of(page, "/sign-in/passkey"))
    form = {"token": page.token("/sign-in/passkey"), "credential": credential, "next": "/events"}
    reply = browser.post("/sign-in/passkey", form)
    assert (reply.status, reply.location) == (303, "/events")
    assert BEN in browser.get("/").text
    entry = house.stage.entries(EntryKind.SIGNED_IN)[-1]
    assert (entry.person, entry.detail["method"]) == (BEN, "passkey")
    assert browser.post("/sign-in/passkey", form).status == 403, "what was signed is worth nothing a second time"


@pytest.mark.case(114)
def test_what_a_passkey_signed_for_another_browser_or_page_signs_nobody_in(house: House) -> None:
    passkey = passkey_for(house, at_localhost(house, BEN))
    mine, theirs = house.browser(), house.browser()
    page, other = mine.get("/sign-in"), theirs.get("/sign-in")
    token = page.token("/sign-in/passkey")
    stranger = Authenticator(passkey.origin, credential=b"nobody's own key")
    phished = Authenticator("https://evil.example", key=passkey.key)
    for wrong in (
        passkey.use(options_of(other, "/sign-in/passkey")),
        stranger.use(options_of(page, "/sign-in/passkey")),
        phished.use(options_of(page, "/sign-in/passkey")),
    ):
        assert mine.post("/sign-in/passkey", {"token": token, "credential": wrong}).status == 403
    assert mine.post("/sign-in/passkey", {"token": token, "credential": "{}"}).status == 400
    waits = [mine.post("/sign-in/passkey", {"token": token, "credential": wrong}).status for _ in range(9)]
    assert waits[-1] == 429
    house.stage.sweep()
    failed = {entry.person for entry in house.stage.entries(EntryKind.SIGN_INS_FAILED)}
    assert failed == {"", BEN}
    assert len(house.stage.entries(EntryKind.SIGNED_IN)) == 1


# a person's own page


@pytest.mark.case(80)
def test_passkey_belongs_to_one_person_for_ever(house: House) -> None:
    ben, eva = at_localhost(house, BEN), at_localhost(house, EVA)
    passkey = passkey_for(house, ben)
    assert add(eva, passkey).status == 409
    assert add(ben, passkey).status == 409
    [known] = [one for one in house.stage.authority.sign_ins.of(BEN) if one.credential]
    page = ben.get("/account")
    token = re.search(rf'value="([^"]*)">\s*<input type="hidden" name="sign_in" value="{known.sign_in}"', page.text)[1]  # type: ignore[index]
    assert ben.post("/account/remove", {"token": token, "sign_in": known.sign_in}).location == "/account"
    assert add(eva, passkey).status == 409
    assert [one.method for one in house.stage.authority.sign_ins.of(BEN)] == ["password"]


def test_passkey_made_for_another_challenge_page_or_without_verification_is_refused(house: House) -> None:
    ben, eva = at_localhost(house, BEN), at_localhost(house, EVA)
    page = ben.get("/account")
    token, options = page.token("/account/passkey"), options_of(page, "/account/passkey")
    for made in (
        Authenticator("https://evil.example").make(options),
        Authenticator(house.passkey_origin, flags=1).make(options),
        Authenticator(house.passkey_origin).make(options_of(eva.get("/account"), "/account/passkey")),
        "{}",
        "x",
        "",
        "x" * 40_000,
        json.dumps({"id": "a", "rawId": "b", "type": "public-key", "response": {}}),
    ):
        assert ben.post("/account/passkey", {"token": token, "credential": made}).status == 400
    assert ben.post("/account/passkey", {"token": "x", "credential": "{}"}).status == 403
    assert ben.post("/account/remove", {"token": token, "sign_in": "x"}).status == 403
    assert len(house.stage.authority.sign_ins.of(BEN)) == 1


@pytest.mark.parametrize(
    "key",
    [
        {1: 2, 3: -7, -1: 1, -2: bytes(32), -3: b"x" * 32},
        {1: 2, -1: 1, -2: bytes(32), -3: bytes(32)},
        {1: 3, 3: -257, -1: b"", -2: b""},
        {1: 1, 3: -8, -1: 6, -2: b"short"},
        {},
        [1],
    ],
)
def test_passkey_with_a_key_that_is_none_is_refused(house: House, monkeypatch: pytest.MonkeyPatch, key: object) -> None:
    monkeypatch.setattr(Authenticator, "_cose", lambda _: cbor2.dumps(key))
    assert add(at_localhost(house, BEN), Authenticator(house.passkey_origin)).status == 400


def test_own_page_asks_once_more_who_it_is_and_says_where_passkeys_are_used(house: House) -> None:
    browser = house.signed_in(BEN)
    assert house.passkey_origin in browser.get("/account").text
    page = browser.get("/account")
    house.stage.pass_time(601)
    assert browser.get("/account").location.startswith("/sign-in?again=1")
    form = {"token": page.token("/account/remove"), "sign_in": house.stage.authority.sign_ins.of(BEN)[0].sign_in}
    assert browser.post("/account/remove", form).location.startswith("/sign-in?again=1")
    assert len(house.stage.authority.sign_ins.of(BEN)) == 1


# offline


def test_answer_that_was_altered_afterwards_is_named(house: House) -> None:
    lease = house.stage.lease(ERASE)
    request = house.stage.ask(lease, "ticket.erase", key="a")
    browser = at_localhost(house, BEN)
    assert answer(browser, request, passkey_for(house, browser)).status == 200
    house.stage.people.approve(request, EVA)
    entries = house.stage.entries()
    proven = check_answers(entries)
    assert (proven.key, proven.passkey, proven.session) == (1, 1, 0)
    for place, entry in enumerate(entries):
        if entry.kind is not EntryKind.REQUEST_ANSWERED:
            continue
        for change in (
            {"person": "user:kim"},
            {"request": "req_01JZ8Q5X0M3V7K2N9B4C6D8E0F"},
            {"detail": {**entry.detail, "verdict": "deny"}},
            {"detail": {**entry.detail, "verdict": "maybe"}},
            {"detail": {**entry.detail, "card": "hmac-sha256:" + "0" * 64}},
            {"detail": {**entry.detail, "signature": base64url.encode(bytes(64))}},
            {"detail": {**entry.detail, "public_key": "00" * 32}},
            {"detail": {**entry.detail, "public_key": "?"}},
            {"detail": {**entry.detail, "proof": "session"}},
            {"detail": {**entry.detail, "proof": "word of mouth"}},
        ):
            forged = [*entries[:place], replace(entry, **change), *entries[place + 1 :]]
            with pytest.raises(VerificationError) as caught:
                check_answers(forged)
            assert caught.value.index == entry.index
    refused = [replace(entry, decision="deny") for entry in entries]
    assert check_answers(refused) == check_answers([])


def test_key_that_the_ledger_gave_to_somebody_else_proves_nothing() -> None:
    stage = Stage()
    request = stage.ask(stage.lease(AUDIT), "ticket.audit")
    stage.people.approve(request, BEN)
    entries = [
        replace(entry, person=EVA) if entry.kind is EntryKind.PERSON_ADDED else entry for entry in stage.entries()
    ]
    with pytest.raises(VerificationError, match="somebody else"):
        check_answers(entries)
    stage.close()
