"""Signing in at a provider, from the button to the session: against a real one that signs, over real connections."""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest
from house import House

from issuer import make_key, serving, sign
from leasehold.authority.proofs import check_answers
from leasehold.decide.provider_sign_ins import Account
from leasehold.decide.rows import AUTHORITY_WIDE
from leasehold.errors import Denied
from leasehold.http import provider_flow, providers
from leasehold.http.provider_flow import Flow, begin_flow
from leasehold.ledger.entry import EntryKind
from leasehold.ledger.history import check_history
from leasehold.model.decision import Reason
from leasehold.model.instant import Instant
from leasehold.model.proof import SignInMethod
from leasehold.model.request import Verdict
from leasehold.model.scope import Scope
from leasehold.policy.document import Power
from leasehold.token import base64url
from provider import Provider
from served import Browser, Reply, served
from stage import AUDIT, BEN, ERASE, EVA, POLICY

JOE = "user:joe"


def table(provider: Provider, more: str = "") -> str:
    return (
        f'\n[sign_in.acme]\nissuer = "{provider.url}"\nclient_id = "leasehold"\nperson = "name"\n'
        f'networks = ["127.0.0.0/8"]\n{more}\n'
    )


GROUPS = 'people = "groups"\ngroups = "groups"\nroles = { leads = ["lead"], ops = ["operator", "lead"] }\n'


class Town:
    """A house with a provider beside it."""

    def __init__(self, house: House, provider: Provider) -> None:
        self.house = house
        self.provider = provider
        self.sign_ins = house.stage.authority.sign_ins

    def begin(self, browser: Browser, to: str = "/", again: str = "") -> str:
        """Press the button; answers where the browser is led."""
        token = browser.get(f"/sign-in?next={to}{'&again=1' if again else ''}").token("/sign-in")
        reply = browser.post("/sign-in/with/acme", {"token": token, "next": to, "again": again})
        assert reply.status == 200, reply.text
        return reply.text.split("url=")[1].split('"')[0].replace("&amp;", "&")

    def back(self, address: str) -> str:
        """What the provider leads back to, as a path here."""
        parts = urlsplit(self.provider.authorize(address))
        assert parts.path == "/sign-in/with/acme/back"
        return f"{parts.path}?{parts.query}"

    def come(self, browser: Browser, to: str = "/", again: str = "") -> Reply:
        return browser.get(self.back(self.begin(browser, to, again)))

    def signed_in(self, name: str, *groups: str, sub: str = "") -> Browser:
        """A browser of somebody whom the provider has just proven."""
        self.provider.claims = {"name": name, "sub": sub or f"sub-of-{name}", "groups": list(groups)}
        browser = self.house.browser()
        reply = self.come(browser)
        assert (reply.status, reply.location) == (303, "/"), reply.text
        return browser

    def refused(self, browser: Browser | None = None) -> str:
        """What somebody reads who is not signed in."""
        browser = browser or self.house.browser()
        reply = self.come(browser)
        assert reply.status == 403, reply.text
        assert browser.get("/").status == 303
        return reply.text


@contextmanager
def town(more: str = GROUPS, secret: str = "", at_house: str = "") -> Iterator[Town]:
    with serving(Provider(keys=[make_key("RS256")], secret=secret)) as provider:
        house = House(POLICY + table(provider, more), at_house or secret)
        provider.now = lambda: house.stage.system.now().seconds
        provider.claims = {"name": "ben", "sub": "sub-of-ben"}
        with served(house.build) as port:
            house.port = port
            yield Town(house, provider)
            house.streams.close()
        assert check_history(house.stage.entries()) == []
        house.stage.close()


@pytest.fixture
def acme() -> Iterator[Town]:
    with town() as found:
        yield found


# The way in.


