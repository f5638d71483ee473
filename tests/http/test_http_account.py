"""A person's own password, in the browser: who may set one, what ends with the old one, what stays."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from house import PASSWORD, House, sign_in

from leasehold.authority.sign_ins import SignedIn
from leasehold.decide import own_sign_ins
from leasehold.errors import Denied
from leasehold.ledger.entry import EntryKind
from leasehold.model.decision import Reason
from leasehold.model.proof import SignInMethod
from served import Browser, Reply
from stage import AUDIT, BEN, reason_of

NEW = "nine green bottles"
HASH = "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaA"


def change(browser: Browser, password: str = NEW, again: str = NEW, **form: str) -> Reply:
    token = browser.get("/account").token("/account/password")
    return browser.post("/account/password", {"token": token, "password": password, "again": again, **form})


def test_a_new_password_takes_the_place_of_the_old_one_and_ends_its_sessions_alone(house: House) -> None:
    sign_ins = house.stage.authority.sign_ins
    browser, elsewhere = house.signed_in(BEN), house.signed_in(BEN)
    passkey = sign_ins.add_passkey(BEN, "Y3JlZA", _public_key(), count=1, by=BEN)
    by_passkey, _ = sign_ins.begin(BEN, passkey, address="here", count=2)
    reply = change(browser)
    assert (reply.status, reply.location) == (303, "/account")
    assert browser.get("/").status == elsewhere.get("/").status == 303
    assert sign_ins.find(by_passkey) is not None
    assert sign_in(house.browser(), BEN, PASSWORD).status == 403
    assert sign_in(house.browser(), BEN, NEW).status == 303
    entry = house.stage.entries(EntryKind.SIGN_IN_ADDED)[-1]
    assert (entry.person, entry.detail["by"], entry.detail["method"]) == (BEN, BEN, "password")
    assert len(entry.detail["replaced"]) == 1


def _public_key() -> str:
    from authenticator import Authenticator

    return Authenticator("http://localhost").public_key


@pytest.mark.invariant("I4")
def test_what_the_old_password_vouched_for_does_not_count_any_more(house: House) -> None:
    browser = house.signed_in(BEN)
    lease = house.stage.lease(AUDIT)
    request = house.stage.ask(lease, "ticket.audit")
    page = browser.get(f"/request/{request}").text
    token, digest = (page.split(f'name="{name}" value="')[1].split('"')[0] for name in ("token", "digest"))
    form = {"token": token, "digest": digest, "request": request, "verdict": "approve", "credential": ""}
    assert browser.post("/answer", form).status < 400
    assert change(browser).status == 303
    assert house.stage.refusal(lease, "ticket.audit") is Reason.APPROVAL_NEEDED


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"again": "nine green bottle"}, "not the same"),
        ({"password": "short", "again": "short"}, "at least 12 characters"),
        ({"password": "x" * 2000, "again": "x" * 2000}, "at most 1024 bytes"),
        ({"password": "", "again": ""}, "at least 12 characters"),
    ],
)
def test_a_password_that_will_not_do_changes_nothing(house: House, form: Mapping[str, str], words: str) -> None:
    browser = house.signed_in(BEN)
    before = house.stage.authority.sign_ins.of(BEN)
    reply = change(browser, **form)
    assert (reply.status, words in reply.text) == (400, True)
    assert house.stage.authority.sign_ins.of(BEN) == before
    assert browser.get("/").status == 200


def test_a_browser_left_open_cannot_change_it(house: House) -> None:
    browser = house.signed_in(BEN)
    token = browser.get("/account").token("/account/password")
    house.stage.pass_time(own_sign_ins.RECENT_SECONDS + 1)
    form = {"token": token, "password": NEW, "again": NEW}
    reply = browser.post("/account/password", form)
    assert (reply.status, reply.location) == (303, "/sign-in?again=1&next=/account")
    assert sign_in(house.browser(), BEN, NEW).status == 403
    stranger = house.browser()
    assert stranger.post("/account/password", form).status == 403
    assert house.signed_in(BEN).post("/account/password", {**form, "token": "x"}).status == 403
    assert browser.post("/account/password", form, Sec_Fetch_Site="cross-site").status == 403


def test_the_step_itself_asks_for_a_recent_proof_and_an_open_session(house: House) -> None:
    stage, sign_ins = house.stage, house.stage.authority.sign_ins
    house.person(BEN)
    [known], key = sign_ins.of(BEN), _public_key()

    def refusals(who: SignedIn) -> set[Reason]:
        return {
            reason_of(lambda: sign_ins.set_own_password(who, HASH)),
            reason_of(lambda: sign_ins.add_own_passkey(who, "Y3JlZA", key, count=1)),
            reason_of(lambda: sign_ins.remove_own(who, known.sign_in)),
        }

    session_id, who = sign_ins.begin(BEN, known.sign_in, address="here")
    stage.pass_time(own_sign_ins.RECENT_SECONDS + 1)
    assert refusals(who) == {Reason.SIGN_IN_TOO_OLD}
    session_id, who = sign_ins.begin(BEN, known.sign_in, address="here")
    sign_ins.end(session_id)
    assert refusals(who) == {Reason.NOT_SIGNED_IN}
    assert sign_ins.of(BEN) == (known,)


@pytest.mark.parametrize("guard", ["refuse_stale", "refuse_voice"])
def test_guard_that_is_taken_away_is_missed(house: House, monkeypatch: pytest.MonkeyPatch, guard: str) -> None:
    monkeypatch.setattr(own_sign_ins, guard, lambda *_: None)
    with pytest.raises((AssertionError, Denied)):
        test_the_step_itself_asks_for_a_recent_proof_and_an_open_session(house)


def test_who_has_none_sets_a_first_one_only_after_a_recent_proof_of_another_kind(house: House) -> None:
    sign_ins = house.stage.authority.sign_ins
    passkey = sign_ins.add_passkey(BEN, "Y3JlZA", _public_key(), count=1, by="op")
    _, who = sign_ins.begin(BEN, passkey, address="here", count=2)
    house.stage.pass_time(own_sign_ins.RECENT_SECONDS + 1)
    assert reason_of(lambda: sign_ins.set_own_password(who, HASH)) is Reason.SIGN_IN_TOO_OLD
    _, who = sign_ins.begin(BEN, passkey, address="here", count=3)
    sign_ins.set_own_password(who, HASH)
    assert [known.method for known in sign_ins.of(BEN)] == [SignInMethod.PASSKEY, SignInMethod.PASSWORD]
