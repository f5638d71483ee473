"""Signing in and out, and what ends a session."""

from __future__ import annotations

import re

import pytest
from argon2 import PasswordHasher
from house import PASSWORD, House, sign_in

from leasehold.errors import InvalidError, StoreError
from leasehold.http.passwords import Passwords
from leasehold.http.sessions import COOKIE, safe_path
from leasehold.ledger.entry import EntryKind
from served import Browser, Reply
from stage import BEN, EVA, UPDATE

HOUR = 3600


def who(browser: Browser) -> str:
    """Who the server thinks is there; empty for nobody."""
    reply = browser.get("/")
    if reply.status != 200:
        assert (reply.status, reply.location) == (303, "/sign-in?next=/")
        return ""
    return reply.text.partition("person: ")[2].partition("<")[0]


def test_who_signs_in_is_known_until_they_sign_out(house: House) -> None:
    browser = house.signed_in(BEN)
    assert who(browser) == BEN
    kept = dict(browser.cookies)
    reply = browser.post("/sign-out", {"token": browser.get("/").token("/sign-out")})
    assert (reply.status, reply.location) == (303, "/sign-in")
    assert who(browser) == ""
    assert who(Browser(house.port, cookies=kept)) == ""
    kinds = [entry.kind for entry in house.stage.entries()][-3:]
    assert kinds == [EntryKind.SIGN_IN_ADDED, EntryKind.SIGNED_IN, EntryKind.SIGNED_OUT]


def test_who_types_their_short_name_is_meant(house: House) -> None:
    house.person(BEN)
    assert sign_in(house.browser(), " ben ").status == 303


@pytest.mark.case(114)
def test_cookie_is_for_this_host_alone_and_no_script_sees_it(house: House) -> None:
    house.person(BEN)
    browser = house.browser()
    for reply in (browser.get("/sign-in"), sign_in(browser, BEN)):
        [line] = reply.set_cookies
        attributes = {part.strip().lower() for part in line.split(";")[1:]}
        assert line.startswith(f"{COOKIE}=")
        assert attributes == {"path=/", "secure", "httponly", "samesite=strict"}


def test_session_is_kept_under_a_digest_and_cannot_be_made_from_the_database(house: House) -> None:
    browser = house.signed_in(BEN)
    [entry] = house.stage.entries(EntryKind.SIGNED_IN)
    assert browser.cookies[COOKIE] not in str(house.stage.entries())
    for planted in (str(entry.detail["session"]), browser.cookies[COOKIE][:-1], "", "x" * 43):
        assert who(Browser(house.port, cookies={COOKIE: planted})) == ""


def test_id_that_somebody_planted_never_becomes_a_session(house: House) -> None:
    """Session fixation: the attacker visits, plants their id in the victim's browser, and waits."""
    house.person(BEN)
    attacker, victim = house.browser(), house.browser()
    attacker.get("/sign-in")
    victim.cookies = dict(attacker.cookies)
    assert sign_in(victim, BEN).status == 303
    assert who(victim) == BEN
    assert who(attacker) == ""
    assert victim.cookies[COOKIE] != attacker.cookies[COOKIE]


def test_signing_in_again_ends_the_browsers_earlier_session(house: House) -> None:
    browser = house.signed_in(BEN)
    before = dict(browser.cookies)
    token = browser.get("/sign-in?again=1").token("/sign-in")
    browser.post("/sign-in", {"token": token, "person": BEN, "password": PASSWORD})
    assert who(browser) == BEN
    assert who(Browser(house.port, cookies=before)) == ""


def test_two_cookies_of_the_same_name_are_none(house: House) -> None:
    browser = house.signed_in(BEN)
    pair = f"{COOKIE}={browser.cookies[COOKIE]}"
    assert browser.get("/", Cookie=pair).status == 200
    assert browser.get("/", Cookie=f"{pair}; {pair}").status == 303
    assert browser.get("/", Cookie=f"{COOKIE}=x; {pair}").status == 303


# what ends a session


@pytest.mark.parametrize("minutes", [29, 31])
def test_session_that_nobody_uses_for_half_an_hour_is_over(house: House, minutes: int) -> None:
    browser = house.signed_in(BEN)
    house.stage.pass_time(minutes * 60)
    assert who(browser) == (BEN if minutes < 30 else "")