def test_who_is_known_here_signs_in_and_goes_on_to_where_they_were(acme: Town) -> None:
    browser = acme.house.browser()
    before = dict(browser.cookies)
    reply = acme.come(browser, "/request/x")
    assert (reply.status, reply.location) == (303, "/request/x")
    assert browser.cookies != before
    assert "person: user:ben" in browser.get("/").text
    (known,) = acme.sign_ins.of(BEN)
    assert (known.method, known.provider, known.subject) == (SignInMethod.OIDC, "acme", "sub-of-ben")
    added, signed = (acme.house.stage.entries(kind)[-1] for kind in (EntryKind.SIGN_IN_ADDED, EntryKind.SIGNED_IN))
    assert added.detail["issuer"] == acme.provider.url
    assert (signed.detail["method"], signed.detail["provider"]) == ("oidc", "acme")


def test_the_same_account_is_the_same_way_to_sign_in_again(acme: Town) -> None:
    first = acme.signed_in("ben")
    (before,) = acme.sign_ins.of(BEN)
    second = acme.signed_in("ben")
    assert [known.sign_in for known in acme.sign_ins.of(BEN)] == [before.sign_in]
    assert "user:ben" in first.get("/").text
    assert "user:ben" in second.get("/").text


def test_a_browser_that_comes_from_the_provider_is_led_on_by_a_page_of_ours(acme: Town) -> None:
    browser = acme.house.browser()
    path = acme.back(acme.begin(browser))
    kept, browser.cookies = browser.cookies, {}
    page = browser.get(path, Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate")
    assert page.status == 200
    assert 'http-equiv="refresh"' in page.text
    assert "set-cookie" not in page.headers
    browser.cookies = kept
    assert browser.get(path).status == 303


def test_a_client_with_a_secret_proves_itself_and_without_it_nobody_signs_in() -> None:
    with town(GROUPS + "secret = true\n", secret="s3cret: &%") as found:
        assert found.signed_in("ben")
        assert "client_id" not in found.provider.forms[-1]
    with town(GROUPS + "secret = true\n") as found:
        reply = found.come(found.house.browser())
        assert (reply.status, found.provider.forms) == (503, [])
    with town(GROUPS + "secret = true\n", secret="right", at_house="wrong") as found:
        assert "does not stand by its answer" in found.refused()


def test_a_provider_that_is_down_is_said_to_be(acme: Town) -> None:
    acme.provider.pages["/.well-known/openid-configuration"] = lambda: (500, {}, b"")
    browser = acme.house.browser()
    token = browser.get("/sign-in").token("/sign-in")
    reply = browser.post("/sign-in/with/acme", {"token": token})
    assert reply.status == 503
    assert "cannot be reached now" in reply.text
    assert browser.post("/sign-in/with/nowhere", {"token": reply.token("/sign-in")}).status == 503
    assert browser.post("/sign-in/with/acme", {"token": "x"}).status == 403


# Who comes in.


def test_a_stranger_is_let_in_by_a_group_only_where_the_policy_says_so() -> None:
    with town() as found:
        found.provider.claims = {"name": "joe", "groups": ["others"]}
        assert "user:joe is not known here" in found.refused()
        assert "person: user:joe" in found.signed_in("joe", "leads").get("/").text
    with town('people = "known"\ngroups = "groups"\nroles = { leads = ["lead"] }\n') as found:
        found.provider.claims = {"name": "joe", "groups": ["leads"]}
        assert "user:joe is not known here" in found.refused()
        assert found.signed_in("ben", "leads")


def test_an_account_is_one_persons_and_a_person_has_one_account(acme: Town) -> None:
    assert acme.signed_in("ben", sub="one")
    acme.provider.claims = {"name": "eva", "sub": "one"}
    assert "that of another person" in acme.refused()
    acme.provider.claims = {"name": "ben", "sub": "two"}
    assert "has another account" in acme.refused()
    acme.provider.claims = {"name": "ben", "sub": "one"}
    (known,) = acme.sign_ins.of(BEN)
    acme.sign_ins.remove(BEN, known.sign_in, by="op")
    acme.provider.claims = {"name": "eva", "sub": "one"}
    assert "that of another person" in acme.refused()
    assert acme.signed_in("ben", sub="one")


def test_who_was_let_go_or_removed_does_not_come_back_by_a_provider(acme: Town) -> None:
    browser = acme.signed_in("joe", "leads")
    acme.house.stage.desk.offboard(JOE, by="op", reason="left")
    assert browser.get("/").status == 303
    assert "was let go or removed" in acme.refused()
    acme.provider.claims = {"name": "eva", "sub": "e"}
    assert acme.signed_in("eva", sub="e")
    acme.house.stage.desk.remove_person(EVA, by="op")
    assert "was let go or removed" in acme.refused()


def test_a_provider_that_the_policy_does_not_name_any_more_signs_nobody_in_and_its_sessions_end(acme: Town) -> None:
    browser = acme.signed_in("ben")
    waiting = acme.back(acme.begin(acme.house.browser()))
    acme.house.stage.accept(POLICY)
    assert browser.get("/").status == 303
    assert "names no such provider" in browser.get(waiting).text


# Roles by groups.


def test_a_group_gives_its_roles_until_it_is_too_old_or_is_not_proven_any_more(acme: Town) -> None:
    acme.signed_in("joe", "leads", "unknown")
    assert acme.sign_ins.roles_of(JOE) == ("lead",)
    assert acme.sign_ins.of(JOE)[0].groups == ("leads",)
    acme.signed_in("joe", "ops")
    assert acme.sign_ins.roles_of(JOE) == ("lead", "operator")
    acme.signed_in("joe")
    assert acme.sign_ins.roles_of(JOE) == ()
    acme.signed_in("joe", "leads")
    acme.house.stage.system.advance(seconds=8 * 3600)
    assert acme.sign_ins.roles_of(JOE) == ()


def answer(browser: Browser, request_id: str, verdict: Verdict = Verdict.APPROVE) -> Reply:
    """Answer on the card's page."""
    page = browser.get(f"/request/{request_id}")
    digest = page.text.split('name="digest" value="')[1].split('"')[0]
    form = {"token": page.text.split('name="token" value="')[1].split('"')[0], "digest": digest}
    return browser.post("/answer", {**form, "request": request_id, "verdict": verdict, "credential": ""})


@pytest.mark.invariant("I4")
@pytest.mark.requirement("F3")
def test_who_has_the_role_by_a_group_approves_and_it_counts_at_the_answer_and_at_the_use(acme: Town) -> None:
    stage = acme.house.stage
    browser = acme.signed_in("joe", "leads")
    lease = stage.lease(AUDIT)
    request = stage.ask(lease, "ticket.audit")
    reply = answer(browser, request)
    assert reply.status < 400, reply.text
    assert stage.admit(lease, "ticket.audit")
    (entry,) = stage.entries(EntryKind.REQUEST_ANSWERED)
    assert (entry.person, entry.detail["proof"], entry.detail["method"]) == (JOE, "session", "oidc")
    assert check_answers(stage.entries()).session == 1  # what a receipt of it is checked by, offline
    other = stage.ask(lease, "ticket.audit", "T-2")
    assert acme.signed_in("joe").get(f"/request/{other}").status == 404
    assert stage.refusal(lease, "ticket.audit", "T-2") is Reason.APPROVAL_NEEDED


@pytest.mark.invariant("I4")
@pytest.mark.requirement("F3")
@pytest.mark.parametrize("end", ["lost", "old", "offboarded", "unmapped", "no provider"])
def test_an_approval_by_a_group_counts_at_the_use_only_while_the_group_does(acme: Town, end: str) -> None:
    stage = acme.house.stage
    browser = acme.signed_in("joe", "leads")
    lease = stage.lease(AUDIT)
    request = stage.ask(lease, "ticket.audit")
    assert answer(browser, request).status < 400
    match end:
        case "lost":
            acme.signed_in("joe")
        case "old":
            stage.accept(POLICY + table(acme.provider, f'{GROUPS}groups_for = "1s"\n'))
            acme.signed_in("joe", "leads")
            stage.system.advance(seconds=1)
        case "offboarded":
            stage.desk.offboard(JOE, by="op", reason="left")
        case "unmapped":
            stage.accept(POLICY + table(acme.provider, GROUPS.replace("leads", "others")))
        case _:
            stage.accept(POLICY)
    assert stage.refusal(lease, "ticket.audit") is Reason.APPROVAL_NEEDED


def account(found: Town, name: str, *groups: str) -> Account:
    """What the provider proves of somebody, without its pages."""
    return Account(
        provider="acme",
        issuer=found.provider.url,
        subject=f"sub-of-{name}",
        person=f"user:{name}",
        groups=groups,
        authenticated_at=found.house.stage.system.now().seconds,
    )


@pytest.mark.case(80)
def test_one_person_with_a_password_and_an_account_counts_once(acme: Town) -> None:
    stage = acme.house.stage
    lease = stage.lease(ERASE)
    request = stage.ask(lease, "ticket.erase", key="a")
    assert answer(acme.house.signed_in(BEN), request).status < 400
    assert answer(acme.signed_in("ben"), request).status < 400
    assert stage.refusal(lease, "ticket.erase", key="a") is Reason.APPROVAL_NEEDED
    assert answer(acme.signed_in("joe", "leads"), request).status < 400
    assert stage.admit(lease, "ticket.erase", key="a")


def test_powers_by_a_group_work_while_it_counts_and_have_no_say_over_policies() -> None:
    with town(GROUPS.replace('"operator", ', '"operator", "chief", ')) as found:
        stage = found.house.stage
        with_power = POLICY.replace(
            'can = ["revoke", "hold", "lift", "query"]', 'can = ["hold", "lift", "query", "policy"]'
        )
        stage.accept(with_power + table(found.provider, GROUPS))
        _, session = found.sign_ins.begin_by_provider(account(found, "joe", "ops"), address="here")
        viewer = stage.authority.person_desk(session)
        assert viewer.may(Power.HOLD, "acme")
        assert {power.power for power in viewer.powers()} == {Power.HOLD, Power.LIFT, Power.QUERY}
        assert not viewer.may(Power.POLICY, AUTHORITY_WIDE)
        assert viewer.hold(Scope.parse("tool:ticket"), reason="look", tenant="acme")
        found.sign_ins.begin_by_provider(account(found, "joe"), address="here")
        for refused in (
            lambda: viewer.lift(Scope.parse("tool:ticket"), reason="fine", tenant="acme"),
            lambda: viewer.hold(Scope.parse("tool:mail"), reason="look", tenant="acme"),
        ):
            with pytest.raises(Denied) as caught:
                refused()
            assert caught.value.decision.reason is Reason.NOT_ENTITLED


# Proving it once more.


def test_once_more_means_that_it_is_proven_anew(acme: Town) -> None:
    browser = acme.signed_in("ben")
    stage = acme.house.stage
    stage.system.advance(seconds=700)
    assert browser.get("/critical").status == 303  # a page that wants a sign-in of the last minutes
    address = acme.begin(browser, "/critical", again="1")
    assert "prompt=login" in address
    assert "max_age=0" in address
    reply = browser.get(acme.back(address))
    assert (reply.status, reply.location) == (303, "/critical")
    assert browser.get("/critical").status == 200
    acme.provider.claims["auth_time"] = stage.system.now().seconds - 700
    old = acme.come(browser, "/critical", again="1")
    assert old.status == 403
    assert "too long ago" in old.text


def test_a_sign_in_is_as_old_as_the_proof_at_the_provider(acme: Town) -> None:
    acme.provider.claims["auth_time"] = acme.provider.now() - 3600
    browser = acme.house.browser()
    assert acme.come(browser).status == 303
    assert browser.get("/critical").status == 303
    acme.provider.claims["auth_time"] = acme.provider.now() - 12 * 3600 - 31
    assert "too long ago" in acme.refused()


# Attacks.


@pytest.mark.parametrize(
    ("claims", "words"),
    [
        ({"nonce": None}, "was not made for this sign-in"),
        ({"nonce": "of another"}, "was not made for this sign-in"),
        ({"nonce": 7}, "was not made for this sign-in"),
        ({"aud": "another-client"}, "for somebody else"),
        ({"aud": ["leasehold", "another-client"]}, "for several at once"),
        ({"azp": "another-client"}, "given to another client"),
        ({"iss": "https://login.evil.example"}, "another issuer"),
        ({"exp": 1}, "has expired"),
        ({"at_hash": "AAAA"}, "do not belong together"),
        ({"auth_time": None}, "auth_time"),
        ({"auth_time": True}, "auth_time"),
        ({"auth_time": 2**40}, "too long ago"),
        ({"name": None}, "does not name the person"),
        ({"name": ["ben"]}, "does not name the person"),
        ({"name": "ben\u202e"}, "name"),
        ({"name": ""}, "name"),
        ({"sub": None}, "whom it is about"),
        ({"groups": "leads"}, "no list of groups"),
        ({"groups": {"leads": True}}, "no list of groups"),
        ({"groups": ["leads", 7]}, "no list of groups"),
        ({"groups": ["x"] * 2001}, "no list of groups"),
    ],
)
def test_an_id_token_that_says_anything_else_than_it_has_to_signs_nobody_in(
    acme: Town, claims: dict[str, Any], words: str
) -> None:
    acme.provider.change = lambda said: {**said, **claims}
    assert words in acme.refused().replace("&#39;", "'")
    assert acme.house.stage.entries(EntryKind.SIGNED_IN) == []


@pytest.mark.case(1)
def test_an_id_token_that_is_not_signed_by_the_provider_signs_nobody_in(acme: Town) -> None:
    public = acme.provider.keys[0].as_pem(private=False)

    def made(said: dict[str, Any], algorithm: str, stamp: Callable[[bytes], bytes]) -> str:
        head = base64url.encode(json.dumps({"alg": algorithm, "kid": "one", "typ": "JWT"}).encode())
        body = base64url.encode(json.dumps({"iss": acme.provider.url, **said}).encode())
        return f"{head}.{body}.{base64url.encode(stamp(f'{head}.{body}'.encode()))}"

    forgeries: list[Callable[[dict[str, Any]], str]] = [
        lambda said: made(said, "none", lambda _: b"x"),
        lambda said: made(said, "HS256", lambda text: hmac.digest(public, text, "sha256")),
        lambda said: sign(make_key("RS256"), {"iss": acme.provider.url, **said}),
        lambda said: "not a token",
    ]
    for forgery in forgeries:
        acme.provider.make = forgery
        acme.refused()
    assert acme.house.stage.entries(EntryKind.SIGNED_IN) == []


def test_groups_that_nobody_signed_are_never_asked_for(acme: Town) -> None:
    acme.provider.more = {"userinfo_endpoint": f"{acme.provider.url}/userinfo"}
    acme.provider.pages["/userinfo"] = lambda: (200, {}, b'{"sub": "sub-of-joe", "groups": ["leads"]}')
    acme.provider.claims = {"name": "joe", "sub": "sub-of-joe"}
    assert "not known here" in acme.refused()
    assert "/userinfo" not in acme.provider.asked


def test_a_mail_address_that_was_not_verified_names_nobody() -> None:
    with town(GROUPS) as found:
        found.house.stage.accept(POLICY + table(found.provider, GROUPS).replace('"name"', '"email"'))
        for verified in (None, False, "true", 1):
            found.provider.claims = {"email": "ben", "sub": "b", "email_verified": verified}
            assert "has not verified" in found.refused()
        found.provider.claims = {"email": "ben", "sub": "b", "email_verified": True}
        assert found.come(found.house.browser()).status == 303


@pytest.mark.case(114)
def test_an_answer_that_was_begun_in_another_browser_signs_nobody_in(acme: Town) -> None:
    mallory, victim = acme.house.browser(), acme.house.browser()
    address = acme.begin(mallory)
    victim.get("/sign-in")
    reply = victim.get(acme.back(address))  # login CSRF: the attacker's account in the victim's browser
    assert (reply.status, "not begun in this browser" in reply.text) == (403, True)
    # The attacker's code in the victim's own sign-in: verifier and nonce are another browser's.
    stolen = parse_qs(urlsplit(acme.back(acme.begin(mallory))).query)["code"][0]
    own = acme.back(acme.begin(victim))
    code = parse_qs(urlsplit(own).query)["code"][0]
    assert "does not stand by its answer" in victim.get(own.replace(code, stolen)).text
    assert acme.house.stage.entries(EntryKind.SIGNED_IN) == []


def test_an_answer_counts_once_and_only_for_ten_minutes(acme: Town) -> None:
    browser = acme.house.browser()
    path = acme.back(acme.begin(browser))
    before = dict(browser.cookies)
    assert browser.get(path).status == 303
    assert browser.get(path).status == 403  # the browser has another cookie by now
    browser.cookies = before
    assert "does not stand by its answer" in browser.get(path).text  # and the provider gave the code once
    late = acme.house.browser()
    path = acme.back(acme.begin(late))
    acme.house.stage.system.advance(seconds=600)
    assert "longer than 10 minutes" in late.get(path).text


def test_what_was_begun_before_a_failure_is_over(acme: Town) -> None:
    browser = acme.house.browser()
    first, second = acme.back(acme.begin(browser)), acme.back(acme.begin(browser))
    assert browser.get(first + "x").status == 403
    assert browser.get(second).status == 403


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda query: query + "&state=x", "says something twice"),
        (lambda query: query.replace("state=", "stat="), "not begun in this browser"),
        (lambda query: query.replace("state=", "state=x"), "not begun in this browser"),
        (lambda query: query + "x" * 20_000, "too much"),
        (lambda query: query.replace("code=", "cod="), "has no code"),
        (lambda query: query.replace("code=", f"code={'x' * 5000}"), "has no code"),
        (lambda query: query + "&error=access_denied", "said no"),
    ],
)
def test_an_answer_in_another_form_signs_nobody_in(acme: Town, change: Callable[[str], str], words: str) -> None:
    browser = acme.house.browser()
    path, _, query = acme.back(acme.begin(browser)).partition("?")
    reply = browser.get(f"{path}?{change(query)}")
    assert reply.status in (403, 431, 414, 400)
    assert reply.status != 403 or words in reply.text
    assert acme.house.stage.entries(EntryKind.SIGNED_IN) == []


