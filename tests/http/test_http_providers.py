"""Signing in at a provider, from the button to the session: against a real one that signs, over real connections."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from house import House

from leasehold.authority.proofs import check_answers
from leasehold.decide.provider_sign_ins import Account
from leasehold.decide.rows import AUTHORITY_WIDE
from leasehold.errors import Denied
from leasehold.ledger.entry import EntryKind
from leasehold.model.decision import Reason
from leasehold.model.proof import SignInMethod
from leasehold.model.request import Verdict
from leasehold.model.scope import Scope
from leasehold.policy.document import Power
from served import Browser, Reply
from stage import AUDIT, BEN, ERASE, EVA, POLICY
from town import GROUPS, Town, table, town

JOE = "user:joe"


@contextmanager
def housed(more: str = GROUPS, secret: str = "", at_house: str = "") -> Iterator[Town[House]]:
    """A town with a whole house."""
    with town(lambda text: House(text, at_house or secret), more, secret) as found:
        yield found


@pytest.fixture
def acme() -> Iterator[Town[House]]:
    with housed() as found:
        yield found


# The way in.


def test_who_is_known_here_signs_in_and_goes_on_to_where_they_were(acme: Town[House]) -> None:
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


def test_the_same_account_is_the_same_way_to_sign_in_again(acme: Town[House]) -> None:
    first = acme.signed_in("ben")
    (before,) = acme.sign_ins.of(BEN)
    second = acme.signed_in("ben")
    assert [known.sign_in for known in acme.sign_ins.of(BEN)] == [before.sign_in]
    assert "user:ben" in first.get("/").text
    assert "user:ben" in second.get("/").text


def test_a_browser_that_comes_from_the_provider_is_led_on_by_a_page_of_ours(acme: Town[House]) -> None:
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
    with housed(GROUPS + "secret = true\n", secret="s3cret: &%") as found:
        assert found.signed_in("ben")
        assert "client_id" not in found.provider.forms[-1]
    with housed(GROUPS + "secret = true\n") as found:
        reply = found.come(found.house.browser())
        assert (reply.status, found.provider.forms) == (503, [])
    with housed(GROUPS + "secret = true\n", secret="right", at_house="wrong") as found:
        assert "does not stand by its answer" in found.refused()


def test_a_provider_that_is_down_is_said_to_be(acme: Town[House]) -> None:
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
    with housed() as found:
        found.provider.claims = {"name": "joe", "groups": ["others"]}
        assert "user:joe is not known here" in found.refused()
        assert "person: user:joe" in found.signed_in("joe", "leads").get("/").text
    with housed('people = "known"\ngroups = "groups"\nroles = { leads = ["lead"] }\n') as found:
        found.provider.claims = {"name": "joe", "groups": ["leads"]}
        assert "user:joe is not known here" in found.refused()
        assert found.signed_in("ben", "leads")


def test_an_account_is_one_persons_and_a_person_has_one_account(acme: Town[House]) -> None:
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


def test_who_was_let_go_or_removed_does_not_come_back_by_a_provider(acme: Town[House]) -> None:
    browser = acme.signed_in("joe", "leads")
    acme.house.stage.desk.offboard(JOE, by="op", reason="left")
    assert browser.get("/").status == 303
    assert "was let go or removed" in acme.refused()
    acme.provider.claims = {"name": "eva", "sub": "e"}
    assert acme.signed_in("eva", sub="e")
    acme.house.stage.desk.remove_person(EVA, by="op")
    assert "was let go or removed" in acme.refused()


def test_a_provider_that_the_policy_does_not_name_any_more_signs_nobody_in_and_its_sessions_end(
    acme: Town[House],
) -> None:
    browser = acme.signed_in("ben")
    waiting = acme.back(acme.begin(acme.house.browser()))
    acme.house.stage.accept(POLICY)
    assert browser.get("/").status == 303
    assert "names no such provider" in browser.get(waiting).text


# Roles by groups.


def test_a_group_gives_its_roles_until_it_is_too_old_or_is_not_proven_any_more(acme: Town[House]) -> None:
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
def test_who_has_the_role_by_a_group_approves_and_it_counts_at_the_answer_and_at_the_use(acme: Town[House]) -> None:
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
def test_an_approval_by_a_group_counts_at_the_use_only_while_the_group_does(acme: Town[House], end: str) -> None:
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


def account(found: Town[House], name: str, *groups: str) -> Account:
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
def test_one_person_with_a_password_and_an_account_counts_once(acme: Town[House]) -> None:
    stage = acme.house.stage
    lease = stage.lease(ERASE)
    request = stage.ask(lease, "ticket.erase", key="a")
    assert answer(acme.house.signed_in(BEN), request).status < 400
    assert answer(acme.signed_in("ben"), request).status < 400
    assert stage.refusal(lease, "ticket.erase", key="a") is Reason.APPROVAL_NEEDED
    assert answer(acme.signed_in("joe", "leads"), request).status < 400
    assert stage.admit(lease, "ticket.erase", key="a")


def test_powers_by_a_group_work_while_it_counts_and_have_no_say_over_policies() -> None:
    with housed(GROUPS.replace('"operator", ', '"operator", "chief", ')) as found:
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


def test_once_more_means_that_it_is_proven_anew(acme: Town[House]) -> None:
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


def test_a_sign_in_is_as_old_as_the_proof_at_the_provider(acme: Town[House]) -> None:
    acme.provider.claims["auth_time"] = acme.provider.now() - 3600
    browser = acme.house.browser()
    assert acme.come(browser).status == 303
    assert browser.get("/critical").status == 303
    acme.provider.claims["auth_time"] = acme.provider.now() - 12 * 3600 - 31
    assert "too long ago" in acme.refused()