def test_session_in_use_ends_after_a_working_day(house: House) -> None:
    browser = house.signed_in(BEN)
    for _ in range(12 * 3):
        assert who(browser) == BEN
        house.stage.pass_time(HOUR // 3)
    assert who(browser) == ""


def _new_password(house: House) -> None:
    house.person(BEN, "another horse battery")


def _removed(house: House) -> None:
    house.stage.desk.remove_person(BEN, by="op")


def _let_go(house: House) -> None:
    house.stage.desk.offboard(BEN, by="op", reason="left")


def _sign_in_removed(house: House) -> None:
    [known] = house.stage.authority.sign_ins.of(BEN)
    house.stage.authority.sign_ins.remove(BEN, known.sign_in, by="op")


@pytest.mark.requirement("F3")
@pytest.mark.parametrize("end", [_new_password, _removed, _let_go, _sign_in_removed])
def test_session_ends_with_what_it_rests_on(house: House, end: object) -> None:
    browser = house.signed_in(BEN)
    end(house)  # type: ignore[operator]
    assert who(browser) == ""
    assert sign_in(house.browser(), BEN).status == 403
    assert browser.post("/answer", {}).status == 403


# who does not get in


def failed(reply: Reply) -> str:
    """The page that somebody sees who failed, without what differs by browser, and by whether they gave a name."""
    assert reply.status == 403
    return re.sub(r'data-options="[^"]*"| autofocus', "", reply.text.replace(reply.token("/sign-in"), ""))


@pytest.mark.requirement("F3")
def test_unknown_name_and_wrong_password_look_the_same_and_cost_the_same(house: House) -> None:
    house.person(BEN)
    house.stage.people.signatory(EVA)  # known, but without a password
    pages, costs = set(), []
    for name in (BEN, EVA, "user:nobody", "not a name at all", "key:x", ""):
        before = house.hasher.asked
        reply = sign_in(house.browser(), name, "wrong horse battery")
        pages.add(failed(reply).replace(f'value="{name}"', 'value=""'))
        costs.append(house.hasher.asked - before)
    assert len(pages) == 1
    assert costs == [1] * 6


def test_password_is_right_in_each_way_that_a_keyboard_writes_it(house: House) -> None:
    house.person(BEN, "Zürich\u00a0am See, Café")
    assert sign_in(house.browser(), BEN, "Zu\u0308rich am See, Cafe\u0301").status == 303


@pytest.mark.parametrize("password", ["short", "user:anirudh-k", "x" * 1025])
def test_password_that_will_not_do_is_refused(password: str) -> None:
    with pytest.raises(InvalidError):
        Passwords().hash(password, person="user:anirudh-k")


def test_endless_password_is_wrong_and_not_hashed(house: House) -> None:
    house.person(BEN)
    assert sign_in(house.browser(), BEN, "x" * 5000).status == 403


def test_hash_of_a_cost_of_yesterday_is_made_anew_and_ends_nothing(house: House) -> None:
    cheap = PasswordHasher(time_cost=2, memory_cost=8, parallelism=1).hash(PASSWORD)
    house.stage.authority.sign_ins.set_password(BEN, cheap, by="op")
    [before] = house.stage.authority.sign_ins.of(BEN)
    browser = house.signed_in(BEN)
    [after] = house.stage.authority.sign_ins.of(BEN)
    assert (after.sign_in, after.secret == before.secret) == (before.sign_in, False)
    assert who(browser) == BEN
    assert sign_in(house.browser(), BEN).status == 303


@pytest.mark.requirement("F3")
def test_who_fails_waits_longer_each_time_even_for_the_right_password(house: House) -> None:
    house.person(BEN)
    waits = []
    for _ in range(9):
        reply = sign_in(house.browser(), BEN, "wrong horse battery")
        if reply.status == 429:
            waits.append(int(reply.headers["retry-after"]))
            assert sign_in(house.browser(), BEN).status == 429
            house.stage.pass_time(waits[-1])
    assert waits == sorted(waits)
    assert len(waits) >= 2
    house.stage.pass_time(waits[-1] * 4)
    assert sign_in(house.browser(), BEN).status == 303
    assert sign_in(house.browser(), BEN, "wrong horse battery").status == 403


def test_tries_that_failed_stand_in_the_ledger_by_person_and_minute_and_never_by_what_was_typed(house: House) -> None:
    house.person(BEN)
    for name in (BEN, BEN, "user:nobody", "correct horse battery"):
        sign_in(house.browser(), name, "wrong horse battery")
    house.stage.sweep()
    counted = [(entry.person, entry.detail["count"]) for entry in house.stage.entries(EntryKind.SIGN_INS_FAILED)]
    assert sorted(counted) == [("", 2), (BEN, 2)]
    assert "horse" not in str(house.stage.entries())


@pytest.mark.case(81)
@pytest.mark.requirement("P8")
def test_agents_credential_is_no_session(house: House) -> None:
    lease = house.stage.lease(UPDATE)
    token = lease.token_for("ticket")
    browser = house.browser()
    for headers in ({"Cookie": f"{COOKIE}={token}"}, {"Authorization": f"Bearer {token}"}, {"Cookie": f"{COOKIE}=%00"}):
        assert browser.get("/", **headers).status == 303
        assert browser.post("/answer", {"verdict": "approve"}, **headers).status == 403


@pytest.mark.case(114)
def test_sign_in_form_of_another_browser_is_refused(house: House) -> None:
    house.person(BEN)
    token = house.browser().get("/sign-in").token("/sign-in")
    form = {"token": token, "person": BEN, "password": PASSWORD}
    other = house.browser()
    assert other.post("/sign-in", form).status == 403
    other.get("/sign-in")
    assert other.post("/sign-in", form).status == 403
    assert house.stage.entries(EntryKind.SIGNED_IN) == []


@pytest.mark.case(114)
def test_signing_out_needs_the_token_of_this_session(house: House) -> None:
    browser, other = house.signed_in(BEN), house.signed_in(EVA)
    for token in ("", other.get("/").token("/sign-out")):
        assert browser.post("/sign-out", {"token": token}).status == 403
    assert who(browser) == BEN


# where to go on


@pytest.mark.parametrize(
    ("wanted", "to"),
    [
        ("/request/req_1?a=b", "/request/req_1?a=b"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example", "/"),
        ("/a\r\nSet-Cookie: x=y", "/"),
        ("/sign-in?next=/sign-in", "/"),
        ("/" + "x" * 2001, "/"),
        ("", "/"),
    ],
)
def test_after_signing_in_only_our_own_pages_follow(wanted: str, to: str) -> None:
    assert safe_path(wanted) == to


def test_page_that_was_asked_for_follows_the_sign_in(house: House) -> None:
    house.person(BEN)
    browser = house.browser()
    reply = browser.get("/request/req_1?x=%C3%A9")
    assert reply.status == 303
    token = browser.get(reply.location)
    posted = browser.post(
        "/sign-in",
        {"token": token.token(), "next": "/request/req_1?x=%C3%A9", "person": BEN, "password": PASSWORD},
    )
    assert posted.location == "/request/req_1?x=%C3%A9"
    assert browser.get("/sign-in?next=/events").location == "/events"


def test_link_from_another_site_finds_who_is_signed_in(house: House) -> None:
    """The strict cookie stays at home on the first request; a step of our own brings it along."""
    browser = house.browser()
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    reply = browser.get('/request/req_1?a="><script>', **link)
    assert reply.status == 200
    assert 'content="0; url=/request/req_1?a=&quot;&gt;&lt;script&gt;"' in reply.text
    assert browser.get("/", **{**link, "Sec-Fetch-Site": "same-origin"}).status == 303


def test_critical_page_asks_once_more_who_it_is(house: House) -> None:
    browser = house.signed_in(BEN)
    assert browser.get("/critical").text == "critical"
    house.stage.pass_time(61)
    reply = browser.get("/critical")
    assert (reply.status, reply.location) == (303, "/sign-in?again=1&next=/critical%3Fx%3D1")
    page = browser.get(reply.location)
    assert BEN in page.text
    form = {"token": page.token(), "next": "/critical?x=1", "person": BEN, "password": PASSWORD}
    assert browser.post("/sign-in", form).location == "/critical?x=1"
    assert browser.get("/critical").text == "critical"


def test_static_files_need_nobody_and_everything_else_does(house: House) -> None:
    browser = house.browser()
    assert browser.get("/static/console.css").status == 200
    assert browser.get("/nothing").status == 303
    assert house.signed_in(BEN).get("/nothing").status == 404


def test_database_that_fails_is_a_plain_page(house: House) -> None:
    browser = house.signed_in(BEN)

    def fail() -> None:
        raise StoreError("the disk of acme is gone")

    house.stage.meddle().reading = fail
    reply = browser.get("/")
    assert reply.status == 503
    assert "acme" not in reply.text