@pytest.mark.parametrize("issuer", ["", "https://login.evil.example", "{url}/"])
def test_an_answer_of_another_issuer_or_of_none_is_refused_before_its_code_is_shown_to_anybody(
    acme: Town, issuer: str
) -> None:
    _is_refused_unseen(acme, issuer.format(url=acme.provider.url))


def _is_refused_unseen(found: Town, issuer: str) -> None:
    found.provider.answer_more = {"iss": issuer}
    assert "another issuer" in found.refused()
    assert found.provider.forms == []


def test_an_answer_for_one_provider_counts_at_no_other(acme: Town) -> None:
    other = table(acme.provider, GROUPS).replace("sign_in.acme", "sign_in.other")
    acme.house.stage.accept(POLICY + table(acme.provider, GROUPS) + other)
    browser = acme.house.browser()
    path = acme.back(acme.begin(browser)).replace("/with/acme/", "/with/other/")
    assert "begun at another provider" in browser.get(path).text


@pytest.mark.parametrize("to", ["//evil.example", "https://evil.example", "/\\evil.example", "/sign-in/with/acme/back"])
def test_nobody_is_led_anywhere_else_after_signing_in(acme: Town, to: str) -> None:
    _is_led_home(acme, to)


def _is_led_home(found: Town, to: str) -> None:
    browser = found.house.browser()
    token = browser.get("/sign-in").token("/sign-in")
    page = browser.post("/sign-in/with/acme", {"token": token, "next": to})
    address = page.text.split("url=")[1].split('"')[0].replace("&amp;", "&")
    assert browser.get(found.back(address)).location == "/"


def test_a_provider_without_pkce_is_not_used(acme: Town) -> None:
    acme.provider.more = {"code_challenge_methods_supported": ["plain"]}
    browser = acme.house.browser()
    token = browser.get("/sign-in").token("/sign-in")
    assert browser.post("/sign-in/with/acme", {"token": token}).status == 503


def test_a_document_with_the_name_of_another_issuer_signs_nobody_in(acme: Town) -> None:
    acme.provider.more = {"issuer": acme.provider.url + "/"}
    browser = acme.house.browser()
    token = browser.get("/sign-in").token("/sign-in")
    assert browser.post("/sign-in/with/acme", {"token": token}).status == 503


def test_who_tries_again_and_again_waits(acme: Town) -> None:
    browser = acme.house.browser()
    replies = [browser.get("/sign-in/with/acme/back?state=x&code=y") for _ in range(7)]
    assert [reply.status for reply in replies[:5]] == [403] * 5
    assert replies[-1].status == 429
    assert int(replies[-1].headers["retry-after"]) > 0


# Each defence taken away is missed.


def _code_alone(answer: dict[str, str], *_: object) -> str:
    return answer["code"]


def _of_any_browser(cookie: bytes, _: str, state: str, now: Instant) -> Flow:
    body = state.partition(".")[0]
    about = msgspec.json.decode(base64url.decode(body), type=type(begin_flow(cookie, "", **_FLOW).about))
    return Flow(about, state, "nonce", "verifier")


_FLOW: dict[str, Any] = {"now": Instant(0), "chance": b"", "next_path": "/", "again": False}


def _says_nonce(found: Town) -> None:
    found.provider.change = lambda said: {**said, "nonce": "of another"}
    found.refused()


def _says_old(found: Town) -> None:
    found.provider.claims["auth_time"] = found.provider.now() - 13 * 3600
    found.refused()


def _says_one_group(found: Town) -> None:
    found.provider.claims = {"name": "joe", "groups": "leads"}
    found.refused()


@pytest.mark.parametrize(
    ("place", "guard", "replacement", "test"),
    [
        (provider_flow, "_check_binding", lambda *_: None, _says_nonce),
        (provider_flow, "_authenticated_at", lambda *_: 1, _says_old),
        (provider_flow, "_groups", lambda claims, _: tuple(claims["groups"].split()), _says_one_group),
        (provider_flow, "FLOW_SECONDS", 10**9, test_an_answer_counts_once_and_only_for_ten_minutes),
        (providers, "read_flow", _of_any_browser, test_an_answer_that_was_begun_in_another_browser_signs_nobody_in),
        (providers, "safe_path", lambda path: path, lambda found: _is_led_home(found, "//evil.example")),
        (providers, "check_answer", _code_alone, lambda found: _is_refused_unseen(found, "https://login.evil.example")),
    ],
)
def test_a_defence_that_is_taken_away_is_missed(
    acme: Town, monkeypatch: pytest.MonkeyPatch, place: object, guard: str, replacement: object, test: object
) -> None:
    monkeypatch.setattr(place, guard, replacement)
    with pytest.raises(AssertionError):
        test(acme)  # type: ignore[operator]
